//! Marks, ends of episodes, guards and the kill switch: what a snapshot shows.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::rows::{Record, all, change, first};
use super::{Fault, reports, steps};
use crate::store::reservation::{Reservation, Reserved, Run};
use crate::store::types::{EpisodeKey, GuardState, JournalEntry, KillSwitch, Snapshot, SnapshotQuery};

const TABLE: &str = "marks";
// `+number`: sorted after the index on the time has found them, instead of reading all in order.
pub(super) const SINCE: &str = "SELECT number || '' AS key, run FROM marks WHERE at_us >= ?1 ORDER BY +number";
pub(super) const OF_STEP: &str =
    "SELECT number || '' AS key, run FROM marks WHERE report = ?1 AND action = ?2 AND target = ?3 AND at_us < ?4";
pub(super) const WANTED: &str = "SELECT number || '' AS key, run FROM marks WHERE at_us >= ?1 \
    AND (?2 OR identity = ?3 OR action IN (SELECT value FROM json_each(?4))) ORDER BY +number";

fn target(run: &Run) -> Result<String, Fault> {
    Ok(serde_json::to_string(&run.target)?)
}

fn read(record: &Record<'_>) -> Result<Run, Fault> {
    record.json("run")
}

pub(super) fn reserve(connection: &Connection, reservation: &Reservation) -> Result<Reserved, Fault> {
    if let Some(report) = reservation.report()
        && reports::is_closed(connection, report)? == Some(true)
    {
        return Ok(Reservation::closed());
    }
    let since = reservation.since().unwrap_or(Timestamp::MIN).as_microsecond();
    let mut marks = all(connection, TABLE, SINCE, [since], read)?;
    for (run, _) in &reservation.runs {
        let key = params![run.report.as_str(), run.action.as_str(), target(run)?, since];
        marks.extend(first(connection, TABLE, OF_STEP, key, read)?);
    }
    let others = match reservation.runs.first() {
        Some((run, _)) => reports::open_before(connection, &run.report)?,
        None => None,
    };
    let crowded = others.and_then(|others| reservation.crowded(others));
    if let Some(reason) = crowded.or_else(|| reservation.refusal(&marks)) {
        return Ok(Reserved::Refused { reason });
    }
    for run in reservation.missing(&marks) {
        // The same action and target twice in one plan takes one mark.
        let sql = "INSERT INTO marks (report, action, target, identity, at_us, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                   ON CONFLICT DO NOTHING";
        let values = params![
            run.report.as_str(),
            run.action.as_str(),
            target(&run)?,
            run.identity,
            run.at.as_microsecond(),
            serde_json::to_string(&run)?,
        ];
        change(connection, sql, values)?;
    }
    Ok(Reserved::Granted)
}

pub(super) fn give_back(connection: &Connection, run: &Run) -> Result<bool, Fault> {
    let acted = |entry: &JournalEntry| run.is_of(&entry.request) && entry.state.may_have_acted();
    if reports::is_closed(connection, &run.report)? == Some(true)
        || steps::of_report(connection, &run.report)?.iter().any(acted)
    {
        return Ok(false);
    }
    let sql = "DELETE FROM marks WHERE report = ?1 AND action = ?2 AND target = ?3";
    Ok(change(connection, sql, params![run.report.as_str(), run.action.as_str(), target(run)?])? > 0)
}

pub(super) fn snapshot(connection: &Connection, query: &SnapshotQuery) -> Result<Snapshot, Fault> {
    let actions = serde_json::to_string(&query.actions)?;
    let wanted = params![query.since.as_microsecond(), query.all, query.identity, actions];
    let mut runs = all(connection, TABLE, WANTED, wanted, read)?;
    runs.retain(|run| query.wants(run));
    let guards = all(connection, "guards", "SELECT name, guard FROM guards", [], |record| {
        Ok((record.key().to_owned(), record.json::<GuardState>("guard")?))
    })?;
    Ok(Snapshot {
        kill_switch: kill_switch(connection)?,
        resolved_at: resolved_at(connection, &query.episode)?,
        runs,
        guards: guards.into_iter().collect(),
    })
}

pub(super) fn kill_switch(connection: &Connection) -> Result<KillSwitch, Fault> {
    let sql = "SELECT 'switch' AS key, switch FROM kill_switch";
    Ok(first(connection, "kill_switch", sql, [], |record| record.json("switch"))?.unwrap_or_default())
}

pub(super) fn set_kill_switch(connection: &Connection, switch: &KillSwitch) -> Result<(), Fault> {
    let sql = "INSERT INTO kill_switch (one, switch) VALUES (1, ?1) ON CONFLICT DO UPDATE SET switch = excluded.switch";
    change(connection, sql, [serde_json::to_string(switch)?]).map(drop)
}

fn resolved_at(connection: &Connection, episode: &EpisodeKey) -> Result<Option<Timestamp>, Fault> {
    let sql = "SELECT episode, resolved_at FROM episodes WHERE episode = ?1";
    first(connection, "episodes", sql, [episode.as_str()], |record| {
        record.column::<String>("resolved_at")?.parse().map_err(|error: jiff::Error| record.corrupt(error))
    })
}

pub(super) fn resolve(connection: &Connection, episode: &EpisodeKey, at: Timestamp) -> Result<(), Fault> {
    if resolved_at(connection, episode)?.is_some_and(|known| known >= at) {
        return Ok(());
    }
    let sql = "INSERT INTO episodes (episode, resolved_at) VALUES (?1, ?2) \
               ON CONFLICT (episode) DO UPDATE SET resolved_at = excluded.resolved_at";
    change(connection, sql, [episode.as_str(), &at.to_string()]).map(drop)
}

pub(super) fn set_guard(connection: &Connection, name: &str, guard: &GuardState) -> Result<(), Fault> {
    if guard.tripped_at.is_none() {
        return change(connection, "DELETE FROM guards WHERE name = ?1", [name]).map(drop);
    }
    let sql = "INSERT INTO guards (name, bad_us, guard) VALUES (?1, ?2, ?3) \
               ON CONFLICT (name) DO UPDATE SET bad_us = excluded.bad_us, guard = excluded.guard";
    change(connection, sql, params![name, guard.bad_at.as_microsecond(), serde_json::to_string(guard)?]).map(drop)
}
