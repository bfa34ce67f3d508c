//! Redaction of JSON values: a name says what its value is, as in a text.

use serde_json::{Map, Value};

use super::key::Key;
use super::{Redactions, Redactor, assigned, put_marker};

/// Deeper values are redacted as a whole; serde_json reads no deeper ones either.
const DEPTH: usize = 128;
const TOO_DEEP: &str = "too_deep";

impl Redactor {
    /// Redacts every string of a value in place, names of objects too, and what stands under the name of a
    /// secret.
    ///
    /// ```
    /// let mut data = serde_json::json!({"user": "a@example.org", "auth": {"password": 1234}});
    /// let found = aiops_core::Redactor::default().redact_value(&mut data);
    /// assert_eq!(data, serde_json::json!({"user": "[REDACTED:email]", "auth": {"password": "[REDACTED:password]"}}));
    /// assert_eq!(found.total(), 2);
    /// ```
    pub fn redact_value(&self, value: &mut Value) -> Redactions {
        let mut found = Redactions::default();
        self.descend(value, None, DEPTH, &mut found);
        found
    }

    fn descend(&self, value: &mut Value, name: Option<&str>, depth: usize, found: &mut Redactions) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                let text = number.to_string();
                if let Some(redacted) = self.leaf(&text, name, found) {
                    *value = Value::String(redacted);
                }
            }
            Value::String(text) => {
                if let Some(redacted) = self.leaf(text, name, found) {
                    *text = redacted;
                }
            }
            _ if depth == 0 => {
                let mut marker = String::new();
                put_marker(&mut marker, TOO_DEEP);
                found.add(TOO_DEEP, 1);
                *value = Value::String(marker);
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.descend(item, name, depth - 1, found)),
            Value::Object(fields) => self.fields(fields, depth - 1, found),
        }
    }

    fn fields(&self, fields: &mut Map<String, Value>, depth: usize, found: &mut Redactions) {
        for (name, value) in fields.iter_mut() {
            self.descend(value, Some(name), depth, found);
        }
        let secret = |name: &String| !self.redact(name).found.is_empty();
        if !fields.keys().any(secret) {
            return;
        }
        for (name, value) in std::mem::take(fields) {
            let redacted = self.redact(&name);
            let mut shown = redacted.text.into_owned();
            found.merge(redacted.found);
            // Two names may become one: none of the values is lost.
            let mut copies = 1;
            let plain = shown.clone();
            while fields.contains_key(&shown) {
                copies += 1;
                shown = format!("{plain} {copies}");
            }
            fields.insert(shown, value);
        }
    }

    /// The text as it may be shown, if that is another.
    fn leaf(&self, text: &str, name: Option<&str>, found: &mut Redactions) -> Option<String> {
        let key = name.and_then(|name| Key::of(name.as_bytes()));
        let kind = key.and_then(|key| assigned::named(text.as_bytes(), &key)).filter(|kind| self.kinds.has(*kind));
        if let Some(kind) = kind {
            found.add(kind.name(), 1);
            let mut marker = String::new();
            put_marker(&mut marker, kind.name());
            return Some(marker);
        }
        let redacted = self.redact(text);
        if redacted.found.is_empty() {
            return None;
        }
        found.merge(redacted.found);
        Some(redacted.text.into_owned())
    }
}
