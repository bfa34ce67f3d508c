//! One incident: its timeline, the picture of its series, context, report and plan.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::{minus, plus};
use aiops_core::{
    BoxError, Decision, DetectionEvent, Incident, IncidentEntry, Outcome, Response as Answered, RuleInput, Triaged,
    text,
};
use async_trait::async_trait;
use axum::extract::{Request, State};
use jiff::Timestamp;

use super::html::Html;
use super::svg::sparkline;
use super::{Page, fact, page};
use crate::server::gate::{Problem, Segment, segment};
use crate::server::{Inner, Shared};

/// So much of a series before the incident is shown, and after its last record.
const BEFORE: Duration = Duration::from_secs(3_600);
const AFTER: Duration = Duration::from_secs(600);
/// A reader of series that takes longer costs the picture, not the page.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pictures of one incident.
const PICTURES: usize = 4;
/// Records of a timeline that are shown: the first ones and the newest.
const SHOWN: usize = 200;

/// Reads the samples of the series behind an event, for the picture on an incident's page.
///
/// # Contract
/// - It answers with what there is in `[from, to)`, the oldest first; no samples are no error.
/// - After 3 s the page goes without the picture. The future may be dropped at any time.
///
/// # Errors
/// Why nothing could be read: it is logged, and the page shows the values of the events instead.
///
/// # Implementing
/// ```
/// use aiops_core::{BoxError, DetectionEvent, jiff::Timestamp};
/// use aiops_remediate::server::SeriesReader;
/// #[derive(Debug)]
/// struct OurMetrics;
///
/// #[async_trait::async_trait]
/// impl SeriesReader for OurMetrics {
///     async fn series(&self, event: &DetectionEvent, from: Timestamp, _: Timestamp)
///         -> Result<Vec<(Timestamp, f64)>, BoxError> {
///         Ok(event.signal.value.map(|value| (from, value)).into_iter().collect())
///     }
/// }
/// ```
#[async_trait]
pub trait SeriesReader: fmt::Debug + Send + Sync + 'static {
    /// The samples of the event's series in a time.
    async fn series(
        &self,
        event: &DetectionEvent,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, BoxError>;
}

#[async_trait]
impl<T: SeriesReader + ?Sized> SeriesReader for Arc<T> {
    async fn series(
        &self,
        event: &DetectionEvent,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, BoxError> {
        (**self).series(event, from, to).await
    }
}

pub(in crate::server) async fn incident(State(inner): State<Shared>, id: Segment, request: Request) -> Page {
    inner.reader(request).await?;
    let incident = inner.incident(&segment(id, "incident")?).await?;
    let mut html = Html::default();
    head(&mut html, &incident);
    pictures(&inner, &mut html, &incident).await;
    let records = incident.records.iter().rev();
    let triaged = records.clone().find_map(|record| match &record.entry {
        IncidentEntry::Triaged { triaged } => Some(&**triaged),
        _ => None,
    });
    if let Some(triaged) = triaged {
        report(&mut html, triaged);
    }
    let answered = records.clone().find_map(|record| match &record.entry {
        IncidentEntry::Responded { response } => Some(&**response),
        _ => None,
    });
    if let Some(answered) = answered {
        plan(&mut html, answered);
    }
    waiting(&inner, &mut html, &incident).await?;
    timeline(&mut html, &incident);
    if inner.desk.is_some() {
        html.raw("<p><a href=\"../../page/review\">Give a verdict in the review</a></p>");
    }
    let services: Vec<&str> = incident.services.iter().map(|service| service.as_str()).collect();
    let title = format!("Incident on {}", text::clip(&services.join(", "), 200));
    Ok(page(&title, "../../", &html))
}

fn head(html: &mut Html, incident: &Incident) {
    html.raw("<dl>");
    fact(html, "Incident", incident.incident_id.as_str());
    fact(html, "State", if incident.firing().is_empty() { "resolved" } else { "open" });
    html.raw("</dl>");
    for event in incident.firing() {
        html.raw("<p><strong class=\"").raw(event.severity.as_str()).raw("\">").raw(event.severity.as_str());
        html.raw("</strong> ").text(&event.explain()).raw("</p>");
    }
}

/// The announced events, and the first of each series.
fn announced(incident: &Incident) -> Vec<&DetectionEvent> {
    let events = incident.records.iter().filter_map(|record| match &record.entry {
        IncidentEntry::Announced { event } => Some(&**event),
        _ => None,
    });
    events.collect()
}

async fn pictures(inner: &Inner, html: &mut Html, incident: &Incident) {
    let events = announced(incident);
    let mut shown: Vec<String> = Vec::new();
    for first in &events {
        let key = first.identity().key();
        if shown.contains(&key) {
            continue;
        }
        if shown.len() == PICTURES {
            html.raw("<p>More series are not shown.</p>");
            break;
        }
        let same: Vec<&&DetectionEvent> = events.iter().filter(|event| event.identity().key() == key).collect();
        let marks: Vec<Timestamp> = same.iter().map(|event| event.detected_at).collect();
        let last = incident.records.last().map_or(first.observed(), |record| record.at);
        let mut points = read(inner, first, minus(first.detected_at, BEFORE), plus(last, AFTER)).await;
        if points.is_empty() {
            points = same.iter().filter_map(|event| Some((event.observed(), event.signal.value?))).collect();
        }
        let name = format!("{} on {}", text::clip(first.alertname(), 100), text::clip(first.service.as_str(), 100));
        if let Some(svg) = sparkline(&name, &points, first.signal.expected, &marks) {
            html.raw("<figure>").add(&svg).raw("<figcaption>").text(&name).raw("</figcaption></figure>");
        }
        shown.push(key);
    }
}

async fn read(inner: &Inner, event: &DetectionEvent, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, f64)> {
    let Some(reader) = &inner.series else { return Vec::new() };
    let by = plus(inner.clock.now(), PATIENCE);
    let why = match guarded(&*inner.clock, by, reader.series(event, from, to)).await {
        Ok(Ok(points)) => return points,
        Ok(Err(error)) => aiops_core::error_chain(&*error),
        Err(fault) => fault.plain(),
    };
    tracing::debug!(why, "a series could not be read for its picture");
    Vec::new()
}

fn report(html: &mut Html, triaged: &Triaged) {
    let report = &triaged.report;
    html.raw("<h2>Report</h2><p>").text(&report.summary).raw("</p><dl>");
    fact(html, "Triager", &triaged.provenance.triager);
    if let Some(model) = &triaged.provenance.model {
        fact(html, "Model", model);
    }
    fact(html, "Confidence", &text::number(report.confidence.value()));
    if report.needs_human {
        fact(html, "Needs a person", "yes");
    }
    fact(html, "Recommends", &report.recommended_actions.join(", "));
    html.raw("</dl>");
    list(html, "Likely causes", &report.likely_causes);
    if !report.evidence.is_empty() {
        html.raw("<h3>Evidence</h3><ul>");
        for id in &report.evidence {
            html.raw("<li>");
            match triaged.cited.iter().position(|item| item.id == *id) {
                Some(place) => html.raw("<a href=\"#context-").count(place).raw("\">").text(id).raw("</a>"),
                None => html.text(id).raw(" (not in the context)"),
            };
        }
        html.raw("</ul>");
    }
    if !triaged.cited.is_empty() {
        html.raw("<h2>Context that it cites</h2><table><thead><tr><th>Item<th>Written by<th>When<th>What</tr></thead><tbody>");
        for (place, item) in triaged.cited.iter().enumerate() {
            html.raw("<tr id=\"context-").count(place).raw("\" tabindex=\"-1\"><td>").text(&item.id).raw("<td>");
            html.text(&format!("{:?}", item.trust)).raw("<td>");
            html.text(&item.at.map(|at| at.to_string()).unwrap_or_default()).raw("<td>").text(&item.text).raw("</tr>");
        }
        html.raw("</tbody></table>");
    }
}

fn list(html: &mut Html, name: &'static str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    html.raw("<h3>").raw(name).raw("</h3><ol>");
    for text in texts {
        html.raw("<li>").text(text);
    }
    html.raw("</ol>");
}

fn plan(html: &mut Html, answered: &Answered) {
    html.raw("<h2>Plan</h2><p>").raw(answered.disposition.as_str());
    if let Some(reason) = answered.disposition.reason() {
        html.raw(": ").text(reason);
    }
    html.raw("</p>");
    if !answered.plan.steps.is_empty() {
        html.raw("<table><thead><tr><th>Action<th>Target<th>Decision<th>Why<th>Outcome</tr></thead><tbody>");
        for step in &answered.plan.steps {
            let decision = match step.decision {
                Decision::Allow => "allow",
                Decision::RequireApproval => "require_approval",
                Decision::Deny => "deny",
            };
            let target = step.target.as_ref().map(ToString::to_string).unwrap_or_default();
            html.raw("<tr><td>")
                .text(&step.action)
                .raw("<td>")
                .text(&target)
                .raw("<td class=\"")
                .raw(decision)
                .raw("\">");
            html.raw(decision).raw("<td>").text(&step.reason);
            rules(html, &step.rules);
            html.raw("<td>").raw(match step.outcome {
                Some(Outcome::Helped) => "helped",
                Some(Outcome::NoEffect) => "no effect",
                Some(Outcome::Worse) => "worse",
                Some(Outcome::Unknown) => "unknown",
                None => "",
            });
            html.raw("</tr>");
        }
        html.raw("</tbody></table>");
    }
    rules(html, &answered.plan.rules);
}

fn rules(html: &mut Html, rules: &[aiops_core::RuleVerdict]) {
    if rules.is_empty() {
        return;
    }
    html.raw("<details><summary>").count(rules.len()).raw(" rules</summary><ul>");
    for rule in rules {
        html.raw("<li>").raw(if rule.pass { "passes: " } else { "stops: " }).text(&rule.rule);
        if !rule.detail.is_empty() {
            html.raw(": ").text(&rule.detail);
        }
        for (name, input) in &rule.inputs {
            let value = match input {
                RuleInput::Flag(flag) => flag.to_string(),
                RuleInput::Number(number) => text::number(*number),
                RuleInput::Text(text) => text.to_string(),
                _ => continue,
            };
            html.raw(" <span class=\"tag\">").text(name).raw(" ").text(&value).raw("</span>");
        }
    }
    html.raw("</ul></details>");
}

async fn waiting(inner: &Inner, html: &mut Html, incident: &Incident) -> Result<(), Problem> {
    let approvals = inner.dispatcher.approvals().await?;
    let own: Vec<_> = approvals.iter().filter(|approval| approval.incident_id == incident.incident_id).collect();
    if own.is_empty() {
        return Ok(());
    }
    html.raw("<h2>Waiting for approval</h2><ul>");
    for approval in own {
        html.raw("<li><a href=\"../../page/approvals/").segment(approval.id.as_str()).raw("\">");
        html.text(&approval.place()).raw("</a>, until ").text(&approval.expires_at.to_string());
    }
    html.raw("</ul>");
    Ok(())
}

fn timeline(html: &mut Html, incident: &Incident) {
    html.raw("<h2>Timeline</h2><ol>");
    let records = &incident.records;
    let left_out = records.len().saturating_sub(SHOWN);
    for (place, record) in records.iter().enumerate() {
        if left_out > 0 && place == SHOWN / 2 {
            html.raw("<li>").count(left_out).raw(" records are not shown");
        }
        if (SHOWN / 2..SHOWN / 2 + left_out).contains(&place) {
            continue;
        }
        html.raw("<li><time>").text(&record.at.to_string()).raw("</time> ").text(&record.entry.line());
    }
    html.raw("</ol>");
}
