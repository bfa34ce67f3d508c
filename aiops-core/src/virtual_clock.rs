//! A clock that stands still until someone moves it: backtests and replays run on it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::lock::lock;

/// Virtual time: [`set`](Self::set) and [`advance`](Self::advance) wake whoever sleeps until then.
/// Clones share the time.
///
/// ```
/// use aiops_core::{Clock, VirtualClock, jiff::Timestamp};
/// let clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
/// clock.clone().advance(std::time::Duration::from_secs(60));
/// assert_eq!(clock.now().as_second(), 60);
/// ```
#[derive(Debug, Clone)]
pub struct VirtualClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    now: Mutex<Timestamp>,
    moved: Notify,
}

impl VirtualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { shared: Arc::new(Shared { now: Mutex::new(now), moved: Notify::new() }) }
    }

    /// Moves the time to `now`; backwards is allowed, as a wall clock does it too.
    pub fn set(&self, now: Timestamp) {
        *lock(&self.shared.now) = now;
        self.shared.moved.notify_waiters();
    }

    /// Moves the time on.
    pub fn advance(&self, by: std::time::Duration) {
        {
            let mut now = lock(&self.shared.now);
            *now = crate::time::plus(*now, by);
        }
        self.shared.moved.notify_waiters();
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        *lock(&self.shared.now)
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            // Listening starts before the look at the time, so that no move is missed.
            let moved = self.shared.moved.notified();
            if self.now() >= at {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn wakes_a_sleeper_at_its_time_and_not_before() {
        let clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
        let at = crate::time::plus(Timestamp::UNIX_EPOCH, Duration::from_secs(10));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(at).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.set(at);
        sleeper.await.unwrap();
    }
}
