//! Where samples, log lines and spans come from.

mod csv;
mod logs;
mod memory;
mod push;
mod spans;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aiops_core::BoxError;
use async_trait::async_trait;
use jiff::Timestamp;

pub use self::csv::{BadRow, CsvError, CsvReader, CsvRow, CsvSamples, RowFault, count_csv_rows, read_csv};
pub use self::logs::{LogBatch, LogLine, LogSource, MemoryLogSource, ServiceCount};
pub use self::memory::MemorySource;
pub use self::push::{Full, PushSource};
pub use self::spans::{MemorySpanSource, SpanBatch, SpanRecord, SpanSource};

/// Sorted label names and values: what tells one series from another.
pub type Labels = BTreeMap<String, String>;

/// One measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When it was measured.
    pub at: Timestamp,
    /// The value; a source passes on what it read, also NaN and infinities.
    pub value: f64,
}

/// One series with the samples of a read.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Series {
    /// What tells it from others.
    pub labels: Labels,
    /// Its samples, in the order in which the source has them.
    pub samples: Vec<Sample>,
}

impl Series {
    /// A series.
    #[must_use]
    pub fn new(labels: Labels, samples: Vec<Sample>) -> Self {
        Self { labels, samples }
    }
}

/// What one read gave. No series is a successful read of nothing, not an error.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SeriesBatch {
    /// The series; a series without new samples may be left out.
    pub series: Vec<Series>,
}

impl SeriesBatch {
    /// A batch of these series.
    #[must_use]
    pub fn new(series: Vec<Series>) -> Self {
        Self { series }
    }
}

/// A read that failed: what was to be read is unknown, not zero.
#[derive(Debug, thiserror::Error)]
#[error("source {origin:?} could not be read")]
#[non_exhaustive]
pub struct SourceError {
    /// Which source.
    pub origin: String,
    /// Whether the next read may succeed without a person doing something.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl SourceError {
    /// An error that the next read may not meet.
    pub fn retryable(origin: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { origin: origin.into(), retryable: true, source: source.into() }
    }

    /// An error that stays until a person changes something.
    pub fn permanent(origin: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { origin: origin.into(), retryable: false, source: source.into() }
    }

    /// Whether the next read may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Gives the samples of many series.
///
/// # Contract
/// - `read` gives the samples with `from <= at < to`, each series once, and nothing else. Reading the
///   same range again gives the same samples, except for a source that is drained (it says so).
/// - A successful read of nothing is an empty batch; a failed read is an error, never an empty batch.
/// - The future may be dropped at any time; nothing is lost by that.
///
/// # Errors
/// [`SourceError`]: the detector counts its identities as unknown.
///
/// # Implementing
/// ```
/// use aiops_detectors::{Sample, SampleSource, Series, SeriesBatch, SourceError};
/// #[derive(Debug)]
/// struct Uptime(jiff::Timestamp);
///
/// #[async_trait::async_trait]
/// impl SampleSource for Uptime {
///     fn name(&self) -> &str { "uptime" }
///     async fn read(&self, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<SeriesBatch, SourceError> {
///         let sample = Sample { at: from, value: from.duration_since(self.0).as_secs_f64() };
///         let samples = if from < to { vec![sample] } else { Vec::new() };
///         Ok(SeriesBatch::new(vec![Series::new(Default::default(), samples)]))
///     }
/// }
/// ```
#[async_trait]
pub trait SampleSource: fmt::Debug + Send + Sync + 'static {
    /// A stable name for errors and metrics.
    fn name(&self) -> &str;

    /// The samples of `[from, to)`.
    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError>;
}

macro_rules! forward_sample_source {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: SampleSource + ?Sized> SampleSource for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
                (**self).read(from, to).await
            }
        }
    };
}
forward_sample_source!(Arc);
forward_sample_source!(Box);
