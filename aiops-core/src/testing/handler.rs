//! A handler over a small outside world that remembers what was done to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::action::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Precondition};
use crate::lock::lock;

/// What a [`ScriptedHandler`] changes: the outside, which outlives the handler as a cluster outlives
/// a process. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FakeWorld {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with every change, by the handler or by others.
    revision: u64,
    effects: Vec<Effect>,
    /// Owner by target, where one was set.
    owners: BTreeMap<String, String>,
}

/// One effect on the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effect {
    /// `action|target|fingerprint`.
    pub key: String,
    /// The revision that it made.
    pub revision: u64,
}

impl FakeWorld {
    /// What was done, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        lock(&self.state).effects.clone()
    }

    /// Somebody else changes the world: preconditions read before no longer hold.
    pub fn disturb(&self) {
        lock(&self.state).revision += 1;
    }

    /// The target belongs to this service; without an owner it belongs to every service.
    pub fn set_owner(&self, target: &crate::action::Target, service: impl Into<String>) {
        lock(&self.state).owners.insert(target.to_string(), service.into());
    }
}

/// How the next `execute` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExecuteScript {
    /// It does what it should.
    #[default]
    Works,
    /// It fails before anything changes.
    FailsBefore,
    /// It changes the world and then fails: the caller cannot know.
    FailsAfter,
    /// It changes the world and then never answers.
    HangsAfter,
}

/// A handler that acts on a [`FakeWorld`] and keeps the contract of
/// [`ActionHandler`] whatever its script says.
#[derive(Debug)]
pub struct ScriptedHandler {
    name: String,
    world: FakeWorld,
    script: Mutex<ExecuteScript>,
    blocked: Mutex<Option<String>>,
}

impl ScriptedHandler {
    /// A handler of an action over a world.
    pub fn new(name: impl Into<String>, world: FakeWorld) -> Self {
        Self { name: name.into(), world, script: Mutex::default(), blocked: Mutex::default() }
    }

    /// The next `execute` goes like this; the one after it works again.
    pub fn script(&self, script: ExecuteScript) {
        *lock(&self.script) = script;
    }

    /// `inspect` answers blocked with this reason until it is `None`.
    pub fn block(&self, reason: Option<&str>) {
        *lock(&self.blocked) = reason.map(str::to_owned);
    }
}

fn observed(revision: u64) -> Precondition {
    Precondition::new([("revision", revision.to_string())])
}

#[async_trait]
impl ActionHandler for ScriptedHandler {
    fn name(&self) -> &str {
        &self.name
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        if let Some(reason) = lock(&self.blocked).clone() {
            return Ok(Inspection::Blocked { reason });
        }
        let state = lock(&self.world.state);
        if let Some(owner) = state.owners.get(&request.target.to_string())
            && *owner != request.service.as_str()
        {
            return Ok(Inspection::Blocked { reason: format!("{} belongs to {owner}", request.target) });
        }
        let key = request.key();
        Ok(match state.effects.iter().find(|effect| effect.key == key) {
            Some(effect) => Inspection::AlreadyDone { proof: format!("revision {}", effect.revision) },
            None => Inspection::Ready { precondition: observed(state.revision) },
        })
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let script = std::mem::take(&mut *lock(&self.script));
        if request.dry_run || script == ExecuteScript::FailsBefore {
            let why = if request.dry_run { "a dry run changes nothing" } else { "told to fail" };
            return Err(ActionError::before(request, "execute", why));
        }
        let applied = {
            let mut state = lock(&self.world.state);
            if *precondition != observed(state.revision) {
                return Err(ActionError::before(request, "execute", "the world changed since it was inspected"));
            }
            state.revision += 1;
            let revision = state.revision;
            state.effects.push(Effect { key: request.key(), revision });
            Applied::new(format!("revision {revision}"))
        };
        match script {
            ExecuteScript::FailsAfter => Err(ActionError::unknown(request, "execute", "connection reset")),
            ExecuteScript::HangsAfter => std::future::pending().await,
            _ => Ok(applied),
        }
    }
}
