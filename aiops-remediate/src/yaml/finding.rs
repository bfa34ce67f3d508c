//! What is wrong with a file, and where.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aiops_core::text;

use super::tree::Spot;

/// A catalogue of 10,000 actions has about 2 MB; nobody writes more than this by hand.
pub(crate) const MAX_BYTES: usize = 16 << 20;

/// More findings than a person reads; the rest is counted.
pub(crate) const MAX_FINDINGS: usize = 1_000;

/// Text of a file is shown up to this many characters.
const SHOWN: usize = 80;

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Finding {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// The path of the key, such as `actions[2].owner`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub help: String,
}

impl Finding {
    pub(crate) fn new(file: &str, spot: Spot, key: &str, problem: String, help: String) -> Self {
        let Spot { line, column } = spot;
        Self { file: file.to_owned(), line, column, key: key.to_owned(), problem, help }
    }
}

impl fmt::Display for Finding {
    /// `actions.yaml:3:5: actions[0]: missing owner; add …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, key, problem, help } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        write!(f, "{problem}; {help}")
    }
}

/// A catalogue or policy that could not be loaded. `Display` prints every finding on a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("could not read {file}")]
    Unreadable {
        /// The file, as the caller named it.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file was read, and these are its faults, sorted by place.
    #[error("{}", lines(findings, *omitted))]
    Invalid {
        /// The faults, at most 1,000.
        findings: Vec<Finding>,
        /// How many more there are.
        omitted: usize,
    },
}

impl ConfigError {
    /// The faults; none where the file could not be read at all.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid { findings, .. } => findings,
        }
    }

    /// Whether loading again may help without a change of the file.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() != io::ErrorKind::NotFound)
    }
}

fn lines(findings: &[Finding], omitted: usize) -> String {
    let mut text = findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n");
    if omitted > 0 {
        text.push_str(&format!("\nand {omitted} more"));
    }
    text
}

/// The file's own text between quotes: clipped, with hidden characters spelt out.
pub(crate) fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for (index, c) in value.chars().enumerate() {
        if index == SHOWN {
            out.push('…');
            break;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if text::is_hidden(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text of a file, and the file's name for findings.
pub(crate) fn file_text(path: &Path) -> Result<(String, String), ConfigError> {
    let file = path.display().to_string();
    let mut bytes = Vec::new();
    // One byte above the limit is enough for the reader to refuse it.
    let read = File::open(path).and_then(|open| open.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes));
    if let Err(source) = read {
        return Err(ConfigError::Unreadable { file, source });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, file)),
        Err(error) => {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            let spot = Spot::after(&valid);
            let finding =
                Finding::new(&file, spot, "", "the file is not UTF-8 here".to_owned(), "save it as UTF-8".to_owned());
            Err(ConfigError::Invalid { findings: vec![finding], omitted: 0 })
        }
    }
}
