//! Clicks on the buttons of a message: who clicked, whether it is really Slack that says so, and what became of it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiops_core::time::since;
use aiops_core::{Clock, SystemClock, error_chain, text};
use jiff::Timestamp;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::InvalidNotifier;
use super::api::{Api, URL};
use super::blocks::{APPROVE, REJECT, block_id, rewritten};
use crate::dispatcher::{ApprovalError, Dispatcher};
use crate::hook::{Options, Secret};
use crate::sha256::{DIGEST, hex, hmac};
use crate::store::Approval;

/// A request that is older is refused: Slack's own advice.
const WINDOW: Duration = Duration::from_secs(300);
/// Signatures of requests in the window that are remembered; people do not click faster.
const REMEMBERED: usize = 10_000;
/// Slack shows an error where it gets no answer within 3 s: the rewrite has this much of it.
const REWRITE: Duration = Duration::from_secs(2);
/// Slack's ids have 9 to 11 characters.
const LONGEST_ID: usize = 40;

/// Why a request was not taken for a click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlackRefusal {
    /// It does not carry Slack's signature.
    #[error("the signature is missing or not Slack's")]
    Unsigned,
    /// It is more than five minutes old, or ahead.
    #[error("the request is not of the last five minutes")]
    Stale,
    /// The same request came before.
    #[error("the request came before")]
    Replayed,
    /// It is signed, and nothing that Slack sends for a click.
    #[error("the request does not read: {0}")]
    Malformed(&'static str),
    /// It is a click on something else: the host's own, where it has more that can be clicked.
    #[error("the click is on none of our buttons")]
    NotOurs,
}

/// What a click did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlackWord {
    /// The approval was granted.
    Approved,
    /// It was refused.
    Rejected,
    /// Nothing: why, as the person is told.
    Nothing(String),
}

/// A click that Slack sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlackClick {
    /// Who clicked, as the dispatcher's authoriser is asked: `slack:TEAM/USER`, by Slack's ids.
    pub who: String,
    /// On which approval.
    pub approval: String,
    /// What it did.
    pub word: SlackWord,
    /// Whether the message shows it. Where it does not, the incident's next notice does.
    pub shown: bool,
}

/// Builds [`SlackClicks`].
#[derive(Debug)]
#[must_use]
pub struct SlackClicksBuilder {
    dispatcher: Arc<Dispatcher>,
    options: Options,
    token: String,
    secret: Secret,
}

impl SlackClicksBuilder {
    /// Another address than Slack's, `https://slack.com/api`.
    pub fn api(mut self, url: impl Into<String>) -> Self {
        self.options.url = Secret(url.into());
        self
    }

    /// Another clock than the system's.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// What takes the clicks.
    ///
    /// # Errors
    /// All faults at once: no signing secret, no token, a URL that does not read.
    pub fn build(self) -> Result<SlackClicks, InvalidNotifier> {
        let mut faults = Vec::new();
        if self.secret.0.len() < 16 {
            faults.push(
                "the signing secret is shorter than 16 characters: it stands under the app's credentials".to_owned(),
            );
        }
        let clock = Arc::<dyn Clock>::clone(&self.options.clock);
        match Api::new(self.options, &self.token).map_err(|found| faults.extend(found)) {
            Ok(api) if faults.is_empty() => {
                let Self { dispatcher, secret, .. } = self;
                Ok(SlackClicks { dispatcher, api, secret, clock, seen: Mutex::default() })
            }
            _ => Err(InvalidNotifier(faults)),
        }
    }
}

/// Takes clicks on the buttons of a [`SlackNotifier`](super::SlackNotifier)'s messages.
///
/// Slack posts each click to the app's interactivity address. [`take`](Self::take) checks Slack's signature and that
/// the request is new, gives the word to the dispatcher, which asks its
/// [`ApprovalAuthoriser`](crate::ApprovalAuthoriser) for `slack:TEAM/USER`, and rewrites the message: what became of
/// the approval stands where its buttons stood. A person whose word is not taken is told so, alone. With the feature
/// `server` there is a [`router`](Self::router) that does all of that.
#[derive(Debug)]
pub struct SlackClicks {
    dispatcher: Arc<Dispatcher>,
    api: Api,
    secret: Secret,
    pub(super) clock: Arc<dyn Clock>,
    seen: Mutex<VecDeque<(Timestamp, [u8; DIGEST])>>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    team: Option<Named>,
    channel: Option<Named>,
    message: Option<Shown>,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct User {
    id: String,
    /// Where the payload names no team: apps of a whole organisation.
    #[serde(default)]
    team_id: String,
}

#[derive(Deserialize)]
struct Shown {
    ts: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    blocks: Vec<Value>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(default)]
    action_id: String,
    #[serde(default)]
    block_id: String,
    #[serde(default)]
    value: String,
}

/// What became of a word: told in the message, or to the person alone.
enum Told {
    Message(SlackWord, String),
    Person(String),
}

impl SlackClicks {
    /// Clicks for this dispatcher, by the app's signing secret, with a bot's token for the rewriting.
    pub fn builder(
        dispatcher: Arc<Dispatcher>,
        signing_secret: impl Into<String>,
        token: impl Into<String>,
        client: Client,
    ) -> SlackClicksBuilder {
        let mut options = Options::new("slack", URL, client);
        options.deadline = REWRITE;
        options.retries = 0;
        options.clock = Arc::new(SystemClock);
        SlackClicksBuilder { dispatcher, options, token: token.into(), secret: Secret(signing_secret.into()) }
    }

    /// One request: the headers `x-slack-request-timestamp` and `x-slack-signature`, and the body as it came.
    ///
    /// # Errors
    /// [`SlackRefusal`]: nothing was decided. What a click did not do (not allowed, settled before, expired) is no
    /// error but a [`SlackWord::Nothing`].
    pub async fn take(&self, timestamp: &str, signature: &str, body: &[u8]) -> Result<SlackClick, SlackRefusal> {
        let taken = self.taken(timestamp, signature, body).await;
        let outcome = match &taken {
            Ok(click) => match click.word {
                SlackWord::Approved => "approved",
                SlackWord::Rejected => "rejected",
                SlackWord::Nothing(_) => "nothing",
            },
            Err(SlackRefusal::Unsigned) => "unsigned",
            Err(SlackRefusal::Stale) => "stale",
            Err(SlackRefusal::Replayed) => "replayed",
            Err(SlackRefusal::Malformed(_)) => "malformed",
            Err(SlackRefusal::NotOurs) => "not_ours",
        };
        metrics::counter!("aiops_slack_clicks_total", "outcome" => outcome).increment(1);
        taken
    }

    async fn taken(&self, timestamp: &str, signature: &str, body: &[u8]) -> Result<SlackClick, SlackRefusal> {
        let now = self.clock.now();
        self.check(timestamp, signature, body, now)?;
        let payload = form_urlencoded::parse(body).find(|(name, _)| name == "payload");
        let (_, payload) = payload.ok_or(SlackRefusal::Malformed("there is no payload"))?;
        let payload: Payload =
            serde_json::from_str(&payload).map_err(|_| SlackRefusal::Malformed("the payload is no JSON of a click"))?;
        let ours = |action: &&Action| matches!(action.action_id.as_str(), APPROVE | REJECT);
        if payload.kind != "block_actions" {
            return Err(SlackRefusal::NotOurs);
        }
        let action = payload.actions.iter().find(ours).ok_or(SlackRefusal::NotOurs)?;
        let id = |id: Option<String>| {
            let id = id.unwrap_or_default();
            let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let whole = plain && (1..=LONGEST_ID).contains(&id.len());
            whole.then_some(id).ok_or(SlackRefusal::Malformed("it names no user, team or channel"))
        };
        let (user, of_user) = payload.user.map(|user| (user.id, user.team_id)).unzip();
        let team = payload.team.map(|team| team.id).or(of_user);
        let (user, team, channel) = (id(user)?, id(team)?, id(payload.channel.map(|channel| channel.id))?);
        let (approval, digest) =
            action.value.split_once('.').ok_or(SlackRefusal::Malformed("the button has no approval"))?;
        if action.block_id != block_id("buttons", approval) {
            return Err(SlackRefusal::Malformed("the button is not where its approval is"));
        }
        let who = format!("slack:{team}/{user}");
        let told = self.decide(approval, digest, &who, action.action_id == APPROVE, now).await;
        let (word, shown) = match told {
            Told::Message(word, outcome) => {
                let shown = self.rewrite(&channel, payload.message, approval, &outcome).await;
                (word, shown)
            }
            Told::Person(why) => {
                let whisper = json!({"channel": channel, "user": user, "text": why});
                let shown = self.api.whisper(&whisper).await.is_ok();
                (SlackWord::Nothing(why), shown)
            }
        };
        Ok(SlackClick { who, approval: approval.to_owned(), word, shown })
    }

    /// HMAC-SHA256 over `v0:TIMESTAMP:BODY`, of the last five minutes, and not seen before.
    fn check(&self, timestamp: &str, signature: &str, body: &[u8], now: Timestamp) -> Result<(), SlackRefusal> {
        let mac = hmac(self.secret.0.as_bytes(), &[b"v0:", timestamp.as_bytes(), b":", body]);
        let right = format!("v0={}", hex(&mac));
        let differences = signature.bytes().zip(right.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        if std::hint::black_box(differences) != 0 || signature.len() != right.len() {
            return Err(SlackRefusal::Unsigned);
        }
        let sent = timestamp.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let sent = sent.ok_or(SlackRefusal::Stale)?;
        if since(now, sent).max(since(sent, now)) > WINDOW {
            return Err(SlackRefusal::Stale);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice the window: a request may be as far ahead.
        seen.retain(|(at, _)| since(now, *at) <= 2 * WINDOW);
        if seen.iter().any(|(_, known)| *known == mac) {
            return Err(SlackRefusal::Replayed);
        }
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back((now, mac));
        Ok(())
    }

    async fn decide(&self, id: &str, digest: &str, who: &str, grant: bool, now: Timestamp) -> Told {
        let unavailable =
            || Told::Person("The store does not answer. Look at the approval before you try again.".to_owned());
        let pending = match self.dispatcher.approvals().await {
            Ok(pending) => pending,
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "a click could not be looked up");
                return unavailable();
            }
        };
        let Some(approval) = pending.into_iter().find(|approval| approval.id.as_str() == id) else {
            let why = "No longer waiting: it was decided, expired, or became void.".to_owned();
            return Told::Message(SlackWord::Nothing(why.clone()), why);
        };
        if approval.digest != digest {
            return Told::Person("What would run is not what the message shows. Nothing was decided.".to_owned());
        }
        let decided = if grant {
            self.dispatcher.approve(&approval.id, who, now).await
        } else {
            self.dispatcher.reject(&approval.id, who, "rejected in Slack", now).await
        };
        match decided {
            Ok(_) => {
                let word = if grant { SlackWord::Approved } else { SlackWord::Rejected };
                Told::Message(word, said(&approval, if grant { "approved" } else { "rejected" }, who, now))
            }
            Err(ApprovalError::Settled(before)) => {
                let why = format!("{} was {} before.", approval.place(), before.state.as_str());
                Told::Message(SlackWord::Nothing(why.clone()), why)
            }
            Err(error @ (ApprovalError::Expired(_) | ApprovalError::Unknown)) => {
                let why = text::clip(&error.to_string(), 200);
                Told::Message(SlackWord::Nothing(why.clone()), why)
            }
            Err(ApprovalError::NotAllowed { .. }) => Told::Person("You may not decide on this.".to_owned()),
            Err(ApprovalError::Store(_)) => unavailable(),
        }
    }

    async fn rewrite(&self, channel: &str, message: Option<Shown>, approval: &str, outcome: &str) -> bool {
        let Some(Shown { ts, text, blocks }) = message else { return false };
        let edited = json!({
            "channel": channel,
            "ts": ts,
            "text": text,
            "blocks": rewritten(&blocks, approval, outcome),
        });
        let sent = self.api.update(&edited).await;
        if let Err(error) = &sent {
            let error = error_chain(error);
            tracing::warn!(error, "a message was not rewritten after a click; its next edit shows it");
        }
        sent.is_ok()
    }
}

fn said(approval: &Approval, word: &str, who: &str, now: Timestamp) -> String {
    format!("{} {word} by {who} at {now}", approval.place())
}

impl fmt::Display for SlackWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approved => f.write_str("approved"),
            Self::Rejected => f.write_str("rejected"),
            Self::Nothing(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ActionCatalogue, Policy};

    fn clicks(now: i64) -> SlackClicks {
        let entry = "actions: [{name: page_vendor, owner: shop, blast_radius: deployment, requires_approval: true}]";
        let catalogue = ActionCatalogue::from_yaml(entry, "actions.yaml").unwrap();
        let dispatcher = Arc::new(Dispatcher::builder(catalogue, Policy::default()).build().unwrap());
        let clock = aiops_core::VirtualClock::new(Timestamp::from_second(now).unwrap());
        SlackClicks::builder(dispatcher, "8f742231b10e8888abcd99yyyzzz85a5", "xoxb-1", Client::new())
            .with_clock(clock)
            .build()
            .unwrap()
    }

    /// The example of Slack's page "Verifying requests from Slack".
    #[test]
    fn slacks_own_example_is_taken_once_and_in_its_time() {
        let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        let sent = 1_531_420_618;
        let check = |clicks: &SlackClicks, timestamp: &str, signature: &str, body: &[u8]| {
            clicks.check(timestamp, signature, body, clicks.clock.now())
        };
        let now = clicks(sent + 300);
        assert_eq!(check(&now, "1531420618", signature, body), Ok(()));
        assert_eq!(check(&now, "1531420618", signature, body), Err(SlackRefusal::Replayed));
        for late in [301, -301] {
            assert_eq!(check(&clicks(sent + late), "1531420618", signature, body), Err(SlackRefusal::Stale));
        }
        let now = clicks(sent);
        for (timestamp, signature, body) in [
            ("1531420619", signature, &body[..]),
            ("1531420618", &signature[1..], body),
            ("1531420618", "", body),
            ("1531420618", signature, &body[1..]),
        ] {
            assert_eq!(check(&now, timestamp, signature, body), Err(SlackRefusal::Unsigned));
        }
    }
}
