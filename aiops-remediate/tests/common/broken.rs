//! A store that fails where it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aiops_core::Response;
use aiops_remediate::{
    Acquired, Approval, ApprovalId, ApprovalOpened, ApprovalState, Begun, EpisodeKey, GuardState, JournalEntry,
    JournalState, KillSwitch, Lease, MemoryStore, Opened, RemediationStore, ReportId, ReportRecord, Reservation,
    Reserved, Run, Settled, Snapshot, SnapshotQuery, StepKey, StoreError,
};
use async_trait::async_trait;
use jiff::Timestamp;

/// Where the store fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fails {
    /// At every call of this method.
    At(&'static str),
    /// At the call of this number, counted from 0; nothing is stored.
    Before(usize),
    /// At the call of this number; it is stored, and the answer is lost.
    After(usize),
    /// Nowhere, but it grants no marks.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) inner: MemoryStore,
    calls: AtomicUsize,
    fails: Fails,
}

impl Broken {
    pub(crate) fn new(fails: Fails) -> Self {
        Self { inner: MemoryStore::default(), calls: AtomicUsize::new(0), fails }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    async fn call<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let broken = || Err(StoreError::Unavailable { doing: method, source: "the disk is full".into() });
        if self.fails == Fails::At(method) || self.fails == Fails::Before(number) {
            return broken();
        }
        let answer = call.await;
        if self.fails == Fails::After(number) { broken() } else { answer }
    }
}

#[async_trait]
impl RemediationStore for Broken {
    async fn kill_switch(&self) -> Result<KillSwitch, StoreError> {
        self.call("kill_switch", self.inner.kill_switch()).await
    }
    async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
        self.call("set_kill_switch", self.inner.set_kill_switch(switch)).await
    }
    async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        self.call("snapshot", self.inner.snapshot(query)).await
    }
    async fn resolve(&self, episode: &EpisodeKey, at: Timestamp) -> Result<(), StoreError> {
        self.call("resolve", self.inner.resolve(episode, at)).await
    }
    async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError> {
        self.call("set_guard", self.inner.set_guard(name, state)).await
    }
    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError> {
        if self.fails == Fails::Refused {
            return Ok(Reserved::Refused { reason: "another report was faster".to_owned() });
        }
        self.call("reserve", self.inner.reserve(reservation)).await
    }
    async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError> {
        self.call("give_back", self.inner.give_back(lease, run)).await
    }
    async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError> {
        self.call("open_report", self.inner.open_report(record)).await
    }
    async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError> {
        self.call("close_report", self.inner.close_report(id, response)).await
    }
    async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError> {
        self.call("open_reports", self.inner.open_reports()).await
    }
    async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError> {
        self.call("open_report_of", self.inner.open_report_of(id)).await
    }
    async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError> {
        self.call("untold", self.inner.untold()).await
    }
    async fn note_told(&self, id: &ReportId) -> Result<(), StoreError> {
        self.call("note_told", self.inner.note_told(id)).await
    }
    async fn acquire(&self, key: &str, holder: &str, now: Timestamp, ttl: Duration) -> Result<Acquired, StoreError> {
        self.call("acquire", self.inner.acquire(key, holder, now, ttl)).await
    }
    async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.call("release", self.inner.release(lease)).await
    }
    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.call("renew", self.inner.renew(lease, now, ttl)).await
    }
    async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError> {
        self.call("force_release", self.inner.force_release(key)).await
    }
    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        self.call("leases", self.inner.leases(now)).await
    }
    async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError> {
        self.call("begin", self.inner.begin(entry)).await
    }
    async fn advance(&self, key: &StepKey, token: u64, state: &JournalState, at: Timestamp) -> Result<(), StoreError> {
        self.call("advance", self.inner.advance(key, token, state, at)).await
    }
    async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError> {
        self.call("take_over", self.inner.take_over(key, token)).await
    }
    async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError> {
        self.call("unfinished", self.inner.unfinished()).await
    }
    async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError> {
        self.call("steps_of", self.inner.steps_of(report)).await
    }
    async fn open_approval(&self, approval: &Approval) -> Result<ApprovalOpened, StoreError> {
        self.call("open_approval", self.inner.open_approval(approval)).await
    }
    async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError> {
        self.call("settle_approval", self.inner.settle_approval(id, state)).await
    }
    async fn note_asked(&self, id: &ApprovalId, at: Timestamp) -> Result<(), StoreError> {
        self.call("note_asked", self.inner.note_asked(id, at)).await
    }
    async fn note_reminder(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError> {
        self.call("note_reminder", self.inner.note_reminder(id, at)).await
    }
    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.call("approval", self.inner.approval(id)).await
    }
    async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError> {
        self.call("approvals_of", self.inner.approvals_of(report)).await
    }
    async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        self.call("pending_approvals", self.inner.pending_approvals()).await
    }
}
