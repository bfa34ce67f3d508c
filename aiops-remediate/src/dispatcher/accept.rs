//! One report: planned, written down, and then gone on with until it has an answer.

use std::sync::PoisonError;
use std::time::Duration;

use aiops_core::time::since;
use aiops_core::{Disposition, Plan, RespondError, Response, RuleVerdict, Triaged};
use jiff::Timestamp;

use super::drive::Driven;
use super::{Dispatcher, store_failed};
use crate::audit::AuditEntry;
use crate::mutant::mutant;
use crate::plan::PolicyState;
use crate::policy::Mode;
use crate::store::{GuardState, Opened, ReportId, ReportRecord, StoreError};

/// What [`finish`](Dispatcher::finish) begins after so long is left to the timer. One more round (waiting for
/// a target, inspecting, executing, taking back) then ends within the remediation stage's four minutes.
const IN_LINE: Duration = Duration::from_secs(40);

/// Reports that are remembered after the store failed in their middle.
const GIVEN_UP: usize = 10_000;

pub(super) fn escalated(reason: impl Into<String>) -> Disposition {
    Disposition::Escalated { reason: reason.into() }
}

/// The guard that remembers an identity in a loop.
fn loop_name(identity: &str) -> String {
    format!("loop|{identity}")
}

impl Dispatcher {
    /// Plans a report and writes it down. The answer, where the decision is already all of it.
    pub(super) async fn take(&self, triaged: &Triaged, now: Timestamp) -> Result<Option<Response>, RespondError> {
        let (catalogue, policy) = (self.catalogue.load(), self.policy.load());
        let answer = |disposition, plan| Response::new(triaged.incident_id.clone(), disposition, plan, now);
        let identity = match self.identity.reduce(&triaged.event.identity()) {
            Ok(identity) => identity.key(),
            Err(error) => return Ok(Some(answer(escalated(error.to_string()), Plan::default()))),
        };
        let query = policy.query(&catalogue, triaged, &identity, now);
        let state = match self.store.snapshot(&query).await {
            Ok(snapshot) => {
                let actions = triaged.report.recommended_actions.iter().map(String::as_str);
                let health = self.health(&policy, &snapshot.guards, actions, triaged, now).await;
                PolicyState::new(identity.clone(), snapshot).health(health)
            }
            Err(error) => PolicyState::stopped(store_failed("be read", &error), now),
        };
        let verdict = policy.plan(&catalogue, triaged, &state, now);
        let (mut disposition, plan) = (verdict.disposition, verdict.plan);
        let mut acts = disposition == Disposition::WouldExecute
            || disposition == Disposition::AwaitingApproval && policy.mode == Mode::Active;
        if acts && let Some(step) = plan.steps.iter().find(|step| !self.handlers.contains_key(&step.action)) {
            acts = false;
            disposition = escalated(format!("no handler for action {}", step.action));
        }

        let response = (!acts).then(|| answer(disposition.clone(), plan.clone()));
        let record = ReportRecord::new(triaged.clone(), plan.clone(), now)
            .versions(catalogue.version(), policy.version())
            .response(response.clone());
        match self.store.open_report(&record).await {
            Ok(Opened::New) => {
                self.note_loop(&record.plan, &identity, &state, now).await;
                if response.is_some() {
                    self.audit_or_count(AuditEntry::decision(&record, &self.redactor)).await;
                }
                Ok(response)
            }
            Ok(Opened::Known(None)) if mutant!("duplicate_taken_again") => Ok(None),
            Ok(Opened::Known(became)) => {
                let became = became.as_ref().map_or("not answered yet", Disposition::as_str);
                let detail = format!("report {} is known: {became}", record.id);
                let known = RuleVerdict::new("known_report", false, detail).input("became", became.to_owned());
                Ok(Some(answer(Disposition::Duplicate, Plan::new(Vec::new(), vec![known]))))
            }
            Err(_) if mutant!("ack_before_journal") && response.is_none() => Ok(None),
            // Nothing was decided that acts: a person is told, with what the plan says.
            Err(error) => {
                let reason = store_failed("write the report down", &error);
                // It may have been written down all the same.
                self.note_given_up(&record.id, &reason);
                Ok(Some(response.unwrap_or_else(|| answer(escalated(reason), plan))))
            }
        }
    }

    /// A loop that will be told is remembered until the anomaly has been quiet, so that it is told once.
    async fn note_loop(&self, plan: &Plan, identity: &str, state: &PolicyState, now: Timestamp) {
        let Some(rule) = plan.rules.iter().find(|rule| rule.rule == "loop_guard") else { return };
        let name = loop_name(identity);
        let known = state.snapshot.guards.get(&name);
        let stands = match (rule.pass, known) {
            (true, None) => return,
            (true, Some(known)) => GuardState::passed(known.bad_at),
            (false, known) => GuardState::tripped(known.and_then(|known| known.tripped_at).unwrap_or(now), now),
        };
        if let Err(error) = self.store.set_guard(&name, &stands).await {
            store_failed("note a loop", &error);
        }
    }

    /// Goes on with a report until it is answered, parked, or with somebody else. `patient` waits however
    /// long it takes.
    pub(super) async fn go_on(&self, triaged: &Triaged, now: Timestamp, patient: bool) -> Option<Response> {
        let id = ReportId::of(triaged);
        let began = self.clock.now();
        loop {
            match self.drive(&id, now).await {
                Err(error) => return Some(self.give_up(triaged, &id, &error)),
                Ok(driven) => match driven {
                    Driven::Done(response) | Driven::Parked { response, .. } => return Some(response),
                    Driven::Elsewhere => return None,
                    Driven::Wait(at) => {
                        if !patient && since(at, began) > IN_LINE {
                            return None;
                        }
                        // The caller's time counts where the clock is behind it.
                        if at > now {
                            self.clock.sleep_until(at).await;
                        }
                    }
                },
            }
        }
    }

    /// A store that fails in the middle of a report: a person is told now, and once the store answers again
    /// the report is closed with that, whatever had not begun by then.
    fn give_up(&self, triaged: &Triaged, id: &ReportId, error: &StoreError) -> Response {
        let reason = store_failed("tell how far the plan is", error);
        self.note_given_up(id, &reason);
        Response::new(triaged.incident_id.clone(), escalated(reason), Plan::default(), self.clock.now())
    }

    pub(super) fn note_given_up(&self, id: &ReportId, reason: &str) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if given_up.len() < GIVEN_UP {
            given_up.insert(id.clone(), reason.to_owned());
        }
    }

    pub(super) fn given_up(&self, id: &ReportId) -> Option<String> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn forget_given_up(&self, id: &ReportId) {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl crate::policy::Policy {
    /// When people were told that this identity is in a loop, as long as it has not been quiet since.
    pub(crate) fn looped(&self, state: &PolicyState, now: Timestamp) -> Option<Timestamp> {
        let guard = self.loop_guard?;
        let known = state.snapshot.guards.get(&loop_name(&state.identity))?;
        known.tripped_at.filter(|_| known.bad_at > aiops_core::time::minus(now, guard.per))
    }
}
