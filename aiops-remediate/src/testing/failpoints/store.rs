//! A store with a boundary around each call.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::Response;
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Failpoints, through};
use crate::store::{
    Acquired, Approval, ApprovalId, ApprovalOpened, ApprovalState, Begun, EpisodeKey, GuardState, JournalEntry,
    JournalState, KillSwitch, Lease, Opened, RemediationStore, ReportId, ReportRecord, Reservation, Reserved, Run,
    Settled, Snapshot, SnapshotQuery, StepEnd, StepKey, StoreError,
};

/// A store that asks [`Failpoints`] before and after each call.
///
/// Names: `store.<method>`, and where a method does several things, of what and in which state:
/// `snapshot.plan|step`, `reserve.plan|step`, `open_report.plan|answered`, `close_report.<disposition>`,
/// `acquire|renew|release.report|step|target`, for a step that is open in the journal with its state
/// (`acquire.step.executing`), `advance.executing|verifying|ended.<end>`, `give_back.not_begun|<state>`,
/// `settle_approval.<state>`, `set_guard.<kind>`, `set_kill_switch.on|off`.
///
/// To know the state it reads the journal of the store that it wraps.
#[derive(Debug)]
pub struct FailingStore<S> {
    inner: S,
    failpoints: Arc<dyn Failpoints>,
}

impl<S: RemediationStore> FailingStore<S> {
    /// A store with boundaries around it.
    pub fn new(inner: S, failpoints: Arc<dyn Failpoints>) -> Self {
        Self { inner, failpoints }
    }

    async fn call<T>(
        &self,
        point: &str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let doing = "answer at a failpoint";
        through(&*self.failpoints, point, call, |_| StoreError::Unavailable { doing, source: point.into() }).await
    }

    /// What is done to a lock, and how far the step is that it is on.
    async fn lock_point(&self, doing: &str, key: &str) -> Result<String, StoreError> {
        let what = match key.split_once('|') {
            Some((what @ ("report" | "target"), _)) => what,
            _ => "step",
        };
        let open = self.inner.unfinished().await?.into_iter().find(|entry| entry.key().as_str() == key);
        let state = open.map(|entry| format!(".{}", state(&entry.state))).unwrap_or_default();
        Ok(format!("store.{doing}.{what}{state}"))
    }

    /// Marks are taken for a plan before anything of it began or waits, and later for one step.
    async fn reserve_point(&self, reservation: &Reservation) -> Result<&'static str, StoreError> {
        let Some((run, _)) = reservation.runs.first() else { return Ok("store.reserve.plan") };
        let began = !self.inner.steps_of(&run.report).await?.is_empty()
            || !self.inner.approvals_of(&run.report).await?.is_empty();
        Ok(if began { "store.reserve.step" } else { "store.reserve.plan" })
    }

    async fn give_back_point(&self, run: &Run) -> Result<String, StoreError> {
        let entries = self.inner.steps_of(&run.report).await?;
        let of_run = |entry: &&JournalEntry| entry.request.action == run.action && entry.request.target == run.target;
        let state = entries.iter().find(of_run).map_or("not_begun", |entry| state(&entry.state));
        Ok(format!("store.give_back.{state}"))
    }
}

/// How far a step is, or how it ended.
fn state(state: &JournalState) -> &'static str {
    match state {
        JournalState::Started => "started",
        JournalState::Executing { .. } => "executing",
        JournalState::Verifying { .. } => "verifying",
        JournalState::Ended(StepEnd::Executed { .. }) => "ended.executed",
        JournalState::Ended(StepEnd::AlreadyDone { .. }) => "ended.already_done",
        JournalState::Ended(StepEnd::NotRun { .. }) => "ended.not_run",
        JournalState::Ended(StepEnd::Unknown { .. }) => "ended.unknown",
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: RemediationStore> RemediationStore for FailingStore<S> {
    async fn kill_switch(&self) -> Result<KillSwitch, StoreError> {
        self.call("store.kill_switch", self.inner.kill_switch()).await
    }

    async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
        let point = if switch.on { "store.set_kill_switch.on" } else { "store.set_kill_switch.off" };
        self.call(point, self.inner.set_kill_switch(switch)).await
    }

    async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        // A step asks for the switch and the end of its episode only.
        let point = if query.identity.is_empty() { "store.snapshot.step" } else { "store.snapshot.plan" };
        self.call(point, self.inner.snapshot(query)).await
    }

    async fn resolve(&self, episode: &EpisodeKey, at: Timestamp) -> Result<(), StoreError> {
        self.call("store.resolve", self.inner.resolve(episode, at)).await
    }

    async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError> {
        let kind = name.split('|').next().unwrap_or_default();
        self.call(&format!("store.set_guard.{kind}"), self.inner.set_guard(name, state)).await
    }

    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError> {
        self.call(self.reserve_point(reservation).await?, self.inner.reserve(reservation)).await
    }

    async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError> {
        self.call(&self.give_back_point(run).await?, self.inner.give_back(lease, run)).await
    }

    async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError> {
        let point = if record.response.is_some() { "store.open_report.answered" } else { "store.open_report.plan" };
        self.call(point, self.inner.open_report(record)).await
    }

    async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError> {
        let point = format!("store.close_report.{}", response.disposition.as_str());
        self.call(&point, self.inner.close_report(id, response)).await
    }

    async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError> {
        self.call("store.open_reports", self.inner.open_reports()).await
    }

    async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError> {
        self.call("store.open_report_of", self.inner.open_report_of(id)).await
    }

    async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError> {
        self.call("store.untold", self.inner.untold()).await
    }

    async fn note_told(&self, id: &ReportId) -> Result<(), StoreError> {
        self.call("store.note_told", self.inner.note_told(id)).await
    }

    async fn acquire(&self, key: &str, holder: &str, now: Timestamp, ttl: Duration) -> Result<Acquired, StoreError> {
        self.call(&self.lock_point("acquire", key).await?, self.inner.acquire(key, holder, now, ttl)).await
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.call(&self.lock_point("renew", &lease.key).await?, self.inner.renew(lease, now, ttl)).await
    }

    async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.call(&self.lock_point("release", &lease.key).await?, self.inner.release(lease)).await
    }

    async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError> {
        self.call("store.force_release", self.inner.force_release(key)).await
    }

    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        self.call("store.leases", self.inner.leases(now)).await
    }

    async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError> {
        self.call("store.begin", self.inner.begin(entry)).await
    }

    async fn advance(&self, key: &StepKey, token: u64, to: &JournalState, at: Timestamp) -> Result<(), StoreError> {
        self.call(&format!("store.advance.{}", state(to)), self.inner.advance(key, token, to, at)).await
    }

    async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError> {
        self.call("store.take_over", self.inner.take_over(key, token)).await
    }

    async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError> {
        self.call("store.unfinished", self.inner.unfinished()).await
    }

    async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError> {
        self.call("store.steps_of", self.inner.steps_of(report)).await
    }

    async fn open_approval(&self, approval: &Approval) -> Result<ApprovalOpened, StoreError> {
        self.call("store.open_approval", self.inner.open_approval(approval)).await
    }

    async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError> {
        let point = format!("store.settle_approval.{}", state.as_str());
        self.call(&point, self.inner.settle_approval(id, state)).await
    }

    async fn note_asked(&self, id: &ApprovalId, at: Timestamp) -> Result<(), StoreError> {
        self.call("store.note_asked", self.inner.note_asked(id, at)).await
    }

    async fn note_reminder(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError> {
        self.call("store.note_reminder", self.inner.note_reminder(id, at)).await
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.call("store.approval", self.inner.approval(id)).await
    }

    async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError> {
        self.call("store.approvals_of", self.inner.approvals_of(report)).await
    }

    async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        self.call("store.pending_approvals", self.inner.pending_approvals()).await
    }
}
