//! The one alert that stands for an incident: its labels, its annotations, and how notices change it.

use std::collections::BTreeMap;
use std::time::Duration;

use aiops_core::time::{minus, plus};
use aiops_core::{Channel, Notice, NoticeKind, Severity, text};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PostedAlert;
use crate::alert_mapping::{INCIDENT_LABEL, KIND_LABEL};
use crate::source::Labels;

/// Characters of a label's value.
const LABEL_CHARS: usize = 200;
/// Characters of an annotation: a few sentences.
const ANNOTATION_CHARS: usize = 600;
/// An end that lies ahead by Alertmanager's clock would be no end yet, so that a later one that it
/// knows would stay: the clocks may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// An open alert. Its labels stay as they are until the incident's severity rises, so that every
/// notice of the incident is the same alert to Alertmanager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenAlert {
    pub(super) labels: Labels,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) severity: Severity,
    pub(super) starts_at: Timestamp,
    /// The last notice about it.
    pub(super) noticed_at: Timestamp,
}

impl OpenAlert {
    /// The alert that a first notice opens. `added` labels are the host's, `carried` names labels of
    /// the event that come along; the alert's own go before both.
    pub(super) fn new(notice: &Notice, added: &Labels, carried: &[String], now: Timestamp) -> Self {
        let event = &notice.event;
        let mut labels = added.clone();
        let carried = carried.iter().filter_map(|name| Some((name.clone(), event.labels.get(name)?.clone())));
        labels.extend(carried);
        labels.extend([
            ("alertname".to_owned(), event.alertname().to_owned()),
            ("service".to_owned(), event.service.to_string()),
            (KIND_LABEL.to_owned(), event.kind.to_string()),
            (INCIDENT_LABEL.to_owned(), notice.incident_id.to_string()),
        ]);
        // An empty value is no label to Alertmanager.
        labels.retain(|_, value| {
            *value = label(value);
            !value.is_empty()
        });
        labels.insert("severity".to_owned(), event.severity.to_string());
        let annotations = BTreeMap::new();
        Self { labels, annotations, severity: event.severity, starts_at: event.detected_at.min(now), noticed_at: now }
    }

    /// The alert of a severity that rose: routes go by the label, and a person must be reached.
    pub(super) fn risen(&self, severity: Severity) -> Option<Self> {
        (severity > self.severity).then(|| {
            let mut risen = self.clone();
            risen.severity = severity;
            risen.labels.insert("severity".to_owned(), severity.to_string());
            risen
        })
    }

    /// Takes in what a notice says.
    pub(super) fn note(&mut self, notice: &Notice, now: Timestamp) {
        self.noticed_at = now;
        self.annotate("summary", &notice.explain);
        match &notice.kind {
            NoticeKind::Announced { held, reason } => {
                if *held > 0 {
                    self.annotate("held_back", &held.to_string());
                }
                if let Some(reason) = reason {
                    self.annotate("reason", reason);
                }
            }
            NoticeKind::Updated { triaged, response } => {
                if let Some(triaged) = triaged {
                    let report = &triaged.report;
                    self.annotate("triage", &report.summary);
                    self.annotate("triager", &triaged.provenance.triager);
                    self.annotate("confidence", &text::number(report.confidence.value()));
                    self.annotate("likely_causes", &report.likely_causes.join("; "));
                    self.annotate("recommended_actions", &report.recommended_actions.join(", "));
                }
                if let Some(response) = response {
                    self.annotate("remediation", response.disposition.as_str());
                }
            }
            NoticeKind::Suppressed { summary } => self.annotate("suppressed", summary),
            NoticeKind::Escalated { reason, .. } => self.annotate("escalated", reason),
            NoticeKind::AwaitingApproval { response } => {
                let steps: Vec<&str> = response.plan.steps.iter().map(|step| step.action.as_str()).collect();
                self.annotate("awaiting_approval", &steps.join(", "));
            }
            // A kind to come says it in its own line.
            _ => self.annotate("notice", &notice.line()),
        }
    }

    fn annotate(&mut self, name: &str, value: &str) {
        let value = annotation(value);
        if value.is_empty() {
            self.annotations.remove(name);
        } else {
            self.annotations.insert(name.to_owned(), value);
        }
    }

    /// Firing, and expiring by itself after `hold`.
    pub(super) fn firing(&self, now: Timestamp, hold: Duration) -> PostedAlert {
        self.posted(self.starts_at, plus(now, hold))
    }

    /// Ended.
    pub(super) fn ended(&self, now: Timestamp) -> PostedAlert {
        let end = minus(now, CLOCK_SKEW);
        // It must not end before it began.
        self.posted(self.starts_at.min(end), end)
    }

    fn posted(&self, starts_at: Timestamp, ends_at: Timestamp) -> PostedAlert {
        PostedAlert { labels: self.labels.clone(), annotations: self.annotations.clone(), starts_at, ends_at }
    }
}

/// A label's value: routes and silences compare it, so that nothing is changed but what no name has.
fn label(value: &str) -> String {
    unmarked(&Channel::Terminal.encode(value), LABEL_CHARS)
}

/// An annotation: receivers of all kinds put it into their templates as it stands, so that no address in it may be one
/// that a chat, a mail or a pager makes a link of.
fn annotation(value: &str) -> String {
    unmarked(&Channel::Pager.encode(value), ANNOTATION_CHARS)
}

/// Text without the marks of HTML, of Slack's mentions and of Markdown's links.
fn unmarked(value: &str, max: usize) -> String {
    text::clip(value, max).replace('<', "‹").replace('>', "›").replace("](", "] (")
}

/// What a receipt says of an incident: its alert, or that it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) open: Option<OpenAlert>,
}
