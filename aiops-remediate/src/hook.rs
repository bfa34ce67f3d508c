//! One POST with its deadline and its few retries: what channels and handlers over HTTP share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::plugin::{Fault, guarded};
use aiops_core::time::{human, plus, since};
use aiops_core::{BoxError, Clock, NotifyError, SystemClock, text};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};

use crate::sha256::{hex, hmac};

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
/// Carries the signature.
const SIGNATURE: HeaderName = HeaderName::from_static("x-aiops-signature");
/// Shorter keys are guessed.
const SHORTEST_KEY: usize = 16;

/// What a server did not take. The text holds no URL, no key and nothing of the body; of the server's own words it
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
    /// Too much at a time (429).
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
    /// The server does not take this, from this sender (400, 401, 403, 404 and the like).
    #[error("the server refused it, status {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// In the server's words; may be empty.
        reason: String,
    },
}

impl HookError {
    /// Whether the same may be taken later without a person doing something.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }

    /// As the channel's error.
    pub(crate) fn of_channel(self, channel: &str) -> NotifyError {
        if self.is_retryable() { NotifyError::retryable(channel, self) } else { NotifyError::permanent(channel, self) }
    }
}

/// A text that no error and no `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a host may set on every channel of this kind.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) channel: String,
    pub(crate) url: Secret,
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) deadline: Duration,
    pub(crate) retries: u32,
    pub(crate) key: Option<Secret>,
    pub(crate) headers: Vec<(String, Secret)>,
    /// Counts a try after the first.
    pub(crate) retried: fn(&str),
}

impl Options {
    pub(crate) fn new(channel: &str, url: &str, client: Client) -> Self {
        let (channel, url) = (channel.to_owned(), Secret(url.to_owned()));
        let retried = |channel: &str| {
            metrics::counter!("aiops_notify_retries_total", "channel" => channel.to_owned()).increment(1);
        };
        let (clock, key, headers) = (Arc::new(SystemClock), None, Vec::new());
        Self { channel, url, client, clock, deadline: DEADLINE, retries: RETRIES, key, headers, retried }
    }
}

/// Where it is posted, and what a call may cost.
pub(crate) struct Hook {
    pub(crate) channel: String,
    client: Client,
    url: Url,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) deadline: Duration,
    retries: u32,
    key: Option<Secret>,
    headers: Vec<(HeaderName, HeaderValue)>,
    retried: fn(&str),
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

/// What an answer says: status and body.
pub(crate) type Verdict<T> = fn(u16, &[u8]) -> Result<T, HookError>;

impl Hook {
    /// # Errors
    /// Every fault: a URL that does not read, a key that is too short, a header that cannot stand. None of them
    /// shows its value.
    pub(crate) fn new(options: Options, secrets: Vec<Secret>) -> Result<Self, Vec<String>> {
        let Options { channel, url, client, clock, deadline, retries, key, headers, retried } = options;
        let (mut faults, mut secrets, mut read) = (Vec::new(), secrets, Vec::new());
        secrets.extend(key.iter().cloned());
        for (name, value) in headers {
            match (name.parse::<HeaderName>(), HeaderValue::from_str(&value.0)) {
                (Ok(name), Ok(mut header)) => {
                    header.set_sensitive(true);
                    read.push((name, header));
                    secrets.push(value);
                }
                _ => faults.push(format!("header {name:?} cannot stand in a request")),
            }
        }
        if key.as_ref().is_some_and(|key| key.0.len() < SHORTEST_KEY) {
            faults.push(format!("the key is shorter than {SHORTEST_KEY} bytes"));
        }
        match Url::parse(&url.0) {
            Err(error) => faults.push(format!("the url does not read: {error}")),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                faults.push("the url is neither http nor https".to_owned());
            }
            Ok(url) if faults.is_empty() => {
                secrets.retain(|secret| !secret.0.is_empty());
                let headers = read;
                return Ok(Self { channel, client, url, clock, deadline, retries, key, headers, retried, secrets });
            }
            Ok(_) => {}
        }
        Err(faults)
    }

    /// Posts JSON within the hook's deadline. It may come twice, since it is tried again.
    pub(crate) async fn post<T: Send>(&self, body: &str, verdict: Verdict<T>) -> Result<T, HookError> {
        self.call(body, &[], plus(self.clock.now(), self.deadline), verdict).await.1
    }

    /// Posts JSON until `end`, and says how often it was sent.
    pub(crate) async fn call<T: Send>(
        &self,
        body: &str,
        headers: &[(HeaderName, HeaderValue)],
        end: Timestamp,
        verdict: Verdict<T>,
    ) -> (u32, Result<T, HookError>) {
        let mut backoff = FIRST_BACKOFF;
        let mut tries = 1;
        let began = self.clock.now();
        loop {
            let error = match guarded(&*self.clock, end, self.once(body, headers, verdict)).await {
                Ok(Ok(taken)) => return (tries, Ok(taken)),
                Ok(Err(error)) => error,
                Err(Fault::Late(_)) => return (tries, Err(HookError::Late { deadline: since(end, began) })),
                Err(fault) => return (tries, Err(HookError::Unreachable { source: Box::new(fault) })),
            };
            let asked = match &error {
                HookError::Throttled { retry_after } => retry_after.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            let next = plus(self.clock.now(), asked.max(backoff));
            if tries > self.retries || !error.is_retryable() || next >= end {
                return (tries, Err(error));
            }
            tries += 1;
            (self.retried)(&self.channel);
            self.clock.sleep_until(next).await;
            backoff = backoff.saturating_mul(2);
        }
    }

    /// HMAC-SHA256 over the time of sending and the body.
    fn signature(&self, body: &str) -> Result<Option<HeaderValue>, HookError> {
        let Some(Secret(key)) = &self.key else { return Ok(None) };
        let seconds = self.clock.now().as_second().to_string();
        let mac = hex(&hmac(key.as_bytes(), &[seconds.as_bytes(), b".", body.as_bytes()]));
        let value = HeaderValue::from_str(&format!("t={seconds},v1={mac}"));
        value.map(Some).map_err(|error| HookError::Unreachable { source: error.into() })
    }

    async fn once<T>(
        &self,
        body: &str,
        headers: &[(HeaderName, HeaderValue)],
        verdict: Verdict<T>,
    ) -> Result<T, HookError> {
        let broken = |error: reqwest::Error| HookError::Unreachable { source: error.without_url().into() };
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        for (name, value) in self.headers.iter().chain(headers) {
            request = request.header(name, value);
        }
        if let Some(signature) = self.signature(body)? {
            request = request.header(SIGNATURE, signature);
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
                Ok(_) => Err(HookError::Refused { status, reason: words(&answer) }),
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
pub(crate) fn words(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    let answer = answer.trim();
    if answer.starts_with('<') { String::new() } else { text::clip(answer, REASON) }
}
