//! From the votes of the members to one score.

use aiops_core::DataState;

use super::super::{LARGEST, Score};
use super::EnsembleMeasure;

/// What a warm member says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vote {
    /// Which member.
    index: usize,
    /// How strange, in the ensemble's measure, positive above the expectation.
    strength: f64,
    /// The same of an anomaly that goes on.
    persisting: f64,
    score: Score,
}

impl Vote {
    pub(super) fn new(index: usize, score: Score, threshold: f64, measure: EnsembleMeasure) -> Self {
        // A third party's threshold of 0 or less cannot be a measure.
        let unit = if threshold > 0.0 { threshold } else { 1.0 };
        let (strength, persisting) = match measure {
            EnsembleMeasure::Ratio => (score.statistic / unit, score.persisting / unit),
            EnsembleMeasure::Surprise => [score.surprise.copysign(score.persisting); 2].into(),
        };
        let held = |strength: f64| strength.clamp(-LARGEST, LARGEST);
        Self { index, strength: held(strength), persisting: held(persisting), score }
    }
}

/// The k-th strongest of the side on which it is stronger, and which vote that is; 0 where no `k` of them
/// are on one side.
fn strongest(k: usize, votes: &[Vote], of: impl Fn(&Vote) -> f64) -> (f64, Vote) {
    let mut sorted = votes.to_vec();
    sorted.sort_by(|a, b| of(b).total_cmp(&of(a)));
    let (above, below) = (sorted[k - 1], sorted[sorted.len() - k]);
    if of(&above) >= -of(&below) { (of(&above).max(0.0), above) } else { (of(&below).min(0.0), below) }
}

/// The k-th strongest vote; at least `k` votes.
pub(super) fn kth(k: usize, votes: &[Vote], value: f64) -> Score {
    let (persisting, deciding) = strongest(k, votes, |vote| vote.persisting);
    let agree = |vote: &&Vote| persisting != 0.0 && vote.persisting.signum() == persisting.signum();
    let mut decades: Vec<f64> = votes.iter().filter(agree).map(|vote| vote.score.surprise).collect();
    decades.sort_by(|a, b| b.total_cmp(a));
    Score {
        surprise: decades.get(k - 1).copied().unwrap_or(0.0),
        statistic: strongest(k, votes, |vote| vote.strength).0,
        persisting,
        value,
        expected: deciding.score.expected,
        band: deciding.score.band,
        state: DataState::Ok,
        n: deciding.score.n,
    }
}

/// The weighted mean of the votes; at least one vote. It has no band: no single value is its edge.
pub(super) fn mean(weights: &[f64], votes: &[Vote], value: f64) -> Score {
    // Shares, so that no sum of weights overflows.
    let heaviest = weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let weight = |vote: &Vote| weights.get(vote.index).copied().unwrap_or(0.0) / heaviest;
    let mean = |of: &dyn Fn(&Vote) -> Option<f64>| {
        let known: Vec<(f64, f64)> = votes.iter().filter_map(|vote| Some((weight(vote), of(vote)?))).collect();
        let whole: f64 = known.iter().map(|(weight, _)| weight).sum();
        let sum: f64 = known.iter().map(|(weight, of)| weight / whole * of).sum();
        (whole > 0.0 && sum.is_finite()).then_some(sum)
    };
    let decades = mean(&|vote| Some(vote.score.surprise.copysign(vote.score.persisting)));
    Score {
        surprise: decades.unwrap_or(0.0).abs(),
        statistic: mean(&|vote| Some(vote.strength)).unwrap_or(0.0),
        persisting: mean(&|vote| Some(vote.persisting)).unwrap_or(0.0),
        value,
        expected: mean(&|vote| vote.score.expected),
        band: None,
        state: DataState::Ok,
        n: votes.iter().map(|vote| vote.score.n).min().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(strengths: &[f64]) -> Vec<Vote> {
        let vote = |(index, strength): (usize, &f64)| {
            let mut score = Score::none(5.0, DataState::Ok);
            (score.statistic, score.persisting) = (*strength, *strength);
            (score.surprise, score.expected) = (strength.abs(), Some(1.0));
            Vote::new(index, score, 1.0, EnsembleMeasure::Ratio)
        };
        strengths.iter().enumerate().map(vote).collect()
    }

    #[test]
    fn opposite_votes_do_not_agree() {
        for (k, strengths, wanted) in [
            (1, &[0.5, -3.0, 2.0][..], -3.0),
            (2, &[0.5, -3.0, 2.0], 0.5),
            (2, &[-0.5, -3.0, 2.0], -0.5),
            (2, &[5.0, -5.0], 0.0),
            (3, &[1.0, 2.0, 3.0], 1.0),
        ] {
            let score = kth(k, &votes(strengths), 5.0);
            assert_eq!((score.statistic, score.surprise), (wanted, f64::abs(wanted)), "{k} of {strengths:?}");
            assert_eq!(score.persisting, wanted);
        }
    }

    #[test]
    fn a_mean_weighs_only_who_votes() {
        let mut two = votes(&[4.0, -2.0, 9.0]);
        two.pop();
        let score = mean(&[1.0, 3.0, 100.0], &two, 5.0);
        assert_eq!((score.statistic, score.expected), (-0.5, Some(1.0)));
        assert_eq!(mean(&[f64::MAX, f64::MAX, 1.0], &two, 5.0).statistic, 1.0);
    }
}
