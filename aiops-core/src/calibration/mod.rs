//! Whether confidences can be trusted, as pure functions over pairs of confidence and truth.
//!
//! | question | function |
//! |---|---|
//! | how far are confidences from the truth, and why | [`brier`] |
//! | is a confidence of 0.8 right in 8 of 10 cases | [`ece`], [`reliability`] |
//! | do right reports get the higher confidence | [`auroc`] |
//! | how many errors does each threshold let through | [`risk_coverage`], [`aurc`] |
//! | what does this threshold do | [`at_threshold`], [`spread`] |
//! | which threshold holds errors below a rate | [`advise`] |
//! | all of it | [`Calibration::measure`] |
//!
//! No figure is ever NaN: where there is nothing to measure the answer is an [`Unmeasurable`]. The order of
//! the cases has no influence. Measure one model and one prompt at a time, on cases later than those that a
//! threshold was chosen on.
//!
//! ```
//! use aiops_core::Confidence;
//! use aiops_core::calibration::{Advice, Judged, advise};
//!
//! let sure = Confidence::new(0.9)?;
//! let cases = vec![Judged::new(sure, true); 29];
//! // 29 of 29 prove at most 10 % errors at 95 %; 28 of 28 do not.
//! assert!(matches!(advise(&cases, 0.1)?, Advice::Threshold(_)));
//! assert!(matches!(advise(&cases[1..], 0.1)?, Advice::TooFew { cases: 28, needed: 29 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod advice;
mod bins;
mod brier;
mod groups;
mod interval;
mod measure;
mod ranking;
mod threshold;

use serde::{Deserialize, Serialize};

pub use self::advice::{Accepted, Advice, InvalidErrorRate, advise};
pub use self::bins::{Ece, MAX_BINS, ReliabilityBin, ece, reliability};
pub use self::brier::{Brier, brier};
pub use self::interval::{Interval, error_bound, wilson};
pub use self::measure::{Calibration, CalibrationError, CalibrationSettings};
pub use self::ranking::{RiskPoint, aurc, auroc, risk_coverage};
pub use self::threshold::{AtThreshold, Spread, at_threshold, spread};
use crate::names::Confidence;

/// What a report said of itself, and whether it was right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What it said of itself.
    pub confidence: Confidence,
    /// Whether it was right.
    pub correct: bool,
}

impl Judged {
    /// A pair.
    #[must_use]
    pub fn new(confidence: Confidence, correct: bool) -> Self {
        Self { confidence, correct }
    }
}

/// Why there is no figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unmeasurable {
    /// There is no case.
    #[error("there is no judged case")]
    NoCases,
    /// All cases are right, or all are wrong: nothing can be told apart.
    #[error("all {cases} cases are {}: nothing to tell apart", if *.correct { "right" } else { "wrong" })]
    OneClass {
        /// How many there are.
        cases: usize,
        /// What they are.
        correct: bool,
    },
}

/// A share. Counts of cases are far below 2^53, where they are exact.
#[allow(clippy::cast_precision_loss)]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
