//! The field report's rule: the distance from the same hour a day ago, in standard deviations.

use std::time::Duration;

use aiops_core::DataState;
use jiff::Timestamp;

use super::samples::{Samples, nanos};
use super::{Score, Scorer, ScorerStateError};

/// Samples kept at the most: 25 hours at one sample in 15 s and some to spare.
const MAX_SAMPLES: usize = 8_192;
/// Spread below which a window counts as flat, as a share of the value's size: rounding noise of a
/// constant must not become a huge score.
const FLAT: f64 = 1e-9;

/// `(x - avg_over_time(x[1h] offset 1d)) / stddev_over_time(x[1h] offset 1d)` (field report, section
/// 1.1), by timestamp: the baseline is what was measured in `(at - offset - window, at - offset]`.
///
/// The deviation is that of the population, as in Prometheus. A flat window gives a finite score, held
/// at one million. Default threshold: 3.
#[derive(Debug, Clone)]
pub struct SeasonalZScore {
    /// Nanoseconds, as is the offset.
    window: i64,
    offset: i64,
    min_samples: usize,
    /// The mark stands at the end of the window, from where the search for it goes on. It is not saved: it is
    /// found again.
    samples: Samples,
}

impl Default for SeasonalZScore {
    /// One hour, one day ago.
    fn default() -> Self {
        Self::new(Duration::from_secs(3_600), Duration::from_secs(86_400))
    }
}

impl SeasonalZScore {
    /// A baseline of `window`, `offset` ago; each at most a hundred years.
    #[must_use]
    pub fn new(window: Duration, offset: Duration) -> Self {
        Self { window: nanos(window), offset: nanos(offset), min_samples: 2, samples: Samples::default() }
    }

    /// Samples that the baseline needs; at least 2, since one has no deviation.
    #[must_use]
    pub fn min_samples(mut self, min_samples: usize) -> Self {
        self.min_samples = min_samples.max(2);
        self
    }

    /// Moves the window to where it stands for a value at `place`; the samples in it.
    fn slide(&mut self, place: i64) -> usize {
        let to = place.saturating_sub(self.offset);
        let from = to.saturating_sub(self.window);
        while self.samples.oldest().is_some_and(|oldest| oldest <= from) {
            self.samples.forget_oldest();
        }
        self.samples.mark_through(to)
    }
}

impl Scorer for SeasonalZScore {
    fn name(&self) -> &'static str {
        "seasonal_zscore"
    }

    fn default_threshold(&self) -> f64 {
        3.0
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        let Some(place) = self.samples.admit(at, value) else {
            return Score::none(value, DataState::Error);
        };
        let n = self.slide(place);
        let score = if n < self.min_samples {
            Score::none(value, DataState::Warming { n: n as u64, of: self.min_samples as u64 })
        } else {
            let (mean, squares) = self.samples.moments(n);
            let floor = FLAT * mean.abs().max(value.abs()) + f64::MIN_POSITIVE;
            let spread = (squares / n as f64).sqrt().max(floor).min(f64::MAX);
            Score::against(value, mean, spread, self.default_threshold(), n as u64)
        };
        self.samples.make_room(MAX_SAMPLES, self.name());
        self.samples.push(place, value, MAX_SAMPLES);
        score
    }

    fn save(&self) -> Vec<u8> {
        self.samples.save(self.name())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        self.samples = Samples::restore(self.name(), bytes, MAX_SAMPLES)?;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.samples.heap_bytes()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self { samples: Samples::default(), ..*self })
    }

    fn window(&self) -> Option<Duration> {
        Some(Duration::from_nanos(self.window.unsigned_abs()))
    }

    fn prefetch(&self) {
        self.samples.prefetch_marked();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn passes_the_conformance_suite() {
        crate::testing::check_scorer(&SeasonalZScore::default()).unwrap();
    }

    #[test]
    fn warms_for_a_day_and_says_so() {
        let mut scorer = SeasonalZScore::default();
        assert_eq!(scorer.observe(at(0), 1.0).state, DataState::Warming { n: 0, of: 2 });
        scorer.observe(at(300), 3.0);
        let score = scorer.observe(at(86_400 + 300), 8.0);
        assert_eq!((score.expected, score.statistic, score.n), (Some(2.0), 6.0, 2));
    }

    proptest! {
        #[test]
        fn equals_the_rule_written_out(
            steps in prop::collection::vec((1i64..900, -100.0f64..100.0), 1..400)
        ) {
            let (window, offset) = (600, 3_000);
            let mut scorer = SeasonalZScore::new(Duration::from_secs(600), Duration::from_secs(3_000));
            let mut seen: Vec<(i64, f64)> = Vec::new();
            let mut now = 0;
            for (step, value) in steps {
                now += step;
                let score = scorer.observe(at(now), value);
                let base: Vec<f64> = seen.iter().filter(|(t, _)| now - offset - window < *t && *t <= now - offset).map(|(_, x)| *x).collect();
                seen.push((now, value));
                if base.len() < 2 {
                    prop_assert_eq!(score.statistic, 0.0);
                    continue;
                }
                let n = base.len() as f64;
                let mean = base.iter().sum::<f64>() / n;
                let sd = (base.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
                let wanted = ((value - mean) / sd.max(1e-12)).clamp(-1e6, 1e6);
                prop_assert!((score.statistic - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{} {}", score.statistic, wanted);
            }
        }
    }
}
