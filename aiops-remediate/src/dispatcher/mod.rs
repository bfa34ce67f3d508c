//! The dispatcher: what a plan allows is done at most once, journalled before and after.

mod accept;
mod approvals;
mod builder;
mod condition;
mod doctor;
mod drive;
mod leases;
mod recover;
mod settle;
mod step;
mod told;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::{
    ActionHandler, BoxError, Clock, DeployLog, DeployWindow, DetectionEvent, Disposition, IdentityScheme, Live, Plan,
    Probe, Recovered, Redactor, RespondError, Responder, Response, Triaged,
};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

pub use self::approvals::{ApprovalAuthoriser, ApprovalError};
pub use self::builder::{DispatcherBuilder, InvalidDispatcher};
use self::leases::Leases;
use crate::audit::{AuditEntry, AuditLog};
use crate::catalogue::ActionCatalogue;
use crate::mutant::mutant;
use crate::policy::Policy;
use crate::store::{EpisodeKey, RemediationStore, ReportId, StoreError};

/// Answers reports: a plan by the policy, and in active mode what the plan allows, each action at most
/// once for its (action, target, fingerprint).
///
/// A report takes this way; the first stop ends it:
///
/// 1. The plan is made whole ([`Policy::plan`]), from the store's state at one moment. A store that is
///    down counts as a kill switch that is on: the report escalates and nothing runs.
/// 2. Report and plan are written down. A report that was written before is a `duplicate`. From here on
///    the report is gone on with from its journal, by `finish` or by `recover`, in this process or in
///    another one: under a lock of its own, at most one action at a time.
/// 3. Cool-down, loop-guard and budget marks are taken, all or none; in shadow mode as well.
/// 4. For each step: kill switch, end of the episode, age, freeze and deploy windows, health guards and
///    the entry's precondition again; where it needs approval, it is asked for with the state that
///    `inspect` saw, and the report waits; the lock on (action, target, fingerprint) and the one on the
///    target, renewed while they are held; the journal's unique entry; the handler's `inspect` (done
///    already: no-op; blocked: escalated; not what was approved: escalated); `execute` with the
///    precondition that was seen and a deadline shorter than the lock; then, after a while, whether it
///    helped, by the entry's own number or the handler's `verify`.
/// 5. A step without effect is followed by its `next`, where the plan has it. What else did not help
///    stops the plan; what made it worse is taken back first.
///
/// Shadow mode ends after `inspect`, as `would_execute`. An `execute` that failed before it changed
/// anything gives its mark back; one that timed out, panicked, lost its lock or does not know keeps its
/// locks, stays open in the journal, and goes to a person.
///
/// `recover` is the timer: it goes on with what waits for its time or was approved, tells what expires,
/// and finds out what a crash left behind: what may have run is inspected and recorded as done or as
/// unknown, never run again. It also gives again what was answered a minute ago and of which nobody noted, by
/// `told`, that people were told. The remediation stage calls both; whoever runs a dispatcher without the stage
/// calls `recover` at the start, from a timer, and when `woken` returns, and `told` for each answer.
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
    authoriser: Option<Arc<dyn ApprovalAuthoriser>>,
    deploys: Option<(DeployLog, DeployWindow)>,
    clock: Arc<dyn Clock>,
    random: Random,
    identity: IdentityScheme,
    holder: String,
    limits: Limits,
    audit: Option<Arc<dyn AuditLog>>,
    redactor: Redactor,
    wake: Notify,
    /// Locks that outlast a call: of steps that wait to be verified, so that they hold until then, and of
    /// reports whose release failed.
    kept: Mutex<HashMap<String, Leases>>,
    /// Reports that people were told of since the store failed, and why.
    given_up: Mutex<HashMap<ReportId, String>>,
    /// Answers of this process that people are being told, and since when.
    telling: Mutex<HashMap<ReportId, Timestamp>>,
}

/// Draws 16 random bytes.
type Random = Box<dyn Fn() -> Result<[u8; 16], BoxError> + Send + Sync>;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    lock: Duration,
    inspect: Duration,
    execute: Duration,
    verify_after: Duration,
    telling: Duration,
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

    /// Writes to the audit log. What cannot be written must not be done.
    async fn audit(&self, entry: AuditEntry) -> Result<(), String> {
        let Some(log) = &self.audit else { return Ok(()) };
        log.append(entry).await.map_err(|error| {
            let error = aiops_core::error_chain(&error);
            tracing::warn!(error, "the audit log took no entry");
            "the audit log could not be written".to_owned()
        })
    }

    /// Writes what has happened already; a failure is counted by the log.
    async fn audit_or_count(&self, entry: AuditEntry) {
        let _ = self.audit(entry).await;
    }
}

/// Counts a store that failed, and says it in the log.
fn store_failed(doing: &'static str, error: &StoreError) -> String {
    metrics::counter!("aiops_dispatch_store_errors_total").increment(1);
    let error = aiops_core::error_chain(error);
    tracing::warn!(doing, error, "the remediation store failed");
    format!("the remediation store could not {doing}")
}

fn counted(response: &Response) {
    metrics::counter!("aiops_dispatch_reports_total", "disposition" => response.disposition.as_str()).increment(1);
}

#[async_trait]
impl Responder for Dispatcher {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        let response = match self.take(triaged, now).await? {
            Some(response) => response,
            // Somebody else has gone on with it, and has answered it.
            None => self.go_on(triaged, now, true).await.unwrap_or_else(|| {
                let (incident, now) = (triaged.incident_id.clone(), self.clock.now().max(now));
                Response::new(incident, Disposition::Duplicate, Plan::default(), now)
            }),
        };
        counted(&response);
        self.being_told(triaged, &response);
        Ok(response)
    }

    async fn accept(&self, triaged: &Triaged, now: Timestamp) -> Result<Option<Response>, RespondError> {
        let response = self.take(triaged, now).await?;
        response.iter().for_each(|response| {
            counted(response);
            self.being_told(triaged, response);
        });
        Ok(response)
    }

    async fn finish(&self, triaged: &Triaged, now: Timestamp) -> Result<Option<Response>, RespondError> {
        let response = self.go_on(triaged, now, false).await;
        response.iter().for_each(|response| {
            counted(response);
            self.being_told(triaged, response);
        });
        Ok(response)
    }

    async fn resolved(&self, event: &DetectionEvent, now: Timestamp) -> Result<(), RespondError> {
        let incident = || event.incident_id.clone().unwrap_or_else(|| "unknown".into());
        let episode = EpisodeKey::of(event);
        let told = async {
            if !mutant!("resolve_lost") {
                self.store.resolve(&episode, now).await?;
            }
            self.void_approvals(&episode, now).await
        };
        told.await.map_err(|error| {
            store_failed("note the end of an episode", &error);
            RespondError::retryable(incident(), error)
        })
    }

    async fn recover(&self, now: Timestamp) -> Result<Vec<Recovered>, RespondError> {
        let mut found = self.round(now).await.map_err(|error| {
            store_failed("tell what has no answer", &error);
            RespondError::retryable("recovery".into(), error)
        })?;
        found.iter().for_each(|recovered| {
            counted(&recovered.response);
            self.being_told(&recovered.triaged, &recovered.response);
        });
        found.extend(self.not_told(now).await);
        Ok(found)
    }

    async fn told(&self, triaged: &Triaged, response: &Response, now: Timestamp) -> Result<(), RespondError> {
        self.note_told(triaged, response, now).await.map_err(|error| {
            store_failed("note that people were told", &error);
            RespondError::retryable(triaged.incident_id.clone(), error)
        })
    }

    async fn woken(&self) {
        self.wake.notified().await;
    }
}
