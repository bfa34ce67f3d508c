//! One suite for each trait that a host or a third party implements.

mod action_handler;
mod clock;
mod context_source;
mod detector;
mod event_bus;
mod incident_log;
mod notifier;
mod probe;
mod responder;
mod state_store;
mod triager;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

pub use self::action_handler::{ActionCase, check_action_handler};
pub use self::clock::check_clock;
pub use self::context_source::check_context_source;
pub use self::detector::check_detector;
pub use self::event_bus::{BusTerms, check_event_bus};
pub use self::incident_log::check_incident_log;
pub use self::notifier::check_notifier;
pub use self::probe::check_probe;
pub use self::responder::check_responder;
pub use self::state_store::check_state_store;
pub use self::triager::check_triager;
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
