//! The detection stage by the clock: evaluations, notices, publishing and saving beside each other,
//! so that none of them waits for a slower one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::detection::{DetectionStage, INTAKE, STAGE, SaveOutcome, publish_failed};
use super::inbox::publish;
use super::step::Step;
use super::watch::{Failed, evaluate};
use super::{StageError, StageParts};
use crate::bus::{BusError, DETECTIONS, Envelope, EventBus};
use crate::detector::Evaluation;
use crate::names::IncidentId;
use crate::plugin::guarded;
use crate::time::plus;

/// Between two saves: episodes change with each evaluation, a disk need not.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Before a refused publish, or notices that no channel took, are tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Events that are published one after the other, beside everything else, before what is out is noted.
const IN_A_ROW: usize = 64;
/// How long a stage that was told to stop may take to get out what it has decided.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(15);

/// What a task of the stage gives back.
enum Done {
    Evaluated(usize, Timestamp, Result<Evaluation, Failed>),
    Announced(IncidentId, Option<Box<Envelope>>),
    /// The ids of what the bus took of the outbox, and what it did not take.
    Published(BTreeSet<String>, Option<(String, BusError)>),
    Saved(SaveOutcome),
    Retried,
}

/// When what is not driven by a detector happens next, and whether it happens now.
#[derive(Debug)]
struct Rounds {
    save: Timestamp,
    publish: Timestamp,
    retry: Timestamp,
    saving: bool,
    publishing: bool,
    retrying: bool,
    /// Evaluations under way: they have no effect, so a stop cuts them.
    evaluations: Vec<AbortHandle>,
}

impl DetectionStage {
    /// Works by the clock until `shutdown` is cancelled; then gets out what it has decided, within
    /// 15 s, and saves.
    ///
    /// # Errors
    /// Saved state that does not read, or a panic of the stage itself. A bus that fails is no error:
    /// announcements go on, and events wait for it.
    pub async fn run(&mut self, bus: Arc<dyn EventBus>, shutdown: CancellationToken) -> Result<(), StageError> {
        let clock = Arc::clone(&self.parts.clock);
        let now = clock.now();
        self.restore(now).await?;
        let mut rounds = Rounds {
            save: now,
            publish: now,
            retry: now,
            saving: false,
            publishing: false,
            retrying: false,
            evaluations: Vec::new(),
        };
        let mut tasks = JoinSet::new();
        loop {
            let now = clock.now();
            self.start_evaluations(&mut tasks, &mut rounds, now);
            self.take_ready(&mut tasks, &mut rounds)?;
            self.decide(now, false).await?;
            self.start_effects(&mut tasks, &mut rounds, &bus, now);
            let wake = self.next_wake(&rounds, now);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(done) = tasks.join_next() => self.finish(done, &mut rounds)?,
                Some(push) = self.pushed.recv(), if self.inputs.len() < INTAKE => self.take(push, clock.now()),
                () = clock.sleep_until(wake) => {}
            }
        }
        let parts = Arc::clone(&self.parts);
        let deadline = plus(clock.now(), SHUTDOWN_GRACE);
        let ended = guarded(&*clock, deadline, self.wind_down(&mut tasks, &mut rounds, &*bus)).await;
        if ended.is_err() {
            tracing::error!("detection stage could not get everything out before it stopped");
            metrics::counter!("aiops_detection_cut_short_total").increment(1);
        }
        // What is not out stands in the saved state, and goes out at the next start.
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        if self.shared.is_some() {
            self.leave(clock.now()).await?;
        } else if parts.saved.is_some()
            && let Some(save) = self.save()
        {
            let outcome = save.await;
            self.saved(outcome);
        }
        ended.unwrap_or(Ok(()))
    }

    /// Cuts evaluations, lets the rest that runs end, takes what was pushed, and gets the decisions out.
    async fn wind_down(
        &mut self,
        tasks: &mut JoinSet<Done>,
        rounds: &mut Rounds,
        bus: &dyn EventBus,
    ) -> Result<(), StageError> {
        let now = self.parts.clock.now();
        rounds.evaluations.iter().for_each(AbortHandle::abort);
        while let Ok(push) = self.pushed.try_recv() {
            self.take(push, now);
        }
        loop {
            self.decide(self.parts.clock.now(), false).await?;
            self.start_steps(tasks);
            let Some(done) = tasks.join_next().await else { break };
            self.finish(done, rounds)?;
        }
        self.publish_all(bus).await;
        Ok(())
    }

    /// Where replicas decide together, they decide at once on all that is there.
    fn take_ready(&mut self, tasks: &mut JoinSet<Done>, rounds: &mut Rounds) -> Result<(), StageError> {
        if self.shared.is_some() {
            while let Some(done) = tasks.try_join_next() {
                self.finish(done, rounds)?;
            }
            while self.inputs.len() < INTAKE
                && let Ok(push) = self.pushed.try_recv()
            {
                self.take(push, self.parts.clock.now());
            }
        }
        Ok(())
    }

    fn start_evaluations(&mut self, tasks: &mut JoinSet<Done>, rounds: &mut Rounds, now: Timestamp) {
        rounds.evaluations.retain(|evaluation| !evaluation.is_finished());
        for place in 0..self.watches.len() {
            let watch = &mut self.watches[place];
            if watch.is_due(now) {
                watch.schedule(now);
                watch.running = true;
                let (detector, parts, longest) = (Arc::clone(&watch.detector), Arc::clone(&self.parts), self.longest);
                let evaluation =
                    async move { Done::Evaluated(place, now, evaluate(detector, now, longest, &parts).await) };
                rounds.evaluations.push(tasks.spawn(evaluation));
            }
        }
    }

    fn start_steps(&mut self, tasks: &mut JoinSet<Done>) {
        while let Some((incident, step)) = self.steps.start() {
            self.delivering.insert(incident.clone(), step.clone());
            let parts: Arc<StageParts> = Arc::clone(&self.parts);
            tasks.spawn(async move { Done::Announced(incident, Step::announce(step, &parts).await.map(Box::new)) });
        }
    }

    fn start_effects(
        &mut self,
        tasks: &mut JoinSet<Done>,
        rounds: &mut Rounds,
        bus: &Arc<dyn EventBus>,
        now: Timestamp,
    ) {
        self.advance(now);
        self.start_steps(tasks);
        if !rounds.retrying && rounds.retry <= now {
            rounds.retry = plus(now, RETRY_AFTER);
            if !self.parts.fanout().is_empty() {
                rounds.retrying = true;
                self.dirty = true;
                let parts = Arc::clone(&self.parts);
                tasks.spawn(async move {
                    parts.fanout().retry(&parts).await;
                    Done::Retried
                });
            }
        }
        if !rounds.publishing && rounds.publish <= now && !self.outbox.is_empty() {
            rounds.publishing = true;
            let (bus, parts) = (Arc::clone(bus), Arc::clone(&self.parts));
            let envelopes: Vec<Envelope> = self.outbox.iter().take(IN_A_ROW).cloned().collect();
            tasks.spawn(async move {
                let mut taken = BTreeSet::new();
                for envelope in envelopes {
                    let id = envelope.id.clone();
                    if let Err(error) = publish(&bus, DETECTIONS, envelope, &*parts.clock).await {
                        return Done::Published(taken, Some((id, error)));
                    }
                    taken.insert(id);
                }
                Done::Published(taken, None)
            });
        }
        if self.shared.is_none() && self.dirty && !rounds.saving && rounds.save <= now {
            rounds.save = plus(now, SAVE_EVERY);
            if let Some(save) = self.save() {
                rounds.saving = true;
                tasks.spawn(async move { Done::Saved(save.await) });
            }
        }
    }

    fn next_wake(&self, rounds: &Rounds, now: Timestamp) -> Timestamp {
        let mut wake = rounds.retry;
        if let Some(due) = self.next_due() {
            wake = wake.min(due);
        }
        if !self.outbox.is_empty() && !rounds.publishing {
            wake = wake.min(rounds.publish);
        }
        match &self.shared {
            Some(shared) => wake.min(shared.due(self.dirty, !self.inputs.is_empty(), now)),
            None if self.dirty && !rounds.saving => wake.min(rounds.save),
            None => wake,
        }
    }

    fn finish(&mut self, done: Result<Done, JoinError>, rounds: &mut Rounds) -> Result<(), StageError> {
        let now = self.parts.clock.now();
        let done = match done {
            Err(error) if error.is_cancelled() => return Ok(()),
            done => done.map_err(|error| StageError::of_task(STAGE, error))?,
        };
        match done {
            Done::Evaluated(place, at, outcome) => {
                self.watches[place].running = false;
                self.evaluated(place, at, now, outcome);
            }
            Done::Announced(incident, envelope) => {
                self.delivering.remove(&incident);
                self.steps.done(&incident);
                self.hand_on(envelope.map(|envelope| *envelope));
            }
            Done::Published(taken, failed) => {
                rounds.publishing = false;
                self.dirty |= !taken.is_empty();
                // By name: the outbox may have become another one in the meantime.
                self.outbox.retain(|envelope| !taken.contains(&envelope.id));
                if let Some((id, error)) = failed {
                    publish_failed(&error);
                    let still_first = self.outbox.front().is_some_and(|first| first.id == id);
                    if !(still_first && self.give_up(&error)) {
                        rounds.publish = plus(now, RETRY_AFTER);
                    }
                }
            }
            Done::Saved(outcome) => {
                rounds.saving = false;
                self.saved(outcome);
            }
            Done::Retried => rounds.retrying = false,
        }
        Ok(())
    }
}
