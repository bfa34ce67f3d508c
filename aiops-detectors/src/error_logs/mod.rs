//! The error lines of all services: what the host feeds, and what the log context and detectors read.

mod context;
mod service;
mod shown;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aiops_core::{Redactor, ServiceName};
use jiff::Timestamp;

pub use self::context::ErrorLogContext;
pub(crate) use self::service::{Fresh, ServiceLogs};
use crate::log_state::{PARTS, part_of};
use crate::source::LogLine;
use crate::template::LineFingerprint;

/// Minutes whose counts are kept: twice the quarter of an hour that the context tells, and what the burst
/// detector catches up.
pub(crate) const KEPT_MINUTES: u32 = 45;
/// Minutes that a summary covers (field report, section 5: the last 15 minutes).
const SUMMARY_MINUTES: u32 = 15;
/// How far a line may be ahead of the clock.
const MAX_AHEAD_MINUTES: u32 = 5;
/// Services at the most.
const MAX_SERVICES: usize = 10_000;
/// Masked lines of a service at the most: more than a service has kinds of errors.
const MAX_GROUPS: usize = 256;
/// Minutes without a line after which a service is forgotten: a week, which is what bursts are held against.
const IDLE_MINUTES: u32 = 7 * 1_440;
/// Ranges of minutes that are remembered as missed.
const MAX_MISSED: usize = 64;

/// One group of error lines of a service in the last fifteen minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorGroup {
    /// The group: the most general fingerprint.
    pub group: LineFingerprint,
    /// Its text with `*` for what varies; foreign text. Empty where it is no longer kept.
    pub template: String,
    /// The masked form of its commonest lines in these minutes: closer to the lines than the template, and
    /// without their values. Foreign text.
    pub sample: String,
    /// Lines in the last fifteen minutes.
    pub count: u64,
    /// Lines in the fifteen minutes before those.
    pub before: u64,
    /// When its first line was written, to the minute.
    pub first_seen: Timestamp,
    /// When its last line was written, to the minute.
    pub last_seen: Timestamp,
}

/// The error lines of a service in the last fifteen minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorSummary {
    /// All lines, also those of groups that are not among `groups`.
    pub lines: u64,
    /// All lines of the fifteen minutes before those.
    pub before: u64,
    /// Whether lines of these thirty minutes may lack: the store was not fed yet, or
    /// [missed](ErrorLogs::missed) some.
    pub incomplete: bool,
    /// How many groups these lines are of.
    pub kinds: usize,
    /// The groups of most lines first.
    pub groups: Vec<ErrorGroup>,
}

/// The error lines of all services: which kinds there are, how many a minute, when each was first seen.
///
/// The host feeds it, [`ErrorLogContext`] reads it. A handle: clones share
/// one store. Counts are by the time at which a line was written, and exact; 45 minutes of them are kept.
///
/// No line is kept, only its masked form (see [`mask_line`](crate::mask_line)), and of that no secret that the
/// [`Redactor`] knows: `*` stands in its place before the line is masked, so that lines that differ in a secret alone
/// are one kind.
///
/// It is bounded: 10,000 services, 256 kinds of lines each, about 1 kB a kind. A service without a line for a week is
/// forgotten; what does not fit is counted as `aiops_error_logs_dropped_total`.
///
/// ```
/// use aiops_detectors::{ErrorLogs, LogLine, jiff::Timestamp};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let now: Timestamp = "2026-05-05T08:04:00Z".parse()?;
/// let logs = ErrorLogs::new(now);
/// for order in 0..3 {
///     logs.push(&LogLine::new(now, "cart", format!("order {order}: no connection to db-{order}.internal")), now);
/// }
/// let summary = logs.summary(&"cart".into(), now, 10).ok_or("cart wrote something")?;
/// assert_eq!((summary.lines, summary.before), (3, 0));
/// assert_eq!(summary.groups[0].template, "order *: no connection to *");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ErrorLogs {
    store: Arc<Store>,
    redactor: Redactor,
}

impl fmt::Debug for ErrorLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorLogs").field("services", &self.services()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Store {
    /// Each for its share of the services, which is also a part of the saved state.
    shards: Vec<Mutex<Shard>>,
    services: AtomicUsize,
    times: Mutex<Times>,
    max_services: usize,
    max_groups: usize,
}

type Shard = BTreeMap<ServiceName, ServiceLogs>;

/// Of which minutes the counts are complete.
#[derive(Debug, Clone, Default)]
struct Times {
    /// The first minute.
    began: u32,
    /// Ranges of minutes whose lines may lack.
    missed: VecDeque<(u32, u32)>,
    /// The hour in which idle services were last looked for.
    swept: u32,
}

/// The unix minute of a time; nothing was written before 1970.
pub(crate) fn minute_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_second().div_euclid(60).max(0)).unwrap_or(u32::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts what did not fit.
fn dropped(what: &'static str, how_many: u64) {
    metrics::counter!("aiops_error_logs_dropped_total", "what" => what).increment(how_many);
}

impl ErrorLogs {
    /// A store that is fed from `since` on, for 10,000 services with 256 kinds of lines each.
    #[must_use]
    pub fn new(since: Timestamp) -> Self {
        Self::bounded(since, MAX_SERVICES, MAX_GROUPS)
    }

    /// A store of at most so many services, and kinds of lines a service (at least two).
    #[must_use]
    pub fn bounded(since: Timestamp, services: usize, groups: usize) -> Self {
        // The minute in which it began is not complete.
        let times = Times { began: minute_of(since).saturating_add(1), ..Times::default() };
        Self {
            redactor: Redactor::default(),
            store: Arc::new(Store {
                shards: (0..PARTS).map(|_| Mutex::default()).collect(),
                services: AtomicUsize::new(0),
                times: Mutex::new(times),
                max_services: services,
                max_groups: groups.max(2),
            }),
        }
    }

    /// Another redactor of what this handle and its clones push (default: [`Redactor::default`]).
    #[must_use]
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Counts an error line that came in at `now`: by the time at which it was written, which may be up to 45
    /// minutes ago and 5 minutes ahead. Others, and lines without a service, are dropped and counted.
    pub fn push(&self, line: &LogLine, now: Timestamp) {
        let (minute, now) = (minute_of(line.at), minute_of(now));
        let refused = match () {
            () if line.service.is_empty() => Some("no_service"),
            () if minute > now.saturating_add(MAX_AHEAD_MINUTES) => Some("ahead"),
            () if minute.saturating_add(KEPT_MINUTES) <= now => Some("late"),
            () => None,
        };
        if let Some(why) = refused {
            return dropped(why, 1);
        }
        self.sweep(now);
        let text = shown::without_secrets(&line.text, &self.redactor);
        let mut shard = self.shard(&line.service);
        if let Some(logs) = shard.get_mut(&line.service) {
            return logs.observe(minute, text.as_bytes(), now);
        }
        let mut logs = ServiceLogs::new(minute, self.store.max_groups);
        logs.observe(minute, text.as_bytes(), now);
        self.add(&mut shard, line.service.clone(), logs);
    }

    /// Knows a service before its first line, and does not forget it: what it writes first is then new, and
    /// not what it always wrote.
    pub fn name(&self, service: impl Into<ServiceName>, since: Timestamp) {
        let service = service.into();
        let mut shard = self.shard(&service);
        if let Some(logs) = shard.get_mut(&service) {
            return logs.named(minute_of(since));
        }
        let mut logs = ServiceLogs::new(minute_of(since), self.store.max_groups);
        logs.named(minute_of(since));
        self.add(&mut shard, service, logs);
    }

    /// Tells that lines of `[from, to)` may lack: the collector was down. These minutes are then unknown, and
    /// not quiet.
    pub fn missed(&self, from: Timestamp, to: Timestamp) {
        let range = (minute_of(from), minute_of(to).saturating_add(u32::from(to.as_second() % 60 > 0)));
        if range.0 >= range.1 {
            return;
        }
        let mut times = locked(&self.store.times);
        times.missed.push_back(range);
        if times.missed.len() > MAX_MISSED {
            // The two oldest become one: rather unknown than quiet.
            let oldest = times.missed.pop_front();
            if let (Some((from, to)), Some(next)) = (oldest, times.missed.front_mut()) {
                *next = (next.0.min(from), next.1.max(to));
            }
        }
    }

    /// What a service wrote in the fifteen minutes up to and with that of `now`, with the `top` groups of
    /// most lines. None for a service that is not known.
    #[must_use]
    pub fn summary(&self, service: &ServiceName, now: Timestamp, top: usize) -> Option<ErrorSummary> {
        let to = minute_of(now).saturating_add(1);
        let from = to.saturating_sub(SUMMARY_MINUTES);
        let before = from.saturating_sub(SUMMARY_MINUTES);
        let mut summary = self.shard(service).get(service)?.summary((from, to), before, top);
        summary.incomplete = !self.knows(before, to);
        Some(summary)
    }

    /// The first minute of which all lines came.
    pub(crate) fn began(&self) -> u32 {
        locked(&self.store.times).began
    }

    /// Visits every service, in no order that means anything.
    pub(crate) fn each(&self, mut visit: impl FnMut(&ServiceName, &ServiceLogs)) {
        for shard in &self.store.shards {
            locked(shard).iter().for_each(|(service, logs)| visit(service, logs));
        }
    }

    /// Looks at one service.
    pub(crate) fn of<T>(&self, service: &ServiceName, look: impl FnOnce(&ServiceLogs) -> T) -> Option<T> {
        self.shard(service).get(service).map(look)
    }

    /// Whether all lines of the minutes `from..to` came.
    pub(crate) fn knows(&self, from: u32, to: u32) -> bool {
        let times = locked(&self.store.times);
        from >= times.began && times.missed.iter().all(|(first, after)| to <= *first || *after <= from)
    }

    /// Services that are known.
    #[must_use]
    pub fn services(&self) -> usize {
        self.store.services.load(Ordering::Relaxed)
    }

    fn shard(&self, service: &ServiceName) -> MutexGuard<'_, Shard> {
        locked(&self.store.shards[part_of(service)])
    }

    fn add(&self, shard: &mut Shard, service: ServiceName, logs: ServiceLogs) {
        let count = |known: usize| (known < self.store.max_services).then_some(known + 1);
        match self.store.services.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count) {
            Ok(_) => drop(shard.insert(service, logs)),
            Err(_) => dropped("service", 1),
        }
    }

    /// Forgets idle services, once an hour.
    fn sweep(&self, now: u32) {
        if std::mem::replace(&mut locked(&self.store.times).swept, now / 60) == now / 60 {
            return;
        }
        for shard in &self.store.shards {
            let mut shard = locked(shard);
            let before = shard.len();
            shard.retain(|_, logs| !logs.is_idle(now.saturating_sub(IDLE_MINUTES)));
            let idle = before - shard.len();
            if idle > 0 {
                self.store.services.fetch_sub(idle, Ordering::Relaxed);
                dropped("idle_service", idle as u64);
            }
        }
    }
}
