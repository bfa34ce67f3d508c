//! Where a system is, what a request to it carries, and how long and how often it is tried.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, Url};
use tokio::time::Instant;

use super::error::{ClientError, ClientErrorKind};

/// One call with all its tries; a detector's evaluation may take 30 s unless the host says otherwise.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// An answer of 10,000 series with 120 samples each is about 30 MB.
const DEFAULT_MAX_BODY: usize = 64 * 1024 * 1024;
/// An error's body is read up to here, the rest is left: its text is cut far below that.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// Tries after the first: what lasts longer is the next evaluation's to meet.
const DEFAULT_RETRIES: u32 = 2;
/// Wait before the second try; doubled before the third.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// Encoded parameters that still go into the URL. RFC 9110, section 4.1, asks for 8,000 octets of
/// URI everywhere; a prefix and older proxies have the rest.
const MAX_URL_PARAMETERS: usize = 4_000;
/// Shorter secrets are not looked for in texts: they would mask ordinary words.
const MIN_MASKED: usize = 4;

/// An endpoint that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint, {part}: {fault}")]
pub struct InvalidEndpoint {
    part: &'static str,
    fault: String,
}

impl InvalidEndpoint {
    fn new(part: &'static str, fault: impl Into<String>) -> Self {
        Self { part, fault: fault.into() }
    }
}

/// A system's address, the host's HTTP client, and the limits of one call. `Debug` and errors show
/// neither headers nor a password in the URL.
///
/// Reading calls are tried again within the deadline when the connection fails or the server says
/// 429, 502 or 503: after 250 ms, 500 ms and so on, or after the server's `Retry-After` in seconds. A
/// server that ran out of time (504, or 503 with Prometheus' `timeout`) is not asked again at once.
///
/// ```
/// use std::time::Duration;
///
/// use aiops_detectors::client::{Endpoint, Prometheus, reqwest};
///
/// let endpoint = Endpoint::new("http://mimir:8080/prometheus", reqwest::Client::new())?
///     .bearer("s3cret")?
///     .tenant("shop")?
///     .deadline(Duration::from_secs(5));
/// assert!(!format!("{endpoint:?}").contains("s3cret"));
/// let prometheus = Prometheus::new(endpoint);
/// # Ok::<(), aiops_detectors::client::InvalidEndpoint>(())
/// ```
#[derive(Clone)]
pub struct Endpoint {
    client: Client,
    base: Url,
    headers: HeaderMap,
    /// What must not appear in an error's text.
    secrets: Vec<String>,
    deadline: Duration,
    retries: u32,
    max_body: usize,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.keys().map(HeaderName::as_str).collect();
        f.debug_struct("Endpoint")
            .field("host", &self.base.host_str())
            .field("port", &self.base.port_or_known_default())
            .field("path", &self.base.path())
            .field("headers", &names)
            .field("deadline", &self.deadline)
            .field("retries", &self.retries)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The system at `url`, with the path prefix before `/api/…` if it has one (Mimir's
    /// `/prometheus`, VictoriaMetrics' `/select/0/prometheus`).
    ///
    /// # Errors
    /// A URL that does not read, is not `http` or `https`, or has a query or fragment.
    pub fn new(url: &str, client: Client) -> Result<Self, InvalidEndpoint> {
        let mut base = Url::parse(url).map_err(|error| InvalidEndpoint::new("url", error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(InvalidEndpoint::new("url", "neither http nor https"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(InvalidEndpoint::new("url", "has a query or a fragment"));
        }
        // Ends in no slash, so that paths are appended as they stand.
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        let secrets = base.password().map(str::to_owned).into_iter().collect();
        let (headers, deadline) = (HeaderMap::new(), DEFAULT_DEADLINE);
        let (retries, max_body) = (DEFAULT_RETRIES, DEFAULT_MAX_BODY);
        Ok(Self { client, base, headers, secrets, deadline, retries, max_body })
    }

    /// Sends `Authorization: Bearer …`.
    ///
    /// # Errors
    /// A token that cannot stand in a header.
    pub fn bearer(mut self, token: &str) -> Result<Self, InvalidEndpoint> {
        self.secrets.push(token.to_owned());
        self.set(AUTHORIZATION, "bearer", &format!("Bearer {token}"))
    }

    /// Sends the tenant as `X-Scope-OrgID`, the header of Mimir, Loki and Tempo. Others have their
    /// own [`header`](Self::header) or stand in the URL.
    ///
    /// # Errors
    /// A tenant that cannot stand in a header.
    pub fn tenant(self, tenant: &str) -> Result<Self, InvalidEndpoint> {
        self.set(HeaderName::from_static("x-scope-orgid"), "tenant", tenant)
    }

    /// Sends a header; its value is taken for a secret.
    ///
    /// # Errors
    /// A name or value that cannot stand in a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidEndpoint> {
        let name: HeaderName =
            name.parse().map_err(|_| InvalidEndpoint::new("header", "the name cannot stand in a header"))?;
        self.secrets.push(value.to_owned());
        self.set(name, "header", value)
    }

    fn set(mut self, name: HeaderName, part: &'static str, value: &str) -> Result<Self, InvalidEndpoint> {
        let mut value =
            HeaderValue::from_str(value).map_err(|_| InvalidEndpoint::new(part, "cannot stand in a header"))?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// The longest that one call may take with all its tries; 10 s unless set.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Tries after the first; 2 unless set.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Bytes of an answer at the most, decompressed; 64 MiB unless set.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    pub(super) fn time_allowed(&self) -> Duration {
        self.deadline
    }

    /// Reads `path` with these parameters: a GET, or a POST of a form where they are long. Must be a
    /// call that changes nothing, since it is tried again.
    pub(super) async fn read(&self, call: &Call, path: &str, form: &[(&str, &str)]) -> Result<Vec<u8>, ClientError> {
        self.exchange(call, path, Payload::Form(form)).await
    }

    /// Posts JSON to `path`. Must be a call that may be made twice, since it is tried again.
    pub(super) async fn post(&self, call: &Call, path: &str, json: &str) -> Result<Vec<u8>, ClientError> {
        self.exchange(call, path, Payload::Json(json)).await
    }

    async fn exchange(&self, call: &Call, path: &str, payload: Payload<'_>) -> Result<Vec<u8>, ClientError> {
        let end = Instant::now() + self.deadline;
        let mut backoff = FIRST_BACKOFF;
        let mut result = Ok(Vec::new());
        for attempt in 0..=self.retries {
            let tried = tokio::time::timeout_at(end, self.once(call, path, payload)).await;
            let failed = match tried {
                Ok(Ok(body)) => {
                    result = Ok(body);
                    break;
                }
                Ok(Err(failed)) => failed,
                Err(_) => Failed::finally(call.error(ClientErrorKind::Deadline, "")),
            };
            result = Err(failed.error);
            let wait = failed.retry_after.unwrap_or_default().max(backoff);
            if !failed.again || attempt == self.retries || Instant::now() + wait >= end {
                break;
            }
            metrics::counter!("aiops_client_retries_total", "system" => call.system).increment(1);
            tokio::time::sleep(wait).await;
            backoff = backoff.saturating_mul(2);
        }
        let outcome = result.as_ref().err().map_or("ok", |error| error.kind.as_str());
        metrics::counter!("aiops_client_requests_total", "system" => call.system, "outcome" => outcome).increment(1);
        result
    }

    async fn once(&self, call: &Call, path: &str, payload: Payload<'_>) -> Result<Vec<u8>, Failed> {
        let broken = |error: reqwest::Error| {
            let kind = if error.is_timeout() { ClientErrorKind::Deadline } else { ClientErrorKind::Unreachable };
            // The host's own timeout is a decision, a broken connection is an accident.
            let again = kind == ClientErrorKind::Unreachable;
            let error = call.error(kind, "").caused_by(error.without_url());
            Failed { error, again, retry_after: None }
        };
        let response = self.request(path, payload).send().await.map_err(broken)?;
        let status = response.status();
        if !status.is_success() {
            let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let mut body = Vec::new();
            // An error whose body breaks off is that error all the same.
            let _ = take(response, &mut body, MAX_ERROR_BODY).await;
            // Masked before it is cut, so that no half of a secret is left.
            let body = self.masked(String::from_utf8_lossy(&body).into_owned());
            let error = (call.refusal)(call, status.as_u16(), &body);
            let again = matches!(status.as_u16(), 429 | 502 | 503) && error.kind != ClientErrorKind::Deadline;
            return Err(Failed { error, again, retry_after: seconds.map(Duration::from_secs) });
        }
        let too_large = || {
            let reason = format!("more than {} bytes", self.max_body);
            Failed::finally(call.error(ClientErrorKind::TooLarge, &reason).status(status.as_u16()))
        };
        let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > self.max_body) {
            return Err(too_large());
        }
        let mut body = Vec::with_capacity(announced.unwrap_or_default());
        if take(response, &mut body, self.max_body).await.map_err(broken)? { Ok(body) } else { Err(too_large()) }
    }

    fn request(&self, path: &str, payload: Payload<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let posted = |url, kind: &'static str, body| self.client.post(url).header(CONTENT_TYPE, kind).body(body);
        let request = match payload {
            Payload::Form([]) => self.client.get(url),
            Payload::Form(form) => {
                let mut encoded = url.clone();
                encoded.query_pairs_mut().extend_pairs(form);
                let parameters = encoded.query().unwrap_or_default();
                if parameters.len() <= MAX_URL_PARAMETERS {
                    self.client.get(encoded)
                } else {
                    posted(url, "application/x-www-form-urlencoded", parameters.to_owned())
                }
            }
            Payload::Json(text) => posted(url, "application/json", text.to_owned()),
        };
        request.headers(self.headers.clone())
    }

    /// The text without any of the endpoint's secrets: a server may echo what it was sent.
    pub(super) fn masked(&self, mut text: String) -> String {
        for secret in self.secrets.iter().filter(|secret| secret.len() >= MIN_MASKED) {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "[redacted]");
            }
        }
        text
    }
}

/// Appends the body up to `max` bytes; `false` when it is longer.
async fn take(mut response: Response, body: &mut Vec<u8>, max: usize) -> Result<bool, reqwest::Error> {
    while let Some(chunk) = response.chunk().await? {
        let room = max - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok(false);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(true)
}

/// What a request carries.
#[derive(Clone, Copy)]
enum Payload<'a> {
    /// Parameters of a call that reads.
    Form(&'a [(&'a str, &'a str)]),
    /// A body.
    Json(&'a str),
}

/// One call of one system, and how that system words a refusal.
pub(super) struct Call {
    pub(super) system: &'static str,
    pub(super) name: &'static str,
    /// The error in an answer other than 2xx: status and the head of the body.
    pub(super) refusal: fn(&Self, u16, &str) -> ClientError,
}

impl Call {
    pub(super) fn error(&self, kind: ClientErrorKind, reason: &str) -> ClientError {
        ClientError::new(self.system, self.name, kind, reason)
    }
}

/// The error in an answer other than 2xx of a system that words it as plain text; `limits` are its words for too
/// much at a time.
pub(super) fn refused_in_text(call: &Call, status: u16, body: &str, limits: &[&str]) -> ClientError {
    let text = body.trim();
    // A proxy's page is nobody's reason.
    let text = if text.starts_with('<') { "" } else { text };
    let kind = match status {
        401 | 403 => ClientErrorKind::Unauthorized,
        404 => ClientErrorKind::NotFound,
        408 | 499 | 504 => ClientErrorKind::Deadline,
        413 => ClientErrorKind::TooLarge,
        429 => ClientErrorKind::Throttled,
        500.. => ClientErrorKind::Unavailable,
        _ if limits.iter().any(|words| text.contains(words)) => ClientErrorKind::TooLarge,
        _ => ClientErrorKind::Refused,
    };
    call.error(kind, text).status(status)
}

/// A try that failed, and whether another one is worth it.
struct Failed {
    error: ClientError,
    again: bool,
    retry_after: Option<Duration>,
}

impl Failed {
    fn finally(error: ClientError) -> Self {
        Self { error, again: false, retry_after: None }
    }
}
