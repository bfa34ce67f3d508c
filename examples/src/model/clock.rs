//! Time that goes on while a model is asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{Clock, VirtualClock, time};
use async_trait::async_trait;
use tokio::time::Instant;

/// A replay's time, which stands still while a triager works, and goes on with the machine's until the replay moves it
/// again: deadlines and waits between attempts hold for a model that takes real time.
#[derive(Debug, Clone)]
pub struct RunningClock {
    replay: VirtualClock,
    /// The replay's time, and when it was first seen.
    seen: Arc<Mutex<(Timestamp, Instant)>>,
}

impl RunningClock {
    /// Over the replay's clock.
    #[must_use]
    pub fn new(replay: VirtualClock) -> Self {
        let seen = Arc::new(Mutex::new((replay.now(), Instant::now())));
        Self { replay, seen }
    }
}

#[async_trait]
impl Clock for RunningClock {
    fn now(&self) -> Timestamp {
        let at = self.replay.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != at {
            *seen = (at, Instant::now());
        }
        time::plus(at, seen.1.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        /// The replay may move in between.
        const AT_ONCE: Duration = Duration::from_secs(1);
        loop {
            let left = time::since(at, self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(AT_ONCE)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_while_the_replay_stands_still_and_follows_it_when_it_moves() {
        let replay = VirtualClock::new(Timestamp::UNIX_EPOCH);
        let clock = RunningClock::new(replay.clone());
        let second = |second| Timestamp::from_second(second).unwrap();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now(), second(7));
        replay.set(second(300));
        assert_eq!(clock.now(), second(300), "not 307");
        clock.sleep_until(second(305)).await;
        assert_eq!(clock.now(), second(305));
        assert_eq!(replay.now(), second(300));
    }
}
