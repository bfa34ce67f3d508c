//! Locks in memory, and the tokens that they are granted with.

use std::collections::HashMap;
use std::time::Duration;

use aiops_core::time::plus;
use jiff::Timestamp;

use super::types::{Acquired, Lease};
use crate::mutant::mutant;

/// Locks that are looked through for ended ones before the next is granted.
const SWEPT_ABOVE: usize = 1_000;
/// Tokens that a store on disk writes down at once, before it grants the first of them: after a restart it
/// goes on behind them, so that none is granted twice, and not each lock costs a write.
const TOKEN_BLOCK: u64 = 1_000;

#[derive(Debug, Default)]
pub(super) struct Locks {
    held: HashMap<String, Lease>,
    last_token: u64,
    /// Tokens up to this one are written down.
    written: u64,
}

impl Locks {
    /// Up to which token must be written down before the next lock is granted, if so.
    pub(super) fn block_wanted(&self) -> Option<u64> {
        (self.last_token >= self.written).then(|| self.last_token.saturating_add(TOKEN_BLOCK))
    }

    /// Takes note that tokens up to this one are written down.
    pub(super) fn block_written(&mut self, until: u64) {
        self.written = self.written.max(until);
    }

    /// Grants none of the tokens up to this one any more.
    pub(super) fn skip_to(&mut self, token: u64) {
        self.last_token = self.last_token.max(token);
    }

    /// Grants none of the tokens any more that are written down: another process may have.
    pub(super) fn skip_written(&mut self) {
        self.skip_to(self.written);
    }

    pub(super) fn acquire(&mut self, key: String, holder: String, now: Timestamp, ttl: Duration) -> Acquired {
        if let Some(lease) = self.held.get(&key).filter(|lease| now < lease.until && !mutant!("lock_granted_twice")) {
            return Acquired::Held { holder: lease.holder.clone(), until: lease.until };
        }
        if self.held.len() > SWEPT_ABOVE {
            self.held.retain(|_, lease| now < lease.until);
        }
        self.last_token = self.last_token.saturating_add(1);
        let lease = Lease::new(key.clone(), holder, self.last_token, now, plus(now, ttl));
        self.held.insert(key, lease.clone());
        Acquired::Granted(lease)
    }

    /// Whether nobody else took the lock since, or took it away.
    pub(super) fn is_held_by(&self, lease: &Lease) -> bool {
        self.held.get(&lease.key).is_some_and(|held| held.token == lease.token)
    }

    pub(super) fn release(&mut self, lease: &Lease) -> bool {
        let mine = self.is_held_by(lease) || mutant!("release_without_compare") && self.held.contains_key(&lease.key);
        if mine {
            self.held.remove(&lease.key);
        }
        mine
    }

    pub(super) fn renew(&mut self, lease: &Lease, now: Timestamp, ttl: Duration) -> Option<Lease> {
        let mine = |held: &&mut Lease| held.token == lease.token || mutant!("renew_without_compare");
        let held = self.held.get_mut(&lease.key).filter(mine).filter(|held| now < held.until)?;
        held.until = plus(now, ttl).max(held.until);
        Some(held.clone())
    }

    pub(super) fn force_release(&mut self, key: &str) -> Option<Lease> {
        self.held.remove(key)
    }

    /// The locks that are held at `now`, sorted by key.
    pub(super) fn held(&self, now: Timestamp) -> Vec<Lease> {
        let mut held: Vec<Lease> = self.held.values().filter(|lease| now < lease.until).cloned().collect();
        held.sort_by(|a, b| a.key.cmp(&b.key));
        held
    }
}
