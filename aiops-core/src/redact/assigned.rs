//! Secrets told by the name before them: `name=value`, `name: value`, `<name>value`, `--name value`, headers.

use super::bytes::{
    ALNUM, BASE64, BASE64_SIGN, BLANK, DASH, DOT, TILDE, URL64, at as byte_at, begins, entropy, is, run, short_run,
    starts_word,
};
use super::key::{Key, Strength};
use super::kind::Kind;
use super::scan::{Hit, MARKER};
use super::tokens;
use super::value::Value;

/// Blanks between a name and its sign.
const BLANKS: usize = 2;

/// What is assigned at the sign at `at`, which is `=`, `:` or `>`.
pub(super) fn at_sign(bytes: &[u8], floor: usize, at: usize, hits: &mut Vec<Hit>) {
    let sign = bytes[at];
    let before = (at > floor).then(|| bytes[at - 1]);
    let after = bytes.get(at + 1).copied();
    let (end, value) = match (sign, before, after) {
        // Comparisons, paths of types, addresses.
        (b'=', Some(b'=' | b'!' | b'<' | b'>' | b'~'), _) | (_, _, Some(b'=')) | (b':', Some(b':'), _) => return,
        (b':', _, Some(b':')) => return,
        (b'=', Some(b':'), _) => (at - 1, at + 1),
        (b'=', _, Some(b'>')) => (at, at + 2),
        (b'>', Some(b'=' | b'-'), _) => return,
        _ => (at, at + 1),
    };
    let Some((name_end, closed)) = name_end(bytes, floor, end, sign) else { return };
    let Some(key) = Key::ending_at(bytes, floor, name_end) else { return };
    if closed && !is_indexed(bytes, floor, name_end) || sign == b'>' && !is_tag(bytes, floor, name_end) {
        return;
    }
    match key.strength {
        Strength::Header => authorization(bytes, value, hits),
        Strength::Cookies => cookies(bytes, value, hits),
        _ => hits.extend(judged(bytes, Value::read(bytes, value, sign), &key)),
    }
}

fn judged(bytes: &[u8], value: Option<Value>, key: &Key) -> Option<Hit> {
    let value = value?;
    let kind = value.secret_of(bytes, key)?;
    let value = value.whole(bytes);
    // A token that its issuer marks is told by its own kind.
    let kind = tokens::begins_at(bytes, value.start).filter(|hit| hit.end >= value.end).map_or(kind, |hit| hit.kind);
    Some(Hit::new(value.start, value.end, kind))
}

/// The kind of secret that a whole text is for a name, if it is one.
pub(super) fn named(text: &[u8], key: &Key) -> Option<Kind> {
    let mut hits = Vec::new();
    match key.strength {
        _ if text.starts_with(MARKER) => {}
        Strength::Header => authorization(text, 0, &mut hits),
        Strength::Cookies => cookies(text, 0, &mut hits),
        _ => hits.extend(judged(text, Value::quoted(text), key)),
    }
    hits.first().map(|hit| hit.kind)
}

/// Where the name before a sign ends, and whether a bracket closes behind it.
fn name_end(bytes: &[u8], floor: usize, mut end: usize, sign: u8) -> Option<(usize, bool)> {
    let last = |end: usize| (end > floor).then(|| bytes[end - 1]);
    let blanks = (0..BLANKS).take_while(|n| end > floor + n && bytes[end - 1 - n] == b' ').count();
    end -= if sign == b'>' { 0 } else { blanks };
    let closed = last(end) == Some(b']');
    end -= usize::from(closed);
    if matches!(last(end), Some(b'"' | b'\'' | b'`')) {
        end -= 1;
        while last(end) == Some(b'\\') {
            end -= 1;
        }
    }
    (end > floor).then_some((end, closed))
}

/// `name[password]`, and no marker, whose bracket closes as well.
fn is_indexed(bytes: &[u8], floor: usize, name_end: usize) -> bool {
    let start = super::bytes::run_back(bytes, floor, name_end, URL64 | DOT, 48);
    let start = if start > floor && matches!(bytes[start - 1], b'"' | b'\'') { start - 1 } else { start };
    start > floor && bytes[start - 1] == b'['
}

/// `<password`.
fn is_tag(bytes: &[u8], floor: usize, name_end: usize) -> bool {
    let start = super::bytes::run_back(bytes, floor, name_end, URL64 | DOT, 48);
    start > floor && matches!(bytes[start - 1], b'<' | b':')
}

/// `--password value`, at its first dash.
pub(super) fn flag(bytes: &[u8], floor: usize, at: usize) -> Option<Hit> {
    if !starts_word(bytes, floor, at) || at > floor && bytes[at - 1] == b'-' {
        return None;
    }
    let end = short_run(bytes, at + 2, URL64, 48);
    let key = Key::ending_at(bytes, at + 2, end)?;
    let quoted = matches!(bytes.get(end), Some(b'"' | b'\''));
    let list = quoted && bytes.get(end + 1) == Some(&b',');
    let from = if list { end + 2 } else { end };
    let stands = (list || bytes.get(end) == Some(&b' ')) && !byte_at(bytes, from + 1, DASH);
    if !stands || matches!(key.strength, Strength::Header | Strength::Cookies) {
        return None;
    }
    judged(bytes, Value::read(bytes, from, b' '), &key)
}

/// `PASSWORD 'value'` and `IDENTIFIED BY 'value'`, at the quote.
pub(super) fn quotation(bytes: &[u8], floor: usize, at: usize) -> Option<Hit> {
    let end = at.checked_sub(1).filter(|end| *end > floor && bytes[*end] == b' ')?;
    let password = end >= floor + 8 && begins(bytes, end - 8, "password");
    let identified = end >= floor + 13 && begins(bytes, end - 13, "identified by");
    if !password && !identified {
        return None;
    }
    judged(bytes, Value::read(bytes, at, b' '), &Key::of(b"password")?)
}

/// Schemes of RFC 9110 headers that a credential follows.
const SCHEMES: [&str; 14] = [
    "bearer",
    "basic",
    "token",
    "digest",
    "negotiate",
    "ntlm",
    "apikey",
    "aws4-hmac-sha256",
    "oauth",
    "hawk",
    "sharedkey",
    "sharedaccesssignature",
    "splunk",
    "bot",
];
/// Bytes of a credential.
const CREDENTIAL: u16 = URL64 | DOT | BASE64_SIGN | TILDE;

fn authorization(bytes: &[u8], at: usize, hits: &mut Vec<Hit>) {
    let opens = |byte: &u8| matches!(byte, b' ' | b'"' | b'\'' | b'\\' | b'`');
    let start = at + bytes[at.min(bytes.len())..].iter().take(6).take_while(|byte| opens(byte)).count();
    let word = short_run(bytes, start, ALNUM | DASH, 32);
    let scheme =
        SCHEMES.iter().any(|scheme| bytes.get(start..word).is_some_and(|w| w.eq_ignore_ascii_case(scheme.as_bytes())));
    if scheme && bytes.get(word) == Some(&b' ') {
        let from = word + 1;
        let to = parameters(bytes, from);
        if to > from && !bytes[from..].starts_with(MARKER) {
            hits.push(Hit::new(from, to, Kind::Authorization));
        }
        return;
    }
    let end = run(bytes, start, CREDENTIAL);
    let token = bytes.get(start..end).unwrap_or_default();
    if token.len() >= 20 || token.len() >= 8 && token.iter().any(u8::is_ascii_digit) {
        hits.push(Hit::new(start, end, Kind::Authorization));
    }
}

/// One credential, or `name=value` and `name="value"` with commas between.
fn parameters(bytes: &[u8], from: usize) -> usize {
    let mut end = from;
    loop {
        let mut at = run(bytes, end, CREDENTIAL);
        if at > end && bytes[at - 1] == b'=' && matches!(bytes.get(at), Some(b'"')) {
            let close = bytes[at + 1..].iter().take(1024).position(|byte| matches!(byte, b'"' | b'\n'));
            at = close.map_or(at, |close| at + close + 2);
        }
        while matches!(bytes.get(at), Some(b';' | b':' | b'%')) && byte_at(bytes, at + 1, ALNUM) {
            at = run(bytes, at + 1, CREDENTIAL);
        }
        let comma = at + usize::from(bytes.get(at) == Some(&b','));
        let next = comma + usize::from(bytes.get(comma) == Some(&b' '));
        let name = short_run(bytes, next, ALNUM | DASH, 32);
        if at == end || comma == at || name == next || bytes.get(name) != Some(&b'=') {
            return at;
        }
        end = next;
    }
}

/// Attributes of `Set-Cookie` (RFC 6265), which are no secrets.
const ATTRIBUTES: [&str; 5] = ["path", "domain", "expires", "max-age", "samesite"];

fn cookies(bytes: &[u8], at: usize, hits: &mut Vec<Hit>) {
    let opens = |byte: &u8| matches!(byte, b' ' | b'"' | b'\'' | b'\\' | b'`' | b'[');
    let opened = |at: usize| bytes.get(at..).is_some_and(|rest| rest.starts_with(MARKER));
    let mut at = at + bytes[at.min(bytes.len())..].iter().take(4).take_while(|byte| opens(byte)).count();
    loop {
        let name = run(bytes, at, URL64 | DOT);
        let attribute = ATTRIBUTES.iter().any(|known| bytes[at..name].eq_ignore_ascii_case(known.as_bytes()));
        let mut end = name;
        if name > at && bytes.get(name) == Some(&b'=') {
            let stop = |byte: &u8| is(*byte, BLANK) || matches!(byte, b';' | b'"' | b'\'' | b'\\' | b'`' | b'[' | b']');
            end = bytes[name + 1..].iter().position(stop).map_or(bytes.len(), |n| name + 1 + n);
            if end > name + 1 && !attribute {
                hits.push(Hit::new(name + 1, end, Kind::Cookie));
            }
            if opened(end) {
                end = bytes[end..].iter().position(|byte| *byte == b']').map_or(bytes.len(), |n| end + n + 1);
            }
            if attribute {
                // A date has blanks.
                end = bytes[end..].iter().take(40).position(|byte| *byte == b';').map_or(end, |n| end + n);
            }
        }
        if bytes.get(end) != Some(&b';') || end == at {
            return;
        }
        at = end + 1;
        at += bytes[at..].iter().take(2).take_while(|byte| **byte == b' ').count();
    }
}

/// `Bearer <token>` and `Basic <base64 of user:password>` wherever they stand.
pub(super) fn scheme(bytes: &[u8], floor: usize, at: usize) -> Option<Hit> {
    if !starts_word(bytes, floor, at) {
        return None;
    }
    if begins(bytes, at, "bearer ") {
        let from = at + 7;
        let judged = short_run(bytes, from, CREDENTIAL, 64);
        let token = &bytes[from..judged];
        let random = token.len() >= 16 && token.iter().any(u8::is_ascii_digit) && entropy(token) >= 3.0;
        return random.then(|| Hit::new(from, run(bytes, judged, CREDENTIAL), Kind::Authorization));
    }
    if begins(bytes, at, "basic ") {
        let from = at + 6;
        let end = short_run(bytes, from, BASE64, 512);
        return is_user_and_password(&bytes[from..end]).then_some(Hit::new(from, end, Kind::Authorization));
    }
    None
}

/// Whether base64 holds printable text with a colon.
fn is_user_and_password(base64: &[u8]) -> bool {
    let digit = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut colon = false;
    let mut held = (0_u32, 0);
    for value in base64.iter().take_while(|byte| **byte != b'=').map(digit) {
        let Some(value) = value else { return false };
        held = (held.0 << 6 | u32::from(value), held.1 + 6);
        if held.1 >= 8 {
            held.1 -= 8;
            let byte = (held.0 >> held.1 & 0xff) as u8;
            colon |= byte == b':';
            if byte < 0x20 || byte == 0x7f {
                return false;
            }
        }
    }
    colon && base64.len() >= 6
}
