//! A host's own detector, context source, triager and action handler, in one pipeline.
//!
//! `cargo run --example custom_detector`: a queue grows, and a restart of its consumers empties it. The
//! conformance suites run on all four in `examples/tests/custom_detector_keeps_the_contracts.rs`.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiops_core::*;
use aiops_remediate::{ActionCatalogue, Dispatcher, Mode, Policy};
use async_trait::async_trait;

/// Stands for the broker's API: how many messages wait, and which generation of consumers runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Broker(Arc<Mutex<(u32, u32)>>);
impl Broker {
    /// Reads or changes the state, in one step as an API server does.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut (u32, u32)) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fires while more than 100 messages wait.
#[derive(Debug)]
pub(crate) struct QueueDepth(pub(crate) Broker);
#[async_trait]
impl Detector for QueueDepth {
    fn name(&self) -> &str {
        "queue-depth"
    }
    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }
    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let depth = f64::from(self.0.with(|state| state.0));
        let event = DetectionEvent::builder("queue".into(), "orders", Severity::Warning, tick.now, self.name())
            .label("namespace", "shop")
            .signal(Signal::new(depth).expected(10.0).score(depth).threshold(100.0).window(self.every()))
            .build();
        let normal = Sighting::Normal(event.identity());
        Ok(Evaluation::new(vec![if depth > 100.0 { Sighting::Firing(Box::new(event)) } else { normal }]))
    }
}

/// Tells which generation of consumers runs.
#[derive(Debug)]
pub(crate) struct Consumers(pub(crate) Broker);
#[async_trait]
impl ContextSource for Consumers {
    fn name(&self) -> &str {
        "consumers"
    }
    async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError> {
        let text = format!("generation {} of consumers reads nothing", self.0.with(|state| state.1));
        let finding = ContextFinding::new(ContextKind::Other("consumers".into()), Trust::System, text);
        Ok(vec![finding.service(query.event.service.clone())])
    }
}

/// Knows one kind of outage.
#[derive(Debug)]
pub(crate) struct QueueTriager;
#[async_trait]
impl Triager for QueueTriager {
    fn name(&self) -> &str {
        "queue-rules"
    }
    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
        let report = match request.context.item("consumers:1") {
            None => TriageReport::new(request.event.explain()),
            Some(item) => TriageReport::new(format!("{}; {}", request.event.explain(), item.text))
                .likely_causes(["the consumers hang"])
                .recommended_actions(["restart_consumers"])
                .confidence(Confidence::new(0.8).map_err(|error| TriageError::permanent(self.name(), error))?)
                .needs_human(false)
                .evidence([&item.id]),
        };
        Ok(Triage::new(report, Provenance::new(self.name())))
    }
}

/// Restarts the consumers, once for each generation that it saw.
#[derive(Debug)]
pub(crate) struct RestartConsumers(pub(crate) Broker);
#[async_trait]
impl ActionHandler for RestartConsumers {
    fn name(&self) -> &str {
        "restart_consumers"
    }
    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        if request.service.as_str() != "orders" || request.target.get("deployment") != Some("orders") {
            return Ok(Inspection::Blocked { reason: "these consumers belong to orders".into() });
        }
        let generation = self.0.with(|state| state.1).to_string();
        // Asked again after the restart: another generation than the observed one runs.
        let before = aiops_remediate::parameters::observed(request);
        if before.is_some_and(|before| before.get("generation") != Some(&generation)) {
            return Ok(Inspection::AlreadyDone { proof: format!("generation {generation}") });
        }
        Ok(Inspection::Ready { precondition: Precondition::new([("generation", generation)]) })
    }
    async fn execute(&self, request: &ActionRequest, seen: &Precondition) -> Result<Applied, ActionError> {
        let generation = self.0.with(|state| {
            if seen.get("generation") != Some(&state.1.to_string()) {
                return Err(ActionError::before(request, "restart", "another generation runs by now"));
            }
            if !request.dry_run {
                *state = (5, state.1 + 1);
            }
            Ok(state.1)
        })?;
        Ok(Applied::new(format!("generation {generation}")))
    }
}

/// The timeline of an outage in the queue.
pub(crate) async fn outage() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let broker = Broker::default();
    let catalogue = ActionCatalogue::from_yaml(
        "actions: [{name: restart_consumers, owner: orders, blast_radius: deployment, requires_approval: false}]",
        "actions.yaml",
    )?;
    let (clock, log) = (VirtualClock::new("2026-05-05T08:00:00Z".parse()?), Arc::new(MemoryIncidentLog::default()));
    let dispatcher = Dispatcher::builder(catalogue, Policy::default().mode(Mode::Active))
        .handler(RestartConsumers(broker.clone()))
        .with_clock(clock.clone())
        .verify_after(Duration::ZERO)
        .build()?;
    let mut replay = Pipeline::builder()
        .detector(QueueDepth(broker.clone()))
        .notify(LogNotifier)
        .context(Consumers(broker.clone()))
        .triager(QueueTriager)
        .responder(dispatcher)
        .incident_log(Arc::<MemoryIncidentLog>::clone(&log))
        .replay_on(clock)?;
    replay.run_to("2026-05-05T08:10:00Z".parse()?).await?;
    broker.with(|state| state.0 = 4_000);
    replay.run_to("2026-05-05T08:30:00Z".parse()?).await?;
    let incidents = log.query(&IncidentQuery::default()).await?;
    let records = incidents.iter().flat_map(|incident| &incident.records);
    Ok(records.map(|record| format!("{}  {}", record.at, record.entry.line())).collect())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(writeln!(std::io::stdout(), "{}", outage().await?.join("\n"))?)
}
