//! A clock that stands still until a test moves it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::lock::lock;
use crate::virtual_clock::VirtualClock;

/// A [`VirtualClock`] that also knows who sleeps on it, so that a test can move the time without a
/// race. Clones share the time; it may be set backwards.
///
/// ```
/// use std::time::Duration;
/// use aiops_core::{Clock, testing::ManualClock};
/// let clock = ManualClock::at_second(1_746_432_300);
/// clock.advance(Duration::from_secs(30));
/// assert_eq!(clock.now().as_second(), 1_746_432_330);
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    time: VirtualClock,
    asleep: Mutex<Asleep>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Asleep {
    next: u64,
    until: BTreeMap<u64, Timestamp>,
}

impl Default for ManualClock {
    /// A clock at 2025-05-05T08:05:00Z, the edge of a fingerprint bucket.
    fn default() -> Self {
        Self::at_second(1_746_432_300)
    }
}

impl ManualClock {
    /// A clock at a time.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let shared = Shared { time: VirtualClock::new(now), asleep: Mutex::default(), changed: watch::Sender::new(()) };
        Self { shared: Arc::new(shared) }
    }

    /// A clock at a unix second, held at the ends of the representable range.
    #[must_use]
    pub fn at_second(second: i64) -> Self {
        let end = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Self::new(Timestamp::from_second(second).unwrap_or(end))
    }

    /// Sets the time, also backwards, and wakes the sleepers whose time has come.
    pub fn set(&self, now: Timestamp) {
        self.shared.time.set(now);
    }

    /// Moves the time forward and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        self.shared.time.advance(by);
    }

    /// How many sleep now: those whose time has come and those whose future was dropped do not count.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        let now = self.now();
        lock(&self.shared.asleep).until.values().filter(|until| **until > now).count()
    }

    /// When the first of the sleepers wants to be woken.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        let now = self.now();
        lock(&self.shared.asleep).until.values().filter(|until| **until > now).min().copied()
    }

    /// Waits until at least `count` sleep: then a test may move the time without a race.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut changed = self.shared.changed.subscribe();
        while self.sleepers() < count {
            // The sender lives in `self`, so the channel does not close.
            let _ = changed.changed().await;
        }
    }
}

/// Counts one sleeper for as long as its future lives.
struct Sleeper<'a> {
    shared: &'a Shared,
    id: u64,
}

impl<'a> Sleeper<'a> {
    fn new(shared: &'a Shared, until: Timestamp) -> Self {
        let mut asleep = lock(&shared.asleep);
        let id = asleep.next;
        asleep.next += 1;
        asleep.until.insert(id, until);
        drop(asleep);
        shared.changed.send_replace(());
        Self { shared, id }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        lock(&self.shared.asleep).until.remove(&self.id);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.shared.time.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let _sleeper = Sleeper::new(&self.shared, at);
        self.shared.time.sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn advancing_wakes_those_whose_time_has_come() {
        let clock = ManualClock::default();
        let in_seconds = |seconds| crate::time::plus(clock.now(), Duration::from_secs(seconds));
        let early = tokio::spawn({
            let (clock, at) = (clock.clone(), in_seconds(10));
            async move { clock.sleep_until(at).await }
        });
        let late = tokio::spawn({
            let (clock, at) = (clock.clone(), in_seconds(60));
            async move { clock.sleep_until(at).await }
        });
        clock.wait_for_sleepers(2).await;
        assert_eq!(clock.next_wake(), Some(in_seconds(10)));
        clock.advance(Duration::from_secs(10));
        early.await.unwrap();
        assert_eq!(clock.sleepers(), 1);
        late.abort();
        assert!(late.await.is_err());
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn time_may_go_backwards() {
        let clock = ManualClock::at_second(100);
        clock.set(Timestamp::from_second(50).unwrap());
        assert_eq!(clock.now().as_second(), 50);
        clock.sleep_until(Timestamp::from_second(50).unwrap()).await;
    }
}
