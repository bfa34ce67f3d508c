//! Attribute values and log bodies as text of bounded length.

use std::fmt::Write;

use super::message::{AnyValue, KeyValue, ValueList};
use super::raw::{Nested, Raw};
use super::wire::Malformed;

/// Lists within lists that are written out; log bodies of real systems have two or three.
const MAX_DEPTH: usize = 8;

/// Text that grows up to a bound.
#[derive(Debug)]
struct Bounded {
    text: String,
    max: usize,
    cut: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> std::fmt::Result {
        if self.cut {
            return Ok(());
        }
        let head = head_of(more, self.max.saturating_sub(self.text.len()));
        self.text.push_str(head);
        self.cut = head.len() < more.len();
        Ok(())
    }
}

/// The longest start of a text of at most `max` bytes.
fn head_of(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    // At most three steps.
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// At most `max` bytes of a text, and whether that cut it.
pub(super) fn clip(text: &str, max: usize) -> (String, bool) {
    let head = head_of(text, max);
    (head.to_owned(), head.len() < text.len())
}

/// At most `max` bytes of a value as text, and whether something was cut: strings as they are, lists as
/// JSON, bytes as base64. None for a value that is not set.
pub(super) fn text_of(value: Nested<'_>, max: usize) -> Result<Option<(String, bool)>, Malformed> {
    let Some(raw) = value.0 else { return Ok(None) };
    let value: AnyValue<'_> = raw.read()?;
    if let Some(text) = &value.string_value {
        return Ok(Some(clip(&text.0, max)));
    }
    let mut out = Bounded { text: String::new(), max, cut: false };
    let set = write_value(&mut out, &value, 0, false)?;
    Ok(set.then_some((out.text, out.cut)))
}

/// Writes a value, as JSON where it is `quoted`, and says whether it is set.
fn write_value(out: &mut Bounded, value: &AnyValue<'_>, depth: usize, quoted: bool) -> Result<bool, Malformed> {
    let text = value.string_value.as_ref().map(|text| &text.0).or(value.bytes_value.as_ref().map(|base64| &base64.0));
    // Writing to a bounded text does not fail.
    let _ = if let Some(text) = text {
        if quoted { write_quoted(out, text) } else { out.write_str(text) }
    } else if let Some(flag) = &value.bool_value {
        write!(out, "{}", flag.0)
    } else if let Some(number) = &value.int_value {
        write!(out, "{}", number.0)
    } else if let Some(number) = &value.double_value {
        write!(out, "{}", number.0)
    } else if let Some(list) = value.array_value.0 {
        write_list(out, list, depth, ['[', ']'], |out, raw| write_raw(out, raw, depth))?;
        Ok(())
    } else if let Some(list) = value.kvlist_value.0 {
        write_list(out, list, depth, ['{', '}'], |out, raw| {
            let pair: KeyValue<'_> = raw.read()?;
            let _ = write_quoted(out, &pair.key.0).and_then(|()| out.write_char(':'));
            match pair.value.0 {
                Some(raw) => write_raw(out, raw, depth),
                None => out.write_str("null").map_err(|_| Malformed),
            }
        })?;
        Ok(())
    } else {
        return Ok(false);
    };
    Ok(true)
}

fn write_quoted(out: &mut Bounded, text: &str) -> std::fmt::Result {
    // One byte more than fits, so that a cut is seen.
    let head = head_of(text, out.max.saturating_add(4));
    write!(out, "{}", serde_json::Value::from(head))
}

fn write_raw(out: &mut Bounded, raw: Raw<'_>, depth: usize) -> Result<(), Malformed> {
    let value = raw.read()?;
    if !write_value(out, &value, depth + 1, true)? {
        let _ = out.write_str("null");
    }
    Ok(())
}

fn write_list<'a>(
    out: &mut Bounded,
    list: Raw<'a>,
    depth: usize,
    [open, close]: [char; 2],
    mut element: impl FnMut(&mut Bounded, Raw<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if depth >= MAX_DEPTH {
        let _ = out.write_str("\"…\"");
        out.cut = true;
        return Ok(());
    }
    let _ = out.write_char(open);
    let list: ValueList<'_> = list.read()?;
    let mut first = true;
    list.values.for_each(|raw| {
        // What comes after the bound is not even looked at.
        if out.cut {
            return Ok(());
        }
        if !std::mem::replace(&mut first, false) {
            let _ = out.write_char(',');
        }
        element(out, raw)
    })?;
    let _ = out.write_char(close);
    Ok(())
}
