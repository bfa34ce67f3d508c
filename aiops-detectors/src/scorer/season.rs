//! What a series does at this time of the day and of the week, in a fixed number of bytes.

use std::time::Duration;

use aiops_core::time;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::residuals::{NORMAL, Residuals};
use super::spread;

const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;

/// Phases of the day: five minutes each, the usual step of a recording rule.
const DAY_PHASES: usize = 288;
/// Days that a phase remembers: a working week, of which the median is a working day's on each weekday.
const DAYS: usize = 5;
/// Phases of the week: a quarter of an hour each, so that both tables stay below 16 KiB.
const WEEK_PHASES: usize = 672;
/// Weeks that a phase remembers: the fewest whose median one bad week does not move.
const WEEKS: usize = 3;
/// The time that the tables reach back.
pub(super) const REMEMBERED: Duration = Duration::from_secs(WEEKS as u64 * 7 * 86_400);
/// Phases to either side that are read as well: jobs start late, and a median of more values is calmer.
const NEIGHBOURS: i64 = 1;
/// Clocks that the series may go by: summer time moves a day by an hour either way.
const CLOCKS: [i64; 3] = [0, -3_600, 3_600];
/// Values behind a median: fewer than two say nothing about what is usual.
const MIN_VALUES: usize = 2;

/// Weight of a sample in its phase's spread: the newest ten or so.
const PHASE_WEIGHT: f64 = 0.1;
/// A phase counts as no calmer than this share of the series: ten values make no sure spread.
const CALMEST: f64 = 0.5;
/// Beyond this a value is held: the tables are of `f32`.
const LARGEST_CENTRE: f64 = 1e38;

/// The usual value and spread for each phase of the day and of the week (UTC), from a fixed-size state.
///
/// The centre is the median of the last days (or weeks) at this phase and its neighbours, by the clock of
/// summer or winter, whichever is nearest to the value: a value is strange only where it fits none. A
/// level that drifts away from all of them is followed over a day.
#[derive(Debug, Clone)]
pub(super) struct Season {
    day: Table<DAYS>,
    week: Table<WEEKS>,
    /// Mean absolute residual for each phase of the day; NaN where there was none.
    phase_spread: Box<[f32]>,
    numbers: Numbers,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Numbers {
    last: Option<Timestamp>,
    residuals: Residuals,
}

/// What a value is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) centre: f64,
    /// A standard deviation, wider where the series has heavy tails.
    pub(super) spread: f64,
    /// The same without that.
    pub(super) core: f64,
    phase: usize,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedSeason {
    day: SavedTable,
    week: SavedTable,
    phase_spread: Vec<Option<f32>>,
    numbers: Numbers,
}

impl Season {
    pub(super) fn new() -> Self {
        Self {
            day: Table::new(DAY, DAY_PHASES),
            week: Table::new(WEEK, WEEK_PHASES),
            phase_spread: vec![f32::NAN; DAY_PHASES].into(),
            numbers: Numbers { last: None, residuals: Residuals::new() },
        }
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        self.numbers.last
    }

    /// Residuals that the spread comes from.
    pub(super) fn n(&self) -> u64 {
        self.numbers.residuals.n
    }

    /// What is usual at this time; none while this phase was not seen often enough.
    pub(super) fn expect(&self, at: Timestamp, value: f64, relative_floor: f64) -> Option<Expected> {
        let second = at.as_second();
        let mut nearest: Option<f64> = None;
        for clock in CLOCKS {
            for centre in [self.day.centre(second + clock), self.week.centre(second + clock)].into_iter().flatten() {
                let centre = centre + self.numbers.residuals.drift;
                if nearest.is_none_or(|other| (value - centre).abs() < (value - other).abs()) {
                    nearest = Some(centre);
                }
            }
        }
        let centre = nearest?;
        let phase = self.day.phase(second, 0);
        let around = (-NEIGHBOURS..=NEIGHBOURS).map(|by| f64::from(self.phase_spread[self.day.phase(second, by)]));
        let (sum, n) = around.filter(|x| x.is_finite()).fold((0.0, 0.0), |(sum, n), x| (sum + x, n + 1.0));
        let series = self.numbers.residuals.spread;
        let own = if n > 0.0 { sum / n } else { series };
        let core = spread(NORMAL * own.max(CALMEST * series), centre, relative_floor);
        let spread = (core * self.numbers.residuals.heavier()).min(f64::MAX);
        Some(Expected { centre, spread, core, phase })
    }

    /// Learns a value that was held against `expected`.
    pub(super) fn learn(&mut self, at: Timestamp, value: f64, expected: Option<Expected>) {
        if let Some(Expected { centre, core, phase, .. }) = expected {
            let age = self.numbers.last.map_or(0.0, |last| time::since(at, last).as_secs_f64());
            let size = self.numbers.residuals.learn(age, value - centre, core);
            let own = &mut self.phase_spread[phase];
            let before = if own.is_finite() { f64::from(*own) } else { self.numbers.residuals.spread };
            *own = (before + PHASE_WEIGHT * (size - before)).min(LARGEST_CENTRE) as f32;
        }
        let held = value.clamp(-LARGEST_CENTRE, LARGEST_CENTRE);
        self.day.learn(at.as_second(), held);
        self.week.learn(at.as_second(), held);
        self.numbers.last = Some(at);
    }

    pub(super) fn save(&self) -> SavedSeason {
        SavedSeason {
            day: self.day.save(),
            week: self.week.save(),
            phase_spread: options(&self.phase_spread),
            numbers: self.numbers,
        }
    }

    pub(super) fn restore(saved: SavedSeason) -> Result<Self, aiops_core::BoxError> {
        let mut season = Self::new();
        season.day.restore(saved.day)?;
        season.week.restore(saved.week)?;
        season.phase_spread = floats("phase_spread", saved.phase_spread, DAY_PHASES)?;
        season.numbers = saved.numbers;
        Ok(season)
    }

    /// Bytes that are not in the struct itself.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.day.values.len() + self.week.values.len() + self.phase_spread.len()) * size_of::<f32>()
    }
}

/// The newest `K` visits of each phase of a period.
#[derive(Debug, Clone)]
struct Table<const K: usize> {
    period: i64,
    /// Seconds of a phase.
    width: i64,
    /// The visits of a phase stand together; which one is oldest follows from the time. NaN for none.
    values: Box<[f32]>,
    /// The phase that the series is in.
    visit: Option<Visit>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Visit {
    /// Phases since the epoch.
    index: i64,
    mean: f64,
    n: u32,
}

#[derive(Serialize, Deserialize)]
struct SavedTable {
    values: Vec<Option<f32>>,
    visit: Option<Visit>,
}

impl<const K: usize> Table<K> {
    fn new(period: i64, phases: usize) -> Self {
        Self { period, width: period / phases as i64, values: vec![f32::NAN; phases * K].into(), visit: None }
    }

    fn phase(&self, second: i64, by: i64) -> usize {
        ((second + by * self.width).rem_euclid(self.period) / self.width) as usize
    }

    /// Median of what was seen here and next to it.
    fn centre(&self, second: i64) -> Option<f64> {
        let mut seen = [0.0_f32; 64];
        let mut n = 0;
        for by in -NEIGHBOURS..=NEIGHBOURS {
            let from = self.phase(second, by) * K;
            for value in self.values[from..from + K].iter().filter(|value| value.is_finite()) {
                seen[n] = *value;
                n += 1;
            }
        }
        if n < MIN_VALUES {
            return None;
        }
        let seen = &mut seen[..n];
        seen.sort_unstable_by(f32::total_cmp);
        Some((f64::from(seen[(n - 1) / 2]) + f64::from(seen[n / 2])) / 2.0)
    }

    /// The mean of a visit is kept when the next one begins: what is in the tables came before.
    fn learn(&mut self, second: i64, value: f64) {
        let index = second.div_euclid(self.width);
        match &mut self.visit {
            Some(visit) if visit.index == index => {
                visit.n = visit.n.saturating_add(1);
                visit.mean += (value - visit.mean) / f64::from(visit.n);
            }
            visit => {
                if let Some(done) = visit.replace(Visit { index, mean: value, n: 1 }) {
                    let begin = done.index * self.width;
                    let slot = begin.div_euclid(self.period).rem_euclid(K as i64) as usize;
                    let phase = (begin.rem_euclid(self.period) / self.width) as usize;
                    self.values[phase * K + slot] = done.mean as f32;
                }
            }
        }
    }

    fn save(&self) -> SavedTable {
        SavedTable { values: options(&self.values), visit: self.visit }
    }

    fn restore(&mut self, saved: SavedTable) -> Result<(), aiops_core::BoxError> {
        let values = floats("values", saved.values, self.values.len())?;
        let held = |visit: &Visit| {
            visit.n > 0 && visit.mean.abs() <= LARGEST_CENTRE && visit.index.checked_mul(self.width).is_some()
        };
        if !saved.visit.iter().all(held) {
            return Err("the phase that it is in is none".into());
        }
        (self.values, self.visit) = (values, saved.visit);
        Ok(())
    }
}

/// JSON has no NaN.
fn options(values: &[f32]) -> Vec<Option<f32>> {
    values.iter().map(|value| value.is_finite().then_some(*value)).collect()
}

fn floats(field: &str, values: Vec<Option<f32>>, wanted: usize) -> Result<Box<[f32]>, aiops_core::BoxError> {
    if values.len() != wanted {
        return Err(format!("{field} has {} numbers, wanted {wanted}", values.len()).into());
    }
    Ok(values.into_iter().map(|value| value.unwrap_or(f32::NAN)).collect())
}
