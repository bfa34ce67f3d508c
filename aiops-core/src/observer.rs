//! Watching a pipeline work: what happened, step by step, by reference.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;

use crate::context::TriageContext;
use crate::correlate::Correlated;
use crate::detector::Evaluation;
use crate::event::DetectionEvent;
use crate::notify::Notice;
use crate::responder::Response;
use crate::triage::Triaged;

/// One step of a pipeline.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum PipelineEvent<'a> {
    /// A detector said what it sees.
    Evaluated {
        /// Which detector.
        detector: &'a str,
        /// When.
        at: Timestamp,
        /// What it sees.
        evaluation: &'a Evaluation,
    },
    /// A detector failed, hung or panicked.
    EvaluationFailed {
        /// Which detector.
        detector: &'a str,
        /// When.
        at: Timestamp,
        /// Why.
        reason: &'a str,
    },
    /// A sighting, an event or a resolve was decided on.
    Correlated {
        /// When.
        at: Timestamp,
        /// The decision.
        correlated: &'a Correlated,
    },
    /// The context of an incident was gathered.
    ContextGathered {
        /// When.
        at: Timestamp,
        /// The event that asks; it names the incident.
        event: &'a DetectionEvent,
        /// What is known.
        context: &'a TriageContext,
    },
    /// A report was made and published.
    Triaged(&'a Triaged),
    /// A report was answered.
    Responded {
        /// The report.
        triaged: &'a Triaged,
        /// The answer.
        response: &'a Response,
    },
    /// A channel took a notice.
    Noticed {
        /// Which channel.
        channel: &'a str,
        /// What.
        notice: &'a Notice,
    },
}

/// Sees every step of a pipeline, in order for each incident.
///
/// # Contract
/// - It is called in line with the work: it must return at once and must not block.
/// - It sees, it does not decide: nothing that it does changes the pipeline, and a panic of it is
///   caught and counted.
///
/// # Errors
/// None.
///
/// # Implementing
/// ```
/// use aiops_core::{Observer, PipelineEvent};
/// #[derive(Debug, Default)]
/// struct Reports(std::sync::atomic::AtomicU64);
///
/// impl Observer for Reports {
///     fn observe(&self, event: &PipelineEvent<'_>) {
///         if let PipelineEvent::Triaged(_) = event {
///             self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// One step.
    fn observe(&self, event: &PipelineEvent<'_>);
}

macro_rules! forward_observer {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<T: Observer + ?Sized> Observer for $pointer<T> {
            fn observe(&self, event: &PipelineEvent<'_>) {
                (**self).observe(event);
            }
        }
    };
}
forward_observer!(Arc);
forward_observer!(Box);

/// Sees nothing.
#[derive(Debug)]
pub(crate) struct Blind;

impl Observer for Blind {
    fn observe(&self, _event: &PipelineEvent<'_>) {}
}

/// Tells the observer, and catches its panic.
pub(crate) fn tell(observer: &dyn Observer, event: &PipelineEvent<'_>) {
    if catch_unwind(AssertUnwindSafe(|| observer.observe(event))).is_err() {
        metrics::counter!("aiops_observer_panicked_total").increment(1);
    }
}
