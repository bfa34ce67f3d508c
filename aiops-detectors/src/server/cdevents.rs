//! Deploys as CDEvents tell them: `service.deployed`, `service.upgraded` and `service.rolledback`.

use std::collections::BTreeSet;

use aiops_core::{Rollout, RolloutPhase};
use jiff::Timestamp;
use serde_json::Value;

use super::deploys::{MAX_NAME, not_ahead};
use crate::alert_mapping::FieldFault;

/// The types that say that a service runs another artifact now, without their version.
const TYPES: [&str; 3] =
    ["dev.cdevents.service.deployed.", "dev.cdevents.service.upgraded.", "dev.cdevents.service.rolledback."];

/// What became of an event.
#[derive(Debug)]
pub(super) enum Read {
    Step(Rollout),
    /// Of an environment that is not ours.
    Elsewhere,
}

/// The CDEvent in an item: the item itself, or the data of a CloudEvent around it. None for an item of
/// another shape.
pub(super) fn find(item: &Value) -> Option<(&Value, &'static str)> {
    let is_event = |value: &Value| value.get("context").is_some() && value.get("subject").is_some();
    if is_event(item) {
        return Some((item, ""));
    }
    // What it is called, so that a CloudEvent of another kind is told as what it is.
    let named = item.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("dev.cdevents."));
    item.get("data").filter(|data| named || is_event(data)).map(|data| (data, "data."))
}

/// A finished rollout: these events are sent once the artifact runs. The deploy's id is the event's, its
/// version what stands behind the last `@` of the artifact's package URL.
pub(super) fn read(
    event: &Value,
    at: &'static str,
    environments: &BTreeSet<String>,
    now: Timestamp,
) -> Result<Read, FieldFault> {
    let field = |pointer: &'static str, name: &str| {
        let text = event.pointer(pointer).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| FieldFault::new(format!("{at}{name}"), "is missing or no text"))?;
        if text.len() > MAX_NAME {
            return Err(FieldFault::new(format!("{at}{name}"), "is too long"));
        }
        Ok(text)
    };
    let kind = field("/context/type", "context.type")?;
    let of = TYPES.iter().find_map(|known| kind.strip_prefix(known));
    if of.is_none_or(|version| !version.starts_with(|first: char| first.is_ascii_digit())) {
        let reason = "is neither service.deployed, service.upgraded nor service.rolledback of CDEvents";
        return Err(FieldFault::new(format!("{at}context.type"), reason));
    }
    if !environments.is_empty() {
        let environment = field("/subject/content/environment/id", "subject.content.environment.id")?;
        if !environments.contains(environment) {
            return Ok(Read::Elsewhere);
        }
    }
    let id = field("/context/id", "context.id")?;
    let service = field("/subject/id", "subject.id")?;
    let time = field("/context/timestamp", "context.timestamp")?.parse::<Timestamp>();
    let time = time.map_err(|_| FieldFault::new(format!("{at}context.timestamp"), "is no time as in RFC 3339"))?;
    not_ahead(time, now).map_err(|reason| FieldFault::new(format!("{at}context.timestamp"), reason))?;
    let artifact = event.pointer("/subject/content/artifactId").and_then(Value::as_str);
    let mut rollout = Rollout::new(service, id, RolloutPhase::Completed, time);
    rollout.version = artifact.map(version).filter(|version| !version.is_empty() && version.len() <= MAX_NAME);
    Ok(Read::Step(rollout))
}

/// The version of a package URL (`pkg:oci/app@sha256%3A0b31?…` gives `sha256:0b31`), or all of another
/// text.
fn version(artifact: &str) -> String {
    let path = artifact.split(['?', '#']).next().unwrap_or_default();
    let encoded = match path.rsplit_once('@') {
        Some((_, version)) if path.starts_with("pkg:") => version,
        _ => return artifact.to_owned(),
    };
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend(before.as_bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_package_url_is_decoded() {
        for (artifact, expected) in [
            ("pkg:oci/myapp@sha256%3A0b31b1?tag=v2", "sha256:0b31b1"),
            ("pkg:npm/%40scope/app@1.2.3#dist", "1.2.3"),
            ("pkg:oci/app@50%", "50%"),
            ("pkg:oci/app@%zz%c3%a9", "%zz\u{e9}"),
            ("pkg:oci/app", "pkg:oci/app"),
            ("registry/app@v2", "registry/app@v2"),
        ] {
            assert_eq!(version(artifact), expected, "{artifact}");
        }
    }
}
