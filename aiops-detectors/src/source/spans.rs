//! Spans of traces.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiops_core::ServiceName;
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Labels, SourceError};

/// One finished span.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SpanRecord {
    /// When it ended.
    pub at: Timestamp,
    /// Its trace, as hex text.
    pub trace_id: String,
    /// The service; empty where that is unknown.
    pub service: ServiceName,
    /// The operation, such as `GET /cart`.
    pub operation: String,
    /// How long it took.
    pub duration: Duration,
    /// Whether it failed.
    pub error: bool,
    /// Its attributes.
    pub labels: Labels,
}

impl SpanRecord {
    /// A span that succeeded, without trace id or attributes.
    pub fn new(
        at: Timestamp,
        service: impl Into<ServiceName>,
        operation: impl Into<String>,
        duration: Duration,
    ) -> Self {
        Self {
            at,
            trace_id: String::new(),
            service: service.into(),
            operation: operation.into(),
            duration,
            error: false,
            labels: Labels::new(),
        }
    }

    /// Whether it failed.
    #[must_use]
    pub fn error(mut self, error: bool) -> Self {
        self.error = error;
        self
    }

    /// Its trace.
    #[must_use]
    pub fn trace_id(mut self, trace_id: impl Into<String>) -> Self {
        self.trace_id = trace_id.into();
        self
    }
}

/// What one read gave.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SpanBatch {
    /// The spans, oldest end first.
    pub spans: Vec<SpanRecord>,
    /// Spans of the range that a limit of the source cut off, where it says so.
    pub cut: u64,
}

impl SpanBatch {
    /// A batch of these spans, none cut.
    #[must_use]
    pub fn new(spans: Vec<SpanRecord>) -> Self {
        Self { spans, cut: 0 }
    }
}

/// Gives spans.
///
/// # Contract
/// - `read` covers `from <= at < to`, by the end of each span.
/// - A successful read of nothing is empty; a failed read is an error, never an empty batch.
/// - The future may be dropped at any time; nothing is lost by that.
///
/// # Errors
/// [`SourceError`]: the range is unknown, not free of errors.
///
/// # Implementing
/// ```
/// use aiops_detectors::{MemorySpanSource, SpanBatch, SpanSource, SourceError};
/// #[derive(Debug)]
/// struct Failed(MemorySpanSource);
///
/// #[async_trait::async_trait]
/// impl SpanSource for Failed {
///     fn name(&self) -> &str { "failed" }
///     async fn read(&self, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<SpanBatch, SourceError> {
///         let spans = self.0.read(from, to).await?.spans;
///         Ok(SpanBatch::new(spans.into_iter().filter(|span| span.error).collect()))
///     }
/// }
/// ```
#[async_trait]
pub trait SpanSource: fmt::Debug + Send + Sync + 'static {
    /// A stable name for errors and metrics.
    fn name(&self) -> &str;

    /// The spans that ended in `[from, to)`.
    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SpanBatch, SourceError>;
}

macro_rules! forward_span_source {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: SpanSource + ?Sized> SpanSource for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SpanBatch, SourceError> {
                (**self).read(from, to).await
            }
        }
    };
}
forward_span_source!(Arc);
forward_span_source!(Box);

/// The newest spans in memory. Clones share it. The oldest goes first at the bound, counted as
/// `aiops_span_buffer_dropped_total`.
#[derive(Debug, Clone)]
pub struct MemorySpanSource {
    name: String,
    capacity: usize,
    spans: Arc<Mutex<VecDeque<SpanRecord>>>,
}

impl MemorySpanSource {
    /// A buffer of at most `capacity` spans (at least one).
    pub fn new(name: impl Into<String>, capacity: usize) -> Self {
        Self { name: name.into(), capacity: capacity.max(1), spans: Arc::default() }
    }

    /// Appends a span.
    pub fn push(&self, span: SpanRecord) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() >= self.capacity {
            spans.pop_front();
            metrics::counter!("aiops_span_buffer_dropped_total", "source" => self.name.clone()).increment(1);
        }
        spans.push_back(span);
    }
}

#[async_trait]
impl SpanSource for MemorySpanSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SpanBatch, SourceError> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<SpanRecord> = spans.iter().filter(|span| from <= span.at && span.at < to).cloned().collect();
        found.sort_by_key(|span| span.at);
        Ok(SpanBatch::new(found))
    }
}
