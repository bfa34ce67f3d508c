//! Telling a person: notices, receipts and the trait of every channel.

mod fanout;
mod log;
mod receipts;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::fanout::NoticeDelivery;
pub(crate) use self::fanout::{Fanout, NOTIFY_DEADLINE};
pub use self::log::LogNotifier;
use crate::error::BoxError;
use crate::event::{DetectionEvent, Severity};
use crate::names::{IncidentId, ServiceName};
use crate::responder::{Decision, Response};
use crate::triage::Triaged;

/// What a notice says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoticeKind {
    /// An episode opened, rose, or is still there after `renotify_after`.
    Announced {
        /// Sightings held back by suppression before this one.
        held: u64,
        /// Why it is announced, where that is not plain (`held 60 min by 4 deploys`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// More is known: the report, or what became of it.
    Updated {
        /// The report, where it is what is new.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        triaged: Option<Box<Triaged>>,
        /// The answer, where it is what is new.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response: Option<Box<Response>>,
    },
    /// An episode ended that a deploy or a maintenance window had held the whole time: nobody was told of it
    /// before. It opens nothing, on any channel.
    Suppressed {
        /// By what, and how many.
        summary: String,
    },
    /// A person must decide.
    Escalated {
        /// Why.
        reason: String,
        /// The answer with its plan, where a report was answered: what was refused, and by which rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response: Option<Box<Response>>,
    },
    /// A person must approve.
    AwaitingApproval {
        /// What would run.
        response: Box<Response>,
    },
    /// The incident's last episode ended.
    Resolved,
}

impl NoticeKind {
    /// The kind's name in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Announced { .. } => "announced",
            Self::Updated { .. } => "updated",
            Self::Suppressed { .. } => "suppressed",
            Self::Escalated { .. } => "escalated",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Resolved => "resolved",
        }
    }
}

/// One message to people. Every channel uses `incident_id` as its own dedup key, so that an
/// escalation updates the page that the announcement opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Notice {
    /// The incident.
    pub incident_id: IncidentId,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The event that it is about.
    pub event: DetectionEvent,
    /// The event's sentence, with value, expected, score, threshold and window.
    pub explain: String,
    /// What it says.
    #[serde(flatten)]
    pub kind: NoticeKind,
}

impl Notice {
    /// A notice about an event; the sentence is the event's own.
    #[must_use]
    pub fn new(incident_id: IncidentId, event: DetectionEvent, kind: NoticeKind, at: Timestamp) -> Self {
        let explain = event.explain();
        Self { incident_id, at, event, explain, kind }
    }

    /// The event's service.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.event.service
    }

    /// The event's severity.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.event.severity
    }

    /// One line of plain text for channels that show text.
    #[must_use]
    pub fn line(&self) -> String {
        let explain = &self.explain;
        let clip = |text: &str| crate::text::clip(text, 400);
        match &self.kind {
            NoticeKind::Announced { held, reason } => {
                let held = if *held == 0 { String::new() } else { format!(" ({held} held back before)") };
                let reason = reason.as_deref().map_or(String::new(), |reason| format!(" [{}]", clip(reason)));
                format!("{}: {explain}{held}{reason}", self.event.severity)
            }
            NoticeKind::Updated { triaged: Some(triaged), .. } => {
                format!(
                    "triage by {}: {} | {explain}",
                    clip(&triaged.provenance.triager),
                    clip(&triaged.report.summary)
                )
            }
            NoticeKind::Updated { response: Some(response), .. } => {
                format!("{} | {explain}", response.disposition.as_str())
            }
            NoticeKind::Updated { .. } => format!("update | {explain}"),
            NoticeKind::Suppressed { summary } => format!("suppressed: {} | {explain}", clip(summary)),
            NoticeKind::Escalated { reason, response } => {
                let steps = response.iter().flat_map(|response| &response.plan.steps);
                let refused: Vec<&str> = steps
                    .filter(|step| step.decision == Decision::Deny && !reason.contains(&step.action))
                    .map(|step| step.action.as_str())
                    .collect();
                let refused = match refused.as_slice() {
                    [] => String::new(),
                    actions => format!(" (not run: {})", clip(&actions.join(", "))),
                };
                format!("escalated: {}{refused} | {explain}", clip(reason))
            }
            NoticeKind::AwaitingApproval { response } => {
                let steps: Vec<&str> = response.plan.steps.iter().map(|step| step.action.as_str()).collect();
                format!("awaiting approval of {} | {explain}", clip(&steps.join(", ")))
            }
            NoticeKind::Resolved => format!("resolved | {explain}"),
        }
    }
}

/// What a channel gave back: opaque to everyone else, kept per channel and incident, so that the
/// next notice of the incident edits the message or threads below it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Receipt(Value);

impl Receipt {
    /// A receipt with the channel's own content.
    pub fn new(value: impl Into<Value>) -> Self {
        Self(value.into())
    }

    /// The channel's own content.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }
}

/// A notice that did not get out on one channel.
#[derive(Debug, thiserror::Error)]
#[error("channel {channel:?} did not take the notice")]
#[non_exhaustive]
pub struct NotifyError {
    /// Which channel.
    pub channel: String,
    /// Whether trying again may help.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl NotifyError {
    /// An error that trying again may not meet.
    pub fn retryable(channel: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { channel: channel.into(), retryable: true, source: source.into() }
    }

    /// An error that stays until a person changes something.
    pub fn permanent(channel: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { channel: channel.into(), retryable: false, source: source.into() }
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// One channel to people.
///
/// # Contract
/// - A notice comes at least once: the channel must use `notice.incident_id` as its own dedup key.
/// - `previous` is the receipt that the same channel gave for the same incident before; the new
///   receipt replaces it.
/// - [`NoticeKind::Suppressed`] opens no page and no alert: where the channel shows nothing of the incident yet,
///   a channel that pages leaves it out.
/// - It must encode every text of the notice for its channel, with [`Channel::encode`](crate::Channel):
///   names and sentences hold text that workloads wrote. No link, image or unfurl is rendered by itself.
/// - An `Err`, a panic or a deadline missed lets the notice fall to the next channel, and is counted.
///
/// # Errors
/// [`NotifyError`]: the notice did not get out here.
///
/// # Implementing
/// ```
/// use aiops_core::{Notice, Notifier, NotifyError, Receipt};
/// #[derive(Debug)]
/// struct Console;
///
/// #[async_trait::async_trait]
/// impl Notifier for Console {
///     fn channel(&self) -> &str { "console" }
///     async fn notify(&self, notice: &Notice, _: Option<&Receipt>) -> Result<Receipt, NotifyError> {
///         println!("{} {}", notice.incident_id, notice.line());
///         Ok(Receipt::default())
///     }
/// }
/// ```
#[async_trait]
pub trait Notifier: fmt::Debug + Send + Sync + 'static {
    /// A stable name, unique in the pipeline: receipts are kept under it.
    fn channel(&self) -> &str;

    /// Sends one notice.
    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError>;
}

macro_rules! forward_notifier {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Notifier + ?Sized> Notifier for $pointer<T> {
            fn channel(&self) -> &str {
                (**self).channel()
            }

            async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
                (**self).notify(notice, previous).await
            }
        }
    };
}
forward_notifier!(Arc);
forward_notifier!(Box);
