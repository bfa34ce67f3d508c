//! Log lines and their counts.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aiops_core::ServiceName;
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Labels, SourceError};

/// One log line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// By which service; empty where that is unknown.
    pub service: ServiceName,
    /// The text: foreign, and may hold anything.
    pub text: String,
    /// Labels of its stream.
    pub labels: Labels,
}

impl LogLine {
    /// A line without labels.
    pub fn new(at: Timestamp, service: impl Into<ServiceName>, text: impl Into<String>) -> Self {
        Self { at, service: service.into(), text: text.into(), labels: Labels::new() }
    }
}

/// What one read gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogBatch {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Lines of the range that a limit of the source cut off, where it says so.
    pub cut: u64,
}

impl LogBatch {
    /// A batch of these lines, none cut.
    #[must_use]
    pub fn new(lines: Vec<LogLine>) -> Self {
        Self { lines, cut: 0 }
    }
}

/// Lines of one service in a range.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceCount {
    /// The service.
    pub service: ServiceName,
    /// Its lines.
    pub count: u64,
}

impl ServiceCount {
    /// A count.
    pub fn new(service: impl Into<ServiceName>, count: u64) -> Self {
        Self { service: service.into(), count }
    }
}

/// Gives log lines, or only their counts, of the kind that the source was made for (say, errors).
///
/// # Contract
/// - Both methods cover `from <= at < to`. `count` gives each service at most once; a service that it
///   leaves out wrote no line.
/// - A successful read of nothing is empty; a failed read is an error, never an empty answer.
/// - The futures may be dropped at any time; nothing is lost by that.
///
/// # Errors
/// [`SourceError`]: the window is unknown, not zero.
///
/// # Implementing
/// ```
/// use aiops_detectors::{LogBatch, LogSource, MemoryLogSource, ServiceCount, SourceError};
/// #[derive(Debug)]
/// struct OnlyCart(MemoryLogSource);
///
/// #[async_trait::async_trait]
/// impl LogSource for OnlyCart {
///     fn name(&self) -> &str { "only-cart" }
///     async fn read(&self, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<LogBatch, SourceError> {
///         let lines = self.0.read(from, to).await?.lines;
///         Ok(LogBatch::new(lines.into_iter().filter(|line| line.service == "cart").collect()))
///     }
///     async fn count(&self, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<Vec<ServiceCount>, SourceError> {
///         let counts = self.0.count(from, to).await?;
///         Ok(counts.into_iter().filter(|count| count.service == "cart").collect())
///     }
/// }
/// ```
#[async_trait]
pub trait LogSource: fmt::Debug + Send + Sync + 'static {
    /// A stable name for errors and metrics.
    fn name(&self) -> &str;

    /// The lines of `[from, to)`.
    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<LogBatch, SourceError>;

    /// How many lines each service wrote in `[from, to)`.
    async fn count(&self, from: Timestamp, to: Timestamp) -> Result<Vec<ServiceCount>, SourceError>;
}

macro_rules! forward_log_source {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: LogSource + ?Sized> LogSource for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            async fn read(&self, from: Timestamp, to: Timestamp) -> Result<LogBatch, SourceError> {
                (**self).read(from, to).await
            }

            async fn count(&self, from: Timestamp, to: Timestamp) -> Result<Vec<ServiceCount>, SourceError> {
                (**self).count(from, to).await
            }
        }
    };
}
forward_log_source!(Arc);
forward_log_source!(Box);

/// The newest lines in memory: the host appends, detectors and context sources read. Clones share it.
///
/// It is bounded: the oldest line goes first, counted as `aiops_log_buffer_dropped_total`.
#[derive(Debug, Clone)]
pub struct MemoryLogSource {
    name: String,
    capacity: usize,
    lines: Arc<Mutex<VecDeque<LogLine>>>,
}

impl MemoryLogSource {
    /// A buffer of at most `capacity` lines (at least one).
    pub fn new(name: impl Into<String>, capacity: usize) -> Self {
        Self { name: name.into(), capacity: capacity.max(1), lines: Arc::default() }
    }

    /// Appends a line.
    pub fn push(&self, line: LogLine) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= self.capacity {
            lines.pop_front();
            metrics::counter!("aiops_log_buffer_dropped_total", "source" => self.name.clone()).increment(1);
        }
        lines.push_back(line);
    }

    fn within<T>(&self, from: Timestamp, to: Timestamp, take: impl FnMut(&LogLine) -> T) -> Vec<T> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| from <= line.at && line.at < to).map(take).collect()
    }
}

#[async_trait]
impl LogSource for MemoryLogSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<LogBatch, SourceError> {
        let mut lines = self.within(from, to, Clone::clone);
        lines.sort_by_key(|line| line.at);
        Ok(LogBatch::new(lines))
    }

    async fn count(&self, from: Timestamp, to: Timestamp) -> Result<Vec<ServiceCount>, SourceError> {
        let mut counts: BTreeMap<ServiceName, u64> = BTreeMap::new();
        for service in self.within(from, to, |line| line.service.clone()) {
            *counts.entry(service).or_default() += 1;
        }
        Ok(counts.into_iter().map(|(service, count)| ServiceCount { service, count }).collect())
    }
}
