//! Putting a dispatcher together.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::{
    ActionHandler, BoxError, Clock, DeployLog, DeployWindow, IdentityScheme, Live, Probe, Redactor, SystemClock,
};
use tokio::sync::Notify;

use super::{ApprovalAuthoriser, Dispatcher, Limits, Random};
use crate::audit::AuditLog;
use crate::catalogue::ActionCatalogue;
use crate::policy::Policy;
use crate::store::{MemoryStore, RemediationStore};

/// Longest that one action is alone on its (action, target, fingerprint).
const LOCK: Duration = Duration::from_secs(600);
/// A read of the current state.
const INSPECT: Duration = Duration::from_secs(30);
/// Shorter than the stage's four minutes with inspection and verification, and than the lock.
const EXECUTE: Duration = Duration::from_secs(120);
/// A new pod takes about half a minute to get ready.
const VERIFY_AFTER: Duration = Duration::from_secs(30);
/// An answer that was given so long ago was not told, unless it was noted.
const TELLING: Duration = Duration::from_secs(60);

/// Builds a [`Dispatcher`].
#[must_use]
pub struct DispatcherBuilder {
    catalogue: Live<ActionCatalogue>,
    policy: Live<Policy>,
    handlers: Vec<Arc<dyn ActionHandler>>,
    store: Option<Arc<dyn RemediationStore>>,
    probe: Option<Arc<dyn Probe>>,
    authoriser: Option<Arc<dyn ApprovalAuthoriser>>,
    deploys: Option<(DeployLog, DeployWindow)>,
    audit: Option<Arc<dyn AuditLog>>,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
    random: Random,
    identity: IdentityScheme,
    holder: String,
    limits: Limits,
}

impl fmt::Debug for DispatcherBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers: Vec<&str> = self.handlers.iter().map(|handler| handler.name()).collect();
        f.debug_struct("DispatcherBuilder")
            .field("handlers", &handlers)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A dispatcher that cannot work: every fault, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dispatcher cannot be built: {}", .0.join("; "))]
pub struct InvalidDispatcher(Vec<String>);

impl InvalidDispatcher {
    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}

impl DispatcherBuilder {
    pub(super) fn new(catalogue: Live<ActionCatalogue>, policy: Live<Policy>) -> Self {
        Self {
            catalogue,
            policy,
            handlers: Vec::new(),
            store: None,
            probe: None,
            authoriser: None,
            deploys: None,
            audit: None,
            redactor: Redactor::default(),
            clock: Arc::new(SystemClock),
            random: Box::new(of_the_system),
            identity: IdentityScheme::default(),
            holder: format!("pid-{}", std::process::id()),
            limits: Limits {
                lock: LOCK,
                inspect: INSPECT,
                execute: EXECUTE,
                verify_after: VERIFY_AFTER,
                telling: TELLING,
            },
        }
    }

    /// Adds a handler. An action without one escalates.
    pub fn handler(mut self, handler: impl ActionHandler) -> Self {
        self.handlers.push(Arc::new(handler));
        self
    }

    /// Where reports, journal, locks and marks are kept (default: in memory, which forgets them with the
    /// process: give active mode another one).
    pub fn store(mut self, store: impl RemediationStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// What reads the numbers of preconditions. An action with a precondition escalates without one.
    pub fn probe(mut self, probe: impl Probe) -> Self {
        self.probe = Some(Arc::new(probe));
        self
    }

    /// Who may approve what. Without one nothing can be approved.
    pub fn authoriser(mut self, authoriser: impl ApprovalAuthoriser) -> Self {
        self.authoriser = Some(Arc::new(authoriser));
        self
    }

    /// Where every decision and every step is written before it acts (default: nowhere). While the log cannot
    /// be written nothing runs.
    pub fn audit(mut self, log: impl AuditLog) -> Self {
        self.audit = Some(Arc::new(log));
        self
    }

    /// What is taken out of the texts of the audit log (default: the rules of core's redactor).
    pub fn redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// While a deploy of the event's service holds, no action runs: what it changes is being changed already.
    pub fn deploys(mut self, log: DeployLog, window: DeployWindow) -> Self {
        self.deploys = Some((log, window));
        self
    }

    /// Where the names of approvals come from (default: the system's random bytes). They must not be
    /// guessable; an error makes the step escalate.
    pub fn random(mut self, draw: impl Fn() -> Result<[u8; 16], BoxError> + Send + Sync + 'static) -> Self {
        self.random = Box::new(draw);
        self
    }

    /// Another clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Labels that join the identity, as the correlator has them.
    pub fn identity_labels(mut self, scheme: IdentityScheme) -> Self {
        self.identity = scheme;
        self
    }

    /// How locks name this process (default: its process id); unique among those that share a store.
    pub fn holder(mut self, name: impl Into<String>) -> Self {
        self.holder = name.into();
        self
    }

    /// The longest that `execute` may take (default 2 min); shorter than the lock.
    pub fn execute_deadline(mut self, deadline: Duration) -> Self {
        self.limits.execute = deadline;
        self
    }

    /// The longest that `inspect` or `verify` may take (default 30 s).
    pub fn inspect_deadline(mut self, deadline: Duration) -> Self {
        self.limits.inspect = deadline;
        self
    }

    /// How long after `execute` it is asked whether it helped (default 30 s).
    pub fn verify_after(mut self, wait: Duration) -> Self {
        self.limits.verify_after = wait;
        self
    }

    /// How long a lock lasts (default 10 min).
    pub fn lock_for(mut self, time: Duration) -> Self {
        self.limits.lock = time;
        self
    }

    /// How long after an answer it is given again by [`recover`](aiops_core::Responder::recover), unless it was noted
    /// that people were told (default 1 min, longer than channels take).
    pub fn tell_again_after(mut self, time: Duration) -> Self {
        self.limits.telling = time;
        self
    }

    /// The dispatcher.
    ///
    /// # Errors
    /// All faults at once: two handlers of one name, a lock that ends before a step does.
    pub fn build(self) -> Result<Dispatcher, InvalidDispatcher> {
        let mut faults = Vec::new();
        let mut handlers = HashMap::new();
        for handler in self.handlers {
            let name = handler.name().to_owned();
            if handlers.insert(name.clone(), handler).is_some() {
                faults.push(format!("handler {name:?} is there twice; leave one out"));
            }
        }
        let Limits { lock, inspect, execute, verify_after, .. } = self.limits;
        // Inspect, execute, wait, verify, take back: all of it under one lock.
        let longest = 2 * (inspect + execute) + verify_after;
        if longest >= lock {
            let (lock, longest) = (aiops_core::time::human(lock), aiops_core::time::human(longest));
            faults.push(format!("a lock of {lock} ends before a step of up to {longest}; raise lock_for"));
        }
        if !faults.is_empty() {
            return Err(InvalidDispatcher(faults));
        }
        Ok(Dispatcher {
            catalogue: self.catalogue,
            policy: self.policy,
            handlers,
            store: self.store.unwrap_or_else(|| Arc::new(MemoryStore::default())),
            probe: self.probe,
            authoriser: self.authoriser,
            deploys: self.deploys,
            audit: self.audit,
            redactor: self.redactor,
            clock: self.clock,
            random: self.random,
            identity: self.identity,
            holder: self.holder,
            limits: self.limits,
            wake: Notify::new(),
            kept: Mutex::default(),
            given_up: Mutex::default(),
            telling: Mutex::default(),
        })
    }
}

fn of_the_system() -> Result<[u8; 16], BoxError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
