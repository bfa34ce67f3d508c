//! Bursts of counts: one series, windows of five minutes of event time, a verdict for each.

pub(crate) mod board;
mod counter;
mod history;
pub(crate) mod report;
mod tail;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::counter::CounterIncrements;
use self::history::{History, Sums};
use crate::scorer::{ScorerStateError, restore, save};

/// Seconds of a window (field report, section 4).
pub const BURST_WINDOW_SECONDS: u32 = 300;
/// Windows of a day.
const DAY: u32 = 86_400 / BURST_WINDOW_SECONDS;
/// Days of which the same time is compared: a week holds each weekday once.
const DAYS: u32 = 7;
/// Windows on each side that count as the same time of day: a quarter of an hour.
const AROUND: u32 = 3;
/// Below so many windows at the same time of day their dispersion is taken from half an hour instead.
const FEW_WINDOWS: u64 = 28;
/// Windows that are kept: what the oldest comparison reaches back to.
const KEPT: u32 = DAY * DAYS + 2 * AROUND;
/// Windows without which nothing is said: half an hour.
const MIN_WINDOWS: u64 = 6;
/// The count that must be exceeded: "matters more than the statistical threshold" (field report).
const FLOOR: u64 = 10;
/// A burst is at least so many times the baseline.
const TIMES: f64 = 2.0;
/// `-log10` of the tail probability below which a window fires: 1e-5.
const DECADES: f64 = 5.0;
/// What is taken off for counts that come in groups (dispersion of 2 and more): their tail is already that
/// of an estimated dispersion, wider than that of the counts. Found by the burst simulation.
const GROUPED: f64 = 2.0;
const GROUPED_LESS: f64 = 0.5;
/// The same for a window that is not aligned: there are four of them beside each aligned one, and they
/// share its counts, so each gets less than a quarter.
const SLIDING_DECADES: f64 = 6.0;
/// Windows in a row that make a burst a level: one hour.
const LEVEL_SHIFT: u32 = 12;
/// Windows of the new level that the baseline is raised to, for a day.
const LEVEL_WINDOWS: u64 = 12;
/// `-log10` of the tail probability, and times the baseline, from which a burst is critical.
const CRITICAL_DECADES: f64 = 12.0;
const CRITICAL_TIMES: f64 = 10.0;
/// What the saved bytes say they are.
const NAME: &str = "burst_test";

/// What is to be said of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BurstState {
    /// Too few known windows to say anything.
    Learning,
    /// The window is not judged: it is the first after a gap, or is not known.
    Unknown,
    /// No burst.
    Normal,
    /// A burst. The window is held out of the baseline.
    Burst,
    /// The last window of an hour of bursts: from here on it is the level, and all of them count.
    LevelShift,
}

/// The verdict on one window, with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BurstVerdict {
    /// What is to be said.
    pub state: BurstState,
    /// Its count.
    pub count: u64,
    /// The count that was expected; 0 while nothing is known.
    pub expected: f64,
    /// Standard deviation of the expectation.
    pub deviation: f64,
    /// Decades of surprise: `-log10` of the probability of at least this count. 0 where the count is no
    /// more than ten or less than twice the expectation, since it is not computed there.
    pub surprise: f64,
    /// The surprise from which such a window fires.
    pub threshold: f64,
    /// Windows behind the expectation.
    pub n: u64,
}

impl BurstVerdict {
    fn of(state: BurstState, count: u64) -> Self {
        Self { state, count, expected: 0.0, deviation: 0.0, surprise: 0.0, threshold: DECADES, n: 0 }
    }

    /// Whether the window is part of a burst.
    #[must_use]
    pub fn fires(&self) -> bool {
        matches!(self.state, BurstState::Burst | BurstState::LevelShift)
    }

    /// Whether the burst is critical: less likely than 1e-12 and ten times the expectation.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        self.fires() && self.surprise > CRITICAL_DECADES && self.count as f64 >= CRITICAL_TIMES * self.expected
    }

    /// Deviations above the expectation.
    #[must_use]
    pub fn z(&self) -> f64 {
        if self.deviation > 0.0 { (self.count as f64 - self.expected) / self.deviation } else { 0.0 }
    }
}

/// What a window's count is compared with.
#[derive(Debug, Clone, Copy)]
struct Baseline {
    mean: f64,
    dispersion: f64,
    n: u64,
}

/// Judges the counts of one series, window by window.
///
/// A window fires when its count exceeds ten, is at least twice the baseline, and has a probability
/// below 1e-5 under a negative binomial with the baseline's mean and dispersion (10^-4.5 where that
/// dispersion is 2 or more). The baseline is the
/// same quarter of an hour of the last seven days once that is known (at least six windows), else the
/// last day. Windows that fired are held out of it; twelve in a row are a new level and are taken back.
///
/// Windows are numbered by `unix seconds / 300` and told in order. A window that is left out is unknown.
/// After more than one unknown window the next is not judged, since a backlog may stand in it.
///
/// ```
/// use aiops_detectors::BurstTest;
/// let mut test = BurstTest::default();
/// for window in 0..30 {
///     assert!(!test.observe(window, 2).fires());
/// }
/// assert!(test.observe(30, 12).fires(), "2 every five minutes, then 12");
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BurstTest {
    history: History,
    /// First window of the accepted level, and the window of its acceptance.
    level: Option<(u32, u32)>,
    /// The newest window that was corrected: each is corrected once.
    amended: Option<u32>,
}

impl BurstTest {
    /// Judges the next window and takes it into the history. A window that is known already goes through
    /// [`amend`](Self::amend), or is unknown.
    pub fn observe(&mut self, window: u32, count: u64) -> BurstVerdict {
        if let Some(next) = self.history.next() {
            if window < next {
                return self.amend(window, count).unwrap_or(BurstVerdict::of(BurstState::Unknown, count));
            }
            let gap = window - next;
            self.history.skip(window, KEPT);
            if gap > 1 {
                self.history.skip(window.saturating_add(1), KEPT);
                return BurstVerdict::of(BurstState::Unknown, count);
            }
        }
        if window == u32::MAX {
            return BurstVerdict::of(BurstState::Unknown, count);
        }
        let verdict = self.judge(count, self.baseline(window, window), DECADES);
        self.history.push(window, count, verdict.fires(), KEPT);
        self.held(window, verdict)
    }

    /// Lines that came late: judges a known window again with its new count, which must be larger. Each
    /// window once, in order; none for one that is unknown, is no larger, or had its turn.
    pub fn amend(&mut self, window: u32, count: u64) -> Option<BurstVerdict> {
        let (before, held) = self.history.at(window)?;
        if count <= before || self.amended.is_some_and(|amended| window <= amended) {
            return None;
        }
        self.amended = Some(window);
        let verdict = self.judge(count, self.baseline(window, window), DECADES);
        // A window that fired stays so: its count only rose.
        self.history.put(window, count, held || verdict.fires());
        Some(if held { verdict } else { self.held(window, verdict) })
    }

    /// Judges five minutes that begin `minute` (1 to 4) minutes into the last known window and reach into
    /// the one after it. Changes nothing.
    #[must_use]
    pub fn sliding(&self, minute: u32, count: u64) -> BurstVerdict {
        let Some(last) = self.history.next().and_then(|next| next.checked_sub(1)) else {
            return BurstVerdict::of(BurstState::Learning, count);
        };
        if self.history.at(last).is_none() {
            // The backlog that kept that window from being judged is in this one too.
            return BurstVerdict::of(BurstState::Unknown, count);
        }
        if count <= FLOOR {
            return BurstVerdict { threshold: SLIDING_DECADES, ..BurstVerdict::of(BurstState::Normal, count) };
        }
        // Neither half is judged by itself.
        let (left, right) = (self.baseline(last, last), self.baseline(last + 1, last));
        let share = f64::from(minute.min(5)) / 5.0;
        let baseline = Baseline {
            mean: left.mean * (1.0 - share) + right.mean * share,
            dispersion: left.dispersion.max(right.dispersion),
            n: left.n.min(right.n),
        };
        self.judge(count, baseline, SLIDING_DECADES)
    }

    /// Adds the counts of another series over the same windows: two kinds of lines are one.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.history.absorb(&other.history);
        self.level = self.level.max(other.level);
        self.amended = self.amended.max(other.amended);
    }

    /// Whether all that is known is zeros: such a series need not be kept.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.history.is_silent()
    }

    /// Bytes that it holds, itself and the heap.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.history.heap()
    }

    /// The state as versioned bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        save(NAME, self)
    }

    /// Takes saved state back, in place of what is known now.
    ///
    /// # Errors
    /// Bytes that do not read, of another version, or that no test can have saved: it stays as it was.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let saved: Self = restore(NAME, bytes)?;
        if !saved.is_sound() {
            return Err(ScorerStateError { scorer: NAME, source: "its windows are not in order".into() });
        }
        *self = saved;
        Ok(())
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.history.is_sound(KEPT)
    }

    /// Windows that count towards the first verdict, and how many it takes.
    pub(crate) fn learnt(&self) -> (u64, u64) {
        let next = self.history.next().unwrap_or(0);
        (self.history.sums(next.saturating_sub(DAY), next).n.min(MIN_WINDOWS), MIN_WINDOWS)
    }

    /// The baseline of a window, of what was known before `before`.
    fn baseline(&self, window: u32, before: u32) -> Baseline {
        let mut known = self.same_time(window, AROUND);
        let (mut dispersion, mut raised) = (known.dispersion(), 0.0);
        if known.n >= MIN_WINDOWS {
            if known.n < FEW_WINDOWS {
                dispersion = self.same_time(window, 2 * AROUND).dispersion();
            }
            // A sharp daily step or job stays silent, and the noise of a few windows raises nothing: one
            // standard error is taken off.
            let exact = self.same_time(window, 0);
            let error = (dispersion * exact.mean() / exact.n.max(1) as f64).sqrt();
            raised = known.mean().max(exact.mean() - error);
        } else {
            let since = self.level.map_or(0, |(first, _)| first);
            known = self.history.sums(before.saturating_sub(DAY).max(since), before);
            dispersion = known.dispersion();
        }
        // Half a line in one window more (Jeffreys' prior of a Poisson rate) keeps silence above zero.
        let mean = (known.sum as f64 + 0.5) / (known.n as f64 + 1.0);
        let mean = mean.max(raised).max(self.level_mean(window, before));
        Baseline { mean, dispersion, n: known.n }
    }

    /// The windows at the same time of day, give or take `around`.
    fn same_time(&self, window: u32, around: u32) -> Sums {
        let mut sums = Sums::default();
        for day in 1..=DAYS {
            let Some(same) = window.checked_sub(DAY * day) else { break };
            sums.add(self.history.sums(same.saturating_sub(around), same + around + 1));
        }
        sums
    }

    /// Mean of the newest hour that counts, for a day after a level was accepted; else 0.
    fn level_mean(&self, window: u32, before: u32) -> f64 {
        if self.level.is_none_or(|(_, accepted)| window > accepted.saturating_add(DAY)) {
            return 0.0;
        }
        let mut newest = Sums::default();
        for earlier in (before.saturating_sub(DAY)..before).rev() {
            newest.add(self.history.sums(earlier, earlier + 1));
            if newest.n == LEVEL_WINDOWS {
                break;
            }
        }
        newest.mean()
    }

    fn judge(&self, count: u64, baseline: Baseline, threshold: f64) -> BurstVerdict {
        let Baseline { mean, dispersion, n } = baseline;
        let threshold = if dispersion >= GROUPED { threshold - GROUPED_LESS } else { threshold };
        // The expectation itself is known from n windows only.
        let variance = mean * dispersion * (1.0 + 1.0 / (n as f64 + 1.0));
        let large = count > FLOOR && count as f64 >= TIMES * mean;
        let surprise = if large { tail::decades(count, mean, variance) } else { 0.0 };
        let state = match () {
            () if n < MIN_WINDOWS => BurstState::Learning,
            () if surprise > threshold => BurstState::Burst,
            () => BurstState::Normal,
        };
        BurstVerdict { state, count, expected: mean, deviation: variance.sqrt(), surprise, threshold, n }
    }

    /// Makes the last of an hour of held windows a level.
    fn held(&mut self, window: u32, mut verdict: BurstVerdict) -> BurstVerdict {
        if !verdict.fires() {
            return verdict;
        }
        let (mut run, mut first) = (0, window);
        for earlier in (window.saturating_sub(DAY)..=window).rev() {
            match self.history.at(earlier) {
                Some((_, true)) => (run, first) = (run + 1, earlier),
                Some((_, false)) => break,
                None => {}
            }
            if run == LEVEL_SHIFT {
                break;
            }
        }
        if run == LEVEL_SHIFT {
            (first..=window).for_each(|window| self.history.readmit(window));
            self.level = Some((first, window));
            verdict.state = BurstState::LevelShift;
        }
        verdict
    }
}
