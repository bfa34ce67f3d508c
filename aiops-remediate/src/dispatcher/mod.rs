//! The dispatcher: what a plan allows is done at most once, journalled before and after.

mod builder;
mod condition;
mod doctor;
mod recover;
mod respond;
mod step;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::{
    ActionHandler, Clock, DetectionEvent, IdentityScheme, Live, Probe, Recovered, RespondError, Responder, Response,
    Triaged,
};
use async_trait::async_trait;
use jiff::Timestamp;

pub use self::builder::{DispatcherBuilder, InvalidDispatcher};
use crate::catalogue::ActionCatalogue;
use crate::policy::Policy;
use crate::store::{EpisodeKey, Lease, RemediationStore, StoreError};

/// Answers reports: a plan by the policy, and in active mode what the plan allows, each action at most
/// once for its (action, target, fingerprint).
///
/// A report takes this way; the first stop ends it:
///
/// 1. The plan is made whole ([`Policy::plan`]), from the store's state at one moment. A store that is
///    down counts as a kill switch that is on: the report escalates and nothing runs.
/// 2. Report and plan are written down. A report that was written before is a `duplicate`.
/// 3. Cool-down and loop-guard marks are taken, all or none; in shadow mode as well.
/// 4. For each step: kill switch and freeze windows again; the entry's precondition, read by the probe; the lock; the journal's unique entry; the
///    handler's `inspect` (done already: no-op; blocked: escalated); `execute` with the precondition that
///    was seen and a deadline shorter than the lock; then, after a while, `verify`.
///
/// Shadow mode ends after `inspect`, as `would_execute`. An `execute` that failed before it changed
/// anything gives its mark back; one that timed out, panicked or does not know keeps its lock, stays open
/// in the journal for `recover`, and goes to a person. What did not help stops the plan.
///
/// `recover` finishes what a crash left behind and executes nothing: what may have run is inspected and
/// recorded as done or as unknown, and a report in the middle of its plan is escalated. The remediation
/// stage calls it; whoever runs a dispatcher without the stage calls it at the start and from a timer.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use aiops_core::{Applied, Inspection, Precondition, handler_fn};
/// use aiops_remediate::{ActionCatalogue, Dispatcher, MemoryStore, Policy};
///
/// let catalogue = ActionCatalogue::from_yaml(
///     "actions: [{name: page_vendor, owner: shop, blast_radius: deployment, requires_approval: false}]",
///     "actions.yaml",
/// )?;
/// let page_vendor = handler_fn(
///     "page_vendor",
///     |_request| async { Ok(Inspection::Ready { precondition: Precondition::default() }) },
///     |request, _precondition| async move { Ok(Applied::new(format!("ticket-{}", request.fingerprint))) },
/// );
/// let dispatcher = Dispatcher::builder(catalogue, Policy::default())
///     .handler(page_vendor)
///     .store(MemoryStore::default())
///     .build()?;
/// # let _ = dispatcher; Ok(()) }
/// ```
pub struct Dispatcher {
    catalogue: Live<ActionCatalogue>,
    policy: Live<Policy>,
    handlers: HashMap<String, Arc<dyn ActionHandler>>,
    store: Arc<dyn RemediationStore>,
    probe: Option<Arc<dyn Probe>>,
    clock: Arc<dyn Clock>,
    identity: IdentityScheme,
    holder: String,
    limits: Limits,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    lock: Duration,
    inspect: Duration,
    execute: Duration,
    verify_after: Duration,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut handlers: Vec<&String> = self.handlers.keys().collect();
        handlers.sort();
        f.debug_struct("Dispatcher").field("handlers", &handlers).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Starts a dispatcher. Catalogue and policy are values, or `Live` ones that the host replaces.
    pub fn builder(catalogue: impl Into<Live<ActionCatalogue>>, policy: impl Into<Live<Policy>>) -> DispatcherBuilder {
        DispatcherBuilder::new(catalogue.into(), policy.into())
    }

    /// A lock that cannot be released ends by its time.
    async fn release(&self, lease: &Lease) {
        if let Err(error) = self.store.release(lease).await {
            store_failed("release a lock", &error);
        }
    }
}

/// Counts a store that failed, and says it in the log.
fn store_failed(doing: &'static str, error: &StoreError) -> String {
    metrics::counter!("aiops_dispatch_store_errors_total").increment(1);
    let error = aiops_core::error_chain(error);
    tracing::warn!(doing, error, "the remediation store failed");
    format!("the remediation store could not {doing}")
}

#[async_trait]
impl Responder for Dispatcher {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        let response = self.answer(triaged, now).await?;
        metrics::counter!("aiops_dispatch_reports_total", "disposition" => response.disposition.as_str()).increment(1);
        Ok(response)
    }

    async fn resolved(&self, event: &DetectionEvent, now: Timestamp) -> Result<(), RespondError> {
        let incident = || event.incident_id.clone().unwrap_or_else(|| "unknown".into());
        self.store.resolve(&EpisodeKey::of(event), now).await.map_err(|error| {
            store_failed("note the end of an episode", &error);
            RespondError::retryable(incident(), error)
        })
    }

    async fn recover(&self, now: Timestamp) -> Result<Vec<Recovered>, RespondError> {
        self.find_out(now).await.map_err(|error| {
            store_failed("tell what has no answer", &error);
            RespondError::retryable("recovery".into(), error)
        })
    }
}
