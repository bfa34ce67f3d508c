//! Who calls whom, from the metrics of a service graph.

use std::time::Duration;

use aiops_core::DependencyGraph;
use jiff::Timestamp;

use super::promql::duration;
use super::{Prometheus, PrometheusAnswer, PrometheusValue};
use crate::client::error::{ClientError, ClientErrorKind};

impl Prometheus {
    /// The calls between services in the `window` before `at`, from the series
    /// `traces_service_graph_request_total{client="…",server="…"}`, which Tempo's metrics generator and the
    /// collector's `servicegraph` connector make of traces. An edge is there when it was called at least
    /// once; databases, queues and peers without traces are servers like any other. The end user, a client
    /// without spans that both call `user`, is left out.
    ///
    /// Swap it into the graph that a pipeline reads as often as calls change, an hour or so:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use aiops_core::{DependencyGraph, Live};
    /// # use aiops_detectors::{client::Prometheus, jiff::Timestamp};
    /// # async fn refresh(prometheus: &Prometheus, graph: &Live<DependencyGraph>) -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = prometheus.service_graph(Timestamp::now(), Duration::from_secs(86_400)).await?;
    /// if !answer.partial {
    ///     graph.replace(answer.value); // the old one stays on an error
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`]. Where nothing was called, or nobody makes these series, the graph is empty.
    pub async fn service_graph(
        &self,
        at: Timestamp,
        window: Duration,
    ) -> Result<PrometheusAnswer<DependencyGraph>, ClientError> {
        let window = duration(window);
        let calls = "traces_service_graph_request_total";
        let user = format!(r#"{calls}{{client="user",connection_type="virtual_node"}}"#);
        let expression =
            format!("sum by (client, server) (increase({calls}[{window}]) unless increase({user}[{window}])) > 0");
        let PrometheusAnswer { value, warnings, infos, partial } = self.query(&expression, at).await?;
        let PrometheusValue::Vector(series) = value else {
            return Err(super::call("query").error(ClientErrorKind::Malformed, "the result is no vector"));
        };
        let name = |labels: &crate::Labels, key: &str| labels.get(key).cloned().unwrap_or_default();
        let edges = series.iter().map(|series| (name(&series.labels, "client"), name(&series.labels, "server")));
        Ok(PrometheusAnswer { value: DependencyGraph::new(edges), warnings, infos, partial })
    }
}
