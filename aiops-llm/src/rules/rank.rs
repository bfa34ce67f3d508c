//! Which of the firing services is likeliest the cause.

use std::collections::BTreeMap;

use aiops_core::jiff::Timestamp;
use aiops_core::time::since;
use aiops_core::{Confidence, ContextItem, ContextKind, DetectionEvent, ServiceName, Status, TriageRequest, Trust};
use serde_json::Value;

use super::DEPLOY_WINDOW;

/// A dependency of at least this part of a caller's ratio explains the caller: a fault loses strength
/// on its way up, and scores of unlike metrics are no finer a measure than a factor of two.
const EXPLAINS: f64 = 0.5;
/// Against this part of its ratio another unexplained service no longer competes.
const MARGIN: f64 = 0.5;
/// Items beside the alerts that are cited: the service's top log group, its burn rate.
const MAX_BESIDE: usize = 2;

/// One firing service.
#[derive(Debug)]
pub(super) struct Cause<'a> {
    pub(super) service: ServiceName,
    /// The largest score ÷ threshold; 1 where unknown, since it fires.
    pub(super) ratio: f64,
    /// What fires with that ratio.
    pub(super) alertname: String,
    pub(super) score: Option<f64>,
    pub(super) threshold: Option<f64>,
    pub(super) started: Timestamp,
    /// Its alert items, the largest ratio first.
    pub(super) items: Vec<&'a str>,
    /// Firing services that call it.
    pub(super) callers: Vec<ServiceName>,
    /// The firing dependency that explains it.
    pub(super) explained_by: Option<ServiceName>,
}

/// One thing that fires.
#[derive(Debug)]
struct Signal<'a> {
    service: ServiceName,
    alertname: String,
    score: Option<f64>,
    threshold: Option<f64>,
    ratio: f64,
    started: Timestamp,
    id: Option<&'a str>,
    depends_on: Vec<ServiceName>,
}

impl<'a> Signal<'a> {
    /// Of an alert item; none where it lacks what [`aiops_core::RelatedAlerts`] writes, or where its
    /// text is not our own.
    fn of_item(item: &'a ContextItem) -> Option<Self> {
        if item.kind != ContextKind::Alert || item.trust != Trust::System {
            return None;
        }
        let data = &item.data;
        let number = |name: &str| data[name].as_f64().filter(|number| number.is_finite());
        let depends_on = data["depends_on"].as_object();
        Some(Self {
            service: item.service.clone()?,
            alertname: data["alertname"].as_str()?.to_owned(),
            score: number("score"),
            threshold: number("threshold"),
            ratio: number("ratio").unwrap_or(1.0),
            started: item.at?,
            id: Some(&item.id),
            depends_on: depends_on.into_iter().flatten().map(|(name, _)| ServiceName::new(name)).collect(),
        })
    }

    fn of_event(event: &DetectionEvent) -> Self {
        Self {
            service: event.service.clone(),
            alertname: event.alertname().to_owned(),
            score: event.signal.score,
            threshold: event.signal.threshold,
            ratio: event.signal.ratio().unwrap_or(1.0),
            started: event.detected_at,
            id: None,
            depends_on: Vec::new(),
        }
    }
}

/// The firing services, the likeliest cause first.
pub(super) fn rank(request: &TriageRequest) -> Vec<Cause<'_>> {
    let mut signals: Vec<Signal<'_>> = request.context.items.iter().filter_map(Signal::of_item).collect();
    for event in request.events.iter().chain([&request.event]).filter(|event| event.status == Status::Firing) {
        let told = |signal: &Signal<'_>| signal.service == event.service && signal.alertname == event.alertname();
        if !signals.iter().any(told) {
            signals.push(Signal::of_event(event));
        }
    }
    // A total order first: nothing below depends on the order in which they came.
    signals.sort_by(|a, b| {
        b.ratio
            .total_cmp(&a.ratio)
            .then_with(|| a.started.cmp(&b.started))
            .then_with(|| (&a.service, &a.alertname, a.id).cmp(&(&b.service, &b.alertname, b.id)))
    });

    let mut causes: BTreeMap<ServiceName, Cause<'_>> = BTreeMap::new();
    let mut calls: Vec<(ServiceName, ServiceName)> = Vec::new();
    for signal in signals {
        calls.extend(signal.depends_on.into_iter().map(|below| (signal.service.clone(), below)));
        let cause = causes.entry(signal.service.clone()).or_insert_with(|| Cause {
            service: signal.service,
            ratio: signal.ratio,
            alertname: signal.alertname,
            score: signal.score,
            threshold: signal.threshold,
            started: signal.started,
            items: Vec::new(),
            callers: Vec::new(),
            explained_by: None,
        });
        cause.started = cause.started.min(signal.started);
        cause.items.extend(signal.id);
    }
    calls.sort();
    calls.dedup();
    relate(&mut causes, &calls);

    let mut causes: Vec<Cause<'_>> = causes.into_values().collect();
    causes.sort_by(|a, b| {
        a.explained_by
            .is_some()
            .cmp(&b.explained_by.is_some())
            .then_with(|| b.ratio.total_cmp(&a.ratio))
            .then_with(|| b.callers.len().cmp(&a.callers.len()))
            .then_with(|| a.started.cmp(&b.started))
            .then_with(|| a.service.cmp(&b.service))
    });
    causes
}

/// Fills in who calls whom among the firing services, and what explains what.
fn relate(causes: &mut BTreeMap<ServiceName, Cause<'_>>, calls: &[(ServiceName, ServiceName)]) {
    for (caller, below) in calls {
        let (Some(above), Some(dependency)) = (causes.get(caller), causes.get(below)) else { continue };
        if caller == below {
            continue;
        }
        // Two that call each other: the stronger one explains the weaker one, never both.
        let mutual = calls.binary_search(&(below.clone(), caller.clone())).is_ok();
        let stronger = (dependency.ratio, caller) > (above.ratio, below);
        let explains = if mutual { stronger } else { dependency.ratio >= EXPLAINS * above.ratio };
        let strongest = above
            .explained_by
            .as_ref()
            .and_then(|known| causes.get(known))
            .is_none_or(|known| dependency.ratio > known.ratio);
        if let Some(dependency) = causes.get_mut(below) {
            dependency.callers.push(caller.clone());
        }
        if explains
            && strongest
            && let Some(above) = causes.get_mut(caller)
        {
            above.explained_by = Some(below.clone());
        }
    }
}

/// What is known of the first cause beside its rank.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// Its own alert stands in the context.
    alert: bool,
    /// No other unexplained service comes near.
    clear: bool,
    /// A firing service calls it.
    called: bool,
    /// The rollout before it.
    pub(super) deploy: Option<&'a ContextItem>,
    /// Other items on its service.
    pub(super) beside: Vec<&'a str>,
}

impl<'a> Known<'a> {
    pub(super) fn about(first: &Cause<'a>, causes: &[Cause<'a>], request: &'a TriageRequest) -> Self {
        let rivals = causes.iter().skip(1).filter(|cause| cause.explained_by.is_none());
        let items = || request.context.items.iter().filter(|item| item.service.as_ref() == Some(&first.service));
        let deploys = items().filter_map(|item| Some((before(item, first.started)?, item)));
        let beside = items().filter(|item| matches!(item.kind, ContextKind::Log | ContextKind::Slo));
        Self {
            alert: !first.items.is_empty(),
            clear: rivals.map(|rival| rival.ratio).fold(0.0, f64::max) <= MARGIN * first.ratio,
            called: !first.callers.is_empty(),
            deploy: deploys.max_by(|a, b| (a.0, &b.1.id).cmp(&(b.0, &a.1.id))).map(|(_, item)| item),
            beside: beside.take(MAX_BESIDE).map(|item| item.id.as_str()).collect(),
        }
    }

    /// The documented table, in tenths so that 0.7 is exactly 0.7.
    pub(super) fn confidence(&self) -> Confidence {
        if !self.alert {
            return Confidence::ZERO;
        }
        let tenths = 4 + 2 * u8::from(self.clear) + u8::from(self.called) + u8::from(self.deploy.is_some());
        Confidence::new(f64::from(tenths) / 10.0).unwrap_or(Confidence::ZERO)
    }
}

/// When the rollout that the item tells of last moved before the onset, where that is recent enough to
/// be the cause.
fn before(item: &ContextItem, onset: Timestamp) -> Option<Timestamp> {
    let data = &item.data;
    if item.kind != ContextKind::Deploy || item.trust != Trust::System || data["kind"] != "full" {
        return None;
    }
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let moves = [item.at, time(&data["began"]), time(&data["completed"])];
    let last = moves.into_iter().flatten().filter(|at| *at <= onset).max()?;
    (since(onset, last) <= DEPLOY_WINDOW).then_some(last)
}
