//! Records as the script keeps them.

use std::time::Duration;

use aiops_core::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::link::{Answer, corrupt, halves, parse, unavailable};
use crate::store::StoreError;
use crate::store::approval::{Approval, ApprovalState};
use crate::store::reservation::Run;
use crate::store::types::{JournalEntry, Lease, is_news};

pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| unavailable("write a record", error))
}

/// An answer that people are to be told, else nothing.
pub(super) fn news(response: &Response) -> Result<String, StoreError> {
    if is_news(response) { json(response) } else { Ok(String::new()) }
}

/// Of whom a lock is, by the clock of that process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeldBy {
    pub(super) holder: String,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// A lock: its token, and of whom it is.
pub(super) fn held(key: &str, value: &str) -> Result<Lease, StoreError> {
    let (token, by) = halves("lock", key, value)?;
    let by: HeldBy = parse("lock", key, by)?;
    let token = token.parse().map_err(|error: std::num::ParseIntError| corrupt("lock", key, error))?;
    Ok(Lease::new(key, by.holder, token, by.since, by.until))
}

/// A time to live for the server, at least the shortest that it knows.
pub(super) fn milliseconds(ttl: Duration) -> String {
    ttl.as_millis().clamp(1, u128::from(u64::MAX >> 12)).to_string()
}

/// A time behind digits that sort as times do.
pub(super) fn sortable(at: Timestamp) -> String {
    /// Greater than the nanoseconds of any time before 1970, so that none is negative.
    const SHIFT: i128 = 1_000_000_000_000_000_000_000;
    format!("{:022} {at}", at.as_nanosecond() + SHIFT)
}

/// The time behind the digits.
pub(super) fn after(table: &'static str, key: &str, value: &str) -> Result<Timestamp, StoreError> {
    let (_, at) = halves(table, key, value)?;
    at.parse().map_err(|error: jiff::Error| corrupt(table, key, error))
}

/// What a mark is kept once for.
pub(super) fn step_of(run: &Run) -> Result<String, StoreError> {
    json(&(&run.report, &run.action, &run.target))
}

/// A mark behind its number.
pub(super) fn mark(value: &str) -> Result<(u64, Run), StoreError> {
    let (number, run) = halves("marks", value, value)?;
    let number = number.parse().map_err(|error: std::num::ParseIntError| corrupt("marks", value, error))?;
    Ok((number, parse("marks", value, run)?))
}

/// The marks that are left in an answer, in the order in which they were taken.
pub(super) fn marks(mut answer: Answer) -> Result<Vec<Run>, StoreError> {
    let mut marks = Vec::new();
    while !answer.is_empty() {
        marks.push(mark(&answer.text()?)?);
    }
    marks.sort_by_key(|(number, _)| *number);
    Ok(marks.into_iter().map(|(_, run)| run).collect())
}

/// The steps that are left in an answer: each as it began, its state, its newest token.
pub(super) fn entries(mut answer: Answer) -> Result<Vec<JournalEntry>, StoreError> {
    let mut entries = Vec::new();
    while !answer.is_empty() {
        let key = answer.text()?;
        let mut entry: JournalEntry = parse("step", &key, &answer.text()?)?;
        entry.state = parse("step_state", &key, &answer.text()?)?;
        entry.token = answer.number()?;
        entries.push(entry);
    }
    Ok(entries)
}

/// The next approval of an answer: as it was asked for, what became of it, when people were told of it and reminded.
pub(super) fn approval(answer: &mut Answer) -> Result<Approval, StoreError> {
    let id = answer.text()?;
    let mut approval: Approval = parse("approval", &id, &answer.text()?)?;
    approval.state = match answer.next() {
        Some(state) => parse("approval_state", &id, &state)?,
        None => ApprovalState::Pending,
    };
    let mut time = |table| {
        let at = answer.next().map(|at| at.parse().map_err(|error: jiff::Error| corrupt(table, &id, error)));
        at.transpose()
    };
    approval.told_at = time("approval_told")?;
    approval.reminded_at = time("approval_reminded")?;
    Ok(approval)
}

pub(super) fn approvals(mut answer: Answer) -> Result<Vec<Approval>, StoreError> {
    let mut approvals = Vec::new();
    while !answer.is_empty() {
        approvals.push(approval(&mut answer)?);
    }
    Ok(approvals)
}
