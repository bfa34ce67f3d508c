//! What is looked at in a report before anybody trusts it: its bounds, its text, and whether its context says what
//! it says. No model is asked.

mod grounding;
mod words;

use std::fmt;

use aiops_core::{ActionMenu, Redactor, TriageReport, TriageRequest, text};

pub(crate) use self::grounding::Context;

/// The most that a report may say.
const SUMMARY: usize = 2_000;
const CAUSES: usize = 5;
const CAUSE: usize = 500;
/// More distinct actions than this in one report are no plan.
const ACTIONS: usize = 20;

/// A report that breaks a bound which no schema can say. The model may be asked once more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// It says nothing.
    #[error("the summary is empty")]
    EmptySummary,
    /// The summary is a page, not a summary.
    #[error("the summary has {bytes} bytes, at most {SUMMARY} are read")]
    LongSummary {
        /// How many it has.
        bytes: usize,
    },
    /// A list of everything explains nothing.
    #[error("there are {causes} causes, at most {CAUSES} are read")]
    ManyCauses {
        /// How many there are.
        causes: usize,
    },
    /// A cause without text, or a page of it.
    #[error("cause {number} has {bytes} bytes, from 1 to {CAUSE} are read")]
    CauseLength {
        /// Which one, counted from 1.
        number: usize,
        /// How many it has.
        bytes: usize,
    },
    /// More actions than any plan takes.
    #[error("there are {actions} different actions, at most {ACTIONS} are read")]
    ManyActions {
        /// How many there are.
        actions: usize,
    },
}

impl Violation {
    /// As in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::EmptySummary => "empty_summary",
            Self::LongSummary { .. } => "long_summary",
            Self::ManyCauses { .. } => "many_causes",
            Self::CauseLength { .. } => "cause_length",
            Self::ManyActions { .. } => "many_actions",
        }
    }
}

/// What is odd about a report that is otherwise well formed. Some ask for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Flag {
    /// It cites an id that its context does not have.
    UnknownEvidence,
    /// No cause cites anything, nor does the report.
    NoEvidence,
    /// It quotes what its context does not say.
    UnsupportedQuotation,
    /// A number with a unit, a version or a time that its context does not have.
    UnsupportedNumber,
    /// A name of a service, a host or a pod that its context does not have.
    UnsupportedName,
    /// It held a link, which was taken out.
    Link,
    /// It held a secret, which was taken out.
    Secret,
    /// It held characters that do not show, which were taken out.
    Hidden,
    /// An action stood in it more than once.
    RepeatedAction,
    /// An action that the menu does not have. The responder rejects the report.
    UnknownAction,
    /// It recommends actions and asks for a person: nothing of it runs.
    ActionsForAPerson,
}

impl Flag {
    /// As in metrics and in [`Provenance::flags`](aiops_core::Provenance).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownEvidence => "unknown_evidence",
            Self::NoEvidence => "no_evidence",
            Self::UnsupportedQuotation => "unsupported_quotation",
            Self::UnsupportedNumber => "unsupported_number",
            Self::UnsupportedName => "unsupported_name",
            Self::Link => "link",
            Self::Secret => "secret",
            Self::Hidden => "hidden_characters",
            Self::RepeatedAction => "repeated_action",
            Self::UnknownAction => "unknown_action",
            Self::ActionsForAPerson => "actions_for_a_person",
        }
    }

    /// Whether a person must look: evidence or a quotation was made up, or the text carries what only an attacker
    /// puts there.
    #[must_use]
    pub fn asks_for_a_person(self) -> bool {
        match self {
            Self::UnknownEvidence
            | Self::NoEvidence
            | Self::UnsupportedQuotation
            | Self::Link
            | Self::Secret
            | Self::Hidden => true,
            Self::UnsupportedNumber
            | Self::UnsupportedName
            | Self::RepeatedAction
            | Self::UnknownAction
            | Self::ActionsForAPerson => false,
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Checks a report against its bounds.
///
/// # Errors
/// [`Violation`], the first in the order of the fields.
pub(crate) fn bounds(report: &TriageReport) -> Result<(), Violation> {
    let bytes = report.summary.trim().len();
    if bytes == 0 {
        return Err(Violation::EmptySummary);
    }
    if bytes > SUMMARY {
        return Err(Violation::LongSummary { bytes });
    }
    if report.likely_causes.len() > CAUSES {
        return Err(Violation::ManyCauses { causes: report.likely_causes.len() });
    }
    for (cause, number) in report.likely_causes.iter().zip(1..) {
        if cause.trim().is_empty() || cause.len() > CAUSE {
            return Err(Violation::CauseLength { number, bytes: cause.len() });
        }
    }
    // Of a hundred equal ones one is left; a hundred different ones are no plan.
    let actions = report.distinct_actions().len();
    if actions > ACTIONS { Err(Violation::ManyActions { actions }) } else { Ok(()) }
}

/// Cleans the text of a report within its bounds, and says what is odd about it. A flag that asks for a person sets
/// `needs_human`.
pub(crate) fn examine(
    report: &mut TriageReport,
    request: &TriageRequest,
    menu: &ActionMenu,
    prompt: &str,
    redactor: &Redactor,
) -> Vec<Flag> {
    let mut flags = Vec::new();
    let context = Context::new(request, prompt);
    clean(&mut report.summary, redactor, &mut flags);
    report.likely_causes.iter_mut().for_each(|cause| clean(cause, redactor, &mut flags));
    grounding::check(report, &context, &mut flags);
    if report.distinct_actions().len() < report.recommended_actions.len() {
        report.recommended_actions = report.distinct_actions().into_iter().map(str::to_owned).collect();
        flags.push(Flag::RepeatedAction);
    }
    if report.recommended_actions.iter().any(|action| menu.get(action).is_none()) {
        flags.push(Flag::UnknownAction);
    }
    report.needs_human |= flags.iter().any(|flag| flag.asks_for_a_person());
    if report.needs_human && !report.recommended_actions.is_empty() {
        flags.push(Flag::ActionsForAPerson);
    }
    flags.sort_unstable();
    flags.dedup();
    flags
}

/// Takes out what does not show, links and secrets.
fn clean(field: &mut String, redactor: &Redactor, flags: &mut Vec<Flag>) {
    if field.chars().any(|c| text::is_hidden(c) && !matches!(c, '\n' | '\r' | '\t')) {
        flags.push(Flag::Hidden);
    }
    let shown = text::printable(field);
    let (without, links) = words::without_links(&shown);
    if links > 0 {
        flags.push(Flag::Link);
    }
    let redacted = redactor.redact(&without);
    if !redacted.found.is_empty() {
        redacted.found.record();
        flags.push(Flag::Secret);
    }
    *field = redacted.text.into_owned();
}

#[cfg(test)]
mod tests;
