//! What a host redacts on its own account: secrets that it knows, and rules.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::iter::once;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::counts::Redactions;
use super::kind::Kind;
use super::{marker, put_marker};

/// The shortest literal: fewer bytes are parts of words.
pub(super) const SHORTEST: usize = 4;

type Find = dyn Fn(&str) -> Vec<Range<usize>> + Send + Sync;

/// A rule of the host's: a name and what finds.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) find: Arc<Find>,
}

/// Literals by their first four bytes, and rules.
#[derive(Clone, Default)]
pub(super) struct Own {
    literals: HashMap<[u8; SHORTEST], Vec<String>>,
    rules: Vec<Rule>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let literals: usize = self.literals.values().map(Vec::len).sum();
        let rules: Vec<&str> = self.rules.iter().map(|rule| &*rule.name).collect();
        f.debug_struct("Own").field("literals", &literals).field("rules", &rules).finish()
    }
}

impl Own {
    /// Literals shorter than [`SHORTEST`] are left out: the builder refuses them.
    pub(super) fn new(literals: Vec<String>, rules: Vec<Rule>) -> Self {
        let mut own = Self { literals: HashMap::new(), rules };
        for literal in literals {
            if let Some(head) = literal.as_bytes().first_chunk() {
                own.literals.entry(*head).or_default().push(literal);
            }
        }
        // Of two that begin alike, the longer is the secret.
        for bucket in own.literals.values_mut() {
            bucket.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            bucket.dedup();
        }
        own
    }

    pub(super) fn redact<'t>(&self, text: &'t str, found: &mut Redactions) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        if !self.literals.is_empty() {
            text = between_markers(text, Kind::Literal.name(), found, |piece| self.literals_in(piece));
        }
        for rule in &self.rules {
            text = between_markers(text, &rule.name, found, |piece| {
                // A rule that panics has not cleared the text.
                catch_unwind(AssertUnwindSafe(|| (rule.find)(piece))).unwrap_or_else(|_| once(0..piece.len()).collect())
            });
        }
        text
    }

    fn literals_in(&self, piece: &str) -> Vec<Range<usize>> {
        let bytes = piece.as_bytes();
        let mut ranges = Vec::new();
        let mut at = 0;
        while let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let literal = self
                .literals
                .get(head)
                .and_then(|all| all.iter().find(|literal| bytes[at..].starts_with(literal.as_bytes())));
            match literal {
                Some(literal) => {
                    ranges.push(at..at + literal.len());
                    at += literal.len();
                }
                None => at += 1,
            }
        }
        ranges
    }
}

/// Redacts what `find` finds in the text between the markers that stand in it already.
fn between_markers<'t>(
    text: Cow<'t, str>,
    name: &str,
    found: &mut Redactions,
    find: impl Fn(&str) -> Vec<Range<usize>>,
) -> Cow<'t, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut count = 0;
    for piece in pieces(&text) {
        let shown = text.get(piece.clone()).unwrap_or_default();
        let mut ranges = find(shown);
        ranges.sort_by_key(|range| (range.start, range.end));
        for range in ranges {
            let range = piece.start.saturating_add(range.start)..piece.start.saturating_add(range.end).min(piece.end);
            let from = boundary_before(&text, range.start.max(copied));
            let to = boundary_behind(&text, range.end);
            if from < to && from >= copied {
                out.push_str(text.get(copied..from).unwrap_or_default());
                put_marker(&mut out, name);
                copied = to;
                count += 1;
            }
        }
    }
    if count == 0 {
        return text;
    }
    found.add_own(name, count);
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// The ranges of a text between its markers.
fn pieces(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(open) = bytes[at..].iter().position(|byte| *byte == b'[').map(|n| at + n) {
        match marker(bytes, open) {
            Some(end) => {
                pieces.push(from..open);
                (from, at) = (end, end);
            }
            None => at = open + 1,
        }
    }
    pieces.push(from..bytes.len());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn boundary_before(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

fn boundary_behind(text: &str, at: usize) -> usize {
    (at..text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or(text.len())
}
