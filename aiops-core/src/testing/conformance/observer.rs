//! The suite of [`Observer`].

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use crate::lock::lock;
use crate::observer::{Observer, PipelineEvent};
use crate::pipeline::Pipeline;
use crate::responder::Disposition;
use crate::testing::fakes::{RecordingNotifier, RecordingResponder, ScriptedDetector, ScriptedTriager};
use crate::testing::{Violation, ensure, samples};

const SEES: &str = "it sees every step of a pipeline, and returns at once";
const PLAYED: &str = "the suite's own pipeline makes every kind of step";

/// Kinds of steps: evaluated, failed, correlated, context, triaged, responded, noticed.
const KINDS: usize = 7;

/// Passes every step on, and keeps which kinds there were and at which one it panicked.
#[derive(Debug)]
struct Watched<O> {
    observer: O,
    kinds: Arc<Mutex<BTreeSet<usize>>>,
    panicked: Arc<Mutex<Option<String>>>,
}

impl<O: Observer> Observer for Watched<O> {
    fn observe(&self, event: &PipelineEvent<'_>) {
        lock(&self.kinds).insert(match event {
            PipelineEvent::Evaluated { .. } => 0,
            PipelineEvent::EvaluationFailed { .. } => 1,
            PipelineEvent::Correlated { .. } => 2,
            PipelineEvent::ContextGathered { .. } => 3,
            PipelineEvent::Triaged(_) => 4,
            PipelineEvent::Responded { .. } => 5,
            PipelineEvent::Noticed { .. } => 6,
        });
        if catch_unwind(AssertUnwindSafe(|| self.observer.observe(event))).is_err() {
            lock(&self.panicked).get_or_insert_with(|| format!("it panicked at {event:?}"));
        }
    }
}

/// Checks an observer with a pipeline that takes every kind of step, a failed evaluation among them:
/// a panic of the observer is caught in production, and is a violation here.
///
/// # Errors
/// The first line of the contract of [`Observer`] that does not hold.
///
/// ```
/// #[derive(Debug)]
/// struct Nothing;
/// impl aiops_core::Observer for Nothing {
///     fn observe(&self, _: &aiops_core::PipelineEvent<'_>) {}
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), aiops_core::testing::Violation> {
/// aiops_core::testing::check_observer(Nothing).await
/// # }
/// ```
pub async fn check_observer(observer: impl Observer) -> Result<(), Violation> {
    let (kinds, panicked) = (Arc::default(), Arc::default());
    let watched = Watched { observer, kinds: Arc::clone(&kinds), panicked: Arc::clone(&panicked) };
    let (start, every) = (Timestamp::UNIX_EPOCH, Duration::from_secs(30));
    let mut event = samples::event("checkout", "1", start);
    (event.episode_id, event.incident_id) = (None, None);
    let detector = ScriptedDetector::new("script", every).then_firing(event).then_error("told to fail");
    let replay = Pipeline::builder()
        .detector(detector)
        .notify(RecordingNotifier::new("pager"))
        .triager(ScriptedTriager::new("script"))
        .responder(RecordingResponder::new(Disposition::NoAction))
        .observe(watched)
        .replay(start);
    let failed = |error: String| Violation::new(PLAYED, error);
    let mut replay = replay.map_err(|error| failed(error.to_string()))?;
    replay.run_to(crate::time::plus(start, every * 20)).await.map_err(|error| failed(error.to_string()))?;
    replay.finish().await.map_err(|error| failed(error.to_string()))?;

    if let Some(what) = lock(&panicked).take() {
        return Err(Violation::new(SEES, what));
    }
    let kinds = lock(&kinds).len();
    ensure(kinds == KINDS, PLAYED, || format!("{kinds} of {KINDS}"))
}
