//! Parts that the buses over a server share: what goes over the wire, and what is counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{BusError, BusSettings, Envelope};
use crate::error::BoxError;
use crate::plugin::Boxed;
use crate::time::{plus, since};

/// `type` of the dead letter of what is no envelope.
const UNREADABLE: &str = "dev.aiops.unreadable.v1";
/// Content type of every message (CloudEvents, structured mode).
#[cfg(any(feature = "nats", feature = "kafka"))]
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// The groups that were subscribed to, by topic and name.
#[cfg(any(feature = "nats", feature = "redis"))]
pub(super) type Groups<G> =
    std::sync::Arc<std::sync::Mutex<std::collections::BTreeMap<(String, String), std::sync::Arc<G>>>>;

/// The message as bytes, unless it is larger than a message may be.
pub(super) fn to_bytes(topic: &str, message: &Envelope, settings: &BusSettings) -> Result<Vec<u8>, BusError> {
    let bytes = serde_json::to_vec(message)
        .map_err(|error| BusError::Broker { topic: topic.to_owned(), source: Box::new(error) })?;
    if bytes.len() > settings.max_bytes {
        return Err(too_large(topic, bytes.len(), settings.max_bytes));
    }
    Ok(bytes)
}

pub(super) fn too_large(topic: &str, bytes: usize, limit: usize) -> BusError {
    metrics::counter!("aiops_bus_too_large_total", "topic" => topic.to_owned()).increment(1);
    BusError::TooLarge { topic: topic.to_owned(), bytes, limit }
}

/// An envelope around what does not read as one, for the dead letter: nothing of it is lost.
pub(super) fn unreadable(topic: &str, place: &str, payload: &[u8], at: Timestamp) -> Envelope {
    metrics::counter!("aiops_bus_unreadable_total", "topic" => topic.to_owned()).increment(1);
    let data = match std::str::from_utf8(payload) {
        Ok(text) => serde_json::json!({ "text": text }),
        Err(_) => serde_json::json!({ "base64": base64(payload) }),
    };
    Envelope::new(format!("{topic}/{place}"), "/aiops/bus", UNREADABLE, at, data)
}

/// The dead letter of a message, with its reason, its group and the attempts that it had.
pub(super) fn dead_letter(message: Envelope, group: &str, reason: &str, attempts: u32) -> Envelope {
    let mut letter = message.into_dead_letter(reason, attempts);
    letter.extensions.insert("deadlettergroup".to_owned(), Value::from(group));
    letter
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = chunk.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(three >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// What became of a group's messages, under the names that the in-process bus uses.
pub(super) mod count {
    pub(crate) fn published(topic: &str) {
        metrics::counter!("aiops_bus_published_total", "topic" => topic.to_owned()).increment(1);
    }

    pub(crate) fn refused(topic: &str) {
        metrics::counter!("aiops_bus_refused_total", "topic" => topic.to_owned()).increment(1);
    }

    pub(crate) fn retried(topic: &str, group: &str) {
        metrics::counter!("aiops_bus_retried_total", "topic" => topic.to_owned(), "group" => group.to_owned())
            .increment(1);
    }

    pub(crate) fn dead_lettered(topic: &str, group: &str) {
        metrics::counter!("aiops_bus_dead_lettered_total", "topic" => topic.to_owned(), "group" => group.to_owned())
            .increment(1);
    }

    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(crate) fn letters_dropped(topic: &str, letters: u64) {
        if letters > 0 {
            metrics::counter!("aiops_bus_dead_letters_dropped_total", "topic" => topic.to_owned()).increment(letters);
        }
    }

    pub(crate) fn late(topic: &str) {
        metrics::counter!("aiops_bus_late_total", "topic" => topic.to_owned()).increment(1);
    }

    pub(crate) fn redelivered(topic: &str, group: &str) {
        metrics::counter!("aiops_bus_redelivered_total", "topic" => topic.to_owned(), "group" => group.to_owned())
            .increment(1);
    }

    /// Entries that the server removed before a group settled them.
    #[cfg(feature = "redis")]
    pub(crate) fn trimmed(topic: &str, group: &str, entries: u64) {
        if entries > 0 {
            tracing::error!(topic, group, entries, "the server removed messages that were not settled");
            metrics::counter!("aiops_bus_trimmed_total", "topic" => topic.to_owned(), "group" => group.to_owned())
                .increment(entries);
        }
    }
}

/// Waits for work that is on its way; for ever where there is none. Cancel safe.
pub(super) async fn finished<T>(work: &mut Option<Boxed<'static, T>>) -> T {
    let Some(running) = work else { return std::future::pending().await };
    let output = running.await;
    *work = None;
    output
}

/// Whether the server answers, as a gauge, and how often it came back.
#[derive(Debug)]
pub(super) struct Link {
    bus: &'static str,
    down: AtomicBool,
}

impl Link {
    pub(super) fn new(bus: &'static str) -> Self {
        metrics::gauge!("aiops_bus_connected", "bus" => bus).set(1.0);
        Self { bus, down: AtomicBool::new(false) }
    }

    pub(super) fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        if !self.down.swap(true, Ordering::Relaxed) {
            tracing::warn!(bus = self.bus, error = crate::error::error_chain(error), "the server of the bus is gone");
            metrics::gauge!("aiops_bus_connected", "bus" => self.bus).set(0.0);
        }
    }

    pub(super) fn worked(&self) {
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::Relaxed) {
            metrics::counter!("aiops_bus_reconnects_total", "bus" => self.bus).increment(1);
            metrics::gauge!("aiops_bus_connected", "bus" => self.bus).set(1.0);
        }
    }
}

/// Failures in a row of something that is tried until a deadline.
#[derive(Debug)]
pub(super) struct Trying {
    began: Timestamp,
    failures: u32,
}

impl Trying {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { began: now, failures: 0 }
    }

    /// When to try again; the error where the deadline is over by then.
    pub(super) fn again(
        &mut self,
        topic: &str,
        source: BoxError,
        now: Timestamp,
        settings: &BusSettings,
    ) -> Result<Timestamp, BusError> {
        if self.over(now, settings) {
            return Err(BusError::Unreachable { topic: topic.to_owned(), waited: self.waited(now), source });
        }
        Ok(self.later(now, settings).min(plus(self.began, settings.publish_deadline)))
    }

    /// When to try again, whatever the deadline.
    pub(super) fn later(&mut self, now: Timestamp, settings: &BusSettings) -> Timestamp {
        /// A server that restarts is back within a second or two.
        const LONGEST: Duration = Duration::from_secs(5);
        self.failures = self.failures.saturating_add(1);
        // Of 50 ms, doubling: as if an attempt had failed, but on a connection's scale.
        let wait = Duration::from_millis(50).saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        plus(now, wait.min(settings.publish_deadline))
    }

    pub(super) fn over(&self, now: Timestamp, settings: &BusSettings) -> bool {
        since(now, self.began) >= settings.publish_deadline
    }

    pub(super) fn waited(&self, now: Timestamp) -> Duration {
        since(now, self.began)
    }
}

/// How far a consumer group is, as `measure` of a bus tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStatus {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Messages that were not given out yet.
    pub lag: u64,
    /// Messages that are given out and not settled.
    pub pending: u64,
    /// Messages wait and none was given out for [`stall_after`](crate::BusSettings::stall_after).
    pub stalled: bool,
}

/// Notices that a group makes no progress although messages wait.
#[derive(Debug, Default)]
pub(super) struct StallWatch {
    /// What was given out last, and since when.
    seen: Option<(String, Timestamp)>,
    stalled: bool,
}

impl StallWatch {
    /// `position` changes with every message that is given out.
    pub(super) fn observe(
        &mut self,
        (topic, group): (&str, &str),
        position: String,
        (lag, pending): (u64, u64),
        now: Timestamp,
        stall_after: Duration,
    ) -> GroupStatus {
        let still = matches!(&self.seen, Some((seen, _)) if *seen == position) && lag > 0;
        if !still {
            self.seen = Some((position, now));
        }
        let stalled = self.seen.as_ref().is_some_and(|(_, at)| lag > 0 && since(now, *at) >= stall_after);
        if stalled && !self.stalled {
            tracing::warn!(topic, group, lag, pending, "messages wait and none is given out");
        }
        self.stalled = stalled;
        // Counts of messages are far below 2^52, where every whole number has an f64 of its own.
        metrics::gauge!("aiops_bus_lag", "topic" => topic.to_owned(), "group" => group.to_owned()).set(lag as f64);
        metrics::gauge!("aiops_bus_pending", "topic" => topic.to_owned(), "group" => group.to_owned())
            .set(pending as f64);
        metrics::gauge!("aiops_bus_stalled", "topic" => topic.to_owned(), "group" => group.to_owned())
            .set(if stalled { 1.0 } else { 0.0 });
        GroupStatus { topic: topic.to_owned(), group: group.to_owned(), lag, pending, stalled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_does_not_read_is_kept_whole() {
        assert_eq!(unreadable("t", "1", b"{\"a\":", at(0)).data, serde_json::json!({"text": "{\"a\":"}));
        for (bytes, text) in [(&b"\xff"[..], "/w=="), (b"\xff\xfe", "//4="), (b"\xff\xfe\xfd", "//79"), (b"", "")] {
            assert_eq!(base64(bytes), text);
        }
        assert_eq!(unreadable("t", "1", b"\xff\xfe\xfd", at(0)).data, serde_json::json!({"base64": "//79"}));
    }

    /// nats-server #4112: a limit is reached and consumers wait for ever, with nothing to be seen.
    #[test]
    fn row_61_a_group_that_is_given_nothing_is_told_within_a_minute() {
        let (mut watch, after) = (StallWatch::default(), Duration::from_secs(30));
        let mut seen = |position: &str, lag, second| {
            watch.observe(("t", "g"), position.to_owned(), (lag, 2), at(second), after).stalled
        };
        assert!(!seen("7", 3, 0));
        assert!(!seen("7", 3, 29));
        assert!(seen("7", 4, 30));
        assert!(!seen("8", 3, 45), "it goes on");
        assert!(!seen("8", 0, 90), "nothing waits");
        assert!(!seen("8", 1, 95), "what waits has just come");
    }

    #[test]
    fn tries_again_until_the_deadline() {
        let settings = BusSettings::default().publish_deadline(Duration::from_secs(1));
        let mut trying = Trying::new(at(0));
        let (mut now, mut tries) = (at(0), 0);
        let error = loop {
            match trying.again("t", "gone".into(), now, &settings) {
                Ok(at) => now = at,
                Err(error) => break error,
            }
            tries += 1;
        };
        assert_eq!(tries, 4, "after 100, 300, 700 and 1,000 ms");
        assert!(matches!(error, BusError::Unreachable { waited, .. } if waited == Duration::from_secs(1)));
    }
}
