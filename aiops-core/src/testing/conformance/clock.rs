//! The suite of [`Clock`].

use std::sync::Arc;
use std::time::Duration;

use super::{PATIENCE, poll_once, within};
use crate::clock::Clock;
use crate::testing::{Violation, ensure};
use crate::time::{minus, plus};

const RETURNS: &str = "`sleep_until` returns once `now() >= at`";
const AT_ONCE: &str = "`sleep_until` returns at once when `now() >= at` holds already";
const CANCEL: &str = "`sleep_until` is cancel safe";

/// How far the suite moves the time; small, since a real clock really waits.
const STEP: Duration = Duration::from_millis(5);

/// Checks a clock. `pass` makes the given time pass on it; for a real clock it does nothing.
///
/// # Errors
/// The first line of the contract of [`Clock`] that does not hold.
pub async fn check_clock<C: Clock>(clock: C, pass: impl Fn(Duration)) -> Result<(), Violation> {
    let clock = Arc::new(clock);
    for at in [clock.now(), minus(clock.now(), Duration::from_secs(3_600))] {
        let ready = poll_once(clock.sleep_until(at)).await.is_ready();
        ensure(ready, AT_ONCE, || format!("asked for {at}, which has come, and it waits"))?;
    }

    let far = plus(clock.now(), Duration::from_secs(86_400));
    let early = poll_once(clock.sleep_until(far)).await.is_ready();
    ensure(!early, RETURNS, || format!("asked for {far}, a day ahead, and it returned"))?;

    // Two at a time, after a dropped one.
    let at = plus(clock.now(), STEP);
    let sleep = || {
        let clock = Arc::clone(&clock);
        tokio::spawn(async move {
            clock.sleep_until(at).await;
            clock.now()
        })
    };
    let (one, two) = (sleep(), sleep());
    // Let both begin to wait before the time moves.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    pass(STEP);
    for sleeper in [one, two] {
        let woken = within(PATIENCE, CANCEL, "a sleeper whose time has come", sleeper).await?;
        let now = woken.map_err(|error| Violation::new(RETURNS, format!("a sleeper ended with {error}")))?;
        ensure(now >= at, RETURNS, || format!("asked for {at}, returned at {now}"))?;
    }
    Ok(())
}
