//! One step of a plan begins: looked at, locked, journalled, inspected, executed.

use std::sync::Arc;

use aiops_core::plugin::{Fault, guarded};
use aiops_core::time::{human, plus, since};
use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, Inspection, Outcome, Precondition, Target, Triaged,
    error_chain, text,
};
use jiff::Timestamp;

use super::leases::{Leases, NoLock};
use super::{Dispatcher, store_failed};
use crate::audit::AuditEntry;
use crate::catalogue::ActionSpec;
use crate::mutant::mutant;
use crate::parameters;
use crate::policy::Policy;
use crate::store::{
    Approval, ApprovalState, Begun, EpisodeKey, JournalEntry, JournalState, ReportRecord, SnapshotQuery, StepEnd,
    StepKey, StoreError,
};

/// A handler's own words are cut here.
pub(super) const WORDS: usize = 300;

/// What became of the beginning of a step; the texts are for a person.
#[derive(Debug)]
pub(super) enum Began {
    /// It was executed; whether it helped is asked at this time.
    Verifying(Timestamp),
    /// It has an end.
    Ended(StepEnd, String),
    /// It did not run.
    NotRun(String),
    /// It did not run, since what it was for is over.
    Over(String),
    /// Nobody knows: the journal stays open and the locks stay.
    Unknown(String),
}

/// One step and all that it needs.
pub(super) struct StepRun<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) policy: &'a Policy,
    pub(super) spec: &'a ActionSpec,
    pub(super) handler: &'a Arc<dyn ActionHandler>,
    pub(super) record: &'a ReportRecord,
    pub(super) index: usize,
    pub(super) target: Target,
    pub(super) approval: Option<Approval>,
    /// The caller's time; it counts where the clock is behind it.
    pub(super) floor: Timestamp,
}

impl StepRun<'_> {
    fn now(&self) -> Timestamp {
        self.dispatcher.clock.now().max(self.floor)
    }

    fn triaged(&self) -> &Triaged {
        &self.record.triaged
    }

    /// Whether it may still run: the plan is some moments old, or hours where a person had to decide.
    async fn ready(&self, now: Timestamp) -> Result<(), Began> {
        let (dispatcher, event) = (self.dispatcher, &self.triaged().event);
        let query = SnapshotQuery::new(EpisodeKey::of(event), "", Vec::new(), now);
        let snapshot = match dispatcher.store.snapshot(&query).await {
            Ok(snapshot) => snapshot,
            Err(error) => return Err(Began::NotRun(store_failed("read the kill switch", &error))),
        };
        let switch = &snapshot.kill_switch;
        if switch.on && !mutant!("kill_switch_not_read") {
            let (by, why) = (text::clip(&switch.by, 80), text::clip(&switch.reason, WORDS));
            return Err(Began::NotRun(format!("the kill switch is on: {why} ({by})")));
        }
        let ended = snapshot.resolved_at.is_some_and(|at| at >= event.observed());
        if ended && !mutant!("episode_not_read") {
            return Err(Began::Over("the episode has ended".to_owned()));
        }
        let approved = match self.approval.as_ref().map(|approval| &approval.state) {
            Some(ApprovalState::Approved { at, .. }) => Some(*at),
            _ => None,
        };
        let age = since(now, approved.map_or(event.observed(), |at| at.max(event.observed())));
        if let Some(max) = self.policy.max_age.filter(|max| age > *max && !mutant!("stale_runs")) {
            let what = if approved.is_some() { "approved" } else { "observed" };
            return Err(Began::NotRun(format!("stale: {what} {} ago, at most {}", human(age), human(max))));
        }
        if let Some(freeze) = self.policy.frozen(now) {
            return Err(Began::NotRun(format!("freeze window {freeze}")));
        }
        if let Some(deploy) = dispatcher.deploying(&event.service, now) {
            return Err(Began::NotRun(deploy));
        }
        let action = std::iter::once(self.spec.name.as_str());
        let health = dispatcher.health(self.policy, &snapshot.guards, action, self.triaged(), now).await;
        if let Some(bad) = health.into_iter().find(|verdict| !verdict.pass) {
            return Err(Began::NotRun(bad.detail.into_owned()));
        }
        match self.unmet(now).await {
            Some(why) => Err(Began::NotRun(why)),
            None => Ok(()),
        }
    }

    /// The request; dry unless told otherwise.
    fn request(&self, now: Timestamp) -> ActionRequest {
        let event = &self.triaged().event;
        let mut parameters = parameters::of_event(event);
        if let Some(max) = self.spec.max_replicas {
            parameters.insert("max_replicas".to_owned(), max.into());
        }
        ActionRequest::new(
            self.spec.name.clone(),
            self.target.clone(),
            event.service.clone(),
            event.fingerprint.clone(),
            self.triaged().incident_id.clone(),
            plus(now, self.dispatcher.limits.inspect + self.dispatcher.limits.execute),
        )
        .parameters(parameters)
    }

    /// Shadow: looks, and says what it would do, or why it would not.
    pub(super) async fn rehearse(&self) -> Result<(Option<Outcome>, String), String> {
        let now = self.now();
        if let Err(Began::NotRun(why) | Began::Over(why)) = self.ready(now).await {
            return Err(why);
        }
        match inspect(self.dispatcher, self.handler, &self.request(now)).await? {
            Inspection::Blocked { reason } => Err(format!("blocked: {}", text::clip(&reason, WORDS))),
            Inspection::AlreadyDone { proof } => {
                Ok((Some(Outcome::NoEffect), format!("done already: {}", text::clip(&proof, WORDS))))
            }
            Inspection::Ready { precondition } => Ok((None, format!("would run while {}", facts(&precondition)))),
            _ => Err("the handler's inspection says something that this version does not know".to_owned()),
        }
    }

    /// What a person is asked to approve: what would run, in the state that is there now.
    pub(super) async fn ask(&self) -> Result<Approval, Began> {
        let now = self.now();
        self.ready(now).await?;
        let request = self.request(now).dry_run(false);
        let observed = match inspect(self.dispatcher, self.handler, &request).await {
            Ok(Inspection::Ready { precondition }) => precondition,
            Ok(Inspection::AlreadyDone { proof }) => {
                let proof = text::clip(&proof, WORDS);
                let reason = format!("done already: {proof}");
                return Err(Began::Ended(StepEnd::AlreadyDone { proof }, reason));
            }
            Ok(Inspection::Blocked { reason }) => {
                return Err(Began::NotRun(format!("blocked: {}", text::clip(&reason, WORDS))));
            }
            Ok(_) => return Err(Began::NotRun("inspection: an answer of another version".to_owned())),
            Err(why) => return Err(Began::NotRun(format!("inspection: {why}"))),
        };
        let id = self.dispatcher.draw_id().map_err(Began::NotRun)?;
        let (report, episode) = (self.record.id.clone(), EpisodeKey::of(&self.triaged().event));
        let times = (now, plus(now, self.policy.approval_time));
        Ok(Approval::new(id, report, self.index, episode, request, observed, times))
    }

    /// Runs it, as far as `execute`.
    pub(super) async fn start(&self, report: &Leases) -> Began {
        let dispatcher = self.dispatcher;
        if let Err(began) = self.ready(self.now()).await {
            return began;
        }
        let request = self.request(self.now()).dry_run(false);
        let (key, incident) = (request.key(), &self.triaged().incident_id);
        let wait = self.policy.target_wait;
        let mut leases = match dispatcher.lock_step(&key, &self.target, incident, wait, self.floor).await {
            Ok(leases) => leases,
            Err(NoLock::Held(why)) => return Began::NotRun(why),
            Err(NoLock::Store(error)) => return Began::NotRun(store_failed("take the lock", &error)),
        };
        let began = self.locked(request, &mut leases, report).await;
        match &began {
            // Whoever asks whether it helped goes on with them.
            Began::Verifying(_) => dispatcher.keep_locks(key, leases),
            Began::Unknown(_) => {}
            _ => {
                dispatcher.release_all(&leases).await;
            }
        }
        began
    }

    /// Under the locks.
    async fn locked(&self, request: ActionRequest, leases: &mut Leases, report: &Leases) -> Began {
        let dispatcher = self.dispatcher;
        let now = self.now();
        let token = leases.token();
        let mut request = request.fencing_token(if mutant!("token_not_passed") { 0 } else { token });
        request.deadline = plus(now, dispatcher.limits.inspect + dispatcher.limits.execute);
        let entry = JournalEntry::new(self.record.id.clone(), self.index, request.clone(), now);
        let key = entry.key();
        match dispatcher.store.begin(&entry).await {
            Ok(Begun::New) => {}
            Ok(Begun::Exists { at, end }) => return before(at, end.as_ref()),
            Err(error) => return Began::NotRun(store_failed("begin the step", &error)),
        }
        let inspected = if mutant!("not_inspected") {
            Ok(Inspection::Ready { precondition: Precondition::default() })
        } else {
            inspect(dispatcher, self.handler, &request).await
        };
        let precondition = match inspected {
            Ok(Inspection::Ready { precondition }) => precondition,
            Ok(Inspection::AlreadyDone { proof }) => {
                let proof = text::clip(&proof, WORDS);
                let reason = format!("done already: {proof}");
                let end = StepEnd::AlreadyDone { proof };
                dispatcher.end(&key, token, &end).await;
                return Began::Ended(end, reason);
            }
            Ok(Inspection::Blocked { reason }) => return self.never_ran(&key, token, "blocked", &reason).await,
            Ok(_) => return self.never_ran(&key, token, "inspection", "an answer of another version").await,
            Err(why) => return self.never_ran(&key, token, "inspection", &why).await,
        };
        if let Some(approval) = &self.approval
            && Approval::digest_of(&request, &precondition) != approval.digest
            && !mutant!("digest_not_compared")
            && !mutant!("approval_reused")
        {
            let why = "the state is not the one that was approved; the approval is void";
            return self.never_ran(&key, token, "changed", why).await;
        }
        // Whoever was away for longer than a lock lasts must not go on.
        let mut all = leases.with(report);
        match dispatcher.renew(&mut all, self.now()).await {
            _ if mutant!("not_renewed") => {}
            Ok(true) => {}
            Ok(false) => return self.never_ran(&key, token, "interrupted", "its lock was lost").await,
            Err(error) => {
                let why = store_failed("renew the lock", &error);
                return self.never_ran(&key, token, "interrupted", &why).await;
            }
        }
        let executing = JournalState::Executing { precondition: precondition.clone() };
        let record = AuditEntry::step(&entry, &executing, self.now(), &dispatcher.redactor);
        if !mutant!("audit_after_effect")
            && let Err(why) = dispatcher.audit(record).await
        {
            return self.never_ran(&key, token, "not run", &why).await;
        }
        if !mutant!("journal_after_effect")
            && let Err(error) = dispatcher.advance(&key, token, &executing).await
        {
            // Nothing ran; the entry stays for recovery, which finds that out by inspection.
            return Began::NotRun(store_failed("write the step down", &error));
        }
        // Both may have taken longer than the locks last; somebody else may have the target by now.
        if self.now() >= all.until() && !mutant!("ended_lock_not_noticed") {
            let why = "its lock ended while the step was written down";
            return self.never_ran(&key, token, "interrupted", why).await;
        }
        let none = Precondition::default();
        let passed = if mutant!("precondition_not_passed") { &none } else { &precondition };
        let execution = guarded(&*dispatcher.clock, request.deadline, self.handler.execute(&request, passed));
        let executed = tokio::select! {
            biased;
            executed = execution => executed.map_err(|fault| fault_words(&fault)),
            why = dispatcher.keep(&mut all) => Err(why.to_owned()),
        };
        if mutant!("audit_after_effect") {
            dispatcher.audit_or_count(AuditEntry::step(&entry, &executing, self.now(), &dispatcher.redactor)).await;
        }
        if mutant!("journal_after_effect") {
            drop(dispatcher.advance(&key, token, &executing).await);
        }
        match executed {
            Ok(Ok(applied)) => self.applied(&key, token, &precondition, &applied).await,
            Ok(Err(error)) => self.failed(&request, &key, token, &error).await,
            Err(why) if mutant!("late_as_not_run") => self.never_ran(&key, token, "late", &why).await,
            Err(why) => Began::Unknown(format!("{why}; it is unknown whether it is done")),
        }
    }

    async fn applied(&self, key: &StepKey, token: u64, precondition: &Precondition, applied: &Applied) -> Began {
        let dispatcher = self.dispatcher;
        let verify_at = plus(self.now(), dispatcher.limits.verify_after);
        let proof = text::clip(&applied.proof, WORDS);
        let verifying = JournalState::Verifying { precondition: precondition.clone(), proof: proof.clone(), verify_at };
        match dispatcher.advance(key, token, &verifying).await {
            Ok(()) => Began::Verifying(verify_at),
            Err(error) => {
                let error = store_failed("write the step down", &error);
                Began::Unknown(format!("done ({proof}), but {error}"))
            }
        }
    }

    async fn failed(&self, request: &ActionRequest, key: &StepKey, token: u64, error: &ActionError) -> Began {
        let why = text::clip(&error_chain(error), WORDS);
        let taken_back = self.dispatcher.compensate(self.handler, request).await;
        if error.nothing_changed {
            let end = StepEnd::NotRun { reason: why.clone() };
            self.dispatcher.end(key, token, &end).await;
            return Began::Ended(end, format!("{why}; nothing was changed{taken_back}"));
        }
        // The journal stays at `executing`: recovery inspects what became of it.
        Began::Unknown(format!("{why}; it is unknown whether it is done{taken_back}"))
    }

    async fn never_ran(&self, key: &StepKey, token: u64, what: &str, why: &str) -> Began {
        let reason = format!("{what}: {}", text::clip(why, WORDS));
        let end = StepEnd::NotRun { reason: reason.clone() };
        self.dispatcher.end(key, token, &end).await;
        Began::Ended(end, reason)
    }
}

impl Dispatcher {
    pub(super) async fn advance(&self, key: &StepKey, token: u64, state: &JournalState) -> Result<(), StoreError> {
        self.store.advance(key, token, state, self.clock.now()).await
    }

    /// An end that cannot be written leaves the entry open: recovery finds it.
    pub(super) async fn end(&self, key: &StepKey, token: u64, end: &StepEnd) {
        if let Err(error) = self.advance(key, token, &JournalState::Ended(end.clone())).await {
            store_failed("write a step's end down", &error);
        }
    }
}

fn fault_words(fault: &Fault) -> String {
    format!("execute {}", fault.plain())
}

/// A step that began before, for another report of the same episode or for this one.
fn before(at: Timestamp, end: Option<&StepEnd>) -> Began {
    match end {
        Some(StepEnd::Executed { outcome: Outcome::Helped, .. } | StepEnd::AlreadyDone { .. }) => {
            let proof = format!("done before, at {at}; it is not done again");
            Began::Ended(StepEnd::AlreadyDone { proof: proof.clone() }, proof)
        }
        Some(_) => Began::NotRun(format!("it began before, at {at}, and did not help; it is not done again")),
        None => Began::NotRun(format!("it began before, at {at}, and has no end yet; it is not done again")),
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

fn facts(precondition: &Precondition) -> String {
    let facts: Vec<String> = precondition.facts().map(|(name, value)| format!("{name} is {value}")).collect();
    if facts.is_empty() { "the handler sees it ready".to_owned() } else { text::clip(&facts.join(", "), WORDS) }
}
