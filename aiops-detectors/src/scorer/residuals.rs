//! What is left of a series after what is expected: its size, its lasting part, its tails.

use serde::{Deserialize, Serialize};

use super::LARGEST_DEVIATION;

/// Seconds after which half of a lasting difference counts as the level: a day, as the season's own step.
const DRIFT_HALF_LIFE: f64 = 86_400.0;
/// Deviations of one sample that move the level at the most.
const DRIFT_CLIP: f64 = 3.0;
/// Deviations that one sample adds to the spread at the most.
const SPREAD_CLIP: f64 = 8.0;
/// Weight of a sample in the spread: the newest thousand or so.
const WEIGHT: f64 = 0.001;
/// Makes a mean absolute deviation of normal data its standard deviation: sqrt(pi / 2).
pub(super) const NORMAL: f64 = 1.253_314_137_315_5;

/// The quantile of the series' own standardised residuals that is followed, and that of normal data.
const TAIL: f64 = 0.995;
const NORMAL_TAIL: f64 = 2.807;
/// How fast it is followed: a share of itself for one sample beyond it.
const TAIL_RATE: f64 = 0.1;
/// Faster in a young series, as a mean of few values moves faster: twice that at so many samples.
const TAIL_YOUNG: f64 = 2_000.0;
/// A tail is no heavier than this: 36 decades of a deviation are as good as none.
const LARGEST_TAIL: f64 = 1e38;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Residuals {
    /// Mean absolute residual.
    pub(super) spread: f64,
    /// The lasting part, which belongs to the level.
    pub(super) drift: f64,
    /// Of absolute standardised residuals.
    tail: f64,
    /// Residuals so far.
    pub(super) n: u64,
}

impl Residuals {
    pub(super) fn new() -> Self {
        Self { spread: 0.0, drift: 0.0, tail: NORMAL_TAIL, n: 0 }
    }

    /// How much heavier than normal the tails are.
    pub(super) fn heavier(&self) -> f64 {
        (self.tail / NORMAL_TAIL).max(1.0)
    }

    /// Learns a residual of deviation `core`, `age` seconds after the last one; its size as it counts in
    /// a spread.
    pub(super) fn learn(&mut self, age: f64, residual: f64, core: f64) -> f64 {
        let residual = residual.clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION);
        let first = self.n == 0;
        // The very first says how large residuals are at all: it has nothing to be clipped by.
        let size = if first { residual.abs() } else { residual.abs().min(SPREAD_CLIP * core * self.heavier()) };
        self.spread += WEIGHT.max(1.0 / (self.n as f64 + 1.0)) * (size - self.spread);

        let weight = 1.0 - (-age / DRIFT_HALF_LIFE).exp2();
        self.drift += weight * residual.clamp(-DRIFT_CLIP * core, DRIFT_CLIP * core);

        // Moves up by the share of the samples that should stay below, down by the other: rests where
        // just that many do.
        let beyond = residual.abs() > self.tail * core;
        let rate = (TAIL_RATE * (1.0 + TAIL_YOUNG / (self.n as f64 + 1.0))).min(1.0);
        let step = if beyond { rate * TAIL } else { -rate * (1.0 - TAIL) };
        self.tail = (self.tail * step.exp()).clamp(NORMAL_TAIL, LARGEST_TAIL);
        self.n = self.n.saturating_add(1);
        size
    }
}
