//! The review that is served: read from the audit now and then, and written to by verdicts.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{BoxError, Clock, Redactor, Verdict, text};
use async_trait::async_trait;
use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::Inner;
use super::authorise::Person;
use super::gate::Problem;
use crate::audit::{AuditLog, ChainEnd, MemoryAudit};
use crate::review::{Review, ReviewItem};

/// An audit is read again after so long, or after a verdict; reading a large one takes seconds.
const FRESH: Duration = Duration::from_secs(30);
/// Characters of a note.
const NOTE: usize = 1_000;

/// Reads the audit for the review.
///
/// # Contract
/// - Each call reads what is there now; at most one call is under way for a surface.
///
/// # Errors
/// Why nothing could be read. A line that does not hold is no error: the [`Review`] names it.
///
/// # Implementing
/// ```
/// use aiops_core::BoxError;
/// use aiops_remediate::{ChainEnd, review::Review, server::ReviewSource};
/// #[derive(Debug)]
/// struct Nothing;
///
/// #[async_trait::async_trait]
/// impl ReviewSource for Nothing {
///     async fn review(&self) -> Result<Review, BoxError> {
///         let mut review = Review::default();
///         review.read("audit", &b""[..], ChainEnd::start());
///         Ok(review)
///     }
/// }
/// ```
#[async_trait]
pub trait ReviewSource: fmt::Debug + Send + Sync + 'static {
    /// The review of all that is there.
    async fn review(&self) -> Result<Review, BoxError>;
}

#[async_trait]
impl<T: ReviewSource + ?Sized> ReviewSource for Arc<T> {
    async fn review(&self) -> Result<Review, BoxError> {
        (**self).review().await
    }
}

#[async_trait]
impl ReviewSource for MemoryAudit {
    async fn review(&self) -> Result<Review, BoxError> {
        let mut review = Review::default();
        review.read("audit", self.text().as_bytes(), ChainEnd::start());
        Ok(review)
    }
}

/// The files of a [`FileAudit`](crate::FileAudit), the oldest first: one chain that goes on from file to file.
#[derive(Debug, Clone)]
pub struct AuditFiles(Vec<PathBuf>);

impl AuditFiles {
    /// These files.
    pub fn new(files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self(files.into_iter().map(Into::into).collect())
    }
}

#[async_trait]
impl ReviewSource for AuditFiles {
    async fn review(&self) -> Result<Review, BoxError> {
        let files = self.0.clone();
        let read = move || -> Result<Review, BoxError> {
            let (mut review, mut end) = (Review::default(), ChainEnd::start());
            for file in files {
                let name = file.display().to_string();
                end = review.read(&name, BufReader::new(File::open(file)?), end);
            }
            Ok(review)
        };
        tokio::task::spawn_blocking(read).await?
    }
}

/// The review as it was read last.
pub(super) struct Desk {
    source: Arc<dyn ReviewSource>,
    audit: Arc<dyn AuditLog>,
    redactor: Redactor,
    read: Mutex<Option<(Timestamp, Arc<Review>)>>,
}

impl Desk {
    pub(super) fn new(source: impl ReviewSource, audit: impl AuditLog, redactor: Redactor) -> Self {
        Self { source: Arc::new(source), audit: Arc::new(audit), redactor, read: Mutex::default() }
    }

    async fn review(&self, clock: &dyn Clock) -> Result<Arc<Review>, Problem> {
        let mut read = self.read.lock().await;
        let now = clock.now();
        if let Some((at, review)) = &*read
            && now >= *at
            && now < plus(*at, FRESH)
        {
            return Ok(Arc::clone(review));
        }
        let review = self.source.review().await.map_err(|error| {
            let error = aiops_core::error_chain(&*error);
            tracing::warn!(error, "the audit could not be read for the review");
            Problem::unavailable("the audit could not be read")
        })?;
        let review = Arc::new(review);
        *read = Some((now, Arc::clone(&review)));
        Ok(review)
    }
}

impl Inner {
    fn desk(&self) -> Result<&Desk, Problem> {
        let none = || Problem::new(StatusCode::NOT_FOUND, "no_review", "this host serves no review");
        self.desk.as_ref().ok_or_else(none)
    }

    /// What passed the threshold.
    pub(super) async fn review(&self) -> Result<Arc<Review>, Problem> {
        self.desk()?.review(&*self.clock).await
    }

    /// Writes a person's word on a report down, and gives the report with it.
    pub(super) async fn judge(
        &self,
        number: &str,
        person: &Person,
        verdict: Verdict,
        note: &str,
    ) -> Result<ReviewItem, Problem> {
        let desk = self.desk()?;
        let missing = || Problem::not_found("report");
        // By its number alone: an id would match as well, and is none that a path should hold.
        let number: u64 = number.parse().map_err(|_| missing())?;
        let number = number.to_string();
        let review = desk.review(&*self.clock).await?;
        let item = review.find(&number).ok_or_else(missing)?;
        let (by, note) = (text::clip(person.name(), 120), text::clip(note, NOTE));
        let entry = item.verdict_entry(verdict, &by, &note, self.clock.now(), &desk.redactor);
        desk.audit.append(entry).await.map_err(|error| {
            let error = aiops_core::error_chain(&error);
            tracing::warn!(error, "a verdict was not written");
            Problem::unavailable("the audit log could not be written")
        })?;
        *desk.read.lock().await = None;
        desk.review(&*self.clock).await?.find(&number).cloned().ok_or_else(missing)
    }
}
