//! What a scorer does about a value that is missing.

use std::time::Duration;

use aiops_core::DataState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::nested::Nested;
use super::{Score, Scorer, ScorerStateError, restore, save};

/// What is put in the place of a missing value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingValues {
    /// Nothing: it is refused, as every scorer does by itself.
    #[default]
    Refuse,
    /// The last value is learnt again, so that windows and seasons go on, and nothing is scored: the
    /// state is `no_data`.
    Last,
    /// It is a 0, scored and learnt as one: no requests are no requests (user reports, row 20).
    Zero,
}

/// A scorer in which NaN stands for a missing value, handled by policy. Infinities are refused still.
///
/// For sources that give NaN, as a ratio of 0 to 0 does. Samples that do not come at all are a series
/// detector's to handle, by [`MissingSamples`](crate::MissingSamples).
///
/// ```
/// use aiops_detectors::{Filled, Mad, MissingValues, Scorer};
/// # use aiops_detectors::jiff::Timestamp;
/// let mut requests = Filled::new(Mad::default(), MissingValues::Zero);
/// for second in 0..60 {
///     requests.observe(Timestamp::new(second, 0)?, 100.0);
/// }
/// assert!(requests.observe(Timestamp::new(60, 0)?, f64::NAN).statistic < -6.0);
/// # Ok::<(), aiops_detectors::jiff::Error>(())
/// ```
#[derive(Debug)]
pub struct Filled {
    scorer: Box<dyn Scorer>,
    missing: MissingValues,
    last: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    last: Option<f64>,
    scorer: Nested,
}

/// What its saved state says it is; to people it has the name of its scorer.
const NAME: &str = "filled";

impl Filled {
    /// A scorer with a policy for missing values.
    #[must_use]
    pub fn new(scorer: impl Scorer, missing: MissingValues) -> Self {
        Self { scorer: Box::new(scorer), missing, last: None }
    }
}

impl Scorer for Filled {
    fn name(&self) -> &'static str {
        self.scorer.name()
    }

    fn default_threshold(&self) -> f64 {
        self.scorer.default_threshold()
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        let fill = match self.missing {
            _ if !value.is_nan() => None,
            MissingValues::Refuse => None,
            MissingValues::Zero => Some(0.0),
            MissingValues::Last => match self.last {
                Some(last) => Some(last),
                None => return Score::none(value, DataState::NoData),
            },
        };
        let score = self.scorer.observe(at, fill.unwrap_or(value));
        if score.state == DataState::Error {
            return score;
        }
        match fill {
            Some(last) if self.missing == MissingValues::Last => Score::none(last, DataState::NoData),
            Some(_) => score,
            None => {
                self.last = Some(value);
                score
            }
        }
    }

    fn save(&self) -> Vec<u8> {
        save(NAME, &Saved { last: self.last, scorer: self.scorer.save().into() })
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let saved: Saved = restore(NAME, bytes)?;
        self.scorer.restore(saved.scorer.as_ref())?;
        self.last = saved.last;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.scorer.size_bytes()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self { scorer: self.scorer.fresh(), missing: self.missing, last: None })
    }

    fn window(&self) -> Option<Duration> {
        self.scorer.window()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scorer::{Mad, SeasonalZScore};

    fn at(index: i64) -> Timestamp {
        Timestamp::from_second(index * 300).unwrap()
    }

    #[test]
    fn passes_the_conformance_suite_with_each_policy() {
        for missing in [MissingValues::Refuse, MissingValues::Last, MissingValues::Zero] {
            crate::testing::check_scorer(&Filled::new(Mad::default(), missing)).unwrap();
        }
    }

    #[test]
    fn the_last_value_keeps_a_season_alive_and_is_not_scored() {
        let mut scorer = Filled::new(SeasonalZScore::default(), MissingValues::Last);
        assert_eq!(scorer.observe(at(0), f64::NAN).state, DataState::NoData);
        for index in 1..600 {
            // An hour is missing on the first day, so that the second has nothing to compare it with.
            let missing = (100..112).contains(&index);
            let score = scorer.observe(at(index), if missing { f64::NAN } else { (index % 3) as f64 });
            assert_eq!(score.state == DataState::NoData, missing, "{index}");
            if index == 288 + 111 {
                assert_eq!((score.expected, score.n), (Some(0.0), 12), "the value before the gap, again and again");
            }
        }
        assert_eq!(scorer.observe(at(5), f64::NAN).state, DataState::Error, "time goes backwards");
        assert_eq!(scorer.observe(at(700), f64::INFINITY).state, DataState::Error);
    }

    #[test]
    fn no_policy_is_no_change() {
        let (mut filled, mut plain) = (Filled::new(Mad::default(), MissingValues::Refuse), Mad::default());
        for index in 0..100 {
            let value = if index % 9 == 4 { f64::NAN } else { (index % 7) as f64 };
            let (one, other) = (filled.observe(at(index), value), plain.observe(at(index), value));
            assert_eq!((one.statistic, one.state), (other.statistic, other.state));
        }
    }
}
