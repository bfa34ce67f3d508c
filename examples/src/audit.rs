//! What the program `audit` says about the files of an audit log.

use std::io::BufRead;

use aiops_core::error_chain;
use aiops_remediate::{ChainEnd, ChainFault, verify_pinned};

/// Characters of a hash.
const HASH: usize = 64;

/// What was found out about a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Whether it holds, and the expected record is in it.
    pub holds: bool,
    /// One line that says so.
    pub line: String,
}

/// Checks files that are one chain, the oldest first, each with its name. `expect` is the hash of a record that
/// must be in it.
///
/// # Errors
/// A file that cannot be read to its end, or a hash that is none.
pub fn check<R: BufRead>(files: Vec<(String, R)>, expect: Option<&str>) -> Result<Checked, String> {
    let is_hash = |hash: &str| hash.len() == HASH && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(hash) = expect.filter(|hash| !is_hash(hash)) {
        return Err(format!("--expect {hash:?} is no hash: {HASH} characters of 0-9 and a-f"));
    }
    let (mut end, mut found) = (ChainEnd::start(), None);
    for (name, reader) in files {
        match verify_pinned(reader, end, expect.unwrap_or_default()) {
            Ok((verified, there)) => {
                end = verified.end;
                found = found.or(there);
            }
            Err(broken) => {
                if let ChainFault::Read(error) = &broken.fault {
                    return Err(format!("{name}: {error}"));
                }
                return Ok(Checked { holds: false, line: format!("broken: {name}: {}", error_chain(&broken)) });
            }
        }
    }
    let records = end.sequence;
    Ok(match (expect, found) {
        (None, _) => Checked { holds: true, line: format!("ok: records {records} last {}", end.hash) },
        (Some(_), Some(at)) => {
            let line = format!("ok: records {records} last {} expected {at} after it {}", end.hash, records - at);
            Checked { holds: true, line }
        }
        (Some(hash), None) => {
            let line = format!("broken: no record has the expected hash {hash}: the chain was cut or written anew");
            Checked { holds: false, line }
        }
    })
}
