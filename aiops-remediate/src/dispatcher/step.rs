//! One step of a plan: locked, journalled, inspected, executed, verified.

use std::sync::Arc;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, Compensation, Inspection, Outcome, Precondition, Target,
    Triaged, error_chain, text,
};
use jiff::Timestamp;

use super::{Dispatcher, store_failed};
use crate::catalogue::ActionSpec;
use crate::parameters;
use crate::policy::Policy;
use crate::store::{Acquired, Begun, JournalEntry, JournalState, Lease, ReportId, StepEnd, StepKey};

/// A handler's own words are cut here.
const WORDS: usize = 300;

/// How a step ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Option<Outcome>,
    /// Why, for a person.
    pub(super) reason: String,
    /// Whether the plan stops and a person is told.
    pub(super) stops: bool,
    /// Whether anything may have been changed, so that the mark stays.
    pub(super) started: bool,
}

impl Ended {
    fn not_run(reason: impl Into<String>) -> Self {
        Self { outcome: None, reason: reason.into(), stops: true, started: false }
    }

    fn unknown(reason: impl Into<String>) -> Self {
        Self { outcome: Some(Outcome::Unknown), reason: reason.into(), stops: true, started: true }
    }
}

/// One step and all that it needs.
pub(super) struct StepRun<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) policy: &'a Policy,
    pub(super) spec: &'a ActionSpec,
    pub(super) handler: &'a Arc<dyn ActionHandler>,
    pub(super) triaged: &'a Triaged,
    pub(super) report: &'a ReportId,
    pub(super) index: usize,
    pub(super) target: Target,
}

impl StepRun<'_> {
    pub(super) async fn run(&self, shadow: bool) -> Ended {
        let dispatcher = self.dispatcher;
        let now = dispatcher.clock.now();
        // The plan is some moments old, and the steps before this one took their time.
        match dispatcher.store.kill_switch().await {
            Ok(switch) if switch.on => {
                let (by, why) = (text::clip(&switch.by, 80), text::clip(&switch.reason, WORDS));
                return Ended::not_run(format!("the kill switch is on: {why} ({by})"));
            }
            Ok(_) => {}
            Err(error) => return Ended::not_run(store_failed("read the kill switch", &error)),
        }
        if let Some(freeze) = self.policy.frozen(now) {
            return Ended::not_run(format!("freeze window {freeze}"));
        }
        if let Some(why) = self.unmet(now).await {
            return Ended::not_run(why);
        }
        if shadow {
            return self.rehearse(now).await;
        }

        let request = self.request(now).dry_run(false);
        let key = request.key();
        let lease = match dispatcher.store.acquire(&key, &dispatcher.holder, now, dispatcher.limits.lock).await {
            Ok(Acquired::Granted(lease)) => lease,
            Ok(Acquired::Held { holder, until }) => {
                return Ended::not_run(format!("locked by {} until {until}", text::clip(&holder, 80)));
            }
            Err(error) => return Ended::not_run(store_failed("take the lock", &error)),
        };
        let (ended, keep_lock) = self.locked(request, &lease, now).await;
        if !keep_lock {
            dispatcher.release(&lease).await;
        }
        ended
    }

    /// The request; dry unless told otherwise.
    fn request(&self, now: Timestamp) -> ActionRequest {
        let event = &self.triaged.event;
        let mut parameters = parameters::of_event(event);
        if let Some(max) = self.spec.max_replicas {
            parameters.insert("max_replicas".to_owned(), max.into());
        }
        ActionRequest::new(
            self.spec.name.clone(),
            self.target.clone(),
            event.service.clone(),
            event.fingerprint.clone(),
            self.triaged.incident_id.clone(),
            plus(now, self.dispatcher.limits.inspect + self.dispatcher.limits.execute),
        )
        .parameters(parameters)
    }

    /// Shadow: looks, and says what it would do.
    async fn rehearse(&self, now: Timestamp) -> Ended {
        let request = self.request(now);
        match inspect(self.dispatcher, self.handler, &request).await {
            Err(why) => Ended::not_run(why),
            Ok(Inspection::Blocked { reason }) => Ended::not_run(format!("blocked: {}", text::clip(&reason, WORDS))),
            Ok(Inspection::AlreadyDone { proof }) => {
                let reason = format!("done already: {}", text::clip(&proof, WORDS));
                Ended { outcome: Some(Outcome::NoEffect), reason, stops: false, started: false }
            }
            Ok(Inspection::Ready { precondition }) => {
                let reason = format!("would run while {}", facts(&precondition));
                Ended { outcome: None, reason, stops: false, started: false }
            }
            Ok(_) => Ended::not_run("the handler's inspection says something that this version does not know"),
        }
    }

    /// Under the lock. Says as well whether the lock is to be kept: as long as nobody knows what happened.
    async fn locked(&self, request: ActionRequest, lease: &Lease, now: Timestamp) -> (Ended, bool) {
        let dispatcher = self.dispatcher;
        let request = request.fencing_token(lease.token);
        let entry = JournalEntry::new(self.report.clone(), self.index, request.clone(), now);
        let key = entry.key();
        match dispatcher.store.begin(&entry).await {
            Ok(Begun::New) => {}
            Ok(Begun::Exists { at, end }) => return (before(at, end.as_ref()), false),
            Err(error) => return (Ended::not_run(store_failed("begin the step", &error)), false),
        }
        let precondition = match inspect(dispatcher, self.handler, &request).await {
            Ok(Inspection::Ready { precondition }) => precondition,
            Ok(Inspection::AlreadyDone { proof }) => {
                let proof = text::clip(&proof, WORDS);
                let reason = format!("done already: {proof}");
                self.end(&key, lease, StepEnd::AlreadyDone { proof }).await;
                return (Ended { outcome: Some(Outcome::NoEffect), reason, stops: false, started: false }, false);
            }
            Ok(Inspection::Blocked { reason }) => {
                return (self.never_ran(&key, lease, "blocked", &reason).await, false);
            }
            Ok(_) => return (self.never_ran(&key, lease, "inspection", "an answer of another version").await, false),
            Err(why) => return (self.never_ran(&key, lease, "inspection", &why).await, false),
        };
        let executing = JournalState::Executing { precondition: precondition.clone() };
        if let Err(error) = self.advance(&key, lease, &executing).await {
            // Nothing ran; the entry stays for recovery, which finds that out by inspection.
            return (Ended::not_run(error), false);
        }
        let execution = self.handler.execute(&request, &precondition);
        match guarded(&*dispatcher.clock, request.deadline, execution).await {
            Ok(Ok(applied)) => self.applied(&request, &key, lease, &precondition, &applied).await,
            Ok(Err(error)) => self.failed(&request, &key, lease, &error).await,
            // Nobody knows: the journal stays at `executing`, and the lock stays.
            Err(fault) => {
                (Ended::unknown(format!("execute {}; it is unknown whether it is done", fault.plain())), true)
            }
        }
    }

    async fn applied(
        &self,
        request: &ActionRequest,
        key: &StepKey,
        lease: &Lease,
        precondition: &Precondition,
        applied: &Applied,
    ) -> (Ended, bool) {
        let dispatcher = self.dispatcher;
        let verify_at = plus(dispatcher.clock.now(), dispatcher.limits.verify_after);
        let proof = text::clip(&applied.proof, WORDS);
        let verifying = JournalState::Verifying { precondition: precondition.clone(), proof: proof.clone(), verify_at };
        if let Err(error) = self.advance(key, lease, &verifying).await {
            return (Ended::unknown(format!("done ({proof}), but {error}")), true);
        }
        dispatcher.clock.sleep_until(verify_at).await;
        let outcome = verify(dispatcher, self.handler, request, precondition, applied).await;
        let mut reason = match outcome {
            Outcome::Helped => format!("done and it helped: {proof}"),
            Outcome::NoEffect => format!("done ({proof}), without effect"),
            Outcome::Worse => format!("done ({proof}), and it is worse than before"),
            Outcome::Unknown => format!("done ({proof}); whether it helped is unknown"),
        };
        if outcome == Outcome::Worse {
            reason.push_str(&self.compensate(request).await);
        }
        self.end(key, lease, StepEnd::Executed { outcome, proof }).await;
        (Ended { outcome: Some(outcome), reason, stops: outcome != Outcome::Helped, started: true }, false)
    }

    async fn failed(
        &self,
        request: &ActionRequest,
        key: &StepKey,
        lease: &Lease,
        error: &ActionError,
    ) -> (Ended, bool) {
        let why = text::clip(&error_chain(error), WORDS);
        let taken_back = self.compensate(request).await;
        if error.nothing_changed {
            self.end(key, lease, StepEnd::NotRun { reason: why.clone() }).await;
            return (Ended::not_run(format!("{why}; nothing was changed{taken_back}")), false);
        }
        // The journal stays at `executing`: recovery inspects what became of it.
        (Ended::unknown(format!("{why}; it is unknown whether it is done{taken_back}")), true)
    }

    /// What was taken back, as the end of a sentence. Whatever comes of it, a person is told.
    async fn compensate(&self, request: &ActionRequest) -> String {
        let dispatcher = self.dispatcher;
        let by = plus(dispatcher.clock.now(), dispatcher.limits.execute);
        match guarded(&*dispatcher.clock, by, self.handler.compensate(request)).await {
            Ok(Ok(Compensation::Done(what))) => format!("; taken back: {}", text::clip(&what, WORDS)),
            Ok(Ok(_)) => String::new(),
            Ok(Err(error)) => format!("; taking it back failed too: {}", text::clip(&error_chain(&error), WORDS)),
            Err(fault) => format!("; taking it back {}", fault.plain()),
        }
    }

    async fn never_ran(&self, key: &StepKey, lease: &Lease, what: &str, why: &str) -> Ended {
        let reason = format!("{what}: {}", text::clip(why, WORDS));
        self.end(key, lease, StepEnd::NotRun { reason: reason.clone() }).await;
        Ended::not_run(reason)
    }

    async fn advance(&self, key: &StepKey, lease: &Lease, state: &JournalState) -> Result<(), String> {
        let now = self.dispatcher.clock.now();
        let advanced = self.dispatcher.store.advance(key, lease.token, state, now).await;
        advanced.map_err(|error| store_failed("write the step down", &error))
    }

    /// An end that cannot be written leaves the entry open: recovery finds it.
    async fn end(&self, key: &StepKey, lease: &Lease, end: StepEnd) {
        let _ = self.advance(key, lease, &JournalState::Ended(end)).await;
    }
}

/// A step that began before, for this report or another one of the same episode.
fn before(at: Timestamp, end: Option<&StepEnd>) -> Ended {
    match end {
        Some(StepEnd::Executed { outcome: Outcome::Helped, .. } | StepEnd::AlreadyDone { .. }) => {
            let reason = format!("done before, at {at}; it is not done again");
            Ended { outcome: Some(Outcome::NoEffect), reason, stops: false, started: false }
        }
        Some(_) => Ended::not_run(format!("it began before, at {at}, and did not help; it is not done again")),
        None => Ended::not_run(format!("it began before, at {at}, and has no end yet; it is not done again")),
    }
}

/// The current state, or why nobody can tell.
pub(super) async fn inspect(
    dispatcher: &Dispatcher,
    handler: &Arc<dyn ActionHandler>,
    request: &ActionRequest,
) -> Result<Inspection, String> {
    let by = plus(dispatcher.clock.now(), dispatcher.limits.inspect);
    match guarded(&*dispatcher.clock, by, handler.inspect(request)).await {
        Ok(Ok(inspection)) => Ok(inspection),
        Ok(Err(error)) => Err(text::clip(&error_chain(&error), WORDS)),
        Err(fault) => Err(format!("inspect {}", fault.plain())),
    }
}

/// Whether it helped; a handler that cannot tell leaves it unknown.
pub(super) async fn verify(
    dispatcher: &Dispatcher,
    handler: &Arc<dyn ActionHandler>,
    request: &ActionRequest,
    precondition: &Precondition,
    applied: &Applied,
) -> Outcome {
    let by = plus(dispatcher.clock.now(), dispatcher.limits.inspect);
    let asked = parameters::with_observed(request, precondition);
    match guarded(&*dispatcher.clock, by, handler.verify(&asked, applied)).await {
        Ok(Ok(outcome)) => outcome,
        _ => Outcome::Unknown,
    }
}

fn facts(precondition: &Precondition) -> String {
    let facts: Vec<String> = precondition.facts().map(|(name, value)| format!("{name} is {value}")).collect();
    if facts.is_empty() { "the handler sees it ready".to_owned() } else { text::clip(&facts.join(", "), WORDS) }
}
