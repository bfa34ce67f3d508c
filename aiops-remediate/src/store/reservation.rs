//! Marks: what cool-down, loop guard and budgets count, and whether a plan gets them.

use std::fmt;
use std::time::Duration;

use aiops_core::time::{human, minus};
use aiops_core::{ActionName, ActionRequest, Target};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::types::ReportId;
use crate::catalogue::BlastRadius;
use crate::mutant::mutant;

/// One action on one target, as cool-down, loop guard and budgets count it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// For which report.
    pub report: ReportId,
    /// Of which identity (no time).
    pub identity: String,
    /// The action.
    pub action: ActionName,
    /// Its target.
    pub target: Target,
    /// When it was reserved.
    pub at: Timestamp,
    /// How much breaks at worst, where the one who took the mark said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blast_radius: Option<BlastRadius>,
}

impl Run {
    /// A mark.
    pub fn new(
        report: ReportId,
        identity: impl Into<String>,
        action: ActionName,
        target: Target,
        at: Timestamp,
    ) -> Self {
        Self { report, identity: identity.into(), action, target, at, blast_radius: None }
    }

    /// How much breaks at worst.
    #[must_use]
    pub fn blast_radius(mut self, radius: BlastRadius) -> Self {
        self.blast_radius = Some(radius);
        self
    }

    /// Whether it was taken for this request, of the same report.
    pub(super) fn is_of(&self, request: &ActionRequest) -> bool {
        self.action == request.action && self.target == request.target
    }

    /// Whether both are of one report's action on one target: such a mark is taken once.
    #[must_use]
    pub fn same_step(&self, other: &Self) -> bool {
        self.report == other.report && self.action == other.action && self.target == other.target
    }
}

/// What a budget counts together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BudgetScope {
    /// Every run.
    Overall,
    /// Runs of this action; of each action by itself where none is named.
    Action(Option<ActionName>),
    /// Runs on each target by itself.
    Target,
    /// Runs of this blast radius; of each radius by itself where none is named.
    BlastRadius(Option<BlastRadius>),
}

/// At most so many runs in a sliding window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Budget {
    /// What is counted together.
    pub scope: BudgetScope,
    /// At most so many runs
    pub max: u32,
    /// in this time: a run counts until it is exactly this old.
    pub per: Duration,
}

impl Budget {
    /// A budget.
    #[must_use]
    pub fn new(scope: BudgetScope, max: u32, per: Duration) -> Self {
        Self { scope, max, per }
    }

    /// Whether `run` draws on it.
    fn concerns(&self, run: &Run) -> bool {
        match &self.scope {
            BudgetScope::Overall | BudgetScope::Target => true,
            BudgetScope::Action(action) => action.as_ref().is_none_or(|action| *action == run.action),
            BudgetScope::BlastRadius(radius) => radius.is_none_or(|radius| Some(radius) == run.blast_radius),
        }
    }

    /// Whether `other` was drawn from the same share of it as `run` is.
    fn counts(&self, run: &Run, other: &Run) -> bool {
        other.at > minus(run.at, self.per)
            && match &self.scope {
                BudgetScope::Overall => true,
                BudgetScope::Action(_) => other.action == run.action,
                BudgetScope::Target => other.target == run.target,
                BudgetScope::BlastRadius(_) => other.blast_radius == run.blast_radius,
            }
    }

    /// How many of the marks count against `run`.
    pub(crate) fn used<'a>(&self, run: &Run, marks: impl Iterator<Item = &'a Run>) -> u32 {
        if !self.concerns(run) {
            return 0;
        }
        u32::try_from(marks.filter(|mark| self.counts(run, mark)).count()).unwrap_or(u32::MAX)
    }

    /// Why a run that finds `used` of it gone must not be.
    pub(crate) fn refusal(&self, run: &Run, used: u32) -> Option<String> {
        (self.concerns(run) && used >= self.max)
            .then(|| format!("budget {self}: {used} of {} runs are used, the next must wait", self.max))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            BudgetScope::Overall => f.write_str("overall")?,
            BudgetScope::Action(None) => f.write_str("per action")?,
            BudgetScope::Action(Some(action)) => write!(f, "of action {action}")?,
            BudgetScope::Target => f.write_str("per target")?,
            BudgetScope::BlastRadius(None) => f.write_str("per blast radius")?,
            BudgetScope::BlastRadius(Some(radius)) => write!(f, "of blast radius {radius}")?,
        }
        write!(f, ", {} in {}", self.max, human(self.per))
    }
}

/// The marks that a plan asks for, and what must hold for it.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Reservation {
    /// The marks, each with the cool-down of its action on its target.
    pub runs: Vec<(Run, Option<Duration>)>,
    /// At most so many reports of one identity that acted in this time.
    pub loop_guard: Option<(u32, Duration)>,
    /// What the runs draw on.
    pub budgets: Vec<Budget>,
    /// At most so many reports may be open, this one with them; those that wait for approval count.
    pub max_open: Option<u32>,
}

impl Reservation {
    /// The report that asks.
    pub(super) fn report(&self) -> Option<&ReportId> {
        self.runs.first().map(|(run, _)| &run.report)
    }

    /// The answer to a report that somebody else has closed.
    pub(super) fn closed() -> Reserved {
        Reserved::Refused { reason: "the report was answered by another process".to_owned() }
    }

    /// A reservation.
    #[must_use]
    pub fn new(runs: Vec<(Run, Option<Duration>)>, loop_guard: Option<(u32, Duration)>) -> Self {
        Self { runs, loop_guard, budgets: Vec::new(), max_open: None }
    }

    /// What the runs draw on.
    #[must_use]
    pub fn budgets(mut self, budgets: Vec<Budget>) -> Self {
        self.budgets = budgets;
        self
    }

    /// At most so many reports may be open, this one with them.
    #[must_use]
    pub fn max_open(mut self, max: Option<u32>) -> Self {
        self.max_open = max;
        self
    }

    /// Marks older than this play no part.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        let guard = self.loop_guard.map(|(_, per)| per);
        let longest = self.budgets.iter().map(|budget| budget.per).chain(guard).max();
        let start =
            |(run, cooldown): &(Run, Option<Duration>)| longest.max(*cooldown).map(|longest| minus(run.at, longest));
        self.runs.iter().filter_map(start).min()
    }

    /// Why the marks must not be taken, given those that were taken before; a report's own marks do not
    /// stand in its way.
    ///
    /// A store calls this and takes the marks without letting another change in between.
    #[must_use]
    pub fn refusal(&self, marks: &[Run]) -> Option<String> {
        let mut earlier: Vec<&Run> = Vec::with_capacity(self.runs.len());
        for (run, cooldown) in &self.runs {
            if marks.iter().any(|mark| mark.same_step(run)) {
                continue;
            }
            let cooling = cooldown.and_then(|cooldown| cooling(run, cooldown, marks));
            let cooling = cooling.filter(|_| !mutant!("cooldown_not_reserved"));
            let looping = || self.loop_guard.and_then(|(max, per)| looping(run, max, per, marks));
            let over = || {
                self.budgets.iter().find_map(|budget| {
                    let counted = marks.iter().chain(earlier.iter().copied());
                    budget.refusal(run, budget.used(run, counted))
                })
            };
            if let Some(reason) = cooling.or_else(looping).or_else(over) {
                return Some(reason);
            }
            earlier.push(run);
        }
        None
    }

    /// The marks that are not there yet.
    #[must_use]
    pub fn missing(&self, marks: &[Run]) -> Vec<Run> {
        let runs = self.runs.iter().map(|(run, _)| run);
        runs.filter(|run| !marks.iter().any(|mark| mark.same_step(run))).cloned().collect()
    }

    /// Why the report must wait, where `others` were opened before it and are still open.
    #[must_use]
    pub fn crowded(&self, others: usize) -> Option<String> {
        let max = self.max_open?;
        (others >= usize::try_from(max).unwrap_or(usize::MAX)).then(|| {
            format!("{others} plans are running or waiting for approval, at most {max}; settle one of them first")
        })
    }
}

fn cooling(run: &Run, cooldown: Duration, marks: &[Run]) -> Option<String> {
    let on_target = |mark: &&Run| mark.action == run.action && mark.target == run.target;
    let last = marks.iter().filter(on_target).map(|mark| mark.at).max()?;
    (minus(run.at, cooldown) < last).then(|| {
        let (action, target) = (&run.action, &run.target);
        format!("cool-down: {action} on {target} was started at {last}, cool-down {}", human(cooldown))
    })
}

fn looping(run: &Run, max: u32, per: Duration, marks: &[Run]) -> Option<String> {
    let count = acted_on(&run.identity, minus(run.at, per), marks.iter().filter(|mark| mark.report != run.report));
    (count >= max).then(|| {
        let identity = &run.identity;
        format!("loop guard: {identity} was acted on {count} times in {}, at most {max}", human(per))
    })
}

/// How many reports on an identity were acted on after `from`.
pub(crate) fn acted_on<'a>(identity: &str, from: Timestamp, marks: impl Iterator<Item = &'a Run>) -> u32 {
    let mut reports: Vec<&ReportId> =
        marks.filter(|mark| mark.identity == identity && mark.at > from).map(|mark| &mark.report).collect();
    reports.sort_unstable();
    reports.dedup();
    u32::try_from(reports.len()).unwrap_or(u32::MAX)
}

/// Whether a plan got its marks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reserved {
    /// All of them.
    Granted,
    /// None of them.
    Refused {
        /// Why, for a person.
        reason: String,
    },
}
