//! Why a cassette cannot be read.

use std::io;

/// A file that is no cassette: where, and why.
#[derive(Debug, thiserror::Error)]
#[error("cassette {file}{}: {fault}", .line.map_or_else(String::new, |line| format!(", line {line}")))]
#[non_exhaustive]
pub struct CassetteError {
    /// The file.
    pub file: String,
    /// The line, counted from 1, where it is one line's fault.
    pub line: Option<usize>,
    /// Why.
    #[source]
    pub fault: CassetteFault,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassetteFault {
    /// It cannot be opened, read or created.
    #[error("it cannot be used")]
    Io(#[from] io::Error),
    /// It is longer than is read.
    #[error("it has more than {max} bytes: record less, or into several files")]
    TooLarge {
        /// How many are read.
        max: u64,
    },
    /// There is no reply in it.
    #[error("it holds no reply")]
    Empty,
    /// The line is no recorded reply.
    #[error("it is no recorded reply")]
    Json(#[from] serde_json::Error),
    /// The request was changed after it was recorded.
    #[error("its request is not the one that was recorded: the digest is {found}, not {recorded}")]
    Digest {
        /// What stands in the line.
        recorded: String,
        /// What its request has.
        found: String,
    },
    /// One cassette, one model.
    #[error("its model is {found}, that of the lines before is {first}: keep one file for each")]
    SeveralModels {
        /// Provider and model of the first line.
        first: String,
        /// Of this one.
        found: String,
    },
}

impl CassetteError {
    pub(super) fn new(file: &str, line: impl Into<Option<usize>>, fault: impl Into<CassetteFault>) -> Self {
        Self { file: file.to_owned(), line: line.into(), fault: fault.into() }
    }
}
