//! The field report's alert rule as a whole, to compare with.

use std::collections::VecDeque;
use std::time::Duration;

use aiops_core::{DataState, time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::nested::Nested;
use super::{Score, Scorer, ScorerStateError, SeasonalZScore, make_room, refused, restore, save, tail};

/// Samples from which the sampling step is known; its hour has at least as many less one.
const FIRST: usize = 13;
/// The rule's window, `[1h]`.
const HOUR: Duration = Duration::from_secs(3_600);
/// The rule's `offset 1d`.
const DAY: Duration = Duration::from_secs(86_400);
/// The rule's `for: 5m`.
const FOR: Duration = Duration::from_secs(300);
/// Samples of `FOR` kept at the most: one in 100 ms.
const MAX_HELD: usize = 3_000;

/// The field report's rule (section 1.1) with everything that belongs to it: a z-score against the same
/// hour a day ago above 3, for five minutes; what is below is no anomaly.
///
/// The statistic is the smallest z-score of the last five minutes (0 when it is negative), so that
/// "above the threshold" says the same as the rule's `for`. A value holds until the next one: hourly
/// samples meet `for` by themselves. One adaptation: the hour is at least twelve sampling steps (median
/// of the first twelve), since one hourly sample has no deviation. Default threshold: 3.
#[derive(Debug, Clone, Default)]
pub struct FieldReport {
    /// Samples until the step is known.
    first: Vec<(Timestamp, f64)>,
    /// The baseline, and its window.
    zscore: Option<(SeasonalZScore, Duration)>,
    last: Option<Timestamp>,
    /// Z-scores of the last five minutes.
    held: VecDeque<(Timestamp, f64)>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    first: Vec<(Timestamp, f64)>,
    window: Option<Duration>,
    zscore: Nested,
    last: Option<Timestamp>,
    held: VecDeque<(Timestamp, f64)>,
}

impl FieldReport {
    /// Keeps a sample back; the last of `FIRST` begins the baseline.
    fn begin(&mut self, at: Timestamp, value: f64) {
        self.first.push((at, value));
        if self.first.len() < FIRST {
            return;
        }
        let mut steps: Vec<Duration> = self.first.windows(2).map(|pair| time::since(pair[1].0, pair[0].0)).collect();
        steps.sort_unstable();
        let least = steps[steps.len() / 2].saturating_mul(steps.len() as u32);
        let window = HOUR.max(least);
        let mut zscore = SeasonalZScore::new(window, DAY);
        for (at, value) in std::mem::take(&mut self.first) {
            zscore.observe(at, value);
        }
        self.zscore = Some((zscore, window));
    }
}

impl Scorer for FieldReport {
    fn name(&self) -> &'static str {
        "field_report"
    }

    fn default_threshold(&self) -> f64 {
        3.0
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        if refused(self.last, at, value) {
            return Score::none(value, DataState::Error);
        }
        self.last = Some(at);
        let Some((zscore, _)) = &mut self.zscore else {
            let n = self.first.len() as u64;
            self.begin(at, value);
            return Score::none(value, DataState::Warming { n, of: FIRST as u64 });
        };
        let mut score = zscore.observe(at, value);
        let from = time::minus(at, FOR);
        while self.held.front().is_some_and(|(oldest, _)| *oldest < from) {
            self.held.pop_front();
        }
        let name = self.name();
        make_room(&mut self.held, MAX_HELD, name);
        self.held.push_back((at, score.statistic));
        let least = self.held.iter().map(|(_, statistic)| *statistic).fold(f64::MAX, f64::min);
        score.statistic = least.max(0.0);
        score.surprise = if least > 0.0 { tail::decades(least) } else { 0.0 };
        score
    }

    fn save(&self) -> Vec<u8> {
        let (window, zscore) = match &self.zscore {
            Some((zscore, window)) => (Some(*window), zscore.save()),
            None => (None, Vec::new()),
        };
        let (first, last, held) = (self.first.clone(), self.last, self.held.clone());
        save(self.name(), &Saved { first, window, zscore: zscore.into(), last, held })
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let saved: Saved = restore(self.name(), bytes)?;
        let zscore = match saved.window {
            None => None,
            Some(window) => {
                let mut zscore = SeasonalZScore::new(window, DAY);
                zscore.restore(saved.zscore.as_ref())?;
                Some((zscore, window))
            }
        };
        *self = Self { first: saved.first, zscore, last: saved.last, held: saved.held };
        self.first.truncate(FIRST - 1);
        self.held.drain(..self.held.len().saturating_sub(MAX_HELD));
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        let inner = self.zscore.as_ref().map_or(0, |(zscore, _)| zscore.size_bytes() - size_of::<SeasonalZScore>());
        size_of::<Self>() + inner + (self.first.capacity() + self.held.capacity()) * size_of::<(Timestamp, f64)>()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self::default())
    }

    fn window(&self) -> Option<Duration> {
        Some(self.zscore.as_ref().map_or(HOUR, |(_, window)| *window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statistics of a series that swings between 9 and 11, with other values at some places.
    fn statistics(step: i64, count: i64, odd: &[(i64, f64)]) -> Vec<f64> {
        let mut scorer = FieldReport::default();
        (0..count)
            .map(|index| {
                let usual = if index % 2 == 0 { 9.0 } else { 11.0 };
                let value = odd.iter().find(|(at, _)| *at == index).map_or(usual, |(_, value)| *value);
                scorer.observe(Timestamp::from_second(index * step).unwrap(), value).statistic
            })
            .collect()
    }

    #[test]
    fn passes_the_conformance_suite() {
        crate::testing::check_scorer(&FieldReport::default()).unwrap();
    }

    #[test]
    fn one_sample_above_is_held_back_and_five_minutes_of_it_are_told() {
        let odd: Vec<_> = [1_600].into_iter().chain(1_700..1_710).map(|at| (at, 20.0)).collect();
        let found = statistics(60, 1_720, &odd);
        let over: Vec<usize> = (0..found.len()).filter(|at| found[*at] >= 3.0).collect();
        assert_eq!(over, [1_705, 1_706, 1_707, 1_708, 1_709], "from the sample that ends five minutes");
    }

    #[test]
    fn hourly_samples_are_told_at_once_against_half_a_day() {
        let found = statistics(3_600, 60, &[(50, 20.0), (55, -20.0)]);
        assert_eq!(found[50], 10.0, "a mean of 10, a deviation of 1");
        assert!(found.iter().enumerate().all(|(at, z)| at == 50 || *z < 3.0), "and nothing below: {found:?}");
    }
}
