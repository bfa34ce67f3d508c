//! What happened in a pipeline, as records of JSON.

use std::sync::{Arc, Mutex, PoisonError};

use aiops_core::{Correlated, CorrelationDecision, Observer, PipelineEvent};
use serde_json::{Value, json};

/// Keeps each step as a record.
#[derive(Debug)]
pub(super) struct Recorder {
    incident: String,
    records: Arc<Mutex<Vec<Value>>>,
}

impl Recorder {
    pub(super) fn new(incident: String) -> Self {
        Self { incident, records: Arc::default() }
    }

    /// The records, shared.
    pub(super) fn records(&self) -> Arc<Mutex<Vec<Value>>> {
        Arc::clone(&self.records)
    }

    fn push(&self, mut record: Value) {
        record["incident"] = Value::from(self.incident.as_str());
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

fn correlated(at: impl serde::Serialize, correlated: &Correlated) -> Value {
    let kind = match correlated.decision {
        CorrelationDecision::Announced | CorrelationDecision::Resolved => "event",
        CorrelationDecision::Repeat => "repeat",
        _ => "suppressed",
    };
    let event = correlated.event.as_ref();
    json!({
        "type": kind,
        "at": at,
        "decision": correlated.decision,
        "event": event,
        "explain": event.map(aiops_core::DetectionEvent::explain),
        "joined": correlated.incident,
        "of": correlated.of,
        "count": correlated.count,
        "by": correlated.by,
        "reason": correlated.reason,
    })
}

impl Observer for Recorder {
    fn observe(&self, event: &PipelineEvent<'_>) {
        match event {
            PipelineEvent::Correlated { at, correlated: decided } => self.push(correlated(at, decided)),
            PipelineEvent::ContextGathered { at, event, context } => self.push(json!({
                "type": "context", "at": at, "incident_id": event.incident_id,
                "items": context.items, "missing": context.missing,
            })),
            PipelineEvent::Triaged(triaged) => self.push(json!({
                "type": "report", "at": triaged.at, "incident_id": triaged.incident_id,
                "service": triaged.event.service, "report": triaged.report, "cited": triaged.cited,
                "likely_causes": triaged.report.likely_causes, "evidence": triaged.report.evidence,
                "provenance": triaged.provenance,
            })),
            PipelineEvent::Responded { response, .. } => {
                self.push(json!({
                    "type": "plan", "at": response.at, "incident_id": response.incident_id,
                    "disposition": response.disposition.as_str(), "reason": response.disposition.reason(),
                    "rules": response.plan.rules,
                }));
                for step in &response.plan.steps {
                    let mut record = json!(step);
                    record["type"] = "step".into();
                    record["at"] = json!(response.at);
                    self.push(record);
                }
            }
            PipelineEvent::Noticed { channel, notice } => self.push(json!({
                "type": "notice", "at": notice.at, "channel": channel, "incident_id": notice.incident_id,
                "line": notice.line(), "explain": notice.explain,
            })),
            PipelineEvent::EvaluationFailed { detector, at, reason } => self.push(json!({
                "type": "suppressed", "at": at, "decision": "failed", "by": detector, "reason": reason,
            })),
            _ => {}
        }
    }
}
