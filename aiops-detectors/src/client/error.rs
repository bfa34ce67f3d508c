//! What can go wrong between a client and its system.

use std::fmt;

use aiops_core::{BoxError, ContextError, text};

use crate::source::SourceError;

/// Characters of a server's own words in an error: a sentence, not a page.
const REASON_CHARS: usize = 300;

/// What a caller can do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// No connection, or it broke.
    Unreachable,
    /// No answer within the deadline, the client's or the server's.
    Deadline,
    /// The server answers, and says that it cannot serve now (5xx).
    Unavailable,
    /// Too many requests (429).
    Throttled,
    /// The answer is not what this system answers: a proxy's page, a cut body.
    Malformed,
    /// The answer lacks what a part of the system did not give.
    Partial,
    /// The answer is larger than a bound here or of the server: ask for less at a time.
    TooLarge,
    /// Credentials are missing or not accepted (401, 403).
    Unauthorized,
    /// The path does not exist (404): the URL names another system, or lacks a prefix.
    NotFound,
    /// The query is not accepted (400, 422 and the like).
    Refused,
    /// The answer is of a kind that has no number for a sample, like a native histogram.
    Unsupported,
}

impl ClientErrorKind {
    /// What a status other than 2xx says by itself.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Unauthorized,
            404 => Self::NotFound,
            408 | 504 => Self::Deadline,
            413 => Self::TooLarge,
            429 => Self::Throttled,
            500.. => Self::Unavailable,
            _ => Self::Refused,
        }
    }

    /// The label value of `aiops_client_requests_total`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::Malformed => "malformed",
            Self::Partial => "partial",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Deadline => "no answer in time",
            Self::Unavailable => "unavailable",
            Self::Throttled => "too many requests",
            Self::Malformed => "an answer that is none of this system",
            Self::Partial => "a partial answer",
            Self::TooLarge => "the answer is too large",
            Self::Unauthorized => "not authorized",
            Self::NotFound => "no such path",
            Self::Refused => "the request was refused",
            Self::Unsupported => "an answer without numbers",
        }
    }
}

/// Where a body does not read; serde's own text would show parts of it.
pub(super) fn shape(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type",
        serde_json::error::Category::Eof => "the body ends early",
        _ => "the body is no JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// A call that failed. Its text holds no URL, no header and no body; of the server's own error it
/// holds the first 300 printable characters, with the endpoint's secrets masked.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientError {
    /// Which system: `prometheus`, `alertmanager`.
    pub system: &'static str,
    /// Which call: `query_range`.
    pub call: &'static str,
    /// What a caller can do about it.
    pub kind: ClientErrorKind,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// In short, why; may be empty.
    pub reason: String,
    /// The error below, where there was one.
    pub source: Option<BoxError>,
}

impl ClientError {
    pub(super) fn new(system: &'static str, call: &'static str, kind: ClientErrorKind, reason: &str) -> Self {
        Self { system, call, kind, status: None, reason: text::clip(reason, REASON_CHARS), source: None }
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub(super) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether the same call may succeed later without a person doing something.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use ClientErrorKind::{Deadline, Malformed, Partial, Throttled, Unavailable, Unreachable};
        matches!(self.kind, Unreachable | Deadline | Unavailable | Throttled | Malformed | Partial)
    }

    /// The same, of a source that read by the client.
    pub(super) fn of_source(self, name: &str) -> SourceError {
        if self.is_retryable() { SourceError::retryable(name, self) } else { SourceError::permanent(name, self) }
    }

    /// The same, of a context source that read by the client.
    pub(super) fn of_context(self, name: &str) -> ContextError {
        if self.is_retryable() { ContextError::retryable(name, self) } else { ContextError::permanent(name, self) }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.system, self.call, self.kind.words())?;
        if let Some(status) = self.status {
            write!(f, ", status {status}")?;
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
