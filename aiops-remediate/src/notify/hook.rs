//! One POST with its deadline and its few retries.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::plugin::{Fault, guarded};
use aiops_core::time::{human, plus};
use aiops_core::{BoxError, Clock, NotifyError, SystemClock, text};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};

/// With all its tries; a pipeline gives each of its channels 10 s unless the host says otherwise.
const DEADLINE: Duration = Duration::from_secs(8);
/// Tries after the first: what lasts longer falls to the next channel.
const RETRIES: u32 = 2;
/// Wait before the second try; doubled before the third.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// An answer is read up to here.
const MAX_ANSWER: usize = 64 * 1024;
/// Characters of a server's own words in an error: a sentence, not a page.
const REASON: usize = 300;

/// A notice that a server did not take. Its text holds no URL, no key and no notice; of the server's own words it
/// holds the first 300 printable characters, without the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// No connection, or it broke.
    #[error("could not reach the server")]
    Unreachable {
        /// Why.
        #[source]
        source: BoxError,
    },
    /// No answer within the deadline.
    #[error("the server did not answer within {}", human(*.deadline))]
    Late {
        /// The deadline of all tries.
        deadline: Duration,
    },
    /// Too many notices at a time (429).
    #[error("the server takes no more for now, status 429")]
    Throttled {
        /// How long it asks to wait, where it says so in seconds.
        retry_after: Option<Duration>,
    },
    /// The server cannot serve now (5xx, 408).
    #[error("the server failed, status {status}: {reason}")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// In the server's words; may be empty.
        reason: String,
    },
    /// The answer says that it was taken, and is not what this system answers: a proxy's page.
    #[error("the answer is none of this system's, status {status}: {reason}")]
    Malformed {
        /// The HTTP status.
        status: u16,
        /// In the server's words; may be empty.
        reason: String,
    },
    /// The server does not take this notice, from this sender (400, 401, 403, 404 and the like).
    #[error("the server refused the notice, status {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// In the server's words; may be empty.
        reason: String,
    },
}

impl HookError {
    /// Whether the same notice may be taken later without a person doing something.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }

    /// As the channel's error.
    pub(super) fn of_channel(self, channel: &str) -> NotifyError {
        if self.is_retryable() { NotifyError::retryable(channel, self) } else { NotifyError::permanent(channel, self) }
    }
}

/// A text that no error and no `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a host may set on every channel of this kind.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) channel: String,
    pub(super) url: Secret,
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) deadline: Duration,
    pub(super) retries: u32,
}

impl Options {
    pub(super) fn new(channel: &str, url: &str, client: Client) -> Self {
        let (channel, url) = (channel.to_owned(), Secret(url.to_owned()));
        Self { channel, url, client, clock: Arc::new(SystemClock), deadline: DEADLINE, retries: RETRIES }
    }
}

/// Where notices are posted, and what a call may cost.
pub(super) struct Hook {
    pub(super) channel: String,
    client: Client,
    url: Url,
    pub(super) clock: Arc<dyn Clock>,
    deadline: Duration,
    retries: u32,
    /// What must not appear in an error's text.
    secrets: Vec<Secret>,
}

impl fmt::Debug for Hook {
    /// The path of a webhook is a secret: only the host is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("channel", &self.channel)
            .field("host", &self.url.host_str())
            .field("deadline", &self.deadline)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

/// What a system says to a notice: nothing is wrong, or what is.
pub(super) type Verdict = fn(u16, &[u8]) -> Result<(), HookError>;

impl Hook {
    /// # Errors
    /// What is wrong with the URL; it does not show it.
    pub(super) fn new(options: Options, secrets: Vec<Secret>) -> Result<Self, String> {
        let Options { channel, url, client, clock, deadline, retries } = options;
        let url = Url::parse(&url.0).map_err(|error| format!("the url does not read: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the url is neither http nor https".to_owned());
        }
        let secrets = secrets.into_iter().filter(|secret| !secret.0.is_empty()).collect();
        Ok(Self { channel, client, url, clock, deadline, retries, secrets })
    }

    /// Posts JSON. It may come twice, since it is tried again.
    pub(super) async fn post(
        &self,
        body: &str,
        headers: &[(HeaderName, HeaderValue)],
        verdict: Verdict,
    ) -> Result<(), HookError> {
        let end = plus(self.clock.now(), self.deadline);
        let mut backoff = FIRST_BACKOFF;
        let mut tries_left = self.retries;
        loop {
            let error = match guarded(&*self.clock, end, self.once(body, headers, verdict)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(Fault::Late(_)) => return Err(HookError::Late { deadline: self.deadline }),
                Err(fault) => return Err(HookError::Unreachable { source: Box::new(fault) }),
            };
            let asked = match &error {
                HookError::Throttled { retry_after } => retry_after.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            let next = plus(self.clock.now(), asked.max(backoff));
            if tries_left == 0 || !error.is_retryable() || next >= end {
                return Err(error);
            }
            tries_left -= 1;
            metrics::counter!("aiops_notify_retries_total", "channel" => self.channel.clone()).increment(1);
            self.clock.sleep_until(next).await;
            backoff = backoff.saturating_mul(2);
        }
    }

    async fn once(&self, body: &str, headers: &[(HeaderName, HeaderValue)], verdict: Verdict) -> Result<(), HookError> {
        let broken = |error: reqwest::Error| HookError::Unreachable { source: error.without_url().into() };
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.body(body.to_owned()).send().await.map_err(broken)?;
        let status = response.status().as_u16();
        // Behind most redirects a POST goes on as a GET without its body: its 200 is no acceptance.
        if (300..400).contains(&status) || place(response.url()) != place(&self.url) {
            let reason = "it redirects to another address; configure that one".to_owned();
            return Err(HookError::Refused { status, reason });
        }
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut answer = head(response).await;
        for Secret(secret) in &self.secrets {
            let text = String::from_utf8_lossy(&answer);
            if text.contains(secret.as_str()) {
                answer = text.replace(secret.as_str(), "[redacted]").into_bytes();
            }
        }
        match status {
            429 => Err(HookError::Throttled { retry_after: wait.map(Duration::from_secs) }),
            408 | 500.. => Err(HookError::Failed { status, reason: words(&answer) }),
            200..300 => verdict(status, &answer),
            _ => match verdict(status, &answer) {
                Err(error) => Err(error),
                Ok(()) => Err(HookError::Refused { status, reason: words(&answer) }),
            },
        }
    }
}

/// Where a request goes, without what the client takes out of the URL.
fn place(url: &Url) -> (&str, Option<&str>, Option<u16>, &str, Option<&str>) {
    (url.scheme(), url.host_str(), url.port_or_known_default(), url.path(), url.query())
}

/// The head of an answer; one that breaks off is read as far as it came.
async fn head(mut response: Response) -> Vec<u8> {
    let mut head = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER - head.len();
        head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    head
}

/// A server's words, safe to show; a page is nobody's reason.
pub(super) fn words(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    let answer = answer.trim();
    if answer.starts_with('<') { String::new() } else { text::clip(answer, REASON) }
}
