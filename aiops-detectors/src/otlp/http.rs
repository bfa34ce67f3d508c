//! The three endpoints of OTLP over HTTP, as a router that a host mounts.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::{Clock, time};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use flate2::read::MultiGzDecoder;
use tokio::sync::Semaphore;

use super::decoded::{OtlpEncoding, OtlpTally};
use super::intake::{OtlpIntake, OtlpRefusal};
use super::response::{JSON, OtlpSignal, PROTOBUF, failure, success};
use crate::server::{Authoriser, Denied};

/// Bytes of a body as it is sent; a collector's batch of 8,192 items has 1 to 4 MB.
const MAX_SENT: usize = 8 << 20;
/// Bytes of a body once it is inflated: what else one kilobyte of zeros can become a megabyte of.
const MAX_INFLATED: usize = 32 << 20;
/// Requests that are read at the same time: with the bound above what they can take of memory.
const MAX_AT_ONCE: usize = 4;
/// How long a request waits for its turn, and its body for its last byte; senders wait 10 s.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Seconds after which a sender may come again that found too many others.
const RETRY_AFTER_CROWD: u32 = 1;
/// Seconds after which a buffer has room again: detectors read every 30 s unless told otherwise.
const RETRY_AFTER_FULL: u32 = 30;

/// Bounds of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpHttpLimits {
    /// Bytes of a body as it is sent; 8 MiB unless set.
    pub max_sent: usize,
    /// Bytes of a body once it is inflated; 32 MiB unless set.
    pub max_inflated: usize,
    /// Requests that are read at the same time; 4 unless set.
    pub max_at_once: usize,
    /// How long a request waits for its turn, and its body for its last byte; 5 s unless set.
    pub max_wait: Duration,
}

impl Default for OtlpHttpLimits {
    fn default() -> Self {
        Self { max_sent: MAX_SENT, max_inflated: MAX_INFLATED, max_at_once: MAX_AT_ONCE, max_wait: MAX_WAIT }
    }
}

#[derive(Debug)]
struct Shared<A, C> {
    intake: OtlpIntake,
    authoriser: A,
    clock: C,
    limits: OtlpHttpLimits,
    turns: Semaphore,
}

/// A router with `POST /v1/metrics`, `/v1/logs` and `/v1/traces` in protobuf and JSON, plain or gzip.
///
/// It answers in the encoding of the request: 200 with what was refused of it; 400 for a body that is none,
/// 401, 403, 413 and 415, which are not to be sent again; 429 where a buffer is full and 503 where too many
/// requests wait or the authoriser cannot tell, both with `retry-after`. `aiops_otlp_requests_total`
/// counts them.
///
/// ```
/// use aiops_core::SystemClock;
/// use aiops_detectors::MemorySpanSource;
/// use aiops_detectors::otlp::{OtlpHttpLimits, OtlpIntake, router};
/// use aiops_detectors::server::BearerToken;
/// # fn build(token: String) {
/// let intake = OtlpIntake::new().spans(MemorySpanSource::new("spans", 100_000));
/// let router = router(intake, BearerToken::new(token), SystemClock, OtlpHttpLimits::default());
/// # }
/// ```
pub fn router<A: Authoriser, C: Clock>(intake: OtlpIntake, authoriser: A, clock: C, limits: OtlpHttpLimits) -> Router {
    let turns = Semaphore::new(limits.max_at_once.max(1));
    let shared = Arc::new(Shared { intake, authoriser, clock, limits, turns });
    let endpoint = |signal: OtlpSignal| {
        post(move |State(shared): State<Arc<Shared<A, C>>>, request: Request| async move {
            let response = shared.answer(signal, request).await;
            let status = response.status().as_str().to_owned();
            metrics::counter!("aiops_otlp_requests_total", "signal" => signal.as_str(), "status" => status)
                .increment(1);
            response
        })
    };
    Router::new()
        .route("/v1/metrics", endpoint(OtlpSignal::Metrics))
        .route("/v1/logs", endpoint(OtlpSignal::Logs))
        .route("/v1/traces", endpoint(OtlpSignal::Traces))
        .layer(DefaultBodyLimit::max(limits.max_sent))
        .with_state(shared)
}

/// Why a request is refused: status, message, and after how many seconds it may come again.
struct Refused(StatusCode, String, Option<u32>);

impl Refused {
    fn for_good(status: StatusCode, message: impl Into<String>) -> Self {
        Self(status, message.into(), None)
    }

    fn later(message: impl Into<String>) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, message.into(), Some(RETRY_AFTER_CROWD))
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::Unauthenticated => Self::for_good(StatusCode::UNAUTHORIZED, message),
            Denied::Forbidden => Self::for_good(StatusCode::FORBIDDEN, message),
            _ => Self::later(message),
        }
    }
}

impl From<OtlpRefusal> for Refused {
    fn from(refusal: OtlpRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            OtlpRefusal::Malformed(_) => Self::for_good(StatusCode::BAD_REQUEST, message),
            OtlpRefusal::Busy => Self(StatusCode::TOO_MANY_REQUESTS, message, Some(RETRY_AFTER_FULL)),
        }
    }
}

impl<A: Authoriser, C: Clock> Shared<A, C> {
    async fn answer(self: Arc<Self>, signal: OtlpSignal, request: Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        let encoding = encoding_of(&head.headers);
        // Who may not send learns nothing else.
        let taken = match (self.authoriser.authorise(&head).await, encoding) {
            (Err(denied), _) => Err(denied.into()),
            (Ok(()), None) => {
                let message = format!("content-type must be {PROTOBUF} or {JSON}");
                Err(Refused::for_good(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
            }
            (Ok(()), Some(encoding)) => Arc::clone(&self).take(signal, encoding, Request::from_parts(head, body)).await,
        };
        let encoding = encoding.unwrap_or(OtlpEncoding::Json);
        match taken {
            Ok(tally) => success(signal, encoding, &tally),
            Err(Refused(status, message, retry_after)) => failure(status, encoding, &message, retry_after),
        }
    }

    async fn take(
        self: Arc<Self>,
        signal: OtlpSignal,
        encoding: OtlpEncoding,
        request: Request,
    ) -> Result<OtlpTally, Refused> {
        let gzip = is_gzip(request.headers())?;
        let OtlpHttpLimits { max_sent, max_inflated, .. } = self.limits;
        let Some(Ok(_turn)) = self.within_wait(self.turns.acquire()).await else {
            return Err(Refused::later("too many requests at the same time"));
        };
        let sent = match self.within_wait(Bytes::from_request(request, &())).await {
            Some(Ok(sent)) => sent,
            Some(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(too_large(max_sent));
            }
            // The sender went away or broke its own framing.
            Some(Err(_)) => return Err(Refused::for_good(StatusCode::BAD_REQUEST, "the body ended early")),
            None => return Err(Refused::later("the body came too slowly")),
        };
        let shared = Arc::clone(&self);
        // Some megabytes take some ten milliseconds: too long for the threads that serve others.
        let taken = tokio::task::spawn_blocking(move || shared.take_body(signal, encoding, &sent, gzip, max_inflated));
        taken.await.unwrap_or_else(|_| {
            metrics::counter!("aiops_invariant_broken_total", "where" => "otlp").increment(1);
            Err(Refused::for_good(StatusCode::INTERNAL_SERVER_ERROR, "a fault of the receiver"))
        })
    }

    /// What comes of a future within the wait.
    async fn within_wait<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // What is there counts, however late it is.
            biased;
            done = future => Some(done),
            () = self.clock.sleep_until(time::plus(self.clock.now(), self.limits.max_wait)) => None,
        }
    }

    fn take_body(
        &self,
        signal: OtlpSignal,
        encoding: OtlpEncoding,
        sent: &Bytes,
        gzip: bool,
        max_inflated: usize,
    ) -> Result<OtlpTally, Refused> {
        let mut inflated = Vec::new();
        let body: &[u8] = if gzip {
            let limit = u64::try_from(max_inflated).unwrap_or(u64::MAX);
            MultiGzDecoder::new(&sent[..])
                .take(limit.saturating_add(1))
                .read_to_end(&mut inflated)
                .map_err(|_| Refused::for_good(StatusCode::BAD_REQUEST, "the body is no gzip"))?;
            &inflated
        } else {
            sent
        };
        if body.len() > max_inflated {
            return Err(too_large(max_inflated));
        }
        let received = self.clock.now();
        let taken = match signal {
            OtlpSignal::Metrics => self.intake.take_metrics(body, encoding, received),
            OtlpSignal::Logs => self.intake.take_logs(body, encoding, received),
            OtlpSignal::Traces => self.intake.take_traces(body, encoding, received),
        };
        Ok(taken?)
    }
}

fn too_large(max: usize) -> Refused {
    Refused::for_good(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body has more than {max} bytes: send smaller batches"),
    )
}

fn encoding_of(headers: &HeaderMap) -> Option<OtlpEncoding> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default().trim();
    [(PROTOBUF, OtlpEncoding::Protobuf), (JSON, OtlpEncoding::Json)]
        .into_iter()
        .find_map(|(known, encoding)| media_type.eq_ignore_ascii_case(known).then_some(encoding))
}

/// Whether the body is gzip, or plain.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Refused> {
    let value = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"));
    match value.trim().to_ascii_lowercase().as_str() {
        "gzip" => Ok(true),
        "" | "identity" => Ok(false),
        _ => Err(Refused::for_good(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding must be gzip or identity")),
    }
}
