//! The address that Slack posts clicks to.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;

use super::{SlackClicks, SlackRefusal};

/// A click carries its whole message.
const MAX_BODY: usize = 1024 * 1024;
/// A body that takes longer is not Slack's.
const PATIENCE: Duration = Duration::from_secs(3);

impl SlackClicks {
    /// A router with `POST /slack`, to be nested: the app's interactivity address. It asks nobody but Slack's signature
    /// who it is from.
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    pub fn router(self) -> Router {
        Router::new().route("/slack", post(click)).with_state(Arc::new(self))
    }
}

async fn click(State(clicks): State<Arc<SlackClicks>>, request: Request) -> StatusCode {
    let (parts, body) = request.into_parts();
    let by = plus(clicks.clock.now(), PATIENCE);
    let body = match guarded(&*clicks.clock, by, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE,
        Err(_) => return StatusCode::REQUEST_TIMEOUT,
    };
    let header = |name| header(&parts.headers, name);
    match clicks.take(header("x-slack-request-timestamp"), header("x-slack-signature"), &body).await {
        Ok(_) => StatusCode::OK,
        Err(SlackRefusal::Unsigned | SlackRefusal::Stale | SlackRefusal::Replayed) => StatusCode::UNAUTHORIZED,
        Err(SlackRefusal::Malformed(_)) => StatusCode::BAD_REQUEST,
        // Slack shows its user an error for anything else.
        Err(SlackRefusal::NotOurs) => StatusCode::OK,
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
