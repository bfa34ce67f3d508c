//! The records that a store keeps.

use std::collections::BTreeMap;

use aiops_core::{
    ActionRequest, DetectionEvent, Disposition, Identity, Outcome, Plan, Precondition, Response, Triaged,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::reservation::Run;

/// Stops every action at once. It lives in the store, so that it holds for all processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KillSwitch {
    /// Whether nothing may run.
    pub on: bool,
    /// Who set it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl KillSwitch {
    /// A switch that stops everything.
    pub fn on(by: impl Into<String>, reason: impl Into<String>, at: Timestamp) -> Self {
        Self { on: true, by: by.into(), reason: reason.into(), at }
    }

    /// A switch that lets policies decide.
    pub fn off(by: impl Into<String>, reason: impl Into<String>, at: Timestamp) -> Self {
        Self { on: false, ..Self::on(by, reason, at) }
    }
}

impl Default for KillSwitch {
    /// Off, and never touched.
    fn default() -> Self {
        Self::off("", "", Timestamp::UNIX_EPOCH)
    }
}

macro_rules! text_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(super) String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

pub(super) use text_key;

text_key! {
    /// One report: `incident|event|context digest`. A second delivery has the same; a new triage of
    /// the same incident has another event or another context.
    ReportId
}

impl ReportId {
    /// The id of a report.
    #[must_use]
    pub fn of(triaged: &Triaged) -> Self {
        let parts = [triaged.incident_id.as_str(), triaged.event.event_id.as_str(), &triaged.context_digest];
        Self(parts.map(aiops_core::encode).join("|"))
    }
}

text_key! {
    /// `action|target|fingerprint`: what may begin once.
    StepKey
}

impl StepKey {
    /// The key of a request.
    #[must_use]
    pub fn of(request: &ActionRequest) -> Self {
        Self(request.key())
    }
}

text_key! {
    /// One episode: its id, else its identity.
    EpisodeKey
}

impl EpisodeKey {
    /// The key of an event's episode.
    #[must_use]
    pub fn of(event: &DetectionEvent) -> Self {
        Self(match &event.episode_id {
            Some(id) => id.as_str().to_owned(),
            None => Identity::new(event.kind.clone(), event.service.clone(), event.alertname()).key(),
        })
    }
}

/// A report as it was decided, written before anything acts on it: the audit record of the decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReportRecord {
    /// The report.
    pub id: ReportId,
    /// What was decided about.
    pub triaged: Triaged,
    /// What was decided, with every rule and its inputs.
    pub plan: Plan,
    /// When.
    pub at: Timestamp,
    /// The version of the catalogue that decided.
    pub catalogue: String,
    /// The version of the policy that decided.
    pub policy: String,
    /// The answer, where the decision is already all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

impl ReportRecord {
    /// A record of a plan that is still to run.
    #[must_use]
    pub fn new(triaged: Triaged, plan: Plan, at: Timestamp) -> Self {
        let (catalogue, policy) = (String::new(), String::new());
        Self { id: ReportId::of(&triaged), triaged, plan, at, catalogue, policy, response: None }
    }

    /// The versions of catalogue and policy that decided.
    #[must_use]
    pub fn versions(mut self, catalogue: impl Into<String>, policy: impl Into<String>) -> Self {
        (self.catalogue, self.policy) = (catalogue.into(), policy.into());
        self
    }

    /// The answer, where the decision is already all of it.
    #[must_use]
    pub fn response(mut self, response: Option<Response>) -> Self {
        self.response = response;
        self
    }
}

/// Whether people are to be told of an answer: of a duplicate they were.
pub(super) fn is_news(response: &Response) -> bool {
    response.disposition != Disposition::Duplicate
}

/// Whether a report is new to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// It is: the caller goes on.
    New,
    /// It was opened before; what became of it, once that is known.
    Known(Option<Disposition>),
}

/// What a policy wants to know from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotQuery {
    /// The episode that is asked about.
    pub episode: EpisodeKey,
    /// Marks of this identity are wanted, and
    pub identity: String,
    /// marks of these actions,
    pub actions: Vec<String>,
    /// or all marks,
    pub all: bool,
    /// no older than this.
    pub since: Timestamp,
}

impl SnapshotQuery {
    /// A query.
    pub fn new(episode: EpisodeKey, identity: impl Into<String>, actions: Vec<String>, since: Timestamp) -> Self {
        Self { episode, identity: identity.into(), actions, all: false, since }
    }

    /// Whether the marks of every identity and action are wanted.
    #[must_use]
    pub fn all(mut self, all: bool) -> Self {
        self.all = all;
        self
    }

    /// Whether a mark is wanted.
    #[must_use]
    pub fn wants(&self, run: &Run) -> bool {
        run.at >= self.since
            && (self.all
                || run.identity == self.identity
                || self.actions.iter().any(|action| run.action.as_str() == action))
    }
}

/// What a policy wants to know from the store, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// When the episode ended, if it did.
    pub resolved_at: Option<Timestamp>,
    /// The marks, the oldest first.
    pub runs: Vec<Run>,
    /// The guards that stand tripped, by name.
    pub guards: BTreeMap<String, GuardState>,
}

/// How a health guard or a loop guard stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuardState {
    /// Since when it stops actions; none while it lets them pass.
    pub tripped_at: Option<Timestamp>,
    /// When its number was last bad.
    pub bad_at: Timestamp,
}

impl GuardState {
    /// A guard that stops actions.
    #[must_use]
    pub fn tripped(tripped_at: Timestamp, bad_at: Timestamp) -> Self {
        Self { tripped_at: Some(tripped_at), bad_at }
    }

    /// A guard that lets actions pass again.
    #[must_use]
    pub fn passed(bad_at: Timestamp) -> Self {
        Self { tripped_at: None, bad_at }
    }
}

/// A lock that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// What is locked.
    pub key: String,
    /// By whom.
    pub holder: String,
    /// Greater than the token of every lease before.
    pub token: u64,
    /// Since when.
    pub since: Timestamp,
    /// Until when, exclusive.
    pub until: Timestamp,
}

impl Lease {
    /// A lease, as a store grants it.
    pub fn new(
        key: impl Into<String>,
        holder: impl Into<String>,
        token: u64,
        since: Timestamp,
        until: Timestamp,
    ) -> Self {
        Self { key: key.into(), holder: holder.into(), token, since, until }
    }
}

/// Whether a lock was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acquired {
    /// It was.
    Granted(Lease),
    /// Someone holds it.
    Held {
        /// Who.
        holder: String,
        /// Until when, exclusive.
        until: Timestamp,
    },
}

/// One step that began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalEntry {
    /// For which report.
    pub report: ReportId,
    /// Which step of its plan, counted from 0.
    pub index: usize,
    /// What the handler is asked.
    pub request: ActionRequest,
    /// How far it is.
    pub state: JournalState,
    /// The newest token that it has seen.
    pub token: u64,
    /// When it began.
    pub at: Timestamp,
}

impl JournalEntry {
    /// A step that begins now, under the token of its request.
    #[must_use]
    pub fn new(report: ReportId, index: usize, request: ActionRequest, at: Timestamp) -> Self {
        let token = request.fencing_token;
        Self { report, index, request, state: JournalState::Started, token, at }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> StepKey {
        StepKey::of(&self.request)
    }
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum JournalState {
    /// It began: nothing has been changed yet, it is being inspected.
    Started,
    /// `execute` was called, or is about to be: the effect may be there.
    Executing {
        /// What was observed.
        precondition: Precondition,
    },
    /// `execute` succeeded; whether it helped is not known yet.
    Verifying {
        /// What was observed before.
        precondition: Precondition,
        /// By what the effect is found.
        proof: String,
        /// When to look.
        verify_at: Timestamp,
    },
    /// It ended.
    Ended(StepEnd),
}

impl JournalState {
    /// Whether a step that came so far may have changed something.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::Started | Self::Ended(StepEnd::NotRun { .. } | StepEnd::AlreadyDone { .. }) => false,
            Self::Executing { .. } | Self::Verifying { .. } | Self::Ended(_) => true,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepEnd {
    /// It was done.
    Executed {
        /// Whether it helped.
        outcome: Outcome,
        /// By what the effect is found.
        proof: String,
    },
    /// The wanted state was there before it ran.
    AlreadyDone {
        /// By what that is seen.
        proof: String,
    },
    /// It did not run, and nothing changed.
    NotRun {
        /// Why.
        reason: String,
    },
    /// It failed, or nobody knows: a person must look.
    Unknown {
        /// Why, and what was taken back.
        reason: String,
    },
}

impl StepEnd {
    /// Whether it helped, as a plan shows it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Executed { outcome, .. } => *outcome,
            Self::AlreadyDone { .. } | Self::NotRun { .. } => Outcome::NoEffect,
            Self::Unknown { .. } => Outcome::Unknown,
        }
    }
}

/// Whether a step began.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Begun {
    /// It did: it never can again.
    New,
    /// It began before.
    Exists {
        /// When.
        at: Timestamp,
        /// How it ended, once it did.
        end: Option<StepEnd>,
    },
}
