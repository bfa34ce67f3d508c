//! One suite for each trait that a host or a third party implements.

mod clock;
mod probe;
mod state_store;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

pub use self::clock::check_clock;
pub use self::probe::check_probe;
pub use self::state_store::check_state_store;
use super::Violation;

/// How long a suite waits for something that must come before it calls the contract broken. Under
/// tokio's paused time the wait takes no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Polls once and drops: what happens to a future whose caller ran out of time.
async fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Waits, and calls the contract broken where nothing comes.
async fn within<F: Future>(
    patience: Duration,
    contract: &'static str,
    what: &str,
    future: F,
) -> Result<F::Output, Violation> {
    tokio::time::timeout(patience, future)
        .await
        .map_err(|_| Violation::new(contract, format!("{what} did not answer within {patience:?}")))
}
