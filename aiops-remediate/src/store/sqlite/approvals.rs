//! Approvals.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::rows::{Record, all, change, first, number};
use super::{Fault, reports};
use crate::store::approval::{Approval, ApprovalId, ApprovalOpened, ApprovalState, Settled};
use crate::store::book::refused;
use crate::store::types::ReportId;

const TABLE: &str = "approvals";
pub(super) const NEXT_PAST: &str = "SELECT coalesce(max(past), 0) + 1 FROM approvals WHERE past IS NOT NULL";
pub(super) const PENDING: &str = "SELECT id, approval FROM approvals WHERE waits = 1";

fn read(record: &Record<'_>) -> Result<Approval, Fault> {
    record.json("approval")
}

fn write(connection: &Connection, approval: &Approval) -> Result<(), Fault> {
    let sql = "UPDATE approvals SET approval = ?2, waits = ?3 WHERE id = ?1";
    let text = serde_json::to_string(approval)?;
    change(connection, sql, params![approval.id.as_str(), text, approval.state.is_pending()]).map(drop)
}

pub(super) fn open(connection: &Connection, approval: &Approval) -> Result<ApprovalOpened, Fault> {
    let sql = "SELECT id, approval FROM approvals WHERE report = ?1 AND step = ?2";
    if let Some(known) = first(connection, TABLE, sql, params![approval.report.as_str(), approval.index], read)? {
        return Ok(ApprovalOpened::Known(Box::new(known)));
    }
    if reports::is_closed(connection, &approval.report)? == Some(true) {
        return Ok(refused("ask for approval of a step of", &approval.report, "the report is closed")?);
    }
    let sql = "SELECT id, approval FROM approvals WHERE place = ?1 AND waits = 1";
    if let Some(other) = first(connection, TABLE, sql, [approval.place()], read)? {
        return Ok(ApprovalOpened::Occupied(Box::new(other)));
    }
    let sql = "INSERT INTO approvals (id, report, step, place, waits, approval) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = params![
        approval.id.as_str(),
        approval.report.as_str(),
        approval.index,
        approval.place(),
        approval.state.is_pending(),
        serde_json::to_string(approval)?,
    ];
    change(connection, sql, values)?;
    Ok(ApprovalOpened::New)
}

pub(super) fn settle(connection: &Connection, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, Fault> {
    let Some(mut approval) = one(connection, id)? else {
        return Ok(refused("settle approval", id, "there is none of this name")?);
    };
    if state.is_pending() {
        return Ok(refused("settle approval", id, "pending is no end")?);
    }
    if !approval.state.is_pending() {
        return Ok(Settled::Before(Box::new(approval)));
    }
    approval.state.clone_from(state);
    write(connection, &approval)?;
    Ok(Settled::Now(Box::new(approval)))
}

pub(super) fn note_asked(connection: &Connection, id: &ApprovalId, at: Timestamp) -> Result<(), Fault> {
    let Some(mut approval) = one(connection, id)?.filter(|approval| approval.told_at.is_none()) else { return Ok(()) };
    approval.told_at = Some(at);
    write(connection, &approval)
}

pub(super) fn note_reminder(connection: &Connection, id: &ApprovalId, at: Timestamp) -> Result<bool, Fault> {
    let waits = |approval: &Approval| approval.state.is_pending() && approval.reminded_at.is_none();
    let Some(mut approval) = one(connection, id)?.filter(waits) else { return Ok(false) };
    approval.reminded_at = Some(at);
    write(connection, &approval)?;
    Ok(true)
}

pub(super) fn one(connection: &Connection, id: &ApprovalId) -> Result<Option<Approval>, Fault> {
    first(connection, TABLE, "SELECT id, approval FROM approvals WHERE id = ?1", [id.as_str()], read)
}

pub(super) fn of_report(connection: &Connection, report: &ReportId) -> Result<Vec<Approval>, Fault> {
    let sql = "SELECT id, approval FROM approvals WHERE report = ?1 ORDER BY step";
    all(connection, TABLE, sql, [report.as_str()], read)
}

pub(super) fn pending(connection: &Connection) -> Result<Vec<Approval>, Fault> {
    let mut pending = all(connection, TABLE, PENDING, [], read)?;
    pending.sort_by(|a, b| (a.asked_at, &a.id).cmp(&(b.asked_at, &b.id)));
    Ok(pending)
}

/// Numbers the approvals of a closed report, so that they can be forgotten one day.
pub(super) fn report_closed(connection: &Connection, report: &ReportId) -> Result<(), Fault> {
    let sql = "SELECT id FROM approvals WHERE report = ?1 AND past IS NULL ORDER BY step";
    for id in all(connection, TABLE, sql, [report.as_str()], |record| Ok(record.key().to_owned()))? {
        let past = number(connection, NEXT_PAST, [])?;
        change(connection, "UPDATE approvals SET past = ?2 WHERE id = ?1", params![id, past])?;
    }
    Ok(())
}
