//! The distance from what is usual at this time of the day and of the week.

use std::time::Duration;

use aiops_core::DataState;
use jiff::Timestamp;

use super::season::{REMEMBERED, SavedSeason, Season};
use super::{MIN_SAMPLES, RELATIVE_FLOOR, Score, Scorer, ScorerStateError, refused, restore, save};

/// Medians of the last five days and three weeks at this phase, by timestamp (UTC), in 16 KiB.
///
/// Phases are five minutes of the day and a quarter of an hour of the week, each read with its
/// neighbours, so that a job may start some minutes late; samples of one phase count as their mean. A
/// value that fits the phase an hour earlier or later is no surprise either, since summer time moves a
/// season by an hour: what is lost is the anomaly that looks like the hour before or after. The spread
/// is that of the phase, at least half of the series' and at least `relative_floor` of the centre, and
/// wider where the series' own residuals have heavier tails than normal ones. The level may drift: a
/// lasting difference is the norm after a day or two. Scores begin on the second day (the third where a
/// phase holds one sample). Centres are `f32`, held at 1e38. Default threshold: 5.
#[derive(Debug, Clone)]
pub struct SeasonalBaseline {
    min_samples: u64,
    relative_floor: f64,
    season: Season,
}

impl Default for SeasonalBaseline {
    fn default() -> Self {
        Self { min_samples: MIN_SAMPLES as u64, relative_floor: RELATIVE_FLOOR, season: Season::new() }
    }
}

impl SeasonalBaseline {
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

impl Scorer for SeasonalBaseline {
    fn name(&self) -> &'static str {
        "seasonal_baseline"
    }

    fn default_threshold(&self) -> f64 {
        5.0
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        if refused(self.season.last(), at, value) {
            return Score::none(value, DataState::Error);
        }
        let n = self.season.n();
        let expected = self.season.expect(at, value, self.relative_floor);
        let score = match expected {
            Some(expected) if n >= self.min_samples => {
                Score::against(value, expected.centre, expected.spread, self.default_threshold(), n)
            }
            // A phase that was not seen yet has no history, however long the series is.
            _ => Score::none(value, DataState::Warming { n: n.min(self.min_samples - 1), of: self.min_samples }),
        };
        self.season.learn(at, value, expected);
        score
    }

    fn save(&self) -> Vec<u8> {
        save(self.name(), &self.season.save())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let saved = restore::<SavedSeason>(self.name(), bytes)?;
        self.season = Season::restore(saved).map_err(|source| ScorerStateError { scorer: self.name(), source })?;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.season.heap_bytes()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self { season: Season::new(), ..*self })
    }

    fn window(&self) -> Option<Duration> {
        Some(REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Noise that repeats after no day: a sum of waves that do not fit into one.
    fn noise(second: i64) -> f64 {
        let t = second as f64;
        (t / 977.0).sin() + (t / 3_331.0).sin()
    }

    fn daily(second: i64) -> f64 {
        100.0 + 50.0 * (TAU * second as f64 / DAY as f64).sin() + noise(second)
    }

    fn fed(days: i64, value: impl Fn(i64) -> f64) -> SeasonalBaseline {
        let mut scorer = SeasonalBaseline::default();
        (0..days * 288).for_each(|index| {
            scorer.observe(at(index * 300), value(index * 300));
        });
        scorer
    }

    #[test]
    fn passes_the_conformance_suite_and_fits_into_16_kib() {
        crate::testing::check_scorer(&SeasonalBaseline::default()).unwrap();
        crate::testing::check_scorer(&SeasonalBaseline::default().min_samples(2).relative_floor(0.0)).unwrap();
        assert!(fed(10, daily).size_bytes() <= 16 * 1_024, "{}", fed(10, daily).size_bytes());
    }

    #[test]
    fn a_value_that_is_usual_at_another_time_is_strange_now() {
        let mut scorer = fed(7, daily);
        // At 06:00 it is 150, at 18:00 it is 50.
        let morning = 7 * DAY + 6 * 3_600;
        assert!(scorer.clone().observe(at(morning), daily(morning)).statistic.abs() < 4.0);
        let score = scorer.observe(at(morning), 50.0);
        assert!(score.statistic < -5.0, "{score:?}");
        assert!((score.expected.unwrap() - 150.0).abs() < 5.0, "{score:?}");
    }

    #[test]
    fn a_weekend_is_no_anomaly_once_it_was_seen() {
        let value = |second: i64| if (second / DAY) % 7 >= 5 { 20.0 + noise(second) } else { daily(second) };
        let mut scorer = fed(19, value);
        // Day 19 is the third of these weekends' first day.
        let worst = (19 * 288..21 * 288).map(|index| scorer.observe(at(index * 300), value(index * 300)).statistic);
        assert!(worst.fold(0.0, |a: f64, b| a.max(b.abs())) < 5.0);
    }

    #[test]
    fn summer_time_moves_the_season_and_nobody_is_woken() {
        let mut scorer = fed(10, daily);
        let moved = (10 * 288..12 * 288).map(|index| {
            let second = index * 300;
            scorer.observe(at(second), daily(second + 3_600)).statistic.abs()
        });
        let worst = moved.fold(0.0, f64::max);
        assert!(worst < 5.0, "{worst}");
    }

    #[test]
    fn phases_go_by_time_and_not_by_index() {
        // Two days are missing, and it is half as many samples: the same hour is the same phase.
        let mut scorer = fed(7, daily);
        let first = 9 * DAY + 300;
        let worst = (0..144).map(|index| scorer.observe(at(first + index * 600), daily(first + index * 600)).statistic);
        assert!(worst.fold(0.0, |a: f64, b| a.max(b.abs())) < 5.0);
    }

    #[test]
    fn a_trend_is_followed() {
        let growing = |second: i64| daily(second) + 10.0 * second as f64 / DAY as f64;
        let mut scorer = fed(14, growing);
        let late = (14 * 288..16 * 288).map(|index| scorer.observe(at(index * 300), growing(index * 300)).statistic);
        assert!(late.fold(0.0, |a: f64, b| a.max(b.abs())) < 5.0);
    }

    #[test]
    fn state_of_another_shape_is_refused() {
        let mut scorer = fed(2, daily);
        let before = scorer.save();
        let cut = String::from_utf8(before.clone()).unwrap().replacen("null,", "", 1);
        assert!(scorer.restore(cut.as_bytes()).is_err());
        assert_eq!(scorer.save(), before);
    }
}
