//! Recorded incidents through the whole pipeline, in virtual time.

mod records;
pub(crate) mod shop;
mod timeline;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aiops_core::{
    ActionMenu, CorrelatorConfig, DependencyGraph, DeployLog, DeployWindow, LogNotifier, MemoryIncidentLog, Pipeline,
    RelatedAlerts, Responder, Triager, VirtualClock, time,
};
use aiops_llm::RuleTriager;
use aiops_remediate::{ActionCatalogue, Dispatcher, Policy};
use serde_json::{Value, json};

use self::records::Recorder;
use self::shop::{EVERY, Named, Shop, one_application};
pub use self::timeline::Timeline;
use crate::petshop::Incident;

/// A row later than the first anomaly is waited for before the report: with rows of five minutes, what a
/// fault does in the next sample would come too late for the minute that is the default.
const GROUP_WAIT: Duration = Duration::from_secs(360);
/// Time without samples after the last row, in which what is in flight ends.
const AFTER: Duration = Duration::from_secs(1_800);

/// What one run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The records, in order; the last one is the summary.
    pub records: Vec<Value>,
}

impl Outcome {
    /// The records of a type.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.records.iter().filter(move |record| record["type"] == kind)
    }

    /// The summary.
    #[must_use]
    pub fn summary(&self) -> &Value {
        self.records.last().unwrap_or(&Value::Null)
    }
}

/// Who answers reports: a dispatcher in shadow mode over a simulated cluster, which looks at the target and
/// changes nothing.
fn responder(catalogue: ActionCatalogue, shop: &Shop) -> Result<impl Responder + use<>, String> {
    let mut dispatcher = Dispatcher::builder(catalogue, Policy::default()).with_clock(shop.clock.clone());
    for handler in shop.cluster.handlers() {
        dispatcher = dispatcher.handler(handler);
    }
    dispatcher.build().map_err(|error| error.to_string())
}

/// Runs an incident through detection, triage by rules and response.
///
/// # Errors
/// Recorded data that holds nothing to watch, or settings that cannot work.
pub async fn run(incident: &Incident) -> Result<Outcome, String> {
    run_with(incident, |menu, _| Ok(RuleTriager::new(menu))).await
}

/// Runs an incident with the triager that `triager` makes of the menu and of the replay's clock.
///
/// # Errors
/// As [`run`], and what `triager` says.
pub async fn run_with<T: Triager>(
    incident: &Incident,
    triager: impl FnOnce(ActionMenu, VirtualClock) -> Result<T, String>,
) -> Result<Outcome, String> {
    let started = Instant::now();
    let shop = Shop::new(incident)?;
    let recorder = Recorder::new(incident.name.clone());
    let records = recorder.records();
    push(&records, sample_summary(incident, &shop));

    let text = include_str!("../../catalogue/actions.yaml");
    let catalogue = ActionCatalogue::from_yaml(text, "actions.yaml").map_err(|error| error.to_string())?;
    let log = Arc::new(MemoryIncidentLog::default());
    let deploys = DeployLog::default();
    let mut config = CorrelatorConfig::default();
    config.group_wait = GROUP_WAIT;
    let last = shop.around.1;
    let triager = triager(catalogue.menu(), shop.clock.clone())?;
    let responder = responder(catalogue, &shop)?;
    let mut replay = Pipeline::builder()
        .detector(shop.detector)
        .correlator_config(config)
        .graph(DependencyGraph::new(one_application(&incident.calls)))
        .suppress(deploys.clone(), DeployWindow::default())
        .notify(LogNotifier)
        .context(deploys)
        .context(RelatedAlerts::new(
            Arc::<MemoryIncidentLog>::clone(&log),
            DependencyGraph::new(incident.calls.iter().cloned()),
        ))
        .triager(triager)
        .responder(responder)
        .incident_log(log)
        .observe(recorder)
        .replay_on(shop.clock)
        .map_err(|error| error.to_string())?;
    replay.run_to(time::plus(last, EVERY)).await.map_err(|error| error.to_string())?;
    replay.run_to(time::plus(last, AFTER)).await.map_err(|error| error.to_string())?;
    replay.finish().await.map_err(|error| error.to_string())?;

    let mut all = std::mem::take(&mut *records.lock().unwrap_or_else(PoisonError::into_inner));
    let summary = summary(incident, &all, started.elapsed());
    all.push(summary);
    Ok(Outcome { records: all })
}

fn push(records: &Mutex<Vec<Value>>, record: Value) {
    records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
}

fn sample_summary(incident: &Incident, shop: &Shop) -> Value {
    let bad_rows: Vec<&String> = incident.healthy.bad_rows.iter().chain(&incident.around.bad_rows).collect();
    json!({
        "type": "sample_summary",
        "incident": incident.name,
        "samples": shop.samples,
        "series": shop.detector.len(),
        "nodes": shop.nodes.len(),
        "rows": incident.around.times.len(),
        "healthy_rows": incident.healthy.times.len(),
        "from": shop.around.0,
        "to": shop.around.1,
        "healthy_from": shop.healthy.0,
        "healthy_to": shop.healthy.1,
        "healthy_moved_days": shop.moved as f64 / 86_400.0,
        "empty_cells": incident.healthy.empty_cells + incident.around.empty_cells,
        "bad_rows": incident.healthy.bad + incident.around.bad,
        "bad_row_reasons": bad_rows,
        "set_aside": named(&shop.set_aside),
        "rescaled": named(&shop.rescaled),
        "notes": [
            "the days without a fault were recorded at another time and moved to precede the incident",
            "nodes are mapped to simulated workloads: namespace petshop, one deployment and pod for each",
        ],
    })
}

fn named(series: &[Named]) -> Value {
    let each = |series: &Named| json!({ "node": series.node, "alertname": series.alertname, "reason": series.reason });
    series.iter().map(each).collect()
}

/// Whether a report is a model's own, and not that of the triager that answers in its place.
fn by_model(report: &Value) -> bool {
    let provenance = &report["provenance"];
    provenance["model"].is_string() && provenance["fallback_reason"].is_null()
}

fn summary(incident: &Incident, records: &[Value], took: Duration) -> Value {
    let count = |kind: &str, decides: &dyn Fn(&Value) -> bool| {
        records.iter().filter(|record| record["type"] == kind && decides(record)).count()
    };
    let disposition = |name: &str| count("plan", &|record| record["disposition"] == name);
    let report = records.iter().rev().find(|record| record["type"] == "report");
    // Only now, when all is done, is the truth looked at.
    let truth = incident.truth();
    let verdict = match (&truth, report) {
        (None, _) => "unknown: no target.json that names a node",
        (Some(_), None) => "nothing was reported",
        (Some(node), Some(report)) => {
            let about = |cause: &Value| cause.as_str().is_some_and(|text| text.starts_with(&format!("{node}: ")));
            let causes = report["report"]["likely_causes"].as_array();
            let cited = report["cited"].as_array();
            if causes.and_then(|causes| causes.first()).is_some_and(about) {
                "right: the first cause"
            } else if causes.into_iter().flatten().any(about) {
                "named, not as the first cause"
            } else if cited.into_iter().flatten().any(|item| item["service"] == node.as_str()) {
                "cited in the evidence only"
            } else {
                "wrong"
            }
        }
    };
    json!({
        "type": "summary",
        "incident": incident.name,
        "triages": count("report", &|_| true),
        "by_model": count("report", &|record| by_model(record)),
        "announced": count("event", &|record| record["decision"] == "announced"),
        "resolved": count("event", &|record| record["decision"] == "resolved"),
        "repeats": count("repeat", &|_| true),
        "suppressed": count("suppressed", &|_| true),
        "notices": count("notice", &|_| true),
        "executed": disposition("executed"),
        "would_execute": disposition("would_execute"),
        "awaiting_approval": disposition("awaiting_approval"),
        "escalated": disposition("escalated"),
        "rejected": disposition("rejected"),
        "true_cause": truth,
        "verdict": verdict,
        "run_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    })
}
