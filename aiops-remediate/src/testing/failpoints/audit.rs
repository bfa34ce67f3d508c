//! An audit log with a boundary around each entry.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Failpoints, through};
use crate::audit::{AuditEntry, AuditError, AuditKind, AuditLog};
use crate::store::JournalState;

/// An audit log that asks [`Failpoints`] before and after each entry: `audit.decision`,
/// `audit.step.executing`, `audit.step.ended`, `audit.answer`, `audit.approval.<word>`,
/// `audit.kill_switch.<word>`, `audit.forced_release`.
#[derive(Debug)]
pub struct FailingAudit<A> {
    inner: A,
    failpoints: Arc<dyn Failpoints>,
}

impl<A> FailingAudit<A> {
    /// A log with boundaries around it.
    pub fn new(inner: A, failpoints: Arc<dyn Failpoints>) -> Self {
        Self { inner, failpoints }
    }
}

fn point(entry: &AuditEntry) -> String {
    let kind = entry.kind.as_str();
    let of = match (&entry.kind, &entry.step, &entry.word) {
        (_, Some(step), _) => match step.state {
            JournalState::Ended(_) => Some("ended"),
            JournalState::Started => Some("started"),
            JournalState::Executing { .. } => Some("executing"),
            JournalState::Verifying { .. } => Some("verifying"),
        },
        (AuditKind::Approval | AuditKind::KillSwitch, None, Some(word)) => Some(word.as_str()),
        _ => None,
    };
    of.map_or_else(|| format!("audit.{kind}"), |of| format!("audit.{kind}.{of}"))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<A: AuditLog> AuditLog for FailingAudit<A> {
    async fn append(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let point = point(&entry);
        let fault = |_| AuditError::Unavailable {
            doing: "append to",
            file: point.clone(),
            source: "it fails at this failpoint".into(),
        };
        through(&*self.failpoints, &point, self.inner.append(entry), fault).await
    }
}
