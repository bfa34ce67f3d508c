//! Work in lanes: one piece of a lane at a time and in order, lanes beside each other.

use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub(super) struct Lanes<K, T> {
    lanes: BTreeMap<K, Lane<T>>,
    busy: usize,
    limit: usize,
}

#[derive(Debug)]
struct Lane<T> {
    work: VecDeque<T>,
    busy: bool,
}

impl<K: Ord + Clone, T> Lanes<K, T> {
    /// At most `limit` lanes at work at a time.
    pub(super) fn new(limit: usize) -> Self {
        Self { lanes: BTreeMap::new(), busy: 0, limit }
    }

    pub(super) fn push(&mut self, key: K, work: T) {
        self.lanes.entry(key).or_insert_with(|| Lane { work: VecDeque::new(), busy: false }).work.push_back(work);
    }

    /// The next piece that may start; its lane is busy until [`done`](Self::done).
    pub(super) fn start(&mut self) -> Option<(K, T)> {
        if self.busy >= self.limit {
            return None;
        }
        let (key, lane) = self.lanes.iter_mut().find(|(_, lane)| !lane.busy && !lane.work.is_empty())?;
        lane.busy = true;
        self.busy += 1;
        lane.work.pop_front().map(|work| (key.clone(), work))
    }

    /// The lane's piece ended.
    pub(super) fn done(&mut self, key: &K) {
        if let Some(lane) = self.lanes.get_mut(key) {
            if std::mem::take(&mut lane.busy) {
                self.busy -= 1;
            }
            if lane.work.is_empty() {
                self.lanes.remove(key);
            }
        }
    }

    /// Pieces that have not started.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &T> {
        self.lanes.values().flat_map(|lane| lane.work.iter())
    }

    /// Takes out the pieces that have not started.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let waiting = self.lanes.values_mut().flat_map(|lane| lane.work.drain(..)).collect();
        self.lanes.retain(|_, lane| lane.busy);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_keeps_its_order_and_lanes_do_not_wait_for_each_other() {
        let mut lanes = Lanes::new(2);
        for work in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
            lanes.push(work.0, work.1);
        }
        assert_eq!(lanes.start(), Some(("a", 1)));
        assert_eq!(lanes.start(), Some(("b", 3)));
        assert_eq!(lanes.start(), None);
        lanes.done(&"a");
        assert_eq!(lanes.start(), Some(("a", 2)));
        lanes.done(&"b");
        assert_eq!(lanes.drain(), [4]);
        lanes.done(&"a");
        assert_eq!(lanes.start(), None);
    }
}
