//! How far a consumer fetches ahead.

use std::time::Duration;

use jiff::Timestamp;

use crate::time::since;

/// Messages that are fetched at once from a server, at most.
const MOST_FETCHED: usize = 256;

/// How many messages are fetched at once: one, until the consumer proves to be fast. What is fetched and
/// not given out yet is already on its ack deadline, and no other consumer can have it.
#[derive(Debug)]
pub(super) struct Prefetch {
    size: usize,
    since: Option<Timestamp>,
}

impl Prefetch {
    pub(super) fn new() -> Self {
        Self { size: 1, since: None }
    }

    /// The next fetch begins, since the one before is used up.
    pub(super) fn next(&mut self, now: Timestamp, ack_deadline: Duration) -> usize {
        if let Some(began) = self.since {
            let took = since(now, began);
            if took <= ack_deadline / 100 {
                self.size = (self.size * 2).min(MOST_FETCHED);
            } else if took > ack_deadline / 10 {
                self.size = 1;
            }
        }
        self.since = None;
        self.size
    }

    /// The first message of the fetch is there.
    pub(super) fn arrived(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_fast_consumer_fetches_more_and_a_slow_one_a_single_message() {
        let (minute, mut prefetch) = (Duration::from_secs(60), Prefetch::new());
        let mut sizes = vec![prefetch.next(at(0), minute)];
        for _ in 0..9 {
            prefetch.arrived(at(0));
            sizes.push(prefetch.next(at(0), minute));
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256]);
        prefetch.arrived(at(10));
        prefetch.arrived(at(15));
        assert_eq!(prefetch.next(at(15), minute), 256, "neither fast nor slow: as before");
        prefetch.arrived(at(20));
        assert_eq!(prefetch.next(at(27), minute), 1, "counted from the first that arrived");
    }
}
