//! Prometheus, and what speaks its API: VictoriaMetrics, Mimir, Thanos.

mod decode;
mod probe;
pub(super) mod promql;
mod service_graph;
mod source;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

pub(super) use self::decode::Envelope;
use self::decode::{AlertsData, Elements, QueryData};
pub use self::probe::PrometheusProbe;
pub use self::promql::InvalidTemplate;
pub use self::source::{PartialAnswers, PrometheusSource};
use super::endpoint::{Call, Endpoint};
use super::error::{ClientError, ClientErrorKind, shape};
use crate::source::{Labels, Sample, Series};

const SYSTEM: &str = "prometheus";

/// Words of a server's own limits on one query, of which less may be asked. In this order:
/// Prometheus' points per series and samples per query, VictoriaMetrics' points and samples, Mimir's
/// range and chunks.
const LIMITS: [&str; 6] = [
    "exceeded maximum resolution",
    "would load too many samples",
    "too many points for the given step",
    "cannot select more than",
    "exceeds the limit",
    "err-mimir-max-",
];

/// Annotations of a query's own words begin so since Prometheus 2.48; other warnings are about data
/// that a part of the storage did not give.
const ANNOTATION: &str = "PromQL";

/// What a query gave, with what the server said beside it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PrometheusAnswer<T> {
    /// What was asked for.
    pub value: T,
    /// Warnings as the server words them.
    pub warnings: Vec<String>,
    /// Hints on the query that may be wrong.
    pub infos: Vec<String>,
    /// Whether a part of the data may be missing: the server says so (VictoriaMetrics' `isPartial`),
    /// or warns of something else than the query's own words (remote read, Thanos).
    pub partial: bool,
}

/// The value of an expression at one time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PrometheusValue {
    /// Series with one sample each.
    Vector(Vec<Series>),
    /// Series with their own samples: a range selector such as `up[5m]`.
    Matrix(Vec<Series>),
    /// One number.
    Scalar(Sample),
    /// One text.
    Text(String),
}

/// An alert that a rule of the server fires, or is about to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PrometheusAlert {
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    /// Its annotations: text for people.
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
    /// Since when.
    pub active_at: Option<Timestamp>,
    /// The value of its expression.
    pub value: Option<f64>,
}

/// A client of the Prometheus HTTP API. Cheap to clone.
///
/// Values are passed on as they are, NaN and infinities too. A series whose samples are native
/// histograms is an error of kind [`Unsupported`](ClientErrorKind::Unsupported), since no number
/// stands for them: ask for `histogram_quantile(0.99, …)`, `histogram_avg(…)` or another number.
/// Long queries are sent as POST. The server is told the deadline, so that it stops when nobody
/// waits any more.
///
/// ```no_run
/// use std::time::Duration;
///
/// use aiops_detectors::client::{Endpoint, Prometheus, reqwest};
/// use aiops_detectors::jiff::Timestamp;
///
/// # async fn read() -> Result<(), Box<dyn std::error::Error>> {
/// let prometheus = Prometheus::new(Endpoint::new("http://prometheus:9090", reqwest::Client::new())?);
/// let to = Timestamp::now();
/// let from = to - Duration::from_secs(3_600);
/// let answer = prometheus.query_range("job:http_p99:5m", from, to, Duration::from_secs(30)).await?;
/// for series in answer.value {
///     println!("{:?}: {} samples", series.labels, series.samples.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Prometheus {
    endpoint: Endpoint,
}

impl Prometheus {
    /// A client of the server at this endpoint.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// The expression at one time. The server looks back up to five minutes for each sample, unless
    /// it knows that the series ended.
    ///
    /// # Errors
    /// [`ClientError`], also for native histograms.
    pub async fn query(
        &self,
        expression: &str,
        at: Timestamp,
    ) -> Result<PrometheusAnswer<PrometheusValue>, ClientError> {
        let call = call("query");
        let (at, timeout) = (seconds(at), self.timeout());
        let form = [("query", expression), ("time", at.as_str()), ("timeout", timeout.as_str())];
        let body = self.endpoint.read(&call, "/api/v1/query", &form).await?;
        let answer = self.decoded(&call, &body, |data: QueryData<'_>| value(&call, data))?;
        Ok(answer)
    }

    /// The expression at `from`, `from + step` and so on up to `to`, both included. A step at which a
    /// series has no value is left out. `to` before `from` is refused by Prometheus; VictoriaMetrics then
    /// answers five minutes from `from`, and moves a range of 50 steps and more to multiples of the step.
    ///
    /// # Errors
    /// [`ClientError`]; [`TooLarge`](ClientErrorKind::TooLarge) for more than 11,000 steps
    /// (Prometheus) and for what a shorter range would answer.
    pub async fn query_range(
        &self,
        expression: &str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<PrometheusAnswer<Vec<Series>>, ClientError> {
        let call = call("query_range");
        let (from, to, step, timeout) = (seconds(from), seconds(to), step.as_secs_f64().to_string(), self.timeout());
        let form = [
            ("query", expression),
            ("start", from.as_str()),
            ("end", to.as_str()),
            ("step", step.as_str()),
            ("timeout", timeout.as_str()),
        ];
        let body = self.endpoint.read(&call, "/api/v1/query_range", &form).await?;
        self.decoded(&call, &body, |data| matrix(&call, data))
    }

    /// The alerts that the server's own rules fire now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn alerts(&self) -> Result<PrometheusAnswer<Vec<PrometheusAlert>>, ClientError> {
        let call = call("alerts");
        let body = self.endpoint.read(&call, "/api/v1/alerts", &[]).await?;
        self.decoded(&call, &body, |data: AlertsData| {
            let alerts = data.alerts.unwrap_or_default().into_iter();
            let alerts = alerts.map(|alert| PrometheusAlert {
                labels: alert.labels,
                annotations: alert.annotations,
                state: alert.state,
                active_at: alert.active_at,
                value: alert.value.map(|number| number.0),
            });
            Ok(alerts.collect())
        })
    }

    /// The server stops by itself where the client would.
    fn timeout(&self) -> String {
        self.endpoint.time_allowed().as_secs_f64().to_string()
    }

    fn decoded<'a, D: Deserialize<'a>, T>(
        &self,
        call: &Call,
        body: &'a [u8],
        take: impl FnOnce(D) -> Result<T, ClientError>,
    ) -> Result<PrometheusAnswer<T>, ClientError> {
        decode(call, body, |text| self.endpoint.masked(text), take)
    }
}

impl PrometheusAnswer<Vec<Series>> {
    /// Reads the body of a `query_range` answer that was recorded, or came by another way.
    ///
    /// # Errors
    /// [`ClientError`], as [`Prometheus::query_range`] gives it for such an answer of status 200.
    ///
    /// ```
    /// use aiops_detectors::client::PrometheusAnswer;
    /// let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
    ///     {"metric":{"job":"cart"},"values":[[1795574507,"0.234373"],[1795574627,"+Inf"]]}]}}"#;
    /// let answer = PrometheusAnswer::from_range_body(body)?;
    /// assert_eq!(answer.value[0].samples[1].value, f64::INFINITY);
    /// # Ok::<(), aiops_detectors::client::ClientError>(())
    /// ```
    pub fn from_range_body(body: &[u8]) -> Result<Self, ClientError> {
        let call = call("query_range");
        decode(&call, body, |text| text, |data| matrix(&call, data))
    }
}

impl PrometheusAnswer<PrometheusValue> {
    /// Reads the body of a `query` answer that was recorded, or came by another way; also one of Loki.
    ///
    /// # Errors
    /// [`ClientError`], as [`Prometheus::query`] gives it for such an answer of status 200.
    pub fn from_query_body(body: &[u8]) -> Result<Self, ClientError> {
        let call = call("query");
        decode(&call, body, |text| text, |data| value(&call, data))
    }
}

fn decode<'a, D: Deserialize<'a>, T>(
    call: &Call,
    body: &'a [u8],
    masked: impl FnOnce(String) -> String,
    take: impl FnOnce(D) -> Result<T, ClientError>,
) -> Result<PrometheusAnswer<T>, ClientError> {
    let envelope: Envelope<'a, D> = read_body(call, body, masked)?;
    let malformed = |reason: &str| call.error(ClientErrorKind::Malformed, reason);
    let value = take(envelope.data.ok_or_else(|| malformed("there is no data"))?)?;
    let (warnings, infos) = (envelope.warnings.unwrap_or_default(), envelope.infos.unwrap_or_default());
    let partial = envelope.is_partial || warnings.iter().any(|warning| !warning.starts_with(ANNOTATION));
    Ok(PrometheusAnswer { value, warnings, infos, partial })
}

/// A body of status 200 that says that it holds an answer.
pub(super) fn read_body<'a, D: Deserialize<'a>>(
    call: &Call,
    body: &'a [u8],
    masked: impl FnOnce(String) -> String,
) -> Result<Envelope<'a, D>, ClientError> {
    let envelope: Envelope<'a, D> =
        serde_json::from_slice(body).map_err(|error| call.error(ClientErrorKind::Malformed, &shape(&error)))?;
    if envelope.status != "success" {
        // A proxy that turns every status into 200.
        let text = masked(envelope.error.unwrap_or_default());
        return Err(call.error(kind_by_type(envelope.error_type.as_deref(), &text), &text));
    }
    Ok(envelope)
}

/// The series of a metric query of a system that answers like Prometheus; none where there is no data.
pub(super) fn metric_series(
    call: &Call,
    body: &[u8],
    masked: impl FnOnce(String) -> String,
) -> Result<Vec<Series>, ClientError> {
    let envelope: Envelope<'_, QueryData<'_>> = read_body(call, body, masked)?;
    match envelope.data.map(|data| value(call, data)).transpose()? {
        None => Ok(Vec::new()),
        Some(PrometheusValue::Vector(series) | PrometheusValue::Matrix(series)) => Ok(series),
        Some(_) => Err(call.error(ClientErrorKind::Refused, "the expression gives no series")),
    }
}

pub(super) fn call(name: &'static str) -> Call {
    Call { system: SYSTEM, name, refusal }
}

fn value(call: &Call, data: QueryData<'_>) -> Result<PrometheusValue, ClientError> {
    let Elements { series, histogram, single } = data.result;
    if let Some(labels) = histogram {
        let name = labels.get("__name__").map_or("a series", String::as_str);
        let reason = format!("{name} has native histograms: ask for histogram_quantile(…) or another number of them");
        return Err(call.error(ClientErrorKind::Unsupported, &reason));
    }
    let malformed = |reason: &str| call.error(ClientErrorKind::Malformed, reason);
    match (&*data.kind, single) {
        ("vector", None) => Ok(PrometheusValue::Vector(series)),
        ("matrix", None) => Ok(PrometheusValue::Matrix(series)),
        ("string", Some((_, text))) => Ok(PrometheusValue::Text(text)),
        ("scalar", Some((at, text))) => {
            let value = text.parse().map_err(|_| malformed("the scalar is no number"))?;
            Ok(PrometheusValue::Scalar(Sample { at, value }))
        }
        _ => Err(malformed("the result is not of the type that it names")),
    }
}

fn matrix(call: &Call, data: QueryData<'_>) -> Result<Vec<Series>, ClientError> {
    match value(call, data)? {
        PrometheusValue::Matrix(series) => Ok(series),
        _ => Err(call.error(ClientErrorKind::Malformed, "the result is no matrix")),
    }
}

/// The error in an answer other than 2xx. `errorType` repeats the status: Prometheus names it,
/// VictoriaMetrics writes the number.
fn refusal(call: &Call, status: u16, body: &str) -> ClientError {
    let envelope: Option<Envelope<'_, IgnoredAny>> = serde_json::from_str(body).ok();
    let (error_type, text) = envelope.map_or((None, None), |envelope| (envelope.error_type, envelope.error));
    // Of a body that is not Prometheus' own nothing is shown: it may hold anything.
    let text = text.unwrap_or_default();
    let kind = match ClientErrorKind::of_status(status) {
        ClientErrorKind::Unavailable if error_type.as_deref() == Some("timeout") => ClientErrorKind::Deadline,
        ClientErrorKind::Refused if is_limit(&text) => ClientErrorKind::TooLarge,
        kind => kind,
    };
    call.error(kind, &text).status(status)
}

/// The same without a status.
fn kind_by_type(error_type: Option<&str>, text: &str) -> ClientErrorKind {
    match error_type {
        Some("timeout") => ClientErrorKind::Deadline,
        Some("bad_data" | "execution" | "400" | "422") if is_limit(text) => ClientErrorKind::TooLarge,
        Some("bad_data" | "execution" | "400" | "422") => ClientErrorKind::Refused,
        Some("not_found") => ClientErrorKind::NotFound,
        Some("too_many_requests" | "429") => ClientErrorKind::Throttled,
        _ => ClientErrorKind::Unavailable,
    }
}

fn is_limit(text: &str) -> bool {
    LIMITS.iter().any(|words| text.contains(words))
}

/// Unix seconds with milliseconds, all that Prometheus keeps.
fn seconds(at: Timestamp) -> String {
    let millis = at.as_millisecond();
    format!(
        "{}{}.{:03}",
        if millis < 0 { "-" } else { "" },
        millis.unsigned_abs() / 1_000,
        millis.unsigned_abs() % 1_000
    )
}
