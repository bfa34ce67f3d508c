//! Kinds of error lines that a service never wrote before.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::{
    BoxError, DeployLog, DetectionEvent, Detector, DetectorError, Evaluation, EventKind, Identity, RolloutKind,
    ServiceName, Severity, Sighting, Signal, Tick, text::clip, time,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::burst::board::WINDOW_MINUTES;
use crate::burst::report::start_of;
use crate::error_logs::{ErrorLogs, Fresh, KEPT_MINUTES, ServiceLogs, minute_of};
use crate::log_state::{Kept, Part, read_all};
use crate::template::LineFingerprint;

/// Its name, the first part of its alertnames, and what its saved bytes say they are.
const NAME: &str = "NewTemplate";
/// The kind of its events.
const KIND: &str = "new_template";
/// The alertname of those beyond the bound of one window.
const MORE: &str = "more";
/// Between two evaluations.
const EVERY: Duration = Duration::from_secs(60);
/// Minutes for which a service is learned before anything of it is new: 30 windows (facts, case table).
const LEARNING_MINUTES: u32 = 30 * WINDOW_MINUTES;
/// Lines in five minutes from which a new kind is told, and where it tells of the end of a process.
const LINES: u64 = 3;
const GRAVE_LINES: u64 = 1;
/// New kinds of a service that are told each for itself in one window: after a deploy, and otherwise.
const AFTER_DEPLOY: usize = 5;
const OTHERWISE: usize = 20;
/// How long after the last step of a rollout what is new is rather its doing.
const DEPLOY_TIME: Duration = Duration::from_secs(3_600);
/// Minutes without a line after which it is no longer seen, and minutes after which that is so anyway.
const QUIET_MINUTES: u32 = 3 * WINDOW_MINUTES;
const LONGEST_MINUTES: u32 = 60;
/// Minutes for which its end is told. With the quiet before them longer than a kind counts as fresh.
const TOLD_MINUTES: u32 = 60;
/// Kinds that are told at a time, over all services, and in one event.
const MAX_TOLD: usize = 10_000;
const MAX_LISTED: usize = 20;

type Key = (ServiceName, LineFingerprint);

/// Watches for kinds of error lines that a known service never wrote before.
///
/// - A kind is told (kind `new_template`, alertname `NewTemplate/GROUP`) at its third line in five
///   minutes, at its first where it tells of the end of a process (`fatal`, `panic`, out of memory). One that
///   is rarer for three quarters of an hour is known from then on.
/// - A service is learned for 30 windows from its first line, or from when it was
///   [named](ErrorLogs::name): nothing of it is new before.
/// - At most five kinds of a service are told in a window within an hour of a [deploy](Self::deploys), 20
///   otherwise; the rest are one event, `NewTemplate/more`, with their number and texts.
/// - It is seen until a quarter of an hour passes without a line, for an hour at the most. A kind is told
///   once: what the store remembers was seen, also before a restart.
/// - `detected_at` is the minute of its first line. The text in the event is masked, but foreign.
#[derive(Debug)]
pub struct NewTemplate {
    logs: ErrorLogs,
    deploys: Option<DeployLog>,
    severity: Severity,
    told: Mutex<BTreeMap<Key, Told>>,
}

/// A kind that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// The group as it was named first: it may have joined others since.
    name: LineFingerprint,
    /// The minute of its first line, and that in which it was told.
    first: u32,
    at: u32,
    /// The minute up to which it is seen.
    seen: u32,
    /// Windows for which the service was known before.
    after: u32,
    peak: u64,
    grave: bool,
    /// Whether it has an event of its own.
    alone: bool,
}

impl NewTemplate {
    /// Watches every service that the store knows.
    #[must_use]
    pub fn new(logs: ErrorLogs) -> Self {
        Self { logs, deploys: None, severity: Severity::Warning, told: Mutex::default() }
    }

    /// The deploys after which few kinds are told at a time; an event then names the deploy.
    #[must_use]
    pub fn deploys(mut self, deploys: DeployLog) -> Self {
        self.deploys = Some(deploys);
        self
    }

    /// The severity of its events; warning unless set.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<Key, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest rollout of a service that explains what is new at a time.
    fn deploy(&self, service: &ServiceName, now: Timestamp) -> Option<String> {
        let steps = |deploy: &aiops_core::Deploy| [deploy.started, deploy.completed, deploy.failed];
        let last = |deploy: &aiops_core::Deploy| steps(deploy).into_iter().flatten().filter(|at| *at <= now).max();
        let deploys = self.deploys.as_ref()?.deploys(service);
        let recent = deploys.iter().filter(|deploy| deploy.kind == RolloutKind::Full).filter_map(|deploy| {
            let at = last(deploy).filter(|at| now < time::plus(*at, DEPLOY_TIME))?;
            Some((at, &deploy.deploy_id))
        });
        recent.max().map(|(_, id)| clip(id, 80))
    }

    /// Takes in what is new in one service.
    fn find(&self, told: &mut BTreeMap<Key, Told>, service: &ServiceName, fresh: &[Fresh], now: Timestamp) {
        let minute = minute_of(now);
        let all = (service.clone(), LineFingerprint::MIN)..=(service.clone(), LineFingerprint::MAX);
        let window = |told: &Told| told.alone && told.at / WINDOW_MINUTES == minute / WINDOW_MINUTES;
        let mut alone = told.range(all).filter(|(_, told)| window(told)).count();
        let max = if self.deploy(service, now).is_some() { AFTER_DEPLOY } else { OTHERWISE };
        for kind in fresh {
            if let Some(known) = told.get_mut(&(service.clone(), kind.group)) {
                known.peak = known.peak.max(kind.peak);
                continue;
            }
            let enough = if kind.grave { GRAVE_LINES } else { LINES };
            if kind.peak < enough {
                continue;
            }
            if told.len() >= MAX_TOLD {
                metrics::counter!("aiops_new_templates_refused_total").increment(1);
                continue;
            }
            let Fresh { group, first, after, grave, peak } = *kind;
            let one = Told {
                name: group,
                first,
                at: minute,
                seen: minute,
                after: after / WINDOW_MINUTES,
                peak,
                grave,
                alone: alone < max,
            };
            alone += usize::from(one.alone);
            told.insert((service.clone(), group), one);
        }
    }

    /// Groups that joined others go on under their first name.
    fn follow(&self, told: &mut BTreeMap<Key, Told>) {
        let joined = |(service, group): &Key| {
            let now = self.logs.of(service, |logs| logs.resolve(*group)).filter(|now| now != group)?;
            Some(((service.clone(), *group), (service.clone(), now)))
        };
        let moved: Vec<(Key, Key)> = told.keys().filter_map(joined).collect();
        for (from, to) in moved {
            if !told.contains_key(&to)
                && let Some(kind) = told.remove(&from)
            {
                told.insert(to, kind);
            }
        }
    }

    fn event(
        &self,
        service: &ServiceName,
        name: &str,
        kinds: &[(LineFingerprint, Told)],
        now: Timestamp,
    ) -> DetectionEvent {
        let lines = kinds.iter().map(|(_, told)| told.peak).max().unwrap_or(0);
        let grave = kinds.iter().any(|(_, told)| told.grave);
        let known = kinds.iter().map(|(_, told)| told.after).min().unwrap_or(0);
        let first = kinds.iter().map(|(_, told)| told.first).min().unwrap_or(0);
        let threshold = if grave { GRAVE_LINES } else { LINES };
        let texts = |logs: &ServiceLogs| -> Vec<Value> {
            let listed = kinds.iter().take(MAX_LISTED);
            let text = |(group, told): &(LineFingerprint, Told)| json!({"group": group, "template": logs.text(*group), "first_seen": start_of(told.first)});
            listed.map(text).collect()
        };
        let mut signal = Signal::new(lines as f64)
            .expected(0.0)
            .score(lines as f64)
            .threshold(threshold as f64)
            .window(Duration::from_secs(60 * u64::from(WINDOW_MINUTES)))
            .unit("error lines")
            .n(known.into())
            .with("kinds", kinds.len())
            .with("groups", self.logs.of(service, texts).unwrap_or_default());
        if let Some(deploy) = self.deploy(service, now) {
            signal = signal.with("deploy", deploy);
        }
        let start = start_of(first).min(now);
        let builder = DetectionEvent::builder(KIND.into(), service.clone(), self.severity, start, NAME);
        let mut event = builder.alertname(format!("{NAME}/{name}")).signal(signal).build();
        event.observed_at = Some(now);
        event
    }

    fn sightings(&self, told: &BTreeMap<Key, Told>, now: Timestamp) -> Evaluation {
        let minute = minute_of(now);
        let firing = |told: &Told| told.seen >= minute;
        let identity = |service: &ServiceName, name: &str| {
            Identity::new(EventKind::from(KIND), service.clone(), format!("{NAME}/{name}"))
        };
        let mut sightings = Vec::new();
        let mut more: BTreeMap<&ServiceName, Vec<(LineFingerprint, Told)>> = BTreeMap::new();
        for ((service, group), kind) in told {
            if !kind.alone {
                more.entry(service).or_default().push((*group, *kind));
            } else if firing(kind) {
                let event = self.event(service, &kind.name.to_string(), &[(*group, *kind)], now);
                sightings.push(Sighting::Firing(Box::new(event)));
            } else {
                sightings.push(Sighting::Normal(identity(service, &kind.name.to_string())));
            }
        }
        for (service, mut kinds) in more {
            kinds.sort_unstable_by_key(|(group, kind)| (kind.first, *group));
            sightings.push(if kinds.iter().any(|(_, kind)| firing(kind)) {
                Sighting::Firing(Box::new(self.event(service, MORE, &kinds, now)))
            } else {
                Sighting::Normal(identity(service, MORE))
            });
        }
        Evaluation::new(sightings)
    }
}

#[async_trait]
impl Detector for NewTemplate {
    fn name(&self) -> &str {
        NAME
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let minute = minute_of(tick.now);
        let mut found = Vec::new();
        self.logs.each(|service, logs| {
            let mut fresh = logs.fresh(minute.saturating_sub(KEPT_MINUTES - 1), LEARNING_MINUTES);
            // What is ahead of the clock is not there yet.
            fresh.retain(|kind| kind.first <= minute);
            if !fresh.is_empty() {
                found.push((service.clone(), fresh));
            }
        });
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut told = self.told();
        self.follow(&mut told);
        for (service, fresh) in found {
            self.find(&mut told, &service, &fresh, tick.now);
        }
        for ((service, group), kind) in told.iter_mut() {
            let last = self.logs.of(service, |logs| logs.last(*group)).flatten();
            let recent = last.is_some_and(|last| last.saturating_add(QUIET_MINUTES) > minute);
            if recent && minute < kind.at.saturating_add(LONGEST_MINUTES) {
                kind.seen = minute;
            }
        }
        told.retain(|_, kind| kind.seen.saturating_add(TOLD_MINUTES) >= minute);
        Ok(self.sightings(&told, tick.now))
    }
}

impl Kept for NewTemplate {
    fn kept_as(&self) -> &'static str {
        NAME
    }

    fn save_parts(&self) -> Vec<Part> {
        let told: Vec<(Key, Told)> = self.told().iter().map(|(key, told)| (key.clone(), *told)).collect();
        vec![Part::of(NAME, &told, told.is_empty())]
    }

    fn restore_parts(&self, parts: Vec<(usize, Vec<u8>)>) -> Vec<(usize, BoxError)> {
        let (told, errors) = read_all(parts, |bytes| Part::read::<Vec<(Key, Told)>>(NAME, bytes));
        let told: BTreeMap<Key, Told> = told.into_iter().flatten().collect();
        let over = told.len().saturating_sub(MAX_TOLD);
        if over > 0 {
            metrics::counter!("aiops_new_templates_refused_total").increment(over as u64);
        }
        *self.told() = told.into_iter().take(MAX_TOLD).collect();
        errors
    }
}
