//! From the body of a request to the sources that want it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::time;
use jiff::Timestamp;

use super::decoded::{MalformedOtlp, OtlpEncoding, OtlpFault, OtlpSettings, OtlpTally};
use super::logs::{OtlpSeverity, decode_logs};
use super::points::decode_points_of;
use super::source::OtlpSource;
use super::spans::decode_spans;
use crate::source::{MemoryLogSource, MemorySpanSource};

/// As far ahead as an item may be, as of deploys and error lines: an item from the future would stand in a window
/// that has not come.
const MAX_AHEAD: Duration = Duration::from_secs(300);
/// What is older than this comes late: longer than any detector of lines or spans counts back, and than senders
/// that try again keep their items.
const LATE: Duration = Duration::from_secs(3_600);

/// A request of which nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpRefusal {
    /// The sender must not send it again.
    #[error(transparent)]
    Malformed(#[from] MalformedOtlp),
    /// A buffer is full, its detector is behind: the same request may be sent again later.
    #[error("a buffer for these items is full")]
    Busy,
}

impl OtlpRefusal {
    /// Whether the same request may be taken later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self == Self::Busy
    }
}

/// Takes OTLP requests and hands what they hold to sources, from which detectors read.
///
/// ```
/// use aiops_detectors::{MemoryLogSource, MemorySpanSource};
/// use aiops_detectors::otlp::{OtlpIntake, OtlpQuantity, OtlpSeverity, OtlpSource};
/// let requests = OtlpSource::new("requests", "http.server.request.duration", OtlpQuantity::Rate, 100_000);
/// let errors = MemoryLogSource::new("errors", 100_000);
/// let intake = OtlpIntake::new()
///     .metric(requests.clone())
///     .logs_from(OtlpSeverity::Error, errors.clone())
///     .spans(MemorySpanSource::new("spans", 100_000));
/// ```
#[derive(Debug, Default)]
pub struct OtlpIntake {
    settings: OtlpSettings,
    metrics: HashMap<Arc<str>, Vec<OtlpSource>>,
    logs: Vec<(Option<OtlpSeverity>, MemoryLogSource)>,
    spans: Vec<MemorySpanSource>,
}

impl OtlpIntake {
    /// An intake that reads requests and hands them to nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bounds, and which attributes of resources become labels.
    #[must_use]
    pub fn settings(mut self, settings: OtlpSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Fills a source; several may want the same metric.
    #[must_use]
    pub fn metric(mut self, source: OtlpSource) -> Self {
        self.metrics.entry(source.metric().into()).or_default().push(source);
        self
    }

    /// Hands over every log line.
    #[must_use]
    pub fn logs(mut self, source: MemoryLogSource) -> Self {
        self.logs.push((None, source));
        self
    }

    /// Hands over log lines that are at least this bad; those that do not say how bad they are, are not.
    #[must_use]
    pub fn logs_from(mut self, severity: OtlpSeverity, source: MemoryLogSource) -> Self {
        self.logs.push((Some(severity), source));
        self
    }

    /// Hands over every span.
    #[must_use]
    pub fn spans(mut self, source: MemorySpanSource) -> Self {
        self.spans.push(source);
        self
    }

    /// Takes the body of a request to `/v1/metrics` that was `received` now.
    ///
    /// # Errors
    /// [`OtlpRefusal`]: nothing of it was taken.
    pub fn take_metrics(
        &self,
        body: &[u8],
        encoding: OtlpEncoding,
        received: Timestamp,
    ) -> Result<OtlpTally, OtlpRefusal> {
        let batch = decode_points_of(body, encoding, &self.settings, |name| self.metrics.contains_key(name))?;
        let is_full = |sources: &Vec<OtlpSource>| sources.iter().any(OtlpSource::is_full);
        let full: Vec<&Arc<str>> =
            self.metrics.iter().filter(|(_, sources)| is_full(sources)).map(|(name, _)| name).collect();
        if !full.is_empty() && batch.items.iter().any(|point| full.contains(&&point.metric)) {
            return Err(OtlpRefusal::Busy);
        }
        let mut tally = batch.tally;
        let (expected, mut taken) = (Expected::of(received), 0);
        for point in batch.items {
            if !expected.takes(point.at, &mut tally) {
                continue;
            }
            let Some((last, others)) = self.metrics.get(&point.metric).and_then(|sources| sources.split_last()) else {
                continue;
            };
            let mut full = false;
            for source in others {
                full |= source.offer(point.clone(), received).is_err();
            }
            full |= last.offer(point, received).is_err();
            if full {
                tally.reject(OtlpFault::Full);
            } else {
                taken += 1;
            }
        }
        count("metrics", &tally, taken);
        Ok(tally)
    }

    /// Takes the body of a request to `/v1/logs` that was `received` now.
    ///
    /// # Errors
    /// [`OtlpRefusal`]: nothing of it was taken.
    pub fn take_logs(
        &self,
        body: &[u8],
        encoding: OtlpEncoding,
        received: Timestamp,
    ) -> Result<OtlpTally, OtlpRefusal> {
        let batch = decode_logs(body, encoding, &self.settings, received)?;
        let mut tally = batch.tally;
        let (expected, mut taken) = (Expected::of(received), 0);
        for item in batch.items {
            if !expected.takes(item.line.at, &mut tally) {
                continue;
            }
            let wants =
                |from: &Option<OtlpSeverity>| from.is_none_or(|from| item.severity.is_some_and(|is| is >= from));
            let wanting: Vec<&MemoryLogSource> =
                self.logs.iter().filter(|(from, _)| wants(from)).map(|(_, source)| source).collect();
            if wanting.is_empty() {
                tally.unread += 1;
                tally.without_severity += u64::from(item.severity.is_none());
            } else {
                taken += 1;
                wanting.iter().for_each(|source| source.push(item.line.clone()));
            }
        }
        count("logs", &tally, taken);
        Ok(tally)
    }

    /// Takes the body of a request to `/v1/traces` that was `received` now.
    ///
    /// # Errors
    /// [`OtlpRefusal`]: nothing of it was taken.
    pub fn take_traces(
        &self,
        body: &[u8],
        encoding: OtlpEncoding,
        received: Timestamp,
    ) -> Result<OtlpTally, OtlpRefusal> {
        let batch = decode_spans(body, encoding, &self.settings)?;
        let mut tally = batch.tally;
        let (expected, mut taken) = (Expected::of(received), 0);
        for record in batch.items {
            if !expected.takes(record.at, &mut tally) {
                continue;
            }
            if self.spans.is_empty() {
                tally.unread += 1;
            } else {
                taken += 1;
                self.spans.iter().for_each(|source| source.push(record.clone()));
            }
        }
        count("traces", &tally, taken);
        Ok(tally)
    }
}

/// The times of items that are to be expected in a request.
#[derive(Debug, Clone, Copy)]
struct Expected {
    from: Timestamp,
    to: Timestamp,
}

impl Expected {
    fn of(received: Timestamp) -> Self {
        Self { from: time::minus(received, LATE), to: time::plus(received, MAX_AHEAD) }
    }

    /// Whether an item is taken; one from the future is refused, one that comes late is only counted.
    fn takes(self, at: Timestamp, tally: &mut OtlpTally) -> bool {
        if at > self.to {
            tally.reject(OtlpFault::Ahead);
            return false;
        }
        tally.late += u64::from(at < self.from);
        true
    }
}

/// Counts what became of the items of a request.
fn count(signal: &'static str, tally: &OtlpTally, taken: u64) {
    let outcomes = [("taken", taken), ("unread", tally.unread), ("stale", tally.stale)];
    for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
        metrics::counter!("aiops_otlp_items_total", "signal" => signal, "outcome" => outcome).increment(count);
    }
    for (fault, count) in &tally.rejected {
        metrics::counter!("aiops_otlp_rejected_total", "signal" => signal, "reason" => fault.as_str())
            .increment(*count);
    }
    let lacking = [
        ("service.name", tally.without_service),
        ("service.version", tally.without_version),
        ("severity", tally.without_severity),
    ];
    for (attribute, count) in lacking.into_iter().filter(|(_, count)| *count > 0) {
        metrics::counter!("aiops_otlp_without_total", "signal" => signal, "attribute" => attribute).increment(count);
    }
    if tally.late > 0 {
        metrics::counter!("aiops_otlp_late_total", "signal" => signal).increment(tally.late);
    }
    if tally.cut > 0 {
        metrics::counter!("aiops_otlp_cut_total", "signal" => signal).increment(tally.cut);
    }
}
