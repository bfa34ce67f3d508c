//! Reports.

use aiops_core::Response;
use rusqlite::{Connection, params};

use super::rows::{Record, all, change, first, number};
use super::{Fault, approvals, steps};
use crate::store::StoreError;
use crate::store::book::{OPEN_MAX, refused};
use crate::store::types::{Opened, ReportId, ReportRecord, is_news};

const TABLE: &str = "reports";
pub(super) const NEXT_CLOSED: &str = "SELECT coalesce(max(closed), 0) + 1 FROM reports WHERE closed IS NOT NULL";
pub(super) const OPEN_BEFORE: &str = "SELECT count(*) FROM reports WHERE closed IS NULL AND number < ?1";
pub(super) const OPEN: &str = "SELECT id, record FROM reports WHERE closed IS NULL ORDER BY number";
pub(super) const UNTOLD: &str = "SELECT reports.id, record, response FROM untold \
    JOIN reports ON reports.id = untold.report ORDER BY untold.number";

fn next_closed(connection: &Connection) -> Result<i64, Fault> {
    number(connection, NEXT_CLOSED, [])
}

/// Whether a report is closed; none where it was never opened.
pub(super) fn is_closed(connection: &Connection, id: &ReportId) -> Result<Option<bool>, Fault> {
    let sql = "SELECT id, closed IS NOT NULL AS is_closed FROM reports WHERE id = ?1";
    first(connection, TABLE, sql, [id.as_str()], |record| record.column("is_closed"))
}

/// How many were opened before this one and are open, if it is.
pub(super) fn open_before(connection: &Connection, id: &ReportId) -> Result<Option<usize>, Fault> {
    let sql = "SELECT id, number FROM reports WHERE id = ?1 AND closed IS NULL";
    let mine = first(connection, TABLE, sql, [id.as_str()], |record| record.column::<i64>("number"))?;
    let Some(mine) = mine else { return Ok(None) };
    Ok(Some(usize::try_from(number(connection, OPEN_BEFORE, [mine])?).unwrap_or(usize::MAX)))
}

pub(super) fn open(connection: &Connection, record: &ReportRecord) -> Result<Opened, Fault> {
    let sql = "SELECT id, response FROM reports WHERE id = ?1";
    let known = first(connection, TABLE, sql, [record.id.as_str()], |known| {
        let closed = known.column::<Option<String>>("response")?.is_some();
        Ok(if closed { Some(known.json::<Response>("response")?.disposition) } else { None })
    })?;
    if let Some(disposition) = known {
        return Ok(Opened::Known(disposition));
    }
    let open = number(connection, "SELECT count(*) FROM reports WHERE closed IS NULL", [])?;
    if record.response.is_none() && usize::try_from(open).unwrap_or(usize::MAX) >= OPEN_MAX {
        let source = format!("{OPEN_MAX} reports are open; call recover").into();
        return Err(StoreError::Unavailable { doing: "open a report", source }.into());
    }
    let response = record.response.as_ref().map(serde_json::to_string).transpose()?;
    let closed = response.is_some().then(|| next_closed(connection)).transpose()?;
    let sql = "INSERT INTO reports (id, record, response, closed) VALUES (?1, ?2, ?3, ?4)";
    change(connection, sql, params![record.id.as_str(), serde_json::to_string(record)?, response, closed])?;
    if record.response.as_ref().is_some_and(is_news) {
        to_tell(connection, &record.id)?;
    }
    Ok(Opened::New)
}

pub(super) fn close(connection: &Connection, id: &ReportId, response: &Response) -> Result<bool, Fault> {
    match is_closed(connection, id)? {
        None => Ok(refused("close report", id, "it was never opened")?),
        Some(true) => Ok(false),
        Some(false) => {
            let sql = "UPDATE reports SET response = ?2, closed = ?3 WHERE id = ?1";
            change(connection, sql, params![id.as_str(), serde_json::to_string(response)?, next_closed(connection)?])?;
            steps::report_closed(connection, id)?;
            approvals::report_closed(connection, id)?;
            if is_news(response) {
                to_tell(connection, id)?;
            }
            Ok(true)
        }
    }
}

pub(super) fn open_ones(connection: &Connection) -> Result<Vec<ReportRecord>, Fault> {
    all(connection, TABLE, OPEN, [], read)
}

pub(super) fn open_one(connection: &Connection, id: &ReportId) -> Result<Option<ReportRecord>, Fault> {
    let sql = "SELECT id, record FROM reports WHERE id = ?1 AND closed IS NULL";
    first(connection, TABLE, sql, [id.as_str()], read)
}

fn to_tell(connection: &Connection, id: &ReportId) -> Result<(), Fault> {
    change(connection, "INSERT INTO untold (report) VALUES (?1)", [id.as_str()]).map(drop)
}

pub(super) fn untold(connection: &Connection) -> Result<Vec<ReportRecord>, Fault> {
    all(connection, TABLE, UNTOLD, [], |found| Ok(read(found)?.response(Some(found.json("response")?))))
}

pub(super) fn note_told(connection: &Connection, id: &ReportId) -> Result<(), Fault> {
    change(connection, "DELETE FROM untold WHERE report = ?1", [id.as_str()]).map(drop)
}

fn read(record: &Record<'_>) -> Result<ReportRecord, Fault> {
    record.json("record")
}
