//! A pipeline in virtual time: backtests, and programs that show a recorded incident.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::bus::{DETECTIONS, EventBus, MemoryBus, TRIAGED};
use crate::clock::Clock;
use crate::event::DetectionEvent;
use crate::stage::{DetectionStage, Inbox, REMEDIATION_GROUP, RemediationStage, StageError, TRIAGE_GROUP, TriageStage};
use crate::virtual_clock::VirtualClock;

/// Longer than any replay: virtual time must not run into the bus' deadline between two steps.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// At the end: steps in which messages that failed get their further attempts.
const LAST_STEPS: u32 = 16;
/// Between these steps; no back-off is longer.
const LAST_STEP: Duration = Duration::from_secs(300);

/// A pipeline that runs as fast as it can through a time that is given to it, in the caller's task,
/// without waiting for any wall clock.
///
/// The same plugins and the same times give the same decisions, ids and order of steps. An
/// [`Observer`](crate::Observer) sees each step. Deadlines do not run while a plugin works, since
/// virtual time stands still then: a plugin that hangs, hangs the replay.
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use aiops_core::{Evaluation, LogNotifier, Pipeline, detector_fn, jiff::Timestamp, time};
///
/// let detector = detector_fn("quiet", Duration::from_secs(300), |_| async { Ok(Evaluation::default()) });
/// let from = Timestamp::UNIX_EPOCH;
/// let mut replay = Pipeline::builder().detector(detector).notify(LogNotifier).replay(from)?;
/// replay.run_to(time::plus(from, Duration::from_secs(86_400))).await?;
/// replay.finish().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Replay {
    clock: VirtualClock,
    memory: MemoryBus,
    bus: Arc<dyn EventBus>,
    detection: DetectionStage,
    triage: Option<TriageStage>,
    remediation: Option<RemediationStage>,
    inboxes: Inboxes,
}

/// Those of the stages that there are; opened at the first step.
#[derive(Debug, Default)]
struct Inboxes {
    events: Option<Inbox>,
    reports: Option<Inbox>,
    resolves: Option<Inbox>,
}

impl Replay {
    pub(super) fn new(
        clock: VirtualClock,
        detection: DetectionStage,
        triage: Option<TriageStage>,
        remediation: Option<RemediationStage>,
    ) -> Self {
        // Its messages are bounded by what is replayed: back-pressure could only stop the one task.
        let memory = MemoryBus::builder().capacity(usize::MAX).ack_deadline(NEVER).with_clock(clock.clone()).build();
        let bus = Arc::new(memory.clone());
        Self { clock, memory, bus, detection, triage, remediation, inboxes: Inboxes::default() }
    }

    /// The time of the replay.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock of the replay, for plugins that hold one.
    #[must_use]
    pub fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }

    /// The detection stage, for its review list.
    #[must_use]
    pub fn detection(&self) -> &DetectionStage {
        &self.detection
    }

    /// Everything that is due in `[now, to)`; the time is `to` after it.
    ///
    /// # Errors
    /// Saved state that does not read.
    pub async fn run_to(&mut self, to: Timestamp) -> Result<(), StageError> {
        self.open().await?;
        loop {
            let due = self.detection.next_due().into_iter().chain(self.triage.as_ref().and_then(TriageStage::next_due));
            let now = self.clock.now();
            let Some(next) = due.min().map(|due| due.max(now)).filter(|next| *next < to) else { break };
            self.clock.set(next);
            self.detection.tick(next, &*self.bus).await?;
            self.drain().await?;
        }
        self.clock.set(to.max(self.clock.now()));
        Ok(())
    }

    /// Runs up to the event's time of observation, or stays at now where that is later, and takes it.
    ///
    /// # Errors
    /// Saved state that does not read.
    pub async fn ingest(&mut self, event: DetectionEvent) -> Result<(), StageError> {
        self.run_to(event.observed()).await?;
        self.detection.ingest(event, self.clock.now(), &*self.bus).await?;
        self.drain().await
    }

    /// Ends the replay: incidents that still wait get their report, and messages that failed their
    /// further attempts, at the times when they would have. Detectors are not evaluated any more.
    ///
    /// # Errors
    /// Saved state that does not read.
    pub async fn finish(&mut self) -> Result<(), StageError> {
        self.drain().await?;
        while let Some(due) = self.triage.as_ref().and_then(TriageStage::next_due) {
            self.clock.set(due.max(self.clock.now()));
            self.drain().await?;
        }
        for _ in 0..LAST_STEPS {
            if self.memory.undelivered().is_empty() {
                break;
            }
            self.clock.advance(LAST_STEP);
            self.drain().await?;
        }
        Ok(())
    }

    /// Joins the topics, before the first event goes past them.
    async fn open(&mut self) -> Result<(), StageError> {
        let bus = &*self.bus;
        if self.triage.is_some() && self.inboxes.events.is_none() {
            self.inboxes.events = Some(Inbox::open("triage", bus, DETECTIONS, TRIAGE_GROUP).await?);
        }
        if self.remediation.is_some() && self.inboxes.reports.is_none() {
            self.inboxes.resolves = Some(Inbox::open("remediation", bus, DETECTIONS, REMEDIATION_GROUP).await?);
            self.inboxes.reports = Some(Inbox::open("remediation", bus, TRIAGED, REMEDIATION_GROUP).await?);
        }
        Ok(())
    }

    /// Lets triage and remediation work until nothing moves at this time.
    async fn drain(&mut self) -> Result<(), StageError> {
        let now = self.clock.now();
        if let (Some(triage), Some(events)) = (&mut self.triage, &mut self.inboxes.events) {
            triage.restore().await?;
            while let Some(delivery) = events.ready() {
                triage.accept(delivery, now).await;
            }
            while let Some(job) = triage.start(now) {
                let outcome = Arc::clone(&triage.work).triage(job, Arc::clone(&self.bus)).await;
                if let Some(triaged) = triage.finish(outcome, now).await {
                    Arc::clone(&triage.work).announce(triaged).await;
                }
            }
        }
        if let Some(remediation) = &mut self.remediation {
            // Resolves first: what waits for an ended episode is void.
            while let Some(delivery) = self.inboxes.resolves.as_mut().and_then(Inbox::ready) {
                remediation.accept_detection(delivery).await;
            }
            while let Some(delivery) = self.inboxes.reports.as_mut().and_then(Inbox::ready) {
                remediation.accept_report(delivery).await;
            }
            while let Some((incident, message)) = remediation.start() {
                Arc::clone(&remediation.work).handle(message, Arc::clone(&self.bus)).await;
                remediation.finish(&incident);
            }
        }
        Ok(())
    }
}
