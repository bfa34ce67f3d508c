//! Slack by its Web API: one message for each incident, with buttons where a person must approve.

mod api;
mod blocks;
mod clicks;
#[cfg(feature = "server")]
mod router;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::{Clock, Live, Notice, NoticeKind, Notifier, NotifyError, Receipt};
use async_trait::async_trait;
use reqwest::Client;
use serde_json::{Value, json};

use self::api::{Api, Sent};
use self::blocks::head;
pub use self::clicks::{SlackClick, SlackClicks, SlackClicksBuilder, SlackRefusal, SlackWord};
use super::InvalidNotifier;
use super::message::Message;
use crate::catalogue::ActionCatalogue;
use crate::dispatcher::Dispatcher;
use crate::hook::{HookError, Options, Secret};
use crate::store::Approval;

/// One call; a notice makes at most three, and a pipeline gives each of its channels 10 s.
const DEADLINE: Duration = Duration::from_secs(3);
/// Approvals with buttons in one message.
const BUTTONS: usize = 5;

/// Builds a [`SlackNotifier`].
#[derive(Debug)]
#[must_use]
pub struct SlackBuilder {
    options: Options,
    token: String,
    place: String,
    dispatcher: Option<Arc<Dispatcher>>,
    catalogue: Option<Live<ActionCatalogue>>,
}

impl SlackBuilder {
    /// The channel's name, where a pipeline has more than one of them; `slack` unless set.
    pub fn channel(mut self, name: impl Into<String>) -> Self {
        self.options.channel = name.into();
        self
    }

    /// Where what waits is looked up, for buttons; without it messages have none. Clicks come in by [`SlackClicks`].
    pub fn approvals(mut self, dispatcher: Arc<Dispatcher>) -> Self {
        self.dispatcher = Some(dispatcher);
        self
    }

    /// Where the runbooks of actions are looked up.
    pub fn runbooks(mut self, catalogue: impl Into<Live<ActionCatalogue>>) -> Self {
        self.catalogue = Some(catalogue.into());
        self
    }

    /// Another address than Slack's, `https://slack.com/api`: a gateway or a test.
    pub fn api(mut self, url: impl Into<String>) -> Self {
        self.options.url = Secret(url.into());
        self
    }

    /// The longest that one call may take with all its tries; 3 s unless set. A notice makes up to three.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Another clock than the system's.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// The notifier.
    ///
    /// # Errors
    /// All faults at once: no token, no channel, a URL that does not read.
    pub fn build(self) -> Result<SlackNotifier, InvalidNotifier> {
        let mut faults = Vec::new();
        if self.place.is_empty() {
            faults.push("there is no Slack channel; name it by its id, such as C0123456789".to_owned());
        }
        let name = self.options.channel.clone();
        match Api::new(self.options, &self.token).map_err(|found| faults.extend(found)) {
            Ok(api) if faults.is_empty() => {
                let Self { place, dispatcher, catalogue, .. } = self;
                Ok(SlackNotifier { name, api, place, dispatcher, catalogue })
            }
            _ => Err(InvalidNotifier(faults)),
        }
    }
}

/// Keeps one message for each incident in a Slack channel.
///
/// The first notice posts the message; each later one edits it and adds a line to its thread. Where approvals wait,
/// the message has buttons for each of them, with what would run, on what, and in which state. A click goes to
/// [`SlackClicks`], which decides and rewrites the message. A message that somebody deleted is posted anew. News of
/// incidents that have no message (`suppressed`) are left out, and counted.
///
/// The bot needs the scope `chat:write`, and must be in the channel.
///
/// ```
/// use aiops_remediate::notify::{SlackNotifier, reqwest};
/// let slack = SlackNotifier::builder("xoxb-1-2-abc", "C0123456789", reqwest::Client::new()).build()?;
/// # let _ = slack;
/// # Ok::<(), aiops_remediate::notify::InvalidNotifier>(())
/// ```
#[derive(Debug)]
pub struct SlackNotifier {
    name: String,
    api: Api,
    place: String,
    dispatcher: Option<Arc<Dispatcher>>,
    catalogue: Option<Live<ActionCatalogue>>,
}

/// Where the message of an incident is.
struct Kept {
    place: String,
    ts: String,
}

impl Kept {
    fn of(receipt: &Receipt) -> Option<Self> {
        let text = |name: &str| Some(receipt.value().get(name)?.as_str()?.to_owned());
        Some(Self { place: text("channel")?, ts: text("ts")? })
    }
}

impl SlackNotifier {
    /// A notifier with a bot's token, for a channel by its id.
    pub fn builder(token: impl Into<String>, channel_id: impl Into<String>, client: Client) -> SlackBuilder {
        let mut options = Options::new("slack", api::URL, client);
        options.deadline = DEADLINE;
        options.retries = 1;
        SlackBuilder { options, token: token.into(), place: channel_id.into(), dispatcher: None, catalogue: None }
    }

    /// What waits in the notice's incident. A store that is down costs the buttons, not the message.
    async fn waiting(&self, notice: &Notice) -> Vec<Approval> {
        let Some(dispatcher) = &self.dispatcher else { return Vec::new() };
        if notice.kind == NoticeKind::Resolved {
            return Vec::new();
        }
        match dispatcher.approvals().await {
            Ok(mut approvals) => {
                approvals.retain(|approval| approval.incident_id == notice.incident_id);
                approvals.truncate(BUTTONS);
                approvals
            }
            Err(error) => {
                let error = aiops_core::error_chain(&error);
                tracing::warn!(error, "a message goes without buttons");
                Vec::new()
            }
        }
    }

    async fn post(&self, message: &Value) -> Result<Kept, HookError> {
        let mut message = message.clone();
        message["channel"] = json!(self.place);
        let Sent { channel, ts } = self.api.post(&message).await?;
        Ok(Kept { place: channel, ts })
    }

    async fn send(&self, notice: &Notice, kept: Option<Kept>) -> Result<Kept, HookError> {
        let message = Message::new(notice, self.catalogue.as_ref());
        let head = head(&message, &self.waiting(notice).await);
        let Some(kept) = kept else { return self.post(&head).await };
        let mut edited = head.clone();
        (edited["channel"], edited["ts"]) = (json!(kept.place), json!(kept.ts));
        match self.api.update(&edited).await {
            Ok(_) => {}
            Err(HookError::Refused { reason, .. }) if api::is_gone(&reason) => return self.post(&head).await,
            Err(error) => return Err(error),
        }
        let mut news = blocks::news(&message);
        (news["channel"], news["thread_ts"]) = (json!(kept.place), json!(kept.ts));
        self.api.post(&news).await?;
        Ok(kept)
    }
}

#[async_trait]
impl Notifier for SlackNotifier {
    fn channel(&self) -> &str {
        &self.name
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let kept = previous.and_then(Kept::of);
        if kept.is_none() && matches!(notice.kind, NoticeKind::Suppressed { .. }) {
            let channel = self.name.clone();
            metrics::counter!("aiops_notify_left_out_total", "channel" => channel, "notice" => notice.kind.as_str())
                .increment(1);
            return Ok(previous.cloned().unwrap_or_default());
        }
        match self.send(notice, kept).await {
            Ok(Kept { place, ts }) => Ok(Receipt::new(json!({"channel": place, "ts": ts}))),
            Err(error) => Err(error.of_channel(&self.name)),
        }
    }
}
