//! What became of a report is told until somebody notes that people were told: a process that dies between the
//! answer and the notice has told nobody.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{Disposition, Recovered, Response, Triaged};
use jiff::Timestamp;

use super::{Dispatcher, store_failed};
use crate::mutant::mutant;
use crate::store::{Approval, ReportId, StoreError};

/// An answer that this process gave is being told, or waits in it for a channel to come back; after so long it is
/// given once more.
const AGAIN: Duration = Duration::from_secs(600);
/// Answers that are being told at a time; beyond it one may be told twice.
const TELLING_MAX: usize = 10_000;

impl Dispatcher {
    fn telling(&self) -> MutexGuard<'_, std::collections::HashMap<ReportId, Timestamp>> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer is handed to whoever tells people.
    pub(super) fn being_told(&self, triaged: &Triaged, response: &Response) {
        if response.disposition == Disposition::Duplicate {
            return;
        }
        let (now, mut telling) = (self.clock.now(), self.telling());
        if telling.len() >= TELLING_MAX {
            telling.retain(|_, since| plus(*since, AGAIN) > now);
        }
        if telling.len() < TELLING_MAX {
            telling.insert(ReportId::of(triaged), now);
        }
    }

    /// Whether an answer that somebody gave at `since` is due to be told by this process.
    pub(super) fn is_due(&self, id: &ReportId, since: Timestamp, now: Timestamp) -> bool {
        let own = self.telling().get(id).copied();
        plus(since, self.limits.telling) <= now && own.is_none_or(|own| plus(own, AGAIN) <= now)
    }

    /// People were told.
    pub(super) async fn note_told(
        &self,
        triaged: &Triaged,
        response: &Response,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = ReportId::of(triaged);
        match response.disposition {
            Disposition::Duplicate => return Ok(()),
            Disposition::AwaitingApproval => {
                for approval in self.store.approvals_of(&id).await? {
                    if asks_for(response, &approval) {
                        self.store.note_asked(&approval.id, now).await?;
                    }
                }
            }
            _ => self.store.note_told(&id).await?,
        }
        self.telling().remove(&id);
        Ok(())
    }

    /// Answers that were given a while ago and that nobody was told of, as far as anybody noted.
    pub(super) async fn not_told(&self, now: Timestamp) -> Vec<Recovered> {
        let untold = match self.store.untold().await {
            Ok(untold) => untold,
            Err(error) => {
                store_failed("tell which answers were not told", &error);
                return Vec::new();
            }
        };
        let mut answers = Vec::new();
        if mutant!("answer_told_once") {
            return answers;
        }
        for record in untold {
            let Some(response) = record.response.filter(|response| self.is_due(&record.id, response.at, now)) else {
                continue;
            };
            metrics::counter!("aiops_dispatch_told_again_total").increment(1);
            self.being_told(&record.triaged, &response);
            answers.push(Recovered::new(record.triaged, response));
        }
        answers
    }
}

/// Whether this answer is the one that asks for an approval.
fn asks_for(response: &Response, approval: &Approval) -> bool {
    let step = response.plan.steps.get(approval.index);
    step.is_some_and(|step| step.reason.contains(approval.id.as_str()))
}
