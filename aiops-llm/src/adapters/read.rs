//! What answers have in common: counts and texts, whatever else stands there.

use serde_json::Value;

/// Counts in an answer's usage; what is not there or no count is 0.
#[derive(Clone, Copy)]
pub(super) struct Counts<'a>(Option<&'a Value>);

impl<'a> Counts<'a> {
    pub(super) fn of(usage: Option<&'a Value>) -> Self {
        Self(usage)
    }

    /// The count at this JSON pointer.
    pub(super) fn at(self, place: &str) -> u64 {
        self.0.and_then(|usage| usage.pointer(place)?.as_u64()).unwrap_or_default()
    }
}

/// Texts one after another; what is no text is none.
pub(super) fn joined<'a>(texts: impl Iterator<Item = &'a Value>) -> String {
    texts.filter_map(Value::as_str).collect()
}

/// A message's content: text, or parts of which some are text.
pub(super) fn content(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let text = |part: &&Value| matches!(part["type"].as_str(), Some("text" | "output_text"));
            joined(parts.iter().filter(text).map(|part| &part["text"]))
        }
        _ => String::new(),
    }
}
