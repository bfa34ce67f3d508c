//! The review as data.

use std::collections::BTreeMap;

use aiops_core::calibration::{Calibration, CalibrationSettings, Judged};
use aiops_core::{ReviewedCase, Verdict, text};
use jiff::Timestamp;
use serde::Serialize;

use super::{BadLine, ReviewItem};

/// Names of models are cut here.
const NAME: usize = 200;

/// How often each word was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct VerdictCounts {
    /// Right.
    pub right: usize,
    /// Wrong.
    pub wrong: usize,
    /// Unclear: counts neither way.
    pub unclear: usize,
    /// No verdict yet.
    pub open: usize,
}

impl VerdictCounts {
    fn add(&mut self, verdict: Option<Verdict>) {
        *match verdict {
            Some(Verdict::Right) => &mut self.right,
            Some(Verdict::Wrong) => &mut self.wrong,
            Some(Verdict::Unclear) => &mut self.unclear,
            None => &mut self.open,
        } += 1;
    }
}

/// What the verdicts say of one model with one prompt: confidences of different ones do not compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelReview {
    /// The triager.
    pub triager: String,
    /// The model, where one was asked.
    pub model: Option<String>,
    /// The prompt's version, where there is one.
    pub prompt_version: Option<String>,
    /// Its verdicts, of all that was read.
    pub verdicts: VerdictCounts,
    /// Brier score, reliability table, the threshold's risk, and advice for the wanted error rate.
    pub calibration: Option<Calibration>,
    /// Why there is none.
    pub no_calibration: Option<String>,
}

/// A review: what passed the threshold in a time, and whether confidences can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReviewReport {
    /// From when, inclusive.
    pub from: Timestamp,
    /// Until when, exclusive.
    pub to: Timestamp,
    /// Everything that passed the threshold, the oldest first.
    pub items: Vec<ReviewItem>,
    /// Calibration over all verdicts, also older ones. They are on reports that passed: what a lower threshold
    /// would let through is not known from them.
    pub models: Vec<ModelReview>,
    /// Records that were read.
    pub records: u64,
    /// Older reports that were left out at the bound.
    pub left_out: u64,
    /// Lines that could not be used.
    pub bad_lines: u64,
    /// The first hundred of them.
    pub bad: Vec<BadLine>,
}

impl ReviewReport {
    /// The verdicts on what is listed.
    #[must_use]
    pub fn verdicts(&self) -> VerdictCounts {
        let mut counts = VerdictCounts::default();
        for item in &self.items {
            counts.add(item.verdict.as_ref().map(|verdict| verdict.verdict));
        }
        counts
    }

    /// As a page of Markdown. Texts of models, logs and people are encoded: nothing in them is markup or a link.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        super::markdown::page(self)
    }
}

/// Triager, model and version of the prompt.
type Asked<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

pub(super) fn models(cases: &[ReviewedCase], settings: &CalibrationSettings) -> Vec<ModelReview> {
    let mut groups: BTreeMap<Asked<'_>, Vec<&ReviewedCase>> = BTreeMap::new();
    for case in cases {
        let asked = (case.triager.as_str(), case.model.as_deref(), case.prompt_version.as_deref());
        groups.entry(asked).or_default().push(case);
    }
    groups.into_iter().map(|(asked, cases)| model(asked, &cases, settings)).collect()
}

fn model(
    (triager, model, prompt_version): Asked<'_>,
    cases: &[&ReviewedCase],
    settings: &CalibrationSettings,
) -> ModelReview {
    let clip = |name: &str| text::clip(name, NAME);
    let mut verdicts = VerdictCounts::default();
    cases.iter().for_each(|case| verdicts.add(Some(case.verdict)));
    let judged: Vec<Judged> = cases.iter().filter_map(|case| case.judged()).collect();
    let measured = Calibration::measure(&judged, settings);
    ModelReview {
        triager: clip(triager),
        model: model.map(clip),
        prompt_version: prompt_version.map(clip),
        verdicts,
        no_calibration: measured.as_ref().err().map(ToString::to_string),
        calibration: measured.ok(),
    }
}
