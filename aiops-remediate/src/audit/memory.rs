//! The audit log in memory: for tests, and for hosts that only look at the last decisions.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{AuditChain, AuditEntry, AuditError, AuditLine, AuditLog, appended};

/// Lines that are kept unless told otherwise; some 30 MB of reports with their context.
const KEPT: usize = 10_000;

/// Keeps the last lines of the chain in memory. They are gone with the process: it is for tests.
#[derive(Debug)]
pub struct MemoryAudit {
    kept: usize,
    lines: Mutex<(AuditChain, VecDeque<AuditLine>)>,
}

impl Default for MemoryAudit {
    fn default() -> Self {
        Self::new(KEPT)
    }
}

impl MemoryAudit {
    /// A log that keeps the last `kept` lines; older ones are dropped, and counted.
    #[must_use]
    pub fn new(kept: usize) -> Self {
        Self { kept, lines: Mutex::default() }
    }

    /// The lines that are kept, as a file would hold them.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.1.iter().map(|line| line.text.as_str()).collect()
    }
}

#[async_trait]
impl AuditLog for MemoryAudit {
    async fn append(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (chain, kept) = &mut *lines;
        let line = chain.next(&entry);
        if let Ok(line) = &line {
            chain.advance(line);
            kept.push_back(line.clone());
            if kept.len() > self.kept {
                kept.pop_front();
                metrics::counter!("aiops_audit_dropped_total").increment(1);
            }
        }
        appended(&entry, line.map(drop))
    }
}
