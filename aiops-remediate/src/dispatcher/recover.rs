//! The timer: goes on with what waits, and finds out what a process left behind when it died.

use std::time::Duration;

use aiops_core::time::since;
use aiops_core::{Disposition, Recovered, Response};
use jiff::Timestamp;

use super::drive::Driven;
use super::{Dispatcher, store_failed};
use crate::store::{ApprovalState, ReportId, ReportRecord, StoreError};

/// One round begins nothing more after so long: what is left has its turn in the next, within the stage's
/// four minutes for a call.
const ROUND: Duration = Duration::from_secs(40);

/// What becomes of an approval whose report has its answer.
pub(super) fn answered(at: Timestamp) -> ApprovalState {
    ApprovalState::Void { at, reason: "the report was answered without it".to_owned() }
}

impl Dispatcher {
    /// Goes on with every report that has no answer: what has to be verified is verified, what was approved
    /// runs, what was not decided in time expires; steps that a dead process left behind are inspected and
    /// recorded. What may have been executed is not executed again.
    ///
    /// What is locked is alive and left alone: after a crash this finds everything once the dead process'
    /// locks are over (10 min).
    pub(super) async fn round(&self, now: Timestamp) -> Result<Vec<Recovered>, StoreError> {
        let began = self.clock.now();
        let mut answers = Vec::new();
        for record in self.store.open_reports().await? {
            if since(self.clock.now(), began) > ROUND {
                self.wake.notify_one();
                break;
            }
            // One report that cannot be gone on with must not hold up the others.
            match self.drive_while_due(&record.id, now).await {
                Ok(Driven::Done(response)) => answers.push(Recovered::new(record.triaged, response)),
                Ok(Driven::Parked { response, fresh }) => {
                    if let Some(response) = self.reminded(&record, response, fresh, now).await {
                        answers.push(Recovered::new(record.triaged, response));
                    }
                }
                Ok(Driven::Wait(_) | Driven::Elsewhere) => {}
                Err(error) => drop(store_failed("tell how far a report is", &error)),
            }
        }
        // Reports that were closed must be told, whatever the store says from here on.
        if let Err(error) = self.left_over(now).await {
            store_failed("look for what answered reports left behind", &error);
        }
        Ok(answers)
    }

    /// Goes on as long as there is something to do now.
    async fn drive_while_due(&self, id: &ReportId, now: Timestamp) -> Result<Driven, StoreError> {
        loop {
            let driven = self.drive(id, now).await?;
            let due = matches!(&driven, Driven::Wait(at) if *at <= self.clock.now().max(now));
            if !due {
                return Ok(driven);
            }
        }
    }

    /// What answered reports left behind: steps of which nobody knew whether they are done, and approvals that
    /// were asked for while somebody else gave the answer.
    async fn left_over(&self, now: Timestamp) -> Result<(), StoreError> {
        for entry in self.store.unfinished().await? {
            if self.store.open_report_of(&entry.report).await?.is_none()
                && let Err(error) = self.settle(&entry, now).await
            {
                store_failed("write down what became of a step", &error);
            }
        }
        for approval in self.store.pending_approvals().await? {
            if self.store.open_report_of(&approval.report).await?.is_none() {
                self.settle_approval(&approval, answered(now)).await?;
            }
        }
        Ok(())
    }

    /// What people are told of a report that waits for them: when it begins to, until somebody notes that they were,
    /// and once at half time.
    async fn reminded(
        &self,
        record: &ReportRecord,
        mut response: Response,
        fresh: bool,
        now: Timestamp,
    ) -> Option<Response> {
        if fresh {
            return Some(response);
        }
        let approvals = self.store.approvals_of(&record.id).await.ok()?;
        let pending = approvals.iter().find(|approval| approval.state == ApprovalState::Pending)?;
        if pending.told_at.is_none() && self.is_due(&record.id, pending.asked_at, now) {
            metrics::counter!("aiops_dispatch_told_again_total").increment(1);
            return Some(response);
        }
        if now < pending.half_time() || !self.store.note_reminder(&pending.id, now).await.ok()? {
            return None;
        }
        if let Some(step) = response.plan.steps.get_mut(pending.index) {
            step.reason = format!("still {}; nobody has decided", step.reason);
        }
        debug_assert_eq!(response.disposition, Disposition::AwaitingApproval);
        Some(response)
    }
}
