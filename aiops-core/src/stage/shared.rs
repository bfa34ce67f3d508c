//! Several replicas of the detection stage that decide on one state, so that together they say what
//! one of them would.
//!
//! The state is one value: the correlator's, and what each replica has under way. A replica decides
//! on its copy and saves by compare and swap before anything follows from the decision; if another one
//! was faster, it takes that one's state and decides again. Clocks are not compared: a replica is gone
//! when its beat has not changed for a while by the clock of the one that looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::detection::{DetectionStage, STAGE};
use super::parts::{Saved, StageParts};
use super::step::UnderWay;
use super::{StageError, or_fresh};
use crate::correlate::CorrelatorState;
use crate::store::StateError;
use crate::time::{plus, since};

const KEY: &str = "aiops/detection/shared";
/// Saves in a row that others were faster at, before the loop of the stage gets its turn.
const ATTEMPTS: u32 = 32;
/// Before the next such row.
const CONTENDED: Duration = Duration::from_millis(50);
/// A replica that has nothing to say says so this often.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Before what is out is taken out of the state: until then a crash tells it again.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// Without a beat for so long, a replica is gone, and another one tells what it had left.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// Before a store that failed is asked again; until then the replica decides alone.
const ALONE_FOR: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
struct State {
    correlator: CorrelatorState,
    replicas: BTreeMap<String, Replica>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Replica {
    /// Grows with each save that it tries.
    beat: u64,
    /// It was stopped, and its work is free.
    left: bool,
    under_way: UnderWay,
}

/// What a replica knows of the shared state.
#[derive(Debug)]
pub(super) struct Shared {
    saved: Arc<Saved>,
    name: String,
    version: u64,
    beat: u64,
    others: BTreeMap<String, Replica>,
    /// The beat of each other replica, and since when it is that one.
    seen: BTreeMap<String, (u64, Timestamp)>,
    /// Taken over from replicas that are gone, if the save that says so stands.
    adopting: Vec<UnderWay>,
    /// A save was begun whose outcome is not known: how many of the inputs it has decided on.
    trying: Option<usize>,
    /// Since the store failed: until when it is not asked.
    alone: Option<Timestamp>,
    /// Whether decisions have had their effects that are not in the store.
    unsaved: bool,
    /// What was known before the save that is being tried, where it is not in the store.
    before: Option<CorrelatorState>,
    heartbeat: Timestamp,
    save: Timestamp,
    leaving: bool,
}

impl Shared {
    pub(super) fn of(parts: &StageParts) -> Option<Self> {
        let saved = Arc::clone(parts.saved.as_ref()?);
        let name = saved.replica()?.to_owned();
        Some(Self {
            saved,
            name,
            version: 0,
            beat: 0,
            others: BTreeMap::new(),
            seen: BTreeMap::new(),
            adopting: Vec::new(),
            trying: None,
            alone: None,
            unsaved: false,
            before: None,
            heartbeat: Timestamp::MIN,
            save: Timestamp::MIN,
            leaving: false,
        })
    }

    /// When the state is looked at or saved next.
    pub(super) fn due(&self, dirty: bool, waiting: bool, now: Timestamp) -> Timestamp {
        let mut due = self.heartbeat;
        if dirty && self.alone.is_none() {
            due = due.min(self.save);
        }
        if waiting { due.min(plus(now, CONTENDED)) } else { due }
    }

    fn saved_at(&mut self, now: Timestamp) {
        self.heartbeat = plus(now, HEARTBEAT);
        self.save = plus(now, SAVE_AFTER);
    }

    /// Notes the others as they are stored.
    fn meet(&mut self, others: BTreeMap<String, Replica>, now: Timestamp) {
        self.seen.retain(|name, _| others.contains_key(name));
        for (name, replica) in &others {
            let seen = self.seen.entry(name.clone()).or_insert((replica.beat, now));
            if seen.0 != replica.beat {
                *seen = (replica.beat, now);
            }
        }
        self.others = others;
    }

    fn is_gone(&self, name: &str, replica: &Replica, now: Timestamp) -> bool {
        replica.left || self.seen.get(name).is_some_and(|(_, at)| since(now, *at) >= GONE_AFTER)
    }
}

impl DetectionStage {
    /// Begins with the state as the others have it, and with what this replica had under way before.
    pub(super) async fn join(&mut self, now: Timestamp) -> Result<(), StageError> {
        let Some(shared) = &mut self.shared else { return Ok(()) };
        let found = or_fresh(STAGE, shared.saved.load::<State>(KEY).await)?;
        let Some((State { correlator, mut replicas }, version)) = found else { return Ok(()) };
        let own = replicas.remove(&shared.name).unwrap_or_default();
        (shared.version, shared.beat) = (version, own.beat);
        for watch in &mut self.watches {
            for other in replicas.values() {
                let known = other.under_way.known.get(watch.detector.name());
                watch.known.extend(known.into_iter().flatten().cloned());
            }
        }
        shared.meet(replicas, now);
        self.correlator.set_state(correlator).map_err(not_restored)?;
        self.go_on(own.under_way);
        Ok(())
    }

    /// Decides on what came in, together with the other replicas, if there is anything to be done;
    /// `all`: also saves what is out.
    pub(super) async fn decide(&mut self, now: Timestamp, all: bool) -> Result<(), StageError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let ended = self.correlator.next_due().is_some_and(|due| due <= now);
        let wanted = !self.inputs.is_empty() || ended || shared.trying.is_some() || (self.dirty && all);
        if !wanted && now < shared.due(self.dirty, false, now) {
            return Ok(());
        }
        if shared.alone.is_some_and(|until| now < until) {
            self.decide_alone(now);
            return Ok(());
        }
        if (shared.alone.is_some() || shared.trying.is_some()) && !self.look(now).await? {
            return Ok(());
        }
        let mut failed = false;
        for _ in 0..ATTEMPTS {
            match self.attempt(now).await {
                Ok(()) => return Ok(()),
                Err(StateError::Conflict { .. }) => {
                    metrics::counter!("aiops_detection_state_conflicts_total").increment(1);
                }
                // A store that takes no save twice gets none, even if it can be read.
                Err(_) if failed => {
                    self.go_alone(now);
                    return Ok(());
                }
                Err(_) => failed = true,
            }
            if !self.look(now).await? {
                return Ok(());
            }
        }
        tracing::warn!(attempts = ATTEMPTS, "other replicas were faster; the decisions wait");
        Ok(())
    }

    /// Decides and saves.
    async fn attempt(&mut self, now: Timestamp) -> Result<(), StateError> {
        if let Some(shared) = &mut self.shared {
            shared.before = shared.unsaved.then(|| self.correlator.state());
        }
        self.judge_all(now);
        let mut under_way = self.under_way();
        under_way.steps.extend(self.decided.iter().filter_map(|decided| decided.step.clone()));
        let correlator = self.correlator.state();
        let Some(shared) = &mut self.shared else { return Ok(()) };
        let mut replicas = shared.others.clone();
        shared.adopting.clear();
        for (name, replica) in &shared.others {
            if shared.is_gone(name, replica, now) {
                replicas.remove(name);
                shared.adopting.push(replica.under_way.clone());
            }
        }
        for UnderWay { steps, outbox, notices, known: _ } in shared.adopting.iter().cloned() {
            under_way.steps.extend(steps);
            under_way.outbox.extend(outbox);
            under_way.notices.extend(notices);
        }
        shared.beat = shared.beat.saturating_add(1);
        if !(shared.leaving && under_way.is_empty()) {
            let own = Replica { beat: shared.beat, left: shared.leaving, under_way };
            replicas.insert(shared.name.clone(), own);
        }
        shared.trying = Some(self.inputs.len());
        let (saved, expected) = (Arc::clone(&shared.saved), shared.version);
        let version = saved.save(KEY, &State { correlator, replicas: replicas.clone() }, expected).await?;
        replicas.remove(&shared.name);
        (shared.version, shared.others, shared.unsaved) = (version, replicas, false);
        self.stands(now);
        Ok(())
    }

    /// Takes the state as it is stored; whether there is still something to decide and to save.
    async fn look(&mut self, now: Timestamp) -> Result<bool, StageError> {
        let Some(shared) = &mut self.shared else { return Ok(false) };
        let before = shared.version;
        let State { correlator, mut replicas } = match shared.saved.load::<State>(KEY).await {
            Ok(Some((state, version))) => {
                shared.version = version;
                state
            }
            Ok(None) => {
                // It was never there, or the store has lost it: what this replica knows is the newest.
                (shared.version, shared.alone, shared.unsaved) = (0, None, true);
                self.stands(now);
                return Ok(true);
            }
            Err(error @ StateError::Corrupt { .. }) => {
                return Err(StageError::Restore { stage: STAGE, source: Box::new(error) });
            }
            Err(_) => {
                self.go_alone(now);
                return Ok(false);
            }
        };
        let own = replicas.remove(&shared.name);
        shared.meet(replicas, now);
        if own.is_none() && before > 0 && !shared.unsaved {
            // It stood still for so long that another one took its work over, which is told there.
            drop(self.steps.drain());
            self.outbox.clear();
            self.parts.fanout().forget();
        }
        let through = own.is_some_and(|own| own.beat == shared.beat);
        let tried = shared.trying.is_some();
        if shared.alone.take().is_some() {
            tracing::info!("the state store is back");
        }
        if through && tried {
            // The save stood, and its answer got lost.
            shared.unsaved = false;
            self.correlator.set_state(correlator).map_err(not_restored)?;
            self.stands(now);
            return Ok(false);
        }
        shared.trying = None;
        self.decided.clear();
        if !shared.unsaved {
            self.correlator.set_state(correlator).map_err(not_restored)?;
        } else {
            if let Some(before) = shared.before.take().filter(|_| tried) {
                self.correlator.set_state(before).map_err(not_restored)?;
            }
            if shared.version != before {
                self.correlator.merge_state(correlator).map_err(not_restored)?;
            }
        }
        if through {
            self.adopt();
        }
        Ok(true)
    }

    /// What was decided is saved: now it may have its effects.
    fn stands(&mut self, now: Timestamp) {
        let Some(shared) = &mut self.shared else { return };
        shared.saved_at(now);
        if let Some(decided_on) = shared.trying.take() {
            self.inputs.drain(..decided_on);
            self.dirty = false;
            self.commit(now);
        }
        self.adopt();
    }

    /// Goes on with what replicas had under way that are gone.
    fn adopt(&mut self) {
        let Some(shared) = &mut self.shared else { return };
        for under_way in std::mem::take(&mut shared.adopting) {
            let pieces = under_way.steps.len() + under_way.outbox.len() + under_way.notices.len();
            metrics::counter!("aiops_detection_taken_over_total").increment(pieces as u64);
            self.go_on(under_way);
        }
    }

    /// The store does not answer: what was decided has its effects all the same, since people are told
    /// twice rather than not at all.
    fn go_alone(&mut self, now: Timestamp) {
        let Some(shared) = &mut self.shared else { return };
        if shared.alone.is_none() {
            tracing::error!("the state store does not answer; this replica decides alone");
        }
        (shared.alone, shared.unsaved, shared.before) = (Some(plus(now, ALONE_FOR)), true, None);
        if let Some(decided_on) = shared.trying.take() {
            self.inputs.drain(..decided_on);
        }
        self.decide_alone(now);
    }

    fn decide_alone(&mut self, now: Timestamp) {
        metrics::counter!("aiops_detection_alone_total").increment(1);
        for input in std::mem::take(&mut self.inputs) {
            self.judge(input, now);
        }
        self.end_by(now);
        self.commit(now);
        if let Some(shared) = &mut self.shared {
            shared.heartbeat = shared.alone.unwrap_or(now);
        }
    }

    fn judge_all(&mut self, now: Timestamp) {
        self.decided.clear();
        for input in self.inputs.clone() {
            self.judge(input, now);
        }
        self.end_by(now);
    }

    /// Leaves what is still to be told to the other replicas.
    pub(super) async fn leave(&mut self, now: Timestamp) -> Result<(), StageError> {
        if let Some(shared) = &mut self.shared {
            shared.leaving = true;
            self.dirty = true;
        }
        self.decide(now, true).await
    }
}

fn not_restored(error: crate::correlate::RestoreError) -> StageError {
    StageError::Restore { stage: STAGE, source: Box::new(error) }
}
