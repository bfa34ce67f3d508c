//! The body of a webhook: JSON whose strings hold named places, checked when the notifier is built.

use aiops_core::{Channel, text};
use serde_json::{Map, Value};

use super::message::Message;

/// What can stand in a template, `{name}` each.
const NAMES: [&str; 18] = [
    "incident_id",
    "notice",
    "severity",
    "service",
    "alertname",
    "event_id",
    "fingerprint",
    "at",
    "line",
    "message",
    "evidence",
    "reason",
    "summary",
    "causes",
    "refused",
    "steps",
    "runbooks",
    "number",
];

/// A place's text is cut here, `message` at [`MESSAGE`].
const PLACE: usize = 2_000;
/// Slack shows up to 4,000 characters of a text well, and cuts at 40,000.
const MESSAGE: usize = 4_000;

/// A template that was checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Template {
    Text(Vec<Part>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    /// A number, a flag or null.
    Value(Value),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Literal(String),
    Place(&'static str),
}

impl Template {
    /// Checks a template; each fault names the place by its JSON pointer.
    pub(super) fn new(value: &Value) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let template = compile(value, "", &mut faults);
        if faults.is_empty() { Ok(template) } else { Err(faults) }
    }

    /// The body for a message; `number` counts the notices of its incident on this channel.
    pub(super) fn fill(&self, message: &Message<'_>, channel: Channel, number: u64) -> Value {
        match self {
            Self::Text(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Literal(text) => text.clone(),
                    Part::Place(name) => place(name, message, channel, number),
                })
                .collect::<String>()
                .into(),
            Self::List(items) => items.iter().map(|item| item.fill(message, channel, number)).collect(),
            Self::Object(fields) => {
                let filled = fields.iter().map(|(name, field)| (name.clone(), field.fill(message, channel, number)));
                filled.collect::<Map<String, Value>>().into()
            }
            Self::Value(value) => value.clone(),
        }
    }
}

fn compile(value: &Value, path: &str, faults: &mut Vec<String>) -> Template {
    match value {
        Value::String(text) => Template::Text(parts(text, path, faults)),
        Value::Array(items) => {
            let item = |(at, item)| compile(item, &format!("{path}/{at}"), faults);
            Template::List(items.iter().enumerate().map(item).collect())
        }
        Value::Object(fields) => {
            let field = |(name, field): (&String, _)| (name.clone(), compile(field, &format!("{path}/{name}"), faults));
            Template::Object(fields.iter().map(field).collect())
        }
        other => Template::Value(other.clone()),
    }
}

/// `{{` and `}}` are braces that stand for themselves.
fn parts(text: &str, path: &str, faults: &mut Vec<String>) -> Vec<Part> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
            continue;
        }
        let end = if brace == "{" { rest.find('}') } else { None };
        let Some(end) = end else {
            faults.push(format!("template {path}: a single {brace:?}; write {brace}{brace} for the sign itself"));
            break;
        };
        let name = &rest[..end];
        rest = &rest[end + 1..];
        let Some(known) = NAMES.iter().find(|known| **known == name) else {
            let name = text::clip(name, 80);
            faults.push(format!("template {path}: there is no {{{name}}}; there are {}", NAMES.join(", ")));
            continue;
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Place(known));
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    parts
}

/// The text of a place, encoded for the channel.
fn place(name: &str, message: &Message<'_>, channel: Channel, number: u64) -> String {
    let (notice, event) = (message.notice, &message.notice.event);
    let text = match name {
        "message" => return cut(&message.lines(channel), MESSAGE),
        // Addresses from the catalogue.
        "runbooks" => {
            let addresses: Vec<&str> = message.runbooks.iter().map(|(_, address)| address.as_str()).collect();
            return addresses.join(" ");
        }
        "number" => return number.to_string(),
        "incident_id" => notice.incident_id.to_string(),
        "notice" => notice.kind.as_str().to_owned(),
        "severity" => event.severity.to_string(),
        "service" => event.service.to_string(),
        "alertname" => event.alertname().to_owned(),
        "event_id" => event.event_id.to_string(),
        "fingerprint" => event.fingerprint.to_string(),
        "at" => notice.at.to_string(),
        "line" => notice.line(),
        "evidence" => notice.explain.clone(),
        "reason" => message.reason(),
        "summary" => message.triaged().map(|triaged| triaged.report.summary.clone()).unwrap_or_default(),
        "causes" => message.causes().join("; "),
        "refused" => message.refused().join("; "),
        "steps" => message.steps().join("; "),
        _ => String::new(),
    };
    channel.encode(&text::clip(&text, PLACE))
}

/// Cut between lines, so that no escape is cut in two.
fn cut(text: &str, max: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if out.chars().count() + line.chars().count() + 1 > max {
            out.push('…');
            break;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(line);
    }
    out
}
