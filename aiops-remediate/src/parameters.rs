//! The parameters that the dispatcher adds to a request beside the catalogue's own.

use aiops_core::{ActionRequest, DetectionEvent, Precondition};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// When the episode was first detected: what is younger than that was not there when it began.
pub const DETECTED_AT: &str = "detected_at";

/// The event's `service.version` label, where it has one: a handler may act only on that version. It
/// narrows what may be done and never widens it, since labels are not trusted.
pub const SERVICE_VERSION: &str = "service_version";

/// The precondition that the first inspection saw. It is there when the dispatcher asks again, to
/// verify or to recover, so that a handler can tell whether the effect is there.
pub const OBSERVED: &str = "observed";

/// What the dispatcher tells every handler about the event.
#[must_use]
pub fn of_event(event: &DetectionEvent) -> Map<String, Value> {
    let mut parameters = Map::new();
    parameters.insert(DETECTED_AT.to_owned(), event.detected_at.to_string().into());
    if let Some(version) = event.labels.get("service.version") {
        parameters.insert(SERVICE_VERSION.to_owned(), version.clone().into());
    }
    parameters
}

/// The request as it is asked again after `precondition` was observed.
#[must_use]
pub fn with_observed(request: &ActionRequest, precondition: &Precondition) -> ActionRequest {
    let facts = precondition.facts().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let mut parameters = request.parameters.clone();
    parameters.insert(OBSERVED.to_owned(), Value::Object(facts));
    request.clone().parameters(parameters)
}

/// What was observed before the action ran: [`OBSERVED`] as a precondition. Absent at the first
/// inspection.
#[must_use]
pub fn observed(request: &ActionRequest) -> Option<Precondition> {
    let facts = request.parameters.get(OBSERVED)?.as_object()?;
    Some(Precondition::new(facts.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))))
}

/// When the episode was first detected: [`DETECTED_AT`] as a time.
#[must_use]
pub fn detected_at(request: &ActionRequest) -> Option<Timestamp> {
    request.parameters.get(DETECTED_AT)?.as_str()?.parse().ok()
}

/// The version that ran when the event fired: [`SERVICE_VERSION`].
#[must_use]
pub fn service_version(request: &ActionRequest) -> Option<&str> {
    request.parameters.get(SERVICE_VERSION)?.as_str()
}
