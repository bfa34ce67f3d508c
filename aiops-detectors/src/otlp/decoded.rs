//! What a request gave and what of it was refused, and the walk over its resources.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::field::{Id, Unsigned};
use super::message::{Export, KeyValue, Resource, ResourceGroup, ScopeGroup};
use super::raw::{Raw, Repeated};
use super::text::{clip, text_of};
use super::wire::Malformed;
use crate::source::Labels;

const SERVICE_NAME: &str = "service.name";
const SERVICE_VERSION: &str = "service.version";
/// What SDKs fill in where nobody said which service it is (semantic conventions, "service").
const UNKNOWN_SERVICE: &str = "unknown_service";

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtlpEncoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// The body is no OTLP request of its encoding, as a whole: sending it again is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is no OTLP request of its encoding")]
pub struct MalformedOtlp;

impl From<Malformed> for MalformedOtlp {
    fn from(_: Malformed) -> Self {
        Self
    }
}

/// Bounds of what is taken out of one request, and which attributes of a resource become labels.
///
/// The labels of a resource are copied to each of its items: by the bounds below a request takes at the most
/// 150 MB beside its body, and 10 MB as senders are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpSettings {
    /// Data points, log records or spans of one request; further ones are refused. 50,000 unless set.
    pub max_items: usize,
    /// Attributes of one item that become labels; further ones are left out. 64 unless set.
    pub max_attributes: usize,
    /// Bytes of the name or the value of a label; what is longer is cut. 512 unless set.
    pub max_label_bytes: usize,
    /// Bytes of a log line; what is longer is cut. 16 KiB unless set.
    pub max_line_bytes: usize,
    /// Attributes of the resource that become labels: name, namespace, version and instance of the
    /// service and its environment unless set. All of them would make a new series of each restart.
    pub resource_labels: Vec<String>,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        let labels = ["name", "namespace", "version", "instance.id"].map(|what| format!("service.{what}"));
        Self {
            max_items: 50_000,
            max_attributes: 64,
            max_label_bytes: 512,
            max_line_bytes: 16 * 1_024,
            resource_labels: labels.into_iter().chain(["deployment.environment.name".to_owned()]).collect(),
        }
    }
}

/// Why one data point, log record or span was refused, and only it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OtlpFault {
    /// A field is not of its type.
    Malformed,
    /// It has no time, or one that no clock shows.
    NoTime,
    /// It has no value.
    NoValue,
    /// Whether a sum or histogram is cumulative or a delta is not said.
    NoTemporality,
    /// The buckets of a histogram contradict each other or its count, or are too many.
    Buckets,
    /// The trace id is not 16 bytes, or all zero.
    TraceId,
    /// A span ends before it starts.
    EndsBeforeStart,
    /// A log record says nothing.
    Empty,
    /// It is beyond the bound for one request.
    TooMany,
    /// Its time is more than five minutes ahead of when it was received: a wrong clock.
    Ahead,
    /// The buffer that it should go to is full.
    Full,
}

impl OtlpFault {
    /// The label value of `aiops_otlp_rejected_total`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoTime => "no_time",
            Self::NoValue => "no_value",
            Self::NoTemporality => "no_temporality",
            Self::Buckets => "buckets",
            Self::TraceId => "trace_id",
            Self::EndsBeforeStart => "ends_before_start",
            Self::Empty => "empty",
            Self::TooMany => "too_many",
            Self::Ahead => "ahead",
            Self::Full => "full",
        }
    }
}

impl From<Malformed> for OtlpFault {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What is known of a request beside its items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OtlpTally {
    /// How many items were refused, by why.
    pub rejected: BTreeMap<OtlpFault, u64>,
    /// Items of a resource without `service.name`, or with the `unknown_service` that SDKs fill in.
    pub without_service: u64,
    /// Items of a resource without `service.version`.
    pub without_version: u64,
    /// Names, values and lines that were cut at a bound, and attributes that were left out.
    pub cut: u64,
    /// Data points that say that there is no value (staleness markers).
    pub stale: u64,
    /// Items that were taken, of a time more than an hour before they were received: no window of lines or spans
    /// waits for so long, and no series goes back.
    pub late: u64,
    /// Items that no source wants.
    pub unread: u64,
    /// Of those, log records that do not say how bad they are.
    pub without_severity: u64,
}

impl OtlpTally {
    /// Items that were refused.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.values().sum()
    }

    pub(super) fn reject(&mut self, fault: OtlpFault) {
        *self.rejected.entry(fault).or_default() += 1;
    }
}

/// For the sender: what was refused and what is missing; empty where nothing is.
impl fmt::Display for OtlpTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> =
            self.rejected.iter().map(|(fault, count)| format!("{count} rejected: {}", fault.as_str())).collect();
        for (count, name) in [(self.without_service, SERVICE_NAME), (self.without_version, SERVICE_VERSION)] {
            if count > 0 {
                parts.push(format!("{count} without the resource attribute {name}"));
            }
        }
        if self.late > 0 {
            parts.push(format!("{} more than an hour late", self.late));
        }
        f.write_str(&parts.join("; "))
    }
}

/// The items of a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OtlpBatch<T> {
    /// Those that were understood, in the order of the request.
    pub items: Vec<T>,
    /// What became of the others.
    pub tally: OtlpTally,
}

/// Who sent the items that are read now.
#[derive(Debug, Clone, Default)]
pub(super) struct Producer {
    /// The attributes of its resource that become labels.
    labels: Labels,
    /// Tells its streams from those of others with the same labels.
    pub(super) id: u64,
    /// Its `service.name`; empty where that is unknown.
    service: String,
    has_version: bool,
}

impl Producer {
    fn read(resource: Option<Raw<'_>>, settings: &OtlpSettings, tally: &mut OtlpTally) -> Result<Self, Malformed> {
        let mut producer = Self::default();
        let resource: Resource<'_> = resource.map_or(Ok(Resource::default()), Raw::read)?;
        resource.attributes.for_each(|raw| {
            // In any order: not every sender keeps one.
            producer.id = producer.id.wrapping_add(hash_of(raw));
            // An odd attribute is none: it does not cost the items of the resource.
            let Ok(pair) = raw.read::<KeyValue<'_>>() else { return Ok(()) };
            let Ok(Some((value, cut))) = text_of(pair.value, settings.max_label_bytes) else { return Ok(()) };
            let is_service = pair.key.0 == SERVICE_NAME;
            if value.is_empty() || is_service && value.starts_with(UNKNOWN_SERVICE) {
                return Ok(());
            }
            producer.has_version |= pair.key.0 == SERVICE_VERSION;
            if is_service {
                producer.service.clone_from(&value);
            }
            if settings.resource_labels.iter().any(|name| *name == pair.key.0) {
                tally.cut += u64::from(cut);
                producer.labels.insert(pair.key.0.into_owned(), value);
            }
            Ok(())
        })?;
        Ok(producer)
    }

    /// The service and the labels of one item, its attributes beside or in place of those of the resource;
    /// counts what is missing.
    pub(super) fn of_item(
        &self,
        attributes: Repeated<'_>,
        settings: &OtlpSettings,
        tally: &mut OtlpTally,
    ) -> Result<(String, Labels), Malformed> {
        let mut labels = self.labels.clone();
        let mut left = settings.max_attributes;
        let mut cut = 0;
        attributes.for_each(|raw| {
            let pair: KeyValue<'_> = raw.read()?;
            let Some((value, cut_value)) = text_of(pair.value, settings.max_label_bytes)? else { return Ok(()) };
            if left == 0 {
                cut += 1;
                return Ok(());
            }
            left -= 1;
            let (key, cut_key) = clip(&pair.key.0, settings.max_label_bytes);
            cut += u64::from(cut_key) + u64::from(cut_value);
            labels.insert(key, value);
            Ok(())
        })?;
        let service = labels.get(SERVICE_NAME).unwrap_or(&self.service).clone();
        tally.cut += cut;
        tally.without_service += u64::from(service.is_empty());
        tally.without_version += u64::from(!self.has_version && !labels.contains_key(SERVICE_VERSION));
        Ok((service, labels))
    }
}

fn hash_of(raw: Raw<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match raw {
        Raw::Protobuf(bytes) => bytes.hash(&mut hasher),
        Raw::Json(text) => text.get().hash(&mut hasher),
    }
    hasher.finish()
}

/// A body that was told to be of an encoding.
pub(super) fn raw_body(body: &[u8], encoding: OtlpEncoding) -> Result<Raw<'_>, MalformedOtlp> {
    match encoding {
        OtlpEncoding::Protobuf => Ok(Raw::Protobuf(body)),
        OtlpEncoding::Json => serde_json::from_slice::<&RawValue>(body).map(Raw::Json).map_err(|_| MalformedOtlp),
    }
}

/// Goes over metrics, log records or spans, with who sent them.
pub(super) fn walk<'a>(
    body: Raw<'a>,
    settings: &OtlpSettings,
    tally: &mut OtlpTally,
    mut item: impl FnMut(&Producer, Raw<'a>, &mut OtlpTally),
) -> Result<(), Malformed> {
    let export: Export<'a> = body.read()?;
    export.resources.for_each(|group| {
        let group: ResourceGroup<'a> = group.read()?;
        let resource = Producer::read(group.resource.0, settings, tally)?;
        group.scopes.for_each(|scope| {
            let scope: ScopeGroup<'a> = scope.read()?;
            let mut producer = resource.clone();
            producer.id = producer.id.wrapping_add(scope.scope.0.map_or(0, hash_of));
            scope.items.for_each(|raw| {
                item(&producer, raw, tally);
                Ok(())
            })
        })
    })
}

/// Unix nanoseconds; 0 is none.
pub(super) fn time(nanos: &Unsigned) -> Option<Timestamp> {
    (nanos.0 != 0).then(|| Timestamp::from_nanosecond(i128::from(nanos.0)).ok()).flatten()
}

/// Takes what `read` makes of one item, which may be none, or counts why it is refused. Items beyond the
/// bound are not read.
pub(super) fn take<T>(
    items: &mut Vec<T>,
    settings: &OtlpSettings,
    tally: &mut OtlpTally,
    read: impl FnOnce(&mut OtlpTally) -> Result<Option<T>, OtlpFault>,
) {
    let item = if items.len() < settings.max_items { read(tally) } else { Err(OtlpFault::TooMany) };
    match item {
        Ok(item) => items.extend(item),
        Err(fault) => tally.reject(fault),
    }
}

/// The id of a trace as hex text; none where it is not one.
pub(super) fn trace_id(id: &Id<'_>) -> Option<String> {
    let valid = id.0.len() == 16 && id.0.iter().any(|byte| *byte != 0);
    valid.then(|| {
        id.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|d| char::from_digit(d.into(), 16)).collect()
    })
}
