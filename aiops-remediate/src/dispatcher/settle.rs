//! A step that has begun gets its end: verified in its time, or found out after a crash.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use aiops_core::{
    ActionHandler, ActionRequest, Applied, Compensation, Inspection, Outcome, Precondition, error_chain, text,
};
use jiff::Timestamp;

use super::Dispatcher;
use super::drive::words;
use super::leases::Leases;
use super::step::{WORDS, inspect};
use crate::audit::AuditEntry;
use crate::mutant::mutant;
use crate::parameters;
use crate::store::{JournalEntry, JournalState, Lease, StepEnd, StoreError};

/// As long as inspections fail, a step is looked at again; then a person has to.
const LOOKING: Duration = Duration::from_secs(3_600);

impl Dispatcher {
    /// The end of a step that began, and what to say of it: verified if its time has come, else inspected and
    /// recorded as done, as not run, or as unknown. Nothing is executed.
    ///
    /// None where somebody is alive with it, or where nobody can look now (for an hour; then it is unknown).
    pub(super) async fn settle(
        &self,
        listed: &JournalEntry,
        now: Timestamp,
    ) -> Result<Option<(StepEnd, String)>, StoreError> {
        let key = listed.key();
        let leases = if mutant!("settled_without_lock") {
            Some(Leases::of(Lease::new(key.as_str(), "", listed.token, now, now)))
        } else {
            self.lock_kept(key.as_str(), now).await?
        };
        let Some(leases) = leases else { return Ok(None) };
        let settled = self.settle_locked(listed, &leases, now).await;
        self.release_all(&leases).await;
        settled
    }

    async fn settle_locked(
        &self,
        listed: &JournalEntry,
        leases: &Leases,
        now: Timestamp,
    ) -> Result<Option<(StepEnd, String)>, StoreError> {
        // It was listed before the lock was taken, and whoever held the lock may still be about to write: from here
        // on it stays as it is.
        let entry = match self.store.take_over(&listed.key(), leases.token()).await {
            Ok(Some(entry)) => entry,
            Ok(None) | Err(StoreError::Fenced { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let JournalState::Ended(end) = &entry.state {
            return Ok(Some((end.clone(), words(end))));
        }
        let Some((end, reason)) = self.found_out(&entry, now).await else { return Ok(None) };
        let state = JournalState::Ended(end.clone());
        match self.store.advance(&entry.key(), leases.token(), &state, now).await {
            Ok(()) => {}
            Err(StoreError::Fenced { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        metrics::counter!("aiops_dispatch_settled_total", "end" => end_label(&end)).increment(1);
        self.audit_or_count(AuditEntry::step(&entry, &state, now, &self.redactor)).await;
        Ok(Some((end, reason)))
    }

    /// How a step ended, or none where that cannot be known yet.
    async fn found_out(&self, entry: &JournalEntry, now: Timestamp) -> Option<(StepEnd, String)> {
        let unknown = |reason: String| Some((StepEnd::Unknown { reason: reason.clone() }, reason));
        let handler = self.handlers.get(entry.request.action.as_str());
        match (&entry.state, handler) {
            (JournalState::Started, _) => {
                let reason = "interrupted before anything was changed".to_owned();
                Some((StepEnd::NotRun { reason: reason.clone() }, reason))
            }
            (_, None) => unknown("interrupted, and there is no handler any more that could look".to_owned()),
            (JournalState::Executing { precondition }, Some(handler)) => {
                let asked = parameters::with_observed(&entry.request, precondition);
                match inspect(self, handler, &asked).await {
                    Ok(Inspection::AlreadyDone { proof }) => {
                        let end = StepEnd::Executed { outcome: Outcome::Helped, proof };
                        let reason = format!("interrupted, and found done: {}", words(&end));
                        Some((end, reason))
                    }
                    Ok(Inspection::Ready { .. }) if mutant!("unknown_as_not_run") => {
                        let reason = "it never ran".to_owned();
                        Some((StepEnd::NotRun { reason: reason.clone() }, reason))
                    }
                    Ok(Inspection::Ready { precondition }) if mutant!("recovery_runs_again") => {
                        let proof = match handler.execute(&entry.request, &precondition).await {
                            Ok(applied) => applied.proof,
                            Err(error) => return unknown(error.to_string()),
                        };
                        Some((StepEnd::Executed { outcome: Outcome::Helped, proof: proof.clone() }, proof))
                    }
                    Ok(Inspection::Ready { .. }) => unknown("interrupted, and its effect is not to be seen".to_owned()),
                    Ok(Inspection::Blocked { reason }) => unknown(format!("interrupted, and now blocked: {reason}")),
                    Ok(_) => unknown("interrupted, and the handler's answer is of another version".to_owned()),
                    Err(why) if plus(entry.at, LOOKING) <= now => unknown(format!("interrupted, and {why}")),
                    // The next round may be able to look.
                    Err(_) => None,
                }
            }
            (JournalState::Verifying { verify_at, .. }, _) if *verify_at > now => None,
            (JournalState::Verifying { precondition, proof, .. }, Some(handler)) => {
                Some(self.verified(&entry.request, handler, precondition, proof).await)
            }
            (JournalState::Ended(_), _) => None,
        }
    }

    /// Whether it helped; what made it worse is taken back.
    async fn verified(
        &self,
        request: &ActionRequest,
        handler: &Arc<dyn ActionHandler>,
        precondition: &Precondition,
        proof: &str,
    ) -> (StepEnd, String) {
        let outcome = self.verify(request, handler, precondition, &Applied::new(proof)).await;
        let outcome =
            if mutant!("verdict_ignored") && outcome == Outcome::NoEffect { Outcome::Helped } else { outcome };
        let mut reason = match outcome {
            Outcome::Helped => format!("done and it helped: {proof}"),
            Outcome::NoEffect => format!("done ({proof}), without effect"),
            Outcome::Worse => format!("done ({proof}), and it is worse than before"),
            Outcome::Unknown => format!("done ({proof}); whether it helped is unknown"),
        };
        if outcome == Outcome::Worse {
            reason.push_str(&self.compensate(handler, request).await);
        }
        (StepEnd::Executed { outcome, proof: proof.to_owned() }, reason)
    }

    /// By the entry's own number where it has one, else by the handler; who cannot tell leaves it unknown.
    async fn verify(
        &self,
        request: &ActionRequest,
        handler: &Arc<dyn ActionHandler>,
        precondition: &Precondition,
        applied: &Applied,
    ) -> Outcome {
        let now = self.clock.now();
        let catalogue = self.catalogue.load();
        let condition = catalogue.get(request.action.as_str()).and_then(|spec| spec.verify.as_ref());
        if let Some(condition) = condition {
            return match self.read(&condition.probe, &request.target, &request.service, now).await {
                Ok(value) if condition.holds(value) => Outcome::Helped,
                Ok(_) => Outcome::NoEffect,
                Err(_) => Outcome::Unknown,
            };
        }
        let asked = parameters::with_observed(request, precondition);
        let by = plus(now, self.limits.inspect);
        match guarded(&*self.clock, by, handler.verify(&asked, applied)).await {
            Ok(Ok(outcome)) => outcome,
            _ => Outcome::Unknown,
        }
    }

    /// What was taken back, as the end of a sentence. Whatever comes of it, a person is told.
    pub(super) async fn compensate(&self, handler: &Arc<dyn ActionHandler>, request: &ActionRequest) -> String {
        let by = plus(self.clock.now(), self.limits.execute);
        match guarded(&*self.clock, by, handler.compensate(request)).await {
            Ok(Ok(Compensation::Done(what))) => format!("; taken back: {}", text::clip(&what, WORDS)),
            Ok(Ok(_)) => String::new(),
            Ok(Err(error)) => format!("; taking it back failed too: {}", text::clip(&error_chain(&error), WORDS)),
            Err(fault) => format!("; taking it back {}", fault.plain()),
        }
    }
}

fn end_label(end: &StepEnd) -> &'static str {
    match end {
        StepEnd::Executed { .. } => "executed",
        StepEnd::AlreadyDone { .. } => "already_done",
        StepEnd::NotRun { .. } => "not_run",
        StepEnd::Unknown { .. } => "unknown",
    }
}
