//! Takes a report out of an object, field by field, so that an error names the field.

use aiops_core::{Confidence, TriageReport, text};
use serde_json::Value;

use super::ReplyError;
use super::candidate::Object;

/// A longer key is cut where it is shown.
const SHOWN: usize = 40;

const TEXT: &str = "text";
const LIST: &str = "a list of texts";
const NUMBER: &str = "a number from 0 to 1";
const FLAG: &str = "true or false";

pub(super) fn report(Object { mut keys, duplicate }: Object) -> Result<TriageReport, ReplyError> {
    if let Some(key) = duplicate {
        return Err(ReplyError::DuplicateKey { key: text::clip(&key, SHOWN) });
    }
    if !keys.contains_key("summary") && keys.contains_key("properties") {
        return Err(ReplyError::EchoedSchema);
    }
    let mut take = |field| keys.remove(field).ok_or(ReplyError::Missing { field });
    let summary = match take("summary")? {
        Value::String(summary) => summary,
        other => return Err(wrong("summary", TEXT, &other)),
    };
    let likely_causes = texts("likely_causes", take("likely_causes")?)?;
    let recommended_actions = texts("recommended_actions", take("recommended_actions")?)?;
    let confidence = confidence(&take("confidence")?)?;
    let needs_human = match take("needs_human")? {
        Value::Bool(flag) => flag,
        other => return Err(wrong("needs_human", FLAG, &other)),
    };
    let report = TriageReport::new(summary)
        .likely_causes(likely_causes)
        .recommended_actions(recommended_actions)
        .confidence(confidence)
        .needs_human(needs_human);
    match keys.remove("evidence") {
        None => Ok(report),
        Some(ids) => Ok(report.evidence(texts("evidence", ids)?)),
    }
}

fn texts(field: &'static str, value: Value) -> Result<Vec<String>, ReplyError> {
    let Value::Array(items) = value else { return Err(wrong(field, LIST, &value)) };
    let text = |item| match item {
        Value::String(text) => Ok(text),
        other => Err(ReplyError::Wrong { field, expected: LIST, found: format!("a list with {}", kind(&other)) }),
    };
    items.into_iter().map(text).collect()
}

fn confidence(value: &Value) -> Result<Confidence, ReplyError> {
    let Value::Number(number) = value else { return Err(wrong("confidence", NUMBER, value)) };
    let confidence = number.as_f64().and_then(|number| Confidence::new(number).ok());
    let found = || text::clip(&number.to_string(), SHOWN);
    confidence.ok_or_else(|| ReplyError::Wrong { field: "confidence", expected: NUMBER, found: found() })
}

fn wrong(field: &'static str, expected: &'static str, found: &Value) -> ReplyError {
    ReplyError::Wrong { field, expected, found: kind(found).to_owned() }
}

/// What a value is, for a person.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
