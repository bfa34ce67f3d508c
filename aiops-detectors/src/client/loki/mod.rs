//! Grafana Loki, and what speaks its API.

mod decode;
mod source;

use std::time::Duration;

use jiff::Timestamp;

pub use self::decode::LogStream;
use self::decode::StreamData;
pub use self::source::LokiSource;
use super::endpoint::{Call, Endpoint, refused_in_text};
use super::error::{ClientError, ClientErrorKind};
use super::prometheus::{Envelope, metric_series, read_body};
use crate::source::Series;

const SYSTEM: &str = "loki";

/// Words of Loki's limits on one query, of which less may be asked: entries, series, range, bytes. They all
/// come with status 400 (pkg/validation/limits.go, pkg/logql, pkg/querier of Loki 3).
const LIMITS: [&str; 6] = [
    "max entries limit",
    "maximum of series",
    "maximum number of series",
    "query time range exceeds the limit",
    "query would read too many bytes",
    "exceeds the limit",
];

/// A client of the Loki HTTP API. Cheap to clone.
///
/// An answer without data is a successful read of nothing, which of counts means zero; an error is unknown. The
/// tenant is the endpoint's ([`Endpoint::tenant`]).
///
/// ```no_run
/// use aiops_detectors::AdaptiveLogBurst;
/// use aiops_detectors::client::{Endpoint, Loki, reqwest};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// let loki = Loki::new(Endpoint::new("http://loki:3100", reqwest::Client::new())?.tenant("shop")?);
/// let errors = loki.logs(r#"{level="error"}"#).service_label("service_name");
/// let detector = AdaptiveLogBurst::new(errors);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Loki {
    endpoint: Endpoint,
}

/// Which entries come first where a limit cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogOrder {
    /// The oldest.
    #[default]
    OldestFirst,
    /// The newest, Loki's own default.
    NewestFirst,
}

impl Loki {
    /// A client of the server at this endpoint.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// A metric expression at one time, such as `sum by (service_name) (count_over_time({level="error"}[5m]))`. Its
    /// ranges are open at the start and closed at the end.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refused`](ClientErrorKind::Refused) for an expression that gives lines.
    pub async fn query(&self, expression: &str, at: Timestamp) -> Result<Vec<Series>, ClientError> {
        let call = call("query");
        let at = nanoseconds(at);
        let body = self.endpoint.read(&call, "/loki/api/v1/query", &[("query", expression), ("time", &at)]).await?;
        self.series(&call, &body)
    }

    /// A metric expression at `from`, `from + step` and so on up to `to`.
    ///
    /// # Errors
    /// [`ClientError`]; [`TooLarge`](ClientErrorKind::TooLarge) for what a shorter range would answer.
    pub async fn query_range(
        &self,
        expression: &str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Vec<Series>, ClientError> {
        let call = call("query_range");
        let (from, to, step) = (nanoseconds(from), nanoseconds(to), step.as_secs_f64().to_string());
        let form = [("query", expression), ("start", &from), ("end", &to), ("step", &step)];
        let body = self.endpoint.read(&call, "/loki/api/v1/query_range", &form).await?;
        self.series(&call, &body)
    }

    /// The entries of a log expression in `[from, to)`, at most `limit` of them (Loki's own bound is 5,000 unless
    /// it is configured otherwise).
    ///
    /// # Errors
    /// [`ClientError`]; [`TooLarge`](ClientErrorKind::TooLarge) for a limit or range beyond Loki's.
    pub async fn streams(
        &self,
        expression: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
        order: LogOrder,
    ) -> Result<Vec<LogStream>, ClientError> {
        let call = call("query_range");
        let (from, to, limit) = (nanoseconds(from), nanoseconds(to), limit.to_string());
        let direction = match order {
            LogOrder::OldestFirst => "forward",
            LogOrder::NewestFirst => "backward",
        };
        let form = [("query", expression), ("start", &from), ("end", &to), ("limit", &limit), ("direction", direction)];
        let body = self.endpoint.read(&call, "/loki/api/v1/query_range", &form).await?;
        streams(&call, &body, |text| self.endpoint.masked(text))
    }

    fn series(&self, call: &Call, body: &[u8]) -> Result<Vec<Series>, ClientError> {
        metric_series(call, body, |text| self.endpoint.masked(text))
    }
}

impl LogStream {
    /// Reads the body of an answer of `query_range` to a log expression that was recorded, or came by another way.
    ///
    /// # Errors
    /// [`ClientError`], as [`Loki::streams`] gives it for such an answer of status 200.
    pub fn from_range_body(body: &[u8]) -> Result<Vec<Self>, ClientError> {
        streams(&call("query_range"), body, |text| text)
    }
}

fn streams(call: &Call, body: &[u8], masked: impl FnOnce(String) -> String) -> Result<Vec<LogStream>, ClientError> {
    let data: Envelope<'_, StreamData> = read_body(call, body, masked)?;
    match data.data {
        Some(data) if data.kind == "streams" => Ok(data.result),
        Some(data) if data.result.is_empty() => Ok(Vec::new()),
        _ => Err(call.error(ClientErrorKind::Refused, "the expression gives numbers, not lines")),
    }
}

fn call(name: &'static str) -> Call {
    let refusal = |call: &Call, status, body: &str| refused_in_text(call, status, body, &LIMITS);
    Call { system: SYSTEM, name, refusal }
}

/// Unix nanoseconds, all that Loki keeps.
fn nanoseconds(at: Timestamp) -> String {
    at.as_nanosecond().to_string()
}
