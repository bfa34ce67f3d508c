//! Approvals: what waits, exactly what would run, and a person's word.

use std::collections::BTreeMap;

use aiops_core::{error_chain, text};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::authorise::{Access, Person};
use super::gate::{Answer, Problem, Segment, ok, segment};
use super::{Inner, Shared};
use crate::dispatcher::ApprovalError;
use crate::store::{Approval, ApprovalId, ApprovalState};

/// One approval, as a person sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ApprovalView {
    /// Its name.
    pub(super) id: String,
    /// Of which incident: a decision names it.
    pub(super) incident_id: String,
    /// For which report.
    pub(super) report: String,
    /// Which step of the plan, counted from 0.
    pub(super) step: usize,
    /// The event's service.
    pub(super) service: String,
    /// What would be done,
    pub(super) action: String,
    /// to what,
    pub(super) target: BTreeMap<String, String>,
    /// with what,
    pub(super) parameters: Map<String, Value>,
    /// for which episode.
    pub(super) fingerprint: String,
    /// The state that it rests on: in another one it does not run.
    pub(super) observed: BTreeMap<String, String>,
    /// Over all of that: a decision names it.
    pub(super) digest: String,
    /// When it was asked for.
    pub(super) asked_at: String,
    /// From when on it can no longer be granted.
    pub(super) expires_at: String,
    /// `pending`, `approved`, `rejected`, `expired` or `void`.
    pub(super) state: &'static str,
    /// Who decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decided_by: Option<String>,
    /// When it was settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) settled_at: Option<String>,
    /// Why, where it was refused or became void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

impl From<&Approval> for ApprovalView {
    fn from(approval: &Approval) -> Self {
        let request = &approval.request;
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let (decided_by, settled_at, reason) = match &approval.state {
            ApprovalState::Pending => (None, None, None),
            ApprovalState::Approved { by, at } => (Some(by.clone()), Some(*at), None),
            ApprovalState::Rejected { by, at, reason } => (Some(by.clone()), Some(*at), Some(reason.clone())),
            ApprovalState::Expired { at } => (None, Some(*at), None),
            ApprovalState::Void { at, reason } => (None, Some(*at), Some(reason.clone())),
        };
        Self {
            id: approval.id.to_string(),
            incident_id: approval.incident_id.to_string(),
            report: approval.report.to_string(),
            step: approval.index,
            service: request.service.to_string(),
            action: request.action.to_string(),
            target: request.target.parts().map(owned).collect(),
            parameters: request.parameters.clone(),
            fingerprint: request.fingerprint.to_string(),
            observed: approval.observed.facts().map(owned).collect(),
            digest: approval.digest.clone(),
            asked_at: approval.asked_at.to_string(),
            expires_at: approval.expires_at.to_string(),
            state: approval.state.as_str(),
            decided_by,
            settled_at: settled_at.map(|at: Timestamp| at.to_string()),
            reason,
        }
    }
}

/// What waits for a person.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ApprovalList {
    /// The oldest first.
    pub(super) approvals: Vec<ApprovalView>,
}

/// A grant of exactly what was shown.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant {
    /// The incident of the approval.
    pub(super) incident_id: String,
    /// The digest of what was shown.
    pub(super) digest: String,
}

/// A refusal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    /// The incident of the approval.
    pub(super) incident_id: String,
    /// The digest of what was shown.
    pub(super) digest: String,
    /// Why, for people.
    #[serde(default)]
    pub(super) reason: String,
}

impl Inner {
    pub(super) async fn approval(&self, id: &str) -> Result<Approval, Problem> {
        self.store.approval(&ApprovalId::new(id)).await?.ok_or_else(|| Problem::not_found("approval"))
    }

    /// Grants (no reason) or refuses what the person saw.
    pub(super) async fn decide(
        &self,
        id: &str,
        person: &Person,
        (incident, digest): (&str, &str),
        refusal: Option<&str>,
    ) -> Result<Approval, Problem> {
        let approval = self.approval(id).await?;
        let conflict = |code, message: &str| Problem::new(StatusCode::CONFLICT, code, message);
        if approval.incident_id.as_str() != incident {
            return Err(conflict("other_incident", "the approval is of another incident"));
        }
        if approval.digest != digest {
            return Err(conflict("other_digest", "what would run is not what was shown; open it again"));
        }
        let now = self.clock.now();
        let decided = match refusal {
            None => self.dispatcher.approve(&approval.id, person.name(), now).await,
            Some(reason) => self.dispatcher.reject(&approval.id, person.name(), reason, now).await,
        };
        decided.map_err(|error| match error {
            ApprovalError::Unknown => Problem::not_found("approval"),
            ApprovalError::Settled(approval) => {
                let mut problem = conflict("settled", "it was settled before; what was decided stays");
                problem.more = Some(("approval", json!(ApprovalView::from(&*approval))));
                problem
            }
            ApprovalError::Expired(_) => conflict("expired", &error.to_string()),
            ApprovalError::NotAllowed { source, .. } => {
                let why = text::clip(&error_chain(&*source), 200);
                Problem::new(StatusCode::FORBIDDEN, "not_allowed", format!("you may not decide on this: {why}"))
            }
            ApprovalError::Store(error) => error.into(),
        })
    }
}

pub(super) async fn list(State(inner): State<Shared>, request: Request) -> Answer {
    inner.reader(request).await?;
    let approvals = inner.dispatcher.approvals().await?;
    ok(&ApprovalList { approvals: approvals.iter().map(ApprovalView::from).collect() })
}

pub(super) async fn show(State(inner): State<Shared>, id: Segment, request: Request) -> Answer {
    inner.reader(request).await?;
    ok(&ApprovalView::from(&inner.approval(&segment(id, "approval")?).await?))
}

pub(super) async fn approve(State(inner): State<Shared>, id: Segment, request: Request) -> Answer {
    let (person, parts, body) = inner.enter(request, Access::Decide).await?;
    let grant: Grant = inner.json(&parts, body).await?;
    let seen = (grant.incident_id.as_str(), grant.digest.as_str());
    ok(&ApprovalView::from(&inner.decide(&segment(id, "approval")?, &person, seen, None).await?))
}

pub(super) async fn reject(State(inner): State<Shared>, id: Segment, request: Request) -> Answer {
    let (person, parts, body) = inner.enter(request, Access::Decide).await?;
    let refusal: Refusal = inner.json(&parts, body).await?;
    let seen = (refusal.incident_id.as_str(), refusal.digest.as_str());
    let refused = inner.decide(&segment(id, "approval")?, &person, seen, Some(&refusal.reason)).await?;
    ok(&ApprovalView::from(&refused))
}
