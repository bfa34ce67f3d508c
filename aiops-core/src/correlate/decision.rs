//! What becomes of a sighting or a resolve.

use serde::{Deserialize, Serialize};

use super::incidents::IncidentChange;
use crate::event::DetectionEvent;
use crate::fingerprint::Fingerprint;
use crate::names::{EpisodeId, EventId, IncidentId};

/// What became of a sighting or a resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorrelationDecision {
    /// People and triage are told.
    Announced,
    /// It was announced before; counted on that announcement.
    Repeat,
    /// Held by a deploy, a maintenance window or another alert; counted on what follows.
    Suppressed,
    /// The episode ended; people are told.
    Resolved,
    /// Nothing is done; the reason says why.
    Ignored,
    /// It cannot be placed; the reason says why.
    Invalid,
}

impl CorrelationDecision {
    /// The decision's name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Repeat => "repeat",
            Self::Suppressed => "suppressed",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
            Self::Invalid => "invalid",
        }
    }
}

/// One decision, with everything that a stage, a person or a review needs of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Correlated {
    /// What became of it.
    pub decision: CorrelationDecision,
    /// The event with the episode's `detected_at`, fingerprint, ids and repeats filled in; as it came
    /// where it is invalid; none for a resolve of something unknown.
    pub event: Option<DetectionEvent>,
    /// What it did to its incident.
    pub incident: IncidentChange,
    /// The announced event that a repeat counts on.
    pub of: Option<EventId>,
    /// Repeat, suppressed: sightings held so far. Announced, resolved: sightings held before it.
    pub count: u64,
    /// What held it: a deploy id, a maintenance window, an identity, `flapping`.
    pub by: Option<String>,
    /// One line for a person.
    pub reason: Option<String>,
}

impl Correlated {
    pub(super) fn new(decision: CorrelationDecision, event: Option<DetectionEvent>) -> Self {
        Self { decision, event, incident: IncidentChange::None, of: None, count: 0, by: None, reason: None }
    }

    pub(super) fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The episode's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.event.as_ref().map(|event| &event.fingerprint).filter(|print| !print.is_empty())
    }

    /// The episode.
    #[must_use]
    pub fn episode_id(&self) -> Option<&EpisodeId> {
        self.event.as_ref()?.episode_id.as_ref()
    }

    /// The incident.
    #[must_use]
    pub fn incident_id(&self) -> Option<&IncidentId> {
        self.event.as_ref()?.incident_id.as_ref()
    }
}
