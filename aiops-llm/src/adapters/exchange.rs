//! One request and its answer.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::body::Body;
use super::endpoint::ModelEndpoint;
use super::failure::{self, Problem};
use crate::{ChatError, ChatErrorKind, ChatReply, ChatRequest};

/// An error's body is read up to here, the rest is left.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// A wire format: how a request is written and an answer read.
pub(super) trait Wire {
    /// Where it is, below a base.
    const PATH: &'static str;
    /// The answer's shape, as far as it is read.
    type Answer: DeserializeOwned;

    fn endpoint(&self) -> &ModelEndpoint;

    fn provider(&self) -> &str;

    /// Headers of the format itself.
    fn headers(&self) -> HeaderMap {
        HeaderMap::new()
    }

    fn write(&self, request: &ChatRequest) -> Result<Body, serde_json::Error>;

    fn read(&self, answer: Self::Answer) -> Result<ChatReply, NoReply>;
}

/// An answer without a reply.
pub(super) enum NoReply {
    /// An error in an answer of status 200.
    Problem(Problem),
    /// Not the shape that the format has.
    Shape(&'static str),
}

/// The body of a request.
pub(super) fn body<W: Wire>(wire: &W, request: &ChatRequest) -> Result<String, ChatError> {
    let unwritten = |error| ChatError::new(wire.provider(), ChatErrorKind::Refused).caused_by(error);
    wire.write(request).and_then(|body| body.text(&wire.endpoint().extra)).map_err(unwritten)
}

/// One attempt.
pub(super) async fn complete<W: Wire>(wire: &W, request: &ChatRequest) -> Result<ChatReply, ChatError> {
    let endpoint = wire.endpoint();
    let asked = endpoint
        .client()
        .map_err(|error| broken(wire.provider(), error))?
        .post(endpoint.url(W::PATH))
        .header(CONTENT_TYPE, "application/json")
        .headers(wire.headers())
        .headers(endpoint.headers.clone())
        .body(body(wire, request)?);
    let attempt = async {
        let response = asked.send().await.map_err(|error| broken(wire.provider(), error))?;
        Answer::of(wire, response).await
    };
    decode(wire, within(request.timeout, wire.provider(), attempt).await?)
}

/// The JSON that stands at a path below the endpoint's base.
pub(super) async fn look_up<W: Wire>(wire: &W, path: &[&str], limit: Duration) -> Result<Value, ChatError> {
    let endpoint = wire.endpoint();
    let unreachable = |error| broken(wire.provider(), error);
    let url = endpoint.below(path).ok_or_else(|| {
        ChatError::new(wire.provider(), ChatErrorKind::Refused).reason("the endpoint is one address, without a base")
    })?;
    let asked =
        endpoint.client().map_err(unreachable)?.get(url).headers(wire.headers()).headers(endpoint.headers.clone());
    let attempt = async { Answer::of(wire, asked.send().await.map_err(unreachable)?).await };
    let Answer { status, headers, body } = within(limit, wire.provider(), attempt).await?;
    if !(200..300).contains(&status) {
        return Err(refused(wire, Problem::read(&body), Some(status), &headers));
    }
    serde_json::from_slice(&body).map_err(|error| bad(wire, status, &headers, shape(&error)))
}

pub(super) async fn within<T>(
    limit: Duration,
    provider: &str,
    attempt: impl Future<Output = Result<T, ChatError>>,
) -> Result<T, ChatError> {
    tokio::time::timeout(limit, attempt)
        .await
        .unwrap_or_else(|_| Err(ChatError::new(provider, ChatErrorKind::Timeout).reason("no answer within the limit")))
}

pub(super) fn broken(provider: &str, error: reqwest::Error) -> ChatError {
    // A connection that was not made in time was not made: the host is down or the address is wrong.
    let kind =
        if error.is_timeout() && !error.is_connect() { ChatErrorKind::Timeout } else { ChatErrorKind::Unreachable };
    ChatError::new(provider, kind).caused_by(error.without_url())
}

/// An answer, as it came.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    async fn of<W: Wire>(wire: &W, response: Response) -> Result<Self, ChatError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let max = if status.is_success() { wire.endpoint().max_body } else { MAX_ERROR_BODY };
        let body = match taken(response, max).await {
            Ok(Some(body)) => body,
            // An error whose body breaks off or does not end is that error all the same.
            _ if !status.is_success() => Vec::new(),
            Ok(None) => return Err(bad(wire, status.as_u16(), &headers, &format!("more than {max} bytes"))),
            Err(error) => return Err(broken(wire.provider(), error)),
        };
        Ok(Self { status: status.as_u16(), headers, body })
    }
}

/// What an answer says.
pub(super) fn decode<W: Wire>(wire: &W, Answer { status, headers, body }: Answer) -> Result<ChatReply, ChatError> {
    if !(200..300).contains(&status) {
        return Err(refused(wire, Problem::read(&body), Some(status), &headers));
    }
    let unread = match serde_json::from_slice::<W::Answer>(&body) {
        Ok(answer) => match wire.read(answer) {
            Ok(reply) => return Ok(finished(reply, wire.endpoint(), &headers)),
            Err(NoReply::Problem(within)) => return Err(refused(wire, within, None, &headers)),
            Err(NoReply::Shape(missing)) => missing,
        },
        Err(error) => shape(&error),
    };
    // Some gateways answer 200 with an error in place of a reply.
    if let Some(within) = Problem::within(&body) {
        return Err(refused(wire, within, None, &headers));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("no content type");
    Err(bad(wire, status, &headers, &format!("{unread}, {kind}")))
}

/// The reply with its id, a provider's words no longer than words are.
fn finished(mut reply: ChatReply, endpoint: &ModelEndpoint, headers: &HeaderMap) -> ChatReply {
    reply.stop_reason = reply.stop_reason.and_then(|reason| endpoint.word(&reason));
    reply.model = reply.model.and_then(|model| endpoint.word(&model));
    reply.request_id = failure::request_id(endpoint, headers);
    reply
}

/// What the provider's own error is here.
fn refused<W: Wire>(wire: &W, problem: Problem, status: Option<u16>, headers: &HeaderMap) -> ChatError {
    failure::with_headers(problem.into_error(wire.endpoint(), wire.provider(), status), wire.endpoint(), headers)
}

/// An answer that is no answer of this format.
fn bad<W: Wire>(wire: &W, status: u16, headers: &HeaderMap, reason: &str) -> ChatError {
    let mut error = ChatError::new(wire.provider(), ChatErrorKind::BadAnswer).status(status);
    error.reason = wire.endpoint().word(reason).unwrap_or_default();
    failure::with_headers(error, wire.endpoint(), headers)
}

/// Where a body does not read; serde's own text would show parts of it.
fn shape(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "the body ends early",
        _ => "not JSON",
    }
}

/// The body, or `None` when it is longer than `max` bytes.
async fn taken(mut response: Response, max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > max - body.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
