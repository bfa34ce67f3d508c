//! One moment in the shop: what fires, and what is told about it, in the shapes of the library's sources.

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::time::{human, minus, plus};
use aiops_core::{
    ContextFinding, ContextKind, DependencyGraph, DetectionEvent, EventId, EventKind, Fingerprint, IncidentId, Missing,
    ServiceName, Severity, Signal, TriageContext, Trust,
};
use aiops_llm::evaluate::{CauseKeywords, Expected, RecordedIncident};
use serde_json::{Map, Value, json};

/// Who calls whom.
const CALLS: [(&str, &str); 12] = [
    ("edge", "web"),
    ("web", "cart"),
    ("web", "search"),
    ("web", "checkout"),
    ("web", "profile"),
    ("cart", "cart-cache"),
    ("search", "search-index"),
    ("checkout", "payments"),
    ("checkout", "orders"),
    ("orders", "orders-db"),
    ("payments", "bank-gateway"),
    ("profile", "profile-db"),
];
/// Services whose own faults are told, each with what it depends on most.
pub(super) const SERVICES: [(&str, &str); 5] = [
    ("checkout", "payments"),
    ("cart", "cart-cache"),
    ("search", "search-index"),
    ("orders", "orders-db"),
    ("profile", "profile-db"),
];
/// The first of the days.
const DAY_ONE: i64 = 1_793_491_200;
const DAY: u64 = 86_400;

/// One incident in the making.
#[derive(Debug)]
pub(super) struct World {
    name: String,
    random: u64,
    /// When the event's episode began.
    pub(super) onset: Timestamp,
    firing: Vec<DetectionEvent>,
    findings: Vec<ContextFinding>,
    missing: Vec<Missing>,
}

impl World {
    pub(super) fn new(seed: u64, name: &str) -> Self {
        let hash = Fingerprint::of_raw(&format!("{seed}|{name}"));
        let random = u64::from_str_radix(hash.as_str(), 16).unwrap_or(seed);
        let mut world = Self {
            name: name.to_owned(),
            random,
            onset: Timestamp::UNIX_EPOCH,
            firing: Vec::new(),
            findings: Vec::new(),
            missing: Vec::new(),
        };
        let second = DAY_ONE.saturating_add_unsigned(world.below(20) * DAY + world.below(DAY));
        world.onset = Timestamp::from_second(second).unwrap_or_default();
        world
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A whole number from `low` to `high`, both included, as a measured value.
    pub(super) fn between(&mut self, low: u32, high: u32) -> f64 {
        let span = u64::from(high.saturating_sub(low)) + 1;
        f64::from(low) + u32::try_from(self.below(span)).map_or(0.0, f64::from)
    }

    pub(super) fn minutes(&mut self, low: u32, high: u32) -> Duration {
        Duration::from_secs_f64(60.0 * self.between(low, high))
    }

    pub(super) fn service(&mut self) -> (&'static str, &'static str) {
        #[allow(clippy::cast_possible_truncation)] // five services
        let place = self.below(SERVICES.len() as u64) as usize;
        SERVICES[place]
    }

    pub(super) fn version(&mut self) -> String {
        format!("v{}.{}.{}", self.below(6) + 1, self.below(20), self.below(9) + 1)
    }

    /// Something fires on a service since `after` the onset; the first call is the event that asks.
    pub(super) fn fires(
        &mut self,
        service: &str,
        alertname: &str,
        signal: Signal,
        severity: Severity,
        after: Duration,
    ) {
        let at = plus(self.onset, after);
        let kind = if alertname.contains("Log") { EventKind::LogBurst } else { EventKind::MetricAnomaly };
        let mut event = DetectionEvent::builder(kind, service, severity, at, "adaptive")
            .event_id(EventId::derived(at, &format!("{}|{service}|{alertname}", self.name)))
            .alertname(alertname)
            .label("namespace", "shop")
            .label("deployment", service)
            .label("pod", format!("{service}-{:04x}", self.below(65_536)))
            .signal(signal)
            .build();
        event.incident_id = Some(IncidentId::new(format!("inc-{}", self.name)));
        self.firing.push(event);
    }

    /// A signal of so many times its threshold.
    pub(super) fn signal(&mut self, unit: &str, expected: f64, times: f64) -> Signal {
        let ratio = 2.0 + self.between(0, 30) / 10.0;
        Signal::new(expected * times)
            .expected(expected)
            .score((3.0 * ratio * 10.0).round() / 10.0)
            .threshold(3.0)
            .unit(unit)
            .window(Duration::from_secs(3_600))
            .n(12)
    }

    /// A rollout of a service that began so long before the onset and took two minutes.
    pub(super) fn deploy(&mut self, service: &str, version: &str, before: Duration, kind: &str) {
        let began = minus(self.onset, before);
        let completed = plus(began, Duration::from_secs(120));
        let id = format!("d-{}", 100 + self.below(900));
        let shown = if kind == "scale" { "scale-only change" } else { "deploy" };
        let text =
            format!("{shown} {id} of {service} to {version}: completed, began {} ago", human(before + ASKED_AFTER));
        let data = json!({"deploy_id": id, "version": version, "state": "completed", "kind": kind, "began": began,
            "completed": completed, "failed": null});
        let own = self.firing.first().is_some_and(|event| event.service == service);
        let finding = ContextFinding::new(ContextKind::Deploy, Trust::System, text).service(service).at(began);
        self.findings.push(finding.weight(if own { 1.0 } else { 0.0 }).data(data));
    }

    /// Lines of one kind in the error log of a service: so many in a quarter of an hour, and in the one before.
    pub(super) fn log(&mut self, service: &str, template: &str, count: u64, before: u64) {
        let last = plus(self.onset, Duration::from_secs(45));
        let first = minus(self.onset, if before > 0 { Duration::from_secs(86_400) } else { Duration::from_secs(20) });
        let lines = count + count / 4;
        let text = format!(
            "{count} of {lines} error lines of {service} in 15 min, {before} in the 15 min before, first seen {first}: {template}"
        );
        let data = json!({"count": count, "before": before, "first_seen": first, "last_seen": last,
            "template": template, "lines": lines});
        let finding = ContextFinding::new(ContextKind::Log, Trust::External, text).service(service).at(last);
        self.findings.push(finding.weight(u32::try_from(count).map_or(0.0, f64::from)).data(data));
    }

    /// The burn rate of a service's objective over an hour.
    pub(super) fn burn(&mut self, service: &str, rate: f64) {
        let (state, told) = if rate >= 14.4 {
            ("burning", format!("burns its budget at {rate} over 1h, critical from 14.4"))
        } else {
            ("within budget", format!("is within its budget: burn rate {rate} over 1h"))
        };
        let data = json!({"slo": "availability", "objective": 0.999, "burn_rates": {"1h": rate}, "state": state});
        let text = format!("{service} availability (99.9 %) {told}");
        self.findings.push(ContextFinding::new(ContextKind::Slo, Trust::System, text).service(service).data(data));
    }

    /// What somebody of the team wrote down.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        let kind = ContextKind::Other("note".to_owned());
        self.findings
            .push(ContextFinding::new(kind, Trust::Operator, text).at(minus(self.onset, Duration::from_secs(1_800))));
    }

    /// What a workload or an outsider wrote.
    pub(super) fn foreign(&mut self, kind: &str, service: &str, text: impl Into<String>) {
        let kind = if kind == "log" { ContextKind::Log } else { ContextKind::Other(kind.to_owned()) };
        let finding = ContextFinding::new(kind, Trust::External, text).service(service).weight(1_000.0);
        self.findings.push(finding.at(plus(self.onset, Duration::from_secs(30))));
    }

    /// A label of the event that asks, as its workload set it.
    pub(super) fn label(&mut self, name: &str, value: &str) {
        if let Some(event) = self.firing.first_mut() {
            event.labels.insert(name.to_owned(), value.to_owned());
        }
    }

    pub(super) fn lacks(&mut self, what: &str, reason: &str) {
        self.missing.push(Missing { what: what.to_owned(), reason: reason.to_owned() });
    }

    /// The alerts as the incident log knows them, in the shape of `RelatedAlerts`.
    fn alerts(&self) -> Vec<ContextFinding> {
        let graph = DependencyGraph::new(CALLS);
        let Some(asks) = self.firing.first() else { return Vec::new() };
        let finding = |event: &DetectionEvent| {
            let below = self.firing.iter().filter_map(|other| {
                let calls = graph.distance(&event.service, &other.service)?;
                (1..=2).contains(&calls).then(|| (other.service.to_string(), Value::from(calls)))
            });
            let depends_on: Map<String, Value> = below.collect();
            let (relation, words) = relation(&graph, &asks.service, &event.service);
            let signal = &event.signal;
            let data = json!({"service": event.service, "alertname": event.alertname(), "severity": event.severity,
                "started": event.detected_at, "relation": relation, "depends_on": depends_on, "value": signal.value,
                "expected": signal.expected, "score": signal.score, "threshold": signal.threshold,
                "ratio": signal.ratio(), "unit": signal.unit});
            let text = format!(
                "{} fires on {} ({words}) since {}: {}",
                event.alertname(),
                event.service,
                event.detected_at,
                signal.explain()
            );
            let ratio = signal.ratio().unwrap_or(1.0);
            let finding = ContextFinding::new(ContextKind::Alert, Trust::System, text).service(event.service.clone());
            finding.at(event.detected_at).weight(ratio).data(data)
        };
        self.firing.iter().map(finding).collect()
    }

    /// The incident, with what is right about it.
    pub(super) fn incident(mut self, right: Right<'_>) -> RecordedIncident {
        let mut findings = self.alerts();
        findings.append(&mut self.findings);
        let context = TriageContext::assemble(findings, self.missing);
        let mut events = self.firing.into_iter();
        let event = events.next().unwrap_or_else(|| {
            DetectionEvent::builder(EventKind::MetricAnomaly, "web", Severity::Info, self.onset, "adaptive").build()
        });
        let now = plus(self.onset, ASKED_AFTER);
        let mut incident = RecordedIncident::new(self.name, event, context);
        incident.events = events.collect();
        incident.now = Some(now);
        incident.tags = vec![right.what.to_owned()];
        incident.expected = right.expected();
        incident
    }
}

/// The question comes this long after the onset.
const ASKED_AFTER: Duration = Duration::from_secs(60);

/// How a service stands to the one that asks.
fn relation(graph: &DependencyGraph, asks: &ServiceName, service: &ServiceName) -> (&'static str, String) {
    let words = |name: &str, calls: usize| match calls {
        1 => format!("{name}, 1 call away"),
        calls => format!("{name}, {calls} calls away"),
    };
    match (graph.distance(asks, service), graph.distance(service, asks)) {
        (Some(0), _) => ("self", "itself".to_owned()),
        (Some(calls), _) => ("dependency", words("dependency", calls)),
        (None, Some(calls)) => ("caller", words("caller", calls)),
        (None, None) => ("self", "itself".to_owned()),
    }
}

/// What is right about an incident.
#[derive(Debug, Clone)]
pub(super) struct Right<'a> {
    /// The kind of fault, a tag.
    pub(super) what: &'a str,
    /// Keywords of the cause; none where no cause is right.
    pub(super) cause: Vec<String>,
    /// What a right cause does not name.
    pub(super) not: Vec<String>,
    pub(super) helps: Vec<&'a str>,
    pub(super) harms: Vec<&'a str>,
    pub(super) escalate: Option<bool>,
}

impl Right<'_> {
    fn expected(self) -> Expected {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let cause = CauseKeywords { required: self.cause, forbidden: self.not };
        let mut expected = Expected::default();
        expected.causes = Some(if cause.required.is_empty() { Vec::new() } else { vec![cause] });
        expected.acceptable_actions = owned(self.helps);
        expected.forbidden_actions = owned(self.harms);
        expected.should_escalate = self.escalate;
        expected
    }
}
