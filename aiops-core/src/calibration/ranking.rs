//! Whether right cases have the higher confidence.

use serde::{Deserialize, Serialize};

use super::groups::Groups;
use super::{Judged, Unmeasurable, share};

/// The chance that a right case has a higher confidence than a wrong one, a tie counted half: 0.5 is no better
/// than a coin, 1 tells all apart.
///
/// # Errors
/// [`Unmeasurable`]: no case, or none to compare with.
pub fn auroc(cases: &[Judged]) -> Result<f64, Unmeasurable> {
    let groups = Groups::of(cases)?;
    let wrong = groups.cases - groups.correct;
    if wrong == 0 || groups.correct == 0 {
        return Err(Unmeasurable::OneClass { cases: groups.cases, correct: wrong == 0 });
    }
    let (mut below, mut above) = (0, 0.0);
    for group in &groups.groups {
        above += share(group.correct, 1) * (share(below, 1) + 0.5 * share(group.wrong(), 1));
        below += group.wrong();
    }
    Ok(above / (share(groups.correct, 1) * share(wrong, 1)))
}

/// What a threshold lets through.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RiskPoint {
    /// The threshold: this confidence passes.
    pub threshold: f64,
    /// Cases that pass.
    pub accepted: usize,
    /// Of them, wrong ones.
    pub errors: usize,
    /// The share of all cases that pass.
    pub coverage: f64,
    /// The share of wrong ones among those that pass.
    pub risk: f64,
}

/// The risk-coverage curve: a point for each confidence that occurs, the highest first.
///
/// # Errors
/// [`Unmeasurable::NoCases`].
pub fn risk_coverage(cases: &[Judged]) -> Result<Vec<RiskPoint>, Unmeasurable> {
    Ok(curve(&Groups::of(cases)?))
}

pub(super) fn curve(groups: &Groups) -> Vec<RiskPoint> {
    let (mut accepted, mut errors) = (0, 0);
    let point = |group: &super::groups::Group| {
        accepted += group.cases;
        errors += group.wrong();
        RiskPoint {
            threshold: group.confidence,
            accepted,
            errors,
            coverage: share(accepted, groups.cases),
            risk: share(errors, accepted),
        }
    };
    groups.groups.iter().rev().map(point).collect()
}

/// The area under the risk-coverage curve (Geifman and El-Yaniv, 2017): the mean risk when the most confident
/// 1, 2, … cases pass, smaller is better. Cases of one confidence pass in no order: their errors are spread evenly.
///
/// # Errors
/// [`Unmeasurable::NoCases`].
pub fn aurc(cases: &[Judged]) -> Result<f64, Unmeasurable> {
    let groups = Groups::of(cases)?;
    let (mut accepted, mut errors, mut sum) = (0, 0, 0.0);
    for group in groups.groups.iter().rev() {
        let each = share(group.wrong(), group.cases);
        for place in 1..=group.cases {
            sum += (share(errors, 1) + each * share(place, 1)) / share(accepted + place, 1);
        }
        accepted += group.cases;
        errors += group.wrong();
    }
    Ok(sum / share(groups.cases, 1))
}
