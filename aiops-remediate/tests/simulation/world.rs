//! The world: time, chance, what is true, and what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use aiops_core::{Clock, DetectionEvent, Triaged};
use aiops_remediate::{Dispatcher, MemoryStore, Policy};
use async_trait::async_trait;
use jiff::Timestamp;

use super::checks::Seen;
use super::faults::Fault;
use super::random::Random;

pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
/// A write that can be done again on another store.
pub(crate) type Write = Arc<dyn Fn(&MemoryStore) + Send + Sync>;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Faults end here; what is open must end by itself.
pub(crate) const QUIET_FROM: i64 = 50 * MINUTE;

/// Simulated milliseconds as a time.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_746_432_000_000 + millis).unwrap()
}

/// One process: it runs a dispatcher of its own.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) dispatcher: Option<Arc<Dispatcher>>,
    /// Its clock against the true time.
    pub(crate) offset: i64,
    pub(crate) paused_until: i64,
    /// It crashes at this poll from now.
    pub(crate) crash_in: Option<u64>,
    /// It pauses at this poll from now, for so long.
    pub(crate) pause_in: Option<(u64, i64)>,
    pub(crate) starts: u64,
    /// Until when the store does not get its requests, or it does not get answers.
    pub(crate) requests_lost_until: i64,
    pub(crate) answers_lost_until: i64,
}

/// Something that actions change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(crate) uid: u64,
    /// The newest token that it has seen.
    pub(crate) token: u64,
    /// Keys of the effects on it, each with the version that it acted on.
    pub(crate) effects: Vec<(String, u64)>,
    pub(crate) last_effect: i64,
}

pub(crate) struct Inner {
    pub(crate) now: i64,
    pub(crate) random: Random,
    pub(crate) policy: Policy,
    pub(crate) active: bool,
    /// Of each kind, whether this world has it and how often it came.
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) timers: BTreeMap<(i64, u64), (Option<usize>, Waker)>,
    pub(crate) sequence: u64,
    pub(crate) spawned: Vec<(Option<usize>, Task)>,
    pub(crate) processes: Vec<Process>,
    /// The task that is polled.
    pub(crate) current: usize,
    pub(crate) store: Arc<MemoryStore>,
    /// All writes in order, where the store may lose some; so many are synced.
    pub(crate) writes: Vec<Write>,
    pub(crate) synced: usize,
    pub(crate) objects: BTreeMap<String, Object>,
    pub(crate) next_uid: u64,
    pub(crate) events: BTreeMap<String, DetectionEvent>,
    pub(crate) reports: BTreeMap<String, Triaged>,
    /// Messages that were not acked.
    pub(crate) unacked: BTreeSet<u64>,
    pub(crate) messages: u64,
    pub(crate) seen: Seen,
    pub(crate) hash: u64,
    pub(crate) line: String,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) violation: Option<String>,
    pub(crate) crashes: u64,
}

impl Inner {
    /// Whether a fault of this kind comes now, in so many of a thousand cases.
    pub(crate) fn fires(&mut self, fault: Fault, in_1000: u64) -> bool {
        let fires = self.may(fault) && self.random.in_1000(in_1000);
        if fires {
            self.fired(fault);
        }
        fires
    }

    /// Whether faults of this kind may come now.
    pub(crate) fn may(&self, fault: Fault) -> bool {
        self.faults.contains_key(&fault) && self.now < QUIET_FROM
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains_key(&fault)
    }

    pub(crate) fn fired(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
        self.note(format_args!("fault {fault:?}"));
    }

    /// A line of the event log: into the hash, and kept where somebody reads it.
    pub(crate) fn note(&mut self, what: impl Display) {
        self.line.clear();
        let _ = write!(self.line, "{} {what}", self.now);
        // FNV-1a, eight bytes at a time.
        for chunk in self.line.as_bytes().chunks(8) {
            let word = chunk.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(trace) = &mut self.trace {
            trace.push(self.line.clone());
        }
    }

    /// An invariant is broken; the first one counts.
    pub(crate) fn broken(&mut self, what: impl Display) {
        self.note(format_args!("BROKEN {what}"));
        if self.violation.is_none() {
            self.violation = Some(what.to_string());
        }
    }

    pub(crate) fn must(&mut self, holds: bool, what: impl Display) {
        if !holds {
            self.broken(what);
        }
    }

    /// The time by the clock of a process.
    pub(crate) fn clock(&self, process: usize) -> Timestamp {
        at(self.now + self.processes[process].offset)
    }

    pub(crate) fn spawn(&mut self, owner: Option<usize>, task: impl Future<Output = ()> + Send + 'static) {
        self.spawned.push((owner, Box::pin(task)));
    }

    /// Processes that run, in order.
    pub(crate) fn running(&self) -> Vec<usize> {
        let runs = |index: &usize| self.processes[*index].dispatcher.is_some();
        (0..self.processes.len()).filter(runs).collect()
    }

    pub(crate) fn replaced(&mut self, target: &str) {
        self.next_uid += 1;
        let uid = self.next_uid;
        self.objects.entry(target.to_owned()).or_default().uid = uid;
    }

    fn wake_at(&mut self, when: i64, process: Option<usize>, waker: Waker) {
        self.sequence += 1;
        self.timers.insert((when, self.sequence), (process, waker));
    }
}

/// Shared by all tasks of one world.
#[derive(Clone)]
pub(crate) struct World(pub(crate) Arc<Mutex<Inner>>);

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut Inner) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }

    /// Waits in true time.
    pub(crate) fn sleep(&self, millis: i64) -> Sleep {
        let until = self.with(|inner| inner.now) + millis;
        Sleep { world: self.clone(), process: None, until }
    }

    pub(crate) fn dispatcher(&self, process: usize) -> Option<Arc<Dispatcher>> {
        self.with(|inner| inner.processes[process].dispatcher.clone())
    }

    pub(crate) fn clock_of(&self, process: usize) -> ProcessClock {
        ProcessClock { world: self.clone(), process }
    }
}

/// Lets the others have their turn.
pub(crate) async fn turn() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits until a time, by the true clock or by that of a process.
pub(crate) struct Sleep {
    world: World,
    process: Option<usize>,
    until: i64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.world.with(|inner| {
            let offset = self.process.map_or(0, |process| inner.processes[process].offset);
            if inner.now + offset >= self.until {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            inner.wake_at((self.until - offset).max(inner.now), self.process, waker);
            Poll::Pending
        })
    }
}

/// The clock of one process.
#[derive(Debug, Clone)]
pub(crate) struct ProcessClock {
    world: World,
    process: usize,
}

#[async_trait]
impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        self.world.with(|inner| inner.clock(self.process))
    }

    async fn sleep_until(&self, until: Timestamp) {
        // Rounded up, so that the time has come.
        let micros = until.as_microsecond() - at(0).as_microsecond();
        let until = micros.div_euclid(1_000) + i64::from(micros.rem_euclid(1_000) != 0);
        Sleep { world: self.world.clone(), process: Some(self.process), until }.await;
    }
}
