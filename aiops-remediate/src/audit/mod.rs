//! The audit log: what was decided and what is about to be done, written before the effect into a chain that
//! shows whether anybody changed it since.
//!
//! SHA-256, not the SHA-1 of fingerprints: two texts with one SHA-1 can be made, and a chain is there to hold
//! against someone who would.

mod chain;
mod entry;
mod file;
mod memory;
mod verify;

use std::fmt;
use std::sync::Arc;

use aiops_core::BoxError;
use async_trait::async_trait;

pub use self::chain::{AuditChain, AuditLine, AuditRecord, ChainEnd, MAX_AUDIT_LINE};
pub use self::entry::{AuditEntry, AuditKind, AuditStep};
pub use self::file::FileAudit;
pub use self::memory::MemoryAudit;
pub use self::verify::{AuditReader, Broken, ChainFault, Verified, verify, verify_after, verify_pinned};

/// An entry that was not written, or is not known to be. What it announces must not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The log itself failed.
    #[error("could not {doing} the audit log {file}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// To what.
        file: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The chain that is there does not hold: someone changed it.
    #[error("{file}: the audit log does not hold; keep the file as it is, find out who changed it, and start another")]
    Broken {
        /// The file.
        file: String,
        /// Where, and why.
        #[source]
        source: Broken,
    },
    /// The entry is longer than a line may be, also without its inputs.
    #[error("a {kind} entry of {bytes} bytes is longer than {MAX_AUDIT_LINE}")]
    TooLong {
        /// What it is about.
        kind: String,
        /// How long it is.
        bytes: usize,
    },
    /// The entry has no JSON.
    #[error("a {kind} entry could not be written as JSON: {why}")]
    Unwritable {
        /// What it is about.
        kind: String,
        /// Why.
        why: String,
    },
    /// The process is shutting down, or the writer panicked: the line may be there or not.
    #[error("appending to the audit log was interrupted")]
    Interrupted {
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl AuditError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Interrupted { .. })
    }
}

/// Keeps what was decided and what is about to be done, in one chain.
///
/// # Contract
/// - Once [`append`](Self::append) returns `Ok`, the entry outlives the process (a log in memory is the exception,
///   and says so), behind all entries that were acknowledged before.
/// - Entries make one chain that [`verify()`] accepts, as [`AuditChain`] makes it: appends at the same time get
///   different places in it, and one that failed leaves no gap. Nothing is changed or removed.
/// - A dropped future leaves the entry there or not, never half.
/// - Entries are redacted when they are made: a log writes them as they are.
///
/// # Errors
/// [`AuditError`]: the entry is not there, or is not known to be. Whoever asked must not do what it announces.
///
/// # Implementing
/// A log that adds something wraps another:
/// ```
/// use aiops_remediate::{AuditEntry, AuditError, AuditLog, FileAudit};
/// #[derive(Debug)]
/// struct Copied(FileAudit);
///
/// #[async_trait::async_trait]
/// impl AuditLog for Copied {
///     async fn append(&self, entry: AuditEntry) -> Result<(), AuditError> {
///         println!("{} {:?}", entry.kind, entry.incident_id);
///         self.0.append(entry).await
///     }
/// }
/// ```
#[async_trait]
pub trait AuditLog: fmt::Debug + Send + Sync + 'static {
    /// Writes one entry.
    async fn append(&self, entry: AuditEntry) -> Result<(), AuditError>;
}

macro_rules! forward_audit {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: AuditLog + ?Sized> AuditLog for $pointer<T> {
            async fn append(&self, entry: AuditEntry) -> Result<(), AuditError> {
                (**self).append(entry).await
            }
        }
    };
}
forward_audit!(Arc);
forward_audit!(Box);

/// Counts what became of an entry.
fn appended(entry: &AuditEntry, outcome: Result<(), AuditError>) -> Result<(), AuditError> {
    match &outcome {
        Ok(()) => metrics::counter!("aiops_audit_appended_total", "kind" => entry.kind.label()).increment(1),
        Err(_) => metrics::counter!("aiops_audit_failed_total", "kind" => entry.kind.label()).increment(1),
    }
    outcome
}
