//! What every route does first: who asks, from which site, how much, of what type; and how it answers.

use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::authorise::{Access, Denied, Person};
use super::{Inner, Shared};
use crate::store::StoreError;

/// The host's authoriser, and a body, may take so long: what is slower holds nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// No scripts, no pictures, nothing of other sites, and no page that frames this one.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Why a request was not answered as asked.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// What else the answer tells a program.
    pub(super) more: Option<(&'static str, Value)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), more: None }
    }

    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
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

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let error = aiops_core::error_chain(&error);
        tracing::warn!(error, "the remediation store failed a request");
        Self::unavailable("the store failed; nothing was done, or it is not known")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some((name, value)) = self.more {
            error[name] = value;
        }
        let mut response = answered(self.status, &json!({ "error": error }));
        mark(&mut response, self.status);
        response
    }
}

/// Headers that go with a status.
pub(super) fn mark(response: &mut Response, status: StatusCode) {
    let header = match status {
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
        StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "5")),
        _ => None,
    };
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

/// What a route of the API answers.
pub(super) type Answer = Result<Response, Problem>;

/// JSON with a status.
pub(super) fn answered(status: StatusCode, body: &impl Serialize) -> Response {
    let Ok(body) = serde_json::to_vec(body) else {
        let body = r#"{"error":{"code":"unwritable","message":"the answer could not be written as JSON"}}"#;
        return typed(StatusCode::INTERNAL_SERVER_ERROR, "application/json", body);
    };
    typed(status, "application/json", body)
}

/// JSON with 200.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    Ok(answered(StatusCode::OK, body))
}

pub(super) fn typed(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// On every answer: it is of this type, for this person, in no frame, and its address stays here. Counts it as well.
pub(super) async fn dressed(State(inner): State<Shared>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    inner.count(response.status());
    response
}

/// One segment of a path.
pub(super) type Segment = Result<Path<String>, PathRejection>;

pub(super) fn segment(path: Segment, what: &str) -> Result<String, Problem> {
    path.map(|Path(text)| text).map_err(|_| Problem::not_found(what))
}

impl Inner {
    fn count(&self, status: StatusCode) {
        metrics::counter!("aiops_surface_requests_total", "status" => status.as_str().to_owned()).increment(1);
    }

    /// Who asks, and the rest of the request.
    pub(super) async fn enter(&self, request: Request, access: Access) -> Result<(Person, Parts, Body), Problem> {
        let (parts, body) = request.into_parts();
        let by = plus(self.clock.now(), PATIENCE);
        let person = match guarded(&*self.clock, by, self.authoriser.authorise(&parts, access)).await {
            Ok(answer) => answer?,
            Err(fault) => {
                let fault = fault.plain();
                tracing::warn!(fault, "the host's authoriser gave no answer");
                return Err(Denied::Unavailable.into());
            }
        };
        // Browsers say from which site they come; a page of another one may not act here in a person's name.
        let from = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let other_site = from.is_some_and(|from| !matches!(from, b"same-origin" | b"none"));
        if other_site && !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Problem::new(StatusCode::FORBIDDEN, "other_site", "the request comes from another site"));
        }
        Ok((person, parts, body))
    }

    /// Who asks to see something; a body is nobody's interest then.
    pub(super) async fn reader(&self, request: Request) -> Result<(Person, Parts), Problem> {
        let (person, parts, _) = self.enter(request, Access::Read).await?;
        Ok((person, parts))
    }

    /// A body of this type, within its bounds.
    pub(super) async fn body(&self, parts: &Parts, body: Body, kind: &str) -> Result<Bytes, Problem> {
        let sent = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !sent.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind) {
            let message = format!("the content type must be {kind}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message));
        }
        let too_large = || {
            let message = format!("the body is longer than {} bytes, or broke off", self.max_body);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        };
        let announced = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > self.max_body) {
            return Err(too_large());
        }
        let by = plus(self.clock.now(), PATIENCE);
        match guarded(&*self.clock, by, to_bytes(body, self.max_body)).await {
            Ok(bytes) => bytes.map_err(|_| too_large()),
            Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", "the body did not come in time")),
        }
    }

    /// A JSON body. A page of another site cannot send this type unasked.
    pub(super) async fn json<T: DeserializeOwned>(&self, parts: &Parts, body: Body) -> Result<T, Problem> {
        let bytes = self.body(parts, body, "application/json").await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let error = aiops_core::text::clip(&error.to_string(), 200);
            Problem::malformed(format!("the body does not read: {error}"))
        })
    }
}
