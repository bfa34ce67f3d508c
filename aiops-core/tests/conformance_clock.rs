//! The clock suite passes the bundled clocks and catches broken ones.

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{ManualClock, check_clock};
use aiops_core::{Clock, SystemClock};
use async_trait::async_trait;

/// A clock over [`ManualClock`] with one fault.
#[derive(Debug, Clone)]
struct Broken(ManualClock, Fault);

#[derive(Debug, Clone, Copy)]
enum Fault {
    WakesEarly,
    WakesOneSleeper,
    WaitsForThePast,
}

#[async_trait]
impl Clock for Broken {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        match self.1 {
            Fault::WakesEarly => {}
            Fault::WakesOneSleeper => {
                if self.0.sleepers() > 0 {
                    std::future::pending::<()>().await;
                }
                self.0.sleep_until(at).await;
            }
            Fault::WaitsForThePast => {
                tokio::task::yield_now().await;
                self.0.sleep_until(at).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_bundled_clocks_pass() {
    let clock = ManualClock::default();
    check_clock(clock.clone(), |by| clock.advance(by)).await.unwrap();
    check_clock(SystemClock, |_| {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn broken_clocks_are_caught() {
    for (fault, line) in [
        (Fault::WakesEarly, "returns once `now() >= at`"),
        (Fault::WakesOneSleeper, "cancel safe"),
        (Fault::WaitsForThePast, "at once"),
    ] {
        let clock = ManualClock::default();
        let broken = Broken(clock.clone(), fault);
        let violation = check_clock(broken, |by: Duration| clock.advance(by)).await.unwrap_err();
        assert!(violation.contract.contains(line), "{fault:?}: {violation}");
    }
}
