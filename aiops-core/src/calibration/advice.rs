//! The threshold for a wanted error rate.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Judged;
use super::groups::Groups;
use super::interval::{SURE, error_bound, rules_out};
use super::ranking::{RiskPoint, curve};

/// What passes a threshold, and what that proves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Accepted {
    /// The threshold: this confidence passes.
    pub threshold: f64,
    /// Cases that pass.
    pub accepted: usize,
    /// Of them, wrong ones.
    pub errors: usize,
    /// The error rate that these rule out at 95 %.
    pub error_bound: f64,
}

impl From<&RiskPoint> for Accepted {
    fn from(point: &RiskPoint) -> Self {
        let RiskPoint { threshold, accepted, errors, .. } = *point;
        Self { threshold, accepted, errors, error_bound: error_bound(errors, accepted) }
    }
}

/// Which threshold holds errors below a wanted rate.
///
/// The bound holds for one threshold. Looking through many and taking the first that fits makes it a little
/// optimistic, so confirm it on later cases with [`at_threshold`](super::at_threshold).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "advice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Advice {
    /// The smallest threshold at which errors above the wanted rate are ruled out at 95 %.
    Threshold(Accepted),
    /// No advice: so few cases prove nothing, even if all were right.
    TooFew {
        /// How many there are.
        cases: usize,
        /// How many are needed at least, all of them right.
        needed: usize,
    },
    /// No advice: no threshold reaches the rate.
    OutOfReach {
        /// The threshold that comes nearest.
        nearest: Accepted,
    },
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |f: &mut fmt::Formatter<'_>, at: &Accepted| {
            let (right, bound) = (at.accepted - at.errors, 100.0 * at.error_bound);
            let Accepted { threshold, accepted, .. } = at;
            write!(f, "{threshold}: {right} of {accepted} were right, errors are at most {bound:.1} % at 95 %")
        };
        match self {
            Self::Threshold(at) => {
                f.write_str("take a threshold of ")?;
                shown(f, at)
            }
            Self::TooFew { cases, needed } => {
                write!(f, "no advice: {cases} cases are too few, {needed} are needed even if all are right")
            }
            Self::OutOfReach { nearest } => {
                f.write_str("no advice: no threshold reaches the wanted rate; nearest is ")?;
                shown(f, nearest)
            }
        }
    }
}

/// A wanted error rate that is none.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("wanted error rate {0}: it must be above 0 and below 1")]
pub struct InvalidErrorRate(f64);

/// The smallest threshold whose one-sided Clopper-Pearson bound at 95 % is at most `wanted` (above 0, below 1).
/// No case at all is [`Advice::TooFew`].
///
/// # Errors
/// [`InvalidErrorRate`].
pub fn advise(cases: &[Judged], wanted: f64) -> Result<Advice, InvalidErrorRate> {
    if !(wanted > 0.0 && wanted < 1.0) {
        return Err(InvalidErrorRate(wanted));
    }
    let points = Groups::of(cases).map(|groups| curve(&groups)).unwrap_or_default();
    if let Some(point) = points.iter().rev().find(|point| rules_out(point.errors, point.accepted, wanted)) {
        return Ok(Advice::Threshold(point.into()));
    }
    let needed = needed(wanted);
    if cases.len() < needed {
        return Ok(Advice::TooFew { cases: cases.len(), needed });
    }
    let nearest = points.iter().map(Accepted::from).min_by(|a, b| a.error_bound.total_cmp(&b.error_bound));
    Ok(nearest.map_or(Advice::TooFew { cases: cases.len(), needed }, |nearest| Advice::OutOfReach { nearest }))
}

/// Cases that prove the rate if all of them are right: `(1 - rate)^n <= 5 %`.
fn needed(rate: f64) -> usize {
    let exact = (1.0 - SURE).ln() / (-rate).ln_1p();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // above 0, and a cast of floats saturates
    let whole = exact.ceil() as usize;
    whole
}
