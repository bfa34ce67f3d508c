//! The checks of the program `doctor`: a host calls the same ones with its own parts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::doctor::{Check, context_sources};
use aiops_core::{
    Clock, ContextQuery, ContextSource, DependencyGraph, DeployLog, DetectionEvent, EventKind, MemoryIncidentLog,
    RelatedAlerts, Severity, SystemClock, time,
};
use aiops_llm::doctor;
use aiops_remediate::{ActionCatalogue, Dispatcher, Policy, sim};

use crate::model::{Adapter, ModelSettings};

/// As the triage stage gives each source.
const SOURCE_DEADLINE: Duration = Duration::from_secs(10);

/// The model that settings name: its endpoint, key, clock and days, and whether its server holds it to a schema.
pub async fn model(settings: Result<ModelSettings, String>, clock: &dyn Clock) -> Vec<Check> {
    let adapter = match settings {
        Ok(settings) => settings.adapter,
        Err(message) => {
            // The rest of the message lists every option.
            let first = message.lines().next().unwrap_or_default();
            return vec![Check::fail("model", first, "--help lists the settings")];
        }
    };
    let (model, endpoint) = (adapter.model(), adapter.endpoint());
    let mut checks = doctor::endpoint(&*model, endpoint, clock).await;
    if let Adapter::Anthropic(model) = &adapter {
        checks.push(doctor::lifecycle(model, clock).await);
    }
    checks.push(doctor::schema(&*model).await);
    checks
}

/// The context sources, each asked once about an event that there is not.
pub async fn sources(clock: &dyn Clock) -> Vec<Check> {
    let (log, graph) = (Arc::new(MemoryIncidentLog::default()), DependencyGraph::default());
    let sources: [Arc<dyn ContextSource>; 2] =
        [Arc::new(DeployLog::default()), Arc::new(RelatedAlerts::new(log, graph))];
    let now = clock.now();
    let event = DetectionEvent::builder(EventKind::MetricAnomaly, "doctor", Severity::Info, now, "doctor").build();
    let query = ContextQuery::new(event, "doctor".into(), now, time::plus(now, SOURCE_DEADLINE));
    context_sources(&sources, &query, clock).await
}

/// A catalogue, or that of the examples, against the handlers of the simulated cluster.
#[must_use]
pub fn catalogue(file: Option<&Path>) -> Vec<Check> {
    let catalogue = match file {
        Some(file) => ActionCatalogue::from_yaml_file(file),
        None => ActionCatalogue::from_yaml(include_str!("../catalogue/actions.yaml"), "actions.yaml"),
    };
    let built = catalogue.map_err(|error| error.to_string()).and_then(|catalogue| {
        let cluster = sim::Cluster::new(SystemClock);
        let dispatcher = Dispatcher::builder(catalogue, Policy::default());
        let dispatcher = cluster.handlers().into_iter().fold(dispatcher, |all, handler| all.handler(handler));
        dispatcher.build().map_err(|error| error.to_string())
    });
    match built {
        Ok(dispatcher) => dispatcher.check_up(),
        Err(message) => vec![Check::fail("catalogue", &message, "mend the file")],
    }
}
