//! A store with one fault planted in it, over one that has none.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::Response;
use aiops_remediate::{
    Acquired, Approval, ApprovalId, ApprovalOpened, ApprovalState, Begun, EpisodeKey, GuardState, JournalEntry,
    JournalState, KillSwitch, Lease, MemoryStore, Opened, RemediationStore, ReportId, ReportRecord, Reservation,
    Reserved, Run, Settled, Snapshot, SnapshotQuery, StepKey, StoreError,
};
use async_trait::async_trait;
use jiff::Timestamp;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident => $breaks:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub(crate) enum Fault { $($(#[doc = $doc])* $name,)* TokensRestart }
        impl Fault {
            pub(crate) const ALL: [Self; [$($breaks),*].len()] = [$(Self::$name),*];
            /// A part of the line of the contract that it breaks.
            pub(crate) fn breaks(self) -> &'static str {
                match self { $(Self::$name => $breaks,)* Self::TokensRestart => "also after a restart" }
            }
        }
    };
}

faults! {
    ReportIsAlwaysNew => "every other is `Known`",
    AnswerIsForgotten => "its answer stays",
    ClosesTwice => "every other `false`",
    ClosesWhatNeverOpened => "what the contract forbids",
    UntoldIsLost => "`untold` gives",
    ToldAgain => "`untold` gives",
    AskedIsLost => "`note_asked`",
    GiveBackAfterTheEffect => "may have had an effect",
    OpenReportsNewestFirst => "`open_reports`",
    ReportIsNotFound => "`open_report_of`",
    BeginsAgainAfterItsEnd => "`Exists` from then on",
    BeginsAfterItsReportClosed => "nothing begins",
    BeginsOncePerReport => "`Exists` from then on",
    BeginLooksThenWrites => "exactly one is the first",
    BeginIsHalfDone => "never half",
    BeginHangs => "answers every call",
    UnfinishedUnsorted => "`unfinished`",
    StepsLost => "`steps_of`",
    NoFence => "is `Fenced`",
    FencedButWritten => "is `Fenced`",
    NewerTokenNotKept => "becomes the newest",
    TakesOverWithoutFence => "takes a step over",
    TakesOverWithAnOldToken => "takes a step over",
    EndedStepGoesOn => "what the contract forbids",
    TokensPerKey => "greater token",
    LockNeverEnds => "time to live",
    LockTwice => "`acquire` is granted",
    ReleaseWithoutCompare => "own token",
    RenewWithoutCompare => "own token",
    RenewIsNotKept => "`renew` makes a lock last",
    RenewAfterTheEnd => "`renew` makes a lock last",
    LeasesUnsorted => "`leases`",
    LeasesListEnded => "`leases`",
    ForceReleaseKeeps => "takes a lock away",
    NoCoolDown => "the cool-down",
    NoLoopGuard => "the loop guard",
    NoBudgets => "each share by itself",
    BudgetOfAllTime => "exactly as old as the window",
    NoMaxOpen => "`max_open`",
    SomeOfAPlan => "all or none",
    ReservedAgainIsRefused => "grants what was granted",
    BudgetReadBeforeReserve => "as many as it holds",
    GiveBackNeedsTheTime => "whenever it was taken",
    GiveBackWithoutLock => "under the lock",
    GiveBackSaysNothing => "says whether",
    GiveBackLost => "`give_back`",
    SnapshotIgnoresAll => "takes nothing twice",
    SnapshotIgnoresSince => "a snapshot holds",
    PlaceIsNotUnique => "waits for an action on a target",
    StepAsksTwice => "once for a step",
    AsksForClosed => "what the contract forbids",
    LastWordWins => "the first `settle_approval` stays",
    RemindsTwice => "`note_reminder`",
    SettledIsForgotten => "kept at least until",
    PendingNewestFirst => "`pending_approvals`",
    ApprovalsAsAsked => "`approvals_of`",
    SettleLooksThenWrites => "exactly one is the first",
    EndGoesBack => "the newest that was noted",
    GuardsLost => "stand tripped",
    SwitchNotInSnapshot => "in the snapshot as well",
}

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<MemoryStore>,
    fault: Fault,
    seen: Mutex<HashSet<String>>,
    tokens: AtomicU64,
    leases: Mutex<HashMap<String, Lease>>,
    resolved: Mutex<Option<Timestamp>>,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self::over(Arc::new(MemoryStore::default()), fault)
    }

    pub(crate) fn over(inner: Arc<MemoryStore>, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            seen: Mutex::default(),
            tokens: AtomicU64::new(1_001),
            leases: Mutex::default(),
            resolved: Mutex::default(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Whether this is the first time, by a look and a write that others come between.
    async fn looks_new(&self, key: String) -> bool {
        let new = !self.seen.lock().unwrap().contains(&key);
        tokio::task::yield_now().await;
        self.seen.lock().unwrap().insert(key);
        new
    }

    async fn newest_token(&self, key: &StepKey) -> Option<u64> {
        self.inner.unfinished().await.unwrap().iter().find(|entry| entry.key() == *key).map(|entry| entry.token)
    }
}

fn mark_of(run: &Run) -> String {
    format!("{} {} {}", run.report, run.action, run.target)
}

#[async_trait]
impl RemediationStore for Faulty {
    async fn kill_switch(&self) -> Result<KillSwitch, StoreError> {
        self.inner.kill_switch().await
    }

    async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
        self.inner.set_kill_switch(switch).await
    }

    async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        let mut query = query.clone();
        if self.has(Fault::SnapshotIgnoresAll) {
            query.all = false;
        }
        if self.has(Fault::SnapshotIgnoresSince) {
            query.since = Timestamp::UNIX_EPOCH;
        }
        let mut snapshot = self.inner.snapshot(&query).await?;
        if self.has(Fault::SwitchNotInSnapshot) {
            snapshot.kill_switch = KillSwitch::default();
        }
        if self.has(Fault::GiveBackAfterTheEffect) {
            let returned = self.seen.lock().unwrap();
            snapshot.runs.retain(|run| !returned.contains(&mark_of(run)));
        }
        if self.has(Fault::EndGoesBack) {
            snapshot.resolved_at = *self.resolved.lock().unwrap();
        }
        Ok(snapshot)
    }

    async fn resolve(&self, episode: &EpisodeKey, at: Timestamp) -> Result<(), StoreError> {
        *self.resolved.lock().unwrap() = Some(at);
        self.inner.resolve(episode, at).await
    }

    async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError> {
        if self.has(Fault::GuardsLost) { Ok(()) } else { self.inner.set_guard(name, state).await }
    }

    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError> {
        let mut reservation = reservation.clone();
        match self.fault {
            Fault::NoCoolDown => reservation.runs.iter_mut().for_each(|(_, cooldown)| *cooldown = None),
            Fault::NoLoopGuard => reservation.loop_guard = None,
            Fault::NoBudgets => reservation.budgets.clear(),
            Fault::BudgetOfAllTime => {
                reservation.budgets.iter_mut().for_each(|budget| budget.per = Duration::from_secs(36_000));
            }
            Fault::NoMaxOpen => reservation.max_open = None,
            Fault::SomeOfAPlan => {
                let mut last = Reserved::Granted;
                for run in reservation.runs.clone() {
                    let mut one = reservation.clone();
                    one.runs = vec![run];
                    last = self.inner.reserve(&one).await?;
                }
                return Ok(last);
            }
            Fault::ReservedAgainIsRefused => {
                let key = format!("{:?}", reservation.runs.first());
                if !self.seen.lock().unwrap().insert(key) {
                    return Ok(Reserved::Refused { reason: "it was reserved before".to_owned() });
                }
            }
            Fault::BudgetReadBeforeReserve => {
                let (run, _) = &reservation.runs[0];
                let episode = EpisodeKey::of(&super::event(1, "cart", &[], run.at));
                let query = SnapshotQuery::new(episode, "", vec![], Timestamp::UNIX_EPOCH).all(true);
                let marks = self.inner.snapshot(&query).await?.runs;
                if let Some(reason) = reservation.refusal(&marks) {
                    return Ok(Reserved::Refused { reason });
                }
                if !reservation.budgets.is_empty() {
                    tokio::task::yield_now().await;
                }
                let max_open = reservation.max_open;
                let runs = reservation.runs.into_iter().map(|(run, _)| (run, None)).collect();
                reservation = Reservation::new(runs, None).max_open(max_open);
            }
            _ => {}
        }
        self.inner.reserve(&reservation).await
    }

    async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError> {
        match self.fault {
            Fault::GiveBackLost => Ok(true),
            Fault::GiveBackAfterTheEffect => {
                self.seen.lock().unwrap().insert(mark_of(run));
                self.inner.give_back(lease, run).await
            }
            Fault::GiveBackNeedsTheTime => {
                let episode = EpisodeKey::of(&super::event(1, "cart", &[], run.at));
                let query = SnapshotQuery::new(episode, "", vec![], Timestamp::UNIX_EPOCH).all(true);
                match self.inner.snapshot(&query).await?.runs.contains(run) {
                    true => self.inner.give_back(lease, run).await,
                    false => Ok(false),
                }
            }
            Fault::GiveBackWithoutLock => {
                let (key, now) = ("any", Timestamp::UNIX_EPOCH);
                self.inner.force_release(key).await?;
                let Acquired::Granted(own) = self.inner.acquire(key, "any", now, Duration::from_secs(60)).await? else {
                    return Ok(false);
                };
                let returned = self.inner.give_back(&own, run).await;
                self.inner.release(&own).await?;
                returned
            }
            Fault::GiveBackSaysNothing => self.inner.give_back(lease, run).await.map(|_| true),
            _ => self.inner.give_back(lease, run).await,
        }
    }

    async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError> {
        let opened = self.inner.open_report(record).await?;
        Ok(match opened {
            _ if self.has(Fault::ReportIsAlwaysNew) => Opened::New,
            Opened::Known(_) if self.has(Fault::AnswerIsForgotten) => Opened::Known(None),
            opened => opened,
        })
    }

    async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError> {
        match self.inner.close_report(id, response).await {
            Ok(_) if self.has(Fault::ClosesTwice) => Ok(true),
            Err(_) if self.has(Fault::ClosesWhatNeverOpened) => Ok(false),
            other => other,
        }
    }

    async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError> {
        let mut open = self.inner.open_reports().await?;
        if self.has(Fault::OpenReportsNewestFirst) {
            open.reverse();
        }
        Ok(open)
    }

    async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError> {
        if self.has(Fault::ReportIsNotFound) { Ok(None) } else { self.inner.open_report_of(id).await }
    }

    async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError> {
        if self.has(Fault::UntoldIsLost) { Ok(Vec::new()) } else { self.inner.untold().await }
    }

    async fn note_told(&self, id: &ReportId) -> Result<(), StoreError> {
        if self.has(Fault::ToldAgain) { Ok(()) } else { self.inner.note_told(id).await }
    }

    async fn acquire(&self, key: &str, holder: &str, now: Timestamp, ttl: Duration) -> Result<Acquired, StoreError> {
        let longer = if self.has(Fault::LockNeverEnds) { ttl * 1_000 } else { ttl };
        let mut acquired = self.inner.acquire(key, holder, now, longer).await?;
        if let (Acquired::Held { .. }, true) = (&acquired, self.has(Fault::LockTwice)) {
            self.inner.force_release(key).await?;
            acquired = self.inner.acquire(key, holder, now, ttl).await?;
        }
        if let Acquired::Granted(lease) = &mut acquired {
            match self.fault {
                Fault::TokensPerKey => lease.token = 1,
                Fault::TokensRestart => lease.token = self.tokens.fetch_add(1, Ordering::Relaxed),
                _ => {}
            }
            self.leases.lock().unwrap().insert(key.to_owned(), lease.clone());
        }
        Ok(acquired)
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let mut longer = lease.clone();
        longer.until = aiops_core::time::plus(now, ttl);
        match self.fault {
            Fault::RenewIsNotKept => {
                let held = self.inner.leases(now).await?;
                let mine = held.iter().any(|held| held.key == lease.key && held.token == lease.token);
                Ok(mine.then_some(longer))
            }
            Fault::RenewWithoutCompare => Ok(Some(longer)),
            Fault::RenewAfterTheEnd => {
                let newest = self.leases.lock().unwrap().get(&lease.key).is_some_and(|last| last.token == lease.token);
                Ok(self.inner.renew(lease, now, ttl).await?.or(newest.then_some(longer)))
            }
            _ => self.inner.renew(lease, now, ttl).await,
        }
    }

    async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
        if self.has(Fault::ReleaseWithoutCompare) {
            return Ok(self.inner.force_release(&lease.key).await?.is_some());
        }
        self.inner.release(lease).await
    }

    async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError> {
        if self.has(Fault::ForceReleaseKeeps) {
            return Ok(self.leases.lock().unwrap().get(key).cloned());
        }
        self.inner.force_release(key).await
    }

    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        let mut held = self.inner.leases(now).await?;
        if self.has(Fault::LeasesUnsorted) {
            held.reverse();
        }
        if self.has(Fault::LeasesListEnded) {
            held = self.leases.lock().unwrap().values().cloned().collect();
            held.sort_by(|a, b| a.key.cmp(&b.key));
        }
        Ok(held)
    }

    async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError> {
        match self.fault {
            Fault::BeginHangs => std::future::pending().await,
            Fault::BeginLooksThenWrites => {
                let new = self.looks_new(entry.key().to_string()).await;
                let begun = self.inner.begin(entry).await?;
                Ok(if new { Begun::New } else { begun })
            }
            Fault::BeginIsHalfDone if self.seen.lock().unwrap().contains(entry.key().as_str()) => {
                Ok(Begun::Exists { at: entry.at, end: None })
            }
            Fault::BeginIsHalfDone => {
                // What is there already is answered as it should be; only a new key is noted in two parts.
                let known = self.inner.unfinished().await?.iter().any(|known| known.key() == entry.key());
                if !known && entry.index > 2 {
                    self.seen.lock().unwrap().insert(entry.key().to_string());
                }
                tokio::task::yield_now().await;
                self.inner.begin(entry).await
            }
            Fault::BeginsOncePerReport => {
                if self.seen.lock().unwrap().insert(format!("{}{}", entry.report, entry.key())) {
                    let _ = self.inner.begin(entry).await?;
                    return Ok(Begun::New);
                }
                self.inner.begin(entry).await
            }
            Fault::BeginsAgainAfterItsEnd => Ok(match self.inner.begin(entry).await? {
                Begun::Exists { end: Some(_), .. } => Begun::New,
                begun => begun,
            }),
            Fault::BeginsAfterItsReportClosed => self.inner.begin(entry).await.or(Ok(Begun::New)),
            _ => self.inner.begin(entry).await,
        }
    }

    async fn advance(&self, key: &StepKey, token: u64, state: &JournalState, at: Timestamp) -> Result<(), StoreError> {
        let newest = self.newest_token(key).await.filter(|newest| *newest < token);
        if let (Some(newest), true) = (newest, self.has(Fault::NewerTokenNotKept)) {
            return self.inner.advance(key, newest, state, at).await;
        }
        match self.inner.advance(key, token, state, at).await {
            Err(StoreError::Fenced { .. }) if self.has(Fault::NoFence) => Ok(()),
            Err(StoreError::Fenced { key: step, token, newest }) if self.has(Fault::FencedButWritten) => {
                self.inner.advance(key, newest, state, at).await?;
                Err(StoreError::Fenced { key: step, token, newest })
            }
            Err(StoreError::Refused { why: "it has ended", .. }) if self.has(Fault::EndedStepGoesOn) => Ok(()),
            answer => answer,
        }
    }

    async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError> {
        let newest = self.newest_token(key).await.unwrap_or(token);
        match self.fault {
            Fault::TakesOverWithoutFence => self.inner.take_over(key, newest).await,
            Fault::TakesOverWithAnOldToken => self.inner.take_over(key, newest.max(token)).await,
            _ => self.inner.take_over(key, token).await,
        }
    }

    async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError> {
        let mut entries = self.inner.unfinished().await?;
        if self.has(Fault::UnfinishedUnsorted) {
            entries.reverse();
        }
        Ok(entries)
    }

    async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError> {
        let mut entries = self.inner.steps_of(report).await?;
        if self.has(Fault::StepsLost) {
            entries.pop();
        }
        Ok(entries)
    }

    async fn open_approval(&self, approval: &Approval) -> Result<ApprovalOpened, StoreError> {
        match self.inner.open_approval(approval).await {
            Ok(ApprovalOpened::Occupied(_)) if self.has(Fault::PlaceIsNotUnique) => Ok(ApprovalOpened::New),
            Ok(ApprovalOpened::Known(_)) if self.has(Fault::StepAsksTwice) => Ok(ApprovalOpened::New),
            Err(_) if self.has(Fault::AsksForClosed) => Ok(ApprovalOpened::New),
            answer => answer,
        }
    }

    async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError> {
        if self.has(Fault::SettleLooksThenWrites) {
            let pending = self.inner.approval(id).await?.is_some_and(|approval| approval.state.is_pending());
            let new = pending && !state.is_pending() && self.looks_new(id.to_string()).await;
            return Ok(match self.inner.settle_approval(id, state).await? {
                Settled::Now(approval) | Settled::Before(approval) if new => Settled::Now(approval),
                Settled::Now(approval) => Settled::Before(approval),
                before => before,
            });
        }
        Ok(match self.inner.settle_approval(id, state).await? {
            Settled::Before(mut approval) if self.has(Fault::LastWordWins) => {
                approval.state = state.clone();
                Settled::Now(approval)
            }
            settled => settled,
        })
    }

    async fn note_asked(&self, id: &ApprovalId, at: Timestamp) -> Result<(), StoreError> {
        if self.has(Fault::AskedIsLost) { Ok(()) } else { self.inner.note_asked(id, at).await }
    }

    async fn note_reminder(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.inner.note_reminder(id, at).await? || self.has(Fault::RemindsTwice))
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        let found = self.inner.approval(id).await?;
        let forgets = self.has(Fault::SettledIsForgotten);
        Ok(found.filter(|approval| !forgets || approval.state.is_pending()))
    }

    async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError> {
        let mut asked = self.inner.approvals_of(report).await?;
        if self.has(Fault::ApprovalsAsAsked) {
            asked.sort_by_key(|approval| approval.asked_at);
        }
        Ok(asked)
    }

    async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        let mut pending = self.inner.pending_approvals().await?;
        if self.has(Fault::PendingNewestFirst) {
            pending.reverse();
        }
        Ok(pending)
    }
}
