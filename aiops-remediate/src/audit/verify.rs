//! Reading a chain back, line by line and in bounded memory, and saying where it is broken.

use std::io::BufRead;

use super::chain::{AFTER_HASH, AuditRecord, BEFORE_HASH, ChainEnd, MAX_AUDIT_LINE, TAIL, VERSION};
use crate::sha256::{hex, sha256};

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// How many records were read.
    pub records: u64,
    /// Where the chain ends: to be kept elsewhere.
    pub end: ChainEnd,
}

/// The first line at which a chain does not hold.
#[derive(Debug, thiserror::Error)]
#[error("line {line} does not hold")]
#[non_exhaustive]
pub struct Broken {
    /// The line, counted from 1.
    pub line: u64,
    /// Why.
    #[source]
    pub fault: ChainFault,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFault {
    /// The line's bytes are not those that were hashed.
    #[error("its hash is not that of its text: the line was changed")]
    Hash,
    /// The line does not follow the one before it.
    #[error("it does not follow record {after}: lines were left out, added or swapped (it is record {found})")]
    Order {
        /// The record before it.
        after: u64,
        /// The number that it carries.
        found: u64,
    },
    /// The line is no record.
    #[error("it is no record: {why}")]
    Unreadable {
        /// Why.
        why: String,
    },
    /// The last line has no end: a crash, or someone, cut it short.
    #[error("it is cut short after {bytes} bytes")]
    Torn {
        /// How much of it is there.
        bytes: usize,
    },
    /// The line is longer than any that is written.
    #[error("it is longer than {MAX_AUDIT_LINE} bytes")]
    TooLong,
    /// The file could not be read any further.
    #[error("reading failed")]
    Read(#[source] std::io::Error),
}

/// Reads the records of a chain one by one, also past lines that do not hold: each such line is an `Err`, and
/// reading goes on after it.
///
/// It keeps one line in memory. After a line that does not hold the next one is taken at its own word, so
/// that one change is told once.
#[derive(Debug)]
pub struct AuditReader<R> {
    reader: R,
    end: ChainEnd,
    line: u64,
    /// The line before did not hold: what follows cannot be held against it.
    lost: bool,
    over: bool,
    bytes: Vec<u8>,
}

impl<R: BufRead> AuditReader<R> {
    /// Reads a chain from its first record.
    pub fn new(reader: R) -> Self {
        Self::after(reader, ChainEnd::start())
    }

    /// Reads a chain that goes on after `end`: the next file of one that was rotated.
    pub fn after(reader: R, end: ChainEnd) -> Self {
        Self { reader, end, line: 0, lost: false, over: false, bytes: Vec::new() }
    }

    /// Where the chain is after what was read.
    #[must_use]
    pub fn end(&self) -> &ChainEnd {
        &self.end
    }

    /// Bytes of the line that was read last, its end included.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Reads one line, at most as long as lines may be; false at the end.
    fn read_line(&mut self) -> Result<bool, ChainFault> {
        self.bytes.clear();
        let mut too_long = false;
        loop {
            let part = match self.reader.fill_buf() {
                Ok(part) => part,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.over = true;
                    return Err(ChainFault::Read(error));
                }
            };
            if part.is_empty() {
                self.over = true;
                return match self.bytes.len() {
                    _ if too_long => Err(ChainFault::TooLong),
                    0 => Ok(false),
                    bytes => Err(ChainFault::Torn { bytes }),
                };
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(part.len(), |end| end + 1);
            too_long |= self.bytes.len() + taken > MAX_AUDIT_LINE;
            if !too_long {
                self.bytes.extend_from_slice(&part[..taken]);
            }
            self.reader.consume(taken);
            if end.is_some() {
                return if too_long { Err(ChainFault::TooLong) } else { Ok(true) };
            }
        }
    }

    fn record(&mut self) -> Result<Option<AuditRecord>, ChainFault> {
        if !self.read_line()? {
            return Ok(None);
        }
        let text = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        let unreadable = |why: String| ChainFault::Unreadable { why };
        let record: AuditRecord = serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))?;
        if record.aiops_audit != VERSION {
            let found = record.aiops_audit;
            return Err(unreadable(format!("it has version {found}, this program reads version {VERSION}")));
        }
        let (hashed, tail) = text.split_at(text.len().saturating_sub(TAIL));
        let hash = hex(&sha256(&[hashed]));
        if tail != [BEFORE_HASH, &hash, AFTER_HASH].concat().as_bytes() {
            return Err(ChainFault::Hash);
        }
        let after = self.end.sequence;
        let follows = record.previous == self.end.hash && Some(record.sequence) == after.checked_add(1);
        let found = record.sequence;
        self.end = ChainEnd { sequence: found, hash };
        if !follows && !self.lost {
            return Err(ChainFault::Order { after, found });
        }
        Ok(Some(record))
    }
}

impl<R: BufRead> Iterator for AuditReader<R> {
    type Item = Result<AuditRecord, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        self.line = self.line.saturating_add(1);
        match self.record() {
            Ok(record) => {
                self.lost = false;
                record.map(Ok)
            }
            Err(fault) => {
                // A line that only stands in the wrong place holds by itself: the next one must follow it.
                self.lost = !matches!(fault, ChainFault::Order { .. });
                Some(Err(Broken { line: self.line, fault }))
            }
        }
    }
}

/// Checks a chain from its first record.
///
/// The end of a chain that someone cut off after a whole line cannot be noticed from the file alone, nor a
/// chain that was written anew from its start: keep [`Verified::end`] elsewhere from time to time, and look
/// it up with [`verify_pinned`].
///
/// # Errors
/// The first line that does not hold, and why.
pub fn verify(reader: impl BufRead) -> Result<Verified, Broken> {
    verify_after(reader, ChainEnd::start())
}

/// Checks a chain that goes on after `end`: the next file of one that was rotated.
///
/// # Errors
/// The first line that does not hold, and why.
pub fn verify_after(reader: impl BufRead, end: ChainEnd) -> Result<Verified, Broken> {
    verify_pinned(reader, end, "").map(|(verified, _)| verified)
}

/// Checks a chain that goes on after `end`, and looks for the record with the hash `pinned` in it: its number,
/// or none where the chain does not hold it (any more).
///
/// # Errors
/// The first line that does not hold, and why.
pub fn verify_pinned(reader: impl BufRead, end: ChainEnd, pinned: &str) -> Result<(Verified, Option<u64>), Broken> {
    let mut found = None;
    let mut records = 0;
    let mut reader = AuditReader::after(reader, end);
    for record in &mut reader {
        let record = record?;
        records += 1;
        if record.hash == pinned {
            found = Some(record.sequence);
        }
    }
    Ok((Verified { records, end: reader.end }, found))
}
