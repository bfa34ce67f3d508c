//! What follows from decisions, and what of it is under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use super::StageParts;
use super::intake::Push;
use super::span::span_of;
use crate::bus::Envelope;
use crate::correlate::{Correlated, CorrelationDecision, IncidentChange};
use crate::detector::Sighting;
use crate::fingerprint::Identity;
use crate::incident_log::{IncidentEntry, IncidentRecord};
use crate::names::IncidentId;
use crate::notify::{Notice, NoticeKind};

/// What follows from one decision: tell people, note it, hand it on. What was held back is only told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) incident: IncidentId,
    pub(super) notice: Option<Notice>,
    record: Option<IncidentRecord>,
    pub(super) envelope: Option<Envelope>,
}

impl Step {
    /// Tells people, then notes it; the envelope is for the outbox.
    pub(super) async fn announce(self, parts: &StageParts) -> Option<Envelope> {
        let trace = self.envelope.as_ref().and_then(Envelope::trace);
        let span = span_of!("detection", self.incident, trace.as_ref());
        self.tell(parts).instrument(span).await
    }

    async fn tell(self, parts: &StageParts) -> Option<Envelope> {
        if let Some(notice) = self.notice {
            parts.notify(notice).await;
        }
        if let Some(record) = self.record {
            parts.append(record).await;
        }
        self.envelope
    }
}

/// What is under way when the state is saved; the correlator's own state is saved after it, so that
/// a crash in between announces again and loses nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UnderWay {
    pub(super) steps: Vec<Step>,
    pub(super) outbox: VecDeque<Envelope>,
    pub(super) notices: Vec<Notice>,
    /// By detector.
    pub(super) known: BTreeMap<String, BTreeSet<Identity>>,
}

impl UnderWay {
    pub(super) fn is_empty(&self) -> bool {
        let Self { steps, outbox, notices, known } = self;
        steps.is_empty() && outbox.is_empty() && notices.is_empty() && known.values().all(BTreeSet::is_empty)
    }
}

/// What came in and may be decided on more than once, until the decision stands.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Pushed(Push),
    /// What a detector that is evaluated so often has seen.
    Seen(Vec<Sighting>, Duration),
}

/// A decision that nobody was told of yet.
#[derive(Debug)]
pub(super) struct Decided {
    /// None for an episode that was held from its start to its end: each hold was a decision of its own.
    pub(super) correlated: Option<Correlated>,
    pub(super) step: Option<Step>,
}

/// What follows from an announcement or an end.
pub(super) fn told_step(correlated: &Correlated, now: Timestamp) -> Option<Step> {
    let event = correlated.event.clone()?;
    let incident = event.incident();
    let boxed = Box::new(event.clone());
    let (kind, entry) = if correlated.decision == CorrelationDecision::Announced {
        let announced = NoticeKind::Announced { held: correlated.count, reason: correlated.reason.clone() };
        (Some(announced), IncidentEntry::Announced { event: boxed })
    } else {
        // People are told when the incident ends, not when each of its episodes does.
        let last = correlated.incident == IncidentChange::Closed;
        (last.then_some(NoticeKind::Resolved), IncidentEntry::Resolved { event: boxed })
    };
    let record = Some(IncidentRecord::new(incident.clone(), event.service.clone(), now, entry));
    let envelope = Some(Envelope::detection(&event));
    let notice = kind.map(|kind| Notice::new(incident.clone(), event, kind, now));
    Some(Step { incident, notice, record, envelope })
}

/// Tells people of an episode that was held from its start to its end.
pub(super) fn held_step(held: Correlated, now: Timestamp) -> Option<Step> {
    let event = held.event?;
    let incident = event.incident();
    let summary = format!("{}: {}", held.by.unwrap_or_default(), held.reason.unwrap_or_default());
    let notice = Notice::new(incident.clone(), event, NoticeKind::Suppressed { summary }, now);
    Some(Step { incident, notice: Some(notice), record: None, envelope: None })
}
