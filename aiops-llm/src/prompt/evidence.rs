//! Evidence as lines of JSON: cleaned, encoded, cut at the borders of items.

use std::collections::BTreeMap;
use std::fmt::Write;

use aiops_core::{ContextItem, DetectionEvent, Redactions, ServiceName, Status, TriageRequest, text};
use serde::Serialize;

use super::{EvidenceTooLarge, Hide};

/// Characters of one value.
const VALUE: usize = 400;
/// Events that are shown: the one that asks, and the incident's others.
const EVENTS: usize = 8;
/// Characters beyond the cut that are looked at for the rest of a secret.
const REACH: usize = 4_096;
/// Labels of an event that are shown.
const LABELS: usize = 12;

/// One line of evidence.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    trust: &'static str,
    /// None where it is that of the event that asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    text: String,
}

/// The lines of one request.
pub(super) struct Lines {
    /// Kind and text of each, the event first.
    lines: Vec<(String, String)>,
    /// How many of each kind there were.
    of: BTreeMap<String, usize>,
    missing: Vec<String>,
}

impl Lines {
    /// All of them. A line in which the marks' number stands is dropped and told: nobody can know it by chance.
    pub(super) fn of(request: &TriageRequest, nonce: &str, hide: Hide<'_>) -> Self {
        let mut writer = Writer { hide, found: Redactions::default() };
        let mut lines = vec![("event".to_owned(), writer.event("event:1", &request.event))];
        let others = request.events.iter().filter(|event| event.event_id != request.event.event_id);
        for (index, other) in others.enumerate() {
            lines.push(("event".to_owned(), writer.event(&format!("event:{}", index + 2), other)));
        }
        let mut missing: Vec<String> = Vec::new();
        if lines.len() > EVENTS {
            missing.push(format!("event: {EVENTS} of {} shown", lines.len()));
            lines.truncate(EVENTS);
        }
        lines.extend(writer.labels(&request.event).map(|line| ("labels".to_owned(), line)));
        let own = &request.event.service;
        lines.extend(request.context.items.iter().map(|each| (each.kind.as_str().to_owned(), writer.item(each, own))));
        writer.found.record();
        let before = lines.len();
        lines.retain(|(_, line)| !line.contains(nonce));
        if lines.len() < before {
            metrics::counter!("aiops_llm_lines_dropped_total", "why" => "mark")
                .increment((before - lines.len()) as u64);
            missing.push(format!("{} lines were dropped", before - lines.len()));
        }
        let mut of = BTreeMap::new();
        for (kind, _) in &lines {
            *of.entry(kind.clone()).or_default() += 1;
        }
        missing.extend(
            request
                .context
                .missing
                .iter()
                .map(|gap| format!("{}: {}", one_line(&gap.what, 60), one_line(&gap.reason, 120))),
        );
        Self { lines, of, missing }
    }

    /// Drops whole lines until the rest fits into `max` bytes: each time the last of the kind that has most, since
    /// the items of a kind stand with the newest and most frequent first. The event stays.
    pub(super) fn fit(&mut self, max: usize) -> Result<(), EvidenceTooLarge> {
        let mut bytes: usize = self.lines.iter().map(|(_, line)| line.len() + 1).sum();
        let mut dropped = 0;
        while bytes > max && self.lines.len() > 1 {
            bytes -= self.lines.remove(self.least()).1.len() + 1;
            dropped += 1;
        }
        if dropped > 0 {
            metrics::counter!("aiops_llm_lines_dropped_total", "why" => "budget").increment(dropped);
        }
        for (kind, of) in &self.of {
            let shown = self.lines.iter().filter(|(each, _)| each == kind).count();
            if shown < *of {
                self.missing.push(format!("{kind}: {shown} of {of} shown"));
            }
        }
        if bytes > max { Err(EvidenceTooLarge { bytes, max }) } else { Ok(()) }
    }

    /// The last line of the kind that has most, the event aside.
    fn least(&self) -> usize {
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (at, (kind, _)) in self.lines.iter().enumerate().skip(1) {
            let (count, last) = counts.entry(kind).or_default();
            (*count, *last) = (*count + 1, at);
        }
        counts.into_values().max().map_or(1, |(_, last)| last)
    }

    pub(super) fn write(&self, out: &mut String) {
        for (_, line) in &self.lines {
            out.push_str(line);
            out.push('\n');
        }
    }

    pub(super) fn write_missing(&self, out: &mut String) {
        if !self.missing.is_empty() {
            let _ = writeln!(out, "Not shown: {}.", self.missing.join("; "));
        }
    }
}

/// Writes lines without secrets, with placeholders for names.
struct Writer<'h> {
    hide: Hide<'h>,
    found: Redactions,
}

impl Writer<'_> {
    /// Text on one line, without secrets, then cut: half a secret must not be left.
    fn line(&mut self, line: &str, max: usize) -> String {
        // A hostile text may be megabytes long: what cannot be shown is not looked at.
        let end = line.char_indices().nth(max * 4 + REACH).map_or(line.len(), |(at, _)| at);
        let redacted = self.hide.secrets.redact(&line[..end]);
        self.found.merge(redacted.found);
        one_line(&self.hide.names.hide(&redacted.text), max)
    }

    fn event(&mut self, id: &str, event: &DetectionEvent) -> String {
        let state = if event.status == Status::Resolved { "resolved" } else { "firing" };
        encode(&Line {
            id,
            trust: "system",
            service: Some(self.line(event.service.as_str(), 120)),
            at: Some(event.detected_at.to_string()),
            text: format!("{} {state}: {}", event.severity.as_str(), self.line(&event.explain(), VALUE)),
        })
    }

    /// The labels of the event that asks. Workloads set them.
    fn labels(&mut self, event: &DetectionEvent) -> Option<String> {
        let shown = event.labels.iter().filter(|(name, _)| *name != "alertname").take(LABELS);
        let text: Vec<String> =
            shown.map(|(name, value)| self.line(&format!("{}={value}", one_line(name, 60)), 180)).collect();
        let line = Line { id: "labels:1", trust: "external", service: None, at: None, text: text.join(", ") };
        (!text.is_empty()).then(|| encode(&line))
    }

    fn item(&mut self, item: &ContextItem, own: &ServiceName) -> String {
        let trust = match item.trust {
            aiops_core::Trust::System => "system",
            aiops_core::Trust::Operator => "operator",
            aiops_core::Trust::External => "external",
        };
        encode(&Line {
            id: &item.id,
            trust,
            service: item
                .service
                .as_ref()
                .filter(|service| *service != own)
                .map(|service| self.line(service.as_str(), 120)),
            at: item.at.map(|at| at.to_string()),
            text: self.line(&item.text, VALUE),
        })
    }
}

/// JSON without `<` and `>`, so that no line can look like the end of the evidence.
fn encode(line: &Line<'_>) -> String {
    let json = serde_json::to_string(line).unwrap_or_default();
    json.replace('<', "\\u003c").replace('>', "\\u003e")
}

/// Text on one line, without what does not show.
pub(super) fn one_line(line: &str, max: usize) -> String {
    text::clip(line, max)
}
