//! The Brier score and what it is made of.

use serde::{Deserialize, Serialize};

use super::bins::bins;
use super::groups::Groups;
use super::{Judged, Unmeasurable, share};

/// Mean squared distance between confidence and truth, `0..=1`, smaller is better; always saying 0.5 gives 0.25.
///
/// `score = reliability - resolution + uncertainty + within`: Murphy, "A new vector partition of the
/// probability score" (1973), with the term for bins that hold several confidences by Stephenson, Coelho and
/// Jolliffe (2008).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Brier {
    /// The score.
    pub score: f64,
    /// How far confidences are from the share of right cases in their bins; 0 is best.
    pub reliability: f64,
    /// How far that share differs between bins; larger is better.
    pub resolution: f64,
    /// The variance of the truth itself: no model changes it.
    pub uncertainty: f64,
    /// What the bins hide: 0 where each holds one confidence.
    pub within: f64,
}

/// The score, decomposed over `bins_wanted` bins of about equally many cases (1 to [`MAX_BINS`](super::MAX_BINS)).
///
/// # Errors
/// [`Unmeasurable::NoCases`].
pub fn brier(cases: &[Judged], bins_wanted: usize) -> Result<Brier, Unmeasurable> {
    let groups = Groups::of(cases)?;
    let (all, base) = (groups.cases, share(groups.correct, groups.cases));
    let score: f64 = groups
        .groups
        .iter()
        .map(|group| {
            let (right, wrong) = (share(group.correct, all), share(group.wrong(), all));
            right * (1.0 - group.confidence).powi(2) + wrong * group.confidence.powi(2)
        })
        .sum();
    let (mut reliability, mut resolution) = (0.0, 0.0);
    for bin in bins(&groups, bins_wanted) {
        let (weight, accuracy) = (share(bin.cases, all), bin.accuracy());
        reliability += weight * (bin.mean() - accuracy).powi(2);
        resolution += weight * (accuracy - base).powi(2);
    }
    let uncertainty = base * (1.0 - base);
    let within = score - (reliability - resolution + uncertainty);
    Ok(Brier { score, reliability, resolution, uncertainty, within })
}
