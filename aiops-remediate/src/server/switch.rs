//! The kill switch.

use axum::extract::{Request, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authorise::{Access, Person};
use super::gate::{Answer, Problem, ok};
use super::{Inner, Shared};
use crate::store::KillSwitch;

/// How the kill switch stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SwitchView {
    /// Whether nothing may run.
    pub(super) on: bool,
    /// Who set it; empty where nobody did.
    pub(super) by: String,
    /// Why.
    pub(super) reason: String,
    /// When.
    pub(super) at: String,
}

impl From<KillSwitch> for SwitchView {
    fn from(switch: KillSwitch) -> Self {
        Self { on: switch.on, by: switch.by, reason: switch.reason, at: switch.at.to_string() }
    }
}

/// How it shall stand.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetSwitch {
    /// Whether nothing may run.
    pub(super) on: bool,
    /// Why, for people.
    #[serde(default)]
    pub(super) reason: String,
}

impl Inner {
    pub(super) async fn set_switch(&self, person: &Person, on: bool, reason: &str) -> Result<KillSwitch, Problem> {
        let reason = aiops_core::text::clip(reason, 300);
        // Whoever must stop everything now is not asked why first.
        let reason = if reason.trim().is_empty() { "no reason given".to_owned() } else { reason };
        let by = aiops_core::text::clip(person.name(), 120);
        let now = self.clock.now();
        let switch = if on { KillSwitch::on(by, reason, now) } else { KillSwitch::off(by, reason, now) };
        self.dispatcher.set_kill_switch(switch.clone()).await?;
        Ok(switch)
    }
}

pub(super) async fn show(State(inner): State<Shared>, request: Request) -> Answer {
    inner.reader(request).await?;
    ok(&SwitchView::from(inner.store.kill_switch().await?))
}

pub(super) async fn set(State(inner): State<Shared>, request: Request) -> Answer {
    let (person, parts, body) = inner.enter(request, Access::Switch).await?;
    let wanted: SetSwitch = inner.json(&parts, body).await?;
    ok(&SwitchView::from(inner.set_switch(&person, wanted.on, &wanted.reason).await?))
}
