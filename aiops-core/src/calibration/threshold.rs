//! What one threshold does.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::interval::{Interval, wilson};
use super::{Judged, Unmeasurable, share};
use crate::names::Confidence;

/// Below this standard deviation a model says the same of every case.
const SMALL_SD: f64 = 0.05;
/// Above this share of cases that pass, a threshold stops next to nothing.
const MOST: f64 = 0.95;

/// Cases at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AtThreshold {
    /// The threshold: exactly this confidence passes.
    pub threshold: Confidence,
    /// All cases.
    pub cases: usize,
    /// Cases that pass.
    pub accepted: usize,
    /// Of them, wrong ones.
    pub errors: usize,
    /// The share of cases that pass.
    pub coverage: f64,
    /// The share of wrong ones among those that pass; none where none passes.
    pub error: Option<f64>,
    /// The 95 % interval of that share (Wilson); 0 to 1 where none passes.
    pub interval: Interval,
}

/// What passes a threshold, and how much of it is wrong.
///
/// # Errors
/// [`Unmeasurable::NoCases`].
pub fn at_threshold(cases: &[Judged], threshold: Confidence) -> Result<AtThreshold, Unmeasurable> {
    if cases.is_empty() {
        return Err(Unmeasurable::NoCases);
    }
    let accepted = cases.iter().filter(|case| case.confidence >= threshold);
    let (accepted, errors) = accepted.fold((0, 0), |(all, wrong), case| (all + 1, wrong + usize::from(!case.correct)));
    Ok(AtThreshold {
        threshold,
        cases: cases.len(),
        accepted,
        errors,
        coverage: share(accepted, cases.len()),
        error: (accepted > 0).then(|| share(errors, accepted)),
        interval: wilson(errors, accepted),
    })
}

/// Whether confidences differ enough for a threshold to do anything.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// The standard deviation of the confidences.
    pub sd: f64,
    /// The share of cases that pass the threshold.
    pub above: f64,
}

impl Spread {
    /// Whether the model says next to the same of every case (standard deviation below 0.05).
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.sd < SMALL_SD
    }

    /// Whether more than 95 % of the cases pass.
    #[must_use]
    pub fn passes_all(&self) -> bool {
        self.above > MOST
    }

    /// Whether the threshold has no effect: an alarm for whoever relies on it.
    #[must_use]
    pub fn is_degenerate(&self) -> bool {
        self.is_flat() || self.passes_all()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = 100.0 * self.above;
        if self.is_degenerate() {
            f.write_str("the threshold has no effect: ")?;
        }
        write!(f, "confidences have a standard deviation of {:.3}, {above:.1} % of the cases pass", self.sd)
    }
}

/// How far confidences spread, and how many pass `threshold`.
///
/// # Errors
/// [`Unmeasurable::NoCases`].
pub fn spread(cases: &[Judged], threshold: Confidence) -> Result<Spread, Unmeasurable> {
    let at = at_threshold(cases, threshold)?;
    let mean = cases.iter().map(|case| case.confidence.value()).sum::<f64>() / share(cases.len(), 1);
    let squares = cases.iter().map(|case| (case.confidence.value() - mean).powi(2)).sum::<f64>();
    Ok(Spread { sd: (squares / share(cases.len(), 1)).sqrt(), above: at.coverage })
}
