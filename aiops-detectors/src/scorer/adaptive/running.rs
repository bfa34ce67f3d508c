//! The scorer once it knows the unit of its series.

use std::time::Duration;

use aiops_core::{Band, BoxError, DataState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::local::{LOCAL, Local, Predictor};
use super::season::{SavedSeason, Season, Usual};
use super::surprise::{Past, SavedPast, Tail};
use super::{Constant, THRESHOLD, WARM_UP};
use crate::scorer::Score;

const VIEWS: usize = 4;
/// The places of the views.
const SEASON: usize = 1;
const SHORT_MEAN: usize = 3;

/// Seasonal residuals in the short mean: a shift of half a tail shows in eight.
const SHORT: usize = 8;
/// The past that a view judges by: three weeks, so that each weekday has been there...
const MEMORY_SECONDS: f64 = 21.0 * 86_400.0;
/// ...but a 99.8th percentile wants hundreds of residuals, and no more than thousands.
const MEMORY: (f64, f64) = (600.0, 6_000.0);
/// Time in which the bar after an alert falls by a factor of e: half a day...
const BAR_SECONDS: f64 = 43_200.0;
/// ...in samples at least and at the most.
const BAR: (f64, f64) = (10.0, 150.0);

/// A distance of less than this share of the spread is never strange: smooth series have tiny residuals.
const FLOOR_OF_SPREAD: f64 = 0.1;
/// Nor is one within the rounding of what 64 bit inputs were computed from, as a share of their size...
const INPUT_ROUNDING: f64 = 1e-9;
/// ...and of the season's 32 bit numbers.
const TABLE_ROUNDING: f64 = 1e-6;
/// Samples of the slow level and spread.
const SLOW: f64 = 1_000.0;
/// A distance enters the spread at most so many times as large.
const SPREAD_LARGEST: f64 = 5.0;

/// Largest magnitude of a value in the series' own unit.
const LARGEST: f64 = 1e30;
/// Smallest unit as a share of the offset.
const SMALLEST_UNIT: f64 = 1e-12;

/// All numbers in it are in the series' own unit, from its own offset: `(value - offset) / unit`.
#[derive(Debug, Clone)]
pub(super) struct Running {
    state: State,
    pasts: [Past; VIEWS],
    season: Season,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct State {
    offset: f64,
    unit: f64,
    /// Seconds between samples.
    step: f64,
    count: u64,
    last: f64,
    last_second: f64,
    /// What was usual at the last sample.
    last_usual: Usual,
    /// Slow level, and mean distance from it.
    level: f64,
    spread: f64,
    /// Surprise that the next alert must exceed.
    bar: f64,
    local: Local,
    predictor: Predictor,
    /// The last seasonal residuals, as a ring.
    short: [f64; SHORT],
    shorts: usize,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedRunning {
    state: State,
    pasts: [SavedPast; VIEWS],
    season: SavedSeason,
}

impl Running {
    /// From the first samples, which are not all equal: their median is the offset, their mean distance
    /// from it the unit.
    pub(super) fn after_warm_up(samples: &[(Timestamp, f64)], step: f64) -> Self {
        let mut values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let offset = f64::midpoint(values[(n - 1) / 2], values[n / 2]);
        // Divided before they are added: no overflow.
        let unit: f64 = values.iter().map(|value| (value / n as f64 - offset / n as f64).abs()).sum();
        let mut running = Self::new(offset, unit, step, n as u64);
        for (at, value) in samples {
            let y = running.state.in_units(*value);
            running.state.local.push(y);
            running.season.learn(at.as_second(), y);
            (running.state.last, running.state.last_second) = (y, seconds(*at));
        }
        running
    }

    /// When a series that was constant shows another value: that change is the unit. However long it was
    /// constant, it counts as a warm-up's samples, so that the past is soon that of the series as it is now.
    pub(super) fn after_constant(constant: Constant, value: f64) -> Self {
        let unit = (value / 2.0 - constant.value / 2.0).abs().min(f64::MAX / 2.0) * 2.0;
        let mut running = Self::new(constant.value, unit, constant.step, WARM_UP as u64);
        running.state.spread = 0.0;
        running.pasts = std::array::from_fn(|_| Past::zeros(WARM_UP as u16));
        for _ in 0..LOCAL {
            running.state.local.push(0.0);
        }
        running
    }

    fn new(offset: f64, unit: f64, step: f64, count: u64) -> Self {
        let smallest = (offset.abs() * SMALLEST_UNIT).max(f64::MIN_POSITIVE);
        let state = State {
            offset,
            unit: unit.clamp(smallest, f64::MAX),
            step: step.max(1e-9),
            count,
            last: 0.0,
            last_second: f64::MIN,
            last_usual: Usual::default(),
            level: 0.0,
            spread: 1.0,
            bar: 0.0,
            local: Local::default(),
            predictor: Predictor::default(),
            short: [0.0; SHORT],
            shorts: 0,
        };
        Self { state, pasts: Default::default(), season: Season::new(step) }
    }

    pub(super) fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        let second = at.as_second();
        let y = self.state.in_units(value);
        let usual = self.season.usual(second);
        let residuals = self.state.residuals(y, usual);
        let floor = self.state.floor();
        let memory = self.state.memory() as u32;

        let mut judged: [(f64, Option<Tail>); VIEWS] = [(0.0, None); VIEWS];
        for ((past, residual), judged) in self.pasts.iter_mut().zip(residuals).zip(&mut judged) {
            *judged = past.observe(residual.abs(), floor, memory);
        }
        let view = second_largest(judged.map(|(decades, _)| decades));
        let (surprise, tail) = judged[view];
        let barred = self.state.barred(surprise, seconds(at));

        // The short mean is no distance of this value from anything: its sign counts, not its size.
        let distance = residuals[if view == SHORT_MEAN { SEASON } else { view }];
        let sign = if residuals[view] < 0.0 { -1.0 } else { 1.0 };
        let expected = self.state.in_values(y - distance);
        let band = tail.and_then(|tail| {
            let reach = tail.residual_at(THRESHOLD);
            let (low, high) =
                (self.state.in_values(y - distance - reach)?, self.state.in_values(y - distance + reach)?);
            Some(Band { low, high })
        });
        let score = Score {
            surprise,
            statistic: sign * barred,
            persisting: sign * surprise,
            value,
            expected,
            band,
            state: DataState::Ok,
            n: self.state.count,
        };
        self.state.learn(y, usual, seconds(at));
        self.season.learn(second, y);
        score
    }

    /// The time of the samples by which a view judges.
    pub(super) fn window(&self) -> Duration {
        let seconds = self.state.memory().min(self.state.count as f64) * self.state.step;
        Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX)
    }

    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.season.size_bytes()
    }

    pub(super) fn save(&self) -> SavedRunning {
        SavedRunning { state: self.state, pasts: self.pasts.each_ref().map(Past::save), season: self.season.save() }
    }

    pub(super) fn restore(saved: SavedRunning) -> Result<Self, BoxError> {
        if !saved.state.is_sound() {
            return Err("its numbers are those of no series".into());
        }
        let [a, b, c, d] = saved.pasts.map(Past::restore);
        Ok(Self { state: saved.state, pasts: [a?, b?, c?, d?], season: Season::restore(saved.season)? })
    }
}

impl State {
    /// Whether a series can give these numbers.
    fn is_sound(&self) -> bool {
        let Usual { day, week } = self.last_usual;
        let usual = [day, week].map(Option::unwrap_or_default);
        let in_units = [self.last, self.level, self.spread].into_iter().chain(self.short).chain(usual);
        // Distances are up to twice a value, and 32 bit numbers round up.
        in_units.into_iter().all(|y| y.abs() <= 4.0 * LARGEST)
            && [self.offset, self.unit, self.step, self.last_second, self.bar].iter().all(|number| number.is_finite())
            && self.unit > 0.0
            && self.step > 0.0
            && self.spread >= 0.0
            && self.shorts <= SHORT * 2
            && self.predictor.is_sound()
            && self.local.is_sound(LARGEST)
    }

    fn in_units(&self, value: f64) -> f64 {
        // Halved before they are subtracted: no overflow.
        ((value / 2.0 - self.offset / 2.0) / self.unit * 2.0).clamp(-LARGEST, LARGEST)
    }

    fn in_values(&self, y: f64) -> Option<f64> {
        let value = self.offset + y * self.unit;
        value.is_finite().then_some(value)
    }

    /// The signed distances of a value by the four views.
    fn residuals(&mut self, y: f64, usual: Usual) -> [f64; VIEWS] {
        let median = self.local.median().unwrap_or(y);
        let local = y - median;
        let seasonal = usual.nearer(y).map_or(local, |usual| y - usual);
        // What the season's step since the last sample makes of it.
        let of_week = match (usual.week, self.last_usual.week) {
            (Some(now), Some(before)) => Some((now - before, (self.last - before).abs())),
            _ => None,
        };
        let of_day = match (usual.day, self.last_usual.day) {
            (Some(now), Some(before)) => Some((now - before, (self.last - before).abs())),
            _ => None,
        };
        let season_step = match (of_day, of_week) {
            (Some(day), Some(week)) => {
                if week.1 < day.1 {
                    week.0
                } else {
                    day.0
                }
            }
            (one, other) => one.or(other).map_or(0.0, |(step, _)| step),
        };
        let predicted = self.predictor.residual([self.last, median, season_step], y);
        self.short[self.shorts % SHORT] = seasonal;
        self.shorts = if self.shorts + 1 == 2 * SHORT { SHORT } else { self.shorts + 1 };
        let known = self.shorts.min(SHORT);
        let short_mean = self.short[..known].iter().sum::<f64>() / known as f64;
        let mut residuals = [local, seasonal, predicted, short_mean];
        for residual in &mut residuals {
            *residual = residual.clamp(-LARGEST, LARGEST);
        }
        residuals
    }

    /// Samples by which a view judges.
    fn memory(&self) -> f64 {
        (MEMORY_SECONDS / self.step).clamp(MEMORY.0, MEMORY.1)
    }

    fn floor(&self) -> f64 {
        let size = self.offset.abs() / self.unit + self.level.abs();
        FLOOR_OF_SPREAD * self.spread + INPUT_ROUNDING * size + TABLE_ROUNDING * self.level.abs() + f64::MIN_POSITIVE
    }

    /// The surprise if it is above the bar, else 0; raises the bar.
    fn barred(&mut self, surprise: f64, second: f64) -> f64 {
        let fall = (BAR_SECONDS / self.step).clamp(BAR.0, BAR.1) * self.step;
        self.bar *= (-(second - self.last_second) / fall).exp();
        let barred = if surprise > self.bar { surprise } else { 0.0 };
        self.bar = self.bar.max(surprise);
        barred
    }

    fn learn(&mut self, y: f64, usual: Usual, second: f64) {
        self.local.push(y);
        (self.last, self.last_second, self.last_usual) = (y, second, usual);
        self.count = self.count.saturating_add(1);
        let weight = 1.0 / (self.count as f64).min(SLOW);
        let distance = (y - self.level).abs();
        // A spread of nothing (after a constant) takes what comes.
        let distance = if self.spread > 0.0 { distance.min(SPREAD_LARGEST * self.spread) } else { distance };
        self.level += weight * (y - self.level).clamp(-distance, distance);
        self.spread += weight * (distance - self.spread);
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// The place of the second largest; with ties, the later place.
fn second_largest(decades: [f64; VIEWS]) -> usize {
    let (mut first, mut second) = if decades[1] > decades[0] { (1, 0) } else { (0, 1) };
    for place in 2..VIEWS {
        if decades[place] > decades[first] {
            (first, second) = (place, first);
        } else if decades[place] >= decades[second] {
            second = place;
        }
    }
    second
}
