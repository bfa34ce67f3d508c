//! One consumer group's messages: ready, out with a consumer, or waiting for another attempt.
//!
//! Pure: time is an argument. Every message is in exactly one of the three places until it leaves.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Envelope;
use crate::time::plus;

/// A message on its way through one group.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Place in the topic: lower was published earlier.
    pub(super) seq: u64,
    pub(super) envelope: Arc<Envelope>,
    /// Times it was handed out.
    pub(super) attempts: u32,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By place, the lowest first: a message that comes again goes before those published after it.
    ready: VecDeque<Entry>,
    /// Failed ones, by the time of their next attempt.
    waiting: BTreeMap<(Timestamp, u64), Entry>,
    /// Handed out, by the delivery's token, with its deadline.
    out: HashMap<u64, (Entry, Timestamp), BuildHasherDefault<Numbers>>,
    /// When what is out is due, the first first, by token. Tokens that are settled go when they come to the front,
    /// or when most are.
    deadlines: VecDeque<(Timestamp, u64)>,
}

/// Puts an item where it belongs in order: most often at the end.
fn put<T, K: Ord>(all: &mut VecDeque<T>, item: T, key: impl Fn(&T) -> K) {
    let new = key(&item);
    if all.back().is_none_or(|last| key(last) < new) {
        all.push_back(item);
    } else {
        all.insert(all.partition_point(|other| key(other) < new), item);
    }
}

impl Queue {
    /// Messages that are not settled.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.waiting.len() + self.out.len()
    }

    pub(super) fn push(&mut self, seq: u64, envelope: Arc<Envelope>) {
        self.put_ready(Entry { seq, envelope, attempts: 0 });
    }

    fn put_ready(&mut self, entry: Entry) {
        put(&mut self.ready, entry, |entry| entry.seq);
    }

    /// Drops the oldest message that no consumer has; only dead-letter topics do so.
    pub(super) fn drop_oldest(&mut self) -> bool {
        self.ready.pop_front().is_some() || self.waiting.pop_first().is_some()
    }

    /// Hands out the next message under `token`.
    pub(super) fn take(&mut self, now: Timestamp, token: u64, ack_deadline: Duration) -> Option<Entry> {
        while let Some(waiting) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            let entry = waiting.remove();
            self.put_ready(entry);
        }
        let mut entry = self.ready.pop_front()?;
        entry.attempts = entry.attempts.saturating_add(1);
        let deadline = plus(now, ack_deadline);
        put(&mut self.deadlines, (deadline, token), |due| *due);
        self.out.insert(token, (entry.clone(), deadline));
        Some(entry)
    }

    /// Takes back what is out under `token`; none if it was taken back before.
    pub(super) fn settle(&mut self, token: u64) -> Option<Entry> {
        let (entry, _) = self.out.remove(&token)?;
        self.forget_settled();
        Some(entry)
    }

    /// Keeps the first deadline one of a message that is out, and the others not many more than those.
    fn forget_settled(&mut self) {
        const FEW: usize = 64;
        let Self { out, deadlines, .. } = self;
        if deadlines.len() > 2 * out.len() + FEW {
            deadlines.retain(|(_, token)| out.contains_key(token));
        }
        while deadlines.front().is_some_and(|(_, token)| !out.contains_key(token)) {
            deadlines.pop_front();
        }
    }

    /// Lets a message wait for its next attempt.
    pub(super) fn retry(&mut self, entry: Entry, at: Timestamp) {
        self.waiting.insert((at, entry.seq), entry);
    }

    /// Whether a consumer missed its deadline.
    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        self.deadlines.front().is_some_and(|(deadline, _)| *deadline <= now)
    }

    /// Takes back one message whose consumer missed its deadline.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Option<Entry> {
        let (_, token) = *self.deadlines.front().filter(|(deadline, _)| *deadline <= now)?;
        self.settle(token)
    }

    /// Messages that consumers have.
    #[cfg(feature = "kafka")]
    pub(super) fn len_out(&self) -> usize {
        self.out.len()
    }

    /// Forgets the messages that are not to be kept, wherever they are.
    #[cfg(feature = "kafka")]
    pub(super) fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.ready.retain(&keep);
        self.waiting.retain(|_, entry| keep(entry));
        self.out.retain(|_, (entry, _)| keep(entry));
        self.forget_settled();
    }

    /// When something changes by itself.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let waiting = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let deadline = self.deadlines.front().map(|(at, _)| *at);
        waiting.into_iter().chain(deadline).min()
    }

    /// All that is not settled, in publish order.
    pub(super) fn unsettled(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = self.ready.iter().chain(self.waiting.values()).cloned().collect();
        all.extend(self.out.values().map(|(entry, _)| entry.clone()));
        all.sort_by_key(|entry| entry.seq);
        all
    }
}

/// Hashes numbers that nobody from outside chooses: by Fibonacci hashing (Knuth, The Art of Computer Programming,
/// volume 3, section 6.4), the golden ratio of 2^64.
#[derive(Debug, Default)]
struct Numbers(u64);

impl Hasher for Numbers {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
