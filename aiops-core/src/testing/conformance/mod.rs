//! One suite for each trait that a host or a third party implements.

mod action_handler;
mod clock;
mod context_source;
mod detector;
mod event_bus;
mod incident_log;
mod notifier;
mod observer;
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
pub use self::observer::check_observer;
pub use self::probe::check_probe;
pub use self::responder::check_responder;
pub use self::state_store::{check_shared_state_store, check_state_store};
pub use self::triager::check_triager;
use super::{Violation, ensure};

/// How long a suite waits for something that must come before it calls the contract broken. Under
/// tokio's paused time the wait takes no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What [`ensure_named`] asks for.
const NAMED: &str = "the name is stable and not empty";

/// The plugin has a name, which pipelines, receipts and metrics key on.
fn ensure_named(name: &str) -> Result<(), Violation> {
    ensure(!name.is_empty(), NAMED, || "it is empty".to_owned())
}

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

/// Waits for an answer and calls the contract broken where none comes (`late`) or it is an error
/// (`failed`).
async fn answered<T, E: std::error::Error + 'static>(
    late: &'static str,
    failed: &'static str,
    what: &str,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, Violation> {
    let answer = within(PATIENCE, late, what, future).await?;
    answer.map_err(|error| Violation::new(failed, format!("{what}: {}", crate::error_chain(&error))))
}
