//! The detector: one evaluation cycle, and what it saw.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::data_state::DataState;
use crate::error::BoxError;
use crate::event::DetectionEvent;
use crate::fingerprint::Identity;

/// When an evaluation happens, and by when it must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// The time of the evaluation: every decision goes by it.
    pub now: Timestamp,
    /// The stage drops the evaluation at this time and counts it as failed.
    pub deadline: Timestamp,
}

impl Tick {
    /// A tick.
    #[must_use]
    pub fn new(now: Timestamp, deadline: Timestamp) -> Self {
        Self { now, deadline }
    }
}

/// What a detector sees of one identity now.
#[derive(Debug, Clone, PartialEq)]
pub enum Sighting {
    /// The anomaly is there. Detectors do not fill in fingerprint, episode or incident.
    Firing(Box<DetectionEvent>),
    /// The data is good and the anomaly is not there.
    Normal(Identity),
    /// Nothing can be said: this neither keeps an episode open by itself nor ends it.
    Unknown(Identity, DataState),
}

/// What one evaluation saw: at most one sighting for each identity.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Evaluation {
    /// The sightings, in any order.
    pub sightings: Vec<Sighting>,
}

impl Evaluation {
    /// An evaluation of these sightings.
    #[must_use]
    pub fn new(sightings: Vec<Sighting>) -> Self {
        Self { sightings }
    }
}

impl FromIterator<Sighting> for Evaluation {
    fn from_iter<I: IntoIterator<Item = Sighting>>(sightings: I) -> Self {
        Self::new(sightings.into_iter().collect())
    }
}

/// An evaluation that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("detector {detector:?} could not evaluate")]
#[non_exhaustive]
pub struct DetectorError {
    /// Which detector.
    pub detector: String,
    /// Whether the next tick may succeed without a person doing something.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl DetectorError {
    /// An error that the next tick may not meet again.
    pub fn retryable(detector: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { detector: detector.into(), retryable: true, source: source.into() }
    }

    /// An error that stays until a person changes something.
    pub fn permanent(detector: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { detector: detector.into(), retryable: false, source: source.into() }
    }

    /// Whether the next tick may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Watches something and says what it sees now.
///
/// # Contract
/// - An implementation must say what it sees *now*, at most once for each identity. Dedup, episodes,
///   suppression and incidents are the pipeline's: a detector keeps what belongs out of its
///   baseline, and nothing else.
/// - It must not emit a non-finite number and must not fill in fingerprint, episode or incident.
/// - It must be a function of its state and `tick`: it reads no clock.
/// - The stage never calls `evaluate` of one detector twice at a time. It drops the future at
///   `tick.deadline`; the detector must stay usable after that (cancel safe).
/// - State behind `&self` needs a lock that is never held over an await.
/// - An `Err` or a panic costs this evaluation only: its identities count as unknown, nothing
///   resolves, the pipeline goes on.
///
/// # Errors
/// [`DetectorError`], retryable or permanent; both are counted by detector name.
///
/// # Implementing
/// ```
/// use aiops_core::{Detector, DetectorError, Evaluation, EventKind, DetectionEvent, Identity, Severity, Sighting, Signal, Tick};
/// #[derive(Debug)]
/// struct QueueDepth(std::sync::atomic::AtomicU64);
///
/// #[async_trait::async_trait]
/// impl Detector for QueueDepth {
///     fn name(&self) -> &str { "queue-depth" }
///     fn every(&self) -> std::time::Duration { std::time::Duration::from_secs(30) }
///     async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
///         let depth = self.0.load(std::sync::atomic::Ordering::Relaxed);
///         if depth <= 100 {
///             return Ok(Evaluation::new(vec![Sighting::Normal(Identity::new(EventKind::MetricAnomaly, "orders", "QueueDepth"))]));
///         }
///         let event = DetectionEvent::builder(EventKind::MetricAnomaly, "orders", Severity::Warning, tick.now, self.name())
///             .alertname("QueueDepth")
///             .signal(Signal::new(depth as f64).expected(0.0).score(depth as f64).threshold(100.0))
///             .build();
///         Ok(Evaluation::new(vec![Sighting::Firing(Box::new(event))]))
///     }
/// }
/// ```
#[async_trait]
pub trait Detector: fmt::Debug + Send + Sync + 'static {
    /// A stable name, unique in the pipeline.
    fn name(&self) -> &str;

    /// How often it wants to be evaluated; also the base of its episodes' gap.
    fn every(&self) -> Duration;

    /// One evaluation cycle.
    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError>;
}

macro_rules! forward_detector {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Detector + ?Sized> Detector for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            fn every(&self) -> Duration {
                (**self).every()
            }

            async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
                (**self).evaluate(tick).await
            }
        }
    };
}
forward_detector!(Arc);
forward_detector!(Box);

/// A detector made of a closure, see [`detector_fn`].
pub struct DetectorFn<F> {
    name: String,
    every: Duration,
    evaluate: F,
}

impl<F> fmt::Debug for DetectorFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetectorFn").field("name", &self.name).field("every", &self.every).finish_non_exhaustive()
    }
}

/// Makes a detector of a closure.
///
/// ```
/// use aiops_core::{detector_fn, Evaluation};
/// let detector = detector_fn("nothing", std::time::Duration::from_secs(30), |_tick| async {
///     Ok(Evaluation::default())
/// });
/// ```
pub fn detector_fn<F, Fut>(name: impl Into<String>, every: Duration, evaluate: F) -> DetectorFn<F>
where
    F: Fn(Tick) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Evaluation, BoxError>> + Send + 'static,
{
    DetectorFn { name: name.into(), every, evaluate }
}

#[async_trait]
impl<F, Fut> Detector for DetectorFn<F>
where
    F: Fn(Tick) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Evaluation, BoxError>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn every(&self) -> Duration {
        self.every
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        (self.evaluate)(tick).await.map_err(|source| DetectorError::retryable(&self.name, source))
    }
}
