//! One operation of one service: its minutes, its baseline, and what is seen of it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::sketch::Sketch;
use crate::source::SpanRecord;

/// Minutes of a window.
pub(super) const WINDOW_MINUTES: u32 = 5;
/// Windows of a baseline: a day.
const HISTORY: usize = 288;
/// Windows with calls before anything is said: half an hour.
pub(super) const MIN_WINDOWS: u64 = 6;
/// Windows in a row after which a spike is the level: an hour.
const LEVEL_SHIFT: u32 = 12;
/// Calls in a window below which a ratio says nothing.
const MIN_CALLS: u64 = 20;
/// Failed calls in a window below which nobody is woken.
const MIN_ERRORS: u64 = 5;
/// Deviations above the baseline: the field report's for log bursts.
pub(super) const THRESHOLD: f64 = 4.0;
/// A spike is at least twice the baseline's ratio.
const TIMES: f64 = 2.0;
/// Calls in a window below which its slow end says nothing: two and a half beyond the quantile.
const MIN_TIMED: u64 = 50;
/// The quantile whose excess is tested.
const QUANTILE: f64 = 0.95;
/// How much slower the quantile must have become.
const SLOWER: f64 = 1.5;
/// Trace ids that an event carries, and the longest that is kept.
const EXEMPLARS: usize = 5;
const LONGEST_ID: usize = 64;

/// What is counted in one minute.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Minute {
    calls: u64,
    errors: u64,
    durations: Sketch,
    /// The newest failed traces.
    failed: VecDeque<String>,
    /// The slowest, in microseconds.
    slow: Vec<(u64, String)>,
}

impl Minute {
    pub(super) fn add(&mut self, span: &SpanRecord) {
        self.calls += 1;
        self.durations.add(span.duration);
        let id = aiops_core::text::clip(&span.trace_id, LONGEST_ID);
        if span.error {
            self.errors += 1;
        }
        if id.is_empty() {
            return;
        }
        self.slow.push((u64::try_from(span.duration.as_micros()).unwrap_or(u64::MAX), id.clone()));
        self.slow.sort_by(|left, right| right.cmp(left));
        self.slow.truncate(EXEMPLARS);
        if span.error {
            self.failed.push_back(id);
            if self.failed.len() > EXEMPLARS {
                self.failed.pop_front();
            }
        }
    }
}

/// A window that fires, with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Firing {
    /// The minute in which the first window of the spike starts.
    pub(super) start: u32,
    pub(super) value: f64,
    pub(super) expected: f64,
    pub(super) z: f64,
    pub(super) calls: u64,
    pub(super) exemplars: Vec<String>,
}

/// What is seen of a rule.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Seen {
    /// No window yet.
    #[default]
    Nothing,
    Warming(u64),
    /// Too few calls to say anything.
    FewCalls,
    Normal,
    Firing(Firing),
}

/// A rule's held windows, in a row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Held {
    run: u32,
    since: Option<u32>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Operation {
    minutes: [Minute; WINDOW_MINUTES as usize],
    /// (calls, errors) of windows with calls that did not fire.
    windows: VecDeque<(u64, u64)>,
    errors_held: Held,
    /// The errors of the windows that are held out.
    held_windows: Vec<(u64, u64)>,
    /// Durations of windows that did not fire: of the day before, and of this day.
    durations: [Sketch; 2],
    timed_windows: u64,
    latency_held: Held,
    held_durations: Sketch,
    /// The newest minute with a call.
    pub(super) last_call: u32,
    #[serde(skip)]
    pub(super) errors: Seen,
    #[serde(skip)]
    pub(super) latency: Seen,
}

impl Operation {
    pub(super) fn is_sound(&self) -> bool {
        let sketches = self.minutes.iter().map(|minute| &minute.durations).chain(&self.durations);
        let counts = self.windows.iter().chain(&self.held_windows);
        sketches.chain([&self.held_durations]).all(Sketch::is_sound)
            && self.windows.len() <= HISTORY
            && self.held_windows.len() <= LEVEL_SHIFT as usize
            && counts.clone().all(|(calls, errors)| errors <= calls && *calls <= u64::from(u32::MAX))
    }

    /// Takes a minute; with `whole` the five up to it are known.
    pub(super) fn minute(&mut self, minute: u32, counted: Minute, whole: bool) {
        if counted.calls > 0 {
            self.last_call = minute;
        }
        self.minutes[(minute % WINDOW_MINUTES) as usize] = counted;
        if !whole {
            return;
        }
        let start = minute + 1 - WINDOW_MINUTES;
        self.errors = self.judge_errors(start);
        self.latency = self.judge_latency(start);
        let mark = |held: &mut Held, seen: &Seen| match seen {
            Seen::Firing(firing) => held.since = Some(firing.start),
            Seen::Normal => held.since = None,
            _ => {}
        };
        mark(&mut self.errors_held, &self.errors);
        mark(&mut self.latency_held, &self.latency);
        if (minute + 1).is_multiple_of(WINDOW_MINUTES) {
            self.close(minute);
        }
    }

    fn sum(&self) -> (u64, u64) {
        self.minutes.iter().fold((0, 0), |(calls, errors), minute| (calls + minute.calls, errors + minute.errors))
    }

    fn recent(&self) -> Sketch {
        let mut recent = Sketch::default();
        self.minutes.iter().for_each(|minute| recent.merge(&minute.durations));
        recent
    }

    fn usual(&self) -> Sketch {
        let mut usual = self.durations[0].clone();
        usual.merge(&self.durations[1]);
        usual
    }

    /// Two proportions with a pooled variance: the window's share of failed calls and the baseline's, to
    /// which half a failure in one call more is added (so that none in a few is not never).
    fn judge_errors(&self, start: u32) -> Seen {
        let (calls, errors) = self.sum();
        let n = self.windows.len() as u64;
        match () {
            () if calls == 0 => return Seen::FewCalls,
            () if n < MIN_WINDOWS => return Seen::Warming(n),
            () if errors < MIN_ERRORS => return Seen::Normal,
            () if calls < MIN_CALLS => return Seen::FewCalls,
            () => {}
        }
        let (before, failed) = self.windows.iter().fold((0, 0), |(c, e), (calls, errors)| (c + calls, e + errors));
        let (before, failed) = (before as f64 + 1.0, failed as f64 + 0.5);
        let (value, expected) = (errors as f64 / calls as f64, failed / before);
        let z = two_proportions((errors as f64, calls as f64), (failed, before));
        if z <= THRESHOLD || value < TIMES * expected {
            return Seen::Normal;
        }
        let start = self.errors_held.since.unwrap_or(start);
        let exemplars = self.minutes.iter().flat_map(|minute| &minute.failed).take(EXEMPLARS).cloned().collect();
        Seen::Firing(Firing { start, value, expected, z, calls, exemplars })
    }

    /// The window's share of calls slower than the baseline's quantile, against the baseline's own.
    fn judge_latency(&self, start: u32) -> Seen {
        let (recent, usual) = (self.recent(), self.usual());
        match () {
            () if recent.count() == 0 => return Seen::FewCalls,
            () if self.timed_windows < MIN_WINDOWS => return Seen::Warming(self.timed_windows),
            () if recent.count() < MIN_TIMED => return Seen::FewCalls,
            () => {}
        }
        let shares = recent.above(&usual, QUANTILE).zip(recent.quantile(QUANTILE)).zip(usual.quantile(QUANTILE));
        let Some((((slow, usually), value), expected)) = shares else { return Seen::FewCalls };
        let z =
            two_proportions((slow as f64, recent.count() as f64), (usually as f64 + 0.5, usual.count() as f64 + 1.0));
        if z <= THRESHOLD || value < SLOWER * expected {
            return Seen::Normal;
        }
        let start = self.latency_held.since.unwrap_or(start);
        let mut slowest: Vec<_> = self.minutes.iter().flat_map(|minute| &minute.slow).collect();
        slowest.sort_by(|left, right| right.cmp(left));
        let exemplars = slowest.into_iter().take(EXEMPLARS).map(|(_, id)| id.clone()).collect();
        Seen::Firing(Firing { start, value, expected, z, calls: recent.count(), exemplars })
    }

    /// Takes a whole window into the baselines, or holds it out.
    fn close(&mut self, minute: u32) {
        let (calls, errors) = self.sum();
        if calls == 0 {
            return;
        }
        let window = (calls.min(u64::from(u32::MAX)), errors.min(u64::from(u32::MAX)));
        if matches!(self.errors, Seen::Firing(_)) {
            self.errors_held.run += 1;
            self.held_windows.push(window);
            if self.errors_held.run >= LEVEL_SHIFT {
                self.windows = self.held_windows.drain(..).collect();
                self.errors_held = Held::default();
            }
        } else {
            self.errors_held.run = 0;
            self.held_windows.clear();
            self.windows.push_back(window);
            if self.windows.len() > HISTORY {
                self.windows.pop_front();
            }
        }
        let recent = self.recent();
        if matches!(self.latency, Seen::Firing(_)) {
            self.latency_held.run += 1;
            self.held_durations.merge(&recent);
            if self.latency_held.run >= LEVEL_SHIFT {
                self.durations = [Sketch::default(), std::mem::take(&mut self.held_durations)];
                self.latency_held = Held::default();
            }
        } else {
            self.latency_held.run = 0;
            self.held_durations = Sketch::default();
            self.durations[1].merge(&recent);
            self.timed_windows = self.timed_windows.saturating_add(1);
        }
        if (minute + 1).is_multiple_of(WINDOW_MINUTES * HISTORY as u32) {
            self.durations.rotate_left(1);
            self.durations[1] = Sketch::default();
        }
    }
}

/// z of the first share above the second, each as (of them, all): the variance is that of the pooled
/// share (any text book, say NIST/SEMATECH e-Handbook, 7.3.3). 0 where it has no spread.
fn two_proportions(first: (f64, f64), second: (f64, f64)) -> f64 {
    let pooled = (first.0 + second.0) / (first.1 + second.1);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / first.1 + 1.0 / second.1)).sqrt();
    if deviation > 0.0 { (first.0 / first.1 - second.0 / second.1) / deviation } else { 0.0 }
}
