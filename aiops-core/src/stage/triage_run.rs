//! The triage stage by the clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::triage::{Outcome, STAGE, TriageStage};
use super::{StageError, TRIAGE_GROUP};
use crate::bus::{DETECTIONS, EventBus};
use crate::plugin::guarded;
use crate::time::plus;

/// Messages taken in a row before due reports get their turn.
const IN_A_ROW: u32 = 64;
/// How long reports in the making may take once the stage is told to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(15);
/// How often notices that no channel took are tried again.
const RETRY_EVERY: Duration = Duration::from_secs(30);

enum Done {
    Triaged(Box<Outcome>),
    Told,
}

impl TriageStage {
    /// Reads the detections topic until `shutdown` is cancelled; then reports in the making get 15 s,
    /// and every message without a report is handed back.
    ///
    /// # Errors
    /// A topic that cannot be joined, a bus that was closed, saved state that does not read, or a
    /// panic of the stage itself.
    pub async fn run(&mut self, bus: Arc<dyn EventBus>, shutdown: CancellationToken) -> Result<(), StageError> {
        self.restore().await?;
        let mut inbox = Inbox::open(STAGE, &*bus, DETECTIONS, TRIAGE_GROUP).await?;
        let parts = Arc::clone(&self.work.parts);
        let clock = Arc::clone(&parts.clock);
        let mut tasks = JoinSet::new();
        let mut row = 0;
        let mut retry = plus(clock.now(), RETRY_EVERY);
        let ended = loop {
            let now = clock.now();
            // Messages first, so that a backlog is together before its report is made.
            if row == 0 || row >= IN_A_ROW {
                row = 0;
                self.start_due(&mut tasks, &bus);
            }
            if retry <= now {
                retry = plus(now, RETRY_EVERY);
                let parts = Arc::clone(&parts);
                tasks.spawn(async move {
                    parts.fanout().retry(&parts).await;
                    Done::Told
                });
            }
            // Zero once a row of messages ends, so that what is due starts at the next turn.
            let wake = if row > 0 { now } else { self.next_due().map_or(retry, |due| due.min(retry)) };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(done) = tasks.join_next() => {
                    if let Err(error) = self.done(done, &mut tasks).await {
                        break Err(error);
                    }
                }
                next = inbox.next(&*clock), if self.has_room() => match next {
                    Ok(delivery) => {
                        self.accept(delivery, clock.now()).await;
                        row += 1;
                    }
                    Err(error) => break Err(error),
                },
                () = clock.sleep_until(wake) => row = 0,
            }
        };
        let deadline = plus(clock.now(), SHUTDOWN_GRACE);
        let wind_down = async {
            while let Some(done) = tasks.join_next().await {
                self.done(done, &mut tasks).await?;
            }
            Ok(())
        };
        let wound = guarded(&*clock, deadline, wind_down).await;
        if wound.is_err() {
            metrics::counter!("aiops_triage_cut_short_total").increment(1);
        }
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        self.hand_back().await;
        ended.and(wound.unwrap_or(Ok(())))
    }

    fn start_due(&mut self, tasks: &mut JoinSet<Done>, bus: &Arc<dyn EventBus>) {
        while let Some(job) = self.start(self.work.parts.clock.now()) {
            let (work, bus) = (Arc::clone(&self.work), Arc::clone(bus));
            tasks.spawn(async move { Done::Triaged(Box::new(work.triage(job, bus).await)) });
        }
    }

    async fn done(
        &mut self,
        done: Result<Done, tokio::task::JoinError>,
        tasks: &mut JoinSet<Done>,
    ) -> Result<(), StageError> {
        if let Done::Triaged(outcome) = done.map_err(|error| StageError::of_task(STAGE, error))? {
            let now = self.work.parts.clock.now();
            if let Some(triaged) = self.finish(*outcome, now).await {
                let work = Arc::clone(&self.work);
                tasks.spawn(async move {
                    work.announce(triaged).await;
                    Done::Told
                });
            }
        }
        Ok(())
    }
}
