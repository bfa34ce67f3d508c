//! Cumulative sums of small differences: level shifts that no single value shows.

use std::time::Duration;

use aiops_core::{DataState, time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::season::{REMEMBERED, SavedSeason, Season};
use super::{MIN_SAMPLES, RELATIVE_FLOOR, Score, Scorer, ScorerStateError, refused, restore, save};

/// Half of the shift, in deviations, that is to be found soonest: one (Montgomery, "Introduction to
/// Statistical Quality Control", section 9.1).
const DEFAULT_SLACK: f64 = 0.5;
/// Montgomery's interval is 4 or 5, for a mean and a deviation that are known. These are estimates: on
/// the normal noise of the synthetic suite 5 alarms once in 65 samples, 10 once in 3,000, and a shift of
/// six deviations still takes three samples.
const DEFAULT_INTERVAL: f64 = 10.0;
/// Deviations that one sample counts at the most: one outlier is no shift.
const CLIP: f64 = 4.0;
/// Siegmund's correction for the overshoot of both ends ("Sequential Analysis", 1985).
const OVERSHOOT: f64 = 1.166;
/// Weight of a sample in the autocorrelation: the newest five hundred or so.
const CORRELATION_WEIGHT: f64 = 0.002;
/// A series that wanders more than this is held to wander so: the factor is 14 there, and beyond it no
/// number of samples would make an estimate.
const LARGEST_CORRELATION: f64 = 0.99;
/// Seconds after which half of a shift is the season's level, as in [`Season`].
const SHIFT_HALF_LIFE: f64 = 86_400.0;

/// Two-sided tabular CUSUM (Page, 1954) of the distance from what is usual at this time of day and week.
///
/// What is usual is the baseline of [`SeasonalBaseline`](super::SeasonalBaseline), with its warm-up.
/// `S = max(0, S + |z| - slack)` in each direction, of distances in deviations, each held at 4. Where the
/// distances follow one another their sum varies more: they are divided by
/// `sqrt((1 + r) / (1 - r))`, `r` the autocorrelation of one step, which is exact for an autoregression.
///
/// A sum at the interval is an alarm. The sums then begin anew from the new level
/// (`slack + S / samples in the sum`, Montgomery's estimate), so that a shift is one alarm and its end
/// another one; after a day or two the season itself has learned the level. The statistic is the larger
/// sum, negative for a fall. Its surprise is that of a sum of normal noise, `2 slack (S + 1.166) / ln 10`
/// decades. Default threshold: the interval, 10.
#[derive(Debug, Clone)]
pub struct Cusum {
    slack: f64,
    interval: f64,
    min_samples: u64,
    relative_floor: f64,
    season: Season,
    sums: Sums,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Sums {
    up: Sum,
    down: Sum,
    /// The new level since an alarm, above the season's.
    shift: f64,
    /// The last distance, and means of its square and of the product of two in a row.
    before: f64,
    square: f64,
    product: f64,
    n: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Sum {
    sum: f64,
    /// Samples since it was 0.
    n: u32,
}

impl Default for Cusum {
    fn default() -> Self {
        Self {
            slack: DEFAULT_SLACK,
            interval: DEFAULT_INTERVAL,
            min_samples: MIN_SAMPLES as u64,
            relative_floor: RELATIVE_FLOOR,
            season: Season::new(),
            sums: Sums::default(),
        }
    }
}

impl Cusum {
    /// Half of the shift that is to be found soonest, in deviations; from 0.05 to 3.
    #[must_use]
    pub fn slack(mut self, slack: f64) -> Self {
        self.slack = if slack.is_finite() { slack.clamp(0.05, CLIP - 1.0) } else { DEFAULT_SLACK };
        self
    }

    /// The sum that is an alarm; at least 1. It is the default threshold.
    #[must_use]
    pub fn interval(mut self, interval: f64) -> Self {
        self.interval = if interval.is_finite() { interval.max(1.0) } else { DEFAULT_INTERVAL };
        self
    }

    /// Samples that were compared with their season before anything is scored; at least 2.
    #[must_use]
    pub fn min_samples(mut self, min_samples: u64) -> Self {
        self.min_samples = min_samples.max(2);
        self
    }

    /// Smallest spread as a share of the centre; negative or NaN counts as 0.
    #[must_use]
    pub fn relative_floor(mut self, share: f64) -> Self {
        self.relative_floor = super::share(share);
        self
    }
}

impl Sums {
    /// How much wider a sum of these distances is than one of independent ones.
    fn widening(&self) -> f64 {
        let r = if self.square > 0.0 { self.product / self.square } else { 0.0 };
        let r = r.clamp(0.0, LARGEST_CORRELATION);
        ((1.0 + r) / (1.0 - r)).sqrt()
    }

    fn learn_correlation(&mut self, distance: f64) {
        let distance = distance.clamp(-CLIP, CLIP);
        let weight = CORRELATION_WEIGHT.max(1.0 / (self.n as f64 + 1.0));
        self.square += weight * (distance * distance - self.square);
        self.product += weight * (distance * self.before - self.product);
        self.before = distance;
        self.n = self.n.saturating_add(1);
    }
}

impl Sum {
    fn add(&mut self, distance: f64, slack: f64) {
        self.sum = (self.sum + distance - slack).max(0.0);
        self.n = if self.sum > 0.0 { self.n.saturating_add(1) } else { 0 };
    }

    /// The mean distance of the samples in the sum.
    fn level(&self, slack: f64) -> f64 {
        slack + self.sum / f64::from(self.n.max(1))
    }
}

impl Cusum {
    /// Adds a distance of `residual` to the sums; the larger one, signed.
    fn add(&mut self, at: Timestamp, residual: f64, core: f64) -> f64 {
        let age = self.season.last().map_or(0.0, |last| time::since(at, last).as_secs_f64());
        self.sums.shift *= (-age / SHIFT_HALF_LIFE).exp2();
        let deviation = core * self.sums.widening();
        let distance = ((residual - self.sums.shift) / deviation).clamp(-CLIP, CLIP);
        self.sums.up.add(distance, self.slack);
        self.sums.down.add(-distance, self.slack);
        self.sums.learn_correlation(residual / core);
        let (up, down) = (self.sums.up, self.sums.down);
        let (sum, sign) = if up.sum >= down.sum { (up, 1.0) } else { (down, -1.0) };
        if sum.sum >= self.interval {
            self.sums.shift = (self.sums.shift + sign * sum.level(self.slack) * deviation).clamp(f64::MIN, f64::MAX);
            (self.sums.up, self.sums.down) = (Sum::default(), Sum::default());
        }
        sign * sum.sum
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    season: SavedSeason,
    sums: Sums,
}

impl Scorer for Cusum {
    fn name(&self) -> &'static str {
        "cusum"
    }

    fn default_threshold(&self) -> f64 {
        self.interval
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        if refused(self.season.last(), at, value) {
            return Score::none(value, DataState::Error);
        }
        let n = self.season.n();
        let expected = self.season.expect(at, value, self.relative_floor);
        let score = match expected {
            Some(expected) if n >= self.min_samples => {
                let residual = (value - expected.centre).clamp(f64::MIN, f64::MAX);
                let statistic = self.add(at, residual, expected.core);
                let level = expected.centre + self.sums.shift;
                let normal = 2.0 * self.slack * (statistic.abs() + OVERSHOOT) / std::f64::consts::LN_10;
                Score {
                    surprise: if statistic == 0.0 { 0.0 } else { normal },
                    statistic,
                    persisting: statistic,
                    value,
                    expected: level.is_finite().then_some(level),
                    // No single value is an alarm.
                    band: None,
                    state: DataState::Ok,
                    n,
                }
            }
            _ => Score::none(value, DataState::Warming { n: n.min(self.min_samples - 1), of: self.min_samples }),
        };
        self.season.learn(at, value, expected);
        score
    }

    fn save(&self) -> Vec<u8> {
        save(self.name(), &Saved { season: self.season.save(), sums: self.sums })
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let saved = restore::<Saved>(self.name(), bytes)?;
        self.season =
            Season::restore(saved.season).map_err(|source| ScorerStateError { scorer: self.name(), source })?;
        self.sums = saved.sums;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.season.heap_bytes()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self { season: Season::new(), sums: Sums::default(), ..*self })
    }

    fn window(&self) -> Option<Duration> {
        Some(REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::synthetic::{Fault, Kind, healthy, with_fault};

    const STEP: Duration = Duration::from_secs(300);

    /// Indices of the alarms.
    fn alarms(scorer: &mut Cusum, samples: &[crate::Sample]) -> Vec<usize> {
        let threshold = scorer.default_threshold();
        let statistics = samples.iter().map(|sample| scorer.observe(sample.at, sample.value).statistic.abs());
        statistics.enumerate().filter(|(_, statistic)| *statistic >= threshold).map(|(index, _)| index).collect()
    }

    #[test]
    fn passes_the_conformance_suite() {
        crate::testing::check_scorer(&Cusum::default()).unwrap();
        crate::testing::check_scorer(&Cusum::default().slack(1.0).interval(4.0).min_samples(2)).unwrap();
    }

    #[test]
    fn the_sums_are_the_textbooks() {
        // Montgomery, table 9.2, the first samples: target 10, deviation 1, k 0.5.
        let (mut up, mut down) = (Sum::default(), Sum::default());
        let table = [(9.45, 0.0, 0.05), (7.99, 0.0, 1.56), (9.29, 0.0, 1.77), (11.66, 1.16, 0.0), (12.16, 2.82, 0.0)];
        for (x, wanted_up, wanted_down) in table {
            up.add(x - 10.0, 0.5);
            down.add(10.0 - x, 0.5);
            assert!((up.sum - wanted_up).abs() < 1e-9 && (down.sum - wanted_down).abs() < 1e-9, "{x}: {up:?} {down:?}");
        }
        assert_eq!((up.n, down.n), (2, 0));
        assert!((up.level(0.5) - (0.5 + 2.82 / 2.0)).abs() < 1e-9);
    }

    #[test]
    fn normal_noise_alarms_as_rarely_as_siegmund_says() {
        // 465 samples to the first alarm at k 0.5 and h 5, where mean and deviation are known.
        let at = Timestamp::UNIX_EPOCH;
        let noise: Vec<f64> = (1..=12)
            .flat_map(|seed| healthy(Kind::Gaussian, STEP, seed).samples)
            .map(|sample| (sample.value - 100.0) / 5.0)
            .collect();
        let (mut samples, mut runs) = (0, 0);
        let mut scorer = Cusum::default().interval(5.0);
        // Independent noise: what would be estimated is known.
        scorer.sums.n = u64::MAX;
        for distance in noise {
            samples += 1;
            scorer.sums.product = 0.0;
            if scorer.add(at, distance, 1.0).abs() >= 5.0 {
                scorer.sums = Sums { n: u64::MAX, ..Sums::default() };
                runs += 1;
            }
        }
        let mean = samples / runs;
        assert!((400..540).contains(&mean), "{mean} over {runs} runs");
    }

    #[test]
    fn a_shift_of_two_deviations_is_found_though_no_value_is_strange() {
        let mut samples = healthy(Kind::Gaussian, STEP, 3).samples;
        let from = samples.len() - 500;
        samples[from..].iter_mut().for_each(|sample| sample.value += 10.0);
        let found = alarms(&mut Cusum::default(), &samples);
        let first = found.iter().find(|index| **index >= from).unwrap();
        assert!(first - from < 20, "{first} of {from}");
        // The new level is the norm from there on.
        assert!(found.iter().filter(|index| **index >= from).count() <= 4, "{found:?}");
    }

    #[test]
    fn one_outlier_is_no_shift() {
        let mut samples = healthy(Kind::Gaussian, STEP, 4).samples;
        let clean = alarms(&mut Cusum::default(), &samples);
        let middle = samples.len() / 2;
        samples[middle].value = 1e6;
        let found = alarms(&mut Cusum::default(), &samples);
        assert!(!found.iter().any(|index| (middle..middle + 20).contains(index)), "{found:?}, was {clean:?}");
    }

    #[test]
    fn a_fall_has_a_negative_statistic() {
        let series = with_fault(Kind::Gaussian, STEP, 1, Fault::Drop).unwrap();
        let mut scorer = Cusum::default();
        let scored: Vec<_> =
            series.samples.iter().map(|sample| (sample.at, scorer.observe(sample.at, sample.value))).collect();
        let fault = &series.faults[0];
        let lowest =
            scored.iter().filter(|(at, _)| *at >= fault.from && *at < fault.to).map(|(_, score)| score.statistic);
        assert!(lowest.fold(0.0, f64::min) < -3.0);
    }
}
