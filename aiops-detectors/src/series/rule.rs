//! When a score is worth telling.

use std::time::Duration;

use aiops_core::Severity;

use crate::scorer::Score;

/// Which side of the expectation is an anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Above.
    #[default]
    Up,
    /// Below.
    Down,
    /// Either.
    Both,
}

/// All conditions must hold for a sample to fire.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SeriesRule {
    /// The statistic that must be exceeded, in the scorer's own measure.
    pub threshold: f64,
    /// For how long the conditions must hold (Prometheus' `for`).
    pub for_duration: Duration,
    /// Which side is an anomaly.
    pub direction: Direction,
    /// The value's magnitude must exceed this absolute minimum.
    pub floor: f64,
    /// Smallest distance from the expectation, in the value's unit.
    pub min_change: f64,
    /// Smallest distance from the expectation, as a share of it.
    pub min_relative_change: f64,
    /// A firing series goes on firing down to `threshold * (1 - hysteresis)`.
    pub hysteresis: f64,
    /// The severity of an event.
    pub severity: Severity,
    /// Score ÷ threshold from which it is critical; none = never.
    pub critical_at: Option<f64>,
    /// Labels whose values make series separate identities, as in the host's identity scheme.
    pub identity_labels: Vec<String>,
}

impl SeriesRule {
    /// Whether the conditions hold for one score, where they `held` for the one before or not, and may be
    /// `firing` by it.
    pub(super) fn holds(&self, score: &Score, held: bool, firing: bool) -> bool {
        let Some(expected) = score.expected else { return false };
        let statistic = if held { score.persisting } else { score.statistic };
        let side = match self.direction {
            Direction::Up => statistic,
            Direction::Down => -statistic,
            Direction::Both => statistic.abs(),
        };
        let threshold = if firing { self.threshold * (1.0 - self.hysteresis) } else { self.threshold };
        let change = (score.value - expected).abs();
        // A drop to nothing must pass the floor by what was expected, not by what is left.
        let size = score.value.abs().max(if statistic < 0.0 { expected.abs() } else { 0.0 });
        side > threshold
            && (self.floor <= 0.0 || size > self.floor)
            && change >= self.min_change
            && change >= self.min_relative_change * expected.abs()
    }
}
