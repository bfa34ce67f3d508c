//! What each stage is held to, and how far it keeps it: how fresh its input is, how long it takes, how
//! often it fails.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StageParts;
use crate::time::human_serde;

/// How old what a stage works on may be, and how long its work may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Objective {
    /// Age of what it works on, when it does.
    #[serde(with = "human_serde")]
    pub freshness: Duration,
    /// Time until its work is out.
    #[serde(with = "human_serde")]
    pub latency: Duration,
}

impl Objective {
    /// An objective of these times.
    #[must_use]
    pub const fn new(freshness: Duration, latency: Duration) -> Self {
        Self { freshness, latency }
    }
}

/// The objectives of the three stages. Each piece of work is counted as within them or not
/// (`aiops_stage_slo_total`), so that burn rates need no buckets.
///
/// | stage | freshness: age of | latency: from … to … | an error is |
/// |---|---|---|---|
/// | `detection` | a firing sighting, when it is decided on | the decision to announce, a channel that took it | an evaluation that gave nothing, an announcement that no channel took |
/// | `triage` | the event, when its report is begun | that moment, the report on the bus | a report that is a stand-in, or that the bus did not take |
/// | `remediation` | the report, when the responder is asked | that moment, the answer published and told | an attempt without an answer |
///
/// ```
/// let objectives: aiops_core::Objectives = serde_json::from_str(r#"{"triage": {"freshness": "5m", "latency": "1m"}}"#)?;
/// assert_eq!(objectives.detection, aiops_core::Objectives::default().detection);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Objectives {
    /// Of detection.
    pub detection: Objective,
    /// Of triage.
    pub triage: Objective,
    /// Of remediation.
    pub remediation: Objective,
}

impl Default for Objectives {
    /// - Detection: 2 min (a scrape, a recording rule and an evaluation, each every 30 s), 30 s (the
    ///   deadlines of three channels).
    /// - Triage: 3 min (those 2 min, and `group_wait`), 2 min (the default deadline of a triager).
    /// - Remediation: 1 min (reports wait for nothing), 4 min (the default deadline of a responder).
    fn default() -> Self {
        let of = |freshness, latency| Objective::new(Duration::from_secs(freshness), Duration::from_secs(latency));
        Self { detection: of(120, 30), triage: of(180, 120), remediation: of(60, 240) }
    }
}

/// A stage, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measured {
    Detection,
    Triage,
    Remediation,
}

impl Measured {
    fn name(self) -> &'static str {
        match self {
            Self::Detection => super::detection::STAGE,
            Self::Triage => super::triage::STAGE,
            Self::Remediation => super::remediation::STAGE,
        }
    }
}

impl StageParts {
    fn objective(&self, stage: Measured) -> Objective {
        match stage {
            Measured::Detection => self.objectives.detection,
            Measured::Triage => self.objectives.triage,
            Measured::Remediation => self.objectives.remediation,
        }
    }

    /// A stage began to work on something so old.
    pub(crate) fn began(&self, stage: Measured, age: Duration) {
        metrics::histogram!("aiops_stage_freshness_seconds", "stage" => stage.name()).record(age.as_secs_f64());
        count(stage, "freshness", age <= self.objective(stage).freshness);
    }

    /// A stage's work is out after so long.
    pub(crate) fn took(&self, stage: Measured, time: Duration) {
        metrics::histogram!("aiops_stage_latency_seconds", "stage" => stage.name()).record(time.as_secs_f64());
        count(stage, "latency", time <= self.objective(stage).latency);
    }
}

/// A stage did one thing, well or not.
pub(crate) fn ended(stage: Measured, well: bool) {
    count(stage, "errors", well);
}

fn count(stage: Measured, slo: &'static str, met: bool) {
    let met = if met { "yes" } else { "no" };
    metrics::counter!("aiops_stage_slo_total", "stage" => stage.name(), "slo" => slo, "met" => met).increment(1);
}
