//! Secrets and personal text taken out of what enters a prompt, a log or an audit.

mod assigned;
mod blocks;
mod builder;
mod bytes;
mod counts;
mod json;
mod key;
mod kind;
mod own;
mod personal;
mod scan;
mod tokens;
mod value;

use std::borrow::Cow;
use std::fmt;

pub use self::builder::{InvalidRedactor, RedactorBuilder};
pub use self::counts::Redactions;
use self::kind::{Kind, Kinds};
use self::own::Own;
use self::scan::{Hit, marker, scan};
use crate::text::is_hidden;

/// Passes over one text: what is redacted in one may lay open what ends before it, one time in practice.
const PASSES: usize = 4;

/// Takes secrets and personal text out of foreign text: `[REDACTED:kind]` stands in their place.
///
/// About fifty kinds, each by the shape that its issuer gives it or by the name that it is assigned to;
/// [`Redactor::kinds`] lists them. It cannot be undone. Nothing is sure: a password in a sentence
/// ("the password hunter2 was refused") and a random value under a harmless name stay.
///
/// - Redacted text redacts to itself.
/// - The time is linear in the text, whatever it holds.
/// - Characters that show nothing do not hide a secret: a text that holds one between others comes back
///   without those characters.
///
/// ```
/// let redactor = aiops_core::Redactor::default();
/// let line = "login password=hunter2 by jane@example.org from 10.0.0.7";
/// let redacted = redactor.redact(line);
/// assert_eq!(redacted.text, "login password=[REDACTED:password] by [REDACTED:email] from 10.0.0.7");
/// assert_eq!(redacted.found.total(), 2);
/// ```
#[derive(Clone)]
pub struct Redactor {
    kinds: Kinds,
    own: Own,
}

/// A text without what was redacted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Redacted<'t> {
    /// The text; the one that came where nothing was found.
    pub text: Cow<'t, str>,
    /// What was found.
    pub found: Redactions,
}

impl Default for Redactor {
    /// All kinds but network addresses (`ip`) and telephone numbers (`phone`), which often tell where a
    /// fault is.
    fn default() -> Self {
        Self { kinds: Kinds::by_default(), own: Own::default() }
    }
}

impl fmt::Debug for Redactor {
    /// Names of kinds and rules, and how many literals: never a literal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let off: Vec<&str> = Kind::ALL.iter().filter(|kind| !self.kinds.has(**kind)).map(|kind| kind.name()).collect();
        f.debug_struct("Redactor").field("off", &off).field("own", &self.own).finish()
    }
}

impl Redactor {
    /// A redactor with kinds switched on and off, secrets and rules of the host's own.
    pub fn builder() -> RedactorBuilder {
        RedactorBuilder::default()
    }

    /// One that redacts nothing, for hosts that redact before text reaches the pipeline.
    #[must_use]
    pub fn none() -> Self {
        let mut kinds = Kinds::by_default();
        Kind::ALL.iter().for_each(|kind| kinds.set(*kind, false));
        Self { kinds, own: Own::default() }
    }

    /// All kinds that there are, each with the shape that is looked for.
    pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
        Kind::ALL.iter().map(|kind| (kind.name(), kind.shape()))
    }

    /// The text without secrets, with what was found in it.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Redacted<'t> {
        if has_hidden(text) {
            let shown: String = text.chars().filter(|c| is_break(*c) || !is_hidden(*c)).collect();
            let Redacted { text: redacted, found } = self.redact_shown(&shown);
            let text = if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(redacted.into_owned()) };
            return Redacted { text, found };
        }
        self.redact_shown(text)
    }

    fn redact_shown<'t>(&self, text: &'t str) -> Redacted<'t> {
        let mut found = Redactions::default();
        let mut text = self.own.redact(text, &mut found);
        let mut hits = Vec::new();
        let mut until = text.len();
        for _ in 0..PASSES {
            hits.clear();
            scan(text.as_bytes(), until, self.kinds, &mut hits);
            // Behind what was found the text stays, and so does what begins there.
            let rest = hits.last().map_or(0, |last| text.len() - last.end);
            if hits.is_empty() {
                self.on_request(text.as_bytes(), &mut hits);
            }
            if hits.is_empty() {
                break;
            }
            hits.iter().for_each(|hit| found.add(hit.kind.name(), 1));
            text = Cow::Owned(replaced(&text, &hits));
            until = text.len() - rest;
        }
        Redacted { text, found }
    }

    /// What is off by default, once nothing else is left.
    fn on_request(&self, bytes: &[u8], hits: &mut Vec<Hit>) {
        if self.kinds.has(Kind::Ip) {
            personal::addresses(bytes, hits);
        }
        if self.kinds.has(Kind::Phone) && hits.is_empty() {
            personal::telephones(bytes, hits);
        }
    }
}

/// Line breaks and tabs show, although they are controls.
fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t')
}

fn has_hidden(text: &str) -> bool {
    // Without a branch for each byte, so that it takes many at a time.
    let plain = |byte: u8| (byte.wrapping_sub(b' ') < 0x5f) | (byte == b'\n') | (byte == b'\r') | (byte == b'\t');
    let all_plain = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & plain(*byte));
    !text.as_bytes().chunks(64).all(all_plain) && text.chars().any(|c| is_hidden(c) && !is_break(c))
}

fn put_marker(out: &mut String, name: &str) {
    out.push_str("[REDACTED:");
    out.push_str(name);
    out.push(']');
}

fn replaced(text: &str, hits: &[Hit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for hit in hits {
        // Scanners cut at ASCII bytes; a cut within a character would be a fault of theirs, and leaves it out.
        out.push_str(text.get(from..hit.start).unwrap_or_default());
        put_marker(&mut out, hit.kind.name());
        from = hit.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests;
