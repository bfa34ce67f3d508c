//! One report: planned, written down, run, answered.

use std::sync::Arc;

use aiops_core::{Decision, Disposition, Outcome, Plan, RespondError, Response, Triaged};
use jiff::Timestamp;

use super::step::{Ended, StepRun};
use super::{Dispatcher, store_failed};
use crate::catalogue::ActionCatalogue;
use crate::plan::PolicyState;
use crate::policy::{Mode, Policy};
use crate::store::{Opened, ReportId, ReportRecord, Reserved, Run};

pub(super) fn escalated(reason: impl Into<String>) -> Disposition {
    Disposition::Escalated { reason: reason.into() }
}

impl Dispatcher {
    pub(super) async fn answer(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        let (catalogue, policy) = (self.catalogue.load(), self.policy.load());
        let answer = |disposition, plan| Response::new(triaged.incident_id.clone(), disposition, plan, now);
        let identity = match self.identity.reduce(&triaged.event.identity()) {
            Ok(identity) => identity.key(),
            Err(error) => return Ok(answer(escalated(error.to_string()), Plan::default())),
        };
        let query = policy.query(&catalogue, triaged, &identity, now);
        let state = match self.store.snapshot(&query).await {
            Ok(snapshot) => PolicyState::new(identity.clone(), snapshot),
            Err(error) => PolicyState::stopped(store_failed("be read", &error), now),
        };
        let verdict = policy.plan(&catalogue, triaged, &state, now);
        let (mut disposition, plan) = (verdict.disposition, verdict.plan);
        if disposition == Disposition::WouldExecute
            && let Some(step) = plan.steps.iter().find(|step| !self.handlers.contains_key(&step.action))
        {
            disposition = escalated(format!("no handler for action {}", step.action));
        }

        let decided = disposition != Disposition::WouldExecute;
        let response = decided.then(|| answer(disposition.clone(), plan.clone()));
        let record = ReportRecord::new(triaged.clone(), plan.clone(), now)
            .versions(catalogue.version(), policy.version())
            .response(response.clone());
        match self.store.open_report(&record).await {
            Ok(Opened::New) => {}
            Ok(Opened::Known(_)) => return Ok(answer(Disposition::Duplicate, Plan::default())),
            // Nothing was decided that acts: a person is told, with what the plan says.
            Err(error) => {
                let reason = store_failed("write the report down", &error);
                return Ok(response.unwrap_or_else(|| answer(escalated(reason), plan)));
            }
        }
        if let Some(response) = response {
            return Ok(response);
        }

        let response = self.run(triaged, &record.id, plan, (&catalogue, &policy), &identity, now).await;
        if let Err(error) = self.store.close_report(&record.id, &response).await {
            // It stays open: recovery closes it by its journal.
            store_failed("write the answer down", &error);
        }
        Ok(response)
    }

    /// Takes the marks and runs the steps in order, until one stops the plan.
    async fn run(
        &self,
        triaged: &Triaged,
        report: &ReportId,
        mut plan: Plan,
        (catalogue, policy): (&Arc<ActionCatalogue>, &Arc<Policy>),
        identity: &str,
        now: Timestamp,
    ) -> Response {
        let reservation = policy.reservation(catalogue, triaged, &plan, identity, now);
        let stopped = match self.store.reserve(&reservation).await {
            Ok(Reserved::Granted) => None,
            Ok(Reserved::Refused { reason }) => Some(reason),
            Err(error) => Some(store_failed("take the marks", &error)),
        };
        let shadow = policy.mode == Mode::Shadow;
        let mut marks = reservation.runs.into_iter().map(|(mark, _)| mark);
        let (mut stop, mut executed) = (stopped, 0);
        if let Some(reason) = &stop {
            for step in &mut plan.steps {
                step.decision = Decision::Deny;
                step.reason.clone_from(reason);
            }
        } else {
            for (index, step) in plan.steps.iter_mut().enumerate() {
                let mark = marks.next();
                let spec = catalogue.get(&step.action);
                let handler = self.handlers.get(&step.action);
                let (Some(spec), Some(handler), Some(target), None) = (spec, handler, step.target.clone(), &stop)
                else {
                    "not started: the plan was stopped before".clone_into(&mut step.reason);
                    self.give_back(report, mark).await;
                    continue;
                };
                let run = StepRun { dispatcher: self, policy, spec, handler, triaged, report, index, target };
                let Ended { outcome, reason, stops, started } = run.run(shadow).await;
                metrics::counter!("aiops_dispatch_steps_total", "outcome" => outcome_label(outcome, shadow))
                    .increment(1);
                step.outcome = outcome;
                step.reason.clone_from(&reason);
                executed += usize::from(outcome == Some(Outcome::Helped));
                if !started && !shadow {
                    self.give_back(report, mark).await;
                }
                if stops {
                    stop = Some(format!("{}: {reason}", step.action));
                }
            }
        }
        let disposition = match stop {
            Some(reason) => escalated(reason),
            None if shadow => Disposition::WouldExecute,
            None if executed == 0 => Disposition::NoAction,
            None => Disposition::Executed,
        };
        Response::new(triaged.incident_id.clone(), disposition, plan, self.clock.now().max(now))
    }

    async fn give_back(&self, report: &ReportId, mark: Option<Run>) {
        if let Some(mark) = mark
            && let Err(error) = self.store.give_back(report, &mark).await
        {
            store_failed("give a mark back", &error);
        }
    }
}

fn outcome_label(outcome: Option<Outcome>, shadow: bool) -> &'static str {
    match outcome {
        Some(Outcome::Helped) => "helped",
        Some(Outcome::NoEffect) => "no_effect",
        Some(Outcome::Worse) => "worse",
        Some(Outcome::Unknown) => "unknown",
        None if shadow => "would_execute",
        None => "not_run",
    }
}
