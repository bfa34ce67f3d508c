//! Trace error spikes: operations that fail or slow down beyond their own baseline.

mod operation;
mod sketch;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::{
    DataState, DetectionEvent, Detector, DetectorError, Evaluation, EventKind, Identity, ServiceName, Severity,
    Sighting, Signal, Tick, time,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::operation::{Firing, MIN_WINDOWS, Minute, Operation, Seen, THRESHOLD, WINDOW_MINUTES};
use crate::scorer::{ScorerStateError, restore, save};
use crate::source::{SpanBatch, SpanSource};

/// Its name, and what its saved bytes say they are.
const NAME: &str = "TraceErrorSpike";
/// The alertname of slow operations; that of failing ones is the detector's name.
const LATENCY: &str = "TraceLatencyShift";
/// Between two evaluations: the window slides by it.
const EVERY: Duration = Duration::from_secs(60);
/// How long a minute waits for its spans: exporters send batches every few seconds, tail sampling
/// waits for half a minute.
const GRACE: Duration = Duration::from_secs(60);
/// What is read at the first start, and caught up after a restart.
const LOOKBACK_MINUTES: u32 = 60;
/// Operations that are watched at the most, over all services.
const MAX_OPERATIONS: usize = 10_000;
/// Minutes without a call after which an operation is forgotten: a day.
const IDLE_MINUTES: u32 = 1_440;
/// Share of failed calls from which a spike is critical: most users see it.
const CRITICAL_SHARE: f64 = 0.5;
/// The longest operation in an alertname: ids in operation names must not make names without end.
const LONGEST_OPERATION: usize = 200;

type Key = (ServiceName, String);

/// Watches the calls of each (service, operation) over five minutes that slide by one, against that
/// operation's own last day.
///
/// - **Errors**, alertname `TraceErrorSpike/OPERATION`: the share of failed calls is more than four
///   deviations above the baseline's (two proportions), at least twice it, with at least 20 calls and 5
///   failures. Critical when half of the calls fail.
/// - **Latency**, alertname `TraceLatencyShift/OPERATION`: more calls lie beyond the baseline's 95th
///   percentile than four deviations explain, and the percentile itself is at least one and a half times
///   it, with at least 50 calls. Percentiles are within 2 %.
///
/// Both need six windows with calls. Windows that fired stay out of the baseline; after an hour of them in
/// a row they are the baseline. An operation with too few calls is unknown. An event carries the ids of up
/// to five traces (`exemplars`): the newest failed ones, or the slowest.
#[derive(Debug)]
pub struct TraceErrorSpike<S> {
    source: S,
    severity: Severity,
    grace: Duration,
    max_operations: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// Up to which unix minute spans were read.
    read_to: Option<u32>,
    /// Minutes known in a row before that, at most five.
    in_row: u32,
    #[serde(with = "pairs")]
    operations: BTreeMap<Key, Operation>,
}

/// A map whose keys are no text, as a list.
mod pairs {
    use super::{BTreeMap, Deserialize, Key, Operation, Serialize};

    pub(super) fn serialize<S: serde::Serializer>(map: &BTreeMap<Key, Operation>, to: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<Key, Operation>, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

impl<S: SpanSource> TraceErrorSpike<S> {
    /// Watches every operation that the source gives spans of.
    #[must_use]
    pub fn new(source: S) -> Self {
        let state = Mutex::default();
        Self { source, severity: Severity::Warning, grace: GRACE, max_operations: MAX_OPERATIONS, state }
    }

    /// The severity of events that are not critical; warning unless set.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// How long a minute waits for its spans; 60 s unless set. Later ones are not counted.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Operations at the most, 10,000 unless set; spans of further ones are refused and counted.
    #[must_use]
    pub fn max_operations(mut self, max: usize) -> Self {
        self.max_operations = max;
        self
    }

    /// Operations that are tracked now: those with a call within a day.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.state().operations.len()
    }

    /// The state of all operations as versioned bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        save(NAME, &*self.state())
    }

    /// Takes saved state back, in place of what is known now. Operations beyond the bound are left out and
    /// counted.
    ///
    /// # Errors
    /// Bytes that do not read, of another version, or that no detector can have saved: it stays as it was.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let mut saved: State = restore(NAME, bytes)?;
        if !saved.operations.values().all(Operation::is_sound) {
            return Err(ScorerStateError { scorer: NAME, source: "the counts of an operation do not add up".into() });
        }
        while saved.operations.len() > self.max_operations {
            saved.operations.pop_last();
            metrics::counter!("aiops_trace_operations_refused_total").increment(1);
        }
        saved.in_row = saved.in_row.min(WINDOW_MINUTES);
        *self.state() = saved;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sightings(&self, state: &State, now: Timestamp) -> Evaluation {
        let read_to = state.read_to.map_or(now, start_of).min(now);
        let both = |((service, operation), tracked): (&Key, &Operation)| {
            let name = aiops_core::text::clip(operation, LONGEST_OPERATION);
            [(NAME, &tracked.errors), (LATENCY, &tracked.latency)].map(|(rule, seen)| {
                let identity = Identity::new(EventKind::TraceErrorSpike, service.clone(), format!("{rule}/{name}"));
                match seen {
                    Seen::Nothing => Sighting::Unknown(identity, DataState::Warming { n: 0, of: MIN_WINDOWS }),
                    Seen::Warming(n) => Sighting::Unknown(identity, DataState::Warming { n: *n, of: MIN_WINDOWS }),
                    Seen::FewCalls => Sighting::Unknown(identity, DataState::NoData),
                    Seen::Normal => Sighting::Normal(identity),
                    Seen::Firing(firing) => {
                        Sighting::Firing(Box::new(self.event(identity, operation, firing, rule == NAME, read_to)))
                    }
                }
            })
        };
        state.operations.iter().flat_map(both).collect()
    }

    fn event(
        &self,
        id: Identity,
        operation: &str,
        firing: &Firing,
        errors: bool,
        read_to: Timestamp,
    ) -> DetectionEvent {
        let signal = Signal::new(firing.value)
            .expected(firing.expected)
            .score(firing.z)
            .threshold(THRESHOLD)
            .window(Duration::from_secs(60 * u64::from(WINDOW_MINUTES)))
            .unit(if errors { "share of calls" } else { "s" })
            .n(firing.calls)
            .with("operation", aiops_core::text::clip(operation, LONGEST_OPERATION))
            .with("exemplars", firing.exemplars.clone())
            .with("ratio", firing.z / THRESHOLD);
        let critical = errors && firing.value >= CRITICAL_SHARE;
        let severity = if critical { Severity::Critical } else { self.severity };
        let start = start_of(firing.start);
        let builder = DetectionEvent::builder(EventKind::TraceErrorSpike, id.service, severity, start, NAME);
        let mut event = builder.alertname(id.alertname).signal(signal).build();
        event.observed_at = Some(read_to);
        event
    }
}

/// The start of a unix minute.
fn start_of(minute: u32) -> Timestamp {
    Timestamp::from_second(i64::from(minute) * 60).unwrap_or(Timestamp::MAX)
}

impl State {
    /// The minutes to read next.
    fn plan(&mut self, end: u32) -> (u32, u32) {
        let earliest = end.saturating_sub(LOOKBACK_MINUTES);
        let from = self.read_to.unwrap_or(earliest).max(earliest);
        if self.read_to != Some(from) {
            self.in_row = 0;
        }
        (from, end)
    }

    fn take(&mut self, batch: &SpanBatch, (from, to): (u32, u32), max: usize) {
        if batch.cut > 0 {
            metrics::counter!("aiops_trace_spans_cut_total").increment(batch.cut);
        }
        let mut minutes: BTreeMap<u32, BTreeMap<Key, Minute>> = BTreeMap::new();
        for span in &batch.spans {
            let minute = u32::try_from(span.at.as_second().div_euclid(60)).unwrap_or(0);
            if !(from..to).contains(&minute) {
                continue;
            }
            let key = (span.service.clone(), span.operation.clone());
            if !self.operations.contains_key(&key) {
                if self.operations.len() >= max {
                    metrics::counter!("aiops_trace_operations_refused_total").increment(1);
                    continue;
                }
                self.operations.insert(key.clone(), Operation::default());
            }
            minutes.entry(minute).or_default().entry(key).or_default().add(span);
        }
        for minute in from..to {
            self.in_row = (self.in_row + 1).min(WINDOW_MINUTES);
            let mut counted = minutes.remove(&minute).unwrap_or_default();
            for (key, operation) in &mut self.operations {
                operation.minute(minute, counted.remove(key).unwrap_or_default(), self.in_row == WINDOW_MINUTES);
            }
        }
        self.read_to = Some(to);
        let before = self.operations.len();
        self.operations.retain(|_, operation| operation.last_call.saturating_add(IDLE_MINUTES) >= to);
        let idle = before - self.operations.len();
        if idle > 0 {
            metrics::counter!("aiops_trace_operations_evicted_total").increment(idle as u64);
        }
    }
}

#[async_trait]
impl<S: SpanSource> Detector for TraceErrorSpike<S> {
    fn name(&self) -> &str {
        NAME
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let end = time::minus(tick.now, self.grace).as_second().div_euclid(60).max(0);
        let range = self.state().plan(u32::try_from(end).unwrap_or(u32::MAX));
        if range.0 < range.1 {
            let batch = self.source.read(start_of(range.0), start_of(range.1)).await.map_err(|error| {
                if error.is_retryable() {
                    DetectorError::retryable(NAME, error)
                } else {
                    DetectorError::permanent(NAME, error)
                }
            })?;
            let mut state = self.state();
            state.take(&batch, range, self.max_operations);
        }
        Ok(self.sightings(&self.state(), tick.now))
    }
}
