//! The responder: a report in, exactly one disposition out.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// One rule that was asked about a step, with what it looked at and what it said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RuleVerdict {
    /// The rule's name.
    pub rule: String,
    /// Whether it lets the step pass.
    pub pass: bool,
    /// What it compared, as a person would read it.
    pub detail: String,
    /// The numbers and names it compared.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub inputs: Value,
}

impl RuleVerdict {
    /// A verdict.
    pub fn new(rule: impl Into<String>, pass: bool, detail: impl Into<String>) -> Self {
        Self { rule: rule.into(), pass, detail: detail.into(), inputs: Value::Null }
    }

    /// What was compared.
    #[must_use]
    pub fn inputs(mut self, inputs: Value) -> Self {
        self.inputs = inputs;
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
}

impl Step {
    /// A step without rules or outcome.
    pub fn new(
        action: impl Into<String>,
        target: Option<Target>,
        decision: Decision,
        reason: impl Into<String>,
    ) -> Self {
        Self { action: action.into(), target, decision, reason: reason.into(), rules: Vec::new(), outcome: None }
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

    /// An episode ended.
    async fn resolved(&self, event: &DetectionEvent, now: Timestamp) -> Result<(), RespondError>;
}

macro_rules! forward_responder {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Responder + ?Sized> Responder for $pointer<T> {
            async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
                (**self).respond(triaged, now).await
            }

            async fn resolved(&self, event: &DetectionEvent, now: Timestamp) -> Result<(), RespondError> {
                (**self).resolved(event, now).await
            }
        }
    };
}
forward_responder!(Arc);
forward_responder!(Box);
