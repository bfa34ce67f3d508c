//! JSON Schema (draft 2020-12) of what crosses a layer, for hosts in other languages.
//!
//! Each schema says what is accepted: fields that are optional on read are not required, and unknown
//! ones are allowed. What this crate writes is accepted by it. The same schemas stand in `docs/schema/`.
//!
//! ```
//! let schema = aiops_core::schema::detection_event();
//! assert_eq!(schema["properties"]["severity"]["$ref"], "#/$defs/Severity");
//! ```

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::bus::Envelope;
use crate::context::TriageContext;
use crate::event::DetectionEvent;
use crate::incident_log::Incident;
use crate::notify::Notice;
use crate::responder::Response;
use crate::triage::{TriageReport, Triaged};

fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// From detection to the other layers: [`DetectionEvent`].
#[must_use]
pub fn detection_event() -> Value {
    of::<DetectionEvent>()
}

/// What a triager is given to read: [`TriageContext`].
#[must_use]
pub fn triage_context() -> Value {
    of::<TriageContext>()
}

/// What a triager writes: [`TriageReport`].
#[must_use]
pub fn triage_report() -> Value {
    of::<TriageReport>()
}

/// From triage to remediation: [`Triaged`].
#[must_use]
pub fn triaged() -> Value {
    of::<Triaged>()
}

/// What became of a report, with its plan and steps: [`Response`].
#[must_use]
pub fn response() -> Value {
    of::<Response>()
}

/// One message to people: [`Notice`].
#[must_use]
pub fn notice() -> Value {
    of::<Notice>()
}

/// One incident with its timeline: [`Incident`].
#[must_use]
pub fn incident() -> Value {
    of::<Incident>()
}

/// The CloudEvents 1.0 message around all of them: [`Envelope`].
#[must_use]
pub fn envelope() -> Value {
    of::<Envelope>()
}

/// All schemas by the name of their file.
#[must_use]
pub fn all() -> [(&'static str, Value); 8] {
    [
        ("detection_event", detection_event()),
        ("envelope", envelope()),
        ("incident", incident()),
        ("notice", notice()),
        ("response", response()),
        ("triage_context", triage_context()),
        ("triage_report", triage_report()),
        ("triaged", triaged()),
    ]
}
