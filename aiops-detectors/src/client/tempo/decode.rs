//! Bodies of the Tempo HTTP API: JSON of protobuf messages, in which 64-bit numbers are texts and what is zero or
//! empty is left out.

use std::time::Duration;

use jiff::Timestamp;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, de};

use crate::source::{Labels, Sample, Series};

/// Hex digits of a trace id; Tempo leaves leading zeros out.
const TRACE_ID: usize = 32;

/// A trace that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundTrace {
    /// Its id, 32 hex digits.
    pub trace_id: String,
    /// The service of its root span; empty where the root has not come in.
    pub root_service: String,
    /// The name of its root span; empty where that has not come in.
    pub root_name: String,
    /// When it began.
    pub start: Timestamp,
    /// How long it took, in whole milliseconds.
    pub duration: Duration,
    /// Spans that matched, as many as Tempo gives of each trace (3 unless it is configured otherwise).
    pub spans: Vec<FoundSpan>,
}

/// A span that matched a search.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundSpan {
    /// Its id, 16 hex digits.
    pub span_id: String,
    /// When it began.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// The attributes that the expression names.
    pub attributes: Labels,
}

#[derive(Deserialize)]
pub(super) struct SearchBody {
    #[serde(default)]
    pub(super) traces: Option<Vec<TraceBody>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct TraceBody {
    #[serde(rename = "traceID")]
    trace_id: String,
    root_service_name: String,
    root_trace_name: String,
    #[serde(deserialize_with = "nanoseconds")]
    start_time_unix_nano: Timestamp,
    #[serde(deserialize_with = "whole")]
    duration_ms: u64,
    span_set: Option<SpanSetBody>,
    span_sets: Option<Vec<SpanSetBody>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SpanSetBody {
    spans: Option<Vec<SpanBody>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SpanBody {
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(deserialize_with = "nanoseconds")]
    start_time_unix_nano: Timestamp,
    #[serde(deserialize_with = "whole")]
    duration_nanos: u64,
    attributes: Option<Vec<KeyValue>>,
}

impl From<TraceBody> for FoundTrace {
    fn from(body: TraceBody) -> Self {
        // The same set may be told in both forms.
        let sets = body.span_sets.filter(|sets| !sets.is_empty()).or(body.span_set.map(|set| vec![set]));
        let spans = sets.unwrap_or_default().into_iter().flat_map(|set| set.spans.unwrap_or_default());
        Self {
            trace_id: format!("{:0>TRACE_ID$}", body.trace_id),
            root_service: body.root_service_name,
            root_name: body.root_trace_name,
            start: body.start_time_unix_nano,
            duration: Duration::from_millis(body.duration_ms),
            spans: spans.map(FoundSpan::from).collect(),
        }
    }
}

impl From<SpanBody> for FoundSpan {
    fn from(body: SpanBody) -> Self {
        Self {
            span_id: format!("{:0>16}", body.span_id),
            start: body.start_time_unix_nano,
            duration: Duration::from_nanos(body.duration_nanos),
            attributes: labels(body.attributes),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct MetricsBody {
    series: Option<Vec<SeriesBody>>,
    status: Option<serde_json::Value>,
    message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SeriesBody {
    labels: Option<Vec<KeyValue>>,
    samples: Option<Vec<SampleBody>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SampleBody {
    #[serde(deserialize_with = "milliseconds")]
    timestamp_ms: Timestamp,
    #[serde(deserialize_with = "number")]
    value: f64,
}

impl MetricsBody {
    /// Tempo's words for what is missing. A status of 0 or `COMPLETE` is left out or said.
    pub(super) fn partial(&self) -> Option<String> {
        let whole = match &self.status {
            None | Some(serde_json::Value::Null) => true,
            Some(serde_json::Value::Number(number)) => number.as_u64() == Some(0),
            Some(serde_json::Value::String(text)) => text.eq_ignore_ascii_case("complete"),
            Some(_) => false,
        };
        (!whole).then(|| self.message.clone().unwrap_or_default())
    }

    pub(super) fn series(self) -> Vec<Series> {
        let series = self.series.unwrap_or_default().into_iter().map(|series| {
            let samples = series.samples.unwrap_or_default();
            let mut samples: Vec<Sample> =
                samples.into_iter().map(|sample| Sample { at: sample.timestamp_ms, value: sample.value }).collect();
            samples.sort_by_key(|sample| sample.at);
            Series::new(labels(series.labels), samples)
        });
        series.filter(|series| !series.samples.is_empty()).collect()
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct KeyValue {
    key: String,
    value: Option<AnyValue>,
}

/// A value of an attribute; what has another form than these is left empty.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AnyValue {
    string_value: Option<String>,
    int_value: Option<TextOrNumber>,
    double_value: Option<f64>,
    bool_value: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Whole(i64),
    Number(f64),
}

fn labels(pairs: Option<Vec<KeyValue>>) -> Labels {
    let text = |value: AnyValue| {
        let int = value.int_value.map(|int| match int {
            TextOrNumber::Text(text) => text,
            TextOrNumber::Whole(number) => number.to_string(),
            TextOrNumber::Number(number) => number.to_string(),
        });
        let double = value.double_value.map(|double| double.to_string());
        value.string_value.or(int).or(double).or(value.bool_value.map(|truth| truth.to_string())).unwrap_or_default()
    };
    let pairs = pairs.unwrap_or_default().into_iter();
    pairs.map(|pair| (pair.key, pair.value.map(text).unwrap_or_default())).collect()
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match TextOrNumber::deserialize(deserializer)? {
        TextOrNumber::Text(text) => text.parse().ok(),
        TextOrNumber::Whole(number) => u64::try_from(number).ok(),
        TextOrNumber::Number(_) => None,
    }
    .ok_or_else(|| D::Error::invalid_value(de::Unexpected::Other("another value"), &"a whole number or its text"))
}

fn nanoseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    Timestamp::from_nanosecond(whole(deserializer)?.into()).map_err(|_| D::Error::custom("no time in nanoseconds"))
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let millis = i64::try_from(whole(deserializer)?).ok();
    let at = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    at.ok_or_else(|| D::Error::custom("no time in milliseconds"))
}

/// A double, of which protobuf's JSON writes what JSON cannot say as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match TextOrNumber::deserialize(deserializer)? {
        TextOrNumber::Text(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        TextOrNumber::Whole(number) => Some(number as f64),
        TextOrNumber::Number(number) => Some(number),
    }
    .ok_or_else(|| D::Error::invalid_value(de::Unexpected::Other("another value"), &"a number or its text"))
}
