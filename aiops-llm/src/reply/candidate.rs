//! Finds the one JSON object in a text.
//!
//! A brace that a quote or a brace follows begins an object, a bracket that a brace follows begins a
//! list of objects, and both must end as such: broken JSON is never read from its inner parts. Other
//! braces and brackets are prose. Time is linear in the text: what parses is passed over, and what
//! does not ends the search. Nesting within an object is bounded by the parser (128 levels).

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::ReplyError;

/// The keys of an object, and the first one that stands twice.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) keys: Map<String, Value>,
    pub(super) duplicate: Option<String>,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::default();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if object.keys.contains_key(&key) {
                        object.duplicate.get_or_insert(key);
                    } else {
                        object.keys.insert(key, value);
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The text as one object and nothing else.
pub(super) fn whole(text: &str) -> Result<Object, ReplyError> {
    let value = |error| broken(text, 0, error);
    match text.trim_start().chars().next() {
        None => Err(ReplyError::NoJson),
        Some('{') => serde_json::from_str(text).map_err(value),
        Some(_) => {
            let other: Value = serde_json::from_str(text).map_err(value)?;
            Err(ReplyError::NotAnObject { found: super::fields::kind(&other) })
        }
    }
}

/// The only object in a text that may hold prose.
pub(super) fn only(text: &str) -> Result<Object, ReplyError> {
    if text.trim_start().starts_with('[') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Err(ReplyError::NotAnObject { found: "a list" });
    }
    let mut only = None;
    let mut lists = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '[']) {
        let start = at + found;
        let (bracket, rest) = text[start..].split_at(1);
        let broken = |error| broken(text, start, error);
        at = match (bracket, rest.trim_start().chars().next()) {
            ("{", Some('"' | '}')) => {
                let (object, end) = read(text, start).map_err(broken)?;
                if only.replace(object).is_some() {
                    return Err(ReplyError::SeveralCandidates);
                }
                end
            }
            ("[", Some('{')) => {
                lists += 1;
                read::<IgnoredAny>(text, start).map_err(broken)?.1
            }
            _ => start + 1,
        };
    }
    match (only, lists) {
        (Some(object), 0) => Ok(object),
        (None, 0) => Err(ReplyError::NoJson),
        (None, 1) => Err(ReplyError::NotAnObject { found: "a list" }),
        _ => Err(ReplyError::SeveralCandidates),
    }
}

/// The value that begins at `start`, and where it ends.
fn read<'t, T: Deserialize<'t>>(text: &'t str, start: usize) -> Result<(T, usize), serde_json::Error> {
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<T>();
    match values.next() {
        Some(value) => Ok((value?, start + values.byte_offset())),
        // A bracket stands there, so there is a value or an error; a parser decides which.
        None => Err(serde::de::Error::custom("nothing to read")),
    }
}

/// Where an error is in the whole text.
fn broken(text: &str, start: usize, source: serde_json::Error) -> ReplyError {
    let before = &text[..start];
    let (line, mut column) = (before.matches('\n').count() + source.line(), source.column());
    if source.line() == 1 {
        column += before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
    }
    ReplyError::Broken { line, column, source }
}
