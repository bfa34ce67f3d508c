//! The store that the processes share, behind a network: late, lost, failing, and watched.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aiops_core::Response;
use aiops_remediate::{
    Acquired, Approval, ApprovalId, ApprovalOpened, ApprovalState, Begun, EpisodeKey, GuardState, JournalEntry,
    JournalState, KillSwitch, Lease, MemoryStore, Opened, RemediationStore, ReportId, ReportRecord, Reservation,
    Reserved, Run, Settled, Snapshot, SnapshotQuery, StepKey, StoreError,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::checks;
use super::faults::Fault;
use super::world::{Inner, SECOND, World, Write, turn};

/// The store in memory answers at once.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the store in memory waits for nothing"),
    }
}

/// One process' way to the store.
#[derive(Debug)]
pub(crate) struct FarStore {
    pub(crate) world: World,
    pub(crate) process: usize,
}

impl FarStore {
    /// `call` asks the store; `write` does it again on another one; `check` sees the answer as it left the
    /// store, whatever the network makes of it.
    async fn call<T: Send>(
        &self,
        method: &'static str,
        write: Option<Write>,
        call: impl FnOnce(&MemoryStore) -> Result<T, StoreError> + Send,
        check: impl FnOnce(&mut Inner, &T) + Send,
    ) -> Result<T, StoreError> {
        let failed = || Err(StoreError::Unavailable { doing: method, source: "simulated".into() });
        let (slow, broken) = self.world.with(|inner| {
            let lost = inner.processes[self.process].requests_lost_until > inner.now;
            if lost {
                inner.fired(Fault::RequestsLost);
                return (5 * SECOND, true);
            }
            if inner.fires(Fault::ErrorBefore, 15) {
                return (0, true);
            }
            let slow = inner.fires(Fault::SlowStore, 8);
            (if slow { checks::wait(inner) } else { 0 }, false)
        });
        self.wait(slow).await;
        if broken {
            return failed();
        }
        let answer = self.world.with(|inner| {
            let answer = call(&inner.store);
            inner.seen.sequence += 1;
            if let Ok(answer) = &answer {
                if let Some(write) = write.filter(|_| inner.has(Fault::LostWrites)) {
                    inner.writes.push(write);
                }
                check(inner, answer);
            }
            let (process, said) = (self.process, if answer.is_ok() { "ok" } else { "refused" });
            inner.note(format_args!("p{process} {method} {said}"));
            answer
        });
        let (slow, lost) = self.world.with(|inner| {
            let lost = inner.processes[self.process].answers_lost_until > inner.now;
            if lost {
                inner.fired(Fault::AnswersLost);
                return (5 * SECOND, true);
            }
            if inner.fires(Fault::ErrorAfter, 15) {
                return (0, true);
            }
            let slow = inner.fires(Fault::SlowStore, 5);
            (if slow { checks::wait(inner) } else { 0 }, false)
        });
        self.wait(slow).await;
        if lost { failed() } else { answer }
    }

    async fn wait(&self, slow: i64) {
        if slow > 0 {
            self.world.sleep(slow).await;
        } else {
            turn().await;
        }
    }
}

/// A method that only reads.
macro_rules! read {
    ($self:ident, $method:ident ( $($argument:expr),* )) => {
        $self.call(stringify!($method), None, |store| at_once(store.$method($($argument),*)), |_, _| {}).await
    };
}

/// A method that writes, with what is checked of it.
macro_rules! write {
    ($self:ident, $method:ident ( $($argument:ident),* ), $check:expr) => {{
        $(let $argument = $argument.to_owned();)*
        let again: Write = {
            $(let $argument = $argument.clone();)*
            Arc::new(move |store: &MemoryStore| drop(at_once(store.$method($(write!(@ref $argument)),*))))
        };
        let check = $check;
        $self.call(
            stringify!($method),
            Some(again),
            |store| at_once(store.$method($(write!(@ref $argument)),*)),
            |inner, answer| check(inner, answer),
        )
        .await
    }};
    (@ref $argument:ident) => { super::store::Asked::asked(&$argument) };
}

/// How an argument is handed over: by reference, or by value where it is small.
trait Asked<'a> {
    type As;
    fn asked(&'a self) -> Self::As;
}

macro_rules! by_reference {
    ($($what:ty),*) => { $(impl<'a> Asked<'a> for $what { type As = &'a Self; fn asked(&'a self) -> &'a Self { self } })* };
}
macro_rules! by_value {
    ($($what:ty),*) => { $(impl Asked<'_> for $what { type As = Self; fn asked(&self) -> Self { self.clone() } })* };
}
by_reference!(
    EpisodeKey,
    GuardState,
    Reservation,
    ReportId,
    Run,
    ReportRecord,
    Response,
    Lease,
    JournalEntry,
    StepKey,
    JournalState,
    Approval,
    ApprovalId,
    ApprovalState
);
by_value!(KillSwitch, Timestamp, Duration, u64);
impl<'a> Asked<'a> for String {
    type As = &'a str;
    fn asked(&'a self) -> &'a str {
        self
    }
}

#[async_trait]
impl RemediationStore for FarStore {
    async fn kill_switch(&self) -> Result<KillSwitch, StoreError> {
        read!(self, kill_switch())
    }

    async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
        write!(self, set_kill_switch(switch), |_: &mut Inner, (): &()| {})
    }

    async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        let asked = self.world.with(|inner| (inner.clock(self.process), inner.seen.sequence));
        let check = |inner: &mut Inner, snapshot: &Snapshot| checks::snapshot(inner, query, snapshot, asked);
        self.call("snapshot", None, |store| at_once(store.snapshot(query)), check).await
    }

    async fn resolve(&self, episode: &EpisodeKey, time: Timestamp) -> Result<(), StoreError> {
        write!(self, resolve(episode, time), |_: &mut Inner, (): &()| {})
    }

    async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError> {
        write!(self, set_guard(name, state), |_: &mut Inner, (): &()| {})
    }

    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError> {
        let asked = reservation.clone();
        write!(self, reserve(reservation), move |inner: &mut Inner, reserved: &Reserved| {
            checks::reserved(inner, &asked, reserved);
        })
    }

    async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError> {
        let back = run.clone();
        write!(self, give_back(lease, run), move |inner: &mut Inner, returned: &bool| {
            checks::given_back(inner, &back, *returned);
        })
    }

    async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError> {
        let asked = record.clone();
        write!(self, open_report(record), move |inner: &mut Inner, opened: &Opened| {
            checks::opened(inner, &asked, opened);
        })
    }

    async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError> {
        let (report, with) = (id.clone(), response.clone());
        write!(self, close_report(id, response), move |inner: &mut Inner, closed: &bool| {
            checks::closed(inner, &report, &with, *closed);
        })
    }

    async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError> {
        read!(self, open_reports())
    }

    async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError> {
        read!(self, open_report_of(id))
    }

    async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError> {
        read!(self, untold())
    }

    async fn note_told(&self, id: &ReportId) -> Result<(), StoreError> {
        write!(self, note_told(id), |_: &mut Inner, (): &()| {})
    }

    async fn acquire(&self, key: &str, holder: &str, now: Timestamp, ttl: Duration) -> Result<Acquired, StoreError> {
        write!(self, acquire(key, holder, now, ttl), move |inner: &mut Inner, acquired: &Acquired| {
            checks::acquired(inner, now, acquired);
        })
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let asked = lease.clone();
        write!(self, renew(lease, now, ttl), move |inner: &mut Inner, renewed: &Option<Lease>| {
            checks::renewed(inner, &asked, renewed.as_ref());
        })
    }

    async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.world.with(|inner| checks::releasing(inner, lease));
        let asked = lease.clone();
        write!(self, release(lease), move |inner: &mut Inner, released: &bool| {
            checks::released(inner, &asked, *released);
        })
    }

    async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError> {
        write!(self, force_release(key), |inner: &mut Inner, lease: &Option<Lease>| {
            checks::forced(inner, lease.as_ref());
        })
    }

    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        read!(self, leases(now))
    }

    async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError> {
        let asked = entry.clone();
        write!(self, begin(entry), move |inner: &mut Inner, begun: &Begun| checks::begun(inner, &asked, begun))
    }

    async fn advance(
        &self,
        key: &StepKey,
        token: u64,
        state: &JournalState,
        time: Timestamp,
    ) -> Result<(), StoreError> {
        let (step, to) = (key.clone(), state.clone());
        write!(self, advance(key, token, state, time), move |inner: &mut Inner, (): &()| {
            checks::advanced(inner, &step, token, &to);
        })
    }

    async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError> {
        let step = key.clone();
        write!(self, take_over(key, token), move |inner: &mut Inner, taken: &Option<JournalEntry>| {
            checks::taken_over(inner, &step, token, taken.as_ref());
        })
    }

    async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError> {
        read!(self, unfinished())
    }

    async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError> {
        read!(self, steps_of(report))
    }

    async fn open_approval(&self, approval: &Approval) -> Result<ApprovalOpened, StoreError> {
        let asked = approval.clone();
        write!(self, open_approval(approval), move |inner: &mut Inner, opened: &ApprovalOpened| {
            checks::approval_opened(inner, &asked, opened);
        })
    }

    async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError> {
        write!(self, settle_approval(id, state), |inner: &mut Inner, settled: &Settled| {
            checks::approval_settled(inner, settled);
        })
    }

    async fn note_asked(&self, id: &ApprovalId, time: Timestamp) -> Result<(), StoreError> {
        write!(self, note_asked(id, time), |_: &mut Inner, (): &()| {})
    }

    async fn note_reminder(&self, id: &ApprovalId, time: Timestamp) -> Result<bool, StoreError> {
        write!(self, note_reminder(id, time), |_: &mut Inner, _: &bool| {})
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        read!(self, approval(id))
    }

    async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError> {
        read!(self, approvals_of(report))
    }

    async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        read!(self, pending_approvals())
    }
}
