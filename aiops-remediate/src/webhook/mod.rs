//! Actions by a host's own automation over HTTP: Rundeck, StackStorm, an Argo Events webhook, a service of the team.
//!
//! A [`WebhookHandler`] posts JSON to one address, signed as [`WebhookNotifier`](crate::notify::WebhookNotifier)
//! signs: the header `x-aiops-signature` is `t=SECONDS,v1=HEX`, HEX = HMAC-SHA256 over `SECONDS.BODY`. The header
//! `idempotency-key` is the same for all that is sent about one (action, target, fingerprint). The body has the
//! fields of [`ActionRequest`] and `command`:
//!
//! | `command` | beside them | answer, with status 2xx |
//! |---|---|---|
//! | `inspect` | `observed`, where something was observed before | `{"state": "ready", "precondition": {…}}`, `{"state": "already_done", "proof": "…"}` or `{"state": "blocked", "reason": "…"}` |
//! | `execute` | `observed` | `{"state": "applied", "proof": "…"}`, `{"state": "running"}`, `{"state": "refused", "reason": "…"}` (nothing changed) or `{"state": "failed", "reason": "…"}` |
//! | `status` | `observed` | as `execute`: what became of the run under the idempotency key |
//! | `verify` | `observed`, `proof` | `{"outcome": "helped"}`, `no_effect`, `worse` or `unknown` |
//! | `compensate` | `observed` | `{"taken_back": "…"}`, or `{}` where there was nothing to take back |
//!
//! What answers must do as an [`ActionHandler`] does: `inspect` reads the real state and finds out that the target
//! belongs to `service`; `execute` changes nothing unless `observed` still holds; and an idempotency key that it has
//! seen gets the answer of the first time, since a call is tried again. Facts of a precondition are texts.
//!
//! An answer `running` is followed by `status`, every so often, until the deadline. Whatever is not known for certain
//! makes the outcome unknown: no answer, a server that failed, a refusal after a try that may have come through.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::time::{human, plus};
use aiops_core::{
    ActionError, ActionHandler, ActionName, ActionRequest, Applied, Clock, Compensation, Inspection, Outcome,
    Precondition, text,
};
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Client;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use crate::hook::HookError;
use crate::hook::{Hook, Options, Secret, words};
use crate::parameters::observed;
use crate::sha256::{hex, sha256};

/// One call with its tries; shorter than the dispatcher's time for `inspect`.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between two polls of a run.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// Facts of an observed state.
const MOST_FACTS: usize = 64;
/// Characters of a proof, a reason or a fact.
const LINE: usize = 500;
/// The draft of the IETF's HTTP API working group; the same name at most vendors.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A handler that cannot work: every fault, with what to do about it. It shows no key and no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("webhook handler cannot be built: {}", .0.join("; "))]
pub struct InvalidWebhook(Vec<String>);

impl InvalidWebhook {
    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}

/// What the automation said instead of doing it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// It did not take the call.
    #[error("the call was not taken")]
    Call(#[from] HookError),
    /// It says that nothing changed.
    #[error("the automation refused: {0}")]
    Refused(String),
    /// It says that it failed.
    #[error("the automation failed: {0}")]
    Failed(String),
    /// It was still at work at the deadline; after no time where the deadline was over before it was asked.
    #[error("the deadline came after {}, and it was not done", human(*.0))]
    Unfinished(Duration),
    /// It answered something of which nothing can be made.
    #[error("the answer to {command} cannot be used: {why}")]
    Answer {
        /// What it was asked.
        command: &'static str,
        /// What is wrong with the answer.
        why: &'static str,
    },
}

/// Builds a [`WebhookHandler`].
#[derive(Debug)]
#[must_use]
pub struct WebhookHandlerBuilder {
    name: String,
    options: Options,
    poll_every: Duration,
    compensates: bool,
}

impl WebhookHandlerBuilder {
    /// Signs each call with a key of at least 16 bytes.
    pub fn sign_with(mut self, key: impl Into<String>) -> Self {
        self.options.key = Some(Secret(key.into()));
        self
    }

    /// One more header of each call, such as `authorization`; its value is taken for a secret.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.headers.push((name.into(), Secret(value.into())));
        self
    }

    /// The longest that one call may take with all its tries (20 s unless set).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Tries after the first, where the server is down or has too much to do; 2 unless set.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// How often a run that is at work is asked for (5 s unless set).
    pub fn poll_every(mut self, every: Duration) -> Self {
        self.poll_every = every;
        self
    }

    /// The automation takes `compensate`; it is not sent otherwise.
    pub fn compensates(mut self) -> Self {
        self.compensates = true;
        self
    }

    /// Another clock than the system's.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// The handler.
    ///
    /// # Errors
    /// All faults at once: a name that no catalogue has, a URL that does not read, no key or one that is too short, a
    /// header that cannot stand, a poll that does not wait.
    pub fn build(self) -> Result<WebhookHandler, InvalidWebhook> {
        let mut faults = Vec::new();
        if let Err(error) = ActionName::new(&self.name) {
            faults.push(error.to_string());
        }
        if self.options.key.is_none() {
            faults.push("there is no key; calls that act are signed".to_owned());
        }
        if self.poll_every.is_zero() {
            faults.push("poll_every must be more than 0".to_owned());
        }
        match Hook::new(self.options, Vec::new()).map_err(|found| faults.extend(found)) {
            Ok(hook) if faults.is_empty() => {
                Ok(WebhookHandler { name: self.name, hook, poll_every: self.poll_every, compensates: self.compensates })
            }
            _ => Err(InvalidWebhook(faults)),
        }
    }
}

/// Has one action done by a host's own automation. See the [module](self).
///
/// ```
/// use aiops_remediate::notify::reqwest;
/// use aiops_remediate::webhook::WebhookHandler;
/// let handler = WebhookHandler::builder("fail_over", "https://automation.example/aiops", reqwest::Client::new())
///     .sign_with("a key of more than sixteen bytes")
///     .build()?;
/// # let _ = handler;
/// # Ok::<(), aiops_remediate::webhook::InvalidWebhook>(())
/// ```
pub struct WebhookHandler {
    name: String,
    hook: Hook,
    poll_every: Duration,
    compensates: bool,
}

impl fmt::Debug for WebhookHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookHandler").field("name", &self.name).field("hook", &self.hook).finish_non_exhaustive()
    }
}

/// What became of a run.
#[derive(Debug, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Ran {
    Applied {
        proof: String,
    },
    Running,
    Refused {
        #[serde(default)]
        reason: String,
    },
    Failed {
        #[serde(default)]
        reason: String,
    },
}

#[derive(Deserialize)]
struct Verified {
    outcome: Outcome,
}

#[derive(Deserialize)]
struct TakenBack {
    taken_back: Option<String>,
}

/// JSON of the shape, or what is wrong.
fn read<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, HookError> {
    let reason = || words(body);
    if !(200..300).contains(&status) {
        return Err(HookError::Refused { status, reason: reason() });
    }
    serde_json::from_slice(body).map_err(|_| HookError::Malformed { status, reason: reason() })
}

impl WebhookHandler {
    /// A handler of this action by what answers at this address.
    pub fn builder(action: impl Into<String>, url: &str, client: Client) -> WebhookHandlerBuilder {
        let name = action.into();
        let mut options = Options::new(&name, url, client);
        options.deadline = DEADLINE;
        options.retried = |action| {
            metrics::counter!("aiops_webhook_retries_total", "action" => action.to_owned()).increment(1);
        };
        WebhookHandlerBuilder { name, options, poll_every: POLL_EVERY, compensates: false }
    }

    /// One call, and how often it was sent.
    async fn call<T: DeserializeOwned + Send>(
        &self,
        command: &'static str,
        request: &ActionRequest,
        with: &[(&str, Value)],
        until: Timestamp,
    ) -> (u32, Result<T, WebhookError>) {
        let mut body = json!(request);
        body["command"] = json!(command);
        if let Some(seen) = observed(request) {
            body["observed"] = json!(seen);
        }
        for (name, value) in with {
            body[*name] = value.clone();
        }
        let key = hex(&sha256(&[request.key().as_bytes()]));
        // Hex digits can stand in every header.
        let key: Vec<_> = HeaderValue::from_str(&key).into_iter().map(|key| (IDEMPOTENCY_KEY, key)).collect();
        let end = plus(self.hook.clock.now(), self.hook.deadline).min(until);
        let (tries, answer) = self.hook.call(&body.to_string(), &key, end, read).await;
        let outcome = if answer.is_ok() { "ok" } else { "failed" };
        let action = self.name.clone();
        metrics::counter!("aiops_webhook_calls_total", "action" => action, "command" => command, "outcome" => outcome)
            .increment(1);
        (tries, answer.map_err(WebhookError::from))
    }

    /// Asks until the run has ended.
    async fn follow(&self, request: &ActionRequest, seen: &Value) -> Result<Ran, WebhookError> {
        let began = self.hook.clock.now();
        loop {
            let next = plus(self.hook.clock.now(), self.poll_every);
            if next >= request.deadline {
                self.hook.clock.sleep_until(request.deadline).await;
                return Err(WebhookError::Unfinished(aiops_core::time::since(request.deadline, began)));
            }
            self.hook.clock.sleep_until(next).await;
            let asked = self.call("status", request, &[("observed", seen.clone())], request.deadline).await;
            match asked.1 {
                Ok(Ran::Running) => {}
                // The run goes on whether or not this answer came.
                Err(WebhookError::Call(error)) if error.is_retryable() => {}
                other => return other,
            }
        }
    }
}

fn shown(said: &str) -> String {
    let said = text::clip(said, LINE);
    if said.is_empty() { "no reason given".to_owned() } else { said }
}

/// What can be kept of an observed state.
fn kept(precondition: Precondition) -> Result<Precondition, WebhookError> {
    let refused = |why| Err(WebhookError::Answer { command: "inspect", why });
    let facts: BTreeMap<&str, &str> = precondition.facts().collect();
    if facts.len() > MOST_FACTS {
        return refused("it has more than 64 facts");
    }
    let plain = |text: &str| text.chars().count() <= LINE && !text.chars().any(text::is_hidden);
    if !facts.iter().all(|(name, value)| plain(name) && plain(value)) {
        return refused("a fact is longer than 500 characters or holds hidden ones");
    }
    Ok(precondition)
}

#[async_trait]
impl ActionHandler for WebhookHandler {
    fn name(&self) -> &str {
        &self.name
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        let before = |error| ActionError::before(request, "inspect the target", error);
        let found = match self.call("inspect", request, &[], Timestamp::MAX).await.1.map_err(before)? {
            Inspection::Ready { precondition } => {
                kept(precondition).map(|precondition| Inspection::Ready { precondition })
            }
            Inspection::AlreadyDone { proof } => Ok(Inspection::AlreadyDone { proof: shown(&proof) }),
            Inspection::Blocked { reason } => Ok(Inspection::Blocked { reason: shown(&reason) }),
            _ => Err(WebhookError::Answer { command: "inspect", why: "its state is not known" }),
        };
        found.map_err(before)
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        if request.dry_run {
            return Ok(Applied::new("dry run: nothing was sent"));
        }
        let doing = "have it done";
        if self.hook.clock.now() >= request.deadline {
            return Err(ActionError::before(request, doing, WebhookError::Unfinished(Duration::ZERO)));
        }
        let seen = json!(precondition);
        let (tries, answer) = self.call("execute", request, &[("observed", seen.clone())], request.deadline).await;
        let ran = match answer {
            Ok(Ran::Running) => self.follow(request, &seen).await,
            // Refused at the first try, so that no earlier one can have come through.
            Err(error @ WebhookError::Call(HookError::Refused { status: 400..500, .. })) if tries == 1 => {
                return Err(ActionError::before(request, doing, error));
            }
            other => other,
        };
        let unknown = match ran {
            Ok(Ran::Applied { proof }) => return Ok(Applied::new(shown(&proof))),
            Ok(Ran::Refused { reason }) => {
                return Err(ActionError::before(request, doing, WebhookError::Refused(shown(&reason))));
            }
            Ok(Ran::Failed { reason }) => WebhookError::Failed(shown(&reason)),
            // What follows a run ends with its end.
            Ok(Ran::Running) => WebhookError::Answer { command: "status", why: "it runs and has ended" },
            Err(error) => error,
        };
        Err(ActionError::unknown(request, doing, unknown))
    }

    async fn verify(&self, request: &ActionRequest, applied: &Applied) -> Result<Outcome, ActionError> {
        let proof = ("proof", json!(applied.proof));
        let answer = self.call("verify", request, &[proof], Timestamp::MAX).await.1;
        let answer: Verified = answer.map_err(|error| ActionError::before(request, "verify the effect", error))?;
        Ok(answer.outcome)
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        if !self.compensates {
            return Ok(Compensation::None);
        }
        let answer = self.call("compensate", request, &[], Timestamp::MAX).await.1;
        let answer: TakenBack = answer.map_err(|error| ActionError::unknown(request, "take the effect back", error))?;
        Ok(answer.taken_back.map_or(Compensation::None, |what| Compensation::Done(shown(&what))))
    }
}
