//! Goes on with a report from its journal: the same way whether it began a moment ago in this process or
//! was left behind by another one.

use aiops_core::{Decision, Disposition, Outcome, Plan, Response};
use jiff::Timestamp;

use super::accept::escalated;
use super::leases::Leases;
use super::recover::answered;
use super::step::{Began, StepRun};
use super::{Dispatcher, store_failed};
use crate::audit::AuditEntry;
use crate::catalogue::ActionCatalogue;
use crate::mutant::mutant;
use crate::policy::{Mode, Policy};
use crate::store::{
    Approval, ApprovalOpened, ApprovalState, EpisodeKey, JournalEntry, JournalState, ReportId, ReportRecord,
    Reservation, Reserved, Settled, SnapshotQuery, StepEnd, StoreError,
};

/// How far a report came.
#[derive(Debug)]
pub(super) enum Driven {
    /// It is answered, by this call.
    Done(Response),
    /// It waits for a person; `fresh` where that began with this call.
    Parked { response: Response, fresh: bool },
    /// There is nothing to do before this.
    Wait(Timestamp),
    /// Somebody else goes on with it, or has answered it.
    Elsewhere,
}

/// Why a plan does not go on.
#[derive(Debug)]
enum Stop {
    /// A person must look.
    Escalate(String),
    /// What it was for is over.
    Void,
}

/// What one look at a step came to.
enum Look {
    /// The next step's turn.
    Next,
    /// The report stops here for now.
    Pause(Driven),
}

/// One walk over a report's steps.
struct Walk<'a> {
    dispatcher: &'a Dispatcher,
    catalogue: &'a ActionCatalogue,
    policy: &'a Policy,
    record: &'a ReportRecord,
    identity: String,
    entries: Vec<JournalEntry>,
    approvals: Vec<Approval>,
    plan: Plan,
    /// How each step ended, as far as they did.
    ends: Vec<Option<StepEnd>>,
    stop: Option<Stop>,
    /// The step that this walk began.
    begun: Option<usize>,
    /// Whether this walk took the marks of the whole plan.
    marked: bool,
    /// Steps whose marks did not come back.
    kept: Vec<usize>,
    leases: Leases,
    floor: Timestamp,
}

impl Dispatcher {
    /// Goes on with one report, under its lock: at most one action is executed.
    ///
    /// `now` is the caller's time; it counts where the clock is behind it.
    pub(super) async fn drive(&self, id: &ReportId, now: Timestamp) -> Result<Driven, StoreError> {
        let now = self.clock.now().max(now);
        let Some(leases) = self.lock_report(id, now).await? else { return Ok(Driven::Elsewhere) };
        let driven = self.drive_locked(id, leases.clone(), now).await;
        self.release_report(id, leases).await;
        driven
    }

    async fn drive_locked(&self, id: &ReportId, leases: Leases, floor: Timestamp) -> Result<Driven, StoreError> {
        let Some(record) = self.store.open_report_of(id).await? else { return Ok(Driven::Elsewhere) };
        let (catalogue, policy) = (self.catalogue.load(), self.policy.load());
        let identity = match self.identity.reduce(&record.triaged.event.identity()) {
            Ok(identity) => identity.key(),
            Err(error) => return self.close(&record, escalated(error.to_string()), record.plan.clone()).await,
        };
        let steps = record.plan.steps.len();
        let walk = Walk {
            dispatcher: self,
            catalogue: &catalogue,
            policy: &policy,
            record: &record,
            identity,
            entries: self.store.steps_of(id).await?,
            approvals: self.store.approvals_of(id).await?,
            plan: record.plan.clone(),
            ends: vec![None; steps],
            stop: self.given_up(id).map(Stop::Escalate),
            begun: None,
            marked: false,
            kept: Vec::new(),
            leases,
            floor,
        };
        walk.run().await
    }

    async fn close(&self, record: &ReportRecord, with: Disposition, plan: Plan) -> Result<Driven, StoreError> {
        let now = self.clock.now().max(record.at);
        let response = Response::new(record.triaged.incident_id.clone(), with, plan, now);
        self.audit_or_count(AuditEntry::answer(&record.triaged, &response, &self.redactor)).await;
        match self.store.close_report(&record.id, &response).await {
            Ok(own) => {
                self.forget_given_up(&record.id);
                Ok(if own { Driven::Done(response) } else { Driven::Elsewhere })
            }
            Err(error) => {
                // It stays open, and a later round answers it again from its journal. That the answer is told
                // twice is better than that it is not told. Nothing begins any more that a person was told of.
                store_failed("write the answer down", &error);
                if let Some(reason) = response.disposition.reason() {
                    self.note_given_up(&record.id, reason);
                }
                Ok(Driven::Done(response))
            }
        }
    }
}

impl Walk<'_> {
    async fn run(mut self) -> Result<Driven, StoreError> {
        let shadow = self.policy.mode == Mode::Shadow;
        if self.stop.is_none() && self.entries.is_empty() && self.approvals.is_empty() {
            self.begin_plan().await;
        }
        for index in 0..self.plan.steps.len() {
            let look = match self.entries.iter().position(|entry| entry.index == index) {
                Some(at) => {
                    let entry = self.entries[at].clone();
                    self.resume(index, &entry).await?
                }
                None if self.stop.is_some() => {
                    self.leave_out(index, "not started: the plan was stopped before").await?;
                    Look::Next
                }
                None if self.not_needed(index) => {
                    self.leave_out(index, "not needed: the step before it was enough").await?;
                    Look::Next
                }
                None if shadow => {
                    self.rehearse(index).await;
                    Look::Next
                }
                None => self.start(index).await?,
            };
            if let Look::Pause(driven) = look {
                return Ok(driven);
            }
        }
        let Some(again) = self.still_own().await else { return Ok(Driven::Elsewhere) };
        // A lock that was taken away in between kept the marks; they come back under the new one.
        for index in std::mem::take(&mut self.kept) {
            self.give_back_under(index, &again).await;
        }
        // Nobody should be asked any more; one that is missed here is found by the timer.
        for approval in self.approvals.iter().filter(|approval| approval.state.is_pending()) {
            if let Err(error) = self.dispatcher.settle_approval(approval, answered(self.now())).await {
                store_failed("take an approval back", &error);
            }
        }
        let helped = self.helped();
        let disposition = match self.stop {
            Some(Stop::Escalate(reason)) => escalated(reason),
            None if shadow && helped == 0 => Disposition::WouldExecute,
            _ if helped == 0 => Disposition::NoAction,
            _ => Disposition::Executed,
        };
        let driven = self.dispatcher.close(self.record, disposition, self.plan).await;
        self.dispatcher.release_all(&again).await;
        driven
    }

    /// Whether the answer is this walk's to give, with the locks that it took for that: whoever was away for longer
    /// than a lock lasts leaves it to the one who went on with the report.
    async fn still_own(&mut self) -> Option<Leases> {
        let now = self.now();
        if self.begun.is_none() && self.kept.is_empty() && now < self.leases.until() {
            return Some(Leases::default());
        }
        // A store that fails takes no answer either; that it is told is what matters then.
        if self.dispatcher.renew(&mut self.leases, now).await.unwrap_or(true) {
            return Some(Leases::default());
        }
        let Ok(locked) = self.dispatcher.lock_report(&self.record.id, now).await else {
            return Some(Leases::default());
        };
        let again = locked?;
        if self.overtaken().await.unwrap_or(false) {
            self.dispatcher.release_all(&again).await;
            return None;
        }
        Some(again)
    }

    /// Whether somebody else wrote to the journal of the report, or asked for an approval.
    async fn overtaken(&self) -> Result<bool, StoreError> {
        let store = &self.dispatcher.store;
        let known = |entry: &JournalEntry| {
            let own = self.begun == Some(entry.index) && entry.token == entry.request.fencing_token;
            own || self.entries.iter().any(|seen| (seen.index, seen.token) == (entry.index, entry.token))
        };
        let steps = store.steps_of(&self.record.id).await?;
        let approvals = store.approvals_of(&self.record.id).await?;
        Ok(!steps.iter().all(known) || approvals.len() != self.approvals.len())
    }

    fn helped(&self) -> usize {
        let helped = |end: &&StepEnd| matches!(end, StepEnd::Executed { outcome: Outcome::Helped, .. });
        self.ends.iter().flatten().filter(helped).count()
    }

    /// Whether a step stands in for one that did not fail.
    fn not_needed(&self, index: usize) -> bool {
        let without_effect = |end: &StepEnd| matches!(end, StepEnd::Executed { outcome: Outcome::NoEffect, .. });
        let Some(before) = self.plan.steps[index].after else { return false };
        !self.ends.get(before).and_then(Option::as_ref).is_some_and(without_effect)
    }

    fn now(&self) -> Timestamp {
        self.dispatcher.clock.now().max(self.floor)
    }

    /// The decision goes to the audit log; then the plan takes its marks, all or none, and what was taken
    /// before counts.
    async fn begin_plan(&mut self) {
        let decision = AuditEntry::decision(self.record, &self.dispatcher.redactor);
        if let Err(reason) = self.dispatcher.audit(decision).await {
            self.stop = Some(Stop::Escalate(reason));
            return;
        }
        let Self { policy, catalogue, record, .. } = *self;
        let reservation = policy.reservation(catalogue, &record.triaged, &record.plan, &self.identity, record.at);
        let reserved = if mutant!("budget_read_before_reserve") {
            self.reserve_by_looking(&reservation).await
        } else {
            self.dispatcher.store.reserve(&reservation).await
        };
        let reason = match reserved {
            Ok(Reserved::Granted) => {
                self.marked = true;
                return;
            }
            Ok(Reserved::Refused { reason }) => reason,
            Err(error) => store_failed("take the marks", &error),
        };
        for step in &mut self.plan.steps {
            step.decision = Decision::Deny;
            step.reason.clone_from(&reason);
        }
        self.stop = Some(Stop::Escalate(reason));
    }

    /// A planted bug: bounds are compared with marks that were read before, and others come in between.
    async fn reserve_by_looking(&self, wanted: &Reservation) -> Result<Reserved, StoreError> {
        let query = SnapshotQuery::new(EpisodeKey::of(&self.record.triaged.event), "", Vec::new(), Timestamp::MIN);
        let marks = self.dispatcher.store.snapshot(&query.all(true)).await?.runs;
        if let Some(reason) = wanted.refusal(&marks) {
            return Ok(Reserved::Refused { reason });
        }
        let unbounded = wanted.runs.iter().map(|(run, _)| (run.clone(), None)).collect();
        self.dispatcher.store.reserve(&Reservation::new(unbounded, None)).await
    }

    /// A step that does not run; its mark comes back, and nobody is asked for it any more.
    async fn leave_out(&mut self, index: usize, why: &str) -> Result<(), StoreError> {
        let waits = |approval: &&Approval| approval.index == index && approval.state.is_pending();
        if let Some(approval) = self.approvals.iter().find(waits) {
            let void = ApprovalState::Void { at: self.now(), reason: why.to_owned() };
            self.dispatcher.settle_approval(approval, void).await?;
        }
        let step = &mut self.plan.steps[index];
        if step.decision != Decision::Deny {
            why.clone_into(&mut step.reason);
        }
        self.give_back(index).await;
        Ok(())
    }

    async fn give_back(&mut self, index: usize) {
        if mutant!("mark_kept") {
            return;
        }
        if !self.give_back_under(index, &self.leases).await {
            self.kept.push(index);
        }
    }

    /// Whether all marks of a step came back.
    async fn give_back_under(&self, index: usize, leases: &Leases) -> bool {
        let Some(lease) = leases.first() else { return false };
        let step = std::iter::once(&self.plan.steps[index]);
        let marks = self.policy.reserve_for(self.catalogue, &self.record.triaged, step, &self.identity, self.record.at);
        let mut returned = true;
        for (run, _) in marks.runs {
            match self.dispatcher.store.give_back(lease, &run).await {
                Ok(own) => returned &= own,
                Err(error) => drop(store_failed("give a mark back", &error)),
            }
        }
        returned
    }

    /// Shadow: looks, and says what it would do.
    async fn rehearse(&mut self, index: usize) {
        let Some(run) = self.step_run(index, None) else { return };
        let rehearsed = run.rehearse().await;
        metrics::counter!("aiops_dispatch_steps_total", "outcome" => "would_execute").increment(1);
        match rehearsed {
            Ok((outcome, reason)) => {
                let step = &mut self.plan.steps[index];
                (step.outcome, step.reason) = (outcome, reason);
            }
            Err(why) => self.stops(index, why),
        }
    }

    /// A step that has not begun.
    async fn start(&mut self, index: usize) -> Result<Look, StoreError> {
        let of_step =
            |approval: &&Approval| approval.index == index || mutant!("approval_reused") && approval.index < index;
        let approval = self.approvals.iter().find(of_step).cloned();
        let needs_approval = self.plan.steps[index].decision == Decision::RequireApproval;
        if needs_approval {
            match approval.as_ref().map(|approval| &approval.state) {
                None => return self.park(index).await,
                Some(ApprovalState::Approved { .. }) => {}
                Some(ApprovalState::Void { .. }) if mutant!("void_runs") => {}
                Some(_) => return self.unapproved(index, approval).await,
            }
        }
        let now = self.now();
        // Whoever went on with the plan before may have left this step out, given its mark back, and died then.
        if needs_approval || !self.marked || self.plan.steps[index].after.is_some() {
            let step = std::iter::once(&self.plan.steps[index]);
            let Self { policy, catalogue, record, .. } = *self;
            let marks = policy.reserve_for(catalogue, &record.triaged, step, &self.identity, now);
            match self.dispatcher.store.reserve(&marks).await? {
                Reserved::Granted => {}
                Reserved::Refused { reason } => {
                    self.stops(index, reason);
                    return Ok(Look::Next);
                }
            }
        }
        let leases = self.leases.clone();
        let Some(run) = self.step_run(index, approval.as_ref()) else { return Ok(Look::Next) };
        let began = run.start(&leases).await;
        self.begun = Some(index);
        let outcome = match &began {
            Began::Verifying(_) => None,
            Began::Ended(end, _) => Some(end.clone()),
            Began::NotRun(_) | Began::Over(_) => Some(StepEnd::NotRun { reason: String::new() }),
            Began::Unknown(_) => Some(StepEnd::Unknown { reason: String::new() }),
        };
        if let Some(end) = &outcome {
            metrics::counter!("aiops_dispatch_steps_total", "outcome" => label(end)).increment(1);
        }
        match began {
            Began::Verifying(at) => return Ok(Look::Pause(Driven::Wait(at))),
            Began::Ended(end, reason) => self.ended(index, end, reason).await,
            Began::NotRun(reason) => {
                self.give_back(index).await;
                self.stops(index, reason);
            }
            Began::Over(reason) => {
                self.give_back(index).await;
                self.plan.steps[index].reason = reason;
                self.stop = Some(Stop::Void);
            }
            Began::Unknown(reason) => {
                self.plan.steps[index].outcome = Some(Outcome::Unknown);
                self.stops(index, reason);
            }
        }
        Ok(Look::Next)
    }

    /// A step that has begun, in this process or in another one.
    async fn resume(&mut self, index: usize, entry: &JournalEntry) -> Result<Look, StoreError> {
        let now = self.now();
        let end = match &entry.state {
            JournalState::Ended(end) => Some((end.clone(), words(end))),
            JournalState::Verifying { verify_at, .. } if *verify_at > now => {
                return Ok(Look::Pause(Driven::Wait(*verify_at)));
            }
            _ => self.dispatcher.settle(entry, now).await?,
        };
        match end {
            Some((end, reason)) => {
                self.ended(index, end, reason).await;
                Ok(Look::Next)
            }
            // It is alive, or nobody can look now.
            None => Ok(Look::Pause(Driven::Elsewhere)),
        }
    }

    async fn ended(&mut self, index: usize, end: StepEnd, reason: String) {
        if matches!(end, StepEnd::NotRun { .. } | StepEnd::AlreadyDone { .. }) || mutant!("mark_returned_after_effect")
        {
            self.give_back(index).await;
        }
        let followed = self.plan.steps.iter().any(|step| step.after == Some(index));
        let step = &mut self.plan.steps[index];
        step.outcome = (!matches!(end, StepEnd::NotRun { .. })).then(|| end.outcome());
        step.reason.clone_from(&reason);
        let goes_on = match &end {
            StepEnd::Executed { outcome: Outcome::Helped, .. } | StepEnd::AlreadyDone { .. } => true,
            StepEnd::Executed { outcome: Outcome::NoEffect, .. } => followed,
            _ => false,
        };
        self.ends[index] = Some(end);
        if !goes_on {
            self.stops(index, reason);
        }
    }

    fn stops(&mut self, index: usize, reason: String) {
        let step = &mut self.plan.steps[index];
        self.stop = Some(Stop::Escalate(format!("{}: {reason}", step.action)));
        step.reason = reason;
    }

    /// What a step needs to run; the plan stops where catalogue and handlers no longer have it.
    fn step_run(&mut self, index: usize, approval: Option<&Approval>) -> Option<StepRun<'_>> {
        let step = &self.plan.steps[index];
        let spec = self.catalogue.get(&step.action);
        let handler = self.dispatcher.handlers.get(&step.action);
        let why = match (spec, handler, &step.target) {
            (Some(spec), _, _) if spec.requires_approval && step.decision == Decision::Allow => {
                "the catalogue asks for approval now"
            }
            (Some(spec), Some(handler), Some(target)) => {
                return Some(StepRun {
                    dispatcher: self.dispatcher,
                    policy: self.policy,
                    spec,
                    handler,
                    record: self.record,
                    index,
                    target: target.clone(),
                    floor: self.floor,
                    approval: approval.cloned(),
                });
            }
            (None, _, _) => "the catalogue no longer has this action",
            (_, None, _) => "there is no handler any more",
            (_, _, None) => "it has no target",
        };
        self.stops(index, why.to_owned());
        None
    }

    /// Asks a person.
    async fn park(&mut self, index: usize) -> Result<Look, StoreError> {
        let Some(run) = self.step_run(index, None) else { return Ok(Look::Next) };
        let asked = match run.ask().await {
            Ok(asked) => asked,
            Err(Began::Ended(end, reason)) => {
                self.ended(index, end, reason).await;
                return Ok(Look::Next);
            }
            Err(Began::NotRun(why) | Began::Unknown(why)) => {
                self.stops(index, why);
                return Ok(Look::Next);
            }
            Err(Began::Over(why)) => {
                self.plan.steps[index].reason = why;
                self.stop = Some(Stop::Void);
                return Ok(Look::Next);
            }
            Err(Began::Verifying(at)) => return Ok(Look::Pause(Driven::Wait(at))),
        };
        // The newest plan is the one that saw the newest state: it takes the place of one that waits.
        for _ in 0..2 {
            match self.dispatcher.store.open_approval(&asked).await? {
                ApprovalOpened::New => {
                    metrics::counter!("aiops_dispatch_approvals_total", "state" => "asked").increment(1);
                    return Ok(Look::Pause(self.parked(index, &asked, true)));
                }
                ApprovalOpened::Known(known) => return Ok(Look::Pause(self.parked(index, &known, false))),
                ApprovalOpened::Occupied(other) => {
                    let reason =
                        format!("a newer plan, of incident {}, took its place", self.record.triaged.incident_id);
                    let void = ApprovalState::Void { at: self.now(), reason };
                    self.dispatcher.settle_approval(&other, void).await?;
                }
            }
        }
        self.stops(index, "another plan for the same action on the same target waits for approval".to_owned());
        Ok(Look::Next)
    }

    /// A step whose approval is not granted, or not yet.
    async fn unapproved(&mut self, index: usize, approval: Option<Approval>) -> Result<Look, StoreError> {
        let Some(mut approval) = approval else { return Ok(Look::Next) };
        let now = self.now();
        if approval.state.is_pending() && now >= approval.expires_at {
            let expired = ApprovalState::Expired { at: now };
            approval = match self.dispatcher.settle_approval(&approval, expired).await? {
                Settled::Now(approval) | Settled::Before(approval) => *approval,
            };
        }
        match &approval.state {
            ApprovalState::Pending => return Ok(Look::Pause(self.parked(index, &approval, false))),
            // Granted between the two looks: the next round runs it.
            ApprovalState::Approved { at, .. } => return Ok(Look::Pause(Driven::Wait(*at))),
            ApprovalState::Rejected { by, reason, .. } => self.stops(index, format!("{by} rejected it: {reason}")),
            ApprovalState::Expired { at } => {
                let waited = aiops_core::time::human(aiops_core::time::since(*at, approval.asked_at));
                self.stops(index, format!("the approval expired: nobody decided within {waited}"));
            }
            ApprovalState::Void { reason, .. } => {
                self.plan.steps[index].reason = format!("the approval is void: {reason}");
                self.stop = Some(Stop::Void);
            }
        }
        Ok(Look::Next)
    }

    fn parked(&mut self, index: usize, approval: &Approval, fresh: bool) -> Driven {
        let until = approval.expires_at;
        self.plan.steps[index].reason = format!("waits for approval {} until {until}", approval.id);
        let now = self.now().max(self.record.at);
        let incident = self.record.triaged.incident_id.clone();
        let response = Response::new(incident, Disposition::AwaitingApproval, self.plan.clone(), now);
        Driven::Parked { response, fresh }
    }
}

/// What an end says where the process that saw it is gone.
pub(super) fn words(end: &StepEnd) -> String {
    match end {
        StepEnd::Executed { proof, .. } => format!("done: {proof}"),
        StepEnd::AlreadyDone { proof } => format!("done already: {proof}"),
        StepEnd::NotRun { reason } | StepEnd::Unknown { reason } => reason.clone(),
    }
}

fn label(end: &StepEnd) -> &'static str {
    match end {
        StepEnd::NotRun { .. } => "not_run",
        end => match end.outcome() {
            Outcome::Helped => "helped",
            Outcome::NoEffect => "no_effect",
            Outcome::Worse => "worse",
            Outcome::Unknown => "unknown",
        },
    }
}
