//! Counts of fingerprints per window of event time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;

use super::fingerprint::LineFingerprint;
use super::hash::HashedMap;
use super::miner::dropped;

/// Length of a window in seconds (field report, section 4).
pub(super) const WINDOW: i64 = 300;
/// Windows that are kept: an hour, so that 15 minutes can be held against those before.
const KEPT: usize = 12;

/// Per window, the lines of each fingerprint.
#[derive(Debug, Default)]
pub(super) struct Windows {
    pub(super) counts: BTreeMap<i64, HashedMap<u64, u64>>,
}

/// Which window a time is in.
fn window(at: Timestamp) -> i64 {
    at.as_second().div_euclid(WINDOW)
}

impl Windows {
    /// Counts lines at a time, in at most `capacity` fingerprints a window. Late lines count in their own
    /// window while that is kept.
    pub(super) fn add(&mut self, fingerprint: LineFingerprint, at: i64, lines: u64, capacity: usize) {
        let full = self.counts.len() >= KEPT;
        let oldest = self.counts.first_key_value().map(|(window, _)| *window);
        let window = match self.counts.entry(at) {
            Entry::Occupied(window) => window.into_mut(),
            Entry::Vacant(_) if full && oldest.is_some_and(|oldest| at < oldest) => return dropped("late_line", lines),
            Entry::Vacant(window) => window.insert(HashedMap::default()),
        };
        if window.len() >= capacity && !window.contains_key(&fingerprint.0) {
            dropped("window_count", lines);
        } else {
            *window.entry(fingerprint.0).or_default() += lines;
        }
        if self.counts.len() > KEPT {
            self.counts.pop_first();
        }
    }

    pub(super) fn observe(&mut self, fingerprint: LineFingerprint, at: Timestamp, capacity: usize) {
        self.add(fingerprint, window(at), 1, capacity);
    }

    /// Lines of each fingerprint in the window of a time; none where no line of it was counted.
    pub(super) fn of(&self, at: Timestamp) -> impl Iterator<Item = (LineFingerprint, u64)> {
        let counts = self.counts.get(&window(at)).into_iter().flatten();
        counts.map(|(fingerprint, count)| (LineFingerprint(*fingerprint), *count))
    }
}
