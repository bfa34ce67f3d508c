//! What a process left behind when it died: found out, written down, never run again blindly.

use std::collections::BTreeSet;
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{Applied, Disposition, Inspection, Outcome, Recovered, Response};
use jiff::Timestamp;

use super::respond::escalated;
use super::step::{inspect, verify};
use super::{Dispatcher, store_failed};
use crate::parameters;
use crate::store::{Acquired, JournalEntry, JournalState, Lease, ReportRecord, StepEnd, StoreError};

/// As long as inspections fail, a step is looked at again; then a person has to.
const LOOKING: Duration = Duration::from_secs(3_600);

impl Dispatcher {
    /// A step that is being verified is verified, one that may have run is inspected and recorded as done or
    /// as unknown, one that had not run is recorded as not run; one whose inspection keeps failing is unknown
    /// after an hour. Then reports all of whose steps have an end are closed. Nothing is executed.
    ///
    /// A step whose lock is held is alive and left alone, and so is a report for as long as its steps may
    /// hold locks: after a crash this finds everything once the dead process' locks are over (10 min).
    pub(super) async fn find_out(&self, now: Timestamp) -> Result<Vec<Recovered>, StoreError> {
        for listed in self.store.unfinished().await? {
            let key = listed.request.key();
            let Acquired::Granted(lease) = self.store.acquire(&key, &self.holder, now, self.limits.lock).await? else {
                continue;
            };
            let recovered = self.recover_step(&listed, &lease, now).await;
            self.release(&lease).await;
            recovered?;
        }

        let unfinished: BTreeSet<_> = self.store.unfinished().await?.into_iter().map(|entry| entry.report).collect();
        let mut answers = Vec::new();
        for record in self.store.open_reports().await? {
            if unfinished.contains(&record.id) {
                continue;
            }
            // As long as its steps can take, the report may be alive in another process.
            let steps = u32::try_from(record.plan.steps.len()).unwrap_or(u32::MAX).max(1);
            if plus(record.at, self.limits.lock.saturating_mul(steps)) > now {
                continue;
            }
            let response = self.closing(&record, now).await?;
            self.store.close_report(&record.id, &response).await?;
            answers.push(Recovered::new(record.triaged, response));
        }
        Ok(answers)
    }

    /// Ends one step, under its lock.
    async fn recover_step(&self, listed: &JournalEntry, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        // It was listed before the lock was taken: whoever held the lock until then may have gone on.
        let steps = self.store.steps_of(&listed.report).await?;
        let Some(entry) = steps.iter().find(|entry| entry.index == listed.index) else { return Ok(()) };
        let Some(end) = self.found_out(entry, now).await else { return Ok(()) };
        let label = end_label(&end);
        self.store.advance(&entry.key(), lease.token, &JournalState::Ended(end), now).await?;
        metrics::counter!("aiops_dispatch_recovered_total", "end" => label).increment(1);
        Ok(())
    }

    /// How a step ended, or none where that cannot be known yet.
    async fn found_out(&self, entry: &JournalEntry, now: Timestamp) -> Option<StepEnd> {
        let unknown = |reason: &str| Some(StepEnd::Unknown { reason: reason.to_owned() });
        let Some(handler) = self.handlers.get(entry.request.action.as_str()) else {
            return unknown("interrupted, and there is no handler any more that could look");
        };
        match &entry.state {
            JournalState::Started => {
                Some(StepEnd::NotRun { reason: "interrupted before anything was changed".to_owned() })
            }
            JournalState::Executing { precondition } => {
                let asked = parameters::with_observed(&entry.request, precondition);
                match inspect(self, handler, &asked).await {
                    Ok(Inspection::AlreadyDone { proof }) => {
                        Some(StepEnd::Executed { outcome: Outcome::Helped, proof })
                    }
                    Ok(Inspection::Ready { .. }) => unknown("interrupted, and its effect is not to be seen"),
                    Ok(Inspection::Blocked { reason }) => unknown(&format!("interrupted, and now blocked: {reason}")),
                    Ok(_) => unknown("interrupted, and the handler's answer is of another version"),
                    Err(why) if plus(entry.at, LOOKING) <= now => unknown(&format!("interrupted, and {why}")),
                    // The next round may be able to look.
                    Err(_) => None,
                }
            }
            JournalState::Verifying { precondition, proof, verify_at } => {
                if *verify_at > now {
                    return None;
                }
                let applied = Applied::new(proof.clone());
                let outcome = verify(self, handler, &entry.request, precondition, &applied).await;
                Some(StepEnd::Executed { outcome, proof: proof.clone() })
            }
            JournalState::Ended(_) => None,
        }
    }

    /// The answer to a report whose process died, from its journal.
    async fn closing(&self, record: &ReportRecord, now: Timestamp) -> Result<Response, StoreError> {
        let entries = self.store.steps_of(&record.id).await?;
        let mut plan = record.plan.clone();
        let (mut helped, mut done) = (0, 0);
        for (index, step) in plan.steps.iter_mut().enumerate() {
            let end = entries.iter().find(|entry| entry.index == index).map(|entry| &entry.state);
            match end {
                Some(JournalState::Ended(end)) => {
                    step.outcome = Some(end.outcome());
                    step.reason = words(end);
                    done += usize::from(matches!(end, StepEnd::AlreadyDone { .. }));
                    helped += usize::from(matches!(end, StepEnd::Executed { outcome: Outcome::Helped, .. }));
                }
                _ => "not started: the process was interrupted".clone_into(&mut step.reason),
            }
        }
        for run in self.marks_not_used(record, &entries) {
            if let Err(error) = self.store.give_back(&record.id, &run).await {
                store_failed("give a mark back", &error);
            }
        }
        let disposition = if helped + done < plan.steps.len() {
            escalated("interrupted: the process stopped in the middle of the plan; look at its steps")
        } else if helped > 0 {
            Disposition::Executed
        } else {
            Disposition::NoAction
        };
        Ok(Response::new(record.triaged.incident_id.clone(), disposition, plan, now))
    }

    /// The marks of steps that never began.
    fn marks_not_used(&self, record: &ReportRecord, entries: &[JournalEntry]) -> Vec<crate::store::Run> {
        let (catalogue, policy) = (self.catalogue.load(), self.policy.load());
        let Ok(identity) = self.identity.reduce(&record.triaged.event.identity()) else { return Vec::new() };
        let marks = policy.reservation(&catalogue, &record.triaged, &record.plan, &identity.key(), record.at).runs;
        let begun = |run: &crate::store::Run| {
            entries.iter().any(|entry| entry.request.action == run.action && entry.request.target == run.target)
        };
        marks.into_iter().map(|(run, _)| run).filter(|run| !begun(run)).collect()
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

fn words(end: &StepEnd) -> String {
    match end {
        StepEnd::Executed { proof, .. } => format!("done: {proof}"),
        StepEnd::AlreadyDone { proof } => format!("done already: {proof}"),
        StepEnd::NotRun { reason } | StepEnd::Unknown { reason } => reason.clone(),
    }
}
