//! What the buses over a server have in common.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// Longer than a group's wait, its context and its triage take together.
const ACK_DEADLINE: Duration = Duration::from_secs(300);
/// Past this a failure is the message's, not the moment's.
const MAX_ATTEMPTS: u32 = 5;
/// How long back-pressure or a server that is gone may hold a publisher.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);
/// Wait after the first failed attempt; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// No wait between attempts is longer by itself.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Unsettled messages of one topic: at 1 KiB a message, about 100 MiB on the server.
const CAPACITY: usize = 100_000;
/// Dead letters of one topic that are kept.
const DEAD_LETTERS: usize = 10_000;
/// What NATS and Kafka take by default, less about 48 kB for headers and their framing.
const MAX_BYTES: usize = 1_000_000;
/// Messages of one group that its consumers hold at once.
const MAX_UNSETTLED: usize = 1_000;
/// Messages that wait for so long without one being given out are a stall.
const STALL_AFTER: Duration = Duration::from_secs(30);
/// Processes that can share the work of one group on Kafka.
#[cfg(feature = "kafka")]
const PARTITIONS: i32 = 6;
/// As the broker is set (Kafka 2.4 and later).
#[cfg(feature = "kafka")]
const BROKERS_DEFAULT: i32 = -1;

/// Settings of a bus over NATS, Redis or Kafka. Every process of one deployment takes the same.
///
/// ```
/// use std::time::Duration;
/// use aiops_core::BusSettings;
/// let settings = BusSettings::default().prefix("eu.").ack_deadline(Duration::from_secs(600)).max_attempts(3);
/// assert!(format!("{settings:?}").contains("eu."));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct BusSettings {
    pub(super) prefix: String,
    pub(super) ack_deadline: Duration,
    pub(super) max_attempts: u32,
    pub(super) publish_deadline: Duration,
    pub(super) first_backoff: Duration,
    pub(super) longest_backoff: Duration,
    pub(super) capacity: usize,
    pub(super) dead_letters: usize,
    pub(super) max_bytes: usize,
    pub(super) max_unsettled: usize,
    pub(super) stall_after: Duration,
    #[cfg(feature = "kafka")]
    pub(super) partitions: i32,
    #[cfg(feature = "kafka")]
    pub(super) replication: i32,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            ack_deadline: ACK_DEADLINE,
            max_attempts: MAX_ATTEMPTS,
            publish_deadline: PUBLISH_DEADLINE,
            first_backoff: FIRST_BACKOFF,
            longest_backoff: LONGEST_BACKOFF,
            capacity: CAPACITY,
            dead_letters: DEAD_LETTERS,
            max_bytes: MAX_BYTES,
            max_unsettled: MAX_UNSETTLED,
            stall_after: STALL_AFTER,
            #[cfg(feature = "kafka")]
            partitions: PARTITIONS,
            #[cfg(feature = "kafka")]
            replication: BROKERS_DEFAULT,
            clock: Arc::new(SystemClock),
        }
    }
}

impl BusSettings {
    /// Begins the name of every subject, stream and topic on the server (default: nothing), so that several
    /// deployments share one.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a consumer may take before its message comes again (default 5 min, at least 1 ms).
    pub fn ack_deadline(mut self, deadline: Duration) -> Self {
        self.ack_deadline = deadline.max(Duration::from_millis(1));
        self
    }

    /// Attempts before a message becomes a dead letter (default 5, at least 1).
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// How long `publish` waits for room, or for a server that is gone (default 30 s). `next` tells its caller
    /// when it has not reached the server for as long.
    pub fn publish_deadline(mut self, deadline: Duration) -> Self {
        self.publish_deadline = deadline;
        self
    }

    /// The least wait after a failed attempt, doubling up to `longest` (default 1 s up to 1 min). A nak that asks
    /// for less waits for as long, so that no failure of a moment uses up all attempts.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_backoff, self.longest_backoff) = (first, longest);
        self
    }

    /// Messages of one topic that some group has not settled, before `publish` waits (default 100,000, at
    /// least 1). Kafka has no such bound: it keeps what `retention.ms` says.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages.max(1);
        self
    }

    /// Dead letters of one topic that are kept; the oldest go first (default 10,000, at least 1). Kafka keeps
    /// them by `retention.ms`.
    pub fn dead_letters(mut self, letters: usize) -> Self {
        self.dead_letters = letters.max(1);
        self
    }

    /// Bytes that a message may have as JSON (default 1,000,000). The server must take as many: `max_payload` of
    /// NATS, `message.max.bytes` of Kafka.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Messages of one group that are given out at once: on NATS to all its consumers together, on Kafka to those of
    /// one process (default 1,000, at least 1). Redis has no such bound.
    pub fn max_unsettled(mut self, messages: usize) -> Self {
        self.max_unsettled = messages.max(1);
        self
    }

    /// Messages that wait for so long, while none is given out, are told as a stall (default 30 s).
    pub fn stall_after(mut self, after: Duration) -> Self {
        self.stall_after = after;
        self
    }

    /// Partitions and replication factor of the Kafka topics that the bus creates (default 6, and what the broker is
    /// set to). No more processes than partitions share the work of a group.
    #[cfg(feature = "kafka")]
    #[cfg_attr(docsrs, doc(cfg(feature = "kafka")))]
    pub fn topics(mut self, partitions: u16, replication: u16) -> Self {
        (self.partitions, self.replication) = (i32::from(partitions.max(1)), i32::from(replication.max(1)));
        self
    }

    /// Another clock for the waits of this process; the server keeps its own time.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The wait before the next attempt: what the consumer asks for, and no less than the back-off.
    pub(super) fn wait(&self, asked: Duration, attempts: u32) -> Duration {
        asked.max(self.backoff_after(attempts))
    }

    /// The back-off after so many failures in a row.
    pub(super) fn backoff_after(&self, failures: u32) -> Duration {
        // 2^20 s are 12 days: longer than any longest back-off.
        self.first_backoff.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.longest_backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kyma #13625: a nak without delay must not use up all attempts at once.
    #[test]
    fn row_63_attempts_lie_apart_whatever_a_consumer_asks_for() {
        let settings = BusSettings::default().backoff(Duration::from_secs(1), Duration::from_secs(10));
        let waits: Vec<u64> = (1..=6).map(|attempt| settings.wait(Duration::ZERO, attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(settings.wait(Duration::from_secs(30), 1), Duration::from_secs(30));
        assert_eq!(settings.backoff_after(u32::MAX), Duration::from_secs(10));
    }
}
