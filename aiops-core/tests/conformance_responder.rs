//! The responder suite passes the bundled responder and catches broken ones.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{RecordingResponder, Violation, check_responder, samples};
use aiops_core::{
    ActionMenu, ActionName, DetectionEvent, Disposition, IncidentId, MenuEntry, Plan, PlanOnly, Recovered,
    RespondError, Responder, Response, Triaged,
};
use async_trait::async_trait;

fn make(name: &str) -> Triaged {
    samples::triaged(samples::event("checkout", name, Timestamp::UNIX_EPOCH), &["restart_pod"])
}

#[tokio::test(start_paused = true)]
async fn the_bundled_responder_passes() {
    let menu = ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod").unwrap(), "deletes one pod")]);
    check_responder(&PlanOnly::new(menu), make, Timestamp::UNIX_EPOCH, || ()).await.unwrap();
    let good = Acting::new(None);
    check_responder(&good, make, Timestamp::UNIX_EPOCH, || good.effects()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_responder_that_trusts_reports_is_caught() {
    let trusting = RecordingResponder::new(Disposition::Executed);
    let violation = check_responder(&trusting, make, Timestamp::UNIX_EPOCH, || ()).await.unwrap_err();
    assert!(violation.contract.contains("not in its catalogue"), "{violation}");
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    RunsTheKnownHalf,
    RejectsAfterActing,
    ActsTwice,
    ChangesItsMind,
    OneIncidentAtATime,
    OfAnotherIncident,
    FailsAResolveThatItDoesNotKnow,
    KeepsWhatWasDropped,
    RunsAgainToRecover,
    Hangs,
}

/// Acts on one known action, and keeps what it did.
#[derive(Debug)]
struct Acting {
    fault: Option<Fault>,
    done: Mutex<Vec<IncidentId>>,
    current: Mutex<Option<IncidentId>>,
}

impl Acting {
    fn new(fault: impl Into<Option<Fault>>) -> Self {
        Self { fault: fault.into(), done: Mutex::default(), current: Mutex::default() }
    }

    fn effects(&self) -> Vec<IncidentId> {
        self.done.lock().unwrap().clone()
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

#[async_trait]
impl Responder for Acting {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        let id = triaged.incident_id.clone();
        let answer = |disposition| Ok(Response::new(id.clone(), disposition, Plan::default(), now));
        let actions = triaged.report.distinct_actions();
        let unknown = actions.iter().find(|name| **name != "restart_pod");
        let (known, run) = (actions.len() > usize::from(unknown.is_some()), self.is(Fault::RunsTheKnownHalf));
        if let Some(name) = unknown.filter(|_| !(run && known)) {
            if self.is(Fault::RejectsAfterActing) {
                self.done.lock().unwrap().push(id.clone());
            }
            return answer(Disposition::Rejected { reason: format!("unknown action: {name}") });
        }
        if self.is(Fault::Hangs) {
            std::future::pending::<()>().await;
        }
        if self.is(Fault::OneIncidentAtATime) || self.is(Fault::KeepsWhatWasDropped) {
            if self.is(Fault::KeepsWhatWasDropped) && self.current.lock().unwrap().as_ref() == Some(&id) {
                return Err(RespondError::retryable(id, "under way"));
            }
            let other = self.current.lock().unwrap().replace(id.clone());
            if other.is_some() && self.is(Fault::OneIncidentAtATime) {
                return answer(Disposition::Duplicate);
            }
            tokio::task::yield_now().await;
            *self.current.lock().unwrap() = None;
        }
        let seen = self.done.lock().unwrap().contains(&id);
        if seen && self.is(Fault::ChangesItsMind) {
            return answer(Disposition::NoAction);
        }
        if !seen || self.is(Fault::ActsTwice) {
            self.done.lock().unwrap().push(id.clone());
        }
        if self.is(Fault::OfAnotherIncident) {
            return Ok(Response::new("inc-other".into(), Disposition::Executed, Plan::default(), now));
        }
        answer(if seen { Disposition::Duplicate } else { Disposition::Executed })
    }

    async fn resolved(&self, event: &DetectionEvent, _: Timestamp) -> Result<(), RespondError> {
        let id = event.incident_id.clone().unwrap();
        if self.is(Fault::FailsAResolveThatItDoesNotKnow) && !self.done.lock().unwrap().contains(&id) {
            return Err(RespondError::retryable(id, "no such incident"));
        }
        Ok(())
    }

    async fn recover(&self, _: Timestamp) -> Result<Vec<Recovered>, RespondError> {
        if self.is(Fault::RunsAgainToRecover) {
            let mut done = self.done.lock().unwrap();
            done.extend_from_within(..1);
        }
        Ok(Vec::new())
    }
}

async fn check(fault: Fault) -> Violation {
    let broken = Acting::new(fault);
    check_responder(&broken, make, Timestamp::UNIX_EPOCH, || broken.effects()).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn broken_responders_are_caught() {
    for (fault, line) in [
        (Fault::RunsTheKnownHalf, "reject the whole report"),
        (Fault::RejectsAfterActing, "reject the whole report"),
        (Fault::ActsTwice, "no second effect"),
        (Fault::ChangesItsMind, "same answer"),
        (Fault::OneIncidentAtATime, "concurrently"),
        (Fault::OfAnotherIncident, "one disposition"),
        (Fault::FailsAResolveThatItDoesNotKnow, "`resolved`"),
        (Fault::KeepsWhatWasDropped, "answerable"),
        (Fault::RunsAgainToRecover, "`recover`"),
        (Fault::Hangs, "one disposition"),
    ] {
        let violation = check(fault).await;
        assert!(violation.contract.contains(line), "{fault:?}: {violation}");
    }
}
