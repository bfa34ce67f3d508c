//! The pipeline: the stages that a host asks for, in one process.

mod builder;
mod replay;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::builder::{InvalidPipeline, PipelineBuilder};
pub use self::replay::Replay;
use crate::bus::{DETECTIONS, EventBus, TRIAGED};
use crate::stage::{
    DetectionStage, Inbox, Intake, REMEDIATION_GROUP, RemediationStage, StageError, TRIAGE_GROUP, TriageStage,
};

/// Detection, and what the host gave of triage and remediation, in one process.
///
/// Detection and a channel are a complete pipeline:
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use aiops_core::{CancellationToken, Evaluation, LogNotifier, Pipeline, detector_fn};
///
/// let queue = detector_fn("queue-depth", Duration::from_secs(30), |_tick| async {
///     Ok(Evaluation::default()) // what is seen now
/// });
/// let pipeline = Pipeline::builder().detector(queue).notify(LogNotifier).build()?;
///
/// let shutdown = CancellationToken::new();
/// # shutdown.cancel();
/// pipeline.run(shutdown).await?;
/// # Ok(())
/// # }
/// ```
///
/// Each stage also runs alone over any bus, in a service of its own: see [`DetectionStage`],
/// [`TriageStage`] and [`RemediationStage`], or take them out with [`into_stages`](Self::into_stages).
#[derive(Debug)]
pub struct Pipeline {
    bus: Arc<dyn EventBus>,
    detection: DetectionStage,
    triage: Option<TriageStage>,
    remediation: Option<RemediationStage>,
}

impl Pipeline {
    /// Starts an empty pipeline.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::new()
    }

    /// Where events are pushed in, while the pipeline runs or before.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.detection.intake()
    }

    /// The stages, each to be run in a service of its own.
    #[must_use]
    pub fn into_stages(self) -> (DetectionStage, Option<TriageStage>, Option<RemediationStage>) {
        (self.detection, self.triage, self.remediation)
    }

    /// Runs until `shutdown` is cancelled; then work in progress ends or is handed back to the bus.
    ///
    /// # Errors
    /// A stage that ended or panicked although nobody told it to: the others are stopped in good
    /// order first, and the error names the stage.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StageError> {
        let Self { bus, mut detection, triage, remediation } = self;
        // The groups must exist before the first event, or it goes past them.
        if triage.is_some() {
            Inbox::open("triage", &*bus, DETECTIONS, TRIAGE_GROUP).await?;
        }
        if remediation.is_some() {
            Inbox::open("remediation", &*bus, TRIAGED, REMEDIATION_GROUP).await?;
            Inbox::open("remediation", &*bus, DETECTIONS, REMEDIATION_GROUP).await?;
        }

        let stop = shutdown.child_token();
        let mut stages = JoinSet::new();
        let (its_bus, its_stop) = (Arc::clone(&bus), stop.clone());
        stages.spawn(async move { ("detection", detection.run(its_bus, its_stop).await) });
        if let Some(mut triage) = triage {
            let (its_bus, its_stop) = (Arc::clone(&bus), stop.clone());
            stages.spawn(async move { ("triage", triage.run(its_bus, its_stop).await) });
        }
        if let Some(mut remediation) = remediation {
            let (its_bus, its_stop) = (Arc::clone(&bus), stop.clone());
            stages.spawn(async move { ("remediation", remediation.run(its_bus, its_stop).await) });
        }

        let mut outcome = Ok(());
        while let Some(ended) = stages.join_next().await {
            let ended = match ended {
                Ok((_, Err(error))) => Err(error),
                Ok((stage, Ok(()))) if !stop.is_cancelled() => Err(StageError::Ended { stage }),
                Ok((_, Ok(()))) => Ok(()),
                Err(error) => Err(StageError::of_task("pipeline", error)),
            };
            if let Err(error) = ended {
                tracing::error!(error = crate::error::error_chain(&error), "a stage ended; the pipeline stops");
                metrics::counter!("aiops_stage_ended_total", "stage" => error.stage()).increment(1);
                stop.cancel();
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }
}
