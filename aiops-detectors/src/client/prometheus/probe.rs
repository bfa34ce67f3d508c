//! Numbers of Prometheus that a decision may ask for, each by its own name.

use std::collections::BTreeMap;
use std::time::Duration;

use aiops_core::{DataState, Probe, ProbeError, ProbeQuery, Reading};
use async_trait::async_trait;

use super::{Prometheus, PrometheusValue};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::prometheus::promql::{InvalidTemplate, Template};

/// Answers a [`ProbeQuery`] with the value of an expression at the time of the question.
///
/// A question names a number that the host registered; nobody who asks can send PromQL. `$name` in an
/// expression stands for the question's label of that name, and may stand in the value of an equality
/// matcher only, where it is quoted: `{job="$service"}`. A question without that label is an error.
///
/// - One value is the number. None is [`NoData`](DataState::NoData), never 0: say
///   `… or vector(0)` where absence means zero. NaN and infinities are an error of the data.
/// - More than one series is an error: which of them was meant is not known. Aggregate them.
/// - Prometheus repeats a value for up to five minutes after its last scrape. Where that is too old, ask for
///   `… and on() (time() - timestamp(up{job="$service"}) < 60)` or the like.
///
/// ```
/// use aiops_detectors::client::{Endpoint, Prometheus, PrometheusProbe, reqwest};
///
/// let prometheus = Prometheus::new(Endpoint::new("http://prometheus:9090", reqwest::Client::new())?);
/// let probe = PrometheusProbe::new(prometheus)
///     .number("error_ratio", r#"sum(job:http_errors:rate5m{job="$service"}) / sum(job:http_requests:rate5m{job="$service"})"#)?
///     .number("nodes_ready", r#"sum(kube_node_status_condition{condition="Ready",status="true"})"#)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PrometheusProbe {
    prometheus: Prometheus,
    numbers: BTreeMap<String, Template>,
}

impl PrometheusProbe {
    /// A probe that knows no number yet.
    #[must_use]
    pub fn new(prometheus: Prometheus) -> Self {
        Self { prometheus, numbers: BTreeMap::new() }
    }

    /// Registers an expression under the name by which it is asked for, in place of one of that name.
    ///
    /// # Errors
    /// [`InvalidTemplate`]: a placeholder stands where it cannot be quoted.
    pub fn number(mut self, name: impl Into<String>, expression: impl Into<String>) -> Result<Self, InvalidTemplate> {
        let name = name.into();
        let template = Template::new(&name, expression.into())?;
        self.numbers.insert(name, template);
        Ok(self)
    }

    async fn ask(&self, query: &ProbeQuery, expression: &str) -> Result<Reading, ClientError> {
        let answer = self.prometheus.query(expression, query.now).await?;
        if answer.partial {
            return Err(super::call("query").error(ClientErrorKind::Partial, "a part of the data is missing"));
        }
        let value = match answer.value {
            PrometheusValue::Scalar(sample) => Some(sample.value),
            PrometheusValue::Vector(series) => match series.as_slice() {
                [] => None,
                [one] => one.samples.first().map(|sample| sample.value),
                more => {
                    let reason = format!("{} series where one number is asked for: aggregate them", more.len());
                    return Err(super::call("query").error(ClientErrorKind::Unsupported, &reason));
                }
            },
            PrometheusValue::Matrix(_) | PrometheusValue::Text(_) => {
                let reason = "a range or a text where one number is asked for";
                return Err(super::call("query").error(ClientErrorKind::Unsupported, reason));
            }
        };
        Ok(value.map_or_else(|| Reading::without(DataState::NoData, query.now), |value| Reading::ok(value, query.now)))
    }
}

#[async_trait]
impl Probe for PrometheusProbe {
    async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError> {
        let Some(template) = self.numbers.get(&query.what) else {
            return Err(ProbeError::permanent(&query.what, "no number of this name is registered"));
        };
        let expression = template.filled(&query.labels).map_err(|error| ProbeError::permanent(&query.what, error))?;
        let allowed = Duration::try_from(query.deadline.duration_since(query.now)).unwrap_or_default();
        match tokio::time::timeout(allowed, self.ask(query, &expression)).await {
            Ok(Ok(reading)) => Ok(reading),
            Ok(Err(error)) if error.is_retryable() => Err(ProbeError::retryable(&query.what, error)),
            Ok(Err(error)) => Err(ProbeError::permanent(&query.what, error)),
            Err(elapsed) => Err(ProbeError::retryable(&query.what, elapsed)),
        }
    }
}
