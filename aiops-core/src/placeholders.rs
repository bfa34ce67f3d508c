//! Names of the infrastructure replaced by placeholders that can be turned back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The longest name: a fully qualified domain name.
const LONGEST_NAME: usize = 253;
/// The longest kind.
const LONGEST_KIND: usize = 20;
/// Names in one table.
const MOST_NAMES: usize = 100_000;
/// Digits of a number behind a kind that are read.
const DIGITS: usize = 9;

/// Stable placeholders for names of pods, nodes, hosts and the like: `<POD_0>` for the first pod that the
/// host listed.
///
/// Names are hidden before a prompt is made and restored only in output for people, before it is encoded
/// for its channel. What was hidden is restored byte for byte, whatever the text: text that looks like a
/// placeholder is told from one by `=` signs (`<=POD_0>`), and a placeholder of no name stays.
///
/// A name is replaced where it stands by itself: no letter or digit before or behind it. Of two that begin
/// at one place the longer counts. The time is linear in the text.
///
/// ```
/// use aiops_core::Placeholders;
/// let names = Placeholders::new([("pod", "checkout-7d9f"), ("pod", "checkout-7d9f-x2"), ("node", "ip-10-0-0-7")])?;
/// let hidden = names.hide("checkout-7d9f-x2 left ip-10-0-0-7");
/// assert_eq!(hidden, "<POD_1> left <NODE_0>");
/// assert_eq!(names.restore(&hidden), "checkout-7d9f-x2 left ip-10-0-0-7");
/// # Ok::<(), aiops_core::InvalidPlaceholders>(())
/// ```
#[derive(Clone, Default)]
pub struct Placeholders {
    /// Names by kind, in the host's order.
    kinds: BTreeMap<String, Vec<String>>,
    nodes: Vec<Node>,
}

/// A place in the tree of names.
#[derive(Clone, Default)]
struct Node {
    next: BTreeMap<u8, usize>,
    /// The placeholder of the name that ends here.
    placeholder: Option<String>,
}

/// Names that placeholders cannot stand for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPlaceholders {
    /// A kind that is no word.
    #[error("kind {kind:?} is not 1 to 20 ASCII letters")]
    Kind {
        /// The kind, clipped.
        kind: String,
    },
    /// A name that is empty, too long, or holds `<` or `>`.
    #[error("{kind} name {name:?} is empty, longer than 253 bytes, or holds < or >")]
    Name {
        /// Its kind.
        kind: String,
        /// The name, clipped.
        name: String,
    },
    /// One name of two kinds.
    #[error("{name:?} is the name of a {first} and of a {second}")]
    TwoKinds {
        /// The name, clipped.
        name: String,
        /// The kind it came with first.
        first: String,
        /// The other kind.
        second: String,
    },
    /// More names than one table takes.
    #[error("more than {limit} names")]
    TooMany {
        /// How many it takes.
        limit: usize,
    },
}

impl fmt::Debug for Placeholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: BTreeMap<&str, usize> = self.kinds.iter().map(|(kind, names)| (&**kind, names.len())).collect();
        f.debug_struct("Placeholders").field("names", &counts).finish_non_exhaustive()
    }
}

impl Placeholders {
    /// Placeholders of kinds and names; the number of a name is its place among the names of its kind. A
    /// name given twice has one placeholder.
    ///
    /// # Errors
    /// A kind that is no word, a name that cannot be told from the text around it, a name of two kinds, or
    /// more than 100,000 names.
    pub fn new<K: AsRef<str>, N: Into<String>>(
        names: impl IntoIterator<Item = (K, N)>,
    ) -> Result<Self, InvalidPlaceholders> {
        let mut all = Self { kinds: BTreeMap::new(), nodes: vec![Node::default()] };
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for (kind, name) in names {
            let (kind, name) = (kind.as_ref(), name.into());
            let clip = |text: &str| crate::text::clip(text, 80);
            if !(1..=LONGEST_KIND).contains(&kind.len()) || !kind.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(InvalidPlaceholders::Kind { kind: clip(kind) });
            }
            let kind = kind.to_ascii_uppercase();
            if name.is_empty() || name.len() > LONGEST_NAME || name.contains(['<', '>']) {
                return Err(InvalidPlaceholders::Name { kind, name: clip(&name) });
            }
            if let Some(first) = known.get(&name) {
                if *first != kind {
                    return Err(InvalidPlaceholders::TwoKinds {
                        name: clip(&name),
                        first: first.clone(),
                        second: kind,
                    });
                }
                continue;
            }
            if known.len() == MOST_NAMES {
                return Err(InvalidPlaceholders::TooMany { limit: MOST_NAMES });
            }
            let of_kind = all.kinds.entry(kind.clone()).or_default();
            let placeholder = format!("<{kind}_{}>", of_kind.len());
            of_kind.push(name.clone());
            all.plant(&name, placeholder);
            known.insert(name, kind);
        }
        Ok(all)
    }

    fn plant(&mut self, name: &str, placeholder: String) {
        let mut node = 0;
        for byte in name.bytes() {
            let fresh = self.nodes.len();
            let next = *self.nodes[node].next.entry(byte).or_insert(fresh);
            if next == fresh {
                self.nodes.push(Node::default());
            }
            node = next;
        }
        self.nodes[node].placeholder = Some(placeholder);
    }

    /// The text with placeholders for names.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        self.rewrite(text, |at| match self.mark(text, at) {
            // One sign more than the text has.
            Some(mark) => Some((mark.end, Cow::Owned(format!("<={}", &text[at + 1..mark.end])))),
            None => self.name(text, at).map(|(end, placeholder)| (end, Cow::Borrowed(placeholder))),
        })
    }

    /// The text with names for placeholders. A placeholder of no name stays.
    #[must_use]
    pub fn restore(&self, text: &str) -> String {
        self.rewrite(text, |at| {
            let mark = self.mark(text, at)?;
            if mark.signs > 0 {
                return Some((mark.end, Cow::Owned(format!("<{}", &text[at + 2..mark.end]))));
            }
            let name = mark.names.get(mark.number?)?;
            Some((mark.end, Cow::Borrowed(name.as_str())))
        })
    }

    fn rewrite<'a>(&self, text: &str, other: impl Fn(usize) -> Option<(usize, Cow<'a, str>)>) -> String {
        let mut out = String::with_capacity(text.len());
        let (mut at, mut copied) = (0, 0);
        while at < text.len() {
            if text.is_char_boundary(at)
                && let Some((end, shown)) = other(at)
            {
                out.push_str(&text[copied..at]);
                out.push_str(&shown);
                (at, copied) = (end, end);
            } else {
                at += 1;
            }
        }
        out.push_str(&text[copied..]);
        out
    }

    /// The longest name that stands by itself at `at`, with its placeholder.
    fn name(&self, text: &str, at: usize) -> Option<(usize, &str)> {
        let edge = |left: Option<char>, right: Option<char>| {
            !(left.is_some_and(char::is_alphanumeric) && right.is_some_and(char::is_alphanumeric))
        };
        let (before, behind) = text.split_at(at);
        if !edge(before.chars().next_back(), behind.chars().next()) {
            return None;
        }
        let mut node = self.nodes.first()?;
        let mut found = None;
        for (place, byte) in behind.bytes().enumerate() {
            let Some(next) = node.next.get(&byte).and_then(|next| self.nodes.get(*next)) else { break };
            node = next;
            let end = place + 1;
            if let Some(placeholder) = &node.placeholder
                && edge(behind[..end].chars().next_back(), behind[end..].chars().next())
            {
                found = Some((at + end, placeholder.as_str()));
            }
        }
        found
    }

    /// What looks like a placeholder of one of the kinds, with any number and any `=` signs.
    fn mark(&self, text: &str, at: usize) -> Option<Mark<'_>> {
        let bytes = text.as_bytes();
        if bytes[at] != b'<' {
            return None;
        }
        let signs = bytes[at + 1..].iter().take_while(|byte| **byte == b'=').count();
        let kind = at + 1 + signs;
        let letters = bytes[kind..].iter().take(LONGEST_KIND + 1).take_while(|byte| byte.is_ascii_uppercase()).count();
        let digits = kind + letters + 1;
        if bytes.get(digits - 1) != Some(&b'_') {
            return None;
        }
        let names = self.kinds.get(&text[kind..kind + letters])?;
        let count = bytes[digits..].iter().take(DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
        let end = digits + count;
        if !(1..=DIGITS).contains(&count) || bytes.get(end) != Some(&b'>') {
            return None;
        }
        let number = &text[digits..end];
        // `<POD_00>` is none of ours.
        let number = if count > 1 && number.starts_with('0') { None } else { number.parse().ok() };
        Some(Mark { end: end + 1, signs, names, number })
    }
}

struct Mark<'n> {
    end: usize,
    signs: usize,
    names: &'n [String],
    number: Option<usize>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_name_that_stands_by_itself_counts() {
        let names =
            Placeholders::new([("pod", "web"), ("pod", "web-1"), ("node", "web-1.internal"), ("pod", "web")]).unwrap();
        for (text, hidden) in [
            ("web web-1 web-1.internal", "<POD_0> <POD_1> <NODE_0>"),
            ("web-12 web1 xweb", "<POD_0>-12 web1 xweb"),
            ("\u{fc}web web\u{fc} \u{1f511}web", "\u{fc}web web\u{fc} \u{1f511}<POD_0>"),
            ("<POD_0> <=POD_9> <PODS_0> <POD_>", "<=POD_0> <==POD_9> <PODS_0> <POD_>"),
        ] {
            assert_eq!(names.hide(text), hidden);
            assert_eq!(names.restore(hidden), text);
        }
        assert_eq!(names.restore("<POD_7> <POD_01> <OTHER_0>"), "<POD_7> <POD_01> <OTHER_0>");
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let error = |names: &[(&str, &str)]| Placeholders::new(names.iter().copied()).unwrap_err().to_string();
        assert_eq!(error(&[("po d", "x")]), "kind \"po d\" is not 1 to 20 ASCII letters");
        assert!(error(&[("pod", "a<b")]).starts_with("POD name \"a<b\" is empty"));
        assert!(error(&[("pod", "")]).contains("is empty"));
        assert_eq!(error(&[("pod", "x"), ("node", "x")]), "\"x\" is the name of a POD and of a NODE");
    }

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "<", "=", ">", "<=", "POD", "NODE", "_", "0", "1", "<POD_0>", "<=POD_0>", "<POD_", "web", "web-1", "-",
                ".", " ", "a", "\u{fc}", "POD_0",
            ])
            .prop_map(str::to_owned),
            "\\PC{0,3}",
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_hidden_comes_back_byte_for_byte(
            text in pieces(),
            own in prop::collection::vec(pieces(), 0..6),
        ) {
            let fixed = ["web", "web-1", "web-1.a", "POD_0", "POD", "=", "0", "_"].map(str::to_owned);
            let names = own.into_iter().chain(fixed).filter(|name| !name.is_empty() && !name.contains(['<', '>']));
            let names = Placeholders::new(names.map(|name| ("pod", name))).unwrap();
            let hidden = names.hide(&text);
            prop_assert_eq!(names.restore(&hidden), text, "{:?}", hidden);
        }
    }
}
