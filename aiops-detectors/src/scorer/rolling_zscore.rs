//! The distance from the mean of the newest samples, in their standard deviations.

use std::time::Duration;

use aiops_core::DataState;
use jiff::Timestamp;

use super::samples::{Samples, nanos};
use super::{MIN_SAMPLES, RELATIVE_FLOOR, Score, Scorer, ScorerStateError, spread};

/// The oldest sample that the baseline takes: a week, so that hourly samples fill it too.
const DEFAULT_WINDOW: Duration = Duration::from_secs(7 * 86_400);
/// Samples that are kept at the most: an hour of 10 s, a day and a quarter of five minutes.
const DEFAULT_CAPACITY: usize = 360;

/// Mean and sample standard deviation of the newest samples.
///
/// Every value enters the baseline, also a strange one, so that a long anomaly becomes the norm after a
/// window; where that must not be, take [`Mad`](super::Mad). Both are computed anew for each value: sums
/// that are carried along drift. Default threshold: 3.
#[derive(Debug, Clone)]
pub struct RollingZScore {
    /// Nanoseconds.
    window: i64,
    capacity: usize,
    min_samples: usize,
    relative_floor: f64,
    samples: Samples,
}

impl Default for RollingZScore {
    fn default() -> Self {
        Self::new(DEFAULT_WINDOW)
    }
}

impl RollingZScore {
    /// A baseline of the samples that are no older than `window` (at most a hundred years), at most the newest 360 of them.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            window: nanos(window),
            capacity: DEFAULT_CAPACITY,
            min_samples: MIN_SAMPLES,
            relative_floor: RELATIVE_FLOOR,
            samples: Samples::default(),
        }
    }

    /// Samples that are kept at the most (at least 2).
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity.max(2);
        self.min_samples = self.min_samples.min(self.capacity);
        self
    }

    /// Samples before anything is scored; from 2 to the capacity.
    #[must_use]
    pub fn min_samples(mut self, min_samples: usize) -> Self {
        self.min_samples = min_samples.clamp(2, self.capacity);
        self
    }

    /// Smallest spread as a share of the mean; negative or NaN counts as 0.
    #[must_use]
    pub fn relative_floor(mut self, share: f64) -> Self {
        self.relative_floor = super::share(share);
        self
    }
}

impl Scorer for RollingZScore {
    fn name(&self) -> &'static str {
        "rolling_zscore"
    }

    fn default_threshold(&self) -> f64 {
        3.0
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        let Some(place) = self.samples.admit(at, value) else {
            return Score::none(value, DataState::Error);
        };
        let from = place.saturating_sub(self.window);
        while self.samples.oldest().is_some_and(|oldest| oldest < from) {
            self.samples.forget_oldest();
        }
        let n = self.samples.len();
        let score = if n < self.min_samples {
            Score::none(value, DataState::Warming { n: n as u64, of: self.min_samples as u64 })
        } else {
            let (mean, squares) = self.samples.moments(n);
            let spread = spread((squares / (n as f64 - 1.0)).sqrt(), mean, self.relative_floor);
            Score::against(value, mean, spread, self.default_threshold(), n as u64)
        };
        self.samples.make_room(self.capacity, self.name());
        self.samples.push(place, value, self.capacity);
        score
    }

    fn save(&self) -> Vec<u8> {
        self.samples.save(self.name())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        self.samples = Samples::restore(self.name(), bytes, self.capacity)?;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.samples.heap_bytes()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self { samples: Samples::default(), ..*self })
    }

    fn window(&self) -> Option<Duration> {
        Some(self.samples.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn passes_the_conformance_suite() {
        crate::testing::check_scorer(&RollingZScore::default()).unwrap();
        let small = RollingZScore::new(Duration::from_secs(900)).capacity(5).min_samples(2).relative_floor(0.0);
        crate::testing::check_scorer(&small).unwrap();
    }

    #[test]
    fn the_statistic_is_the_textbooks() {
        let mut scorer = RollingZScore::default().min_samples(8).relative_floor(0.0);
        for (index, value) in (0..).zip([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) {
            scorer.observe(at(index), value);
        }
        // Mean 5, sum of squares 32, sample deviation sqrt(32 / 7).
        let score = scorer.observe(at(10), 5.0 + 2.0 * (32.0_f64 / 7.0).sqrt());
        assert!((score.statistic - 2.0).abs() < 1e-9, "{}", score.statistic);
        assert_eq!((score.expected, score.n), (Some(5.0), 8));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut scorer = RollingZScore::new(Duration::from_secs(300)).min_samples(2);
        for second in 0..10 {
            scorer.observe(at(second * 30), 1.0);
        }
        let score = scorer.observe(at(10_000), 1.0);
        assert_eq!(score.state, DataState::Warming { n: 0, of: 2 });
    }

    #[test]
    fn huge_values_stay_finite() {
        let mut scorer = RollingZScore::default().min_samples(2);
        for (index, value) in (0..).zip([f64::MAX, f64::MAX, f64::MIN, 0.0, f64::MAX, 1.0]) {
            let score = scorer.observe(at(index), value);
            assert!(score.statistic.is_finite() && score.surprise.is_finite(), "{value}: {score:?}");
        }
    }
}
