//! Approvals: what waits for a person's word.

use aiops_core::{ActionRequest, Fingerprint, IncidentId, Precondition};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::types::{EpisodeKey, ReportId, text_key};

text_key! {
    /// Names one approval. Whoever has it can ask for it to be granted, so it is drawn at random: 32 hex
    /// digits that cannot be guessed.
    ApprovalId
}

impl ApprovalId {
    /// The id of 16 random bytes.
    #[must_use]
    pub fn of_random(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// An id as a person or a link gives it; one that no approval has is found out by the store.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// One step that a person must approve: exactly what would run, and the state that it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Approval {
    /// Its name.
    pub id: ApprovalId,
    /// For which report.
    pub report: ReportId,
    /// Which step of its plan, counted from 0.
    pub index: usize,
    /// Of which episode: its end makes the approval void.
    pub episode: EpisodeKey,
    /// Of which incident.
    pub incident_id: IncidentId,
    /// What would run.
    pub request: ActionRequest,
    /// The state that was observed when it was asked for.
    pub observed: Precondition,
    /// What [`digest_of`](Self::digest_of) makes of both: another one when it runs makes it void.
    pub digest: String,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// From when on it can no longer be granted.
    pub expires_at: Timestamp,
    /// When people were told that it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// When people were reminded of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminded_at: Option<Timestamp>,
    /// What became of it.
    pub state: ApprovalState,
}

impl Approval {
    /// An approval that waits.
    #[must_use]
    pub fn new(
        id: ApprovalId,
        report: ReportId,
        index: usize,
        episode: EpisodeKey,
        request: ActionRequest,
        observed: Precondition,
        (asked_at, expires_at): (Timestamp, Timestamp),
    ) -> Self {
        let digest = Self::digest_of(&request, &observed);
        let incident_id = request.incident_id.clone();
        Self {
            id,
            report,
            index,
            episode,
            incident_id,
            request,
            observed,
            digest,
            asked_at,
            expires_at,
            told_at: None,
            reminded_at: None,
            state: ApprovalState::Pending,
        }
    }

    /// Over action, target, fingerprint, parameters and observed state.
    #[must_use]
    pub fn digest_of(request: &ActionRequest, observed: &Precondition) -> String {
        let facts: Vec<(&str, &str)> = observed.facts().collect();
        let parameters = serde_json::Value::Object(request.parameters.clone());
        Fingerprint::of_raw(&format!("{}|{parameters}|{facts:?}", request.key())).to_string()
    }

    /// `action|target`: one approval waits for each.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}|{}", self.request.action, self.request.target)
    }

    /// Half of its time: who has not decided is reminded then.
    #[must_use]
    pub fn half_time(&self) -> Timestamp {
        let whole = aiops_core::time::since(self.expires_at, self.asked_at);
        aiops_core::time::plus(self.asked_at, whole / 2)
    }
}

/// What became of an approval. Every state but the first is the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApprovalState {
    /// It waits.
    Pending,
    /// It was granted.
    Approved {
        /// By whom.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// It was refused.
    Rejected {
        /// By whom.
        by: String,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// Nobody decided in time.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// What it was asked for is no longer so.
    Void {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

impl ApprovalState {
    /// Whether it waits.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }

    /// The state's name in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
            Self::Void { .. } => "void",
        }
    }
}

/// Whether an approval began to wait.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ApprovalOpened {
    /// It did.
    New,
    /// This step's approval was asked for before.
    Known(Box<Approval>),
    /// Another report's approval for the same action on the same target waits.
    Occupied(Box<Approval>),
}

/// Whether an approval was settled by this call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Settled {
    /// It was.
    Now(Box<Approval>),
    /// It had been settled before, and stays as it was.
    Before(Box<Approval>),
}
