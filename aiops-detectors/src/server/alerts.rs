//! Alertmanager's webhook: its alerts as events for a pipeline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{Clock, DetectionEvent, IdentityScheme, Intake, IntakeError, Status, SystemClock};
use axum::Router;
use axum::extract::Request;
use jiff::Timestamp;
use serde_json::Value;

use super::authorise::Authoriser;
use super::firing::Firing;
use super::gate::{Gate, Problem, Taken, TakesBatches, router_at};
use crate::alert_mapping::{AlertMapping, FieldFault, UpstreamAlert};
use crate::source::Labels;

const PATH: &str = "/alertmanager";
/// How long a request waits for a pipeline that is behind; Alertmanager gives up after its
/// `group_interval`, and comes again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Alertmanager's are 16.
const MAX_FINGERPRINT: usize = 128;

/// Takes Alertmanager's webhook (version 4, and what has its shape) as `POST /alertmanager`.
///
/// Each alert becomes an event by the [`AlertMapping`], with its own status: one that ended in a group
/// that still fires is a resolve. Alertmanager's fingerprint is kept as `upstream_id`, by which an
/// episode stays open until it is resolved. An identity knows no instance: where several alerts have
/// one kind, service and `alertname`, the last of them to end resolves it; that is known of the last
/// 10,000 alerts, and forgotten at a restart.
///
/// Alerts that an [`AlertmanagerNotifier`](crate::client::AlertmanagerNotifier) of this library posted
/// are accepted and left out, since they would open incidents about incidents.
///
/// ```no_run
/// use aiops_core::{CancellationToken, LogNotifier, Pipeline};
/// use aiops_detectors::server::{AlertIntake, BearerToken, axum};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pipeline = Pipeline::builder().intake(1_000).notify(LogNotifier).build()?;
/// let token = BearerToken::new(std::fs::read_to_string("/run/secrets/alertmanager")?.trim());
/// let router: axum::Router = AlertIntake::new(pipeline.intake(), token).router();
/// // Mounted into the host's own server, beside its own routes.
/// let app = axum::Router::new().nest("/intake", router);
/// # let _ = app;
/// pipeline.run(CancellationToken::new()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct AlertIntake {
    gate: Gate,
    intake: Intake,
    mapping: AlertMapping,
    identities: IdentityScheme,
    clock: Arc<dyn Clock>,
    firing: Arc<Mutex<Firing>>,
}

impl AlertIntake {
    /// Alerts of those whom the authoriser lets in, for this pipeline.
    pub fn new(intake: Intake, authoriser: impl Authoriser) -> Self {
        Self {
            gate: Gate::new("alerts", authoriser),
            intake,
            mapping: AlertMapping::default(),
            identities: IdentityScheme::default(),
            clock: Arc::new(SystemClock),
            firing: Arc::default(),
        }
    }

    /// How labels become an event.
    pub fn mapping(mut self, mapping: AlertMapping) -> Self {
        self.mapping = mapping;
        self
    }

    /// The pipeline's identity labels, where it has some. An alert without one of them is rejected.
    pub fn identity_labels(mut self, identities: IdentityScheme) -> Self {
        self.identities = identities;
        self
    }

    /// Bytes of a body at the most; 1 MiB unless set.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.gate.max_body = bytes;
        self
    }

    /// Another clock than the system's.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The router.
    pub fn router(self) -> Router {
        router_at(PATH, self)
    }

    /// The event of an alert and the key of its identity; none of an alert that is our own.
    fn event(&self, alert: UpstreamAlert, now: Timestamp) -> Result<Option<(DetectionEvent, String)>, FieldFault> {
        if alert.is_own() {
            metrics::counter!("aiops_intake_own_total").increment(1);
            return Ok(None);
        }
        let event = self.mapping.event(alert, now)?;
        let identity = self.identities.reduce(&event.identity());
        let identity = identity.map_err(|_| FieldFault::new("labels", "lacks a label of the identity"))?;
        if event.service.is_empty() {
            metrics::counter!("aiops_intake_unnamed_total").increment(1);
        }
        Ok(Some((event, identity.key())))
    }

    async fn hand_on(
        &self,
        event: DetectionEvent,
        identity: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), Problem> {
        let fingerprint = event.upstream_id.clone().unwrap_or_default();
        let resolved = event.status == Status::Resolved;
        let held = resolved && self.firing().others(identity, &fingerprint, now);
        if held {
            metrics::counter!("aiops_intake_held_total").increment(1);
        } else {
            self.push(event, until).await?;
        }
        // Only now: what was not taken comes again.
        if resolved {
            self.firing().forget(identity, &fingerprint);
        } else {
            self.firing().note(identity, &fingerprint, now);
        }
        Ok(())
    }

    /// Waits for room, so that a batch that is larger than the buffer gets through.
    async fn push(&self, event: DetectionEvent, until: Timestamp) -> Result<(), Problem> {
        tokio::select! {
            biased;
            sent = self.intake.send(event) => match sent {
                Ok(()) => Ok(()),
                Err(IntakeError::Full) => Err(Problem::busy()),
                Err(_) => Err(Problem::stopping()),
            },
            () = self.clock.sleep_until(until) => Err(Problem::busy()),
        }
    }

    fn firing(&self) -> std::sync::MutexGuard<'_, Firing> {
        self.firing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TakesBatches for AlertIntake {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    async fn batch(&self, request: Request) -> Result<Taken, Problem> {
        let mut body = self.gate.json(request).await?;
        let Some(Value::Array(alerts)) = body.get_mut("alerts").map(Value::take) else {
            return Err(Problem::malformed("alerts", "alerts is missing or no list"));
        };
        let cut = body.get("truncatedAlerts").and_then(Value::as_u64).unwrap_or_default();
        metrics::counter!("aiops_intake_truncated_total").increment(cut);
        let (now, mut taken) = (self.clock.now(), Taken::default());
        let until = plus(now, LONGEST_WAIT);
        for (index, alert) in alerts.into_iter().enumerate() {
            match read(alert).and_then(|alert| self.event(alert, now)) {
                Ok(event) => {
                    if let Some((event, identity)) = event {
                        self.hand_on(event, &identity, now, until).await?;
                    }
                    taken.accepted += 1;
                }
                Err(fault) => taken.reject(index, fault),
            }
        }
        Ok(taken)
    }
}

/// One alert of a batch.
fn read(alert: Value) -> Result<UpstreamAlert, FieldFault> {
    let Value::Object(mut alert) = alert else { return Err(FieldFault::new("", "is no object")) };
    let Some(Value::Object(pairs)) = alert.remove("labels") else {
        return Err(FieldFault::new("labels", "is missing or no object"));
    };
    let mut labels = Labels::new();
    for (name, value) in pairs {
        let Value::String(value) = value else {
            return Err(FieldFault::new(format!("labels.{name}"), "is no text"));
        };
        labels.insert(name, value);
    }
    let text = |name: &str| alert.get(name).and_then(Value::as_str);
    let resolved = match text("status") {
        Some("firing") => false,
        Some("resolved") => true,
        _ => return Err(FieldFault::new("status", "is neither firing nor resolved")),
    };
    let starts_at = text("startsAt").and_then(|time| time.parse().ok());
    let starts_at = starts_at.ok_or_else(|| FieldFault::new("startsAt", "is no time as in RFC 3339"))?;
    let fingerprint = text("fingerprint").filter(|text| !text.is_empty() && text.len() <= MAX_FINGERPRINT);
    let fingerprint = fingerprint.ok_or_else(|| FieldFault::new("fingerprint", "is missing, empty or too long"))?;
    Ok(UpstreamAlert { resolved, starts_at, fingerprint: fingerprint.to_owned(), labels })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const WEBHOOK: &str = include_str!("../../tests/fixtures/alertmanager/am_webhook_partial_resolved.json");

    proptest! {
        /// With other values in any of its fields: an event, or the fault of one of these fields.
        #[test]
        fn a_damaged_alert_is_an_event_or_the_fault_of_a_damaged_field(
            damage in prop::collection::btree_map(
                prop::sample::select(vec!["labels", "status", "startsAt", "endsAt", "annotations", "fingerprint"]),
                prop::sample::select(vec![
                    json!(null), json!({}), json!([]), json!(-1), json!(""), json!("resolved"), json!({"alertname": 1}),
                    json!({"alertname": "\u{0}"}), json!({"alertname": "A", "": "x"}), json!("-009999-01-01T00:00:00Z"),
                ]),
                0..4,
            ),
        ) {
            let mut body: Value = serde_json::from_str(WEBHOOK).unwrap();
            let mut alert = body["alerts"][0].take();
            for (field, value) in &damage {
                alert[field] = value.clone();
            }
            match read(alert).and_then(|alert| AlertMapping::default().event(alert, Timestamp::UNIX_EPOCH)) {
                Ok(event) => prop_assert!(event.upstream_id.is_some() && !event.alertname().is_empty()),
                Err(fault) => prop_assert!(damage.keys().any(|field| fault.field.starts_with(field)), "{fault}"),
            }
        }
    }
}
