//! Several scorers over one series that decide together: k of n, the largest, a weighted mean.

mod combine;

use std::time::Duration;

use aiops_core::DataState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::combine::Vote;
use super::nested::Nested;
use super::{Score, Scorer, ScorerStateError, restore, save};

/// Decades that an ensemble by surprise alerts from: once in a thousand values.
const DECADES: f64 = 3.0;

/// How an ensemble decides.
#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// The k-th strongest vote of one side.
    KOfN(usize),
    /// The weighted mean of all votes.
    Weighted(Vec<f64>),
}

/// In what the votes of unlike scorers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EnsembleMeasure {
    /// Statistic ÷ the scorer's own default threshold: 1 is its edge. The ensemble's threshold is 1.
    #[default]
    Ratio,
    /// Decades of surprise, with the side that the scorer finds. The ensemble's threshold is 3.
    Surprise,
}

/// Members that cannot decide.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEnsemble {
    /// It has no members.
    #[error("ensemble: it has no members")]
    Empty,
    /// `k` is not from 1 to the number of members.
    #[error("ensemble: {k} of {n} members can never agree")]
    Votes {
        /// Votes that are wanted.
        k: usize,
        /// Members.
        n: usize,
    },
    /// A weight is not a positive number.
    #[error("ensemble: the weight {weight} of member {index} is not a positive number")]
    Weight {
        /// Which member, from 0.
        index: usize,
        /// Its weight.
        weight: f64,
    },
}

/// Several scorers that see the same values and decide as one.
///
/// Votes have a side: two members of which one finds a value too high and one too low do not agree.
/// A member that is still warming does not vote, nor does one that refuses the value; the ensemble
/// itself is warm as soon as enough members are (k, one, or all where votes are weighted).
///
/// ```
/// use aiops_detectors::{Ensemble, Ewma, Mad, Scorer, SeasonalZScore};
/// let members: [Box<dyn Scorer>; 3] =
///     [Box::new(Mad::default()), Box::new(SeasonalZScore::default()), Box::new(Ewma::default())];
/// let scorer = Ensemble::k_of_n(2, members)?;
/// assert_eq!((scorer.name(), scorer.default_threshold()), ("k_of_n", 1.0));
/// # Ok::<(), aiops_detectors::InvalidEnsemble>(())
/// ```
#[derive(Debug)]
pub struct Ensemble {
    name: &'static str,
    rule: Rule,
    measure: EnsembleMeasure,
    min_warm: usize,
    members: Vec<Box<dyn Scorer>>,
}

impl Ensemble {
    fn new(name: &'static str, rule: Rule, min_warm: usize, members: Vec<Box<dyn Scorer>>) -> Self {
        Self { name, rule, measure: EnsembleMeasure::default(), min_warm, members }
    }

    /// As strange as at least `k` members find it: the k-th strongest vote of one side. Named `k_of_n`.
    ///
    /// # Errors
    /// No members, or a `k` that is not from 1 to their number.
    pub fn k_of_n(k: usize, members: impl IntoIterator<Item = Box<dyn Scorer>>) -> Result<Self, InvalidEnsemble> {
        let members: Vec<_> = members.into_iter().collect();
        let n = members.len();
        if n == 0 {
            return Err(InvalidEnsemble::Empty);
        }
        if k == 0 || k > n {
            return Err(InvalidEnsemble::Votes { k, n });
        }
        Ok(Self::new("k_of_n", Rule::KOfN(k), k, members))
    }

    /// As strange as the member that finds it strangest. Named `max`.
    ///
    /// # Errors
    /// No members.
    pub fn max(members: impl IntoIterator<Item = Box<dyn Scorer>>) -> Result<Self, InvalidEnsemble> {
        Ok(Self { name: "max", ..Self::k_of_n(1, members)? })
    }

    /// The weighted mean of the votes. Named `weighted`.
    ///
    /// # Errors
    /// No members, or a weight that is not a positive number.
    pub fn weighted(members: impl IntoIterator<Item = (f64, Box<dyn Scorer>)>) -> Result<Self, InvalidEnsemble> {
        let (weights, members): (Vec<f64>, Vec<_>) = members.into_iter().unzip();
        if members.is_empty() {
            return Err(InvalidEnsemble::Empty);
        }
        if let Some((index, weight)) = weights.iter().enumerate().find(|(_, w)| !(w.is_finite() && **w > 0.0)) {
            return Err(InvalidEnsemble::Weight { index, weight: *weight });
        }
        Ok(Self::new("weighted", Rule::Weighted(weights), members.len(), members))
    }

    /// Its name in events and in saved state.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// In what votes are compared; the ratio to the members' thresholds unless set.
    #[must_use]
    pub fn measure(mut self, measure: EnsembleMeasure) -> Self {
        self.measure = measure;
        self
    }

    /// Warm members from which it decides; from 1 to their number (from k, where k must agree).
    #[must_use]
    pub fn min_warm(mut self, members: usize) -> Self {
        let least = if let Rule::KOfN(k) = self.rule { k } else { 1 };
        self.min_warm = members.clamp(least, self.members.len());
        self
    }

    /// The members, in their order.
    pub fn members(&self) -> impl Iterator<Item = &dyn Scorer> {
        self.members.iter().map(|member| &**member)
    }

    /// The progress of the last member that must still become warm; error where nobody is on the way.
    fn warming(&self, states: &[DataState]) -> DataState {
        let share = |state: &DataState| match *state {
            DataState::Ok => Some(1.0),
            DataState::Warming { n, of } => Some(n as f64 / of.max(1) as f64),
            _ => None,
        };
        let mut shares: Vec<(f64, DataState)> = states.iter().filter_map(|s| Some((share(s)?, *s))).collect();
        shares.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        shares.get(self.min_warm - 1).or(shares.last()).map_or(DataState::Error, |(_, state)| *state)
    }
}

impl Scorer for Ensemble {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default_threshold(&self) -> f64 {
        match self.measure {
            EnsembleMeasure::Ratio => 1.0,
            EnsembleMeasure::Surprise => DECADES,
        }
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        let scores: Vec<Score> = self.members.iter_mut().map(|member| member.observe(at, value)).collect();
        let votes: Vec<Vote> = scores
            .iter()
            .zip(&self.members)
            .enumerate()
            .filter(|(_, (score, _))| score.state == DataState::Ok)
            .map(|(index, (score, member))| Vote::new(index, *score, member.default_threshold(), self.measure))
            .collect();
        if votes.len() < self.min_warm {
            let states: Vec<DataState> = scores.iter().map(|score| score.state).collect();
            return Score::none(value, self.warming(&states));
        }
        match &self.rule {
            Rule::KOfN(k) => combine::kth(*k, &votes, value),
            Rule::Weighted(weights) => combine::mean(weights, &votes, value),
        }
    }

    fn save(&self) -> Vec<u8> {
        let members = self.members.iter().map(|member| (member.name().to_owned(), member.save().into()));
        save(self.name, &Saved { members: members.collect() })
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let saved: Saved = restore(self.name, bytes)?;
        if !saved.members.iter().map(|(name, _)| &**name).eq(self.members.iter().map(|member| member.name())) {
            return Err(ScorerStateError { scorer: self.name, source: "its members are others".into() });
        }
        let mut members = Vec::with_capacity(self.members.len());
        for (member, (_, state)) in self.members.iter().zip(&saved.members) {
            let mut member = member.fresh();
            member.restore(state.as_ref())?;
            members.push(member);
        }
        self.members = members;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        let members: usize = self.members.iter().map(|member| member.size_bytes() + size_of::<Box<dyn Scorer>>()).sum();
        size_of::<Self>() + members
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        let members = self.members.iter().map(|member| member.fresh()).collect();
        let (rule, measure) = (self.rule.clone(), self.measure);
        Box::new(Self { name: self.name, rule, measure, min_warm: self.min_warm, members })
    }

    fn window(&self) -> Option<Duration> {
        self.members.iter().filter_map(|member| member.window()).max()
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    members: Vec<(String, Nested)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scorer::{Adaptive, Ewma, Mad, RollingZScore, SeasonalZScore};

    fn at(index: i64) -> Timestamp {
        Timestamp::from_second(index * 300).unwrap()
    }

    fn members() -> [Box<dyn Scorer>; 3] {
        [Box::new(Mad::default()), Box::new(Ewma::default().min_samples(60)), Box::new(SeasonalZScore::default())]
    }

    fn after(n: i64, mut scorer: Ensemble) -> Ensemble {
        for index in 0..n {
            scorer.observe(at(index), 10.0 + (index % 7) as f64 / 10.0);
        }
        scorer
    }

    #[test]
    fn passes_the_conformance_suite() {
        crate::testing::check_scorer(&Ensemble::k_of_n(2, members()).unwrap()).unwrap();
        crate::testing::check_scorer(&Ensemble::max(members()).unwrap().named("mine")).unwrap();
        let weighted = Ensemble::weighted([1.0, 2.0, 0.5].into_iter().zip(members())).unwrap();
        crate::testing::check_scorer(&weighted.measure(EnsembleMeasure::Surprise).min_warm(1)).unwrap();
    }

    #[test]
    fn says_what_it_waits_for() {
        let mut scorer = after(40, Ensemble::k_of_n(2, members()).unwrap());
        // The MAD is warm after 30; the next is the mean at 60.
        assert_eq!(scorer.observe(at(40), 10.0).state, DataState::Warming { n: 40, of: 60 });
        let mut scorer = after(40, Ensemble::max(members()).unwrap());
        assert_eq!(scorer.observe(at(40), 10.0).state, DataState::Ok);
        assert_eq!(scorer.observe(at(41), f64::NAN).state, DataState::Error);
    }

    #[test]
    fn two_of_three_is_the_second_strongest_on_one_side() {
        let mut scorer = after(400, Ensemble::k_of_n(2, members()).unwrap());
        let mut alone = members();
        for index in 0..400 {
            for member in &mut alone {
                member.observe(at(index), 10.0 + (index % 7) as f64 / 10.0);
            }
        }
        let mut ratios: Vec<f64> = alone
            .iter_mut()
            .map(|member| member.observe(at(400), 14.0).statistic / member.default_threshold())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let score = scorer.observe(at(400), 14.0);
        assert_eq!(score.statistic, ratios[1]);
        assert!(score.expected.is_some() && score.band.is_some() && score.surprise > 0.0);
    }

    #[test]
    fn an_anomaly_goes_on_for_members_that_raise_a_bar() {
        let default: [Box<dyn Scorer>; 1] = [Box::new(Adaptive::default())];
        let (mut alone, mut scorer) = (Adaptive::default(), Ensemble::max(default).unwrap());
        for index in 0..500 {
            let value = if (400..404).contains(&index) { 30.0 } else { 10.0 + (index * 7 % 11) as f64 / 10.0 };
            let (one, score) = (alone.observe(at(index), value), scorer.observe(at(index), value));
            assert_eq!((score.statistic, score.persisting), (one.statistic / 3.0, one.persisting / 3.0));
            assert_eq!(score.surprise, if one.persisting == 0.0 { 0.0 } else { one.surprise });
        }
    }

    #[test]
    fn members_that_cannot_decide_are_refused() {
        assert_eq!(Ensemble::max([]).unwrap_err(), InvalidEnsemble::Empty);
        assert_eq!(Ensemble::k_of_n(4, members()).unwrap_err(), InvalidEnsemble::Votes { k: 4, n: 3 });
        assert_eq!(Ensemble::k_of_n(0, members()).unwrap_err(), InvalidEnsemble::Votes { k: 0, n: 3 });
        let weighted = Ensemble::weighted([1.0, -1.0, 1.0].into_iter().zip(members()));
        assert_eq!(weighted.unwrap_err(), InvalidEnsemble::Weight { index: 1, weight: -1.0 });
    }

    #[test]
    fn state_of_other_members_is_refused_and_changes_nothing() {
        let scorer = after(50, Ensemble::max(members()).unwrap());
        let others: [Box<dyn Scorer>; 2] = [Box::new(Mad::default()), Box::new(RollingZScore::default())];
        let mut other = after(10, Ensemble::max(others).unwrap());
        let before = other.save();
        assert!(other.restore(&scorer.save()).is_err());
        assert_eq!(other.save(), before);
        assert!(Ensemble::k_of_n(1, members()).unwrap().restore(&scorer.save()).is_err(), "another name");
    }
}
