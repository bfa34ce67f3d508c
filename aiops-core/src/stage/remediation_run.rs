//! The remediation stage by the clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::remediation::{RemediationStage, STAGE};
use super::{REMEDIATION_GROUP, StageError};
use crate::bus::{DETECTIONS, EventBus, TRIAGED};
use crate::names::IncidentId;
use crate::plugin::guarded;
use crate::time::plus;

/// How long answers in the making may take once the stage is told to stop: an action that runs is
/// better ended than cut.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
impl RemediationStage {
    /// Reads the triaged and detections topics until `shutdown` is cancelled; then answers in the
    /// making get 30 s, and what has not begun is handed back.
    ///
    /// # Errors
    /// A topic that cannot be joined, a bus that was closed, or a panic of the stage itself.
    pub async fn run(&mut self, bus: Arc<dyn EventBus>, shutdown: CancellationToken) -> Result<(), StageError> {
        let mut reports = Inbox::open(STAGE, &*bus, TRIAGED, REMEDIATION_GROUP).await?;
        let mut detections = Inbox::open(STAGE, &*bus, DETECTIONS, REMEDIATION_GROUP).await?;
        let parts = Arc::clone(&self.work.parts);
        let clock = Arc::clone(&parts.clock);
        let work = Arc::clone(&self.work);
        // None: a task that answers nothing.
        let mut tasks: JoinSet<Option<IncidentId>> = JoinSet::new();
        // The first time at once: the process before may have left something behind.
        let (mut retry, mut retrying) = (clock.now(), false);
        let ended = loop {
            while let Some((incident, message)) = self.start() {
                let (work, bus) = (Arc::clone(&self.work), Arc::clone(&bus));
                tasks.spawn(async move {
                    work.handle(message, bus).await;
                    Some(incident)
                });
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(done) = tasks.join_next() => match done {
                    Ok(Some(incident)) => self.finish(&incident),
                    Ok(None) => {
                        retrying = false;
                        retry = plus(clock.now(), work.recover_every);
                    }
                    Err(error) => break Err(StageError::of_task(STAGE, error)),
                },
                // Resolves first: what waits for an ended episode is void.
                next = detections.next(&*clock), if self.has_room() => match next {
                    Ok(delivery) => self.accept_detection(delivery).await,
                    Err(error) => break Err(error),
                },
                next = reports.next(&*clock), if self.has_room() => match next {
                    Ok(delivery) => self.accept_report(delivery).await,
                    Err(error) => break Err(error),
                },
                () = async {
                    tokio::select! {
                        () = clock.sleep_until(retry) => {}
                        () = work.woken() => {}
                    }
                }, if !retrying => {
                    retrying = true;
                    let (parts, work, bus) = (Arc::clone(&parts), Arc::clone(&self.work), Arc::clone(&bus));
                    tasks.spawn(async move {
                        work.recover(&bus).await;
                        parts.fanout().retry(&parts).await;
                        None
                    });
                }
            }
        };
        self.hand_back().await;
        let wind_down = async { while tasks.join_next().await.is_some() {} };
        if guarded(&*clock, plus(clock.now(), SHUTDOWN_GRACE), wind_down).await.is_err() {
            metrics::counter!("aiops_remediation_cut_short_total").increment(1);
        }
        // A cut task drops its delivery, which is a failed attempt: the report comes again.
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        ended
    }
}
