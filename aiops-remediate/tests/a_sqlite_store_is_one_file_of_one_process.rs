//! The SQLite store: one process, a file of this program and no newer one, nothing half after a cut.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aiops_core::Plan;
use aiops_remediate::{KillSwitch, Opened, RemediationStore, ReportRecord, SqliteStore, StoreError};
use common::{at, event, scratch_database, triaged};

fn record(number: u64) -> ReportRecord {
    ReportRecord::new(triaged(event(number, "cart", &[], at(0)), &["restart_pod"]), Plan::default(), at(0))
}

fn wal(path: &Path) -> std::path::PathBuf {
    path.with_extension("db-wal")
}

#[tokio::test]
async fn a_second_opening_is_refused_and_the_file_is_free_after_the_first() {
    let path = scratch_database("second.db");
    let first = SqliteStore::open(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    let chain = aiops_core::error_chain(&error);
    assert_eq!(
        chain,
        format!("remediation store could not open the store: another process has {} open", path.display())
    );
    assert!(error.is_retryable());
    first.set_kill_switch(KillSwitch::on("ops", "night", at(0))).await.unwrap();
    drop(first);
    assert!(SqliteStore::open(&path).unwrap().kill_switch().await.unwrap().on);
}

#[test]
fn a_newer_file_or_one_of_another_program_is_refused_and_left_as_it_is() {
    let path = scratch_database("newer.db");
    drop(SqliteStore::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    drop(connection);
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} has version 9, this program reads versions up to 3; run the newer program", path.display())
    );
    assert!(matches!(error, StoreError::Version { found: 9, newest: 3, .. }) && !error.is_retryable());
    let connection = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap(), 9);
    drop(connection);

    let path = scratch_database("foreign.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    drop(connection);
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(aiops_core::error_chain(&error).ends_with("it is a database of another program"), "{error}");

    let path = scratch_database("text.db");
    fs::write(&path, "{\"aiops_journal\":2}\n".repeat(100)).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    let missing = path.with_file_name("no-such-folder").join("store.db");
    assert!(matches!(SqliteStore::open(missing).unwrap_err(), StoreError::Unavailable { .. }));
}

/// A file as version 1 wrote it, with a record of each kind that it knew.
#[tokio::test]
async fn a_file_of_version_1_is_read() {
    let path = scratch_database("version-1.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(include_str!("data/sqlite_store_v1.sql")).unwrap();
    drop(connection);
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.kill_switch().await.unwrap().on);
    let open: Vec<u64> = store.open_reports().await.unwrap().iter().map(|open| u64::from(*open == record(1))).collect();
    assert_eq!(open, [1], "one report is open, as it was written");
    assert!(matches!(store.open_report(&record(2)).await.unwrap(), Opened::Known(Some(_))));
    let steps = store.unfinished().await.unwrap();
    assert_eq!((steps.len(), steps[0].token), (1, 7));
    assert!(store.pending_approvals().await.unwrap().is_empty());
}

/// A crash leaves the write-ahead log at any length: what was acknowledged before the cut is there, what
/// was cut is not, and nothing is half.
#[tokio::test]
async fn a_log_that_is_cut_anywhere_reads_back_to_whole_calls() {
    let path = scratch_database("cut.db");
    let store = SqliteStore::open(&path).unwrap();
    let mut lengths = Vec::new();
    for number in 0..20 {
        store.open_report(&record(number)).await.unwrap();
        lengths.push(fs::metadata(wal(&path)).unwrap().len());
    }
    let (main, log) = (fs::read(&path).unwrap(), fs::read(wal(&path)).unwrap());
    drop(store);
    assert!(lengths.is_sorted() && lengths[0] > 0, "the log was not written: {lengths:?}");
    let cut = scratch_database("cut-copy.db");
    let mut length = usize::try_from(lengths[0]).unwrap();
    while length <= log.len() {
        fs::write(&cut, &main).unwrap();
        fs::write(wal(&cut), &log[..length]).unwrap();
        let store = SqliteStore::open(&cut).unwrap();
        let whole = lengths.iter().filter(|whole| **whole <= u64::try_from(length).unwrap()).count();
        let found = store.open_reports().await.unwrap();
        let wanted: Vec<ReportRecord> = (0..u64::try_from(whole).unwrap()).map(record).collect();
        assert_eq!(found, wanted, "cut at {length} of {}", log.len());
        drop(store);
        length += 997;
    }
}

#[tokio::test]
async fn opening_takes_milliseconds_with_a_hundred_thousand_reports() {
    let path = scratch_database("large.db");
    drop(SqliteStore::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    let fill = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)
        INSERT INTO reports (id, record, response, closed) SELECT n, zeroblob(200) || '', 'r', n FROM numbers";
    connection.execute_batch(fill).unwrap();
    drop(connection);
    let started = Instant::now();
    let store = SqliteStore::open(&path).unwrap();
    let took = started.elapsed();
    println!("opened a store of 100,000 reports in {took:?}");
    // Ten times what an idle machine takes.
    assert!(took < Duration::from_millis(100), "{took:?}");
    drop(store);
    common::remove_database(&path);
}
