//! Detection: evaluates detectors, decides, tells people, and hands events to the bus, in this order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::intake::{Intake, Push};
use super::lanes::Lanes;
use super::shared::Shared;
use super::step::{Decided, Input, Step, UnderWay, held_step, told_step};
use super::watch::{Failed, Watch, evaluate};
use super::{Measured, StageError, StageParts, ended, or_fresh};
use crate::bus::{DETECTIONS, Envelope, EventBus};
use crate::correlate::{Correlated, CorrelationDecision, Correlator};
use crate::data_state::DataState;
use crate::detector::{Detector, Evaluation, Sighting};
use crate::event::{DetectionEvent, Status};
use crate::names::IncidentId;
use crate::observer::PipelineEvent;
use crate::plugin::{Boxed, join_all};
use crate::store::StateError;
use crate::time::since;

/// The stage's name in errors and metrics.
pub(super) const STAGE: &str = "detection";
/// An evaluation that takes longer is late, whatever its interval.
const LONGEST_EVALUATION: Duration = Duration::from_secs(30);
/// Detectors at work at a time: their sources share the host's connections.
const AT_ONCE: usize = 64;
/// Notices on their way at a time.
pub(super) const NOTICES_AT_ONCE: usize = 16;
/// Pushed events that wait for the stage.
pub(super) const INTAKE: usize = 1_024;
/// Events that wait for a bus that is behind: a day of a busy platform.
const OUTBOX: usize = 10_000;
/// Held, ignored and invalid events kept for review.
const REVIEW: usize = 1_000;

const OUTBOX_KEY: &str = "aiops/detection/outbox";
const CORRELATOR_KEY: &str = "aiops/detection/correlator";

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
            shared: Shared::of(&self.parts),
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
            inputs: Vec::new(),
            decided: Vec::new(),
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
/// - With a [`replica`](crate::StagePartsBuilder::replica) name it shares its state with other replicas:
///   a decision is saved before anything follows from it, in one step, and made anew on what another
///   replica saved first. What a replica that is gone had left to tell, another one tells 30 s later.
///   A replica that does not reach the store goes on alone: then each side may tell people once.
///
/// [`run`](Self::run) works by the clock; [`tick`](Self::tick) does one round at a time that the
/// caller gives, in one task and in a fixed order.
#[derive(Debug)]
pub struct DetectionStage {
    pub(super) parts: Arc<StageParts>,
    pub(super) watches: Vec<Watch>,
    pub(super) correlator: Correlator,
    pub(super) longest: Duration,
    intake: Intake,
    pub(super) pushed: mpsc::Receiver<Push>,
    pub(super) steps: Lanes<IncidentId, Step>,
    /// Steps whose task runs, by incident.
    pub(super) delivering: BTreeMap<IncidentId, Step>,
    pub(super) outbox: VecDeque<Envelope>,
    review: VecDeque<Correlated>,
    /// What the replicas have in common, where there are several.
    pub(super) shared: Option<Shared>,
    /// What is not decided yet.
    pub(super) inputs: Vec<Input>,
    /// What was decided and does not stand yet.
    pub(super) decided: Vec<Decided>,
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
        self.restore(now).await?;
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
        self.settle(now, bus).await
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
        self.restore(now).await?;
        self.take(Push::Event(Box::new(event)), now);
        self.settle(now, bus).await
    }

    /// Does what the decisions ask for, one after the other.
    async fn settle(&mut self, now: Timestamp, bus: &dyn EventBus) -> Result<(), StageError> {
        self.decide(now, false).await?;
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
        if self.shared.is_some() {
            return self.decide(now, true).await;
        }
        if self.dirty
            && let Some(save) = self.save()
        {
            let outcome = save.await;
            self.saved(outcome);
        }
        Ok(())
    }

    pub(super) async fn publish_all(&mut self, bus: &dyn EventBus) {
        while let Some(envelope) = self.outbox.front() {
            match bus.publish(DETECTIONS, envelope.clone()).await {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(error) => {
                    publish_failed(&error);
                    if !self.give_up(&error) {
                        return;
                    }
                }
            }
            self.dirty = true;
        }
    }

    /// Drops the first event of the outbox where the bus will never take it, so that those behind it go on.
    pub(super) fn give_up(&mut self, error: &crate::bus::BusError) -> bool {
        let never = matches!(error, crate::bus::BusError::TooLarge { .. });
        if never && self.outbox.pop_front().is_some() {
            self.dirty = true;
            metrics::counter!("aiops_detection_outbox_dropped_total").increment(1);
            tracing::error!("an announced event is too large for the bus; it is not triaged");
        }
        never
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

    /// Takes a pushed event.
    pub(super) fn take(&mut self, push: Push, now: Timestamp) {
        self.offer(Input::Pushed(push), now);
    }

    /// Decides at once, or together with the other replicas at the next turn.
    fn offer(&mut self, input: Input, now: Timestamp) {
        if self.shared.is_some() {
            self.inputs.push(input);
        } else {
            self.judge(input, now);
            self.commit(now);
        }
    }

    /// Decides on one input.
    pub(super) fn judge(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Pushed(push) => {
                let correlated = match push {
                    Push::Event(event) => self.correlator.observe(*event, now),
                    Push::Resolve(identity, at) => self.correlator.resolve(&identity, at, now),
                };
                // What ended meanwhile ended before it.
                self.end_by(now);
                self.note(correlated, now);
            }
            Input::Seen(sightings, every) => {
                for sighting in sightings {
                    let correlated = self.correlator.sight(sighting, every, now);
                    self.end_by(now);
                    if let Some(correlated) = correlated {
                        self.note(correlated, now);
                    }
                }
            }
        }
    }

    /// Takes what a detector said of `at`.
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
        ended(Measured::Detection, outcome.is_ok());
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
        self.offer(Input::Seen(sightings, every), now);
        self.dirty = true;
    }

    /// Ends what ended by itself, unless the replicas do it together.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if self.shared.is_none() {
            self.end_by(now);
            self.commit(now);
        }
    }

    /// Ends what ended by itself.
    pub(super) fn end_by(&mut self, now: Timestamp) {
        for correlated in self.correlator.advance(now) {
            self.note(correlated, now);
        }
        for held in self.correlator.take_held() {
            if let Some(step) = held_step(held, now) {
                self.decided.push(Decided { correlated: None, step: Some(step) });
            }
        }
    }

    /// Keeps a decision, and what follows from it, until it stands.
    fn note(&mut self, correlated: Correlated, now: Timestamp) {
        let step = match correlated.decision {
            CorrelationDecision::Announced | CorrelationDecision::Resolved => told_step(&correlated, now),
            _ => None,
        };
        self.decided.push(Decided { correlated: Some(correlated), step });
    }

    /// The decisions stand: tells the observer, and queues what follows from them.
    pub(super) fn commit(&mut self, now: Timestamp) {
        for Decided { correlated, step } in std::mem::take(&mut self.decided) {
            self.dirty = true;
            if let Some(step) = step {
                self.steps.push(step.incident.clone(), step);
            }
            let Some(correlated) = correlated else { continue };
            self.parts.tell(&PipelineEvent::Correlated { at: now, correlated: &correlated });
            if let Some(event) = correlated.event.as_ref().filter(|event| event.status == Status::Firing) {
                self.parts.began(Measured::Detection, since(now, event.observed()));
            }
            match correlated.decision {
                CorrelationDecision::Announced | CorrelationDecision::Resolved | CorrelationDecision::Repeat => {}
                _ => {
                    self.review.push_back(correlated);
                    if self.review.len() > REVIEW {
                        self.review.pop_front();
                    }
                }
            }
        }
    }

    /// Loads what was saved, once.
    pub(super) async fn restore(&mut self, now: Timestamp) -> Result<(), StageError> {
        let Some(saved) = self.parts.saved.clone().filter(|_| !self.restored) else { return Ok(()) };
        if self.shared.is_some() {
            self.join(now).await?;
            self.restored = true;
            return Ok(());
        }
        if let Some((bytes, version)) = or_fresh(STAGE, saved.load_bytes(CORRELATOR_KEY).await)? {
            let restored = self.correlator.restore(&bytes);
            restored.map_err(|error| StageError::Restore { stage: STAGE, source: Box::new(error) })?;
            self.versions.1 = version;
        }
        if let Some((under_way, version)) = or_fresh(STAGE, saved.load::<UnderWay>(OUTBOX_KEY).await)? {
            self.versions.0 = version;
            self.go_on(under_way);
        }
        self.restored = true;
        Ok(())
    }

    /// Goes on with what was under way in another process.
    pub(super) fn go_on(&mut self, under_way: UnderWay) {
        self.parts.fanout().keep(under_way.notices);
        for step in under_way.steps {
            self.steps.push(step.incident.clone(), step);
        }
        for envelope in under_way.outbox {
            self.hand_on(Some(envelope));
        }
        for watch in &mut self.watches {
            watch.known.extend(under_way.known.get(watch.detector.name()).into_iter().flatten().cloned());
        }
    }

    /// What is under way now.
    pub(super) fn under_way(&self) -> UnderWay {
        let known = self.watches.iter().map(|watch| (watch.detector.name().to_owned(), watch.known.clone())).collect();
        let mut notices = self.parts.fanout().waiting();
        // A notice on its way stands in its step.
        notices.retain(|notice| self.delivering.values().all(|step| step.notice.as_ref() != Some(notice)));
        UnderWay {
            steps: self.delivering.values().chain(self.steps.waiting()).cloned().collect(),
            outbox: self.outbox.clone(),
            notices,
            known,
        }
    }

    /// Takes the state as it is now, and gives the future that saves it; none without a store.
    pub(super) fn save(&mut self) -> Option<impl Future<Output = SaveOutcome> + Send + 'static> {
        self.dirty = false;
        let saved = self.parts.saved.clone()?;
        let under_way = self.under_way();
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
