//! What every router does before it looks at the items: who asks, how much, of what type; and how it
//! answers.

use std::sync::Arc;

use aiops_core::text;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use serde_json::{Value, json};

use super::authorise::{Authoriser, Denied};
use crate::alert_mapping::FieldFault;

/// Alertmanager sends about 1 KiB for each alert.
const DEFAULT_MAX_BODY: usize = 1024 * 1024;
pub(super) const JSON: &str = "application/json";
/// Rejected items that an answer lists; all are counted.
const MAX_LISTED: usize = 100;
/// Characters of a field's path in an answer: a label's name may be of any length.
const FIELD_CHARS: usize = 120;

/// What takes the items of a request that came through its gate.
pub(super) trait TakesBatches: Clone + Send + Sync + 'static {
    fn gate(&self) -> &Gate;

    fn batch(&self, request: Request) -> impl Future<Output = Result<Taken, Problem>> + Send;
}

/// A router of one path, where only POST is taken.
pub(super) fn router_at<T: TakesBatches>(path: &str, intake: T) -> Router {
    let take = async |State(intake): State<T>, request: Request| {
        let outcome = intake.batch(request).await;
        intake.gate().answer(outcome)
    };
    Router::new().route(path, post(take).fallback(Problem::not_post)).with_state(intake)
}

/// The door of one router.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// The label value of the router's metrics.
    pub(super) intake: &'static str,
    pub(super) authoriser: Arc<dyn Authoriser>,
    pub(super) max_body: usize,
    /// The content types that are taken. A page in a browser cannot send one of these to another site
    /// unasked.
    pub(super) media: &'static [&'static str],
}

impl Gate {
    pub(super) fn new(intake: &'static str, authoriser: impl Authoriser) -> Self {
        Self { intake, authoriser: Arc::new(authoriser), max_body: DEFAULT_MAX_BODY, media: &[JSON] }
    }

    /// The body of a request that may come in.
    pub(super) async fn json(&self, request: Request) -> Result<Value, Problem> {
        let (parts, body) = request.into_parts();
        self.authoriser.authorise(&parts).await?;
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !self.media.iter().any(|taken| kind.eq_ignore_ascii_case(taken)) {
            let message = format!("the content type must be {}", self.media.join(" or "));
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message));
        }
        let too_large = || {
            let message = format!("the body is longer than {} bytes", self.max_body);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        };
        let announced = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > self.max_body) {
            return Err(too_large());
        }
        // It also fails where the sender breaks off, who then hears no answer.
        let bytes = to_bytes(body, self.max_body).await.map_err(|_| too_large())?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("the body is no JSON (line {}, column {})", error.line(), error.column());
            Problem::malformed("", message)
        })
    }

    /// Counts and answers.
    fn answer(&self, outcome: Result<Taken, Problem>) -> Response {
        let (code, response) = match outcome {
            Ok(taken) => {
                let rejected = u64::try_from(taken.rejected.len()).unwrap_or(u64::MAX);
                metrics::counter!("aiops_intake_accepted_total", "intake" => self.intake).increment(taken.accepted);
                metrics::counter!("aiops_intake_rejected_total", "intake" => self.intake).increment(rejected);
                ("ok", taken.into_response())
            }
            Err(problem) => (problem.code, problem.into_response()),
        };
        metrics::counter!("aiops_intake_requests_total", "intake" => self.intake, "outcome" => code).increment(1);
        response
    }
}

/// Why a request was not taken.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: String,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: String::new() }
    }

    /// Another method than POST, which is all that the routes take.
    async fn not_post() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "only POST is taken here")
    }

    /// The body is not of the shape.
    pub(super) fn malformed(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), ..Self::new(StatusCode::BAD_REQUEST, "malformed", message) }
    }

    /// The pipeline takes no more now.
    pub(super) fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the pipeline is behind; come again")
    }

    /// The pipeline ended.
    pub(super) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the pipeline has ended")
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let (status, code) = match denied {
            Denied::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Denied::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Denied::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "undecided"),
        };
        Self::new(status, code, denied.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if !self.field.is_empty() {
            error["field"] = Value::from(self.field);
        }
        let mut response = answered(self.status, &json!({ "error": error }));
        let header = match self.status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "5")),
            StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "POST")),
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// What became of the items of a request.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) accepted: u64,
    rejected: Vec<Rejected>,
}

#[derive(Debug, Serialize)]
struct Rejected {
    index: usize,
    field: String,
    reason: &'static str,
}

impl Taken {
    pub(super) fn reject(&mut self, index: usize, fault: FieldFault) {
        let FieldFault { field, reason } = fault;
        self.rejected.push(Rejected { index, field: text::clip(&field, FIELD_CHARS), reason });
    }
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        let all_rejected = self.accepted == 0 && !self.rejected.is_empty();
        let status = if all_rejected { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let listed: Vec<&Rejected> = self.rejected.iter().take(MAX_LISTED).collect();
        let mut body = json!({"accepted": self.accepted, "rejected": listed});
        if self.rejected.len() > MAX_LISTED {
            body["rejected_in_all"] = Value::from(self.rejected.len());
        }
        answered(status, &body)
    }
}

fn answered(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
