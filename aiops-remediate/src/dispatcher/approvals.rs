//! A person's word: who may give it, and what it sets going.

use std::fmt;
use std::sync::Arc;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use aiops_core::{BoxError, Redactor, error_chain, text};
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Dispatcher, store_failed};
use crate::audit::{AuditEntry, AuditKind};
use crate::mutant::mutant;
use crate::store::{Approval, ApprovalId, ApprovalState, KillSwitch, Lease, Settled, StoreError};

/// Says who may decide on an approval. The host's: it knows its people and their roles.
///
/// # Contract
/// - `authorise` answers for this person and this approval, now; it changes nothing.
/// - An error is a refusal, like a "no".
///
/// # Errors
/// Why this person may not, for the person and for the log.
///
/// # Implementing
/// ```
/// use aiops_core::BoxError;
/// use aiops_remediate::{Approval, ApprovalAuthoriser};
/// #[derive(Debug)]
/// struct OnCall;
///
/// #[async_trait::async_trait]
/// impl ApprovalAuthoriser for OnCall {
///     async fn authorise(&self, who: &str, _: &Approval, _: jiff::Timestamp) -> Result<(), BoxError> {
///         if who == "ada" { Ok(()) } else { Err("only who is on call may approve".into()) }
///     }
/// }
/// ```
#[async_trait]
pub trait ApprovalAuthoriser: fmt::Debug + Send + Sync + 'static {
    /// Whether `who` may decide on this approval.
    async fn authorise(&self, who: &str, approval: &Approval, now: Timestamp) -> Result<(), BoxError>;
}

macro_rules! forward_authoriser {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: ApprovalAuthoriser + ?Sized> ApprovalAuthoriser for $pointer<T> {
            async fn authorise(&self, who: &str, approval: &Approval, now: Timestamp) -> Result<(), BoxError> {
                (**self).authorise(who, approval, now).await
            }
        }
    };
}
forward_authoriser!(Arc);
forward_authoriser!(Box);

/// Why a person's word was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// No approval has this name.
    #[error("there is no approval of this name; open the list again")]
    Unknown,
    /// It was settled before, and stays so.
    #[error("the approval was settled before: {}; what was decided stays", .0.state.as_str())]
    Settled(Box<Approval>),
    /// Its time is over.
    #[error("the approval expired at {0}; wait for a new plan")]
    Expired(Timestamp),
    /// This person may not decide.
    #[error("{who} may not decide on this approval")]
    NotAllowed {
        /// Who asked.
        who: String,
        /// Why not.
        #[source]
        source: BoxError,
    },
    /// The store failed; nothing was decided, or it is not known.
    #[error("the decision could not be written down; look at the approval before trying again")]
    Store(#[from] StoreError),
}

impl Dispatcher {
    /// What waits for a person, the oldest first.
    ///
    /// # Errors
    /// A store that is down.
    pub async fn approvals(&self) -> Result<Vec<Approval>, StoreError> {
        self.store.pending_approvals().await
    }

    /// Grants an approval. The step runs in the next [`recover`](aiops_core::Responder::recover), which the
    /// remediation stage calls at once: it inspects again, and runs only in the state that was approved.
    ///
    /// # Errors
    /// [`ApprovalError`]: unknown, settled before, expired, or not for this person to decide.
    pub async fn approve(&self, id: &ApprovalId, who: &str, now: Timestamp) -> Result<Approval, ApprovalError> {
        self.decide(id, who, now, ApprovalState::Approved { by: text::clip(who, 120), at: now }).await
    }

    /// Refuses an approval; the plan stops and is escalated with the reason.
    ///
    /// # Errors
    /// As [`approve`](Self::approve).
    pub async fn reject(
        &self,
        id: &ApprovalId,
        who: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Approval, ApprovalError> {
        let (by, reason) = (text::clip(who, 120), text::clip(reason, 300));
        self.decide(id, who, now, ApprovalState::Rejected { by, at: now, reason }).await
    }

    async fn decide(
        &self,
        id: &ApprovalId,
        who: &str,
        now: Timestamp,
        state: ApprovalState,
    ) -> Result<Approval, ApprovalError> {
        let approval = self.store.approval(id).await?.ok_or(ApprovalError::Unknown)?;
        if !approval.state.is_pending() {
            return Err(ApprovalError::Settled(Box::new(approval)));
        }
        if now >= approval.expires_at && !mutant!("expired_granted") {
            return Err(ApprovalError::Expired(approval.expires_at));
        }
        if let Err(source) = self.may_decide(who, &approval, now).await {
            metrics::counter!("aiops_dispatch_approvals_total", "state" => "not_allowed").increment(1);
            return Err(ApprovalError::NotAllowed { who: text::clip(who, 120), source });
        }
        match self.settle_approval(&approval, state).await? {
            Settled::Now(approval) => {
                self.wake.notify_one();
                Ok(*approval)
            }
            Settled::Before(approval) => Err(ApprovalError::Settled(approval)),
        }
    }

    async fn may_decide(&self, who: &str, approval: &Approval, now: Timestamp) -> Result<(), BoxError> {
        let Some(authoriser) = &self.authoriser else {
            return Err("the dispatcher has no authoriser that says who may".into());
        };
        let by = plus(self.clock.now(), self.limits.inspect);
        match guarded(&*self.clock, by, authoriser.authorise(who, approval, now)).await {
            _ if mutant!("anybody_approves") => Ok(()),
            Ok(answer) => answer,
            Err(fault) => Err(format!("the authoriser {}", fault.plain()).into()),
        }
    }

    /// Settles an approval, and counts it where this call did.
    pub(super) async fn settle_approval(
        &self,
        approval: &Approval,
        state: ApprovalState,
    ) -> Result<Settled, StoreError> {
        let label = state.as_str();
        let settled = self.store.settle_approval(&approval.id, &state).await?;
        if let Settled::Now(approval) = &settled {
            metrics::counter!("aiops_dispatch_approvals_total", "state" => label).increment(1);
            self.audit_or_count(of_approval(approval, &self.redactor)).await;
        }
        Ok(settled)
    }

    /// What waits for an episode that ended is void.
    pub(super) async fn void_approvals(&self, of: &crate::store::EpisodeKey, now: Timestamp) -> Result<(), StoreError> {
        for approval in self.store.pending_approvals().await? {
            if approval.episode == *of {
                let state = ApprovalState::Void { at: now, reason: "the episode has ended".to_owned() };
                self.settle_approval(&approval, state).await?;
                self.wake.notify_one();
            }
        }
        Ok(())
    }

    /// 16 bytes that nobody can guess, as an approval's name.
    pub(super) fn draw_id(&self) -> Result<ApprovalId, String> {
        match (self.random)() {
            Ok(bytes) => Ok(ApprovalId::of_random(bytes)),
            Err(error) => Err(format!("no random bytes for an approval: {}", error_chain(&*error))),
        }
    }

    /// The locks that are held now: who holds what since when.
    ///
    /// # Errors
    /// A store that is down.
    pub async fn locks(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        self.store.leases(now).await
    }

    /// Takes a lock away, for a person who knows that its holder is gone. A holder that is alive after all
    /// notices that, and what it does is fenced by its token.
    ///
    /// # Errors
    /// A store that is down, or an audit log that cannot be written: the lock is as it was.
    pub async fn force_release(
        &self,
        key: &str,
        who: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        let held = self.store.leases(now).await?.into_iter().find(|lease| lease.key == key);
        let Some(held) = held else { return Ok(None) };
        self.audit_first(AuditEntry::forced_release(key, &held.holder, who, reason, now, &self.redactor)).await?;
        let lease = self.store.force_release(key).await?;
        if let Some(lease) = &lease {
            metrics::counter!("aiops_dispatch_forced_releases_total").increment(1);
            let who = text::clip(who, 120);
            tracing::warn!(key, holder = lease.holder, who, at = %now, "a lock was taken away by a person");
        }
        Ok(lease)
    }

    /// Stops every action of all processes that share the store, or lets policies decide again.
    ///
    /// # Errors
    /// A store that is down: the switch may not have been set. An audit log that cannot be written keeps the
    /// switch from being set off, not from being set on.
    pub async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
        let written = self.audit_first(AuditEntry::kill_switch(&switch, &self.redactor)).await;
        if !switch.on {
            written?;
        }
        self.store.set_kill_switch(switch).await.inspect_err(|error| {
            store_failed("set the kill switch", error);
        })
    }

    /// Writes to the audit log what a person is about to do.
    async fn audit_first(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let unwritten =
            |source: String| StoreError::Unavailable { doing: "write the audit log", source: source.into() };
        self.audit(entry).await.map_err(unwritten)
    }
}

fn of_approval(approval: &Approval, redactor: &Redactor) -> AuditEntry {
    let (by, at, reason) = match &approval.state {
        ApprovalState::Pending => ("", approval.asked_at, ""),
        ApprovalState::Approved { by, at } => (by.as_str(), *at, ""),
        ApprovalState::Rejected { by, at, reason } => (by.as_str(), *at, reason.as_str()),
        ApprovalState::Expired { at } => ("", *at, ""),
        ApprovalState::Void { at, reason } => ("", *at, reason.as_str()),
    };
    let mut entry = AuditEntry::new(AuditKind::Approval, at);
    entry.report = Some(approval.report.clone());
    entry.incident_id = Some(approval.incident_id.clone());
    entry.fingerprint = Some(approval.request.fingerprint.clone());
    let reason = if reason.is_empty() { approval.place() } else { format!("{}: {reason}", approval.place()) };
    entry.said(approval.state.as_str(), by, &reason, redactor)
}
