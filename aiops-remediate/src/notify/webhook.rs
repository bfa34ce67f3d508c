//! A notice as JSON of the host's own form, posted to a URL and signed.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::{Channel, Clock, Live, Notice, Notifier, NotifyError, Receipt};
use async_trait::async_trait;
use reqwest::Client;
use serde_json::{Value, json};

use super::InvalidNotifier;
use super::message::Message;
use super::template::Template;
use crate::catalogue::ActionCatalogue;
use crate::hook::{Hook, Options, Secret};

/// Builds a [`WebhookNotifier`].
#[derive(Debug)]
#[must_use]
pub struct WebhookBuilder {
    options: Options,
    template: Value,
    text: Channel,
    catalogue: Option<Live<ActionCatalogue>>,
}

impl WebhookBuilder {
    fn new(options: Options, template: Value, text: Channel) -> Self {
        Self { options, template, text, catalogue: None }
    }

    /// The channel's name, where a pipeline has more than one of them; `webhook` or `slack` unless set.
    pub fn channel(mut self, name: impl Into<String>) -> Self {
        self.options.channel = name.into();
        self
    }

    /// The body: JSON in whose strings `{name}` is replaced, `{{` and `}}` are braces. The places:
    ///
    /// | place | text |
    /// |---|---|
    /// | `incident_id`, `event_id`, `fingerprint` | the keys; the receiver folds notices by `incident_id` |
    /// | `notice` | `announced`, `updated`, `suppressed`, `escalated`, `awaiting_approval`, `resolved` |
    /// | `severity`, `service`, `alertname`, `at` | of the event; `at` is the notice's time, RFC 3339 in UTC |
    /// | `line` | the notice in one line |
    /// | `message` | the line, the incident, causes, steps and runbooks, a line each |
    /// | `evidence` | the sentence with value, expected, score, threshold and window |
    /// | `reason` | why it comes, where that is not plain |
    /// | `summary`, `causes` | of the report, where it tells of one |
    /// | `refused`, `steps` | of the plan: what was refused and why; what became of each step |
    /// | `runbooks` | addresses from the catalogue, a blank between them |
    /// | `number` | how many notices of the incident this channel has sent, this one among them |
    ///
    /// A place without a text is empty.
    pub fn template(mut self, template: Value) -> Self {
        self.template = template;
        self
    }

    /// For whom texts are encoded: what shows them. Unless set, texts are plain, and whoever shows them encodes.
    pub fn text_for(mut self, channel: Channel) -> Self {
        self.text = channel;
        self
    }

    /// Signs each notice with a key of at least 16 bytes: the header `x-aiops-signature` is `t=SECONDS,v1=HEX`,
    /// where HEX is HMAC-SHA256 over `SECONDS.BODY` and SECONDS the unix time of sending. A receiver compares
    /// in constant time, and refuses what is older than a few minutes.
    pub fn sign_with(mut self, key: impl Into<String>) -> Self {
        self.options.key = Some(Secret(key.into()));
        self
    }

    /// One more header of each request, such as `authorization`; its value is taken for a secret.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.headers.push((name.into(), Secret(value.into())));
        self
    }

    /// Where the runbooks of actions are looked up.
    pub fn runbooks(mut self, catalogue: impl Into<Live<ActionCatalogue>>) -> Self {
        self.catalogue = Some(catalogue.into());
        self
    }

    /// The longest that one notice may take with all its tries; 8 s unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Tries after the first, where the server is down or has too much to do; 2 unless set.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
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
    /// All faults at once: a URL that does not read, a place that does not exist, a template that names no
    /// incident, a key that is too short, a header that cannot stand.
    pub fn build(self) -> Result<WebhookNotifier, InvalidNotifier> {
        let mut faults = Vec::new();
        let hook = Hook::new(self.options, Vec::new()).map_err(|found| faults.extend(found));
        let keyed = ["{incident_id}", "{message}"].iter().any(|place| self.template.to_string().contains(place));
        if !keyed {
            faults.push("the template names no {incident_id}, by which the receiver folds notices".to_owned());
        }
        let template = Template::new(&self.template).map_err(|found| faults.extend(found));
        match (hook, template) {
            (Ok(hook), Ok(template)) if faults.is_empty() => {
                Ok(WebhookNotifier { hook, template, text: self.text, catalogue: self.catalogue })
            }
            _ => Err(InvalidNotifier(faults)),
        }
    }
}

/// Posts each notice as JSON to a URL. Any 2xx is an acceptance.
///
/// ```
/// use aiops_remediate::notify::{WebhookNotifier, reqwest};
/// let hook = WebhookNotifier::builder("https://ops.example/hooks/aiops", reqwest::Client::new())
///     .template(serde_json::json!({"key": "{incident_id}", "title": "[{severity}] {line}", "why": "{refused}"}))
///     .sign_with("a key of more than sixteen bytes")
///     .build()?;
/// # let _ = hook;
/// # Ok::<(), aiops_remediate::notify::InvalidNotifier>(())
/// ```
#[derive(Debug)]
pub struct WebhookNotifier {
    hook: Hook,
    template: Template,
    text: Channel,
    catalogue: Option<Live<ActionCatalogue>>,
}

impl WebhookNotifier {
    /// A webhook, with a body of all that is known unless it gets a template.
    pub fn builder(url: &str, client: Client) -> WebhookBuilder {
        let template = json!({
            "incident_id": "{incident_id}",
            "notice": "{notice}",
            "severity": "{severity}",
            "service": "{service}",
            "alertname": "{alertname}",
            "at": "{at}",
            "text": "{line}",
            "evidence": "{evidence}",
            "reason": "{reason}",
            "causes": "{causes}",
            "refused": "{refused}",
            "steps": "{steps}",
            "runbooks": "{runbooks}",
        });
        WebhookBuilder::new(Options::new("webhook", url, client), template, Channel::Terminal)
    }

    /// An incoming webhook of Slack, or of what speaks like it: one message a notice, encoded for `mrkdwn`, without
    /// previews of links. Slack's webhooks cannot edit: each notice is a message of its own, and names its incident.
    pub fn slack(url: &str, client: Client) -> WebhookBuilder {
        let template = json!({"text": "{message}", "unfurl_links": false, "unfurl_media": false});
        WebhookBuilder::new(Options::new("slack", url, client), template, Channel::Slack)
    }
}

#[async_trait]
impl Notifier for WebhookNotifier {
    fn channel(&self) -> &str {
        &self.hook.channel
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let before = previous.and_then(|receipt| receipt.value().get("sent")?.as_u64()).unwrap_or_default();
        let number = before.saturating_add(1);
        let message = Message::new(notice, self.catalogue.as_ref());
        let body = self.template.fill(&message, self.text, number).to_string();
        match self.hook.post(&body, |_, _| Ok(())).await {
            Ok(()) => Ok(Receipt::new(json!({"sent": number}))),
            Err(error) => Err(error.of_channel(&self.hook.channel)),
        }
    }
}
