//! Why there is no reply.

use std::time::Duration;

use aiops_core::BoxError;

use super::Usage;

/// What kind of failure it was: each asks for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChatErrorKind {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// Too many requests or tokens just now.
    RateLimited,
    /// The provider has no room just now.
    Overloaded,
    /// The provider failed.
    Server,
    /// The answer is not what the wire format says: HTML of a proxy, JSON of another shape.
    BadAnswer,
    /// Money or quota is used up: asking again fails until a person pays or a month ends.
    Quota,
    /// The key is missing, wrong, or may not do this.
    Auth,
    /// The model does not exist, or no longer.
    UnknownModel,
    /// The request is longer than the model reads.
    ContextTooLong,
    /// The provider does not take the request: a schema or a setting that it does not know.
    Refused,
    /// A filter of the provider stopped the request or the reply.
    Filtered,
    /// A cassette does not have the request.
    NotRecorded,
}

impl ChatErrorKind {
    /// As in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::BadAnswer => "bad_answer",
            Self::Quota => "quota",
            Self::Auth => "auth",
            Self::UnknownModel => "unknown_model",
            Self::ContextTooLong => "context_too_long",
            Self::Refused => "refused",
            Self::Filtered => "filtered",
            Self::NotRecorded => "not_recorded",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "check the address and the network",
            Self::Timeout => "allow more time, or ask a faster model",
            Self::RateLimited => "ask less often, or raise the limit",
            Self::Overloaded | Self::Server => "wait, or name another model",
            Self::BadAnswer => "check the address: something else answers there",
            Self::Quota => "check the account's credit and limits",
            Self::Auth => "check the key and what it may do",
            Self::UnknownModel => "check the model's id: it may be retired",
            Self::ContextTooLong => "give less context",
            Self::Refused => "check the settings: the provider does not take this request",
            Self::Filtered => "ask another model or a person",
            Self::NotRecorded => "record it: the request is another one",
        }
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::Timeout | Self::RateLimited | Self::Overloaded | Self::Server | Self::BadAnswer
        )
    }

    /// Whether every request will fail until a person changes something.
    #[must_use]
    pub fn is_configuration(self) -> bool {
        matches!(self, Self::Quota | Self::Auth | Self::UnknownModel | Self::Refused)
    }
}

/// No reply, and why. It holds no key, no prompt and no text of the provider but what `reason` says of it.
#[derive(Debug, thiserror::Error)]
#[error("{provider} gave no reply: {}{}{}; {}", .kind.as_str(), status_text(*.status), reason_text(.reason), .kind.advice())]
#[non_exhaustive]
pub struct ChatError {
    /// Whose endpoint it was.
    pub provider: String,
    /// What kind of failure.
    pub kind: ChatErrorKind,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The provider's code for it (`insufficient_quota`), cut and cleaned; empty where there is none.
    pub reason: String,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether the provider says itself that asking again helps (`x-should-retry`).
    pub should_retry: Option<bool>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// What the attempt cost all the same.
    pub usage: Usage,
    /// The cause, where another library met it.
    #[source]
    pub source: Option<BoxError>,
}

fn status_text(status: Option<u16>) -> String {
    status.map_or_else(String::new, |status| format!(", HTTP {status}"))
}

fn reason_text(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

impl ChatError {
    /// An error of this kind.
    pub fn new(provider: impl Into<String>, kind: ChatErrorKind) -> Self {
        Self {
            provider: provider.into(),
            kind,
            status: None,
            reason: String::new(),
            retry_after: None,
            should_retry: None,
            request_id: None,
            usage: Usage::default(),
            source: None,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The provider's code; cut to 80 characters and cleaned of what does not show.
    #[must_use]
    pub fn reason(mut self, reason: &str) -> Self {
        self.reason = aiops_core::text::clip(reason, 80);
        self
    }

    /// How long the provider asks to wait.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The provider's own word on whether asking again helps.
    #[must_use]
    pub fn should_retry(mut self, should: bool) -> Self {
        self.should_retry = Some(should);
        self
    }

    /// The provider's id of the request.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// What the attempt cost.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether the same request may succeed a little later; the provider's own word wins.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.should_retry.unwrap_or_else(|| self.kind.is_retryable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_who_what_and_what_to_do() {
        let error = ChatError::new("openai", ChatErrorKind::Quota).status(429).reason("insufficient_\u{1b}quota");
        assert_eq!(
            error.to_string(),
            "openai gave no reply: quota, HTTP 429 (insufficient_quota); check the account's credit and limits"
        );
        assert!(!error.is_retryable() && error.should_retry(true).is_retryable());
    }
}
