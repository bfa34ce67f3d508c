//! Related alerts: what fires on the incident's services and around them in the call graph.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::context::{ContextError, ContextFinding, ContextKind, ContextQuery, ContextSource, Trust};
use crate::event::DetectionEvent;
use crate::graph::DependencyGraph;
use crate::incident_log::{IncidentLog, IncidentQuery, IncidentState};
use crate::live::Live;
use crate::names::ServiceName;

/// Calls up or down the graph; beyond two, nearly everything of a small platform is related.
const MAX_DISTANCE: usize = 2;
/// Open incidents that are looked at.
const MAX_INCIDENTS: usize = 200;
/// Findings handed to the collector, which shows ten.
const MAX_FINDINGS: usize = 50;
/// A ratio beyond this says no more.
const MAX_RATIO: f64 = 1_000.0;
/// Where a firing service stands, seen from one service of the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Itself,
    /// So many calls below: the incident's service depends on it.
    Dependency(usize),
    /// So many calls above: it depends on the incident's service.
    Caller(usize),
}

impl Relation {
    fn between(graph: &DependencyGraph, from: &ServiceName, to: &ServiceName, max: usize) -> Option<Self> {
        if from == to {
            return Some(Self::Itself);
        }
        let near = |calls: &usize| *calls <= max;
        let down = graph.distance(from, to).filter(near).map(Self::Dependency);
        let up = || graph.distance(to, from).filter(near).map(Self::Caller);
        down.or_else(up)
    }

    fn calls(self) -> usize {
        match self {
            Self::Itself => 0,
            Self::Dependency(calls) | Self::Caller(calls) => calls,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Itself => "self",
            Self::Dependency(_) => "dependency",
            Self::Caller(_) => "caller",
        }
    }

    /// Positive down the graph, negative up.
    fn signed(self) -> i64 {
        let calls = i64::try_from(self.calls()).unwrap_or(i64::MAX);
        if matches!(self, Self::Caller(_)) { -calls } else { calls }
    }

    fn words(self) -> String {
        match self.calls() {
            0 => "itself".to_owned(),
            1 => format!("{}, 1 call away", self.name()),
            calls => format!("{}, {calls} calls away", self.name()),
        }
    }
}

/// Tells which alerts fire on the incident's services, on what they depend on, and on who calls them.
///
/// It reads the pipeline's own events from the [`IncidentLog`]; the event that asks is among them,
/// with relation `self`. Each finding's data is an object:
///
/// | key | value |
/// |---|---|
/// | `service`, `alertname`, `severity`, `episode_id` | of the firing event |
/// | `started` | when its episode was first detected |
/// | `value`, `expected`, `unit`, `score`, `threshold`, `ratio` | of its signal; absent where unknown |
/// | `relation` | `self`, `dependency` or `caller`, seen from the nearest of the incident's services |
/// | `distance` | calls from there: positive towards dependencies, negative towards callers |
/// | `depends_on` | object: each firing service that this one calls, to the number of calls |
///
/// Names, times and numbers of our own detectors are [`Trust::System`]. What came from another system, by
/// [`among`](Self::among) or as an event with an `upstream_id`, is [`Trust::External`] unless the host says otherwise
/// ([`upstream_trust`](Self::upstream_trust)): a workload may set the labels that name its service there.
///
/// The nearest come first; at one distance dependencies before callers, and then the larger ratio of the signal.
#[derive(Debug)]
pub struct RelatedAlerts {
    log: Arc<dyn IncidentLog>,
    graph: Live<DependencyGraph>,
    max_distance: usize,
    upstream: Trust,
}

impl RelatedAlerts {
    /// Related alerts from a log, by a graph that the host may replace while it is in use.
    #[must_use]
    pub fn new(log: Arc<dyn IncidentLog>, graph: impl Into<Live<DependencyGraph>>) -> Self {
        Self { log, graph: graph.into(), max_distance: MAX_DISTANCE, upstream: Trust::External }
    }

    /// Who could have written the labels of alerts from other systems; [`Trust::External`] unless set. Only what is
    /// [`Trust::System`] counts when causes are ranked, or is evidence for an action: set that where rules of the
    /// team alone name service, severity and alert (Prometheus' `honor_labels` off, labels set in the rule), and
    /// where nobody else can post alerts.
    #[must_use]
    pub fn upstream_trust(mut self, trust: Trust) -> Self {
        self.upstream = trust;
        self
    }

    /// How many calls away a service may be (default 2).
    #[must_use]
    pub fn max_distance(mut self, calls: usize) -> Self {
        self.max_distance = calls;
        self
    }

    /// The nearest relation to any of the incident's services; the event's own comes first and wins
    /// a tie.
    fn relation(&self, graph: &DependencyGraph, query: &ContextQuery, service: &ServiceName) -> Option<Relation> {
        if *service == query.event.service {
            return Some(Relation::Itself);
        }
        let others = || query.services.iter().filter(|known| *known != service);
        let near = |known: &ServiceName| Relation::between(graph, known, service, self.max_distance);
        let nearest = others().filter_map(near).min_by_key(|relation| relation.calls());
        // A service of the incident that the graph does not connect is still the incident's own.
        nearest.or_else(|| query.services.contains(service).then_some(Relation::Itself))
    }

    /// The same of alerts that fire in another system, given as events: one for each kind, service and
    /// alertname that the log does not know.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn among(
        &self,
        query: &ContextQuery,
        alerts: &[DetectionEvent],
    ) -> Result<Vec<ContextFinding>, ContextError> {
        self.tell(query, Some(alerts)).await
    }

    async fn tell(
        &self,
        query: &ContextQuery,
        alerts: Option<&[DetectionEvent]>,
    ) -> Result<Vec<ContextFinding>, ContextError> {
        let open = IncidentQuery::default().state(IncidentState::Open).limit(MAX_INCIDENTS);
        let incidents = self.log.query(&open).await.map_err(|error| ContextError {
            origin: self.name().to_owned(),
            retryable: error.is_retryable(),
            source: error.into(),
        })?;
        let graph = self.graph.load();
        let near = |event: &&DetectionEvent| event.detected_at <= query.now;
        let mut related: Vec<(&DetectionEvent, Relation)> = Vec::new();
        for event in incidents.iter().flat_map(|incident| incident.firing()).chain([&query.event]).filter(near) {
            let known = |(other, _): &(&DetectionEvent, Relation)| {
                other.episode_id == event.episode_id && other.identity() == event.identity()
            };
            if let Some(relation) = self.relation(&graph, query, &event.service)
                && !related.iter().any(known)
            {
                related.push((event, relation));
            }
        }
        let mut told = 0;
        if let Some(alerts) = alerts {
            told = related.len();
            let mut known: BTreeSet<_> = related.iter().map(|(event, _)| names(event)).collect();
            for event in alerts.iter().filter(near) {
                if let Some(relation) = self.relation(&graph, query, &event.service)
                    && known.insert(names(event))
                {
                    related.push((event, relation));
                }
            }
        }
        let services: BTreeSet<&ServiceName> = related.iter().map(|(event, _)| &event.service).collect();
        let mut findings: Vec<ContextFinding> = related
            .iter()
            .skip(told)
            .map(|(event, relation)| {
                let below = services.iter().filter_map(|service| {
                    let calls = graph.distance(&event.service, service)?;
                    (1..=self.max_distance).contains(&calls).then(|| (service.to_string(), Value::from(calls)))
                });
                let foreign = alerts.is_some() || event.upstream_id.is_some();
                let trust = if foreign { self.upstream } else { Trust::System };
                finding(event, *relation, below.collect(), trust)
            })
            .collect();
        findings.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.text.cmp(&b.text)));
        if findings.len() > MAX_FINDINGS {
            let cut = findings.len() - MAX_FINDINGS;
            metrics::counter!("aiops_related_alerts_cut_total").increment(u64::try_from(cut).unwrap_or(u64::MAX));
            findings.truncate(MAX_FINDINGS);
        }
        Ok(findings)
    }
}

/// Whether the graph has an edge of this service: without one nothing can be told of its neighbours.
fn is_known(graph: &DependencyGraph, service: &ServiceName) -> bool {
    graph.dependencies(service).next().is_some() || graph.callers(service).next().is_some()
}

/// What is the same alert in two systems.
fn names(event: &DetectionEvent) -> (&str, &str, &str) {
    (event.kind.as_str(), event.service.as_str(), event.alertname())
}

fn finding(event: &DetectionEvent, relation: Relation, depends_on: Map<String, Value>, trust: Trust) -> ContextFinding {
    let signal = &event.signal;
    let mut data = json!({
        "service": event.service, "alertname": event.alertname(), "severity": event.severity,
        "started": event.detected_at, "relation": relation.name(), "distance": relation.signed(),
        "depends_on": depends_on,
    });
    let known = [
        ("value", signal.value),
        ("expected", signal.expected),
        ("score", signal.score),
        ("threshold", signal.threshold),
        ("ratio", signal.ratio()),
    ];
    for (name, number) in known {
        if let Some(number) = number {
            data[name] = Value::from(number);
        }
    }
    if let Some(unit) = &signal.unit {
        data["unit"] = Value::from(crate::text::clip(unit, 20));
    }
    if let Some(episode) = &event.episode_id {
        data["episode_id"] = Value::from(episode.as_str());
    }
    let clip = |text: &str| crate::text::clip(text, 120);
    let (alert, service) = (clip(event.alertname()), clip(event.service.as_str()));
    let (started, words) = (event.detected_at, relation.words());
    let text = format!("{alert} fires on {service} ({words}) since {started}: {}", signal.explain());

    // Nearest first; at one distance what the service calls before what calls it, and then the larger signal.
    let ratio = signal.ratio().map_or(1.0, |ratio| ratio.abs().min(MAX_RATIO));
    let side = if matches!(relation, Relation::Caller(_)) { 0.0 } else { 1.0 };
    // At most a handful of calls: exact as a float.
    #[allow(clippy::cast_precision_loss)]
    let calls = relation.calls() as f64;
    let weight = side - 2.0 * calls + ratio / (1.0 + ratio);
    ContextFinding::new(ContextKind::Alert, trust, text)
        .service(event.service.clone())
        .at(event.detected_at)
        .weight(weight)
        .data(data)
}

#[async_trait]
impl ContextSource for RelatedAlerts {
    fn name(&self) -> &str {
        "related-alerts"
    }

    async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError> {
        // Beside the parts that the collector sees in a context.
        let present = if is_known(&self.graph.load(), &query.event.service) { "yes" } else { "no" };
        metrics::counter!("aiops_context_parts_total", "part" => "dependency", "present" => present).increment(1);
        self.tell(query, None).await
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::event::{EventKind, Severity};
    use crate::incident_log::{IncidentEntry, IncidentRecord, MemoryIncidentLog};
    use crate::names::{EpisodeId, IncidentId};
    use crate::signal::Signal;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn firing(service: &str, score: f64) -> DetectionEvent {
        let mut event = DetectionEvent::builder(EventKind::MetricAnomaly, service, Severity::Warning, at(1_000), "mad")
            .alertname("Latency")
            .signal(Signal::new(2.0).expected(1.0).score(score).threshold(3.0).unit("s"))
            .build();
        event.episode_id = Some(EpisodeId::new(format!("ep-{service}")));
        event
    }

    async fn log_of(events: &[DetectionEvent]) -> Arc<MemoryIncidentLog> {
        let log = Arc::new(MemoryIncidentLog::default());
        for event in events {
            let entry = IncidentEntry::Announced { event: Box::new(event.clone()) };
            let id = IncidentId::new(format!("inc-{}", event.service));
            log.append(IncidentRecord::new(id, event.service.clone(), at(1_000), entry)).await.unwrap();
        }
        log
    }

    fn graph() -> DependencyGraph {
        DependencyGraph::new([("edge", "web"), ("web", "cart"), ("cart", "db"), ("db", "disk"), ("other", "thing")])
    }

    async fn gather(events: &[DetectionEvent], asks: &DetectionEvent) -> Vec<ContextFinding> {
        let source = RelatedAlerts::new(log_of(events).await, graph());
        let query = ContextQuery::new(asks.clone(), "inc-web".into(), at(2_000), at(2_030));
        source.gather(&query).await.unwrap()
    }

    #[tokio::test]
    async fn looks_two_calls_up_and_down_and_no_further() {
        let web = firing("web", 6.0);
        let events = [
            web.clone(),
            firing("edge", 6.0),
            firing("cart", 6.0),
            firing("db", 6.0),
            firing("disk", 6.0),
            firing("thing", 6.0),
        ];
        let found: Vec<(String, Value)> = gather(&events, &web)
            .await
            .into_iter()
            .map(|finding| (finding.service.unwrap().to_string(), finding.data["distance"].clone()))
            .collect();
        let wanted = [("web", 0), ("cart", 1), ("edge", -1), ("db", 2)];
        assert_eq!(found, wanted.map(|(service, calls)| (service.to_owned(), Value::from(calls))));
    }

    #[tokio::test]
    async fn says_what_fires_where_and_who_calls_whom() {
        let web = firing("web", 6.0);
        let found = gather(&[web.clone(), firing("cart", 30.0)], &web).await;
        assert_eq!(
            found[1].text,
            "Latency fires on cart (dependency, 1 call away) since 1970-01-01T00:16:40Z: \
             value 2 s, expected 1 s, score 30 against threshold 3, window unknown"
        );
        assert_eq!(found[1].data["relation"], "dependency");
        assert_eq!(found[1].data["ratio"], 10.0);
        assert_eq!(found[1].trust, Trust::System);
        assert_eq!(found[0].data["depends_on"], json!({"cart": 1}));
        assert_eq!(found[0].data["relation"], "self");
    }

    #[tokio::test]
    async fn the_nearest_come_first_however_loud_the_others_are() {
        let web = firing("web", 3.1);
        let events = [firing("db", 900.0), firing("edge", 300.0), firing("cart", 4.0), web.clone()];
        let found = gather(&events, &web).await;
        let services: Vec<String> = found.iter().map(|finding| finding.service.clone().unwrap().to_string()).collect();
        assert_eq!(services, ["web", "cart", "edge", "db"]);
        let order: Vec<f64> = found.iter().map(|finding| finding.weight).collect();
        assert!(order.is_sorted_by(|a, b| a > b), "the collector keeps the order: {order:?}");
    }

    #[tokio::test]
    async fn what_ended_or_has_not_begun_is_left_out() {
        let (web, mut late) = (firing("web", 6.0), firing("cart", 6.0));
        late.detected_at = at(2_001);
        let log = log_of(&[web.clone(), late, firing("db", 6.0)]).await;
        let ended = IncidentEntry::Resolved { event: Box::new(firing("db", 0.0)) };
        log.append(IncidentRecord::new("inc-db".into(), "db".into(), at(1_500), ended)).await.unwrap();
        let source = RelatedAlerts::new(log, graph());
        let query = ContextQuery::new(web, "inc-web".into(), at(2_000), at(2_030));
        assert_eq!(source.gather(&query).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn of_another_systems_alerts_those_are_told_that_the_log_does_not_know() {
        let web = firing("web", 6.0);
        let mut disk = firing("db", 6.0);
        disk.labels.insert("alertname".to_owned(), "DiskFull".to_owned());
        let mut late = firing("cart", 6.0);
        late.detected_at = at(2_001);
        let theirs = [firing("web", 6.0), firing("cart", 6.0), disk.clone(), disk, firing("thing", 6.0), late];
        let source = RelatedAlerts::new(log_of(&[web.clone(), firing("cart", 6.0)]).await, graph());
        let query = ContextQuery::new(web, "inc-web".into(), at(2_000), at(2_030));
        let found = source.among(&query, &theirs).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&found[0].data["alertname"], &found[0].data["distance"]), (&json!("DiskFull"), &json!(2)));
    }

    #[test]
    fn whether_the_graph_knows_the_service_is_counted_for_each_question() {
        let metrics = crate::testing::MetricRecorder::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        metrics::with_local_recorder(&metrics, || {
            runtime.block_on(gather(&[], &firing("web", 6.0)));
        });
        assert_eq!(metrics.value("aiops_context_parts_total"), Some(1.0));
        let known = ["edge", "disk", "nowhere"].map(|service| is_known(&graph(), &service.into()));
        assert_eq!(known, [true, true, false], "by either end of an edge");
    }

    #[tokio::test]
    async fn what_another_system_says_is_external_unless_the_host_vouches_for_it() {
        let web = firing("web", 6.0);
        let mut pushed = firing("cart", 6.0);
        pushed.upstream_id = Some("2bbbc513bf1b22af".to_owned());
        let log = log_of(&[web.clone(), pushed]).await;
        let query = ContextQuery::new(web, "inc-web".into(), at(2_000), at(2_030));
        let source = || RelatedAlerts::new(Arc::<MemoryIncidentLog>::clone(&log), graph());
        for (trust, source) in [(Trust::External, source()), (Trust::System, source().upstream_trust(Trust::System))] {
            let found = source.gather(&query).await.unwrap();
            let of = |service: &str| {
                found.iter().find(|finding| finding.service.as_ref().is_some_and(|name| name == service)).unwrap().trust
            };
            assert_eq!((of("web"), of("cart")), (Trust::System, trust));
            let asked = source.among(&query, &[firing("db", 6.0)]).await.unwrap();
            assert_eq!(asked[0].trust, trust);
        }
    }

    #[tokio::test]
    async fn a_storm_is_bounded() {
        let web = firing("web", 6.0);
        let events: Vec<DetectionEvent> = (0..120)
            .map(|n| {
                let mut event = firing("cart", 6.0);
                event.labels.insert("alertname".to_owned(), format!("A{n}"));
                event.episode_id = Some(EpisodeId::new(format!("ep-{n}")));
                event
            })
            .collect();
        assert_eq!(gather(&events, &web).await.len(), MAX_FINDINGS);
    }
}
