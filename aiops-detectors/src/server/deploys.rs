//! Steps of rollouts, as a deploy pipeline posts them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{Clock, DeployLog, Rollout, RolloutKind, RolloutPhase, SystemClock};
use axum::Router;
use axum::extract::Request;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::authorise::Authoriser;
use super::cdevents::{self, Read};
use super::gate::{Gate, JSON, Problem, Taken, TakesBatches, router_at};
use crate::alert_mapping::FieldFault;

const PATH: &str = "/deploys";
/// As far ahead as an event may be: a rollout from the future would hold detections until then.
const MAX_AHEAD: Duration = Duration::from_secs(300);
/// Bytes of a service, an id or a version.
pub(super) const MAX_NAME: usize = 256;
/// Bytes of a note: a commit message's head.
const MAX_NOTE: usize = 4_096;

/// Takes steps of rollouts as `POST /deploys`, one object or a list of them, into a [`DeployLog`].
///
/// | field | |
/// |---|---|
/// | `service`, `deploy_id` | text that is not empty, up to 256 bytes |
/// | `phase` | `started`, `completed` or `failed` |
/// | `at` | when, as in RFC 3339; now where it is absent; at most 5 minutes ahead |
/// | `version` | text, may be absent |
/// | `kind` | `full` where it is absent, `scale` or `own_rollback` |
/// | `note` | text of people or pipelines, up to 4 KiB, may be absent |
///
/// Steps may come twice and in any order. The fields are those of [`Rollout`], others are ignored.
///
/// An item may also be a [CDEvent](https://cdevents.dev) of the types `service.deployed`,
/// `service.upgraded` and `service.rolledback`, of any version: as it is, or as the data of a CloudEvent
/// in its structured, batched or binary form. It is a completed rollout of the service `subject.id` at
/// `context.timestamp` under the id `context.id`; the version is that of `artifactId`. Of the environments
/// of CDEvents, only the host's may hold its detections: name them with
/// [`environments`](Self::environments).
///
/// ```sh
/// curl -H "Authorization: Bearer $TOKEN" --json '{"service": "checkout", "deploy_id": "4711",
///     "phase": "started", "version": "v2.3.0"}' https://ops.example.net/intake/deploys
/// ```
///
/// ```
/// use aiops_core::DeployLog;
/// use aiops_detectors::server::{AllowEveryone, DeployIntake};
/// let deploys = DeployLog::new(50);
/// let router = DeployIntake::new(deploys.clone(), AllowEveryone).router();
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct DeployIntake {
    gate: Gate,
    log: DeployLog,
    clock: Arc<dyn Clock>,
    environments: BTreeSet<String>,
}

impl DeployIntake {
    /// Deploys of those whom the authoriser lets in, for this log.
    pub fn new(log: DeployLog, authoriser: impl Authoriser) -> Self {
        let mut gate = Gate::new("deploys", authoriser);
        gate.media = &[JSON, "application/cloudevents+json", "application/cloudevents-batch+json"];
        Self { gate, log, clock: Arc::new(SystemClock), environments: BTreeSet::new() }
    }

    /// The environments whose CDEvents count, by `environment.id`; all unless set. Others are taken and
    /// left out, and counted.
    pub fn environments<T: Into<String>>(mut self, environments: impl IntoIterator<Item = T>) -> Self {
        self.environments = environments.into_iter().map(Into::into).collect();
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
}

impl TakesBatches for DeployIntake {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    async fn batch(&self, request: Request) -> Result<Taken, Problem> {
        let steps = match self.gate.json(request).await? {
            Value::Array(steps) => steps,
            step @ Value::Object(_) => vec![step],
            _ => return Err(Problem::malformed("", "the body is neither an object nor a list")),
        };
        let (now, mut taken) = (self.clock.now(), Taken::default());
        for (index, step) in steps.into_iter().enumerate() {
            let read = match cdevents::find(&step) {
                Some((event, at)) => cdevents::read(event, at, &self.environments, now),
                None => rollout(step, now).map(Read::Step),
            };
            match read {
                Ok(read) => {
                    taken.accepted += 1;
                    match read {
                        Read::Step(rollout) => self.log.record(rollout),
                        Read::Elsewhere => metrics::counter!("aiops_intake_elsewhere_total").increment(1),
                    }
                }
                Err(fault) => taken.reject(index, fault),
            }
        }
        Ok(taken)
    }
}

fn rollout(step: Value, now: Timestamp) -> Result<Rollout, FieldFault> {
    let Value::Object(step) = step else { return Err(FieldFault::new("", "is no object")) };
    let phase = read(&step, "phase", "is neither started, completed nor failed")?;
    let phase: RolloutPhase = phase.ok_or_else(|| FieldFault::new("phase", "is missing"))?;
    let kind: Option<RolloutKind> = read(&step, "kind", "is neither full, scale nor own_rollback")?;
    let at: Option<Timestamp> = read(&step, "at", "is no time as in RFC 3339")?;
    let at = at.unwrap_or(now);
    not_ahead(at, now).map_err(|reason| FieldFault::new("at", reason))?;
    let (service, id) = (name(&step, "service")?, name(&step, "deploy_id")?);
    let mut rollout = Rollout::new(service, id, phase, at).kind(kind.unwrap_or_default());
    rollout.version = optional(&step, "version", MAX_NAME)?;
    rollout.note = optional(&step, "note", MAX_NOTE)?;
    Ok(rollout)
}

pub(super) fn not_ahead(at: Timestamp, now: Timestamp) -> Result<(), &'static str> {
    if at > plus(now, MAX_AHEAD) { Err("is more than 5 minutes ahead") } else { Ok(()) }
}

/// A field that may be absent or null.
fn read<T: DeserializeOwned>(
    step: &Map<String, Value>,
    field: &str,
    reason: &'static str,
) -> Result<Option<T>, FieldFault> {
    match step.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::deserialize(value).map(Some).map_err(|_| FieldFault::new(field, reason)),
    }
}

fn optional(step: &Map<String, Value>, field: &str, max: usize) -> Result<Option<String>, FieldFault> {
    let text: Option<String> = read(step, field, "is no text")?;
    match text {
        Some(text) if text.len() > max => Err(FieldFault::new(field, "is too long")),
        text => Ok(text),
    }
}

fn name(step: &Map<String, Value>, field: &str) -> Result<String, FieldFault> {
    optional(step, field, MAX_NAME)?
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| FieldFault::new(field, "is missing or empty"))
}
