//! The journal of steps.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::rows::{Record, all, change, first, number};
use super::{Fault, reports};
use crate::store::StoreError;
use crate::store::book::refused;
use crate::store::types::{Begun, JournalEntry, JournalState, ReportId, StepKey};

const TABLE: &str = "steps";
pub(super) const NEXT_PAST: &str = "SELECT coalesce(max(past), 0) + 1 FROM steps WHERE past IS NOT NULL";
pub(super) const ENDED: &str = "SELECT key FROM steps WHERE report = ?1 AND ended = 1 AND past IS NULL ORDER BY step";
pub(super) const UNFINISHED: &str =
    "SELECT key, report, step, request, state, token, at FROM steps WHERE ended = 0 ORDER BY at_us";
pub(super) const OF_KEY: &str =
    "SELECT key, report, step, request, state, token, at FROM steps WHERE key = ?1 AND past IS NULL";
pub(super) const OF_REPORT: &str =
    "SELECT key, report, step, request, state, token, at FROM steps WHERE report = ?1 ORDER BY step, at_us";

/// Writes down that tokens up to this one may have been granted.
pub(super) fn write_token(connection: &Connection, token: u64) -> Result<(), Fault> {
    change(connection, "UPDATE tokens SET written = ?1 WHERE written < ?1", [token]).map(drop)
}

pub(super) fn begin(connection: &Connection, entry: &JournalEntry) -> Result<Begun, Fault> {
    let key = entry.key();
    let sql = "SELECT key, at, state FROM steps WHERE key = ?1";
    let known = first(connection, TABLE, sql, [key.as_str()], |known| {
        let end = match known.json("state")? {
            JournalState::Ended(end) => Some(end),
            _ => None,
        };
        Ok(Begun::Exists { at: at(known)?, end })
    })?;
    if let Some(known) = known {
        return Ok(known);
    }
    if reports::is_closed(connection, &entry.report)? == Some(true) {
        return Ok(refused("begin step", key, "its report is closed")?);
    }
    write_token(connection, entry.token)?;
    let sql = "INSERT INTO steps (key, report, step, request, state, ended, token, at, at_us) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let values = params![
        key.as_str(),
        entry.report.as_str(),
        entry.index,
        serde_json::to_string(&entry.request)?,
        serde_json::to_string(&entry.state)?,
        matches!(entry.state, JournalState::Ended(_)),
        entry.token,
        entry.at.to_string(),
        entry.at.as_microsecond(),
    ];
    change(connection, sql, values)?;
    Ok(Begun::New)
}

pub(super) fn advance(connection: &Connection, key: &StepKey, token: u64, state: &JournalState) -> Result<(), Fault> {
    let sql = "SELECT key, report, token, ended FROM steps WHERE key = ?1";
    let known = first(connection, TABLE, sql, [key.as_str()], |known| {
        let report = ReportId(known.column("report")?);
        Ok((report, known.column::<u64>("token")?, known.column::<bool>("ended")?))
    })?;
    let Some((report, newest, ended)) = known else {
        return Ok(refused("advance step", key, "it never began")?);
    };
    if token < newest {
        return Err(StoreError::Fenced { key: key.to_string(), token, newest }.into());
    }
    if ended {
        return Ok(refused("advance step", key, "it has ended")?);
    }
    write_token(connection, token)?;
    let ends = matches!(state, JournalState::Ended(_));
    let sql = "UPDATE steps SET state = ?2, token = ?3, ended = ?4 WHERE key = ?1";
    change(connection, sql, params![key.as_str(), serde_json::to_string(state)?, token, ends])?;
    if ends && reports::is_closed(connection, &report)? == Some(true) {
        report_closed(connection, &report)?;
    }
    Ok(())
}

pub(super) fn take_over(connection: &Connection, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, Fault> {
    let Some(mut entry) = first(connection, TABLE, OF_KEY, [key.as_str()], read)? else { return Ok(None) };
    if token < entry.token {
        return Err(StoreError::Fenced { key: key.to_string(), token, newest: entry.token }.into());
    }
    if token > entry.token {
        write_token(connection, token)?;
        change(connection, "UPDATE steps SET token = ?2 WHERE key = ?1", params![key.as_str(), token])?;
        entry.token = token;
    }
    Ok(Some(entry))
}

/// Numbers the ended steps of a closed report, so that they can be forgotten one day.
pub(super) fn report_closed(connection: &Connection, report: &ReportId) -> Result<(), Fault> {
    for key in all(connection, TABLE, ENDED, [report.as_str()], |record| Ok(record.key().to_owned()))? {
        let past = number(connection, NEXT_PAST, [])?;
        change(connection, "UPDATE steps SET past = ?2 WHERE key = ?1", params![key, past])?;
    }
    Ok(())
}

pub(super) fn unfinished(connection: &Connection) -> Result<Vec<JournalEntry>, Fault> {
    let mut entries = all(connection, TABLE, UNFINISHED, [], read)?;
    entries.sort_by(|a, b| (a.at, &a.report, a.index).cmp(&(b.at, &b.report, b.index)));
    Ok(entries)
}

pub(super) fn of_report(connection: &Connection, report: &ReportId) -> Result<Vec<JournalEntry>, Fault> {
    all(connection, TABLE, OF_REPORT, [report.as_str()], read)
}

fn at(record: &Record<'_>) -> Result<Timestamp, Fault> {
    record.column::<String>("at")?.parse().map_err(|error: jiff::Error| record.corrupt(error))
}

fn read(record: &Record<'_>) -> Result<JournalEntry, Fault> {
    let report = ReportId(record.column("report")?);
    let mut entry = JournalEntry::new(report, record.column("step")?, record.json("request")?, at(record)?);
    (entry.state, entry.token) = (record.json("state")?, record.column("token")?);
    Ok(entry)
}
