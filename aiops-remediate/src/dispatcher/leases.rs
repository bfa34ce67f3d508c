//! Locks: on a report, on a step, and on a target, so that two actions are not on it at once.

use std::sync::PoisonError;
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{IncidentId, Target, text};
use jiff::Timestamp;

use super::{Dispatcher, store_failed};
use crate::mutant::mutant;
use crate::store::{Acquired, Lease, ReportId, StoreError};

/// Who waits for a target looks again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Locks that are held together.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Vec<Lease>);

impl Leases {
    pub(super) fn of(lease: Lease) -> Self {
        Self(vec![lease])
    }

    pub(super) fn push(&mut self, lease: Lease) {
        self.0.push(lease);
    }

    pub(super) fn first(&self) -> Option<&Lease> {
        self.0.first()
    }

    /// The greatest token: no holder before has it.
    pub(super) fn token(&self) -> u64 {
        self.0.iter().map(|lease| lease.token).max().unwrap_or(0)
    }

    /// Until when all of them hold.
    pub(super) fn until(&self) -> Timestamp {
        self.0.iter().map(|lease| lease.until).min().unwrap_or(Timestamp::MAX)
    }

    /// Those of the other one are held as well.
    pub(super) fn with(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Takes over what was renewed.
    fn renewed(&mut self, lease: &Lease) {
        if let Some(own) = self.0.iter_mut().find(|own| own.key == lease.key) {
            own.clone_from(lease);
        }
    }
}

/// Why a step does not get its locks.
pub(super) enum NoLock {
    /// Somebody has them.
    Held(String),
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for NoLock {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn report_key(id: &ReportId) -> String {
    format!("report|{id}")
}

impl Dispatcher {
    /// Alone with a report; none where somebody else is.
    pub(super) async fn lock_report(&self, id: &ReportId, now: Timestamp) -> Result<Option<Leases>, StoreError> {
        self.lock_kept(&report_key(id), now).await
    }

    /// Lets a report go; a lock that cannot be released is taken up again by this dispatcher.
    pub(super) async fn release_report(&self, id: &ReportId, leases: Leases) {
        if !self.release_all(&leases).await {
            self.keep_locks(report_key(id), leases);
        }
    }

    /// The locks of a key that this dispatcher kept, else a lock of its own; none where somebody else has it.
    pub(super) async fn lock_kept(&self, key: &str, now: Timestamp) -> Result<Option<Leases>, StoreError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(mut leases) = kept {
            match self.renew(&mut leases, now).await {
                Ok(true) => return Ok(Some(leases)),
                Ok(false) => {}
                Err(error) => {
                    self.keep_locks(key.to_owned(), leases);
                    return Err(error);
                }
            }
        }
        match self.store.acquire(key, &self.holder, now, self.limits.lock).await? {
            Acquired::Granted(lease) => Ok(Some(Leases::of(lease))),
            Acquired::Held { .. } => Ok(None),
        }
    }

    /// Keeps locks beyond a call. Those that are over are dropped with the next that are kept.
    pub(super) fn keep_locks(&self, key: String, leases: Leases) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        kept.retain(|_, leases| now < leases.until());
        kept.insert(key, leases);
    }

    /// Alone with a step, and with its target: at once, or within `wait`.
    pub(super) async fn lock_step(
        &self,
        key: &str,
        target: &Target,
        incident: &IncidentId,
        wait: Duration,
        floor: Timestamp,
    ) -> Result<Leases, NoLock> {
        let now = self.clock.now().max(floor);
        // The incident tells a nested action, which would wait for itself.
        let holder = format!("{}/{incident}", self.holder);
        let step = match self.store.acquire(key, &holder, now, self.limits.lock).await? {
            Acquired::Granted(lease) => lease,
            Acquired::Held { holder, until } => {
                return Err(NoLock::Held(format!("locked by {} until {until}", text::clip(&holder, 120))));
            }
        };
        if mutant!("target_not_locked") {
            return Ok(Leases::of(step));
        }
        let by = plus(now, wait);
        let place = format!("target|{target}");
        loop {
            let now = self.clock.now().max(floor);
            let (other, until) = match self.store.acquire(&place, &holder, now, self.limits.lock).await {
                Ok(Acquired::Granted(lease)) => {
                    let mut leases = Leases::of(step);
                    leases.push(lease);
                    return Ok(leases);
                }
                Ok(Acquired::Held { holder, until }) => (holder, until),
                Err(error) => {
                    self.release(&step).await;
                    return Err(error.into());
                }
            };
            if now >= by || other == holder {
                self.release(&step).await;
                let other = text::clip(&other, 120);
                let reason = format!("another action runs on {target}: locked by {other} until {until}");
                return Err(NoLock::Held(reason));
            }
            self.clock.sleep_until(plus(now, LOOK_AGAIN).min(by)).await;
        }
    }

    /// Makes locks last; `false` where one is somebody else's now.
    pub(super) async fn renew(&self, leases: &mut Leases, now: Timestamp) -> Result<bool, StoreError> {
        for lease in leases.0.clone() {
            match self.store.renew(&lease, now, self.limits.lock).await? {
                Some(lease) => leases.renewed(&lease),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Keeps locks alive; returns once one is lost, or once they end since the store does not answer.
    pub(super) async fn keep(&self, leases: &mut Leases) -> &'static str {
        loop {
            let look = plus(self.clock.now(), self.limits.lock / 3);
            self.clock.sleep_until(look.min(leases.until())).await;
            match self.renew(leases, self.clock.now()).await {
                Ok(true) => {}
                Ok(false) => return "its lock was lost",
                Err(error) => {
                    store_failed("renew a lock", &error);
                    if self.clock.now() >= leases.until() {
                        return "its lock ended, and the store did not renew it";
                    }
                }
            }
        }
    }

    /// Releases locks; `false` where one may still be held, until its time is over.
    pub(super) async fn release_all(&self, leases: &Leases) -> bool {
        let mut released = true;
        for lease in leases.0.iter().rev() {
            released &= self.release(lease).await;
        }
        released
    }

    async fn release(&self, lease: &Lease) -> bool {
        let released = self.store.release(lease).await;
        released.map_err(|error| store_failed("release a lock", &error)).is_ok()
    }
}
