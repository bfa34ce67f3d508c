//! Slack's Web API: three methods, and what they answer.

use serde::Deserialize;
use serde_json::Value;

use crate::hook::{Hook, HookError, Options, Secret, words};

pub(super) const URL: &str = "https://slack.com/api";

/// Where a message is.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) channel: String,
    pub(super) ts: String,
}

/// The methods, each a hook of its own.
#[derive(Debug)]
pub(super) struct Api {
    post: Hook,
    update: Hook,
    whisper: Hook,
}

impl Api {
    /// # Errors
    /// Every fault; none shows the token.
    pub(super) fn new(mut options: Options, token: &str) -> Result<Self, Vec<String>> {
        if token.is_empty() {
            return Err(vec!["there is no bot token".to_owned()]);
        }
        options.headers.push(("authorization".to_owned(), Secret(format!("Bearer {token}"))));
        let base = options.url.0.trim_end_matches('/').to_owned();
        let hook = |method: &str| {
            let mut options = options.clone();
            options.url = Secret(format!("{base}/{method}"));
            Hook::new(options, vec![Secret(token.to_owned())])
        };
        Ok(Self { post: hook("chat.postMessage")?, update: hook("chat.update")?, whisper: hook("chat.postEphemeral")? })
    }

    pub(super) async fn post(&self, message: &Value) -> Result<Sent, HookError> {
        self.post.post(&message.to_string(), read).await
    }

    pub(super) async fn update(&self, message: &Value) -> Result<Sent, HookError> {
        self.update.post(&message.to_string(), read).await
    }

    /// To one person in a channel.
    pub(super) async fn whisper(&self, message: &Value) -> Result<Sent, HookError> {
        self.whisper.post(&message.to_string(), read).await
    }
}

/// Whether an edit failed since the message can no longer be edited.
pub(super) fn is_gone(error: &str) -> bool {
    matches!(error, "message_not_found" | "cant_update_message" | "edit_window_closed")
}

#[derive(Deserialize)]
struct Answered {
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    ts: String,
}

/// Slack says what is wrong with 200: `{"ok": false, "error": "channel_not_found"}`.
fn read(status: u16, body: &[u8]) -> Result<Sent, HookError> {
    let Ok(answered) = serde_json::from_slice::<Answered>(body) else {
        let reason = words(body);
        return Err(if (200..300).contains(&status) {
            HookError::Malformed { status, reason }
        } else {
            HookError::Refused { status, reason }
        });
    };
    let Answered { ok, error, channel, ts } = answered;
    if ok {
        return Ok(Sent { channel, ts });
    }
    let reason = aiops_core::text::clip(&error, 100);
    Err(match error.as_str() {
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
            HookError::Failed { status, reason }
        }
        "ratelimited" | "rate_limited" => HookError::Throttled { retry_after: None },
        _ => HookError::Refused { status, reason },
    })
}
