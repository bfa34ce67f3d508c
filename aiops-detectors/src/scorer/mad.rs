//! The distance from the median, in median absolute deviations.

use std::time::Duration;

use aiops_core::DataState;
use jiff::Timestamp;

use super::middle::Middle;
use super::samples::{Samples, nanos};
use super::{MIN_SAMPLES, RELATIVE_FLOOR, Score, Scorer, ScorerStateError, spread};

/// Makes the MAD of normal data its standard deviation: 1 / Phi^-1(3/4).
const NORMAL: f64 = 1.482_602_218_505_602;
/// Samples of a baseline unless the host says otherwise: a day of five minutes.
const DEFAULT_CAPACITY: usize = 288;

/// Median and median absolute deviation of the newest samples; robust to a third of bad ones.
///
/// Every value enters the baseline, also a strange one: half the window must be strange before the
/// median moves. The spread is at least `relative_floor` of the median, so that a MAD of 0 gives a
/// finite score, which is held at one million. Default threshold: 6.
#[derive(Debug, Clone)]
pub struct Mad {
    capacity: usize,
    /// Nanoseconds.
    window: Option<i64>,
    min_samples: usize,
    relative_floor: f64,
    samples: Samples,
    /// Of the same values.
    middle: Middle,
    ahead: Ahead,
}

/// The oldest values, read some at a time: where series are many, what leaves a window is in no cache, and so
/// only each eighth value waits for it.
#[derive(Debug, Clone, Copy, Default)]
struct Ahead {
    values: [f64; 8],
    /// Which of these is the oldest now, and how many there are.
    next: usize,
    known: usize,
}

impl Ahead {
    /// Takes the oldest value of `samples`, which is forgotten there.
    fn take(&mut self, samples: &mut Samples) -> Option<f64> {
        if self.next >= self.known {
            (self.next, self.known) = (0, samples.len().min(self.values.len()));
            for (value, sample) in self.values.iter_mut().zip(samples.values()) {
                *value = sample;
            }
        }
        let value = (self.next < self.known).then(|| self.values[self.next]);
        self.next += 1;
        samples.forget_oldest();
        value
    }
}

impl Default for Mad {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl Mad {
    /// A baseline of the newest `capacity` samples (at least 2).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(2);
        Self {
            capacity,
            window: None,
            min_samples: MIN_SAMPLES.min(capacity),
            relative_floor: RELATIVE_FLOOR,
            samples: Samples::default(),
            middle: Middle::of(0),
            ahead: Ahead::default(),
        }
    }

    /// Forgets samples older than this as well (at most a hundred years).
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = Some(nanos(window));
        self
    }

    /// Samples before anything is scored; from 2 to the capacity.
    #[must_use]
    pub fn min_samples(mut self, min_samples: usize) -> Self {
        self.min_samples = min_samples.clamp(2, self.capacity);
        self
    }

    /// Smallest spread as a share of the median; negative or NaN counts as 0.
    #[must_use]
    pub fn relative_floor(mut self, share: f64) -> Self {
        self.relative_floor = super::share(share);
        self
    }
}

impl Mad {
    fn forget_oldest(&mut self) {
        if let Some(value) = self.ahead.take(&mut self.samples) {
            self.middle.remove(value);
        }
    }
}

impl Scorer for Mad {
    fn name(&self) -> &'static str {
        "mad"
    }

    fn default_threshold(&self) -> f64 {
        6.0
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        // 0 and -0 are one value, also where values are sorted.
        let value = value + 0.0;
        let Some(place) = self.samples.admit(at, value) else {
            return Score::none(value, DataState::Error);
        };
        if let Some(window) = self.window {
            let from = place.saturating_sub(window);
            while self.samples.oldest().is_some_and(|oldest| oldest < from) {
                self.forget_oldest();
            }
        }
        let n = self.middle.len();
        let score = if n < self.min_samples {
            Score::none(value, DataState::Warming { n: n as u64, of: self.min_samples as u64 })
        } else {
            let (median, deviation) = self.middle.look(|| self.samples.values());
            let spread = spread(NORMAL * deviation, median, self.relative_floor);
            Score::against(value, median, spread, self.default_threshold(), n as u64)
        };
        if n == self.capacity {
            self.forget_oldest();
        }
        self.middle.insert(value);
        self.samples.push(place, value, self.capacity);
        score
    }

    fn save(&self) -> Vec<u8> {
        self.samples.save(self.name())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        self.samples = Samples::restore(self.name(), bytes, self.capacity)?;
        (self.middle, self.ahead) = (Middle::of(self.samples.len()), Ahead::default());
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.samples.heap_bytes()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self { samples: Samples::default(), middle: Middle::of(0), ahead: Ahead::default(), ..*self })
    }

    fn window(&self) -> Option<Duration> {
        Some(self.samples.span())
    }

    fn prefetch(&self) {
        self.middle.prefetch();
        self.samples.prefetch(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(index: i64) -> Timestamp {
        Timestamp::from_second(index * 300).unwrap()
    }

    fn score_all(scorer: &mut dyn Scorer, values: &[f64]) -> Vec<f64> {
        values.iter().zip(0..).map(|(value, index)| scorer.observe(at(index), *value).statistic).collect()
    }

    fn middle(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        if n % 2 == 1 { values[n / 2] } else { values[n / 2 - 1] / 2.0 + values[n / 2] / 2.0 }
    }

    #[test]
    fn passes_the_conformance_suite() {
        crate::testing::check_scorer(&Mad::default()).unwrap();
        crate::testing::check_scorer(&Mad::new(5).window(Duration::from_secs(900)).relative_floor(0.0)).unwrap();
    }

    #[test]
    fn a_step_to_a_tenth_in_a_ramp_of_forty_points_is_found() {
        // Row 25 of the user reports.
        let mut values: Vec<f64> = (0..40).map(|index| 100.0 + f64::from(index)).collect();
        values.push(13.9);
        let statistics = score_all(&mut Mad::default(), &values);
        assert!(statistics[40] < -6.0, "{}", statistics[40]);
        assert!(statistics[..40].iter().all(|statistic| statistic.abs() < 6.0));
    }

    #[test]
    fn a_flat_series_gives_finite_scores() {
        // Row 30: a deviation of 0 is neither infinite nor blind.
        let mut values = vec![100.0; 40];
        values.push(97.0);
        assert!((score_all(&mut Mad::default(), &values)[40] + 3.0).abs() < 1e-9);
        let mut zeros = vec![0.0; 40];
        zeros.push(1.0);
        assert_eq!(score_all(&mut Mad::default(), &zeros)[40], super::super::LARGEST);
    }

    proptest! {
        #[test]
        fn equals_the_definition_written_out(values in prop::collection::vec(-1e3f64..1e3, 3..120), capacity in 2usize..40) {
            let mut scorer = Mad::new(capacity).min_samples(2).relative_floor(0.0);
            let statistics = score_all(&mut scorer, &values);
            for (index, statistic) in statistics.iter().enumerate().skip(2) {
                let base = values[index.saturating_sub(capacity)..index].to_vec();
                let median = middle(base.clone());
                let mad = middle(base.iter().map(|x| (x - median).abs()).collect());
                let wanted = ((values[index] - median) / (NORMAL * mad).max(f64::MIN_POSITIVE)).clamp(-1e6, 1e6);
                prop_assert!((statistic - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{statistic} {wanted} at {index}");
            }
        }

        #[test]
        fn scale_changes_no_score(values in prop::collection::vec(-1e3f64..1e3, 40..80), power in prop::sample::select(vec![-30i32, -10, 10, 30])) {
            let scaled: Vec<f64> = values.iter().map(|value| value * 2f64.powi(power)).collect();
            let (one, other) = (score_all(&mut Mad::default(), &values), score_all(&mut Mad::default(), &scaled));
            prop_assert_eq!(one, other);
        }
    }
}
