//! Identity (without time) and fingerprint (with time) of an event.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::event::EventKind;
use crate::names::ServiceName;

/// Width of a fingerprint's time bucket in seconds (field report, section 2).
pub const BUCKET_SECONDS: i64 = 300;

/// The dedup key with time: the first 16 hex digits of SHA-1 over `kind|service|alertname|bucket`,
/// bucket = unix seconds of `detected_at` ÷ 300, floored.
///
/// For parts without `|` and `%` it equals the field report's Python byte for byte.
/// One that a foreign event carries may be any text; the pipeline replaces it with ours and keeps
/// the foreign one as `upstream_id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a raw string, see [`raw`].
    #[must_use]
    pub fn of_raw(raw: &str) -> Self {
        Self(sha1_head(raw.as_bytes()))
    }

    /// The text: 16 lower-case hex digits for ours.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether none is carried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The first eight bytes of SHA-1 as 16 lower-case hex digits.
pub(crate) fn sha1_head(bytes: &[u8]) -> String {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut head = String::with_capacity(16);
    for byte in Sha1::digest(bytes).iter().take(8) {
        head.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    head
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Percent-encodes `|` and `%`, so that two sequences of parts never meet in one raw string. Lock
/// keys and subjects use the same encoding.
#[must_use]
pub fn encode(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for c in part.chars() {
        match c {
            '%' => out.push_str("%25"),
            '|' => out.push_str("%7C"),
            c => out.push(c),
        }
    }
    out
}

/// The string that is hashed: the encoded parts joined by `|`, then the bucket of `at`.
#[must_use]
pub fn raw<'a>(parts: impl IntoIterator<Item = &'a str>, at: Timestamp) -> String {
    let mut out: String = parts.into_iter().map(|part| encode(part) + "|").collect();
    out.push_str(&floor_seconds(at).div_euclid(BUCKET_SECONDS).to_string());
    out
}

/// Whole seconds, floored (also before 1970), as Python's `//` does.
fn floor_seconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond().div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
}

/// The fingerprint of a triple at a time.
///
/// ```
/// let at = jiff::Timestamp::from_second(1_746_432_299)?;
/// let print = aiops_core::fingerprint("metric_anomaly", "checkout", "P99LatencyAnomaly", at);
/// assert_eq!(print.to_string(), "9c3c84d025b7a40b");
/// # Ok::<(), jiff::Error>(())
/// ```
#[must_use]
pub fn fingerprint(kind: &str, service: &str, alertname: &str, at: Timestamp) -> Fingerprint {
    Fingerprint::of_raw(&raw([kind, service, alertname], at))
}

/// (kind, service, alertname), no time, and the values of the configured identity labels.
///
/// Everything that outlives a time bucket keys on it: episodes, dedup, budgets, resolves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// What is seen.
    pub kind: EventKind,
    /// Where.
    pub service: ServiceName,
    /// By which rule; a detector that watches something finer puts it here (`DiskFull//dev/sda1`).
    pub alertname: String,
    /// From a detector: any labels. After [`IdentityScheme::reduce`]: the identity labels alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Identity {
    /// An identity without labels.
    pub fn new(kind: EventKind, service: impl Into<ServiceName>, alertname: impl Into<String>) -> Self {
        Self { kind, service: service.into(), alertname: alertname.into(), labels: BTreeMap::new() }
    }

    /// With one label, for hosts that set identity labels.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        [self.kind.as_str(), self.service.as_str(), &self.alertname]
            .into_iter()
            .chain(self.labels.values().map(String::as_str))
    }

    /// The encoded parts joined by `|`: a unique key among identities of one scheme.
    #[must_use]
    pub fn key(&self) -> String {
        self.parts().map(encode).collect::<Vec<_>>().join("|")
    }

    /// The fingerprint of an episode that was first detected at `detected_at`.
    #[must_use]
    pub fn fingerprint(&self, detected_at: Timestamp) -> Fingerprint {
        Fingerprint::of_raw(&raw(self.parts(), detected_at))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// Which labels join the identity beside (kind, service, alertname).
///
/// A host that runs one service in several clusters sets `["cluster"]`. None set gives the field
/// report's bytes. Volatile labels (pod, instance, request id) do not belong here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdentityScheme {
    labels: Vec<String>,
}

impl IdentityScheme {
    /// A scheme with these identity labels, in any order.
    pub fn with_labels(labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        labels.sort();
        labels.dedup();
        Self { labels }
    }

    /// Keeps the configured labels of an identity.
    ///
    /// # Errors
    /// A configured label that is missing: an absent value is not an empty one.
    pub fn reduce(&self, identity: &Identity) -> Result<Identity, MissingIdentityLabel> {
        let mut labels = BTreeMap::new();
        for name in &self.labels {
            let value = identity.labels.get(name).ok_or_else(|| MissingIdentityLabel {
                label: name.clone(),
                alertname: crate::text::clip(&identity.alertname, 80),
                service: crate::text::clip(identity.service.as_str(), 80),
            })?;
            labels.insert(name.clone(), value.clone());
        }
        Ok(Identity { labels, ..identity.clone() })
    }
}

/// An event lacks a label that the host made part of the identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "identity label {label:?} is missing on {alertname:?} of service {service:?}; set it on the series or remove it from identity_labels"
)]
pub struct MissingIdentityLabel {
    label: String,
    alertname: String,
    service: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn equals_the_field_reports_python() {
        let print = |s| fingerprint("metric_anomaly", "checkout", "P99LatencyAnomaly", at(s)).to_string();
        assert_eq!(print(1_746_432_299), "9c3c84d025b7a40b");
        assert_eq!(print(1_746_432_300), "8d2cd9f598533c85");
    }

    #[test]
    fn separators_are_encoded() {
        assert_eq!(raw(["a|b", "c%7C", "d"], at(300)), "a%7Cb|c%257C|d|1");
        // hashlib.sha1(b"log_burst|a%7Cb|100%25|0").hexdigest()[:16]
        assert_eq!(fingerprint("log_burst", "a|b", "100%", at(0)).to_string(), PYTHON_OF_ENCODED);
    }
    const PYTHON_OF_ENCODED: &str = "26d8b0c106743c06";

    #[test]
    fn buckets_floor_before_1970_too() {
        assert!(raw(["k"], at(-1)).ends_with("|-1"));
        assert!(raw(["k"], at(0)).ends_with("|0"));
        assert!(raw(["k"], Timestamp::from_nanosecond(-1).unwrap()).ends_with("|-1"));
    }

    #[test]
    fn identity_labels_join_and_a_missing_one_is_an_error() {
        let scheme = IdentityScheme::with_labels(["cluster"]);
        let bare = Identity::new(EventKind::LogBurst, "api", "LogBurst");
        assert!(scheme.reduce(&bare).unwrap_err().to_string().contains("cluster"));
        let eu = scheme.reduce(&bare.clone().label("cluster", "eu").label("pod", "p1")).unwrap();
        let us = scheme.reduce(&bare.clone().label("cluster", "us")).unwrap();
        assert_ne!(eu.key(), us.key());
        assert_ne!(eu.fingerprint(at(0)), us.fingerprint(at(0)));
        let empty = scheme.reduce(&bare.label("cluster", "")).unwrap();
        assert_ne!(empty.fingerprint(at(0)), eu.fingerprint(at(0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn two_different_triples_never_share_a_raw_string(
            a in prop::array::uniform3("[a|%27C5]{0,6}"), b in prop::array::uniform3("[a|%27C5]{0,6}"), bucket in 0i64..3
        ) {
            let raw_of = |t: &[String; 3]| raw(t.iter().map(String::as_str), at(bucket * 300));
            prop_assert_eq!(a == b, raw_of(&a) == raw_of(&b));
        }
    }
}
