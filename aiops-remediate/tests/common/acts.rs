//! Handlers whose every answer a test sets, and a dispatcher over them whose time stands still until it is moved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, BoxError, Compensation, DetectionEvent, Inspection,
    MemoryProbe, Outcome, Precondition, Recovered, Responder, Response, Triaged, VirtualClock,
};
use aiops_remediate::{
    ActionCatalogue, Approval, ApprovalAuthoriser, Dispatcher, DispatcherBuilder, MemoryAudit, MemoryStore, Mode,
    Policy,
};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{at, event, triaged};

/// What a handler sees and says.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// What was executed, in order.
    pub(crate) effects: Mutex<Vec<String>>,
    /// What was taken back.
    pub(crate) taken_back: Mutex<Vec<String>>,
    /// What `inspect` observes, by action; else `v1`.
    pub(crate) observed: Mutex<BTreeMap<&'static str, String>>,
    /// What `verify` says, by action; else helped.
    pub(crate) outcomes: Mutex<BTreeMap<&'static str, Outcome>>,
    /// Whether `execute` and `compensate` fail, by action.
    pub(crate) fails: Mutex<BTreeMap<&'static str, bool>>,
    /// The action whose `execute` waits until it is let go.
    pub(crate) held: Mutex<Option<&'static str>>,
    pub(crate) begun: Notify,
    pub(crate) go: Notify,
}

#[derive(Debug)]
pub(crate) struct Act {
    name: &'static str,
    stage: Arc<Stage>,
}

#[async_trait]
impl ActionHandler for Act {
    fn name(&self) -> &str {
        self.name
    }

    async fn inspect(&self, _: &ActionRequest) -> Result<Inspection, ActionError> {
        let version = self.stage.observed.lock().unwrap().get(self.name).cloned().unwrap_or_else(|| "v1".to_owned());
        Ok(Inspection::Ready { precondition: Precondition::new([("version", version)]) })
    }

    async fn execute(&self, request: &ActionRequest, _: &Precondition) -> Result<Applied, ActionError> {
        if *self.stage.held.lock().unwrap() == Some(self.name) {
            self.stage.begun.notify_one();
            self.stage.go.notified().await;
        }
        if self.stage.fails.lock().unwrap().contains_key(self.name) {
            return Err(ActionError::unknown(request, "act", "the API hung up"));
        }
        self.stage.effects.lock().unwrap().push(self.name.to_owned());
        Ok(Applied::new("done"))
    }

    async fn verify(&self, _: &ActionRequest, _: &Applied) -> Result<Outcome, ActionError> {
        Ok(self.stage.outcomes.lock().unwrap().get(self.name).copied().unwrap_or(Outcome::Helped))
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        if self.stage.fails.lock().unwrap().get(self.name) == Some(&true) {
            return Err(ActionError::unknown(request, "take it back", "no route to the cluster"));
        }
        self.stage.taken_back.lock().unwrap().push(self.name.to_owned());
        Ok(Compensation::Done("uncordoned it".to_owned()))
    }
}

/// Lets only Ada decide.
#[derive(Debug)]
struct OnlyAda;

#[async_trait]
impl ApprovalAuthoriser for OnlyAda {
    async fn authorise(&self, who: &str, _: &Approval, _: Timestamp) -> Result<(), BoxError> {
        if who.starts_with("ada") { Ok(()) } else { Err("only ada is on call".into()) }
    }
}

pub(crate) const CATALOGUE: &str = "
actions:
  - {name: first, owner: shop, blast_radius: pod, requires_approval: false}
  - {name: second, owner: shop, blast_radius: pod, requires_approval: false}
  - {name: asked, owner: shop, blast_radius: pod, requires_approval: true}
  - {name: asked_too, owner: shop, blast_radius: pod, requires_approval: true}
  - {name: cooled, owner: shop, blast_radius: pod, requires_approval: false, cooldown: 10m}
  - {name: measured, owner: shop, blast_radius: pod, requires_approval: false, verify: {probe: errors, below: 5}}
  - {name: followed, owner: shop, blast_radius: pod, requires_approval: false, next: second}
";

pub(crate) struct Site {
    pub(crate) clock: VirtualClock,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) audit: Arc<MemoryAudit>,
    pub(crate) probe: Arc<MemoryProbe>,
    pub(crate) stage: Arc<Stage>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            clock: VirtualClock::new(at(0)),
            store: Arc::default(),
            audit: Arc::new(MemoryAudit::new(10_000)),
            probe: Arc::default(),
            stage: Arc::default(),
        }
    }

    pub(crate) fn builder(&self, policy: Policy) -> DispatcherBuilder {
        let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
        let mut builder = Dispatcher::builder(catalogue, policy.mode(Mode::Active))
            .store(Arc::<MemoryStore>::clone(&self.store))
            .audit(Arc::<MemoryAudit>::clone(&self.audit))
            .probe(Arc::<MemoryProbe>::clone(&self.probe))
            .authoriser(OnlyAda)
            .with_clock(self.clock.clone())
            .verify_after(Duration::ZERO);
        for name in ["first", "second", "asked", "asked_too", "cooled", "measured", "followed"] {
            builder = builder.handler(Act { name, stage: Arc::clone(&self.stage) });
        }
        builder
    }

    pub(crate) fn dispatcher(&self) -> Dispatcher {
        self.builder(Policy::default()).build().unwrap()
    }

    /// One answer of the timer, where there is exactly one.
    pub(crate) async fn tick(&self, dispatcher: &Dispatcher, second: i64) -> Vec<Response> {
        self.clock.set(at(second));
        let found = dispatcher.recover(at(second)).await.unwrap();
        for Recovered { triaged, response, .. } in &found {
            dispatcher.told(triaged, response, at(second)).await.unwrap();
        }
        found.into_iter().map(|recovered| recovered.response).collect()
    }

    pub(crate) fn effects(&self) -> Vec<String> {
        self.stage.effects.lock().unwrap().clone()
    }
}

pub(crate) fn on_pod(number: u64, pod: &str, second: i64) -> DetectionEvent {
    event(number, "cart", &[("namespace", "shop"), ("pod", pod)], at(second))
}

/// A report on pod `cart-1`.
pub(crate) fn report(number: u64, actions: &[&str]) -> Triaged {
    triaged(on_pod(number, "cart-1", 0), actions)
}

pub(crate) fn reason(response: &Response) -> &str {
    response.disposition.reason().unwrap_or_default()
}
