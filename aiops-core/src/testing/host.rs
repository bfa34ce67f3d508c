//! What belongs to a host, recorded: a tracing subscriber and a metrics recorder that keep what they
//! are given. Neither is installed by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Subscriber};

use crate::lock::lock;

/// One line that was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// From which module.
    pub target: String,
    /// The message, and then `name=value` for each field.
    pub text: String,
}

/// One span that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanLine {
    /// How loud.
    pub level: Level,
    /// From which module, or what it names instead.
    pub target: String,
    /// Its name.
    pub name: &'static str,
    /// Its fields that have a value, as text; the last value of each.
    pub fields: BTreeMap<&'static str, String>,
}

/// A tracing subscriber that keeps every line and every span. Clones share them.
///
/// ```
/// let log = aiops_core::testing::LogRecorder::default();
/// tracing::subscriber::with_default(log.clone(), || tracing::warn!(incident = "inc-1", "late"));
/// assert_eq!(log.lines()[0].text, "late incident=inc-1");
/// ```
#[derive(Debug, Clone, Default)]
pub struct LogRecorder {
    lines: Arc<Mutex<Vec<LogLine>>>,
    spans: Arc<Mutex<Vec<SpanLine>>>,
}

impl LogRecorder {
    /// What was logged, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        lock(&self.lines).clone()
    }

    /// The spans that were opened, in order.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanLine> {
        lock(&self.spans).clone()
    }
}

impl Visit for SpanLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Subscriber for LogRecorder {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let metadata = attributes.metadata();
        let (level, target) = (*metadata.level(), metadata.target().to_owned());
        let mut opened = SpanLine { level, target, name: metadata.name(), fields: BTreeMap::new() };
        attributes.record(&mut opened);
        let mut spans = lock(&self.spans);
        spans.push(opened);
        // Its place, counted from 1: an id is not 0.
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        let place = usize::try_from(id.into_u64() - 1).unwrap_or(usize::MAX);
        if let Some(span) = lock(&self.spans).get_mut(place) {
            values.record(span);
        }
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        lock(&self.lines).push(LogLine {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            text: text.message + &text.fields,
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A metrics recorder that adds up counters and keeps the last value of gauges and histograms, all
/// labels taken together. Clones share them.
///
/// ```
/// let metrics = aiops_core::testing::MetricRecorder::default();
/// metrics::with_local_recorder(&metrics, || metrics::counter!("aiops_bus_unrouted_total", "topic" => "t").increment(2));
/// assert_eq!(metrics.value("aiops_bus_unrouted_total"), Some(2.0));
/// ```
#[derive(Debug, Clone, Default)]
pub struct MetricRecorder {
    /// By name.
    values: Values,
    /// By name and labels, as [`series`](Self::series) takes them.
    series: Values,
}

type Values = Arc<Mutex<BTreeMap<String, f64>>>;

impl MetricRecorder {
    /// The value of one metric, where it was ever set.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        lock(&self.values).get(name).copied()
    }

    /// The value of one series, where it was ever set: `name{label=value,…}`, labels by name.
    #[must_use]
    pub fn series(&self, series: &str) -> Option<f64> {
        lock(&self.series).get(series).copied()
    }

    /// The names of all metrics that were ever set.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.values).keys().cloned().collect()
    }

    fn handle(&self, key: &Key) -> Arc<Handle> {
        let mut labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        let of_all = (key.name().to_owned(), Arc::clone(&self.values));
        let of_series = (format!("{}{{{}}}", key.name(), labels.join(",")), Arc::clone(&self.series));
        Arc::new(Handle { places: [of_all, of_series] })
    }
}

#[derive(Debug)]
struct Handle {
    places: [(String, Values); 2],
}

impl Handle {
    fn change(&self, change: impl Fn(f64) -> f64) {
        for (name, values) in &self.places {
            let mut values = lock(values);
            let value = values.entry(name.clone()).or_default();
            *value = change(*value);
        }
    }
}

// Counts in tests stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
impl CounterFn for Handle {
    fn increment(&self, by: u64) {
        self.change(|value| value + by as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|_| value as f64);
    }
}

impl GaugeFn for Handle {
    fn increment(&self, by: f64) {
        self.change(|value| value + by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| value - by);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        self.change(|_| value);
    }
}

impl Recorder for MetricRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.handle(key))
    }
}
