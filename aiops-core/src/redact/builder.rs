//! Assembling a redactor.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Redactor;
use super::kind::{Kind, Kinds};
use super::own::{Own, Rule, SHORTEST};
use super::scan::{LONGEST_NAME, is_name_byte};

/// Builds a [`Redactor`].
///
/// ```
/// use aiops_core::Redactor;
/// let redactor = Redactor::builder()
///     .without("email")
///     .with("ip")
///     .literal("correct horse")
///     .rule("order", |text| text.match_indices("ORD-").map(|(at, _)| at..at + 8).collect())
///     .build()?;
/// let redacted = redactor.redact("ORD-7741 of a@example.org from 10.0.0.7: correct horse");
/// assert_eq!(redacted.text, "[REDACTED:order] of a@example.org from [REDACTED:ip]: [REDACTED:literal]");
/// # Ok::<(), aiops_core::InvalidRedactor>(())
/// ```
#[derive(Default)]
#[must_use]
pub struct RedactorBuilder {
    switches: Vec<(String, bool)>,
    literals: Vec<String>,
    rules: Vec<Rule>,
}

/// A redactor that cannot be built. The text names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRedactor {
    /// No kind of this name.
    #[error("no kind is called {name:?}; Redactor::kinds() lists them")]
    UnknownKind {
        /// The name, clipped.
        name: String,
    },
    /// A literal that is part of too many words.
    #[error("literal {index} has {bytes} bytes and needs 4")]
    ShortLiteral {
        /// Which, in the order given, from 0.
        index: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// A rule whose name cannot stand in a marker, or is a kind's or another rule's.
    #[error("rule {name:?} needs a name of its own, of 1 to 40 small letters, digits and _")]
    RuleName {
        /// The name, clipped.
        name: String,
    },
}

impl fmt::Debug for RedactorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<&str> = self.rules.iter().map(|rule| &*rule.name).collect();
        f.debug_struct("RedactorBuilder")
            .field("switches", &self.switches)
            .field("literals", &self.literals.len())
            .field("rules", &rules)
            .finish()
    }
}

impl RedactorBuilder {
    /// Switches a kind off, by its name.
    pub fn without(mut self, kind: impl Into<String>) -> Self {
        self.switches.push((kind.into(), false));
        self
    }

    /// Switches a kind on that is off by default: `ip`, `phone`.
    pub fn with(mut self, kind: impl Into<String>) -> Self {
        self.switches.push((kind.into(), true));
        self
    }

    /// A secret that the host knows, redacted wherever these bytes stand (at least 4).
    pub fn literal(mut self, secret: impl Into<String>) -> Self {
        self.literals.push(secret.into());
        self
    }

    /// A rule of the host's own: the byte ranges of a text that are to be redacted.
    ///
    /// It is asked about each piece of text between markers. Ranges that end within a character or behind
    /// the text are widened and cut; a rule that panics has the whole piece redacted. It should be linear
    /// in the text and keep no state.
    pub fn rule(
        mut self,
        name: impl Into<String>,
        find: impl Fn(&str) -> Vec<Range<usize>> + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(Rule { name: Arc::from(name.into()), find: Arc::new(find) });
        self
    }

    /// The redactor.
    ///
    /// # Errors
    /// A kind that is not there, a literal that is too short, a rule without a name of its own.
    pub fn build(self) -> Result<Redactor, InvalidRedactor> {
        let mut kinds = Kinds::by_default();
        for (name, on) in self.switches {
            let Some(kind) = Kind::ALL.iter().find(|kind| kind.name() == name) else {
                return Err(InvalidRedactor::UnknownKind { name: crate::text::clip(&name, 80) });
            };
            kinds.set(*kind, on);
        }
        if let Some((index, short)) = self.literals.iter().enumerate().find(|(_, literal)| literal.len() < SHORTEST) {
            return Err(InvalidRedactor::ShortLiteral { index, bytes: short.len() });
        }
        for (place, rule) in self.rules.iter().enumerate() {
            let name = &rule.name;
            let formed = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_name_byte);
            let taken = Kind::ALL.iter().any(|kind| kind.name() == &**name);
            if !formed || taken || self.rules[..place].iter().any(|other| other.name == *name) {
                return Err(InvalidRedactor::RuleName { name: crate::text::clip(name, 80) });
            }
        }
        Ok(Redactor { kinds, own: Own::new(self.literals, self.rules) })
    }
}
