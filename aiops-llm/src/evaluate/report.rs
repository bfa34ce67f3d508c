//! What came of an evaluation.

use std::collections::{BTreeMap, BTreeSet};

use aiops_core::Confidence;
use aiops_core::calibration::{Calibration, CalibrationError, CalibrationSettings, Interval, wilson};
use serde::Serialize;

use super::aggregate;
use super::{IncidentSet, Score};

/// A part of a whole, with its 95 % interval (Wilson), which takes the answers as independent: with repeats it is
/// too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Share {
    /// The part.
    pub hits: usize,
    /// The whole.
    pub of: usize,
    /// The part of the whole, `0..=1`; none where the whole is 0.
    pub value: Option<f64>,
    /// Its interval; 0 to 1 where the whole is 0.
    pub interval: Interval,
}

impl Share {
    /// So many of so many.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    pub fn new(hits: usize, of: usize) -> Self {
        let value = (of > 0).then(|| hits as f64 / of as f64);
        Self { hits, of, value, interval: wilson(hits, of) }
    }

    /// Of what is scored, what is true.
    pub(super) fn of(scored: impl Iterator<Item = bool>) -> Self {
        let (mut hits, mut of) = (0, 0);
        for hit in scored {
            hits += usize::from(hit);
            of += 1;
        }
        Self::new(hits, of)
    }
}

/// Answers by what they recommend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct ActionCounts {
    /// Nothing.
    pub nothing: usize,
    /// Only what would help.
    pub acceptable: usize,
    /// Something that neither helps nor is forbidden.
    pub unwanted: usize,
    /// Something that would do harm.
    pub forbidden: usize,
    /// Something that the menu does not have.
    pub unknown: usize,
}

/// Whether a person was asked, against whether one should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Escalation {
    /// Asked, and rightly so.
    pub right: usize,
    /// Asked for nothing.
    pub needless: usize,
    /// Not asked, although one should be.
    pub missed: usize,
    /// Not asked, and rightly so.
    pub left_alone: usize,
}

/// Seconds until an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// Half of the answers took at most this.
    pub median: f64,
    /// 95 % of the answers took at most this.
    pub p95: f64,
    /// The longest.
    pub max: f64,
}

/// What all answers took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Cost {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// US dollars, of the answers whose price is known.
    pub dollars: f64,
    /// Answers that took tokens at an unknown price.
    pub unpriced: usize,
}

/// The answers to one group of incidents.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TagRow {
    /// The tag.
    pub tag: String,
    /// Answers.
    pub answers: usize,
    /// First cause right.
    pub top1: Share,
    /// Answers that recommend nothing harmful and nothing invented.
    pub safe: Share,
    /// A person asked where one should be, and not where none should.
    pub escalation: Share,
}

/// What came of an evaluation, as JSON or, by [`to_markdown`](Self::to_markdown), for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EvaluationReport {
    /// The triager's name.
    pub triager: String,
    /// The models that answered.
    pub models: BTreeSet<String>,
    /// The versions of their prompts.
    pub prompt_versions: BTreeSet<String>,
    /// Incidents.
    pub incidents: usize,
    /// Lines and files of the set that could not be read.
    pub unread: usize,
    /// How often each incident was asked.
    pub repeats: u32,
    /// Answers: incidents times repeats.
    pub answers: usize,
    /// The threshold of confidence.
    pub threshold: Confidence,
    /// Answers of the triager itself that kept the schema.
    pub valid: Share,
    /// Of the others, those of a fallback.
    pub fallback: usize,
    /// Answers whose first cause is right.
    pub top1: Share,
    /// Among how many causes `top_k` looks.
    pub k: usize,
    /// Answers with the right one among their first `k` causes.
    pub top_k: Share,
    /// Answers by what they recommend.
    pub actions: ActionCounts,
    /// Answers that recommend something harmful or invented, whatever a policy would make of it.
    pub unsafe_answers: usize,
    /// Answers that a responder would act on, and not only with what helps.
    pub wrong_actions: usize,
    /// Where something helps: answers by which a responder would do it.
    pub helped: Share,
    /// Whether a person was asked.
    pub escalation: Escalation,
    /// Answers whose citations hold, of those of the triager itself.
    pub citations: Share,
    /// Incidents whose repeats agree in cause, actions and escalation; of 0 without repeats.
    pub agreement: Share,
    /// Answers from the triager's own cache: such repeats say nothing.
    pub cached: usize,
    /// Answers by what was odd about them.
    pub flags: BTreeMap<String, usize>,
    /// Seconds until an answer; none without answers.
    pub latency: Option<Latency>,
    /// What all answers took.
    pub cost: Cost,
    /// The same by group.
    pub tags: Vec<TagRow>,
    /// Whether confidence can be trusted, over the triager's own first answers with a scored cause; none where there
    /// are none.
    pub calibration: Option<Calibration>,
    /// Why there is no calibration.
    pub no_calibration: Option<String>,
    /// Every answer.
    pub scores: Vec<Score>,
}

impl EvaluationReport {
    pub(super) fn new(
        triager: &str,
        set: &IncidentSet,
        scores: Vec<Score>,
        settings: &CalibrationSettings,
        k: usize,
        repeats: u32,
    ) -> Self {
        let provenances = || scores.iter().filter_map(|score| score.provenance.as_ref());
        let own = || scores.iter().filter(|score| aggregate::is_own(score));
        let measured = Calibration::measure(&aggregate::judged(&scores), settings);
        let no_calibration = measured.as_ref().err().map(CalibrationError::to_string);
        Self {
            triager: triager.to_owned(),
            models: provenances().filter_map(|it| it.model.clone()).collect(),
            prompt_versions: provenances().filter_map(|it| it.prompt_version.clone()).collect(),
            incidents: set.incidents.len(),
            unread: set.faults.len(),
            repeats,
            answers: scores.len(),
            threshold: settings.threshold,
            valid: Share::new(own().count(), scores.len()),
            fallback: scores.iter().filter(|score| aggregate::is_fallback(score)).count(),
            top1: Share::of(scores.iter().filter_map(|score| score.first_cause)),
            k,
            top_k: Share::of(scores.iter().filter_map(|score| score.any_cause)),
            actions: aggregate::actions(&scores),
            unsafe_answers: scores.iter().filter(|score| !score.actions.is_safe()).count(),
            wrong_actions: scores.iter().filter(|score| score.acts_wrongly()).count(),
            helped: aggregate::helped(set, &scores),
            escalation: aggregate::escalation(&scores),
            citations: Share::of(own().map(|score| score.citations_hold)),
            agreement: aggregate::agreement(&scores, repeats),
            cached: provenances().filter(|it| it.cache_hit).count(),
            flags: aggregate::flags(&scores),
            latency: aggregate::latency(&scores),
            cost: aggregate::cost(&scores),
            tags: aggregate::tags(set, &scores),
            calibration: measured.ok(),
            no_calibration,
            scores,
        }
    }
}
