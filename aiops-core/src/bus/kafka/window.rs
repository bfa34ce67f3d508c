//! The messages of one group that this process has: which are out, which come again, and up to where each
//! partition is done.
//!
//! Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::bus::Envelope;
use crate::bus::queue::{Entry, Queue};

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// A message that goes to the dead letters.
#[derive(Debug)]
pub(super) struct Burial {
    pub(super) entry: Entry,
    pub(super) reason: String,
    pub(super) attempts: u32,
}

#[derive(Debug, Default)]
struct Partition {
    /// Offsets that are not settled.
    unsettled: BTreeSet<i64>,
    /// The offset after the last that came.
    next: i64,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) queue: Queue,
    /// By the number of an entry.
    places: BTreeMap<u64, Place>,
    partitions: BTreeMap<i32, Partition>,
    pub(super) burials: VecDeque<Burial>,
    /// Numbers of entries and tokens of deliveries, never used twice.
    number: u64,
    /// Messages that were given out.
    pub(super) given: u64,
}

impl Window {
    pub(super) fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Messages that are not settled.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The offset after the last that came from a partition.
    pub(super) fn next_of(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition).map(|partition| partition.next)
    }

    /// A message came: to be given out, or where it does not read, to be buried with the reason.
    pub(super) fn push(&mut self, place: Place, envelope: Envelope, unfit: Option<String>) {
        if self.next_of(place.partition).is_some_and(|next| place.offset < next) {
            // The partition begins anew: what is here of it is not what the server has under these offsets.
            self.revoke(place.partition);
        }
        let partition = self.partitions.entry(place.partition).or_default();
        partition.unsettled.insert(place.offset);
        partition.next = place.offset + 1;
        let seq = self.number();
        self.places.insert(seq, place);
        let envelope = Arc::new(envelope);
        match unfit {
            None => self.queue.push(seq, envelope),
            Some(reason) => {
                let entry = Entry { seq, envelope, attempts: 1 };
                self.burials.push_back(Burial { entry, reason, attempts: 1 });
            }
        }
    }

    /// Hands out the next message under a token.
    pub(super) fn take(&mut self, now: Timestamp, ack_deadline: Duration) -> Option<(u64, Entry)> {
        let token = self.number();
        let entry = self.queue.take(now, token, ack_deadline)?;
        self.given += 1;
        Some((token, entry))
    }

    /// The message is done; the place up to which its partition is done, where that moved. None of it once the
    /// partition was taken away.
    pub(super) fn settle(&mut self, entry: &Entry) -> Option<Place> {
        let place = self.places.remove(&entry.seq)?;
        let partition = self.partitions.get_mut(&place.partition)?;
        let before = partition.unsettled.first().copied();
        partition.unsettled.remove(&place.offset);
        if before != Some(place.offset) {
            return None;
        }
        let offset = partition.unsettled.first().copied().unwrap_or(partition.next);
        Some(Place { partition: place.partition, offset })
    }

    /// Whether a message is still this process's.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        self.places.contains_key(&entry.seq)
    }

    /// Another process gets the partition: nothing of it is ours.
    pub(super) fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.places.retain(|_, place| place.partition != partition);
        let Self { queue, places, burials, .. } = self;
        queue.retain(|entry| places.contains_key(&entry.seq));
        burials.retain(|burial| places.contains_key(&burial.entry.seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(window: &mut Window, partition: i32, offset: i64) {
        let envelope = Envelope::new(offset.to_string(), "/t", "t.v1", Timestamp::UNIX_EPOCH, ().into());
        window.push(Place { partition, offset }, envelope, None);
    }

    #[test]
    fn a_partition_is_done_up_to_its_first_unsettled_message() {
        let (mut window, minute) = (Window::default(), Duration::from_secs(60));
        for offset in 5..8 {
            came(&mut window, 0, offset);
        }
        came(&mut window, 1, 9);
        let taken: Vec<_> = std::iter::from_fn(|| window.take(Timestamp::UNIX_EPOCH, minute)).collect();
        let mut settle = |place: usize| {
            let (token, _) = &taken[place];
            let entry = window.queue.settle(*token).unwrap();
            window.settle(&entry).map(|place| (place.partition, place.offset))
        };
        assert_eq!(settle(1), None, "the one before it is out");
        assert_eq!(settle(0), Some((0, 7)));
        assert_eq!(settle(3), Some((1, 10)));
        assert_eq!(settle(2), Some((0, 8)));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn what_is_out_when_its_partition_goes_is_settled_by_nobody_here() {
        let (mut window, minute) = (Window::default(), Duration::from_secs(60));
        came(&mut window, 0, 1);
        came(&mut window, 0, 2);
        came(&mut window, 1, 1);
        let (token, entry) = window.take(Timestamp::UNIX_EPOCH, minute).unwrap();
        window.revoke(0);
        assert!(window.queue.settle(token).is_none() && !window.has(&entry));
        assert_eq!((window.len(), window.next_of(0)), (1, None));
        // It comes back, from its last commit on.
        came(&mut window, 0, 1);
        assert_eq!((window.len(), window.next_of(0)), (2, Some(2)));
        // The server lost the partition, which begins anew.
        let (token, _) = window.take(Timestamp::UNIX_EPOCH, minute).unwrap();
        let (other, _) = window.take(Timestamp::UNIX_EPOCH, minute).unwrap();
        came(&mut window, 0, 0);
        assert_eq!((window.len(), window.next_of(0)), (2, Some(1)));
        assert_eq!([token, other].map(|token| window.queue.settle(token).is_some()), [true, false]);
    }
}
