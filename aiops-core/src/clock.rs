//! Time as something that a host hands in.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

/// Tells the time and waits for it.
///
/// # Contract
/// - `now` never blocks and is cheap; it may go backwards when the wall clock is set back.
/// - `sleep_until` returns once `now() >= at`, at once when that holds already. It is cancel safe:
///   dropping the future has no effect.
/// - Everything that waits in these crates (deadlines, locks, retries, timers) does so through the
///   clock it was given, so that tests and backtests run the production code in virtual time.
///
/// # Errors
/// None: a clock that cannot tell the time has no useful answer.
///
/// # Implementing
/// ```
/// #[derive(Debug)]
/// struct Frozen(jiff::Timestamp);
///
/// #[async_trait::async_trait]
/// impl aiops_core::Clock for Frozen {
///     fn now(&self) -> jiff::Timestamp {
///         self.0
///     }
///     async fn sleep_until(&self, at: jiff::Timestamp) {
///         if at > self.0 {
///             std::future::pending::<()>().await;
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Waits until `now() >= at`.
    async fn sleep_until(&self, at: Timestamp);
}

/// The system's wall clock; waits on tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = crate::time::since(at, self.now());
            if left.is_zero() {
                return;
            }
            // At most a minute at a time, so that a wall clock set forward is noticed.
            tokio::time::sleep(left.min(std::time::Duration::from_secs(60))).await;
        }
    }
}

macro_rules! forward_clock {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Clock + ?Sized> Clock for $pointer<T> {
            fn now(&self) -> Timestamp {
                (**self).now()
            }

            async fn sleep_until(&self, at: Timestamp) {
                (**self).sleep_until(at).await;
            }
        }
    };
}
forward_clock!(Arc);
forward_clock!(Box);
