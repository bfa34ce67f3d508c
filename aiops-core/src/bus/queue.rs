//! One consumer group's messages: ready, out with a consumer, or waiting for another attempt.
//!
//! Pure: time is an argument. Every message is in exactly one of the three places until it leaves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// By place: a message that comes again goes before those published after it.
    ready: BTreeMap<u64, Entry>,
    /// Failed ones, by the time of their next attempt.
    waiting: BTreeMap<(Timestamp, u64), Entry>,
    /// Handed out, by the delivery's token, with its deadline.
    out: HashMap<u64, (Entry, Timestamp)>,
    deadlines: BTreeSet<(Timestamp, u64)>,
}

impl Queue {
    /// Messages that are not settled.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.waiting.len() + self.out.len()
    }

    pub(super) fn push(&mut self, seq: u64, envelope: Arc<Envelope>) {
        self.ready.insert(seq, Entry { seq, envelope, attempts: 0 });
    }

    /// Drops the oldest message that no consumer has; only dead-letter topics do so.
    pub(super) fn drop_oldest(&mut self) -> bool {
        self.ready.pop_first().is_some() || self.waiting.pop_first().is_some()
    }

    /// Hands out the next message under `token`.
    pub(super) fn take(&mut self, now: Timestamp, token: u64, ack_deadline: Duration) -> Option<Entry> {
        while let Some(waiting) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            let entry = waiting.remove();
            self.ready.insert(entry.seq, entry);
        }
        let (_, mut entry) = self.ready.pop_first()?;
        entry.attempts = entry.attempts.saturating_add(1);
        let deadline = plus(now, ack_deadline);
        self.deadlines.insert((deadline, token));
        self.out.insert(token, (entry.clone(), deadline));
        Some(entry)
    }

    /// Takes back what is out under `token`; none if it was taken back before.
    pub(super) fn settle(&mut self, token: u64) -> Option<Entry> {
        let (entry, deadline) = self.out.remove(&token)?;
        self.deadlines.remove(&(deadline, token));
        Some(entry)
    }

    /// Lets a message wait for its next attempt.
    pub(super) fn retry(&mut self, entry: Entry, at: Timestamp) {
        self.waiting.insert((at, entry.seq), entry);
    }

    /// Takes back one message whose consumer missed its deadline.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Option<Entry> {
        let (_, token) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
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
        self.ready.retain(|_, entry| keep(entry));
        self.waiting.retain(|_, entry| keep(entry));
        let Self { out, deadlines, .. } = self;
        out.retain(|token, (entry, deadline)| {
            let kept = keep(entry);
            if !kept {
                deadlines.remove(&(*deadline, *token));
            }
            kept
        });
    }

    /// When something changes by itself.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let waiting = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        waiting.into_iter().chain(deadline).min()
    }

    /// All that is not settled, in publish order.
    pub(super) fn unsettled(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = self.ready.values().chain(self.waiting.values()).cloned().collect();
        all.extend(self.out.values().map(|(entry, _)| entry.clone()));
        all.sort_by_key(|entry| entry.seq);
        all
    }
}
