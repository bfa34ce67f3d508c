//! The three stages of a pipeline, each of which runs alone over any bus.

mod claims;
mod detection;
mod detection_run;
mod inbox;
mod intake;
mod lanes;
mod objectives;
mod parts;
mod remediation;
mod remediation_run;
mod shared;
mod span;
mod step;
mod triage;
mod triage_run;
mod watch;

pub use self::detection::{DetectionStage, DetectionStageBuilder};
pub(crate) use self::inbox::Inbox;
pub use self::intake::{Intake, IntakeError};
pub(crate) use self::objectives::{Measured, ended};
pub use self::objectives::{Objective, Objectives};
pub(crate) use self::parts::Saved;
pub use self::parts::{StageParts, StagePartsBuilder};
pub use self::remediation::{RemediationStage, RemediationStageBuilder};
pub use self::triage::{TriageStage, TriageStageBuilder};
use crate::bus::BusError;
use crate::error::BoxError;
use crate::store::StateError;

/// The consumer group of triage stages.
pub const TRIAGE_GROUP: &str = "triage";
/// The consumer group of remediation stages.
pub const REMEDIATION_GROUP: &str = "remediation";

/// Why a stage cannot run on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// It could not join its topic.
    #[error("{stage} stage could not subscribe to {topic:?}")]
    Subscribe {
        /// Which stage.
        stage: &'static str,
        /// Which topic.
        topic: &'static str,
        /// Why.
        #[source]
        source: BusError,
    },
    /// The bus ended the subscription while the stage was to go on.
    #[error("{stage} stage: the bus was closed before the stage was told to stop")]
    BusClosed {
        /// Which stage.
        stage: &'static str,
    },
    /// What was saved does not read: the stage starts neither with it nor without being told to.
    #[error("{stage} stage could not restore its state")]
    Restore {
        /// Which stage.
        stage: &'static str,
        /// Why, and what to do about it.
        #[source]
        source: BoxError,
    },
    /// A task of the stage itself panicked; plugins that panic do not come here.
    #[error("{stage} stage panicked: {text}; please report it")]
    Panicked {
        /// Which stage.
        stage: &'static str,
        /// The panic's text.
        text: String,
    },
    /// The stage ended although nobody told it to.
    #[error("{stage} stage ended by itself")]
    Ended {
        /// Which stage.
        stage: &'static str,
    },
}

impl StageError {
    /// Whether running the stage again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Subscribe { source, .. } => source.is_retryable(),
            Self::BusClosed { .. } | Self::Restore { .. } => false,
            Self::Panicked { .. } | Self::Ended { .. } => true,
        }
    }

    /// Which stage.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Subscribe { stage, .. }
            | Self::BusClosed { stage }
            | Self::Restore { stage, .. }
            | Self::Panicked { stage, .. }
            | Self::Ended { stage } => stage,
        }
    }

    /// The error behind a task that did not end well.
    pub(crate) fn of_task(stage: &'static str, error: tokio::task::JoinError) -> Self {
        match error.try_into_panic() {
            Ok(payload) => {
                metrics::counter!("aiops_invariant_broken_total", "where" => stage).increment(1);
                Self::Panicked { stage, text: crate::plugin::panic_text(&*payload) }
            }
            Err(_) => Self::Ended { stage },
        }
    }
}

/// A saved state that is missing, or a store that is down, starts a stage fresh: people are told
/// twice rather than not at all. One that does not read stops it, so that nobody loses it unseen.
pub(crate) fn or_fresh<T>(
    stage: &'static str,
    loaded: Result<Option<(T, u64)>, StateError>,
) -> Result<Option<(T, u64)>, StageError> {
    match loaded {
        Ok(found) => Ok(found),
        Err(error @ StateError::Corrupt { .. }) => Err(StageError::Restore { stage, source: Box::new(error) }),
        Err(_) => Ok(None),
    }
}
