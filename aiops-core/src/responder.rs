//! The responder: a report in, exactly one disposition out.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::{Outcome, Target};
use crate::error::BoxError;
use crate::event::DetectionEvent;
use crate::names::IncidentId;
use crate::triage::Triaged;

/// What became of a report: exactly one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "disposition", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Disposition {
    /// The plan ran.
    Executed,
    /// It would have run, in shadow mode or as a dry run.
    WouldExecute,
    /// A person must approve it.
    AwaitingApproval,
    /// Valid, but not allowed, or stopped in mid-plan: a person is told.
    Escalated {
        /// Why, for a person.
        reason: String,
    },
    /// Invalid, or an unknown action: a person is told.
    Rejected {
        /// Why, for a person.
        reason: String,
    },
    /// It was handled before.
    Duplicate,
    /// There is nothing to do.
    NoAction,
}

impl Disposition {
    /// The disposition's name in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::WouldExecute => "would_execute",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Escalated { .. } => "escalated",
            Self::Rejected { .. } => "rejected",
            Self::Duplicate => "duplicate",
            Self::NoAction => "no_action",
        }
    }

    /// Why, where there is a reason.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Escalated { reason } | Self::Rejected { reason } => Some(reason),
            _ => None,
        }
    }
}

/// What the policy says to one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may run.
    Allow,
    /// It may run once a person approves.
    RequireApproval,
    /// It must not run.
    Deny,
}

/// A number, word or flag that a rule compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[non_exhaustive]
pub enum RuleInput {
    /// Yes or no.
    Flag(bool),
    /// A number; durations are in seconds.
    Number(f64),
    /// A name.
    Text(Cow<'static, str>),
}

impl From<bool> for RuleInput {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<f64> for RuleInput {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for RuleInput {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<Duration> for RuleInput {
    fn from(duration: Duration) -> Self {
        Self::Number(duration.as_secs_f64())
    }
}

impl From<&'static str> for RuleInput {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for RuleInput {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

/// One rule that was asked about a step, with what it looked at and what it said.
///
/// A plan holds a dozen of them for every report, so names are static and a verdict that passes says
/// it by its inputs alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RuleVerdict {
    /// The rule's name.
    pub rule: Cow<'static, str>,
    /// Whether it lets the step pass.
    pub pass: bool,
    /// What is wrong, as a person would read it; empty where it passes and its inputs say all.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'static, str>,
    /// The numbers and names that it compared, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<(Cow<'static, str>, RuleInput)>,
}

impl RuleVerdict {
    /// A verdict.
    pub fn new(rule: impl Into<Cow<'static, str>>, pass: bool, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { rule: rule.into(), pass, detail: detail.into(), inputs: Vec::new() }
    }

    /// One thing that was compared.
    #[must_use]
    pub fn input(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<RuleInput>) -> Self {
        self.inputs.push((name.into(), value.into()));
        self
    }
}

/// One action of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Step {
    /// The action's name, as the report has it.
    pub action: String,
    /// What it is done to; absent where the labels give none.
    pub target: Option<Target>,
    /// What the policy says.
    pub decision: Decision,
    /// Why, for a person.
    pub reason: String,
    /// Every rule that was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleVerdict>,
    /// Whether it helped, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Runs only if the step at this place (counted from 0) had no effect; absent for a step of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<usize>,
}

impl Step {
    /// A step without rules or outcome.
    pub fn new(
        action: impl Into<String>,
        target: Option<Target>,
        decision: Decision,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            action: action.into(),
            target,
            decision,
            reason: reason.into(),
            rules: Vec::new(),
            outcome: None,
            after: None,
        }
    }
}

/// What would be done about one report, and why.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Rules over the report as a whole.
    pub rules: Vec<RuleVerdict>,
}

impl Plan {
    /// A plan.
    #[must_use]
    pub fn new(steps: Vec<Step>, rules: Vec<RuleVerdict>) -> Self {
        Self { steps, rules }
    }
}

/// A responder's answer to one report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Response {
    /// The incident.
    pub incident_id: IncidentId,
    /// What became of the report.
    pub disposition: Disposition,
    /// The plan.
    pub plan: Plan,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

impl Response {
    /// An answer.
    #[must_use]
    pub fn new(incident_id: IncidentId, disposition: Disposition, plan: Plan, at: Timestamp) -> Self {
        Self { incident_id, disposition, plan, at }
    }
}

/// A report that was left without an answer, and the answer that recovery found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Recovered {
    /// The report.
    pub triaged: Triaged,
    /// What became of it.
    pub response: Response,
}

impl Recovered {
    /// An answer that was found.
    #[must_use]
    pub fn new(triaged: Triaged, response: Response) -> Self {
        Self { triaged, response }
    }
}

/// A responder that could not answer: the message stays on the bus and comes again.
#[derive(Debug, thiserror::Error)]
#[error("could not respond to incident {incident_id}")]
#[non_exhaustive]
pub struct RespondError {
    /// The incident.
    pub incident_id: IncidentId,
    /// Whether asking again may help.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl RespondError {
    /// An error that asking again may not meet.
    pub fn retryable(incident_id: IncidentId, source: impl Into<BoxError>) -> Self {
        Self { incident_id, retryable: true, source: source.into() }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Decides what becomes of a report, and does it.
///
/// # Contract
/// - `respond` gives exactly one disposition for each report. Messages come at least once: the second
///   delivery of one report must be answered with [`Disposition::Duplicate`], or with the same
///   answer and no second effect.
/// - It must not trust the report: names that are not in its catalogue reject the whole report.
/// - `resolved` tells that an episode ended; what still waits for it becomes void.
/// - Both may be called concurrently for different incidents.
/// - `recover` goes on with what waits for its time or for a person, and ends what a crash or a dropped
///   future left without an answer; it must do nothing a second time. The stage calls it at its start,
///   every half minute and whenever `woken` returns, beside the others.
/// - A responder that acts for longer than a bus waits for an ack splits `respond`: `accept` writes the
///   report down, so that the message may be acked, and `finish` goes on with it. What `finish` leaves
///   open comes from `recover`.
/// - `told` notes that people were told of an answer. One that keeps its answers gives each from `recover` again
///   until then, after a while: whoever died before telling it has told nobody.
///
/// # Errors
/// [`RespondError`] only where nothing was decided (a store that is down): the report comes again.
/// A refusal is a value, not an error.
///
/// # Implementing
/// ```
/// use aiops_core::{DetectionEvent, Disposition, Plan, Responder, RespondError, Response, Triaged};
/// #[derive(Debug)]
/// struct OnlyPeople;
///
/// #[async_trait::async_trait]
/// impl Responder for OnlyPeople {
///     async fn respond(&self, triaged: &Triaged, now: jiff::Timestamp) -> Result<Response, RespondError> {
///         let disposition = Disposition::Escalated { reason: "people decide here".into() };
///         Ok(Response::new(triaged.incident_id.clone(), disposition, Plan::default(), now))
///     }
///     async fn resolved(&self, _: &DetectionEvent, _: jiff::Timestamp) -> Result<(), RespondError> { Ok(()) }
/// }
/// ```
#[async_trait]
pub trait Responder: fmt::Debug + Send + Sync + 'static {
    /// What becomes of one report.
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError>;

    /// Takes a report over: from `Ok` on it is the responder's, and the message may be acked. The answer,
    /// or none where `finish` is to be called for it. By default it responds.
    async fn accept(&self, triaged: &Triaged, now: Timestamp) -> Result<Option<Response>, RespondError> {
        self.respond(triaged, now).await.map(Some)
    }

    /// Goes on with a report that was accepted. None where its answer comes from `recover`. By default there
    /// is nothing to go on with.
    async fn finish(&self, triaged: &Triaged, now: Timestamp) -> Result<Option<Response>, RespondError> {
        let _ = (triaged, now);
        Ok(None)
    }

    /// An episode ended.
    async fn resolved(&self, event: &DetectionEvent, now: Timestamp) -> Result<(), RespondError>;

    /// The answers to reports that were left without one. By default there are none: a responder that
    /// keeps nothing leaves nothing behind.
    async fn recover(&self, now: Timestamp) -> Result<Vec<Recovered>, RespondError> {
        let _ = now;
        Ok(Vec::new())
    }

    /// People were told of this answer, or need not be. By default nothing rests on it.
    ///
    /// # Errors
    /// [`RespondError`] where that could not be noted: they may be told again.
    async fn told(&self, triaged: &Triaged, response: &Response, now: Timestamp) -> Result<(), RespondError> {
        let _ = (triaged, response, now);
        Ok(())
    }

    /// Returns when `recover` should be called before its time: a person decided. May be dropped and called
    /// again without losing that. By default it never returns.
    async fn woken(&self) {
        std::future::pending().await
    }
}

macro_rules! forward_responder {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Responder + ?Sized> Responder for $pointer<T> {
            async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
                (**self).respond(triaged, now).await
            }

            async fn accept(&self, triaged: &Triaged, now: Timestamp) -> Result<Option<Response>, RespondError> {
                (**self).accept(triaged, now).await
            }

            async fn finish(&self, triaged: &Triaged, now: Timestamp) -> Result<Option<Response>, RespondError> {
                (**self).finish(triaged, now).await
            }

            async fn told(&self, triaged: &Triaged, response: &Response, now: Timestamp) -> Result<(), RespondError> {
                (**self).told(triaged, response, now).await
            }

            async fn woken(&self) {
                (**self).woken().await
            }

            async fn resolved(&self, event: &DetectionEvent, now: Timestamp) -> Result<(), RespondError> {
                (**self).resolved(event, now).await
            }

            async fn recover(&self, now: Timestamp) -> Result<Vec<Recovered>, RespondError> {
                (**self).recover(now).await
            }
        }
    };
}
forward_responder!(Arc);
forward_responder!(Box);
