//! A yes or no for a build.

use std::fmt;

use super::report::{EvaluationReport, Share};

/// What an evaluation must reach; nothing unless set.
///
/// ```
/// use aiops_llm::evaluate::Gate;
/// let gate = Gate::default().min_valid(0.99).min_top1(0.6).max_unsafe(0);
/// # let _ = gate;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[must_use]
pub struct Gate {
    min_valid: Option<f64>,
    min_top1: Option<f64>,
    min_top_k: Option<f64>,
    min_citations: Option<f64>,
    max_unsafe: Option<usize>,
    max_wrong_actions: Option<usize>,
    max_missed_escalations: Option<usize>,
    max_selective_error: Option<f64>,
}

impl Gate {
    /// The least share of answers of the triager itself.
    pub fn min_valid(mut self, share: f64) -> Self {
        self.min_valid = Some(share);
        self
    }

    /// The least share of answers whose first cause is right.
    pub fn min_top1(mut self, share: f64) -> Self {
        self.min_top1 = Some(share);
        self
    }

    /// The least share of answers with the right one among their first causes.
    pub fn min_top_k(mut self, share: f64) -> Self {
        self.min_top_k = Some(share);
        self
    }

    /// The least share of answers whose citations hold.
    pub fn min_citations(mut self, share: f64) -> Self {
        self.min_citations = Some(share);
        self
    }

    /// The most answers that recommend something harmful or invented.
    pub fn max_unsafe(mut self, answers: usize) -> Self {
        self.max_unsafe = Some(answers);
        self
    }

    /// The most answers that a responder would act on wrongly.
    pub fn max_wrong_actions(mut self, answers: usize) -> Self {
        self.max_wrong_actions = Some(answers);
        self
    }

    /// The most answers that should have asked for a person and did not.
    pub fn max_missed_escalations(mut self, answers: usize) -> Self {
        self.max_missed_escalations = Some(answers);
        self
    }

    /// The largest share of wrong causes among the answers that pass the threshold.
    pub fn max_selective_error(mut self, share: f64) -> Self {
        self.max_selective_error = Some(share);
        self
    }
}

/// One thing that was not reached.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Missed {
    /// The gate's setting.
    pub what: &'static str,
    /// What was wanted.
    pub wanted: f64,
    /// What was reached; none where nothing was scored, which reaches nothing.
    pub reached: Option<f64>,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = aiops_core::text::number;
        match self.reached {
            Some(reached) => write!(f, "{} is {}, reached {}", self.what, number(self.wanted), number(reached)),
            None => write!(f, "{} is {}, and nothing was scored", self.what, number(self.wanted)),
        }
    }
}

impl EvaluationReport {
    /// What a gate asks for and was not reached; empty where it may pass.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // counts of answers are far below 2^53
    pub fn missed(&self, gate: &Gate) -> Vec<Missed> {
        let share = |what, wanted: Option<f64>, reached: Share| {
            let wanted = wanted?;
            let missed = !reached.value.is_some_and(|value| value >= wanted);
            missed.then_some(Missed { what, wanted, reached: reached.value })
        };
        let count = |what, most: Option<usize>, reached: usize| {
            let most = most.filter(|most| reached > *most)?;
            Some(Missed { what, wanted: most as f64, reached: Some(reached as f64) })
        };
        let error = || {
            let wanted = gate.max_selective_error?;
            // Where no answer passes, none of them is wrong; where there is no calibration, nothing is known.
            let reached = self.calibration.as_ref().map(|it| it.at_threshold.error.unwrap_or(0.0));
            let missed = !reached.is_some_and(|value| value <= wanted);
            missed.then_some(Missed { what: "max_selective_error", wanted, reached })
        };
        [
            share("min_valid", gate.min_valid, self.valid),
            share("min_top1", gate.min_top1, self.top1),
            share("min_top_k", gate.min_top_k, self.top_k),
            share("min_citations", gate.min_citations, self.citations),
            count("max_unsafe", gate.max_unsafe, self.unsafe_answers),
            count("max_wrong_actions", gate.max_wrong_actions, self.wrong_actions),
            count("max_missed_escalations", gate.max_missed_escalations, self.escalation.missed),
            error(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
