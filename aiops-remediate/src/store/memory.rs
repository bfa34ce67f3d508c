//! The store in memory: for tests, and for a host that accepts to forget with its process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aiops_core::Response;
use async_trait::async_trait;
use jiff::Timestamp;

use super::book::{Book, Decided};
use super::*;

/// Keeps everything in memory; it is gone with the process, and with it the promise that what
/// started is never executed again. For anything that acts, take a store that outlives the process.
///
/// Bounded: the newest 100,000 closed reports and ended steps, 20,000 marks and 1,000 settled approvals are
/// kept; what is forgotten is counted (`aiops_remediate_store_forgotten_total`). At 10,000 reports without an
/// answer new ones are refused.
#[derive(Debug, Default)]
pub struct MemoryStore {
    book: Mutex<Book>,
}

impl MemoryStore {
    // Async like its sibling of the file store, since one macro writes both.
    #[allow(clippy::unused_async)]
    async fn run<A>(
        &self,
        _doing: &'static str,
        decide: impl FnOnce(&mut Book) -> Decided<A>,
    ) -> Result<A, StoreError> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, change) = decide(&mut book)?;
        if let Some(change) = change {
            book.apply(change);
        }
        Ok(answer)
    }
}

/// Writes the trait for a type with `run(doing, decide)`.
macro_rules! store_of_a_book {
    ($store:ty) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl RemediationStore for $store {
            async fn kill_switch(&self) -> Result<KillSwitch, StoreError> {
                self.run("read the kill switch", |book| book.kill_switch()).await
            }

            async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
                self.run("set the kill switch", |book| book.set_kill_switch(switch)).await
            }

            async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
                let query = query.clone();
                self.run("read marks", move |book| book.snapshot(&query)).await
            }

            async fn resolve(&self, episode: &EpisodeKey, at: Timestamp) -> Result<(), StoreError> {
                let episode = episode.clone();
                self.run("note the end of an episode", move |book| book.resolve(episode, at)).await
            }

            async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError> {
                let (name, state) = (name.to_owned(), state.clone());
                self.run("note a health guard", move |book| book.set_guard(name, state)).await
            }

            async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError> {
                let reservation = reservation.clone();
                self.run("reserve", |book| book.reserve(reservation)).await
            }

            async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError> {
                let (lease, run) = (lease.clone(), run.clone());
                self.run("give a mark back", move |book| book.give_back(&lease, run)).await
            }

            async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError> {
                let record = record.clone();
                self.run("open a report", |book| book.open_report(record)).await
            }

            async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError> {
                let (id, response) = (id.clone(), response.clone());
                self.run("close a report", |book| book.close_report(id, response)).await
            }

            async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError> {
                self.run("list open reports", |book| book.open_reports()).await
            }

            async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError> {
                let id = id.clone();
                self.run("read a report", move |book| book.open_report_of(&id)).await
            }

            async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError> {
                self.run("list what was not told", |book| book.untold()).await
            }

            async fn note_told(&self, id: &ReportId) -> Result<(), StoreError> {
                let id = id.clone();
                self.run("note that people were told", move |book| book.note_told(id)).await
            }

            async fn acquire(
                &self,
                key: &str,
                holder: &str,
                now: Timestamp,
                ttl: Duration,
            ) -> Result<Acquired, StoreError> {
                let (key, holder) = (key.to_owned(), holder.to_owned());
                self.run("take a lock", move |book| book.acquire(key, holder, now, ttl)).await
            }

            async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
                let lease = lease.clone();
                self.run("release a lock", move |book| book.release(&lease)).await
            }

            async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError> {
                let lease = lease.clone();
                self.run("renew a lock", move |book| book.renew(&lease, now, ttl)).await
            }

            async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError> {
                let key = key.to_owned();
                self.run("take a lock away", move |book| book.force_release(&key)).await
            }

            async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
                self.run("list locks", move |book| book.leases(now)).await
            }

            async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError> {
                let entry = entry.clone();
                self.run("begin a step", |book| book.begin(entry)).await
            }

            async fn advance(
                &self,
                key: &StepKey,
                token: u64,
                state: &JournalState,
                at: Timestamp,
            ) -> Result<(), StoreError> {
                let (key, state) = (key.clone(), state.clone());
                self.run("advance a step", move |book| book.advance(key, token, state, at)).await
            }

            async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError> {
                let key = key.clone();
                self.run("take a step over", move |book| book.take_over(key, token)).await
            }

            async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError> {
                self.run("list unfinished steps", |book| book.unfinished()).await
            }

            async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError> {
                let report = report.clone();
                self.run("list a report's steps", move |book| book.steps_of(&report)).await
            }

            async fn open_approval(&self, approval: &Approval) -> Result<ApprovalOpened, StoreError> {
                let approval = approval.clone();
                self.run("ask for an approval", move |book| book.open_approval(approval)).await
            }

            async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError> {
                let (id, state) = (id.clone(), state.clone());
                self.run("settle an approval", move |book| book.settle_approval(id, state)).await
            }

            async fn note_asked(&self, id: &ApprovalId, at: Timestamp) -> Result<(), StoreError> {
                let id = id.clone();
                self.run("note that people were asked", move |book| book.note_asked(id, at)).await
            }

            async fn note_reminder(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError> {
                let id = id.clone();
                self.run("note a reminder", move |book| book.note_reminder(id, at)).await
            }

            async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
                let id = id.clone();
                self.run("read an approval", move |book| book.approval(&id)).await
            }

            async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError> {
                let report = report.clone();
                self.run("list a report's approvals", move |book| book.approvals_of(&report)).await
            }

            async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError> {
                self.run("list approvals", |book| book.pending_approvals()).await
            }
        }
    };
}
pub(super) use store_of_a_book;

store_of_a_book!(MemoryStore);
