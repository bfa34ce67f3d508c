//! The CloudEvents 1.0 JSON envelope around every message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trace::TraceContext;
use crate::event::DetectionEvent;
use crate::names::{EventId, IncidentId};
use crate::responder::{Disposition, Response};
use crate::triage::Triaged;

/// A CloudEvents 1.0 JSON message.
///
/// `type` carries the schema version (`dev.aiops.detection.v1`). Attributes that we do not know are
/// kept in `extensions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Envelope {
    /// Always `1.0`.
    #[schemars(extend("const" = "1.0"))]
    pub specversion: String,
    /// Unique with `source`: the dedup key of a bus that has one.
    pub id: String,
    /// Who made it, as a URI reference (`/aiops/detection`).
    pub source: String,
    /// What `data` is, with its schema version.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// What must stay in order: one identity, one incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitionkey: Option<String>,
    /// W3C trace context (the CloudEvents extension for distributed tracing): one trace for each incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What tracing systems add to it, carried on as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// The message itself.
    pub data: Value,
    /// Extension attributes: lower-case letters and digits, plain values.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, Value>,
}

/// `type` of a detection event.
pub(crate) const DETECTION_V1: &str = "dev.aiops.detection.v1";
/// `type` of a triage report.
pub(crate) const TRIAGED_V1: &str = "dev.aiops.triaged.v1";
/// `type` of an answer to a report.
pub(crate) const RESPONSE_V1: &str = "dev.aiops.response.v1";

/// Why an envelope's content cannot be read. It is for the dead letter: no attempt can succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Not the type that is read here.
    #[error("message {id:?} is of type {found:?}, expected {expected:?}")]
    Type {
        /// The message.
        id: String,
        /// Its type.
        found: String,
        /// The type that is read here.
        expected: &'static str,
    },
    /// Not CloudEvents 1.0.
    #[error("message {id:?} has specversion {found:?}, expected \"1.0\"")]
    SpecVersion {
        /// The message.
        id: String,
        /// Its version.
        found: String,
    },
    /// What is read here, in a version of its schema that this build does not know.
    #[error("message {id:?} is of type {found:?}; this build reads {expected:?}")]
    Version {
        /// The message.
        id: String,
        /// Its type.
        found: String,
        /// The type that is read here.
        expected: &'static str,
    },
    /// Its content is not JSON.
    #[error("message {id:?} has datacontenttype {found:?}, expected JSON")]
    ContentType {
        /// The message.
        id: String,
        /// What it is.
        found: String,
    },
    /// The type is right and the content is not.
    #[error("message {id:?} of type {kind:?} does not read")]
    Data {
        /// The message.
        id: String,
        /// Its type.
        kind: String,
        /// Where it goes wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl Envelope {
    /// An envelope around any content. `id` is unique for `source`.
    pub fn new(
        id: impl Into<String>,
        source: impl Into<String>,
        kind: impl Into<String>,
        time: Timestamp,
        data: Value,
    ) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: id.into(),
            source: source.into(),
            kind: kind.into(),
            time,
            datacontenttype: "application/json".to_owned(),
            partitionkey: None,
            traceparent: None,
            tracestate: None,
            data,
            extensions: BTreeMap::new(),
        }
    }

    fn of(id: &str, source: &str, kind: &str, time: Timestamp, incident: &IncidentId, data: &impl Serialize) -> Self {
        // The contract types hold no map with non-text keys and no failing Serialize.
        let data = serde_json::to_value(data).unwrap_or(Value::Null);
        let envelope = Self::new(id, source, kind, time, data).with_trace(&TraceContext::of_incident(incident, id));
        Self { partitionkey: Some(incident.to_string()), ..envelope }
    }

    /// The place in the trace; none where it does not read.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::parse(self.traceparent.as_deref()?, self.tracestate.as_deref()).ok()
    }

    /// The same message at a place in a trace, instead of that which its incident gives it.
    #[must_use]
    pub fn with_trace(self, trace: &TraceContext) -> Self {
        let (traceparent, tracestate) = (Some(trace.traceparent()), trace.tracestate().map(str::to_owned));
        Self { traceparent, tracestate, ..self }
    }

    /// The envelope of a detection event; its id is the event's.
    #[must_use]
    pub fn detection(event: &DetectionEvent) -> Self {
        let key = crate::fingerprint::Identity { labels: BTreeMap::new(), ..event.identity() }.key();
        let (id, incident) = (event.event_id.as_str(), event.incident());
        let envelope = Self::of(id, "/aiops/detection", DETECTION_V1, event.observed(), &incident, event);
        Self { partitionkey: Some(key), ..envelope }
    }

    /// The envelope of a report; one for each triaged event.
    #[must_use]
    pub fn triaged(triaged: &Triaged) -> Self {
        let id = format!("{}/triaged", triaged.event.event_id);
        Self::of(&id, "/aiops/triage", TRIAGED_V1, triaged.at, &triaged.incident_id, triaged)
    }

    /// The envelope of an answer. `event_id` is that of the triaged event. A report that waits for a person
    /// is answered more than once: each time under an id of its own.
    #[must_use]
    pub fn response(event_id: &EventId, response: &Response) -> Self {
        let id = match &response.disposition {
            passing @ (Disposition::AwaitingApproval | Disposition::Duplicate) => {
                format!("{event_id}/response/{}/{}", passing.as_str(), response.at)
            }
            _ => format!("{event_id}/response"),
        };
        Self::of(&id, "/aiops/remediation", RESPONSE_V1, response.at, &response.incident_id, response)
    }

    fn read<T: DeserializeOwned>(&self, expected: &'static str) -> Result<T, EnvelopeError> {
        if self.specversion != "1.0" {
            return Err(EnvelopeError::SpecVersion {
                id: crate::text::clip(&self.id, 80),
                found: crate::text::clip(&self.specversion, 20),
            });
        }
        if self.kind != expected {
            let (id, found) = (crate::text::clip(&self.id, 80), crate::text::clip(&self.kind, 80));
            let unversioned = expected.trim_end_matches(|end: char| end.is_ascii_digit());
            let same = self.kind.strip_prefix(unversioned).is_some_and(|version| version.parse::<u32>().is_ok());
            return Err(if same {
                EnvelopeError::Version { id, found, expected }
            } else {
                EnvelopeError::Type { id, found, expected }
            });
        }
        if !is_json(&self.datacontenttype) {
            return Err(EnvelopeError::ContentType {
                id: crate::text::clip(&self.id, 80),
                found: crate::text::clip(&self.datacontenttype, 80),
            });
        }
        T::deserialize(&self.data).map_err(|source| EnvelopeError::Data {
            id: self.id.clone(),
            kind: self.kind.clone(),
            source,
        })
    }

    /// Reads a detection event.
    ///
    /// # Errors
    /// Another type or version of it, or content that does not read.
    pub fn to_detection(&self) -> Result<DetectionEvent, EnvelopeError> {
        self.read(DETECTION_V1)
    }

    /// Reads a report.
    ///
    /// # Errors
    /// Another type or version of it, or content that does not read.
    pub fn to_triaged(&self) -> Result<Triaged, EnvelopeError> {
        self.read(TRIAGED_V1)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// Another type or version of it, or content that does not read.
    pub fn to_response(&self) -> Result<Response, EnvelopeError> {
        self.read(RESPONSE_V1)
    }

    /// The same message as a dead letter, with its reason and the attempts that it had.
    #[must_use]
    pub fn into_dead_letter(mut self, reason: &str, attempts: u32) -> Self {
        self.extensions.insert("deadletterreason".to_owned(), Value::from(crate::text::clip(reason, 500)));
        self.extensions.insert("deadletterattempts".to_owned(), Value::from(attempts));
        self
    }
}

/// `application/json`, or another type of JSON (RFC 6839), with or without parameters.
fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || media.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKind, Severity};

    #[test]
    fn carries_an_event_and_keeps_unknown_attributes() {
        let event =
            DetectionEvent::builder(EventKind::LogBurst, "api", Severity::Info, Timestamp::UNIX_EPOCH, "s").build();
        let mut value = serde_json::to_value(Envelope::detection(&event)).unwrap();
        assert_eq!(value["specversion"], "1.0");
        assert_eq!(value["type"], DETECTION_V1);
        value["myattr"] = Value::from("x");
        let back: Envelope = serde_json::from_value(value).unwrap();
        assert_eq!(back.to_detection().unwrap(), event);
        assert_eq!(back.extensions["myattr"], "x");
        assert!(back.to_triaged().unwrap_err().to_string().contains("expected \"dev.aiops.triaged.v1\""));
    }

    #[test]
    fn says_whether_it_is_of_another_version_or_no_json() {
        let at = Timestamp::UNIX_EPOCH;
        let event = DetectionEvent::builder(EventKind::LogBurst, "api", Severity::Info, at, "s").build();
        let read = |kind: &str, content: &str| {
            let mut envelope = Envelope::detection(&event);
            (envelope.kind, envelope.datacontenttype) = (kind.to_owned(), content.to_owned());
            envelope.to_detection()
        };
        for content in ["application/json", "application/json; charset=utf-8", "application/vnd.aiops+JSON"] {
            assert_eq!(read(DETECTION_V1, content).unwrap(), event);
        }
        let error = read("dev.aiops.detection.v2", "application/json").unwrap_err();
        assert!(matches!(error, EnvelopeError::Version { .. }), "{error:?}");
        for kind in ["dev.aiops.detection.v", "dev.aiops.detection.v1.x", "dev.aiops.detections.v1"] {
            assert!(matches!(read(kind, "application/json"), Err(EnvelopeError::Type { .. })), "{kind}");
        }
        let error = read(DETECTION_V1, "application/avro").unwrap_err();
        assert!(matches!(error, EnvelopeError::ContentType { .. }), "{error:?}");
    }

    /// A bus that drops what has an id that it knows must not drop the end of a report that had waited.
    #[test]
    fn each_answer_to_one_report_has_its_own_id() {
        let event_id = EventId::v7(Timestamp::UNIX_EPOCH, [0; 10]);
        let at = |second| Timestamp::from_second(second).unwrap();
        let id = |disposition, second| {
            let response = Response::new("inc-1".into(), disposition, crate::responder::Plan::default(), at(second));
            Envelope::response(&event_id, &response).id
        };
        let ids = [
            id(Disposition::AwaitingApproval, 0),
            id(Disposition::AwaitingApproval, 900),
            id(Disposition::Executed, 1_000),
            id(Disposition::Duplicate, 1_001),
        ];
        let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
        assert_eq!(id(Disposition::Executed, 1), id(Disposition::NoAction, 2), "a report has one end");
    }
}
