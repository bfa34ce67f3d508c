//! The steps of an incident as lines for a person: what a service puts onto the bus.

use std::fmt;
use std::sync::Arc;

use aiops_core::text::printable;
use aiops_core::{BusError, Envelope, EventBus, Status, Subscription};
use async_trait::async_trait;

use super::Service;

/// A bus that tells of each message that it has taken.
pub struct Told {
    bus: Arc<dyn EventBus>,
    service: Service,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("bus", &self.bus).field("service", &self.service).finish_non_exhaustive()
    }
}

impl Told {
    /// Tells `say`, a line each.
    #[must_use]
    pub fn new(bus: Arc<dyn EventBus>, service: Service, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { bus, service, say: Box::new(say) }
    }

    pub(super) fn say(&self, line: &str) {
        (self.say)(line);
    }
}

#[async_trait]
impl EventBus for Told {
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
        let line = line(self.service, &message);
        self.bus.publish(topic, message).await?;
        self.say(&line);
        Ok(())
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        self.bus.subscribe(topic, group).await
    }
}

/// `trace 4bf92f… span 00f067… 2026-01-05T08:05:00Z triage reported on payments: …`, without control characters.
#[must_use]
pub fn line(service: Service, message: &Envelope) -> String {
    let (trace, span) = match message.trace() {
        Some(trace) => (trace.trace_id(), trace.span_id()),
        None => ("none".to_owned(), "none".to_owned()),
    };
    let time = message.time;
    printable(&format!("trace {trace} span {span} {time:.0} {service} {}", what(message)))
}

fn what(message: &Envelope) -> String {
    if let Ok(event) = message.to_detection() {
        let word = if event.status == Status::Firing { "announced" } else { "resolved" };
        return format!("{word} {}", event.explain());
    }
    if let Ok(triaged) = message.to_triaged() {
        let report = triaged.report;
        let (cause, asked) = (report.likely_causes.first(), report.recommended_actions.join(", "));
        let cause = cause.map_or(report.summary.as_str(), String::as_str);
        let asked = if asked.is_empty() { "nothing".to_owned() } else { asked };
        return format!("reported {cause}; recommends {asked}, confidence {}", report.confidence.value());
    }
    match message.to_response() {
        Ok(response) => {
            let steps = response.plan.steps.iter().map(|step| step.action.as_str()).collect::<Vec<_>>().join(", ");
            let (word, reason) = (response.disposition.as_str(), response.disposition.reason());
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("answered {word}{reason}{}{steps}", if steps.is_empty() { "" } else { ", plan " })
        }
        Err(error) => format!("said what does not read: {error}"),
    }
}
