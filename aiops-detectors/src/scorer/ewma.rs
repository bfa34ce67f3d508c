//! The distance from an exponentially weighted mean, in exponentially weighted deviations.

use std::time::Duration;

use aiops_core::{DataState, time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    LARGEST_DEVIATION, MIN_SAMPLES, RELATIVE_FLOOR, Score, Scorer, ScorerStateError, refused, restore, save, spread,
};

/// The age at which a sample counts half: an hour, the field report's window.
const DEFAULT_HALF_LIFE: Duration = Duration::from_secs(3_600);

/// Exponentially weighted mean and variance: a few numbers for each series, however fast it samples.
///
/// A sample's weight halves with each half-life of time, not with each sample, so that gaps and irregular
/// sampling weigh as long as they last. Every value enters the baseline, also a strange one. Mean and
/// variance are updated as in T. Finch, "Incremental calculation of weighted mean and variance" (2009),
/// equations 124 and 143. Default threshold: 4.
#[derive(Debug, Clone)]
pub struct Ewma {
    half_life: Duration,
    min_samples: u64,
    relative_floor: f64,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    last: Option<Timestamp>,
    mean: f64,
    variance: f64,
    n: u64,
}

impl Default for Ewma {
    fn default() -> Self {
        Self::new(DEFAULT_HALF_LIFE)
    }
}

impl Ewma {
    /// A baseline in which a sample of age `half_life` counts half (at least a second).
    #[must_use]
    pub fn new(half_life: Duration) -> Self {
        Self {
            half_life: half_life.max(Duration::from_secs(1)),
            min_samples: MIN_SAMPLES as u64,
            relative_floor: RELATIVE_FLOOR,
            state: State::default(),
        }
    }

    /// Samples before anything is scored; at least 2.
    #[must_use]
    pub fn min_samples(mut self, min_samples: u64) -> Self {
        self.min_samples = min_samples.max(2);
        self
    }

    /// Smallest spread as a share of the mean; negative or NaN counts as 0.
    #[must_use]
    pub fn relative_floor(mut self, share: f64) -> Self {
        self.relative_floor = super::share(share);
        self
    }

    fn learn(&mut self, at: Timestamp, value: f64) {
        let State { last, mean, variance, n } = self.state;
        self.state.last = Some(at);
        self.state.n = n.saturating_add(1);
        let Some(last) = last else {
            (self.state.mean, self.state.variance) = (value, 0.0);
            return;
        };
        let age = time::since(at, last).as_secs_f64() / self.half_life.as_secs_f64();
        // While there are few samples each weighs as in a plain mean, or the first would weigh for hours.
        #[allow(clippy::cast_precision_loss)] // Below a half-life's samples.
        let weight = (1.0 - (-age).exp2()).max(1.0 / (n.min(1 << 20) as f64 + 1.0));
        let deviation = (value - mean).clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION);
        self.state.mean = mean + weight * deviation;
        self.state.variance = (1.0 - weight) * (variance + weight * deviation * deviation);
    }
}

impl Scorer for Ewma {
    fn name(&self) -> &'static str {
        "ewma"
    }

    fn default_threshold(&self) -> f64 {
        4.0
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        if refused(self.state.last, at, value) {
            return Score::none(value, DataState::Error);
        }
        let State { mean, variance, n, .. } = self.state;
        let score = if n < self.min_samples {
            Score::none(value, DataState::Warming { n, of: self.min_samples })
        } else {
            let spread = spread(variance.max(0.0).sqrt(), mean, self.relative_floor);
            Score::against(value, mean, spread, self.default_threshold(), n)
        };
        self.learn(at, value);
        score
    }

    fn save(&self) -> Vec<u8> {
        save(self.name(), &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        self.state = restore::<State>(self.name(), bytes)?;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self { state: State::default(), ..*self })
    }

    fn window(&self) -> Option<Duration> {
        Some(self.half_life)
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
        crate::testing::check_scorer(&Ewma::default()).unwrap();
        crate::testing::check_scorer(&Ewma::new(Duration::from_secs(60)).min_samples(2).relative_floor(0.0)).unwrap();
    }

    #[test]
    fn the_first_samples_make_a_plain_mean_and_variance() {
        let mut scorer = Ewma::new(Duration::from_secs(1_000_000)).min_samples(4).relative_floor(0.0);
        for (second, value) in (0..).zip([2.0, 4.0, 4.0, 6.0]) {
            scorer.observe(at(second), value);
        }
        // Mean 4, variance 2 over these four.
        let score = scorer.observe(at(5), 4.0 + 3.0 * 2.0_f64.sqrt());
        assert!((score.statistic - 3.0).abs() < 1e-9, "{}", score.statistic);
        assert_eq!(score.expected, Some(4.0));
    }

    #[test]
    fn weight_goes_by_time_and_not_by_samples() {
        // A new level for ten half-lives is the expectation, whether it came in 10 or in 600 samples.
        for step in [60, 3_600] {
            let mut scorer = Ewma::default();
            for index in 0..100 {
                scorer.observe(at(index * 3_600), if index % 2 == 0 { 9.0 } else { 11.0 });
            }
            let from = 100 * 3_600;
            let mut second = from;
            while second < from + 36_000 {
                scorer.observe(at(second), 50.0);
                second += step;
            }
            let expected = scorer.observe(at(second), 50.0).expected.unwrap();
            assert!((expected - 50.0).abs() < 0.1, "every {step} s: {expected}");
        }
    }

    #[test]
    fn a_spike_stands_out_and_extreme_values_stay_finite() {
        let mut scorer = Ewma::default();
        for index in 0..100 {
            scorer.observe(at(index * 30), 10.0 + f64::from(u8::try_from(index % 3).unwrap()));
        }
        assert!(scorer.observe(at(4_000), 30.0).statistic > 4.0);
        for (index, value) in [f64::MAX, f64::MIN, 0.0, f64::MAX].into_iter().enumerate() {
            let score = scorer.observe(at(5_000 + i64::try_from(index).unwrap()), value);
            assert!(score.statistic.is_finite() && score.surprise.is_finite());
        }
    }
}
