//! The slow half: a history on a regular grid, and the model fitted to it.

use augurs_core::Fit;
use augurs_mstl::MSTLModel;
use augurs_mstl::stlrs::{MstlParams, StlParams};
use serde::{Deserialize, Serialize};

const DAY: i64 = 86_400;
/// A day and a week, in seconds.
const PERIODS: [i64; 2] = [DAY, 7 * DAY];
/// Whole periods that a season needs; LOESS over one would give the noise back.
const CYCLES: usize = 2;
/// Share of the slots that must hold a sample: what was filled in must not be most of the model.
const FEWEST_FILLED: f64 = 0.5;
/// Rounds that lower the weight of outliers (the R function `stl` makes 15 of them when asked for a
/// robust fit): two, since each costs as much as the fit itself.
const ROBUST_ROUNDS: usize = 2;

/// A series on a regular grid: what [`Mstl`](super::Mstl) fits its model to.
///
/// It owns its numbers, so that a host can fit it on another thread while the scorer goes on.
#[derive(Debug, Clone)]
pub struct MstlHistory {
    /// Seconds of a slot.
    pub(super) step: i64,
    /// Slots since the epoch, of the newest.
    pub(super) end: i64,
    /// Oldest first; NaN where nothing was sampled.
    pub(super) values: Vec<f64>,
}

/// A model of trend and seasons, as of the end of its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MstlFit {
    step: i64,
    end: i64,
    /// The trend at the end.
    level: f64,
    /// For each period its last cycle; the first of it follows the end.
    seasons: Vec<Vec<f64>>,
}

/// Why a model could not be fitted; the scorer keeps the one that it has.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MstlError {
    /// Less than two days of history, or a step of more than twelve hours and less than two weeks.
    #[error("history has {slots} slots, two days are {wanted}")]
    #[non_exhaustive]
    TooShort {
        /// Slots of the history.
        slots: usize,
        /// Slots that the shortest season needs.
        wanted: usize,
    },
    /// Most of the history holds no sample.
    #[error("history holds samples in {filled} of {slots} slots, less than half")]
    #[non_exhaustive]
    TooSparse {
        /// Slots with a sample.
        filled: usize,
        /// Slots of the history.
        slots: usize,
    },
    /// The decomposition failed.
    #[error("decomposing {slots} slots: {reason}")]
    #[non_exhaustive]
    Model {
        /// Slots of the history.
        slots: usize,
        /// What the model said.
        reason: String,
    },
}

impl MstlHistory {
    /// Slots of each season that the step can show.
    pub(super) fn periods(step: i64) -> Vec<usize> {
        PERIODS.iter().map(|period| ((period + step / 2) / step) as usize).filter(|period| *period >= 2).collect()
    }

    /// Decomposes the history into trend, seasons and rest. On one core, in a release build, 2 ms for six
    /// weeks of hours and 46 ms for three weeks of five minutes: nothing for the thread of a reactor.
    ///
    /// # Errors
    /// [`MstlError`]: too short, too sparse, or the decomposition failed.
    pub fn fit(&self) -> Result<MstlFit, MstlError> {
        let slots = self.values.len();
        let mut periods = Self::periods(self.step);
        let wanted = CYCLES * periods.first().copied().unwrap_or(usize::MAX / CYCLES);
        periods.retain(|period| CYCLES * period <= slots);
        if periods.is_empty() {
            return Err(MstlError::TooShort { slots, wanted });
        }
        let filled = self.values.iter().filter(|value| value.is_finite()).count();
        if (filled as f64) < FEWEST_FILLED * slots as f64 {
            return Err(MstlError::TooSparse { filled, slots });
        }
        // Decomposed as `f32`: about the middle, in units of the largest distance from it.
        let values = filled_in(&self.values);
        let middle = {
            let mut sorted = values.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            sorted[slots / 2]
        };
        // Halves, so that a difference of the two largest numbers is one.
        let unit = values.iter().map(|value| (value / 2.0 - middle / 2.0).abs()).fold(0.0, f64::max);
        let unit = if unit > 0.0 { unit } else { 1.0 };
        let scaled: Vec<f64> = values.iter().map(|value| (value / 2.0 - middle / 2.0) / unit).collect();

        let mut stl = StlParams::new();
        stl.robust(true).outer_loops(ROBUST_ROUNDS);
        let mut parameters = MstlParams::new();
        parameters.stl_params(stl);
        let model = MSTLModel::naive(periods.clone()).mstl_params(parameters);
        let failed = |reason: String| MstlError::Model { slots, reason };
        let fitted = model.fit(&scaled).map_err(|error| failed(error.to_string()))?;
        let parts = fitted.fit();
        let back = |x: &f32| 2.0 * (f64::from(*x) * unit);
        let level = parts.trend().last().map(back).unwrap_or_default() + middle;
        let cycles = parts.seasonal().iter().zip(&periods);
        let seasons: Vec<Vec<f64>> =
            cycles.map(|(season, period)| season[slots - period..].iter().map(back).collect()).collect();
        if !level.is_finite() || seasons.iter().flatten().any(|x| !x.is_finite()) {
            return Err(failed("it gave numbers that are not finite".to_owned()));
        }
        Ok(MstlFit { step: self.step, end: self.end, level, seasons })
    }
}

impl MstlFit {
    pub(super) fn step(&self) -> i64 {
        self.step
    }

    /// Trend and seasons in this slot.
    pub(super) fn expected(&self, slot: i64) -> f64 {
        let ahead = slot.saturating_sub(self.end).saturating_sub(1);
        let season = |cycle: &Vec<f64>| cycle.get(ahead.rem_euclid(cycle.len().max(1) as i64) as usize).copied();
        self.seasons.iter().filter_map(season).fold(self.level, |sum, x| sum + x)
    }

    pub(super) fn numbers(&self) -> usize {
        self.seasons.iter().map(Vec::len).sum()
    }
}

/// Straight lines over gaps, the nearest value at both ends; finite.
fn filled_in(values: &[f64]) -> Vec<f64> {
    let mut filled = values.to_vec();
    let mut before: Option<(usize, f64)> = None;
    for (index, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
        let (from, start) = before.map_or((0, *value), |(from, start)| (from + 1, start));
        let width = (index - from + 1) as f64;
        for (step, slot) in filled[from..index].iter_mut().enumerate() {
            let share = (step + 1) as f64 / width;
            *slot = start * (1.0 - share) + value * share;
        }
        before = Some((index, *value));
    }
    let (from, end) = before.map_or((0, 0.0), |(index, value)| (index + 1, value));
    filled[from..].fill(end);
    filled
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn history(values: Vec<f64>) -> MstlHistory {
        MstlHistory { step: 3_600, end: 999, values }
    }

    fn wave(slot: usize) -> f64 {
        1_000.0 + 10.0 * (TAU * slot as f64 / 24.0).sin() + 0.1 * slot as f64
    }

    #[test]
    fn a_gap_is_a_straight_line() {
        let gaps = [f64::NAN, 1.0, f64::NAN, f64::NAN, 4.0, 5.0, f64::NAN];
        assert_eq!(filled_in(&gaps), [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0]);
        assert_eq!(filled_in(&[f64::NAN; 2]), [0.0, 0.0]);
        assert!(filled_in(&[f64::MAX, f64::NAN, f64::MIN]).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn trend_and_season_go_on_after_the_end() {
        let mut values: Vec<f64> = (0..240).map(wave).collect();
        values[100..110].fill(f64::NAN);
        let fit = history(values).fit().unwrap();
        for ahead in 1..24 {
            let (expected, wanted) = (fit.expected(999 + ahead), wave(239 + ahead as usize));
            assert!((expected - wanted).abs() < 3.0, "{ahead}: {expected}, wanted {wanted}");
        }
    }

    #[test]
    fn what_cannot_be_fitted_says_why() {
        assert_eq!(history(vec![1.0; 47]).fit(), Err(MstlError::TooShort { slots: 47, wanted: 48 }));
        let mut sparse = vec![f64::NAN; 96];
        sparse[..40].fill(1.0);
        assert_eq!(history(sparse).fit(), Err(MstlError::TooSparse { filled: 40, slots: 96 }));
        let fit = history(vec![5.0; 48]).fit().unwrap();
        assert!((fit.expected(1_005) - 5.0).abs() < 1e-9);
    }
}
