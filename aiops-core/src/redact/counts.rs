//! How much was redacted, by kind.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// How many pieces of each kind were redacted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redactions {
    counts: BTreeMap<Cow<'static, str>, u64>,
}

impl Redactions {
    /// Whether nothing was redacted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// All pieces.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Kinds in the order of their names, each at least once.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(kind, count)| (kind.as_ref(), *count))
    }

    /// Takes in what was redacted elsewhere.
    pub fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
    }

    /// Counts it all in `aiops_redactions_total`. Whoever applies a redactor calls it, once.
    pub fn record(&self) {
        for (kind, count) in &self.counts {
            metrics::counter!("aiops_redactions_total", "kind" => kind.clone().into_owned()).increment(*count);
        }
    }

    pub(super) fn add(&mut self, kind: &'static str, count: u64) {
        *self.counts.entry(Cow::Borrowed(kind)).or_default() += count;
    }

    pub(super) fn add_own(&mut self, kind: &str, count: u64) {
        if let Some(known) = self.counts.get_mut(kind) {
            *known += count;
        } else {
            self.counts.insert(Cow::Owned(kind.to_owned()), count);
        }
    }
}
