//! The state behind the stores that keep it in memory: each call decides on the state as it is, and
//! what changes is one [`Change`], so that a file journal is the list of changes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use aiops_core::{Disposition, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::approval::{Approval, ApprovalId, ApprovalOpened, ApprovalState, Settled};
use super::locks::Locks;
use super::reservation::{Reservation, Reserved, Run};
use super::types::{
    Acquired, Begun, EpisodeKey, GuardState, JournalEntry, JournalState, KillSwitch, Lease, Opened, ReportId,
    ReportRecord, Snapshot, SnapshotQuery, StepEnd, StepKey, is_news,
};
use crate::mutant::mutant;

/// Ended steps and closed reports that are remembered: at 300 actions a day, a year.
pub(super) const PAST_KEPT: usize = 100_000;
/// Reports without an answer: beyond it something is broken and new ones are refused.
pub(super) const OPEN_MAX: usize = 10_000;
/// Marks and ends of episodes that are remembered.
pub(super) const MARKS_KEPT: usize = 20_000;
/// Approvals of closed reports that are remembered, so that a second click is told who decided.
pub(super) const SETTLED_KEPT: usize = 1_000;
/// Answered reports that wait until somebody notes that people were told.
pub(super) const UNTOLD_KEPT: usize = 10_000;
/// Guards that stand tripped: one for each identity in a loop.
pub(super) const GUARDS_KEPT: usize = 10_000;

/// One change of the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Change {
    /// A report was opened. One that is answered at once is `untold`, but for those of version 3.
    Report {
        report: Box<ReportRecord>,
        #[serde(default)]
        untold: bool,
    },
    /// A report was answered.
    Closed {
        id: ReportId,
        response: Response,
        #[serde(default)]
        untold: bool,
    },
    /// People were told what became of a report.
    Told { id: ReportId },
    /// A step began.
    Step { entry: Box<JournalEntry> },
    /// A step went on.
    State { key: StepKey, token: u64, at: Timestamp, change: JournalState },
    /// Marks were taken.
    Marks { runs: Vec<Run> },
    /// A mark was given back.
    MarkReturned { run: Run },
    /// The kill switch was set.
    Kill { switch: KillSwitch },
    /// An episode ended.
    Resolved { episode: EpisodeKey, at: Timestamp },
    /// A health guard was tripped or passed.
    Guard { name: String, guard: GuardState },
    /// An approval began to wait.
    Approval { approval: Box<Approval> },
    /// An approval was settled.
    Settled { id: ApprovalId, settled: ApprovalState },
    /// People were told that an approval waits.
    Asked { id: ApprovalId, at: Timestamp },
    /// People were reminded of an approval.
    Reminded { id: ApprovalId, at: Timestamp },
    /// Tokens up to this one may have been granted.
    Tokens { until: u64 },
}

/// The answer to a call, and what it changes.
pub(super) type Decided<A> = Result<(A, Option<Change>), StoreError>;

#[derive(Debug)]
enum Step {
    /// Not ended, or ended while its report is open.
    Whole(Box<JournalEntry>),
    /// Ended, and its report is closed.
    Past { at: Timestamp, end: StepEnd },
}

#[derive(Debug)]
enum Report {
    Open(u64),
    Closed(Disposition),
}

#[derive(Debug, Default)]
pub(super) struct Book {
    kill: KillSwitch,
    reports: HashMap<ReportId, Report>,
    open: BTreeMap<u64, ReportRecord>,
    closed: VecDeque<ReportId>,
    /// Answered reports that nobody was told of, as they were closed.
    untold: VecDeque<ReportRecord>,
    steps: HashMap<StepKey, Step>,
    steps_of: HashMap<ReportId, Vec<StepKey>>,
    past: VecDeque<StepKey>,
    marks: VecDeque<Run>,
    resolved: HashMap<EpisodeKey, Timestamp>,
    resolved_order: VecDeque<EpisodeKey>,
    locks: Locks,
    guards: BTreeMap<String, GuardState>,
    approvals: HashMap<ApprovalId, Approval>,
    /// The approvals of each report that is open, in the order in which they were asked for.
    approvals_of: HashMap<ReportId, Vec<ApprovalId>>,
    /// Approvals of closed reports, the oldest first.
    settled: VecDeque<ApprovalId>,
    opened: u64,
}

pub(super) fn refused<A>(doing: &'static str, what: impl ToString, why: &'static str) -> Result<A, StoreError> {
    Err(StoreError::Refused { doing, what: what.to_string(), why })
}

pub(super) fn forgotten(what: &'static str) {
    metrics::counter!("aiops_remediate_store_forgotten_total", "what" => what).increment(1);
}

impl Book {
    pub(super) fn kill_switch(&self) -> Decided<KillSwitch> {
        Ok((self.kill.clone(), None))
    }

    pub(super) fn set_kill_switch(&self, switch: KillSwitch) -> Decided<()> {
        Ok(((), Some(Change::Kill { switch })))
    }

    pub(super) fn snapshot(&self, query: &SnapshotQuery) -> Decided<Snapshot> {
        let snapshot = Snapshot {
            kill_switch: self.kill.clone(),
            resolved_at: self.resolved.get(&query.episode).copied(),
            runs: self.marks.iter().filter(|run| query.wants(run)).cloned().collect(),
            guards: self.guards.clone(),
        };
        Ok((snapshot, None))
    }

    pub(super) fn set_guard(&self, name: String, guard: GuardState) -> Decided<()> {
        let known = match self.guards.get(&name) {
            Some(known) => *known == guard,
            None => guard.tripped_at.is_none(),
        };
        Ok(((), (!known).then_some(Change::Guard { name, guard })))
    }

    pub(super) fn resolve(&self, episode: EpisodeKey, at: Timestamp) -> Decided<()> {
        let known = self.resolved.get(&episode).is_some_and(|known| *known >= at);
        Ok(((), (!known).then_some(Change::Resolved { episode, at })))
    }

    pub(super) fn reserve(&self, reservation: Reservation) -> Decided<Reserved> {
        if matches!(reservation.report().and_then(|id| self.reports.get(id)), Some(Report::Closed(_))) {
            return Ok((Reservation::closed(), None));
        }
        let marks: Vec<Run> = match reservation.since() {
            Some(since) => {
                let plays =
                    |mark: &&Run| mark.at > since || reservation.runs.iter().any(|(run, _)| run.same_step(mark));
                self.marks.iter().filter(plays).cloned().collect()
            }
            None => self.marks.iter().cloned().collect(),
        };
        let crowded = reservation.runs.first().and_then(|(run, _)| {
            let Some(Report::Open(number)) = self.reports.get(&run.report) else { return None };
            reservation.crowded(self.open.range(..number).count()).filter(|_| !mutant!("max_open_ignored"))
        });
        if let Some(reason) = crowded.or_else(|| reservation.refusal(&marks)) {
            return Ok((Reserved::Refused { reason }, None));
        }
        let runs = reservation.missing(&marks);
        Ok((Reserved::Granted, (!runs.is_empty()).then_some(Change::Marks { runs })))
    }

    pub(super) fn give_back(&self, lease: &Lease, run: Run) -> Decided<bool> {
        let known = self.marks.iter().any(|mark| mark.same_step(&run));
        let own = self.locks.is_held_by(lease) || mutant!("mark_returned_without_lock");
        let open = !matches!(self.reports.get(&run.report), Some(Report::Closed(_)));
        let no_effect = own && open && !self.may_have_acted(&run);
        let returned = known && (no_effect || mutant!("mark_returned_after_effect"));
        Ok((returned, returned.then_some(Change::MarkReturned { run })))
    }

    /// Whether the step that a mark was taken for began and may have had an effect.
    fn may_have_acted(&self, run: &Run) -> bool {
        let keys = self.steps_of.get(&run.report).map_or(&[][..], Vec::as_slice);
        keys.iter().any(|key| match self.steps.get(key) {
            Some(Step::Whole(entry)) => run.is_of(&entry.request) && entry.state.may_have_acted(),
            _ => false,
        })
    }

    pub(super) fn open_report(&self, record: ReportRecord) -> Decided<Opened> {
        match self.reports.get(&record.id) {
            Some(Report::Open(_)) => Ok((Opened::Known(None), None)),
            Some(Report::Closed(disposition)) => Ok((Opened::Known(Some(disposition.clone())), None)),
            None if self.open.len() >= OPEN_MAX && record.response.is_none() => {
                let source = format!("{OPEN_MAX} reports are open; call recover").into();
                Err(StoreError::Unavailable { doing: "open a report", source })
            }
            None => {
                let untold = record.response.as_ref().is_some_and(is_news);
                Ok((Opened::New, Some(Change::Report { report: Box::new(record), untold })))
            }
        }
    }

    pub(super) fn close_report(&self, id: ReportId, response: Response) -> Decided<bool> {
        match self.reports.get(&id) {
            Some(Report::Open(_)) => {
                let untold = is_news(&response);
                Ok((true, Some(Change::Closed { id, response, untold })))
            }
            Some(Report::Closed(_)) => Ok((mutant!("closed_twice"), None)),
            None => refused("close report", id, "it was never opened"),
        }
    }

    pub(super) fn open_reports(&self) -> Decided<Vec<ReportRecord>> {
        Ok((self.open.values().cloned().collect(), None))
    }

    pub(super) fn open_report_of(&self, id: &ReportId) -> Decided<Option<ReportRecord>> {
        let Some(Report::Open(number)) = self.reports.get(id) else { return Ok((None, None)) };
        Ok((self.open.get(number).cloned(), None))
    }

    pub(super) fn untold(&self) -> Decided<Vec<ReportRecord>> {
        Ok((self.untold.iter().cloned().collect(), None))
    }

    pub(super) fn note_told(&self, id: ReportId) -> Decided<()> {
        let waits = self.untold.iter().any(|record| record.id == id);
        Ok(((), waits.then_some(Change::Told { id })))
    }

    pub(super) fn acquire(&mut self, key: String, holder: String, now: Timestamp, ttl: Duration) -> Decided<Acquired> {
        let block = self.locks.block_wanted();
        let acquired = self.locks.acquire(key, holder, now, ttl);
        let block = block.filter(|_| matches!(acquired, Acquired::Granted(_)));
        Ok((acquired, block.map(|until| Change::Tokens { until })))
    }

    pub(super) fn release(&mut self, lease: &Lease) -> Decided<bool> {
        Ok((self.locks.release(lease), None))
    }

    pub(super) fn renew(&mut self, lease: &Lease, now: Timestamp, ttl: Duration) -> Decided<Option<Lease>> {
        Ok((self.locks.renew(lease, now, ttl), None))
    }

    pub(super) fn force_release(&mut self, key: &str) -> Decided<Option<Lease>> {
        Ok((self.locks.force_release(key), None))
    }

    pub(super) fn leases(&self, now: Timestamp) -> Decided<Vec<Lease>> {
        Ok((self.locks.held(now), None))
    }

    pub(super) fn begin(&self, entry: JournalEntry) -> Decided<Begun> {
        match self.steps.get(&entry.key()) {
            None if matches!(self.reports.get(&entry.report), Some(Report::Closed(_)))
                && !mutant!("begins_when_closed") =>
            {
                refused("begin step", entry.key(), "its report is closed")
            }
            None => Ok((Begun::New, Some(Change::Step { entry: Box::new(entry) }))),
            Some(Step::Past { at, end }) => Ok((Begun::Exists { at: *at, end: Some(end.clone()) }, None)),
            Some(Step::Whole(known)) => {
                let end = match &known.state {
                    JournalState::Ended(end) => Some(end.clone()),
                    _ => None,
                };
                Ok((Begun::Exists { at: known.at, end }, None))
            }
        }
    }

    pub(super) fn advance(&self, key: StepKey, token: u64, change: JournalState, at: Timestamp) -> Decided<()> {
        match self.steps.get(&key) {
            None => refused("advance step", key, "it never began"),
            Some(Step::Past { .. }) => refused("advance step", key, "it has ended"),
            Some(Step::Whole(entry)) if token < entry.token && !mutant!("advance_unfenced") => {
                Err(StoreError::Fenced { key: key.to_string(), token, newest: entry.token })
            }
            Some(Step::Whole(entry)) if matches!(entry.state, JournalState::Ended(_)) => {
                refused("advance step", key, "it has ended")
            }
            Some(Step::Whole(_)) => Ok(((), Some(Change::State { key, token, at, change }))),
        }
    }

    pub(super) fn take_over(&self, key: StepKey, token: u64) -> Decided<Option<JournalEntry>> {
        let Some(Step::Whole(entry)) = self.steps.get(&key) else { return Ok((None, None)) };
        if token < entry.token {
            return Err(StoreError::Fenced { key: key.to_string(), token, newest: entry.token });
        }
        let mut taken = (**entry).clone();
        taken.token = token;
        let change = Change::State { key, token, at: entry.at, change: entry.state.clone() };
        Ok((Some(taken), (token > entry.token && !mutant!("taken_over_unfenced")).then_some(change)))
    }

    pub(super) fn unfinished(&self) -> Decided<Vec<JournalEntry>> {
        let open = |step: &Step| match step {
            Step::Whole(entry) if !matches!(entry.state, JournalState::Ended(_)) => Some((**entry).clone()),
            _ => None,
        };
        let mut entries: Vec<JournalEntry> = self.steps.values().filter_map(open).collect();
        entries.sort_by(|a, b| (a.at, &a.report, a.index).cmp(&(b.at, &b.report, b.index)));
        Ok((entries, None))
    }

    pub(super) fn steps_of(&self, report: &ReportId) -> Decided<Vec<JournalEntry>> {
        let keys = self.steps_of.get(report).map_or(&[][..], Vec::as_slice);
        let whole = |key: &StepKey| match self.steps.get(key) {
            Some(Step::Whole(entry)) => Some((**entry).clone()),
            _ => None,
        };
        Ok((keys.iter().filter_map(whole).collect(), None))
    }

    pub(super) fn open_approval(&self, approval: Approval) -> Decided<ApprovalOpened> {
        let of_report = self.asked_by(&approval.report);
        if let Some(known) = of_report.iter().find(|known| known.index == approval.index) {
            return Ok((ApprovalOpened::Known(Box::new((*known).clone())), None));
        }
        if matches!(self.reports.get(&approval.report), Some(Report::Closed(_))) {
            return refused("ask for approval of a step of", approval.report, "the report is closed");
        }
        let place = approval.place();
        let waits = |known: &&Approval| known.state.is_pending() && known.place() == place;
        if let Some(other) = self.approvals.values().find(waits) {
            return Ok((ApprovalOpened::Occupied(Box::new(other.clone())), None));
        }
        Ok((ApprovalOpened::New, Some(Change::Approval { approval: Box::new(approval) })))
    }

    pub(super) fn settle_approval(&self, id: ApprovalId, state: ApprovalState) -> Decided<Settled> {
        let Some(known) = self.approvals.get(&id) else {
            return refused("settle approval", id, "there is none of this name");
        };
        if state.is_pending() {
            return refused("settle approval", id, "pending is no end");
        }
        if !known.state.is_pending() && !mutant!("last_word_wins") {
            return Ok((Settled::Before(Box::new(known.clone())), None));
        }
        let mut settled = known.clone();
        settled.state.clone_from(&state);
        Ok((Settled::Now(Box::new(settled)), Some(Change::Settled { id, settled: state })))
    }

    pub(super) fn note_asked(&self, id: ApprovalId, at: Timestamp) -> Decided<()> {
        let first = self.approvals.get(&id).is_some_and(|known| known.told_at.is_none());
        Ok(((), first.then_some(Change::Asked { id, at })))
    }

    pub(super) fn note_reminder(&self, id: ApprovalId, at: Timestamp) -> Decided<bool> {
        let waits = |known: &Approval| known.state.is_pending() && known.reminded_at.is_none();
        let first = self.approvals.get(&id).is_some_and(waits);
        Ok((first, first.then_some(Change::Reminded { id, at })))
    }

    pub(super) fn approval(&self, id: &ApprovalId) -> Decided<Option<Approval>> {
        Ok((self.approvals.get(id).cloned(), None))
    }

    pub(super) fn approvals_of(&self, report: &ReportId) -> Decided<Vec<Approval>> {
        let mut asked: Vec<Approval> = self.asked_by(report).into_iter().cloned().collect();
        asked.sort_by_key(|approval| approval.index);
        Ok((asked, None))
    }

    fn asked_by(&self, report: &ReportId) -> Vec<&Approval> {
        let ids = self.approvals_of.get(report).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| self.approvals.get(id)).collect()
    }

    pub(super) fn pending_approvals(&self) -> Decided<Vec<Approval>> {
        let waits = |approval: &&Approval| approval.state.is_pending();
        let mut pending: Vec<Approval> = self.approvals.values().filter(waits).cloned().collect();
        pending.sort_by(|a, b| (a.asked_at, &a.id).cmp(&(b.asked_at, &b.id)));
        Ok((pending, None))
    }

    /// The state of a process before is all here: none of the tokens that it may have granted is granted again.
    pub(super) fn read_back(&mut self) {
        self.locks.skip_written();
    }

    /// Takes a change over. It holds no decision, so that a journal reads back to the same state.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Report { report, untold } => self.opened_report(*report, untold),
            Change::Closed { id, response, untold } => {
                if let (true, Some(Report::Open(number))) = (untold, self.reports.get(&id))
                    && let Some(record) = self.open.get(number)
                {
                    let record = record.clone().response(Some(response.clone()));
                    self.keep_untold(record);
                }
                self.closed_report(id, response.disposition);
            }
            Change::Told { id } => self.untold.retain(|record| record.id != id),
            Change::Step { entry } => {
                self.locks.skip_to(entry.token);
                self.steps_of.entry(entry.report.clone()).or_default().push(entry.key());
                self.steps.insert(entry.key(), Step::Whole(entry));
            }
            Change::State { key, token, change, .. } => {
                self.locks.skip_to(token);
                if let Some(Step::Whole(entry)) = self.steps.get_mut(&key) {
                    (entry.token, entry.state) = (token, change);
                    let report = entry.report.clone();
                    self.shrink(&report);
                }
            }
            Change::Marks { runs } => {
                self.marks.extend(runs);
                while self.marks.len() > MARKS_KEPT {
                    self.marks.pop_front();
                    forgotten("mark");
                }
            }
            Change::MarkReturned { run } => {
                if let Some(place) = self.marks.iter().rposition(|mark| mark.same_step(&run)) {
                    self.marks.remove(place);
                }
            }
            Change::Guard { name, guard } => self.stands(name, guard),
            Change::Approval { approval } => {
                self.approvals_of.entry(approval.report.clone()).or_default().push(approval.id.clone());
                self.approvals.insert(approval.id.clone(), *approval);
            }
            Change::Settled { id, settled } => {
                if let Some(approval) = self.approvals.get_mut(&id) {
                    approval.state = settled;
                }
            }
            Change::Asked { id, at } => {
                if let Some(approval) = self.approvals.get_mut(&id) {
                    approval.told_at = Some(at);
                }
            }
            Change::Reminded { id, at } => {
                if let Some(approval) = self.approvals.get_mut(&id) {
                    approval.reminded_at = Some(at);
                }
            }
            Change::Tokens { until } => self.locks.block_written(until),
            Change::Kill { switch } => self.kill = switch,
            Change::Resolved { episode, at } => {
                if self.resolved.insert(episode.clone(), at).is_none() {
                    self.resolved_order.push_back(episode);
                }
                if self.resolved_order.len() > MARKS_KEPT
                    && let Some(oldest) = self.resolved_order.pop_front()
                {
                    self.resolved.remove(&oldest);
                    forgotten("resolved");
                }
            }
        }
    }

    fn stands(&mut self, name: String, guard: GuardState) {
        if guard.tripped_at.is_none() {
            self.guards.remove(&name);
            return;
        }
        self.guards.insert(name, guard);
        if self.guards.len() > GUARDS_KEPT
            && let Some(oldest) = self.guards.iter().min_by_key(|(_, guard)| guard.bad_at).map(|(name, _)| name.clone())
        {
            self.guards.remove(&oldest);
            forgotten("guard");
        }
    }

    fn keep_untold(&mut self, record: ReportRecord) {
        self.untold.push_back(record);
        if self.untold.len() > UNTOLD_KEPT {
            self.untold.pop_front();
            forgotten("untold");
        }
    }

    fn opened_report(&mut self, record: ReportRecord, untold: bool) {
        let id = record.id.clone();
        if let Some(response) = &record.response {
            let disposition = response.disposition.clone();
            if untold {
                self.keep_untold(record);
            }
            return self.closed_report(id, disposition);
        }
        self.opened = self.opened.saturating_add(1);
        self.reports.insert(id, Report::Open(self.opened));
        self.open.insert(self.opened, record);
    }

    fn closed_report(&mut self, id: ReportId, disposition: Disposition) {
        if let Some(Report::Open(number)) = self.reports.insert(id.clone(), Report::Closed(disposition)) {
            self.open.remove(&number);
        }
        self.shrink(&id);
        self.settled.extend(self.approvals_of.remove(&id).unwrap_or_default());
        while self.settled.len() > SETTLED_KEPT {
            if let Some(oldest) = self.settled.pop_front() {
                self.approvals.remove(&oldest);
                forgotten("approval");
            }
        }
        self.closed.push_back(id);
        if self.closed.len() > PAST_KEPT
            && let Some(oldest) = self.closed.pop_front()
        {
            self.reports.remove(&oldest);
            forgotten("report");
        }
    }

    /// Keeps of a closed report's ended steps only what `begin` needs.
    fn shrink(&mut self, report: &ReportId) {
        if !matches!(self.reports.get(report), Some(Report::Closed(_))) {
            return;
        }
        let Some(mut keys) = self.steps_of.remove(report) else { return };
        keys.retain(|key| {
            let Some(step) = self.steps.get_mut(key) else { return false };
            let Step::Whole(entry) = step else { return false };
            let JournalState::Ended(end) = &entry.state else { return true };
            *step = Step::Past { at: entry.at, end: end.clone() };
            self.past.push_back(key.clone());
            false
        });
        if !keys.is_empty() {
            self.steps_of.insert(report.clone(), keys);
        }
        while self.past.len() > PAST_KEPT {
            if let Some(oldest) = self.past.pop_front() {
                self.steps.remove(&oldest);
                forgotten("step");
            }
        }
    }
}
