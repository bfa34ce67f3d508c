//! All figures of one set of cases.

use serde::{Deserialize, Serialize};

use super::{
    Advice, AtThreshold, Brier, Ece, InvalidErrorRate, Judged, MAX_BINS, ReliabilityBin, RiskPoint, Spread,
    Unmeasurable, advise, at_threshold, aurc, auroc, brier, ece, reliability, risk_coverage, spread,
};
use crate::names::Confidence;

/// What is asked of a set of cases.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CalibrationSettings {
    /// The threshold in use.
    pub threshold: Confidence,
    /// The error rate that is wanted among what passes, above 0 and below 1.
    pub wanted_error: f64,
    /// Bins, 1 to [`MAX_BINS`].
    pub bins: usize,
    /// Of the bootstrap.
    pub seed: u64,
}

impl CalibrationSettings {
    /// At this threshold, with a wanted error rate of 0.1, [`MAX_BINS`] bins and seed 0.
    #[must_use]
    pub fn new(threshold: Confidence) -> Self {
        Self { threshold, wanted_error: 0.1, bins: MAX_BINS, seed: 0 }
    }

    /// The error rate that is wanted among what passes.
    #[must_use]
    pub fn wanted_error(mut self, rate: f64) -> Self {
        self.wanted_error = rate;
        self
    }

    /// Bins.
    #[must_use]
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins;
        self
    }

    /// The seed of the bootstrap.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// Why a set of cases has no figures.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// There is nothing to measure.
    #[error(transparent)]
    Unmeasurable(#[from] Unmeasurable),
    /// The wanted error rate is none.
    #[error(transparent)]
    ErrorRate(#[from] InvalidErrorRate),
}

/// All figures of one set of cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calibration {
    /// Cases.
    pub cases: usize,
    /// Of them, right ones.
    pub correct: usize,
    /// Distance from the truth.
    pub brier: Brier,
    /// Calibration error.
    pub ece: Ece,
    /// The reliability table, the lowest confidence first.
    pub reliability: Vec<ReliabilityBin>,
    /// Whether right cases have the higher confidence; none where all are right or all are wrong.
    pub auroc: Option<f64>,
    /// The risk-coverage curve, the highest confidence first.
    pub risk_coverage: Vec<RiskPoint>,
    /// The area under it.
    pub aurc: f64,
    /// What the threshold in use does.
    pub at_threshold: AtThreshold,
    /// Whether it does anything.
    pub spread: Spread,
    /// The error rate that is wanted.
    pub wanted_error: f64,
    /// The threshold for it.
    pub advice: Advice,
}

impl Calibration {
    /// Measures a set of cases.
    ///
    /// # Errors
    /// [`CalibrationError`]: no case, or a wanted error rate that is none.
    pub fn measure(cases: &[Judged], settings: &CalibrationSettings) -> Result<Self, CalibrationError> {
        Ok(Self {
            cases: cases.len(),
            correct: cases.iter().filter(|case| case.correct).count(),
            brier: brier(cases, settings.bins)?,
            ece: ece(cases, settings.bins, settings.seed)?,
            reliability: reliability(cases, settings.bins)?,
            auroc: auroc(cases).ok(),
            risk_coverage: risk_coverage(cases)?,
            aurc: aurc(cases)?,
            at_threshold: at_threshold(cases, settings.threshold)?,
            spread: spread(cases, settings.threshold)?,
            wanted_error: settings.wanted_error,
            advice: advise(cases, settings.wanted_error)?,
        })
    }
}
