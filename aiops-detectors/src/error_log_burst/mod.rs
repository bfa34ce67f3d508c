//! Bursts of error lines, of services and of single kinds of lines.

mod groups;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::{
    BoxError, Detector, DetectorError, Evaluation, EventKind, Identity, ServiceName, Severity, Sighting, Tick, time,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::groups::{Groups, Key, Told};
use crate::burst::board::{Board, SavedBoard, WINDOW_MINUTES};
use crate::burst::report::{self, start_of};
use crate::error_logs::{ErrorLogs, KEPT_MINUTES, minute_of};
use crate::log_state::{Kept, PARTS, Part, part_of, read_all};

/// Its name, the alertname of its events, and what its saved bytes say they are.
const NAME: &str = "ErrorLogBurst";
/// Between two evaluations: the window slides by it.
const EVERY: Duration = Duration::from_secs(60);
/// How long a minute waits for its lines: most collectors ship within it.
const GRACE: Duration = Duration::from_secs(60);
/// Minutes that are caught up at the most: all that is counted, but for those that are about to go.
const LOOKBACK_MINUTES: u32 = KEPT_MINUTES - 2 * WINDOW_MINUTES;
/// Services, and groups of all services, that are watched at the most.
const MAX_SERVICES: usize = 10_000;
const MAX_GROUPS: usize = 1_000_000;
/// Groups that an event tells.
const TOP: usize = 5;

/// Watches the error lines of services, and each kind of line of each service, with a
/// [`BurstTest`](crate::BurstTest) each: windows of five minutes that slide by one, of event time.
///
/// - A kind of line that bursts while its service's total hides it is an event of its own, alertname
///   `ErrorLogBurst/GROUP`. Once the service itself is in a burst (alertname `ErrorLogBurst`), no further
///   kinds join it, and at most five of a service stand beside each other, the first ones.
/// - An event carries the five groups of most lines in its newest five minutes (`groups`: `group`,
///   `template`, `count`, and `before` in the five minutes before). These texts are masked, but foreign.
/// - A minute is counted once it is over by the grace; lines that come later are counted a window later,
///   once, and judge their own window alone.
/// - Minutes that the store [missed](ErrorLogs::missed) are unknown, and not quiet: evaluations fail until
///   they are over, and the window after them is not judged.
/// - A burst is seen from its first window until three whole windows are below, or for an hour: then it is
///   the level. `detected_at` is the start of its first window, so its fingerprint never moves; groups that
///   join keep the name under which they fired.
/// - Kinds of lines of which a week holds none are forgotten; what is beyond the bounds is refused; both are
///   counted.
#[derive(Debug)]
pub struct ErrorLogBurst {
    logs: ErrorLogs,
    severity: Severity,
    grace: Duration,
    state: Mutex<State>,
}

/// Counts all minutes of a board up to `end`; false where the next one is unknown.
fn advance<K: Ord + Clone>(
    board: &mut Board<K>,
    logs: &ErrorLogs,
    end: u32,
    mut count: impl FnMut(&mut Board<K>, u32, u32) -> BTreeMap<K, u64>,
) -> bool {
    board.start(logs.began());
    while let Some(step) = board.plan(end, LOOKBACK_MINUTES) {
        let (from, to) = step.minutes();
        let counts = match logs.knows(from, to) {
            true => count(board, from, to),
            false if step.is_again() => BTreeMap::new(),
            false => {
                board.failed();
                return false;
            }
        };
        board.take(step, &counts);
    }
    true
}

#[derive(Debug)]
struct State {
    services: Board<ServiceName>,
    groups: Groups,
}

impl ErrorLogBurst {
    /// Watches every service that the store knows.
    #[must_use]
    pub fn new(logs: ErrorLogs) -> Self {
        let state = State { services: Board::new("service", MAX_SERVICES), groups: Groups::new(MAX_GROUPS) };
        Self { logs, severity: Severity::Warning, grace: GRACE, state: Mutex::new(state) }
    }

    /// The severity of events that are not critical; warning unless set.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// How long a minute waits for its lines; 60 s unless set.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Services at the most, 10,000 unless set; lines of further ones are refused and counted.
    #[must_use]
    pub fn max_services(self, max: usize) -> Self {
        self.state().services.set_max(max);
        self
    }

    /// Groups of all services at the most, a million unless set (some 600 bytes each); further ones are
    /// refused and counted.
    #[must_use]
    pub fn max_groups(self, max: usize) -> Self {
        self.state().groups.board.set_max(max);
        self
    }

    /// Services and groups that are tracked now.
    #[must_use]
    pub fn tracked(&self) -> (usize, usize) {
        let state = self.state();
        (state.services.len(), state.groups.board.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts all minutes up to `end`; false where the next one is unknown.
    fn advance(&self, state: &mut State, end: u32) -> bool {
        let services = advance(&mut state.services, &self.logs, end, |_, from, to| {
            let mut counts = BTreeMap::new();
            self.logs.each(|service, logs| {
                let lines = logs.lines(from, to);
                if lines > 0 {
                    counts.insert(service.clone(), lines);
                }
            });
            counts
        });
        // Both see the same minutes, and fail at the same one.
        state.groups.advance(&self.logs, end) && services
    }

    /// The groups of most lines in the five minutes before `to`.
    fn top(&self, service: &ServiceName, to: u32) -> Vec<Value> {
        let from = to.saturating_sub(WINDOW_MINUTES);
        let summary = self.logs.of(service, |logs| logs.summary((from, to), from.saturating_sub(WINDOW_MINUTES), TOP));
        let groups = summary.into_iter().flat_map(|summary| summary.groups);
        let told = |group: crate::ErrorGroup| {
            json!({
                "group": group.group, "template": group.template, "count": group.count, "before": group.before,
            })
        };
        groups.map(told).collect()
    }

    fn sightings(&self, state: &mut State, now: Timestamp) -> Evaluation {
        let minute = state.services.read_to.unwrap_or_else(|| minute_of(now));
        let read_to = start_of(minute).min(now);
        let event = |identity: Identity, burst: &_| {
            let groups = self.top(&identity.service, minute);
            let mut event = report::event(identity, burst, NAME, self.severity, read_to);
            event.signal = event.signal.with("groups", groups);
            event
        };
        let of_service = |(service, track): (&ServiceName, _)| {
            report::sighting(Identity::new(EventKind::LogBurst, service.clone(), NAME), track, event)
        };
        let mut sightings: Vec<Sighting> = state.services.tracks().iter().map(of_service).collect();
        state.groups.tell(&state.services, minute);
        for (service, name, track) in state.groups.told() {
            let identity = Identity::new(EventKind::LogBurst, service.clone(), format!("{NAME}/{name}"));
            sightings.push(match track {
                Some(track) => report::sighting(identity, track, event),
                None => Sighting::Normal(identity),
            });
        }
        Evaluation::new(sightings)
    }
}

#[async_trait]
impl Detector for ErrorLogBurst {
    fn name(&self) -> &str {
        NAME
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let mut state = self.state();
        if !self.advance(&mut state, minute_of(time::minus(tick.now, self.grace))) {
            return Err(DetectorError::retryable(NAME, "error lines of the next minute were missed"));
        }
        Ok(self.sightings(&mut state, tick.now))
    }
}

/// One part of the state.
#[derive(Serialize, Deserialize)]
struct Saved {
    services: SavedBoard<ServiceName>,
    groups: SavedBoard<Key>,
    told: Vec<(Key, Told)>,
}

impl Kept for ErrorLogBurst {
    fn kept_as(&self) -> &'static str {
        NAME
    }

    /// All parts are of one moment: the series of all services wait that long.
    fn save_parts(&self) -> Vec<Part> {
        let state = self.state();
        let services = state.services.saved(PARTS, part_of);
        let groups = state.groups.board.saved(PARTS, |(service, _)| part_of(service));
        let mut told: Vec<Vec<(Key, Told)>> = (0..PARTS).map(|_| Vec::new()).collect();
        for (key, one) in &state.groups.told {
            if let Some(part) = told.get_mut(part_of(&key.0)) {
                part.push((key.clone(), *one));
            }
        }
        drop(state);
        let all = services.into_iter().zip(groups).zip(told);
        all.map(|((services, groups), told)| {
            let empty = services.is_empty() && groups.is_empty() && told.is_empty();
            Part::of(NAME, &Saved { services, groups, told }, empty)
        })
        .collect()
    }

    fn restore_parts(&self, parts: Vec<(usize, Vec<u8>)>) -> Vec<(usize, BoxError)> {
        let read = |bytes: &[u8]| {
            let saved: Saved = Part::read(NAME, bytes)?;
            saved.services.check()?;
            saved.groups.check()?;
            Ok(saved)
        };
        let (saved, errors) = read_all(parts, read);
        let (mut services, mut groups, mut told) = (Vec::new(), Vec::new(), BTreeMap::new());
        for part in saved {
            services.push(part.services);
            groups.push(part.groups);
            told.extend(part.told);
        }
        let mut state = self.state();
        state.services.restore(services);
        state.groups.board.restore(groups);
        state.groups.told = told;
        errors
    }
}
