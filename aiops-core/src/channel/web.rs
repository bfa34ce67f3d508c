//! JSON, HTML, Slack's mrkdwn and Markdown.

use std::fmt::Write;

/// Schemes that act when they are opened, and have no `//` behind their colon.
const SCHEMES: [&str; 12] = [
    "javascript",
    "vbscript",
    "data",
    "mailto",
    "tel",
    "sms",
    "callto",
    "xmpp",
    "file",
    "blob",
    "about",
    "view-source",
];
/// Ends of names that chat clients and mail readers make links of without a scheme. Not those that are also
/// ends of file names and of packages in stack traces (`rs`, `sh`, `py`, `java`), as far as that can be had.
const TOPS: [&str; 34] = [
    "ai", "app", "biz", "click", "cloud", "cn", "co", "com", "de", "dev", "edu", "eu", "example", "gg", "gov", "icu",
    "info", "io", "link", "live", "me", "net", "online", "org", "ru", "shop", "site", "store", "to", "top", "tv", "uk",
    "us", "xyz",
];

pub(super) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // A page that holds the JSON ends no script by it.
            '<' | '>' | '&' | '\'' | '`' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

pub(super) fn html(text: &str) -> String {
    let text = defanged(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            '=' => out.push_str("&#61;"),
            // Mail readers make links of addresses.
            '@' => out.push('\u{ff20}'),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn slack(text: &str) -> String {
    let text = defanged(text);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(c) = chars.next() {
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push('\u{ff20}'),
            // There is no escape for emphasis and code: signs that look alike stand in their place.
            '*' => out.push('\u{2217}'),
            '~' => out.push('\u{223c}'),
            '`' => out.push('\u{2bb}'),
            // Only at the edge of a word does it emphasise: names keep theirs.
            '_' if !inside(before) || !inside(chars.peek().copied()) => out.push('\u{ff3f}'),
            c => out.push(c),
        }
        before = Some(c);
    }
    out
}

pub(super) fn markdown(text: &str) -> String {
    let text = defanged(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '@' => out.push('\u{ff20}'),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '<' | '>' | '#' | '!' | '|' | '~' | '&'
            | '$' | '^' => {
                out.push('\\');
                out.push(c);
            }
            // Lists and rules, where the text begins its line.
            '-' | '+' | '=' if out.trim_start().is_empty() => {
                out.push('\\');
                out.push(c);
            }
            '.' if !out.is_empty() && out.trim_start().bytes().all(|byte| byte.is_ascii_digit()) && out.len() < 12 => {
                out.push_str("\\.");
            }
            c => out.push(c),
        }
    }
    out
}

/// Addresses that a client would make a link of, made unfit for that and still readable: `https[:]//x`,
/// `javascript[:]`, `www[.]x`, `evil[.]com`.
pub(super) fn defanged(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    let mut word = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let sign = match byte {
            b':' if bytes[at..].starts_with(b"://") || is_scheme(&bytes[word..at]) => "[:]",
            b'.' if is_link_dot(bytes, word, at) => "[.]",
            _ => "",
        };
        if !sign.is_empty() {
            out.push_str(text.get(copied..at).unwrap_or_default());
            out.push_str(sign);
            copied = at + 1;
        }
        if !byte.is_ascii_alphanumeric() && *byte != b'-' {
            word = at + 1;
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

fn is_scheme(word: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// The dot behind `www`, and the one before the last label of a name that is a known end.
fn is_link_dot(bytes: &[u8], word: usize, at: usize) -> bool {
    /// The longest of the ends.
    const LONGEST: usize = 8;
    let next = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_alphanumeric);
    if word == at || !next(at + 1) {
        return false;
    }
    if bytes[word..at].eq_ignore_ascii_case(b"www") {
        return true;
    }
    let label = bytes[at + 1..].iter().take(LONGEST).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let end = at + 1 + label;
    let known = TOPS.iter().any(|top| bytes[at + 1..end].eq_ignore_ascii_case(top.as_bytes()));
    let ends = match bytes.get(end) {
        Some(b'.') => !next(end + 1),
        Some(byte) => !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'),
        None => true,
    };
    known && ends
}
