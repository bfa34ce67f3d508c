//! What a message looks like. Every foreign text is encoded for `mrkdwn` once, here.

use aiops_core::{Channel, text};
use serde_json::{Value, json};

use super::super::message::Message;
use crate::store::Approval;

/// Characters of a section; Slack takes 3,000.
const SECTION: usize = 2_900;
/// Characters of one fact in what would run.
const FACT: usize = 150;
/// Facts of what would run that are shown.
const FACTS: usize = 12;

pub(super) const APPROVE: &str = "aiops_approve";
pub(super) const REJECT: &str = "aiops_reject";

/// Between lines, so that no escape is cut in two.
fn section(lines: impl IntoIterator<Item = String>) -> Value {
    let mut out = String::new();
    for line in lines {
        if out.chars().count() + line.chars().count() + 1 > SECTION {
            out.push('…');
            break;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&line);
    }
    json!({"type": "section", "text": {"type": "mrkdwn", "text": out, "verbatim": true}})
}

fn encoded(text: &str, max: usize) -> String {
    Channel::Slack.encode(&text::clip(text, max))
}

/// The incident's message as it stands now.
pub(super) fn head(message: &Message<'_>, waiting: &[Approval]) -> Value {
    let lines = message.lines(Channel::Slack);
    let mut blocks = vec![section(lines.lines().map(str::to_owned))];
    if let Some(report) = message.triaged() {
        blocks.push(section([encoded(&report.report.summary, SECTION / 2)]));
    }
    blocks.extend(waiting.iter().flat_map(approval));
    json!({
        "text": encoded(&message.notice.line(), SECTION / 2),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// A notice for the thread.
pub(super) fn news(message: &Message<'_>) -> Value {
    let lines = message.lines(Channel::Slack);
    json!({
        "text": encoded(&message.notice.line(), SECTION / 2),
        "blocks": [section(lines.lines().map(str::to_owned))],
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// Of what a block is, by the approval's name: `facts` or `buttons`.
pub(super) fn block_id(kind: &str, approval: &str) -> String {
    format!("aiops {kind} {approval}")
}

/// Exactly what would run, and two buttons.
fn approval(approval: &Approval) -> [Value; 2] {
    let request = &approval.request;
    let fact = |(name, value): (&str, &str)| format!("{}: {}", encoded(name, FACT), encoded(value, FACT));
    let mut lines = vec![format!("Approve {}?", encoded(request.action.as_str(), FACT))];
    lines.extend(request.target.parts().map(fact));
    lines.extend(request.parameters.iter().take(FACTS).map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fact((name, &value))
    }));
    lines.extend(approval.observed.facts().take(FACTS).map(|(name, value)| fact((&format!("observed {name}"), value))));
    lines.push(format!("until {}, digest {}", approval.expires_at, encoded(&approval.digest, FACT)));
    let mut facts = section(lines);
    facts["block_id"] = json!(block_id("facts", approval.id.as_str()));
    let button = |action: &str, label: &str, style: &str| {
        json!({
            "type": "button",
            "action_id": action,
            "text": {"type": "plain_text", "text": label},
            "style": style,
            "value": format!("{}.{}", approval.id, approval.digest),
        })
    };
    let buttons = json!({
        "type": "actions",
        "block_id": block_id("buttons", approval.id.as_str()),
        "elements": [button(APPROVE, "Approve", "primary"), button(REJECT, "Reject", "danger")],
    });
    [facts, buttons]
}

/// The blocks of a message after a word on one approval: what became of it stands where its buttons stood.
pub(super) fn rewritten(blocks: &[Value], approval: &str, outcome: &str) -> Vec<Value> {
    let buttons = block_id("buttons", approval);
    let replaced = |block: &Value| {
        if block["block_id"] == buttons.as_str() { section([encoded(outcome, SECTION / 2)]) } else { block.clone() }
    };
    blocks.iter().map(replaced).collect()
}
