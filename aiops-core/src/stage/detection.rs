//! Detection: evaluates detectors, decides, tells people, and hands events to the bus, in this order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::intake::{Intake, Push};
use super::lanes::Lanes;
use super::watch::{Failed, Watch, evaluate};
use super::{StageError, StageParts, or_fresh};
use crate::bus::{DETECTIONS, Envelope, EventBus};
use crate::correlate::{Correlated, CorrelationDecision, Correlator, IncidentChange};
use crate::data_state::DataState;
use crate::detector::{Detector, Evaluation, Sighting};
use crate::event::DetectionEvent;
use crate::fingerprint::Identity;
use crate::incident_log::{IncidentEntry, IncidentRecord};
use crate::names::IncidentId;
use crate::notify::{Notice, NoticeKind};
use crate::observer::PipelineEvent;
use crate::plugin::{Boxed, join_all};
use crate::store::StateError;

/// The stage's name in errors and metrics.
pub(super) const STAGE: &str = "detection";
/// An evaluation that takes longer is late, whatever its interval.
const LONGEST_EVALUATION: Duration = Duration::from_secs(30);
/// Detectors at work at a time: their sources share the host's connections.
const AT_ONCE: usize = 64;
/// Notices on their way at a time.
pub(super) const NOTICES_AT_ONCE: usize = 16;
/// Pushed events that wait for the stage.
const INTAKE: usize = 1_024;
/// Events that wait for a bus that is behind: a day of a busy platform.
const OUTBOX: usize = 10_000;
/// Held, ignored and invalid events kept for review.
const REVIEW: usize = 1_000;

const OUTBOX_KEY: &str = "aiops/detection/outbox";
const CORRELATOR_KEY: &str = "aiops/detection/correlator";

/// What follows from one decision: tell people, note it, hand it on. What was held back is only told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) incident: IncidentId,
    notice: Option<Notice>,
    record: Option<IncidentRecord>,
    pub(super) envelope: Option<Envelope>,
}

impl Step {
    /// Tells people, then notes it; the envelope is for the outbox.
    pub(super) async fn announce(self, parts: &StageParts) -> Option<Envelope> {
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
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct UnderWay {
    steps: Vec<Step>,
    outbox: VecDeque<Envelope>,
    notices: Vec<Notice>,
    /// By detector.
    known: BTreeMap<String, BTreeSet<Identity>>,
}

/// Builds a [`DetectionStage`].
#[derive(Debug)]
#[must_use]
pub struct DetectionStageBuilder {
    parts: Arc<StageParts>,
    detectors: Vec<Arc<dyn Detector>>,
    correlator: Correlator,
    longest: Duration,
    intake: usize,
}

impl DetectionStageBuilder {
    /// Adds a detector; names must be unique.
    pub fn detector(mut self, detector: impl Detector) -> Self {
        self.detectors.push(Arc::new(detector));
        self
    }

    /// The longest that one evaluation may take (default 30 s; never longer than its interval).
    pub fn evaluation_deadline(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// Pushed events that may wait (default 1,024).
    pub fn intake_capacity(mut self, events: usize) -> Self {
        self.intake = events;
        self
    }

    /// The stage.
    #[must_use]
    pub fn build(self) -> DetectionStage {
        let (intake, pushed) = Intake::new(self.intake);
        DetectionStage {
            parts: self.parts,
            watches: self.detectors.into_iter().map(Watch::new).collect(),
            correlator: self.correlator,
            longest: self.longest,
            intake,
            pushed,
            steps: Lanes::new(NOTICES_AT_ONCE),
            delivering: BTreeMap::new(),
            outbox: VecDeque::new(),
            review: VecDeque::new(),
            versions: (0, 0),
            restored: false,
            dirty: false,
        }
    }
}

/// The detection layer. It needs neither of the others.
///
/// - Detectors are evaluated when they are due, beside each other, one evaluation of one detector at
///   a time. One that fails, hangs or panics costs its own evaluation: its identities count as
///   unknown, and nothing resolves.
/// - An announcement goes to people before anything else happens with it. An event goes to the bus
///   once its notice is out, or once no channel took it: that is then tried again.
/// - State is saved after the decisions: a crash in between announces again, since a page is sent at
///   least once. A store that is down at the start starts the stage fresh.
///
/// [`run`](Self::run) works by the clock; [`tick`](Self::tick) does one round at a time that the
/// caller gives, in one task and in a fixed order.
#[derive(Debug)]
pub struct DetectionStage {
    pub(super) parts: Arc<StageParts>,
    pub(super) watches: Vec<Watch>,
    correlator: Correlator,
    pub(super) longest: Duration,
    intake: Intake,
    pub(super) pushed: mpsc::Receiver<Push>,
    pub(super) steps: Lanes<IncidentId, Step>,
    /// Steps whose task runs, by incident.
    pub(super) delivering: BTreeMap<IncidentId, Step>,
    pub(super) outbox: VecDeque<Envelope>,
    review: VecDeque<Correlated>,
    /// Versions of what is saved: under way, correlator.
    pub(super) versions: (u64, u64),
    restored: bool,
    pub(super) dirty: bool,
}

impl DetectionStage {
    /// A stage without detectors.
    pub fn builder(parts: Arc<StageParts>, correlator: Correlator) -> DetectionStageBuilder {
        DetectionStageBuilder { parts, detectors: Vec::new(), correlator, longest: LONGEST_EVALUATION, intake: INTAKE }
    }

    /// Where events are pushed in.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// The last events that were held, ignored or invalid, the oldest first.
    pub fn review(&self) -> impl Iterator<Item = &Correlated> {
        self.review.iter()
    }

    /// When the next evaluation is due, or the next episode ends by itself.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.watches.iter().filter_map(Watch::due).chain(self.correlator.next_due()).min()
    }

    /// One round at `now`: takes pushed events, evaluates what is due, decides, announces, publishes
    /// and saves. A publish that the bus refuses is tried again in the next round.
    ///
    /// # Errors
    /// Saved state that does not read.
    pub async fn tick(&mut self, now: Timestamp, bus: &dyn EventBus) -> Result<(), StageError> {
        self.restore().await?;
        while let Ok(push) = self.pushed.try_recv() {
            self.take(push, now);
        }
        let due: Vec<usize> = (0..self.watches.len()).filter(|&place| self.watches[place].is_due(now)).collect();
        let mut evaluations: Vec<Boxed<'_, _>> = Vec::with_capacity(due.len());
        for &place in &due {
            let detector = Arc::clone(&self.watches[place].detector);
            evaluations.push(Box::pin(evaluate(detector, now, self.longest, &self.parts)));
        }
        let outcomes = join_all(evaluations, AT_ONCE).await;
        for (place, outcome) in due.into_iter().zip(outcomes) {
            self.watches[place].schedule(now);
            self.evaluated(place, now, now, outcome);
        }
        self.advance(now);
        self.settle(bus).await;
        Ok(())
    }

    /// One pushed event at `now`, as [`tick`](Self::tick) would take it.
    ///
    /// # Errors
    /// Saved state that does not read.
    pub async fn ingest(
        &mut self,
        event: DetectionEvent,
        now: Timestamp,
        bus: &dyn EventBus,
    ) -> Result<(), StageError> {
        self.restore().await?;
        self.take(Push::Event(Box::new(event)), now);
        self.settle(bus).await;
        Ok(())
    }

    /// Does what the decisions ask for, one after the other.
    async fn settle(&mut self, bus: &dyn EventBus) {
        if !self.parts.fanout().is_empty() {
            self.parts.fanout().retry(&self.parts).await;
            self.dirty = true;
        }
        while let Some((incident, step)) = self.steps.start() {
            let envelope = step.announce(&self.parts).await;
            self.steps.done(&incident);
            self.hand_on(envelope);
        }
        // Behind all announcements: back-pressure of the bus delays none of them.
        self.publish_all(bus).await;
        if self.dirty
            && let Some(save) = self.save()
        {
            let outcome = save.await;
            self.saved(outcome);
        }
    }

    pub(super) async fn publish_all(&mut self, bus: &dyn EventBus) {
        while let Some(envelope) = self.outbox.front() {
            match bus.publish(DETECTIONS, envelope.clone()).await {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(error) => {
                    publish_failed(&error);
                    return;
                }
            }
            self.dirty = true;
        }
    }

    /// Puts an event into the outbox, if there is one to hand on.
    pub(super) fn hand_on(&mut self, envelope: Option<Envelope>) {
        self.dirty = true;
        let Some(envelope) = envelope else { return };
        self.outbox.push_back(envelope);
        if self.outbox.len() > OUTBOX {
            self.outbox.pop_front();
            metrics::counter!("aiops_detection_outbox_dropped_total").increment(1);
            tracing::error!("the bus has been behind for too long; dropped an announced event before its triage");
        }
    }

    /// Decides on a pushed event.
    pub(super) fn take(&mut self, push: Push, now: Timestamp) {
        let correlated = match push {
            Push::Event(event) => self.correlator.observe(*event, now),
            Push::Resolve(identity, at) => self.correlator.resolve(&identity, at, now),
        };
        // What ended meanwhile ended before it.
        self.advance(now);
        self.absorb(correlated, now);
    }

    /// Decides on what a detector said of `at`.
    pub(super) fn evaluated(
        &mut self,
        place: usize,
        at: Timestamp,
        now: Timestamp,
        outcome: Result<Evaluation, Failed>,
    ) {
        let parts = Arc::clone(&self.parts);
        let watch = &mut self.watches[place];
        let (detector, every) = (Arc::clone(&watch.detector), watch.every());
        let sightings = match outcome {
            Ok(evaluation) => {
                parts.tell(&PipelineEvent::Evaluated { detector: detector.name(), at, evaluation: &evaluation });
                watch.saw(evaluation)
            }
            Err(Failed { why, reason }) => {
                tracing::warn!(detector = detector.name(), error = reason, "evaluation failed");
                metrics::counter!("aiops_detector_failed_total", "detector" => detector.name().to_owned(), "why" => why)
                    .increment(1);
                parts.tell(&PipelineEvent::EvaluationFailed { detector: detector.name(), at, reason: &reason });
                watch.known.iter().map(|identity| Sighting::Unknown(identity.clone(), DataState::Error)).collect()
            }
        };
        for sighting in sightings {
            let correlated = self.correlator.sight(sighting, every, now);
            // What ended meanwhile ended before it.
            self.advance(now);
            if let Some(correlated) = correlated {
                self.absorb(correlated, now);
            }
        }
        self.dirty = true;
    }

    /// Ends what ended by itself.
    pub(super) fn advance(&mut self, now: Timestamp) {
        for correlated in self.correlator.advance(now) {
            self.absorb(correlated, now);
        }
        for held in self.correlator.take_held() {
            self.tell_held(held, now);
        }
    }

    /// Tells people of an episode that was held from its start to its end.
    fn tell_held(&mut self, held: Correlated, now: Timestamp) {
        let Some(event) = held.event else { return };
        let incident = incident_of(&event);
        let summary = format!("{}: {}", held.by.unwrap_or_default(), held.reason.unwrap_or_default());
        let notice = Notice::new(incident.clone(), event, NoticeKind::Suppressed { summary }, now);
        let step = Step { incident: incident.clone(), notice: Some(notice), record: None, envelope: None };
        self.steps.push(incident, step);
        self.dirty = true;
    }

    /// Counts a decision and queues what follows from it.
    fn absorb(&mut self, correlated: Correlated, now: Timestamp) {
        self.dirty = true;
        self.parts.tell(&PipelineEvent::Correlated { at: now, correlated: &correlated });
        let decision = correlated.decision;
        match decision {
            CorrelationDecision::Announced | CorrelationDecision::Resolved => self.queue(correlated, now),
            CorrelationDecision::Repeat => {}
            _ => {
                self.review.push_back(correlated);
                if self.review.len() > REVIEW {
                    self.review.pop_front();
                }
            }
        }
    }

    fn queue(&mut self, correlated: Correlated, now: Timestamp) {
        let Some(event) = correlated.event else { return };
        let incident = incident_of(&event);
        let boxed = Box::new(event.clone());
        let (kind, entry) = if correlated.decision == CorrelationDecision::Announced {
            let announced = NoticeKind::Announced { held: correlated.count, reason: correlated.reason };
            (Some(announced), IncidentEntry::Announced { event: boxed })
        } else {
            // People are told when the incident ends, not when each of its episodes does.
            let last = correlated.incident == IncidentChange::Closed;
            (last.then_some(NoticeKind::Resolved), IncidentEntry::Resolved { event: boxed })
        };
        let record = Some(IncidentRecord::new(incident.clone(), event.service.clone(), now, entry));
        let envelope = Some(Envelope::detection(&event));
        let notice = kind.map(|kind| Notice::new(incident.clone(), event, kind, now));
        self.steps.push(incident.clone(), Step { incident, notice, record, envelope });
    }

    /// Loads what was saved, once.
    pub(super) async fn restore(&mut self) -> Result<(), StageError> {
        let Some(saved) = self.parts.saved.clone().filter(|_| !self.restored) else { return Ok(()) };
        if let Some((bytes, version)) = or_fresh(STAGE, saved.load_bytes(CORRELATOR_KEY).await)? {
            let restored = self.correlator.restore(&bytes);
            restored.map_err(|error| StageError::Restore { stage: STAGE, source: Box::new(error) })?;
            self.versions.1 = version;
        }
        if let Some((under_way, version)) = or_fresh(STAGE, saved.load::<UnderWay>(OUTBOX_KEY).await)? {
            self.versions.0 = version;
            self.outbox = under_way.outbox;
            self.parts.fanout().keep(under_way.notices);
            for step in under_way.steps {
                self.steps.push(step.incident.clone(), step);
            }
            for watch in &mut self.watches {
                watch.known = under_way.known.get(watch.detector.name()).cloned().unwrap_or_default();
            }
        }
        self.restored = true;
        Ok(())
    }

    /// Takes the state as it is now, and gives the future that saves it; none without a store.
    pub(super) fn save(&mut self) -> Option<impl Future<Output = SaveOutcome> + Send + 'static> {
        self.dirty = false;
        let saved = self.parts.saved.clone()?;
        let known = self.watches.iter().map(|watch| (watch.detector.name().to_owned(), watch.known.clone())).collect();
        let under_way = UnderWay {
            steps: self.delivering.values().chain(self.steps.waiting()).cloned().collect(),
            outbox: self.outbox.clone(),
            notices: self.parts.fanout().waiting(),
            known,
        };
        let (correlator, versions) = (self.correlator.save(), self.versions);
        Some(async move {
            match saved.save(OUTBOX_KEY, &under_way, versions.0).await {
                Ok(first) => (Ok(first), saved.save_bytes(CORRELATOR_KEY, correlator, versions.1).await),
                Err(error) => (Err(error), Ok(versions.1)),
            }
        })
    }

    /// Notes what became of a save; one that failed is done again.
    pub(super) fn saved(&mut self, outcome: SaveOutcome) {
        let mut note = |outcome, version: &mut u64| match outcome {
            Ok(new) => *version = new,
            Err(error) => {
                self.dirty = true;
                // One process works on one store, so the other writer was this one before a restart
                // or a save whose answer got lost: the newer state is ours.
                if let StateError::Conflict { found, .. } = error {
                    *version = found;
                }
            }
        };
        note(outcome.0, &mut self.versions.0);
        note(outcome.1, &mut self.versions.1);
    }
}

pub(super) type SaveOutcome = (Result<u64, StateError>, Result<u64, StateError>);

pub(super) fn publish_failed(error: &crate::bus::BusError) {
    tracing::error!(error = crate::error::error_chain(error), "the bus took no event; it is tried again");
    metrics::counter!("aiops_detection_publish_failed_total").increment(1);
}

/// The event's incident; a foreign event without one is an incident of its own.
pub(super) fn incident_of(event: &DetectionEvent) -> IncidentId {
    event.incident_id.clone().unwrap_or_else(|| IncidentId::new(format!("inc-{}", event.fingerprint)))
}
