//! Whether this process serves. Nobody is asked who they are: a probe has no name, and the answers tell nothing.

use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::Shared;
use super::gate::{Answer, Problem, answered, ok};

/// A store that takes longer cannot decide either.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn health() -> Response {
    answered(StatusCode::OK, &json!({"status": "ok"}))
}

/// The store answers: decisions can be written down.
pub(super) async fn ready(State(inner): State<Shared>) -> Answer {
    let by = plus(inner.clock.now(), PATIENCE);
    match guarded(&*inner.clock, by, inner.store.kill_switch()).await {
        Ok(Ok(_)) => ok(&json!({"status": "ok"})),
        _ => Err(Problem::unavailable("the store does not answer")),
    }
}
