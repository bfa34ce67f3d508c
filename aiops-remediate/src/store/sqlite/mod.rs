//! The store in one SQLite file, for one process at a time: the default for a host that acts.

mod approvals;
mod file;
mod forget;
mod marks;
mod queue;
mod reports;
mod rows;
mod steps;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::Response;
use async_trait::async_trait;
use jiff::Timestamp;

use self::queue::Queue;
use super::locks::Locks;
use super::*;

/// Keeps everything in one SQLite file: write-ahead log, `synchronous = FULL`, so that what a call answered
/// is on disk, before the effect that it announces.
///
/// One process at a time: the file is locked while it is open, a second opening is refused with a clear
/// error, and a process that dies frees it. Locks on steps are therefore kept in memory only: whoever opens
/// the file knows that every former holder is gone. Tokens are written down in blocks of 1,000 before the first
/// of them is granted, so that they do not go back after a restart.
///
/// Calls that come while the disk is busy share the next transaction and its sync, each whole or not at all,
/// and are answered when it is on disk. They wait on one of tokio's blocking threads; at 10,000 that wait, more
/// are refused. A dropped future leaves its change done or not done.
///
/// Bounded as [`MemoryStore`](super::MemoryStore) is: the newest 100,000 closed reports and ended steps, 20,000
/// marks and ends of episodes, 10,000 guards and 1,000 approvals of closed reports are kept, and up to 256 more;
/// what is forgotten is counted (`aiops_remediate_store_forgotten_total`). A report takes about 4 KB. At 10,000
/// reports without an answer new ones are refused.
///
/// The tables can be read with any SQLite tool while the file is not open.
#[derive(Debug)]
pub struct SqliteStore {
    queue: Arc<Queue>,
    locks: Mutex<Locks>,
}

/// Why a call failed.
#[derive(Debug)]
enum Fault {
    Sql(rusqlite::Error),
    Encode(serde_json::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Encode(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl SqliteStore {
    /// Opens a store, creates it if it is new, and brings an older one to this version. It blocks for some
    /// milliseconds.
    ///
    /// # Errors
    /// A file that cannot be opened or that is open already ([`StoreError::Unavailable`]); one that a newer
    /// program wrote ([`StoreError::Version`]); one that does not read, or that another program made
    /// ([`StoreError::Damaged`]).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let connection = file::open(path)?;
        let written = connection.query_row("SELECT written FROM tokens", [], |row| row.get(0));
        let damaged = |error| StoreError::Damaged { file: path.display().to_string(), source: Box::new(error) };
        let mut locks = Locks::default();
        locks.block_written(written.map_err(damaged)?);
        locks.skip_written();
        let queue = Queue::new(connection, path.display().to_string());
        Ok(Self { queue: Arc::new(queue), locks: Mutex::new(locks) })
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants no token that a step has seen.
    fn skip_to(&self, token: u64) {
        self.locks().skip_to(token);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RemediationStore for SqliteStore {
    async fn kill_switch(&self) -> Result<KillSwitch, StoreError> {
        self.queue.call("read the kill switch", marks::kill_switch).await
    }

    async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
        self.queue.call("set the kill switch", move |file| marks::set_kill_switch(file, &switch)).await
    }

    async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        let query = query.clone();
        self.queue.call("read marks", move |file| marks::snapshot(file, &query)).await
    }

    async fn resolve(&self, episode: &EpisodeKey, at: Timestamp) -> Result<(), StoreError> {
        let episode = episode.clone();
        self.queue.call("note the end of an episode", move |file| marks::resolve(file, &episode, at)).await
    }

    async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError> {
        let (name, state) = (name.to_owned(), state.clone());
        self.queue.call("note a guard", move |file| marks::set_guard(file, &name, &state)).await
    }

    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError> {
        let reservation = reservation.clone();
        self.queue.call("reserve", move |file| marks::reserve(file, &reservation)).await
    }

    async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError> {
        if !self.locks().is_held_by(lease) {
            return Ok(false);
        }
        let run = run.clone();
        self.queue.call("give a mark back", move |file| marks::give_back(file, &run)).await
    }

    async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError> {
        let record = record.clone();
        self.queue.call("open a report", move |file| reports::open(file, &record)).await
    }

    async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError> {
        let (id, response) = (id.clone(), response.clone());
        self.queue.call("close a report", move |file| reports::close(file, &id, &response)).await
    }

    async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError> {
        self.queue.call("list open reports", reports::open_ones).await
    }

    async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError> {
        let id = id.clone();
        self.queue.call("read a report", move |file| reports::open_one(file, &id)).await
    }

    async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError> {
        self.queue.call("list what was not told", reports::untold).await
    }

    async fn note_told(&self, id: &ReportId) -> Result<(), StoreError> {
        let id = id.clone();
        self.queue.call("note that people were told", move |file| reports::note_told(file, &id)).await
    }

    async fn acquire(&self, key: &str, holder: &str, now: Timestamp, ttl: Duration) -> Result<Acquired, StoreError> {
        loop {
            let block = {
                let mut locks = self.locks();
                match locks.block_wanted() {
                    None => return Ok(locks.acquire(key.to_owned(), holder.to_owned(), now, ttl)),
                    Some(until) => until,
                }
            };
            self.queue.call("take a lock", move |file| steps::write_token(file, block)).await?;
            self.locks().block_written(block);
        }
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        Ok(self.locks().renew(lease, now, ttl))
    }

    async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
        Ok(self.locks().release(lease))
    }

    async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError> {
        Ok(self.locks().force_release(key))
    }

    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        Ok(self.locks().held(now))
    }

    async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError> {
        let entry = entry.clone();
        self.skip_to(entry.token);
        self.queue.call("begin a step", move |file| steps::begin(file, &entry)).await
    }

    async fn advance(&self, key: &StepKey, token: u64, state: &JournalState, _: Timestamp) -> Result<(), StoreError> {
        let (key, state) = (key.clone(), state.clone());
        self.skip_to(token);
        self.queue.call("advance a step", move |file| steps::advance(file, &key, token, &state)).await
    }

    async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError> {
        let key = key.clone();
        self.skip_to(token);
        self.queue.call("take a step over", move |file| steps::take_over(file, &key, token)).await
    }

    async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError> {
        self.queue.call("list unfinished steps", steps::unfinished).await
    }

    async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError> {
        let report = report.clone();
        self.queue.call("list a report's steps", move |file| steps::of_report(file, &report)).await
    }

    async fn open_approval(&self, approval: &Approval) -> Result<ApprovalOpened, StoreError> {
        let approval = approval.clone();
        self.queue.call("ask for an approval", move |file| approvals::open(file, &approval)).await
    }

    async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError> {
        let (id, state) = (id.clone(), state.clone());
        self.queue.call("settle an approval", move |file| approvals::settle(file, &id, &state)).await
    }

    async fn note_asked(&self, id: &ApprovalId, at: Timestamp) -> Result<(), StoreError> {
        let id = id.clone();
        self.queue.call("note that people were asked", move |file| approvals::note_asked(file, &id, at)).await
    }

    async fn note_reminder(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError> {
        let id = id.clone();
        self.queue.call("note a reminder", move |file| approvals::note_reminder(file, &id, at)).await
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        let id = id.clone();
        self.queue.call("read an approval", move |file| approvals::one(file, &id)).await
    }

    async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError> {
        let report = report.clone();
        self.queue.call("list a report's approvals", move |file| approvals::of_report(file, &report)).await
    }

    async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        self.queue.call("list approvals", approvals::pending).await
    }
}
