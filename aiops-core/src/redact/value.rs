//! Whether an assigned value is a secret, and where it ends.

use super::bytes::{
    ALNUM, BASE64, BASE64_SIGN, BLANK, DASH, DIGIT, LETTER, PERCENT, URL64, at as byte_at, entropy, is, run, short_run,
};
use super::key::{Key, Strength};
use super::kind::Kind;
use super::scan::MARKER;
use super::tokens::{is_hex, is_mixed};

/// A value stands in so many bytes; it is judged by these, and taken to its end.
const JUDGED: usize = 128;
/// A quotation without an end is none.
const QUOTED: usize = 4096;
/// Bytes behind a comma that tell whether the next name of a list begins there.
const NEXT_NAME: usize = 40;

/// detect-secrets' bounds for values of secret-looking names, and the one for what is neither.
const BASE64_ENTROPY: f64 = 4.5;
const HEX_ENTROPY: f64 = 3.0;
const MIXED_ENTROPY: f64 = 3.5;
/// Below this many bytes nothing can be told to be random.
const SHORTEST_RANDOM: usize = 16;

/// A value: where it begins and ends, and what stands around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) start: usize,
    pub(super) end: usize,
    quoted: bool,
    /// Behind a colon and a blank, where prose may stand.
    prose: bool,
}

impl Value {
    /// The value that begins at or behind `at`, `sign` before it.
    pub(super) fn read(bytes: &[u8], at: usize, sign: u8) -> Option<Self> {
        if sign == b'>' {
            let end = (at..bytes.len().min(at + JUDGED)).find(|place| bytes[*place] == b'<')?;
            return (end > at).then_some(Self {
                start: at,
                end: until_marker(bytes, at, end),
                quoted: true,
                prose: false,
            });
        }
        let blanks = (at..at + 5).take_while(|place| matches!(bytes.get(*place), Some(b' ' | b'\t'))).count();
        let mut start = at + blanks;
        let slashes = (start..start + 3).take_while(|place| bytes.get(*place) == Some(&b'\\')).count();
        let quote = bytes.get(start + slashes).copied().filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
        if let Some(quote) = quote {
            let style = &bytes[start..=start + slashes];
            start += style.len();
            if let Some(end) = closing(bytes, start, style, quote) {
                return (end > start).then_some(Self {
                    start,
                    end: until_marker(bytes, start, end),
                    quoted: true,
                    prose: false,
                });
            }
        }
        let end = unquoted_end(bytes, start, start + JUDGED);
        (end > start).then_some(Self { start, end, quoted: false, prose: sign == b':' && blanks > 0 })
    }

    /// A whole text as a value.
    pub(super) fn quoted(text: &[u8]) -> Option<Self> {
        (!text.is_empty()).then_some(Self { start: 0, end: text.len(), quoted: true, prose: false })
    }

    /// The value to its end: it was read as far as it takes to judge it.
    pub(super) fn whole(self, bytes: &[u8]) -> Self {
        if self.quoted || self.end < self.start + JUDGED {
            return self;
        }
        Self { end: unquoted_end(bytes, self.end, bytes.len()), ..self }
    }

    /// The kind of secret that it is for a name, if it is one.
    pub(super) fn secret_of(&self, bytes: &[u8], key: &Key) -> Option<Kind> {
        let value = &bytes[self.start..self.end];
        let before_marker = bytes[self.end..].starts_with(MARKER);
        if value.starts_with(b"-----BEGIN") || is_placeholder(value) || self.prose && is_prose(value) {
            return None;
        }
        let found = match key.strength {
            Strength::Any => !(key.is("pwd") && is_path(value)),
            Strength::Named | Strength::Plain => {
                let digits = value.iter().filter(|byte| is(**byte, DIGIT)).count();
                let long = value.len() >= 20 || digits > 0;
                let enough = value.len() >= 4 && (digits < value.len() || value.len() >= 8);
                let told = key.strength == Strength::Named || !self.prose || long;
                enough && told && !is_path(value) && !is_address(value)
            }
            Strength::Random => !before_marker && !is_path(value) && is_random(value),
            Strength::Base64 => !before_marker && !is_hex(value) && is_random_base64(value),
            Strength::Signature => is_signature(value),
            Strength::Header | Strength::Cookies => false,
        };
        found.then_some(key.kind)
    }
}

/// Where a quotation ends: at the same quote with as many backslashes, on the same line.
fn closing(bytes: &[u8], start: usize, style: &[u8], quote: u8) -> Option<usize> {
    let end = bytes.len().min(start + QUOTED);
    let mut at = start;
    while at < end {
        match bytes[at] {
            b'\n' => return None,
            byte if byte == quote && style.len() == 1 => return Some(at),
            b'\\' => {
                let slashes = bytes[at..end].iter().take_while(|byte| **byte == b'\\').count();
                let closes = bytes.get(at + slashes) == Some(&quote) && slashes + 1 == style.len();
                if closes {
                    return Some(at);
                }
                at += slashes + usize::from(slashes % 2 == 1);
            }
            _ => at += 1,
        }
    }
    None
}

fn until_marker(bytes: &[u8], start: usize, end: usize) -> usize {
    super::blocks::find(&bytes[start..end], MARKER).map_or(end, |at| start + at)
}

/// Where a value without quotes ends: at a blank, a quote, `&`, a marker; at `,`, `;` and closing brackets
/// where something new begins behind them.
fn unquoted_end(bytes: &[u8], start: usize, most: usize) -> usize {
    let most = bytes.len().min(most);
    let (mut at, mut open) = (start, 0_usize);
    loop {
        at = run(&bytes[..most], at, ALNUM);
        if at >= most {
            break;
        }
        let ends = match bytes[at] {
            b'(' | b'{' => {
                open += 1;
                false
            }
            b')' | b'}' if open > 0 => {
                open -= 1;
                false
            }
            b'"' | b'\'' | b'`' | b'&' | b'<' => true,
            b'\\' => matches!(bytes.get(at + 1), Some(b'"' | b'\'' | b'n' | b'r' | b't')),
            b',' | b';' => begins_anew(bytes, at + 1),
            b')' | b'}' | b']' | b'>' | b'|' => !byte_at(bytes, at + 1, ALNUM),
            b'[' => bytes[at..].starts_with(MARKER),
            byte => is(byte, BLANK),
        };
        if ends {
            break;
        }
        at += 1;
    }
    at
}

/// Behind a comma: the end, a blank, a quote, or a name with `=` or `:` behind it.
fn begins_anew(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at) {
        None | Some(b'"' | b'\'' | b'`' | b'{' | b'[') => true,
        Some(byte) if is(*byte, BLANK) => true,
        Some(byte) if is(*byte, LETTER) => {
            let name = short_run(bytes, at, URL64, NEXT_NAME);
            matches!(bytes.get(name), Some(b'=' | b':'))
        }
        Some(_) => false,
    }
}

const PLACEHOLDERS: [&str; 24] = [
    "null",
    "(null)",
    "none",
    "nil",
    "true",
    "false",
    "undefined",
    "unset",
    "empty",
    "redacted",
    "[redacted]",
    "hidden",
    "masked",
    "[masked]",
    "[filtered]",
    "[hidden]",
    "n/a",
    "na",
    "yes",
    "no",
    "%s",
    "%v",
    "%d",
    "{}",
];

fn is_placeholder(value: &[u8]) -> bool {
    let whole = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
    let pairs: [(&[u8], u8); 4] = [(b"${", b'}'), (b"$(", b')'), (b"{{", b'}'), (b"<", b'>')];
    let framed = pairs.iter().any(|(open, close)| value.starts_with(open) && value.ends_with(&[*close]));
    let variable =
        value.len() > 1 && value[0] == b'$' && value[1..].iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    let masked = value.iter().all(|byte| matches!(byte, b'*' | b'.' | b'#' | b'?' | b'_' | b'-'))
        || value.len() > 2 && value.iter().all(|byte| matches!(byte, b'x' | b'X'));
    framed || variable || masked || value.starts_with(b"%(") || PLACEHOLDERS.iter().any(|word| whole(word))
}

/// What follows `password:` in a sentence about one.
const PROSE: [&str; 52] = [
    "a",
    "access",
    "already",
    "and",
    "an",
    "at",
    "authentication",
    "cannot",
    "change",
    "changed",
    "contains",
    "could",
    "does",
    "error",
    "expected",
    "expired",
    "failed",
    "failure",
    "field",
    "for",
    "has",
    "in",
    "incorrect",
    "invalid",
    "is",
    "it",
    "length",
    "may",
    "mismatch",
    "missing",
    "must",
    "not",
    "of",
    "on",
    "only",
    "or",
    "please",
    "rejected",
    "required",
    "reset",
    "should",
    "the",
    "this",
    "to",
    "too",
    "unable",
    "unexpected",
    "unknown",
    "use",
    "user",
    "was",
    "wrong",
];

fn is_prose(value: &[u8]) -> bool {
    let word = value.strip_suffix(b".").or_else(|| value.strip_suffix(b",")).unwrap_or(value);
    PROSE.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// `/etc/…`, `./…`, `~/…`, `C:\…`.
fn is_path(value: &[u8]) -> bool {
    let segment = |rest: &[u8]| {
        let name =
            rest.iter().take_while(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-' | b'_')).count();
        name >= 2 && matches!(rest.get(name), None | Some(b'/'))
    };
    match value {
        [b'/', rest @ ..] => segment(rest),
        [b'.' | b'~', b'/', ..] => true,
        [drive, b':', b'\\', ..] => is(*drive, LETTER),
        _ => false,
    }
}

fn is_address(value: &[u8]) -> bool {
    super::blocks::find(&value[..value.len().min(16)], b"://").is_some()
}

fn is_random(value: &[u8]) -> bool {
    if value.len() < SHORTEST_RANDOM {
        return false;
    }
    if is_hex(value) {
        return value.iter().any(|byte| !is(*byte, DIGIT)) && entropy(value) >= HEX_ENTROPY;
    }
    let has = |class| value.iter().any(|byte| is(*byte, class));
    let word =
        value.iter().all(|byte| is(*byte, ALNUM | DASH | BASE64_SIGN) || matches!(byte, b'_' | b'.' | b'%' | b'~'));
    word && has(DIGIT) && has(LETTER) && entropy(value) >= MIXED_ENTROPY
}

fn is_random_base64(value: &[u8]) -> bool {
    let alphabet = value.iter().all(|byte| is(*byte, BASE64 | URL64));
    value.len() >= 24 && alphabet && is_mixed(value) && entropy(value) >= BASE64_ENTROPY
}

/// 32 bytes of base64, its signs as they are or as `%2B`, `%2F`, `%3D`.
fn is_signature(value: &[u8]) -> bool {
    let alphabet = value.iter().all(|byte| is(*byte, BASE64 | URL64 | PERCENT));
    (43..=150).contains(&value.len()) && alphabet && is_mixed(value) && entropy(value) >= MIXED_ENTROPY
}
