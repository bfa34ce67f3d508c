//! Whether this process serves. Nobody is asked who they are: a probe has no name, and the answers tell nothing.

use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::{plus, since};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Mutex;

use super::gate::{Answer, Problem, answered, ok};
use super::{Inner, Shared};

/// A store that takes longer cannot decide either.
const PATIENCE: Duration = Duration::from_secs(2);
/// The store is asked once in so long, however many ask: whoever reaches the port may.
const FRESH: Duration = Duration::from_secs(1);

/// What the store said last.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Timestamp, bool)>>);

impl Inner {
    async fn is_ready(&self) -> bool {
        let mut last = self.readiness.0.lock().await;
        let now = self.clock.now();
        if let Some((at, ready)) = *last
            && since(now, at).max(since(at, now)) < FRESH
        {
            return ready;
        }
        let ready = matches!(guarded(&*self.clock, plus(now, PATIENCE), self.store.kill_switch()).await, Ok(Ok(_)));
        *last = Some((self.clock.now(), ready));
        ready
    }
}

pub(super) async fn health() -> Response {
    answered(StatusCode::OK, &json!({"status": "ok"}))
}

/// The store answers: decisions can be written down.
pub(super) async fn ready(State(inner): State<Shared>) -> Answer {
    if inner.is_ready().await {
        ok(&json!({"status": "ok"}))
    } else {
        Err(Problem::unavailable("the store does not answer"))
    }
}
