//! The invariants, asked at each answer of the store and at each call of a handler.
//!
//! They look at what happened, not at how the dispatcher is written: each store answer, each `execute` and
//! each effect, in the order in which they happened, whatever a process came to know of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aiops_core::time::minus;
use aiops_core::{ActionRequest, Disposition, Outcome, Precondition, Response};
use aiops_remediate::{
    Acquired, Approval, ApprovalOpened, ApprovalState, Begun, BudgetScope, EpisodeKey, JournalEntry, JournalState,
    Lease, Opened, RemediationStore, ReportId, ReportRecord, Reservation, Reserved, Run, Settled, Snapshot,
    SnapshotQuery, StepEnd, StepKey,
};
use jiff::Timestamp;

use super::faults::Fault;
use super::store::at_once;
use super::story;
use super::world::{Inner, SECOND};

/// What one task saw, since its last `execute`.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Locks that it took and did not give back.
    leases: Vec<(String, u64)>,
    /// When each lock was last asked to last longer, whatever the answer.
    renewed: BTreeMap<String, u64>,
    snapshot: Option<Look>,
    pub(crate) inspected: Option<(String, Precondition)>,
    pub(crate) readings: BTreeMap<String, Option<f64>>,
    pub(crate) verified: BTreeMap<String, Outcome>,
}

/// What the store said of the kill switch and of the episode.
#[derive(Debug)]
struct Look {
    clock: Timestamp,
    sequence: u64,
    killed: bool,
    resolved_at: Option<Timestamp>,
    episode: EpisodeKey,
}

#[derive(Debug)]
struct Step {
    report: ReportId,
    token: u64,
    state: JournalState,
}

#[derive(Debug)]
struct Window {
    target: String,
    key: String,
    token: u64,
    task: usize,
}

/// All that was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sequence: u64,
    pub(crate) power_cut: bool,
    pub(crate) tasks: BTreeMap<usize, Notes>,
    /// Tasks that a crash ended, or whose caller no longer listens.
    cut: BTreeSet<usize>,
    opened: BTreeSet<String>,
    /// How each report was closed, and by which task.
    closed: BTreeMap<String, (Disposition, usize)>,
    accepted: BTreeSet<String>,
    told: BTreeSet<String>,
    journal: BTreeMap<String, Step>,
    locks: BTreeMap<String, (u64, Timestamp)>,
    /// Locks that ended otherwise than by their holder, and when.
    lost: BTreeMap<(String, u64), u64>,
    approvals: BTreeMap<String, Approval>,
    used: BTreeSet<String>,
    executes: BTreeMap<String, u64>,
    windows: Vec<Window>,
    audit_steps: BTreeSet<(String, u64)>,
    audit_decisions: BTreeSet<String>,
    resolved: BTreeMap<EpisodeKey, (Timestamp, u64)>,
    pub(crate) effects: u64,
    pub(crate) told_again: u64,
    pub(crate) dispositions: BTreeMap<&'static str, u64>,
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
}

impl Seen {
    pub(crate) fn cut(&mut self, task: usize) {
        self.tasks.remove(&task);
        self.cut.insert(task);
    }

    /// The store went back to what it had synced: what was seen of it no longer counts.
    pub(crate) fn forget_the_store(&mut self) {
        self.locks.clear();
        self.journal.clear();
    }
}

/// How long a slow answer takes: mostly seconds, sometimes longer than a lock lasts.
pub(crate) fn wait(inner: &mut Inner) -> i64 {
    let longest = if inner.random.in_1000(300) { 1_200 } else { 60 };
    inner.random.between(SECOND, longest * SECOND)
}

/// A store that loses what it acknowledged breaks its own contract. What still holds then is what needs no
/// store: only what catalogue, policy and target allow is executed, on the version that was seen, and the
/// audit log has it before.
fn lossy(inner: &Inner) -> bool {
    inner.has(Fault::LostWrites)
}

fn notes(inner: &mut Inner) -> &mut Notes {
    let task = inner.current;
    inner.seen.tasks.entry(task).or_default()
}

pub(crate) fn snapshot(inner: &mut Inner, query: &SnapshotQuery, snapshot: &Snapshot, asked: (Timestamp, u64)) {
    let look = Look {
        clock: asked.0,
        sequence: asked.1,
        killed: snapshot.kill_switch.on,
        resolved_at: snapshot.resolved_at,
        episode: query.episode.clone(),
    };
    notes(inner).snapshot = Some(look);
}

/// How many of these times fall into a window that ends with one of them, at most.
fn most_in_a_window(times: &[Timestamp], per: Duration) -> usize {
    let inside = |end: &Timestamp| times.iter().filter(|at| **at <= *end && **at > minus(*end, per)).count();
    times.iter().map(inside).max().unwrap_or(0)
}

/// No bound is passed, counted over all marks.
pub(crate) fn reserved(inner: &mut Inner, asked: &Reservation, reserved: &Reserved) {
    if lossy(inner) || *reserved != Reserved::Granted || asked.runs.is_empty() {
        return;
    }
    let event = EpisodeKey::of(&story::any_event());
    let query = SnapshotQuery::new(event, "", Vec::new(), Timestamp::UNIX_EPOCH).all(true);
    let Ok(snapshot) = at_once(inner.store.snapshot(&query)) else { return };
    let policy = inner.policy.clone();
    for (run, _) in &asked.runs {
        for budget in &policy.budgets {
            let same = |mark: &&Run| match &budget.scope {
                BudgetScope::Overall => true,
                BudgetScope::Action(_) => mark.action == run.action,
                BudgetScope::Target => mark.target == run.target,
                _ => mark.blast_radius == run.blast_radius,
            };
            let times: Vec<Timestamp> = snapshot.runs.iter().filter(same).map(|mark| mark.at).collect();
            let most = most_in_a_window(&times, budget.per);
            inner.must(most <= budget.max as usize, format_args!("budget {budget}: {most} runs"));
        }
        if let Some(guard) = policy.loop_guard {
            let mut reports: BTreeMap<&ReportId, Timestamp> = BTreeMap::new();
            for mark in snapshot.runs.iter().filter(|mark| mark.identity == run.identity) {
                let first = reports.entry(&mark.report).or_insert(mark.at);
                *first = (*first).min(mark.at);
            }
            let times: Vec<Timestamp> = reports.into_values().collect();
            let most = most_in_a_window(&times, guard.per);
            inner.must(most <= guard.max as usize, format_args!("loop guard: {most} reports on {}", run.identity));
        }
        let cooldown = story::cooldown(run.action.as_str());
        let times: Vec<Timestamp> = snapshot
            .runs
            .iter()
            .filter(|mark| mark.action == run.action && mark.target == run.target)
            .map(|mark| mark.at)
            .collect();
        if let Some(cooldown) = cooldown {
            let most = most_in_a_window(&times, cooldown);
            inner.must(most <= 1, format_args!("cool-down of {} on {}: {most} runs", run.action, run.target));
        }
    }
}

/// A mark comes back only from what had no effect.
pub(crate) fn given_back(inner: &mut Inner, run: &Run, returned: bool) {
    if lossy(inner) || !returned {
        return;
    }
    let place = format!("{}|{}|", run.action, run.target);
    let mine =
        |(key, step): (&String, &Step)| (step.report == run.report && key.starts_with(&place)).then(|| key.clone());
    if let Some(key) = inner.seen.journal.iter().find_map(mine) {
        let had_effect = had_effect(inner, &key);
        inner.must(!had_effect, format_args!("the mark of {key} was given back after its effect"));
    }
}

fn had_effect(inner: &Inner, key: &str) -> bool {
    inner.objects.values().any(|object| object.effects.iter().any(|(effect, _)| effect == key))
}

pub(crate) fn opened(inner: &mut Inner, record: &ReportRecord, opened: &Opened) {
    if *opened != Opened::New {
        return;
    }
    let id = record.id.as_str().to_owned();
    if let Some(response) = &record.response {
        let by = (response.disposition.clone(), inner.current);
        inner.seen.closed.insert(id.clone(), by);
    }
    let first = inner.seen.opened.insert(id.clone());
    inner.must(first || lossy(inner), format_args!("report {id} was opened twice"));
}

pub(crate) fn closed(inner: &mut Inner, id: &ReportId, response: &Response, closed: bool) {
    if !closed || lossy(inner) {
        return;
    }
    let by = (response.disposition.clone(), inner.current);
    let before = inner.seen.closed.insert(id.as_str().to_owned(), by);
    inner.must(before.is_none(), format_args!("report {id} was closed twice"));
    inner
        .must(response.disposition != Disposition::AwaitingApproval, format_args!("report {id} was closed as waiting"));
    let steps: Vec<String> =
        inner.seen.journal.iter().filter(|(_, step)| step.report == *id).map(|(key, _)| key.clone()).collect();
    let effects = steps.iter().filter(|key| had_effect(inner, key)).count();
    if response.disposition == Disposition::Executed {
        inner.must(effects > 0, format_args!("report {id} was executed without any effect"));
    }
    if response.disposition == Disposition::WouldExecute {
        inner.must(effects == 0, format_args!("report {id} had an effect in shadow mode"));
    }
    for step in &response.plan.steps {
        let outcome = match step.outcome {
            Some(Outcome::Helped) => "helped",
            Some(Outcome::NoEffect) => "no_effect",
            Some(Outcome::Worse) => "worse",
            Some(Outcome::Unknown) => "unknown",
            None => "not_run",
        };
        *inner.seen.outcomes.entry(outcome).or_default() += 1;
    }
}

pub(crate) fn acquired(inner: &mut Inner, now: Timestamp, acquired: &Acquired) {
    let Acquired::Granted(lease) = acquired else { return };
    let sequence = inner.seen.sequence;
    let before = inner.seen.locks.insert(lease.key.clone(), (lease.token, lease.until));
    if let Some((token, until)) = before {
        inner.must(now >= until, format_args!("lock {} was granted while it was held", lease.key));
        inner.seen.lost.insert((lease.key.clone(), token), sequence);
    }
    let leases = &mut notes(inner).leases;
    leases.retain(|(key, _)| *key != lease.key);
    leases.push((lease.key.clone(), lease.token));
}

pub(crate) fn renewed(inner: &mut Inner, asked: &Lease, renewed: Option<&Lease>) {
    let sequence = inner.seen.sequence;
    notes(inner).renewed.insert(asked.key.clone(), sequence);
    let Some(lease) = renewed else { return };
    let mine = inner.seen.locks.get(&lease.key).is_some_and(|(token, _)| *token == asked.token);
    inner.must(mine, format_args!("lock {} was renewed by a stranger", lease.key));
    inner.seen.locks.insert(lease.key.clone(), (lease.token, lease.until));
}

pub(crate) fn releasing(inner: &mut Inner, lease: &Lease) {
    notes(inner).leases.retain(|(key, token)| (key.as_str(), *token) != (lease.key.as_str(), lease.token));
}

pub(crate) fn released(inner: &mut Inner, lease: &Lease, released: bool) {
    if released {
        let held = inner.seen.locks.remove(&lease.key);
        let mine = held.is_some_and(|(token, _)| token == lease.token);
        inner.must(mine, format_args!("lock {} was released by a stranger", lease.key));
    }
}

pub(crate) fn forced(inner: &mut Inner, lease: Option<&Lease>) {
    let Some(lease) = lease else { return };
    let sequence = inner.seen.sequence;
    inner.seen.locks.remove(&lease.key);
    inner.seen.lost.insert((lease.key.clone(), lease.token), sequence);
}

pub(crate) fn begun(inner: &mut Inner, entry: &JournalEntry, begun: &Begun) {
    if *begun != Begun::New || lossy(inner) {
        return;
    }
    let key = entry.key().as_str().to_owned();
    let open =
        inner.seen.opened.contains(entry.report.as_str()) && !inner.seen.closed.contains_key(entry.report.as_str());
    inner.must(open, format_args!("step {key} began for a report that is not open"));
    let step = Step { report: entry.report.clone(), token: entry.token, state: JournalState::Started };
    let before = inner.seen.journal.insert(key.clone(), step);
    inner.must(before.is_none(), format_args!("step {key} began twice"));
}

pub(crate) fn advanced(inner: &mut Inner, key: &StepKey, token: u64, state: &JournalState) {
    if lossy(inner) {
        return;
    }
    let key = key.as_str();
    let Some(step) = inner.seen.journal.get_mut(key) else {
        return inner.broken(format_args!("step {key} went on before it began"));
    };
    let (newest, before) = (step.token, std::mem::replace(&mut step.state, state.clone()));
    step.token = newest.max(token);
    inner.must(token >= newest, format_args!("step {key} went on with token {token}, older than {newest}"));
    let JournalState::Ended(end) = state else { return };
    let ended = matches!(before, JournalState::Ended(_));
    inner.must(!ended, format_args!("step {key} ended twice"));
    let alive = inner.seen.windows.iter().find(|window| window.key == key && window.task != inner.current);
    if let Some(window) = alive {
        let lost = inner.seen.lost.keys().any(|(lock, held)| *held <= window.token && lock == key);
        inner.must(lost, format_args!("step {key} was ended by another one while it runs"));
    }
    let effect = had_effect(inner, key);
    match end {
        StepEnd::NotRun { .. } | StepEnd::AlreadyDone { .. } => {
            inner.must(!effect, format_args!("step {key} had an effect and is recorded as {end:?}"));
            let may_be = before == JournalState::Started || !inner.seen.executes.contains_key(key);
            let said = inner.seen.executes.get(key).is_some_and(|failed| *failed == 1);
            inner.must(may_be || said, format_args!("step {key} may have run and is recorded as {end:?}"));
        }
        StepEnd::Executed { outcome, .. } => {
            inner.must(effect, format_args!("step {key} had no effect and is recorded as executed"));
            if matches!(before, JournalState::Verifying { .. }) {
                let expected = expected_outcome(inner, key);
                inner.must(
                    expected == *outcome,
                    format_args!("step {key} is recorded as {outcome:?}, and was seen as {expected:?}"),
                );
            }
        }
        _ => {}
    }
}

pub(crate) fn taken_over(inner: &mut Inner, key: &StepKey, token: u64, taken: Option<&JournalEntry>) {
    if lossy(inner) {
        return;
    }
    let Some(step) = inner.seen.journal.get_mut(key.as_str()) else {
        return inner.must(taken.is_none(), format_args!("step {key} was taken over before it began"));
    };
    let (newest, state, report) = (step.token, step.state.clone(), step.report.clone());
    let Some(taken) = taken else {
        let past = matches!(state, JournalState::Ended(_)) && inner.seen.closed.contains_key(report.as_str());
        return inner.must(past, format_args!("step {key} is {state:?} and was taken for past"));
    };
    step.token = newest.max(token);
    inner.must(token >= newest, format_args!("step {key} was taken over with token {token}, older than {newest}"));
    let told = (&taken.state, taken.token) == (&state, token);
    inner.must(told, format_args!("step {key} is {state:?} and was taken over as {taken:?}"));
}

/// What this task was told when it asked whether the step helped.
fn expected_outcome(inner: &mut Inner, key: &str) -> Outcome {
    let notes = notes(inner);
    if key.starts_with("scale|") {
        return match notes.readings.get("lag").copied().flatten() {
            Some(lag) if lag < story::LAG => Outcome::Helped,
            Some(_) => Outcome::NoEffect,
            None => Outcome::Unknown,
        };
    }
    notes.verified.get(key).copied().unwrap_or(Outcome::Unknown)
}

pub(crate) fn approval_opened(inner: &mut Inner, asked: &Approval, opened: &ApprovalOpened) {
    if *opened == ApprovalOpened::New {
        inner.seen.approvals.insert(asked.id.as_str().to_owned(), asked.clone());
    }
}

pub(crate) fn approval_settled(inner: &mut Inner, settled: &Settled) {
    let Settled::Now(approval) = settled else { return };
    let id = approval.id.as_str().to_owned();
    let before = inner.seen.approvals.insert(id.clone(), (**approval).clone());
    let waited = before.is_some_and(|before| before.state.is_pending());
    inner.must(waited || lossy(inner), format_args!("approval {id} was settled twice"));
    if let ApprovalState::Approved { by, at } = &approval.state {
        inner.must(story::may_approve(by), format_args!("approval {id} was granted by {by}"));
        inner.must(*at < approval.expires_at, format_args!("approval {id} was granted after its time"));
    }
}

/// A resolve was acknowledged: no step of what was observed before may start any more.
pub(crate) fn resolve_acknowledged(inner: &mut Inner, episode: EpisodeKey, when: Timestamp) {
    let sequence = inner.seen.sequence;
    inner.seen.resolved.insert(episode, (when, sequence));
}

pub(crate) fn audited(inner: &mut Inner, entry: &aiops_remediate::AuditEntry) {
    if let (Some(step), Some(fingerprint)) = (&entry.step, &entry.fingerprint)
        && matches!(step.state, JournalState::Executing { .. })
    {
        let key = format!("{}|{}|{fingerprint}", step.action, step.target);
        inner.seen.audit_steps.insert((key, step.token));
    }
    if let (aiops_remediate::AuditKind::Decision, Some(report)) = (&entry.kind, &entry.report) {
        inner.seen.audit_decisions.insert(report.as_str().to_owned());
    }
}

/// `execute` is called.
pub(crate) fn executes(inner: &mut Inner, process: usize, request: &ActionRequest, precondition: &Precondition) {
    let key = request.key();
    inner.note(format_args!("p{process} executes {key} token {}", request.fencing_token));
    let now = inner.clock(process);
    let task = inner.current;
    let mine = std::mem::take(notes(inner));
    let (target, token) = (request.target.to_string(), request.fencing_token);

    // Allowed by catalogue and policy, on the event's own target.
    inner.must(inner.active, format_args!("{key} ran in shadow mode"));
    inner.must(!request.dry_run, format_args!("{key} ran as a dry run"));
    let event = inner.events.get(request.fingerprint.as_str()).cloned();
    let own = event.as_ref().and_then(|event| story::target_of(request.action.as_str(), event));
    inner.must(own.as_ref() == Some(&request.target), format_args!("{key} is not on the event's own target"));

    // On the version that was inspected, as part of the same step.
    let saw = mine.inspected.as_ref().filter(|(inspected, _)| *inspected == key).map(|(_, saw)| saw);
    inner.must(saw == Some(precondition), format_args!("{key} ran without the state that was inspected"));
    inner.must(
        inner.seen.audit_steps.contains(&(key.clone(), token)),
        format_args!("{key} ran before the audit log had it"),
    );

    // The last look at the kill switch and the episode let it pass.
    let stop = match &mine.snapshot {
        None => Some("was not looked at before"),
        Some(look) if look.killed => Some("ran with the kill switch on"),
        Some(look) => {
            let observed = inner.reports.values().filter(|report| report.incident_id == request.incident_id);
            let observed = observed.map(|report| report.event.observed()).max();
            let ended = |at: Timestamp| observed.is_some_and(|observed| at >= observed);
            let known = inner.seen.resolved.get(&look.episode);
            let known = known.filter(|(_, sequence)| *sequence <= look.sequence && !lossy(inner)).map(|(at, _)| *at);
            (look.resolved_at.is_some_and(ended) || known.is_some_and(ended)).then_some("ran after its episode ended")
        }
    };
    if let Some(why) = stop {
        inner.broken(format_args!("{key} {why}"));
    }
    if request.action.as_str() == "flush" {
        let held = mine.readings.get("errors").copied().flatten().is_some_and(|errors| errors > story::ERRORS);
        inner.must(held, format_args!("{key} ran without its precondition"));
    }
    if !inner.policy.health.is_empty() {
        let well = mine.readings.get("unhealthy").copied().flatten().is_some_and(|share| share <= story::UNHEALTHY);
        inner.must(well, format_args!("{key} ran while the group was unhealthy"));
    }
    inner.seen.windows.push(Window { target: target.clone(), key: key.clone(), token, task });
    if lossy(inner) {
        return;
    }

    let step = inner.seen.journal.get(&key);
    let journalled =
        step.is_some_and(|step| step.token == token && matches!(step.state, JournalState::Executing { .. }));
    let report = step.map(|step| step.report.clone());
    inner.must(journalled, format_args!("{key} ran before the journal had it"));
    let twice = inner.seen.executes.insert(key.clone(), 0).is_some();
    inner.must(!twice, format_args!("{key} was executed twice"));
    if let Some(report) = &report {
        permitted(inner, report, request, precondition, mine.snapshot.as_ref());
    }

    // Alone with the step and the target, as far as it could know.
    inner.must(token > 0, format_args!("{key} ran without a token"));
    inner.must(
        mine.leases.iter().any(|(lock, held)| *lock == key && *held <= token),
        format_args!("{key} ran without its lock"),
    );
    let own = [key.clone(), format!("target|{target}"), report.map(|id| format!("report|{id}")).unwrap_or_default()];
    for (lock, held) in mine.leases.iter().filter(|(lock, _)| own.contains(lock)) {
        let asked = mine.renewed.get(lock).copied().unwrap_or(0);
        let lost = inner.seen.lost.get(&(lock.clone(), *held)).is_some_and(|lost| *lost <= asked);
        let ended = inner.seen.locks.get(lock).is_some_and(|(token, until)| token == held && *until <= now);
        inner.must(!lost && !ended, format_args!("{key} ran after lock {lock} was over"));
    }
    let place = format!("target|{target}");
    let other = inner.seen.windows.iter().find(|window| window.target == target && window.task != task);
    if let Some(other) = other {
        let lost = inner.seen.lost.contains_key(&(place, other.token));
        let what = format!("{key} ran at once with {}", other.key);
        inner.must(lost, what);
    }
}

/// What its report, its marks and its approval allow.
fn permitted(
    inner: &mut Inner,
    report: &ReportId,
    request: &ActionRequest,
    precondition: &Precondition,
    look: Option<&Look>,
) {
    let key = request.key();
    let audited = inner.seen.audit_decisions.contains(report.as_str());
    inner.must(audited, format_args!("{key} ran before the audit log had its decision"));
    let query = SnapshotQuery::new(EpisodeKey::of(&story::any_event()), "", Vec::new(), Timestamp::UNIX_EPOCH);
    let marks = at_once(inner.store.snapshot(&query.all(true))).map(|snapshot| snapshot.runs).unwrap_or_default();
    let marked = marks
        .iter()
        .any(|mark| mark.report == *report && mark.action == request.action && mark.target == request.target);
    inner.must(marked, format_args!("{key} ran without a mark"));
    if let Some(max) = inner.policy.max_open {
        let open = at_once(inner.store.open_reports()).unwrap_or_default();
        let before = open.iter().position(|record| record.id == *report);
        let within = before.is_some_and(|before| before < max as usize);
        inner.must(within, format_args!("{key} ran with {before:?} reports open before it, at most {max}"));
    }

    let triaged = inner.reports.get(report.as_str()).cloned();
    let recommended = triaged.as_ref().is_some_and(|triaged| {
        let own = triaged.report.recommended_actions.iter().any(|action| action == request.action.as_str());
        let next = request.action.as_str() == "scale"
            && triaged.report.recommended_actions.iter().any(|action| action == "restart");
        own || next
    });
    inner.must(recommended, format_args!("{key} was not recommended"));
    let mut since = triaged.as_ref().map(|triaged| triaged.event.observed());
    if story::needs_approval(request.action.as_str()) {
        let digest = Approval::digest_of(request, precondition);
        let granted = inner.seen.approvals.values().find(|approval| {
            approval.report == *report
                && approval.digest == digest
                && matches!(approval.state, ApprovalState::Approved { .. })
        });
        let granted = granted.cloned();
        inner.must(granted.is_some(), format_args!("{key} ran without an approval of just this"));
        if let Some(Approval { id, state: ApprovalState::Approved { at, .. }, .. }) = granted {
            let fresh = inner.seen.used.insert(id.as_str().to_owned());
            inner.must(fresh, format_args!("approval {id} was used twice"));
            since = since.map(|observed| observed.max(at));
        }
    }
    if let (Some(since), Some(look), Some(max)) = (since, look, inner.policy.max_age) {
        let stale = minus(look.clock, max) > since;
        inner.must(!stale, format_args!("{key} ran when it was stale"));
    }
}

/// The call is over: it returned, or its future was dropped.
pub(crate) fn executed(inner: &mut Inner, key: &str, task: usize) {
    inner.seen.windows.retain(|window| window.key != key || window.task != task);
}

/// The handler says that nothing was changed.
pub(crate) fn failed_before(inner: &mut Inner, key: &str) {
    if let Some(failed) = inner.seen.executes.get_mut(key) {
        *failed = 1;
    }
}

/// An effect reaches its object, which checks token and version. Says why it refuses.
pub(crate) fn takes_effect(inner: &mut Inner, request: &ActionRequest, uid: u64) -> Result<(), &'static str> {
    let (key, target) = (request.key(), request.target.to_string());
    let now = inner.now;
    let object = inner.objects.entry(target).or_default();
    if request.fencing_token < object.token {
        inner.note(format_args!("{key} is fenced"));
        return Err("a newer token was seen");
    }
    object.token = request.fencing_token;
    if object.uid != uid {
        inner.note(format_args!("{key} finds another object"));
        return Err("the object is another one");
    }
    let twice = object.effects.iter().any(|(effect, _)| *effect == key);
    let acted_on = object.effects.iter().any(|(_, version)| *version == uid);
    object.effects.push((key.clone(), uid));
    object.last_effect = now;
    inner.next_uid += 1;
    let next = inner.next_uid;
    if let Some(object) = inner.objects.get_mut(&request.target.to_string()) {
        object.uid = next;
    }
    inner.seen.effects += 1;
    inner.note(format_args!("effect of {key}"));
    inner.must(!twice, format_args!("{key} had two effects"));
    inner.must(!acted_on, format_args!("{key} acted on a version that was acted on"));
    Ok(())
}

/// A person is told of a report.
pub(crate) fn told(inner: &mut Inner, id: &ReportId, response: &Response) {
    let disposition = response.disposition.as_str();
    inner.note(format_args!("told {disposition}"));
    *inner.seen.dispositions.entry(disposition).or_default() += 1;
    // A duplicate is no news, unless it is the first report of a loop that people know of.
    let known = response.plan.rules.iter().any(|rule| rule.rule == "known_report");
    if response.disposition != Disposition::Duplicate || !known {
        let first = inner.seen.told.insert(id.as_str().to_owned());
        inner.seen.told_again += u64::from(!first && response.disposition != Disposition::AwaitingApproval);
    }
}

/// A report was taken over, and is to be gone on with.
pub(crate) fn accepted(inner: &mut Inner, id: &ReportId) {
    if lossy(inner) {
        return;
    }
    let known = inner.seen.opened.contains(id.as_str());
    inner.must(known, format_args!("report {id} was acknowledged before it was written down"));
    let first = inner.seen.accepted.insert(id.as_str().to_owned());
    inner.must(first, format_args!("report {id} was taken over twice"));
}

/// Whether nothing is open any more.
pub(crate) fn at_rest(inner: &mut Inner) -> bool {
    let latest = (0..inner.processes.len()).map(|process| inner.clock(process)).max().unwrap_or_default();
    let store = &inner.store;
    at_once(store.open_reports()).is_ok_and(|open| open.is_empty())
        && at_once(store.unfinished()).is_ok_and(|open| open.is_empty())
        && at_once(store.pending_approvals()).is_ok_and(|open| open.is_empty())
        && at_once(store.untold()).is_ok_and(|untold| untold.is_empty())
        && at_once(store.leases(latest)).is_ok_and(|held| held.is_empty())
        && inner.unacked.is_empty()
}

/// What is left when nothing goes on any more.
pub(crate) fn at_the_end(inner: &mut Inner) {
    let store = std::sync::Arc::clone(&inner.store);
    let open = at_once(store.open_reports()).unwrap_or_default();
    inner.must(open.is_empty(), format_args!("{} reports have no answer", open.len()));
    let open = at_once(store.unfinished()).unwrap_or_default();
    inner.must(open.is_empty(), format_args!("{} steps have no end: {:?}", open.len(), open.first()));
    let pending = at_once(store.pending_approvals()).unwrap_or_default();
    inner.must(pending.is_empty(), format_args!("{} approvals wait", pending.len()));
    let latest = (0..inner.processes.len()).map(|process| inner.clock(process)).max().unwrap_or_default();
    let held = at_once(store.leases(latest)).unwrap_or_default();
    inner.must(held.is_empty(), format_args!("a lock is held for ever: {:?}", held.first()));
    let unacked = inner.unacked.len();
    inner.must(unacked == 0, format_args!("{unacked} messages were never taken"));
    if lossy(inner) {
        return;
    }
    let opened: Vec<String> = inner.seen.opened.iter().cloned().collect();
    for id in opened {
        let (closed, told) = (inner.seen.closed.contains_key(&id), inner.seen.told.contains(&id));
        inner.must(closed, format_args!("report {id} has no disposition"));
        let became = inner.seen.closed.get(&id).map(|(disposition, _)| disposition.clone());
        // Of a loop that holds a report back people were told with another one: who died over it, or was no
        // longer listened to, leaves nothing to tell.
        let closer = inner.seen.closed.get(&id).map(|(_, task)| *task);
        let died = closer.is_some_and(|task| inner.seen.cut.contains(&task));
        let no_news = died && became == Some(Disposition::Duplicate);
        inner.must(told || no_news, format_args!("nobody was told of report {id}, {became:?}"));
    }
    let ends: Vec<(String, bool)> = inner
        .seen
        .journal
        .iter()
        .map(|(key, step)| (key.clone(), matches!(step.state, JournalState::Ended(StepEnd::NotRun { .. }))))
        .collect();
    for (key, not_run) in ends {
        let effect = had_effect(inner, &key);
        inner.must(!(not_run && effect), format_args!("step {key} had an effect and is recorded as not run"));
    }
    marks_left(inner);
}

/// A step that never came to `execute` gave its mark back, unless the store failed, or a process died or was
/// away over it: then its share comes back with the end of the budget's window.
fn marks_left(inner: &mut Inner) {
    let excuses = [
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::RequestsLost,
        Fault::AnswersLost,
        Fault::SlowStore,
        Fault::Crash,
        Fault::Pause,
    ];
    if !inner.active || !inner.seen.cut.is_empty() || excuses.iter().any(|fault| inner.has(*fault)) {
        return;
    }
    let query = SnapshotQuery::new(EpisodeKey::of(&story::any_event()), "", Vec::new(), Timestamp::UNIX_EPOCH);
    let marks = at_once(inner.store.snapshot(&query.all(true))).map(|snapshot| snapshot.runs).unwrap_or_default();
    for mark in marks {
        let began = format!("{}|{}|", mark.action, mark.target);
        let ran = inner.seen.journal.iter().any(|(key, step)| {
            step.report == mark.report && key.starts_with(&began) && inner.seen.executes.contains_key(key)
        });
        inner.must(ran, format_args!("{} on {} never ran and keeps its mark", mark.action, mark.target));
    }
}
