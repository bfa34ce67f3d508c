//! What fires in Alertmanager around an incident, as context for triage.

use aiops_core::{ContextError, ContextFinding, ContextQuery, ContextSource, RelatedAlerts};
use async_trait::async_trait;

use super::{Alertmanager, AlertmanagerAlert};
use crate::alert_mapping::{AlertMapping, UpstreamAlert};

/// Alerts of one answer that are looked at; a platform in a storm has hundreds.
const MAX_ALERTS: usize = 10_000;

/// Tells which alerts of Alertmanager fire on the incident's services, on what they depend on, and on
/// who calls them: findings of the shape that [`RelatedAlerts`] documents, without a signal, since an
/// alert has no numbers.
///
/// Left out are alerts that a person silenced, the notifier's own, and those that the pipeline knows
/// as events already: of the same kind, service and `alertname`. Inhibited ones are told: they fire,
/// only nobody is paged. It asks once for each triage; services are compared here, by the mapping.
///
/// The findings are [`Trust::External`](aiops_core::Trust::External), since a workload may set the labels that name its
/// service, unless [`RelatedAlerts::upstream_trust`] says that rules of the team alone set them.
///
/// ```
/// use std::sync::Arc;
///
/// use aiops_core::{DependencyGraph, Live, MemoryIncidentLog, RelatedAlerts};
/// use aiops_detectors::client::{Alertmanager, AlertmanagerAlerts, Endpoint, reqwest};
///
/// let alertmanager = Alertmanager::new(Endpoint::new("http://alertmanager:9093", reqwest::Client::new())?);
/// let log = Arc::new(MemoryIncidentLog::default());
/// let graph = Live::new(DependencyGraph::new([("web", "cart")]));
/// // Two context sources of one pipeline: what its own detectors see, and what Alertmanager holds.
/// let own = RelatedAlerts::new(log.clone(), graph.clone());
/// let upstream = AlertmanagerAlerts::new(alertmanager, RelatedAlerts::new(log, graph));
/// # Ok::<(), aiops_detectors::client::InvalidEndpoint>(())
/// ```
#[derive(Debug)]
pub struct AlertmanagerAlerts {
    alertmanager: Alertmanager,
    related: RelatedAlerts,
    mapping: AlertMapping,
}

impl AlertmanagerAlerts {
    /// What fires there and stands near an incident by the graph of `related`.
    #[must_use]
    pub fn new(alertmanager: Alertmanager, related: RelatedAlerts) -> Self {
        Self { alertmanager, related, mapping: AlertMapping::default() }
    }

    /// How labels name a service and a severity.
    #[must_use]
    pub fn mapping(mut self, mapping: AlertMapping) -> Self {
        self.mapping = mapping;
        self
    }
}

fn upstream(alert: AlertmanagerAlert) -> UpstreamAlert {
    let AlertmanagerAlert { labels, starts_at, fingerprint, .. } = alert;
    UpstreamAlert { labels, resolved: false, starts_at, fingerprint }
}

#[async_trait]
impl ContextSource for AlertmanagerAlerts {
    fn name(&self) -> &str {
        "alertmanager-alerts"
    }

    async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError> {
        let alerts = self.alertmanager.alerts(&[]).await.map_err(|error| error.of_context(self.name()))?;
        if alerts.len() > MAX_ALERTS {
            let cut = u64::try_from(alerts.len() - MAX_ALERTS).unwrap_or(u64::MAX);
            metrics::counter!("aiops_related_alerts_cut_total").increment(cut);
        }
        let told = alerts.into_iter().take(MAX_ALERTS).filter(|alert| alert.silenced_by.is_empty()).map(upstream);
        // One without a name cannot be told apart from others: it is no alert of a rule.
        let events = told.filter(|alert| !alert.is_own()).filter_map(|alert| self.mapping.event(alert, query.now).ok());
        self.related.among(query, &events.collect::<Vec<_>>()).await
    }
}
