//! The chain: each line carries the hash of the line before it, and its own.

use aiops_core::error_chain;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::AuditError;
use super::entry::AuditEntry;
use crate::sha256::{DIGEST, hex, sha256};

/// The version of the lines.
pub(super) const VERSION: u32 = 1;

/// The longest line in bytes, its end included: a reader needs no more memory than this. A report with all its
/// context is a hundredth of it.
pub const MAX_AUDIT_LINE: usize = 1 << 20;

/// What stands before the hash, and after it. The line's text up to [`BEFORE_HASH`] is what is hashed.
pub(super) const BEFORE_HASH: &str = ",\"hash\":\"";
pub(super) const AFTER_HASH: &str = "\"}";
const HEX: usize = 2 * DIGEST;
/// Bytes of a line after what is hashed, without the line's end.
pub(super) const TAIL: usize = BEFORE_HASH.len() + HEX + AFTER_HASH.len();

/// The end of a chain: how many records there are, and the hash of the last one.
///
/// Kept elsewhere (a ticket, a mail, another machine), it shows later that nothing before it was changed or
/// cut off; the file alone cannot show that its end is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChainEnd {
    /// The last record's number; 0 before the first one.
    pub sequence: u64,
    /// Its hash in lower-case hex; 64 zeros before the first one.
    pub hash: String,
}

impl ChainEnd {
    /// The end of an empty chain.
    #[must_use]
    pub fn start() -> Self {
        Self { sequence: 0, hash: "0".repeat(HEX) }
    }

    /// The end after a record with this number and hash, as [`verify`](super::verify()) gave it.
    pub fn new(sequence: u64, hash: impl Into<String>) -> Self {
        Self { sequence, hash: hash.into() }
    }
}

impl Default for ChainEnd {
    fn default() -> Self {
        Self::start()
    }
}

/// One line of the log.
///
/// `hash` is the SHA-256 of the line's bytes before `,"hash":"`, in which `previous` stands: whoever changes
/// a byte, or leaves out, adds or swaps lines, breaks the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// The version of the line's form.
    pub aiops_audit: u32,
    /// The record's number, counted from 1 without a gap.
    pub sequence: u64,
    /// What was written.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// The hash of the record before; zeros for the first one.
    pub previous: String,
    /// This record's hash.
    pub hash: String,
}

/// A record without its hash: what is hashed.
#[derive(Serialize)]
struct Hashed<'a> {
    aiops_audit: u32,
    sequence: u64,
    #[serde(flatten)]
    entry: &'a AuditEntry,
    previous: &'a str,
}

/// Turns entries into lines of a chain, for implementations of [`AuditLog`](super::AuditLog).
///
/// ```
/// use aiops_core::Redactor;
/// use aiops_remediate::{AuditChain, AuditEntry, KillSwitch, verify};
/// let mut chain = AuditChain::default();
/// let switch = KillSwitch::on("ops", "failing over by hand", jiff::Timestamp::UNIX_EPOCH);
/// let line = chain.next(&AuditEntry::kill_switch(&switch, &Redactor::default()))?;
/// chain.advance(&line);
/// assert_eq!(verify(line.text.as_bytes())?.end, *chain.end());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct AuditChain {
    end: ChainEnd,
}

/// A line that is to be written: what it says, and where the chain is once it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditLine {
    /// The line, with its end.
    pub text: String,
    /// The chain's end after it.
    pub end: ChainEnd,
}

impl AuditChain {
    /// A chain that goes on after `end`.
    #[must_use]
    pub fn after(end: ChainEnd) -> Self {
        Self { end }
    }

    /// Where it is.
    #[must_use]
    pub fn end(&self) -> &ChainEnd {
        &self.end
    }

    /// The next line; the chain stays where it is until [`advance`](Self::advance), so that a line that could
    /// not be written leaves no gap.
    ///
    /// Where the entry is too long its inputs are left out, with their size and hash in their place, and counted.
    ///
    /// # Errors
    /// [`AuditError::TooLong`] where it is too long without its inputs as well; [`AuditError::Unwritable`]
    /// where it has no JSON.
    pub fn next(&self, entry: &AuditEntry) -> Result<AuditLine, AuditError> {
        let line = self.line(entry)?;
        if line.text.len() <= MAX_AUDIT_LINE {
            return Ok(line);
        }
        let mut entry = entry.clone();
        if let Some(inputs) = entry.inputs.take() {
            metrics::counter!("aiops_audit_cut_total").increment(1);
            let text = inputs.to_string();
            let digest = hex(&sha256(&[text.as_bytes()]));
            let left_out: Value = json!({"left_out": "too long", "bytes": text.len(), "sha256": digest});
            entry.inputs = Some(left_out);
        }
        let line = self.line(&entry)?;
        if line.text.len() > MAX_AUDIT_LINE {
            return Err(AuditError::TooLong { kind: entry.kind.to_string(), bytes: line.text.len() });
        }
        Ok(line)
    }

    /// The line stands there.
    pub fn advance(&mut self, line: &AuditLine) {
        self.end.clone_from(&line.end);
    }

    fn line(&self, entry: &AuditEntry) -> Result<AuditLine, AuditError> {
        let sequence = self.end.sequence.saturating_add(1);
        let hashed = Hashed { aiops_audit: VERSION, sequence, entry, previous: &self.end.hash };
        let mut text = serde_json::to_string(&hashed)
            .map_err(|error| AuditError::Unwritable { kind: entry.kind.to_string(), why: error_chain(&error) })?;
        // The closing brace comes after the hash.
        text.pop();
        let hash = hex(&sha256(&[text.as_bytes()]));
        for part in [BEFORE_HASH, &hash, AFTER_HASH, "\n"] {
            text.push_str(part);
        }
        Ok(AuditLine { text, end: ChainEnd { sequence, hash } })
    }
}
