//! Rows that could not be scored, by what is wrong with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How many there are of each kind, and the first.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<&'static str, Fault>);

/// One kind.
#[derive(Debug)]
pub(super) struct Fault {
    /// How many.
    pub(super) count: u64,
    /// The first: where, and what exactly.
    pub(super) first: (PathBuf, u64, String),
}

impl Faults {
    /// One more; `text` is asked for the first of a kind only.
    pub(super) fn push(&mut self, kind: &'static str, path: &Path, line: u64, text: impl FnOnce() -> String) {
        let fault = self.0.entry(kind).or_insert_with(|| Fault { count: 0, first: (path.to_owned(), line, text()) });
        fault.count += 1;
    }

    /// Adds those of a later file.
    pub(super) fn merge(&mut self, other: Self) {
        for (kind, fault) in other.0 {
            match self.0.get_mut(kind) {
                Some(known) => known.count += fault.count,
                None => _ = self.0.insert(kind, fault),
            }
        }
    }

    /// A line for each kind.
    #[must_use]
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |fault: &Fault| {
            let (path, line, text) = &fault.first;
            format!("{} x {text}, first at {}:{line}", fault.count, path.display())
        };
        self.0.values().map(line).collect()
    }
}
