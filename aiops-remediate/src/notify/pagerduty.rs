//! PagerDuty's Events API v2.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::{Channel, Clock, Live, Notice, NoticeKind, Notifier, NotifyError, Receipt, Severity, text};
use async_trait::async_trait;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::InvalidNotifier;
use super::message::Message;
use crate::catalogue::ActionCatalogue;
use crate::hook::{Hook, HookError, Options, Secret, words};
use crate::sha256::{hex, sha256};

/// The service region of the United States; the European one has a host of its own.
const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Characters of an integration key.
const KEY: usize = 32;
/// The longest summary and `dedup_key` that it takes.
const SUMMARY: usize = 1_024;
const DEDUP_KEY: usize = 255;
/// Of an id that is too long, so much stands before its hash.
const KEPT_OF_KEY: usize = DEDUP_KEY - 1 - 64;
/// One detail is cut here; an event may have 512 KB.
const DETAIL: usize = 2_000;

/// PagerDuty's severities, by which its services tell high from low urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PagerDutySeverity {
    /// Low urgency.
    Info,
    /// Low urgency.
    Warning,
    /// High urgency.
    Error,
    /// High urgency.
    Critical,
}

impl PagerDutySeverity {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Builds a [`PagerDutyNotifier`].
#[derive(Debug)]
#[must_use]
pub struct PagerDutyBuilder {
    options: Options,
    key: Secret,
    severities: [PagerDutySeverity; 3],
    catalogue: Option<Live<ActionCatalogue>>,
}

impl PagerDutyBuilder {
    /// Another address than `https://events.pagerduty.com/v2/enqueue`, such as that of the European service region.
    pub fn url(mut self, url: &str) -> Self {
        self.options.url = Secret(url.to_owned());
        self
    }

    /// The channel's name, where a pipeline has more than one of them; `pagerduty` unless set.
    pub fn channel(mut self, name: impl Into<String>) -> Self {
        self.options.channel = name.into();
        self
    }

    /// What a severity is there; each its namesake unless set.
    pub fn severity(mut self, severity: Severity, there: PagerDutySeverity) -> Self {
        self.severities[place(severity)] = there;
        self
    }

    /// Where the runbooks of actions are looked up: they become links.
    pub fn runbooks(mut self, catalogue: impl Into<Live<ActionCatalogue>>) -> Self {
        self.catalogue = Some(catalogue.into());
        self
    }

    /// The longest that one notice may take with all its tries; 8 s unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Tries after the first, where PagerDuty is down or has too much to do; 2 unless set.
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
    /// All faults at once: a key that is none, a URL that does not read.
    pub fn build(self) -> Result<PagerDutyNotifier, InvalidNotifier> {
        let mut faults = Vec::new();
        let key = &self.key.0;
        if key.len() != KEY || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            faults.push(format!("the integration key is not {KEY} letters and digits"));
        }
        match Hook::new(self.options, vec![self.key.clone()]).map_err(|found| faults.extend(found)) {
            Ok(hook) if faults.is_empty() => {
                let (key, severities, catalogue) = (self.key, self.severities, self.catalogue);
                Ok(PagerDutyNotifier { hook, key, severities, catalogue })
            }
            _ => Err(InvalidNotifier(faults)),
        }
    }
}

/// Opens one alert for each incident in PagerDuty, adds to it, and resolves it.
///
/// `dedup_key` is the incident id, so that an announcement, an escalation and the resolve are one alert. What opens
/// or adds to it is a `trigger`; an incident's end is a `resolve`. Nothing is acknowledged: that says that a person is
/// at work, and would keep further pages back.
///
/// A trigger with the key of a resolved alert opens a new one. So news that page nobody (`updated`, `suppressed`) are
/// sent only while the incident's alert is open, by the channel's receipt; else they are left out, and counted.
#[derive(Debug)]
pub struct PagerDutyNotifier {
    hook: Hook,
    key: Secret,
    severities: [PagerDutySeverity; 3],
    catalogue: Option<Live<ActionCatalogue>>,
}

fn place(severity: Severity) -> usize {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

impl PagerDutyNotifier {
    /// A notifier with the integration key (32 characters) of a service with an Events API v2 integration.
    pub fn builder(integration_key: impl Into<String>, client: Client) -> PagerDutyBuilder {
        PagerDutyBuilder {
            options: Options::new("pagerduty", URL, client),
            key: Secret(integration_key.into()),
            severities: [PagerDutySeverity::Info, PagerDutySeverity::Warning, PagerDutySeverity::Critical],
            catalogue: None,
        }
    }

    fn event(&self, notice: &Notice) -> Value {
        let key = dedup_key(notice.incident_id.as_str());
        if notice.kind == NoticeKind::Resolved {
            return json!({"routing_key": self.key.0, "event_action": "resolve", "dedup_key": key});
        }
        let message = Message::new(notice, self.catalogue.as_ref());
        let event = &notice.event;
        let shown = |text: &str, max| text::clip(&Channel::Pager.encode(&text::clip(text, max)), max);
        let detail = |text: &str| shown(text, DETAIL);
        let mut details = json!({
            "incident_id": detail(notice.incident_id.as_str()),
            "notice": notice.kind.as_str(),
            "evidence": detail(&notice.explain),
            "detected_at": event.detected_at.to_string(),
            "fingerprint": detail(event.fingerprint.as_str()),
        });
        let mut add = |name: &str, texts: Vec<String>| {
            let texts: Vec<String> = texts.iter().filter(|text| !text.is_empty()).map(|text| detail(text)).collect();
            if !texts.is_empty() {
                details[name] = texts.join("\n").into();
            }
        };
        add("reason", vec![message.reason()]);
        add("summary", message.triaged().map(|triaged| triaged.report.summary.clone()).into_iter().collect());
        add("causes", message.causes());
        add("refused", message.refused());
        add("steps", message.steps());
        let links: Vec<Value> = message
            .runbooks
            .iter()
            .map(|(action, address)| json!({"href": address, "text": format!("runbook of {action}")}))
            .collect();
        json!({
            "routing_key": self.key.0,
            "event_action": "trigger",
            "dedup_key": key,
            "client": "aiops",
            "payload": {
                "summary": shown(&notice.line(), SUMMARY),
                "source": detail(event.service.as_str()),
                "component": detail(event.service.as_str()),
                "class": detail(event.alertname()),
                "severity": self.severities[place(event.severity)].as_str(),
                "timestamp": notice.at.to_string(),
                "custom_details": details,
            },
            "links": links,
        })
    }
}

/// The incident id; where it is longer than a key may be, its head and the SHA-256 of all of it.
fn dedup_key(incident: &str) -> String {
    if incident.chars().count() <= DEDUP_KEY {
        return incident.to_owned();
    }
    let head: String = incident.chars().take(KEPT_OF_KEY).collect();
    format!("{head}-{}", hex(&sha256(&[incident.as_bytes()])))
}

/// What it answers: 202 with `success`, or 400 with its errors.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<String>,
}

fn verdict(status: u16, body: &[u8]) -> Result<(), HookError> {
    let answer = serde_json::from_slice::<Answer>(body).ok();
    if status == 202 && answer.as_ref().is_some_and(|answer| answer.status == "success") {
        return Ok(());
    }
    let reason = answer.map_or_else(
        || words(body),
        |Answer { message, errors, .. }| {
            let said = std::iter::once(message).chain(errors).filter(|text| !text.is_empty());
            words(said.collect::<Vec<_>>().join(": ").as_bytes())
        },
    );
    // A page that says 200 is no acceptance: a proxy's login took the notice.
    if (200..300).contains(&status) {
        Err(HookError::Malformed { status, reason })
    } else {
        Err(HookError::Refused { status, reason })
    }
}

#[async_trait]
impl Notifier for PagerDutyNotifier {
    fn channel(&self) -> &str {
        &self.hook.channel
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let open = previous.is_some_and(|receipt| receipt.value().get("open") == Some(&Value::Bool(true)));
        let news = matches!(notice.kind, NoticeKind::Updated { .. } | NoticeKind::Suppressed { .. });
        if news && !open {
            let channel = self.hook.channel.clone();
            metrics::counter!("aiops_notify_left_out_total", "channel" => channel, "notice" => notice.kind.as_str())
                .increment(1);
            return Ok(previous.cloned().unwrap_or_default());
        }
        let body = self.event(notice).to_string();
        match self.hook.post(&body, verdict).await {
            Ok(()) => Ok(Receipt::new(json!({"open": notice.kind != NoticeKind::Resolved}))),
            Err(error) => Err(error.of_channel(&self.hook.channel)),
        }
    }
}
