//! Grafana Tempo: traces by search, and numbers from them.

mod decode;
mod source;

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

pub use self::decode::{FoundSpan, FoundTrace};
use self::decode::{MetricsBody, SearchBody};
pub use self::source::TempoSource;
use super::endpoint::{Call, Endpoint, refused_in_text};
use super::error::{ClientError, ClientErrorKind, shape};
use crate::source::Series;

const SYSTEM: &str = "tempo";

/// Words of Tempo's limits on the range of one query (modules/frontend of Tempo 2).
const LIMITS: [&str; 2] = ["range specified by start and end exceeds", "exceeds the limit"];

/// A client of the Tempo HTTP API. Cheap to clone.
///
/// ```no_run
/// use std::time::Duration;
///
/// use aiops_detectors::client::{Endpoint, Tempo, reqwest};
/// use aiops_detectors::{Adaptive, SeriesDetector};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// let tempo = Tempo::new(Endpoint::new("http://tempo:3200", reqwest::Client::new())?);
/// let errors = tempo.range("{ status = error } | rate() by (resource.service.name)").named("span_errors");
/// let detector = SeriesDetector::builder("SpanErrors", errors, Adaptive::default())
///     .service_label("resource.service.name")
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Tempo {
    endpoint: Endpoint,
}

/// The series of a TraceQL metrics query.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TempoAnswer {
    /// The series, each with its samples, oldest first.
    pub series: Vec<Series>,
    /// Whether Tempo says that a part of the data is missing, and in which words.
    pub partial: Option<String>,
}

impl Tempo {
    /// A client of the server at this endpoint.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// Traces that match a TraceQL expression in a range of whole seconds: the first `limit` that Tempo finds,
    /// which need not be the newest, nor the same ones again.
    ///
    /// # Errors
    /// [`ClientError`]; [`TooLarge`](ClientErrorKind::TooLarge) for a range beyond Tempo's bound.
    pub async fn search(
        &self,
        expression: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<FoundTrace>, ClientError> {
        let call = call("search");
        let (from, to, limit) = (seconds(from, false), seconds(to, true), limit.to_string());
        let form = [("q", expression), ("start", &from), ("end", &to), ("limit", &limit)];
        FoundTrace::from_search_body(&self.endpoint.read(&call, "/api/search", &form).await?)
    }

    /// A TraceQL metrics expression, such as `{ status = error } | rate() by (resource.service.name)`, at every
    /// step of a range of whole seconds.
    ///
    /// # Errors
    /// [`ClientError`]; [`TooLarge`](ClientErrorKind::TooLarge) for a range beyond Tempo's bound.
    pub async fn query_range(
        &self,
        expression: &str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<TempoAnswer, ClientError> {
        let call = call("query_range");
        let (from, to) = (seconds(from, false), seconds(to, true));
        let step = format!("{}s", step.as_secs().max(1));
        let form = [("q", expression), ("start", from.as_str()), ("end", &to), ("step", &step)];
        let body = self.endpoint.read(&call, "/api/metrics/query_range", &form).await?;
        let mut answer = TempoAnswer::from_range_body(&body)?;
        answer.partial = answer.partial.map(|words| self.endpoint.masked(words));
        Ok(answer)
    }
}

impl FoundTrace {
    /// Reads the body of an answer of `/api/search` that was recorded, or came by another way.
    ///
    /// # Errors
    /// [`ClientError`], as [`Tempo::search`] gives it for such an answer of status 200.
    pub fn from_search_body(body: &[u8]) -> Result<Vec<Self>, ClientError> {
        let body: SearchBody = parsed(&call("search"), body)?;
        Ok(body.traces.unwrap_or_default().into_iter().map(Self::from).collect())
    }
}

impl TempoAnswer {
    /// Reads the body of an answer of `/api/metrics/query_range` that was recorded, or came by another way.
    ///
    /// # Errors
    /// [`ClientError`], as [`Tempo::query_range`] gives it for such an answer of status 200.
    pub fn from_range_body(body: &[u8]) -> Result<Self, ClientError> {
        let body: MetricsBody = parsed(&call("query_range"), body)?;
        let partial = body.partial();
        Ok(Self { series: body.series(), partial })
    }
}

fn parsed<'a, T: Deserialize<'a>>(call: &Call, body: &'a [u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| call.error(ClientErrorKind::Malformed, &shape(&error)))
}

fn call(name: &'static str) -> Call {
    let refusal = |call: &Call, status, body: &str| refused_in_text(call, status, body, &LIMITS);
    Call { system: SYSTEM, name, refusal }
}

/// Whole unix seconds, down or up.
fn seconds(at: Timestamp, up: bool) -> String {
    let nanos = at.as_nanosecond();
    let down = nanos.div_euclid(1_000_000_000);
    let whole = if up && nanos.rem_euclid(1_000_000_000) != 0 { down + 1 } else { down };
    whole.to_string()
}
