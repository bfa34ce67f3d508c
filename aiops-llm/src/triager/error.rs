//! Why a model gave no usable report.

use jiff::Timestamp;

use crate::chat::{ChatError, InvalidSchema};
use crate::check::Violation;
use crate::limits::{BudgetSpent, Shut};
use crate::prompt::EvidenceTooLarge;
use crate::reply::ReplyError;
use crate::schema::MenuTooLarge;

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTriager {
    /// The menu has no schema.
    #[error(transparent)]
    Menu(#[from] MenuTooLarge),
    /// The schema is none.
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
    /// A setting that is 0.
    #[error("{setting} must be above 0")]
    Zero {
        /// Which one.
        setting: &'static str,
    },
}

/// Why a model gave no usable report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The event does not fit into the prompt.
    #[error(transparent)]
    Evidence(#[from] EvidenceTooLarge),
    /// It would have cost too much.
    #[error("not asked: {0}")]
    Budget(#[from] BudgetSpent),
    /// It failed before.
    #[error("not asked: the endpoint failed before ({why}), next try at {until}")]
    Shut {
        /// When it is tried again.
        until: Timestamp,
        /// The last failure's kind.
        why: &'static str,
    },
    /// No reply.
    #[error("after {attempts} attempts")]
    Chat {
        /// How many were made.
        attempts: u32,
        /// The last one's failure.
        #[source]
        source: ChatError,
    },
    /// A reply that is no report.
    #[error("after {attempts} attempts")]
    Reply {
        /// How many were made.
        attempts: u32,
        /// The last one's fault.
        #[source]
        source: ReplyError,
    },
    /// A report that breaks a bound.
    #[error("after {attempts} attempts")]
    Violation {
        /// How many were made.
        attempts: u32,
        /// The last one's.
        #[source]
        source: Violation,
    },
    /// The model's code panicked.
    #[error("the model's adapter panicked")]
    Panicked,
}

impl From<Shut> for AskError {
    fn from(shut: Shut) -> Self {
        Self::Shut { until: shut.until, why: shut.why }
    }
}

impl AskError {
    /// As in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Evidence(_) => "evidence_too_large",
            Self::Budget(spent) => spent.as_str(),
            Self::Shut { .. } => "breaker_open",
            Self::Chat { source, .. } => source.kind.as_str(),
            Self::Reply { source, .. } => source.as_str(),
            Self::Violation { source, .. } => source.as_str(),
            Self::Panicked => "panic",
        }
    }
}
