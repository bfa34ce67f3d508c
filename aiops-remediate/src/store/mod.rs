//! What remediation must remember: reports, steps, locks, marks and the kill switch.

mod approval;
mod book;
mod jsonl;
mod locks;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod reservation;
#[cfg(feature = "sqlite")]
mod sqlite;
mod types;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{BoxError, Response};
use async_trait::async_trait;

pub use self::approval::{Approval, ApprovalId, ApprovalOpened, ApprovalState, Settled};
pub use self::jsonl::{JsonlStore, Torn};
pub use self::memory::MemoryStore;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::{RedisFinding, RedisStore};
pub(crate) use self::reservation::acted_on;
pub use self::reservation::{Budget, BudgetScope, Reservation, Reserved, Run};
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use self::sqlite::SqliteStore;
pub use self::types::{
    Acquired, Begun, EpisodeKey, GuardState, JournalEntry, JournalState, KillSwitch, Lease, Opened, ReportId,
    ReportRecord, Snapshot, SnapshotQuery, StepEnd, StepKey,
};

/// A store that could not answer. What was asked for did not happen, or is not known to have
/// happened; nothing may act on the hope that it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store itself failed.
    #[error("remediation store could not {doing}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The caller's token is older than the one that the step has seen: someone else took over.
    #[error("step {key} was taken over: token {token} is older than {newest}; leave it to the newer holder")]
    Fenced {
        /// The step.
        key: String,
        /// The caller's token.
        token: u64,
        /// The newest token.
        newest: u64,
    },
    /// The step or report does not exist, or has ended.
    #[error("cannot {doing} {what}: {why}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// To what.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// What is stored does not read.
    #[error("{file}:{line}: the journal does not read; repair the line or move the file away")]
    Corrupt {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A record of a database does not read.
    #[error("record {key:?} of table {table} does not read; put the store back from a copy, or delete the record")]
    CorruptRecord {
        /// The table.
        table: &'static str,
        /// The record's key.
        key: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A file is no store, or not whole.
    #[error("{file} cannot be used as a store; put it back from a copy, or move it away")]
    Damaged {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A newer program wrote the store.
    #[error("{file} has version {found}, this program reads versions up to {newest}; run the newer program")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        newest: i64,
    },
    /// Others changed what a decision rested on, each time that it was made.
    #[error("remediation store could not {doing}: others were faster {attempts} times; ask again")]
    Contended {
        /// What was being done.
        doing: &'static str,
        /// How often it was tried.
        attempts: usize,
    },
}

impl StoreError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Contended { .. })
    }
}

/// Keeps reports, the journal of steps, locks, marks, approvals, health guards and the kill switch.
///
/// # Contract
/// - Once a method returns `Ok`, a new process sees the change (a store in memory is the exception,
///   and says so). A dropped future leaves the change done or not done, never half.
/// - **Journal.** [`begin`](Self::begin) is the guard against doing a thing twice: its key (action,
///   target, fingerprint) is unique in the store itself (a primary key, `SET NX`), not by look-up and
///   insert. What began once is `Exists` from then on, also after it ended. Nothing begins for a report
///   that is closed.
/// - **Tokens.** Each granted lease of any key carries a greater token than all before it.
///   [`advance`](Self::advance) with a token smaller than the newest that the step has seen is
///   [`StoreError::Fenced`] and changes nothing; a greater one becomes the newest. So it is with
///   [`take_over`](Self::take_over), which tells the state that nobody with an older token changes any more.
/// - **Leases.** [`acquire`](Self::acquire) is granted while nobody holds the key or the holder's time
///   is over; [`renew`](Self::renew) and [`release`](Self::release) touch only what still carries the
///   lease's own token. A lease ends at the latest with its time to live, by the callers' clocks, or by
///   the clock of a server where the store is shared. It is an optimisation: the journal decides.
/// - [`reserve`](Self::reserve) asks [`Reservation::crowded`] and [`Reservation::refusal`] and takes the
///   [`missing`](Reservation::missing) marks in one step. Asked again for the same report, it grants
///   what was granted. A report that is closed gets none.
/// - Reports: the first [`open_report`](Self::open_report) of an id is `New`, every other is `Known`; the
///   first [`close_report`](Self::close_report) says `true`, every other `false`.
/// - **Told.** A report that is closed, as anything but a duplicate, is [`untold`](Self::untold) until
///   [`note_told`](Self::note_told): a process that dies in between has told nobody, and another one does. At
///   10,000 the oldest is forgotten.
/// - [`give_back`](Self::give_back) asks for the lock under which the plan is gone on with, and keeps the mark where
///   that lock is somebody else's or nobody's by now, where the step may have had an effect, and where the report is
///   closed: a call that comes late changes nothing.
/// - Approvals: one waits for an action on a target; the first [`settle_approval`](Self::settle_approval)
///   stays, whoever comes later.
/// - All methods may be called concurrently, from several processes where the store is shared.
///
/// # Errors
/// [`StoreError`]. The dispatcher takes a store that is down for a kill switch that is on.
///
/// # Implementing
/// A store keeps these records in its own way; one that adds something wraps another:
/// ```
/// use aiops_remediate::{KillSwitch, MemoryStore, RemediationStore, StoreError};
/// # async fn example() -> Result<(), StoreError> {
/// let store = MemoryStore::default();
/// store.set_kill_switch(KillSwitch::on("ops", "failing over by hand", jiff::Timestamp::UNIX_EPOCH)).await?;
/// assert!(store.kill_switch().await?.on);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait RemediationStore: fmt::Debug + Send + Sync + 'static {
    /// The kill switch.
    async fn kill_switch(&self) -> Result<KillSwitch, StoreError>;

    /// Sets the kill switch.
    async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError>;

    /// What a policy needs to know, read at one moment.
    async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError>;

    /// Notes that an episode ended at `at`.
    async fn resolve(&self, episode: &EpisodeKey, at: Timestamp) -> Result<(), StoreError>;

    /// Records how a guard stands; one that is not tripped may be forgotten.
    async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError>;

    /// Takes the marks of a plan, all or none.
    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError>;

    /// Gives back the mark of a step that did not start, that of the run's report, action and target, whenever it was
    /// taken; `false` where there was none, or where it was kept.
    async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError>;

    /// Records a report and its plan, once. A record that carries a response is closed at once.
    async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError>;

    /// Records what became of a report, and says whether this call did. The first answer stays.
    async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError>;

    /// Reports without an answer, the oldest first.
    async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError>;

    /// One report that has no answer yet.
    async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError>;

    /// Reports that were answered and of which nobody noted that people were told, the oldest first, each with its
    /// response.
    async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError>;

    /// Notes that people were told what became of a report.
    async fn note_told(&self, id: &ReportId) -> Result<(), StoreError>;

    /// Takes the lock on a key.
    async fn acquire(&self, key: &str, holder: &str, now: Timestamp, ttl: Duration) -> Result<Acquired, StoreError>;

    /// Makes a lock last until `now + ttl`, if it is still this lease's and not over; else none.
    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError>;

    /// Releases a lock, if it is still this lease's; says whether it was.
    async fn release(&self, lease: &Lease) -> Result<bool, StoreError>;

    /// Takes a lock away from whoever holds it: for a person who knows that the holder is gone.
    async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError>;

    /// The locks that are held at `now`, sorted by key.
    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError>;

    /// Records that a step starts, once for its key.
    async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError>;

    /// Records a step's next state.
    async fn advance(&self, key: &StepKey, token: u64, state: &JournalState, at: Timestamp) -> Result<(), StoreError>;

    /// Makes `token` the newest that a step has seen, and gives the step as it is then: nobody who holds an older
    /// one changes it any more. None where it never began, or is kept only as a key that began and ended.
    async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError>;

    /// Steps without an end, the oldest first.
    async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError>;

    /// All steps of a report that began, in order.
    async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError>;

    /// Lets an approval wait; once for a step of a report, and one at a time for an action on a target.
    async fn open_approval(&self, approval: &Approval) -> Result<ApprovalOpened, StoreError>;

    /// Settles an approval, unless that was done before. `state` must not be `Pending`.
    async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError>;

    /// Notes that people were told that it waits; the first time stays.
    async fn note_asked(&self, id: &ApprovalId, at: Timestamp) -> Result<(), StoreError>;

    /// Notes that people were reminded; `false` where they had been, or where it no longer waits.
    async fn note_reminder(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError>;

    /// One approval. Settled ones are kept at least until their report is closed.
    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError>;

    /// A report's approvals, in the order of its steps.
    async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError>;

    /// What waits, the oldest first.
    async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError>;
}

macro_rules! forward_store {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: RemediationStore + ?Sized> RemediationStore for $pointer<T> {
            async fn kill_switch(&self) -> Result<KillSwitch, StoreError> {
                (**self).kill_switch().await
            }

            async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
                (**self).set_kill_switch(switch).await
            }

            async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
                (**self).snapshot(query).await
            }

            async fn resolve(&self, episode: &EpisodeKey, at: Timestamp) -> Result<(), StoreError> {
                (**self).resolve(episode, at).await
            }

            async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError> {
                (**self).set_guard(name, state).await
            }

            async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError> {
                (**self).reserve(reservation).await
            }

            async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError> {
                (**self).give_back(lease, run).await
            }

            async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError> {
                (**self).open_report(record).await
            }

            async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError> {
                (**self).close_report(id, response).await
            }

            async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError> {
                (**self).open_reports().await
            }

            async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError> {
                (**self).open_report_of(id).await
            }

            async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError> {
                (**self).untold().await
            }

            async fn note_told(&self, id: &ReportId) -> Result<(), StoreError> {
                (**self).note_told(id).await
            }

            async fn acquire(
                &self,
                key: &str,
                holder: &str,
                now: Timestamp,
                ttl: Duration,
            ) -> Result<Acquired, StoreError> {
                (**self).acquire(key, holder, now, ttl).await
            }

            async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
                (**self).release(lease).await
            }

            async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError> {
                (**self).renew(lease, now, ttl).await
            }

            async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError> {
                (**self).force_release(key).await
            }

            async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
                (**self).leases(now).await
            }

            async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError> {
                (**self).begin(entry).await
            }

            async fn advance(
                &self,
                key: &StepKey,
                token: u64,
                state: &JournalState,
                at: Timestamp,
            ) -> Result<(), StoreError> {
                (**self).advance(key, token, state, at).await
            }

            async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError> {
                (**self).take_over(key, token).await
            }

            async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError> {
                (**self).unfinished().await
            }

            async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError> {
                (**self).steps_of(report).await
            }

            async fn open_approval(&self, approval: &Approval) -> Result<ApprovalOpened, StoreError> {
                (**self).open_approval(approval).await
            }

            async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError> {
                (**self).settle_approval(id, state).await
            }

            async fn note_asked(&self, id: &ApprovalId, at: Timestamp) -> Result<(), StoreError> {
                (**self).note_asked(id, at).await
            }

            async fn note_reminder(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError> {
                (**self).note_reminder(id, at).await
            }

            async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
                (**self).approval(id).await
            }

            async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError> {
                (**self).approvals_of(report).await
            }

            async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError> {
                (**self).pending_approvals().await
            }
        }
    };
}
forward_store!(Arc);
forward_store!(Box);
