//! What the suite cannot see from outside: bounds, a full disk, the older versions.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use aiops_core::{Disposition, Plan, Precondition, Response, testing::samples};
use rusqlite::Connection;

use super::file::MIGRATIONS;
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_746_432_000 + seconds).unwrap()
}

/// A fresh path.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("aiops-sqlite-{}-{name}.db", std::process::id()));
    remove(&path);
    path
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let _ = std::fs::remove_file(file);
    }
}

fn record(number: u64) -> ReportRecord {
    let event = samples::event("cart", &number.to_string(), at(0));
    ReportRecord::new(samples::triaged(event, &["restart_pod"]), Plan::default(), at(0))
}

fn response(record: &ReportRecord) -> Response {
    Response::new(record.triaged.incident_id.clone(), Disposition::Executed, Plan::default(), at(1))
}

/// A store whose file is created in this version, and closed.
fn created(name: &str) -> PathBuf {
    let path = scratch(name);
    drop(SqliteStore::open(&path).unwrap());
    path
}

#[tokio::test]
async fn what_is_beyond_the_bounds_is_forgotten_and_the_newest_stays() {
    let path = created("bounds");
    // As if 100,000 reports had been closed, and 1,000 approvals and 20,000 marks and ends been noted.
    let connection = Connection::open(&path).unwrap();
    let fill = [
        ("reports (id, record, response, closed) SELECT n, 'r', 'r', n", 100_000),
        (
            "steps (key, report, step, request, state, ended, token, at, at_us, past) \
          SELECT n, n, 0, 'r', 's', 1, 1, 'a', 0, n",
            100_000,
        ),
        ("approvals (id, report, step, place, waits, approval, past) SELECT n, n, 0, n, 0, 'a', n", 1_000),
        ("marks (report, action, target, identity, at_us, run) SELECT n, 'a', 't', 'i', 0, 'r'", 20_000),
        ("episodes (episode, resolved_at) SELECT n, 'a'", 20_000),
        ("guards (name, bad_us, guard) SELECT n, n, 'g'", 10_000),
    ];
    for (insert, count) in fill {
        let numbers =
            format!("WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})");
        let (table, rest) = insert.split_once(" SELECT").unwrap();
        connection.execute_batch(&format!("INSERT INTO {table} {numbers} SELECT{rest} FROM numbers")).unwrap();
    }
    drop(connection);

    let store = SqliteStore::open(&path).unwrap();
    for number in 0..300 {
        let record = record(number);
        store.open_report(&record.clone().response(Some(response(&record)))).await.unwrap();
    }
    let old = store.open_report(&record(0)).await.unwrap();
    assert_eq!(old, Opened::Known(Some(Disposition::Executed)), "the newest stays");
    drop(store);
    let connection = Connection::open(&path).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let reports = count("SELECT count(*) FROM reports");
    assert!((100_000..100_256).contains(&reports), "{reports}");
    assert_eq!(count("SELECT min(closed) FROM reports WHERE closed IS NOT NULL"), 100_300 - reports + 1);
    assert_eq!(count("SELECT count(*) FROM steps"), 100_000);
    assert_eq!(count("SELECT count(*) FROM marks"), 20_000);
    drop(connection);
    remove(&path);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_what_was_there() {
    let path = created("full");
    let store = SqliteStore::open(&path).unwrap();
    store.open_report(&record(0)).await.unwrap();
    let limit = |pages: i64| {
        let queue = Arc::clone(&store.queue);
        async move {
            let set = move |file: &Connection| Ok(file.pragma_update(None, "max_page_count", pages)?);
            queue.call("limit the file", set).await.unwrap();
        }
    };
    limit(1).await; // SQLite takes the pages that are there for the least.
    let mut opened = Vec::new();
    let error = loop {
        let number = u64::try_from(opened.len() + 1).unwrap();
        match store.open_report(&record(number)).await {
            Ok(_) => opened.push(record(number)),
            Err(error) => break error,
        }
    };
    let full = matches!(error, StoreError::Unavailable { doing: "open a report", .. });
    assert!(full && aiops_core::error_chain(&error).contains("full"), "{error:?}");
    assert_eq!(store.open_reports().await.unwrap().len(), opened.len() + 1);
    // Those that waited together: what does not fit is refused, the rest is on disk.
    let calls = (100..140).map(|number| {
        let queue = Arc::clone(&store.queue);
        async move { queue.call("open a report", move |file| reports::open(file, &record(number))).await.is_ok() }
    });
    let mut race: tokio::task::JoinSet<bool> = calls.collect();
    let mut kept = opened.len() + 1;
    while let Some(done) = race.join_next().await {
        kept += usize::from(done.unwrap());
    }
    assert_eq!(store.open_reports().await.unwrap().len(), kept);
    limit(1_000_000).await;
    assert_eq!(store.open_report(&record(99)).await.unwrap(), Opened::New, "there is room again");
    drop(store);
    assert_eq!(SqliteStore::open(&path).unwrap().open_reports().await.unwrap().len(), kept + 1);
    remove(&path);
}

#[tokio::test]
async fn a_panic_in_a_call_loses_its_transaction_and_no_more() {
    let path = created("panic");
    let store = SqliteStore::open(&path).unwrap();
    let record = record(1);
    let work = {
        let record = record.clone();
        move |file: &Connection| -> Result<(), Fault> {
            reports::open(file, &record)?;
            std::panic::resume_unwind(Box::new("a bug"))
        }
    };
    let error = store.queue.call("open a report", work).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(store.open_report(&record).await.unwrap(), Opened::New);
    drop(store);
    remove(&path);
}

#[tokio::test]
async fn each_older_version_is_brought_to_this_one() {
    let this = created("this");
    let schema = |path: &Path| {
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect::<Vec<(String, Option<String>)>>()
    };
    for version in 0..MIGRATIONS.len() {
        let path = scratch(&format!("version-{version}"));
        let connection = Connection::open(&path).unwrap();
        for migration in &MIGRATIONS[..version] {
            connection.execute_batch(migration).unwrap();
        }
        if version > 0 {
            connection.pragma_update(None, "application_id", 0x6169_6f70).unwrap();
        }
        connection.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        drop(connection);
        let store = SqliteStore::open(&path).unwrap();
        assert!(store.pending_approvals().await.unwrap().is_empty());
        drop(store);
        assert_eq!(schema(&path), schema(&this), "from version {version}");
        remove(&path);
    }
    remove(&this);
}

/// Each query runs on an index: none reads a table that grows from end to end.
#[tokio::test]
async fn a_call_takes_as_long_with_a_full_store() {
    let path = created("plans");
    let connection = Connection::open(&path).unwrap();
    let queries = [
        reports::OPEN,
        reports::OPEN_BEFORE,
        reports::NEXT_CLOSED,
        reports::UNTOLD,
        steps::UNFINISHED,
        steps::OF_KEY,
        steps::OF_REPORT,
        steps::ENDED,
        steps::NEXT_PAST,
        approvals::PENDING,
        approvals::NEXT_PAST,
        marks::SINCE,
        marks::OF_STEP,
        marks::WANTED,
    ];
    for query in queries {
        let plan: Vec<String> = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
            .unwrap()
            .query_map(rusqlite::params_from_iter((0..query.matches('?').count()).map(|_| 0)), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let scans = |line: &String| {
            line.starts_with("SCAN") && !line.contains("INDEX") && !line.contains("json_each") && line != "SCAN untold"
        };
        assert!(!plan.iter().any(scans), "{query}: {plan:?}");
    }
    drop(connection);
    remove(&path);
}

#[tokio::test]
async fn a_step_of_a_record_that_does_not_read_is_named() {
    let path = created("corrupt");
    let store = SqliteStore::open(&path).unwrap();
    let record = record(1);
    store.open_report(&record).await.unwrap();
    let request = aiops_core::ActionRequest::new(
        aiops_core::ActionName::new("restart_pod").unwrap(),
        aiops_core::Target::new([("pod", "cart-1")]),
        record.triaged.event.service.clone(),
        record.triaged.event.fingerprint.clone(),
        record.triaged.incident_id.clone(),
        at(60),
    );
    let entry = JournalEntry::new(record.id.clone(), 0, request, at(0));
    store.begin(&entry).await.unwrap();
    let executing = JournalState::Executing { precondition: Precondition::default() };
    drop(store);

    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("UPDATE steps SET state = '{\"state\":\"flying\"}'").unwrap();
    connection.execute_batch("UPDATE reports SET record = '{}'").unwrap();
    drop(connection);
    let store = SqliteStore::open(&path).unwrap();
    let key = entry.key().to_string();
    for error in [store.unfinished().await.unwrap_err(), store.begin(&entry).await.unwrap_err()] {
        let named = matches!(&error, StoreError::CorruptRecord { table: "steps", key: found, .. } if *found == key);
        assert!(named && !error.is_retryable(), "{error:?}");
        assert!(aiops_core::error_chain(&error).contains("flying"), "{error:?}");
    }
    let error = store.open_reports().await.unwrap_err();
    let id = record.id.to_string();
    assert!(matches!(&error, StoreError::CorruptRecord { table: "reports", key, .. } if *key == id), "{error:?}");
    assert_eq!(store.open_report(&record).await.unwrap(), Opened::Known(None), "it is known none the less");
    // Whoever looks at the step knows more than the record: it may go on.
    store.advance(&entry.key(), 0, &executing, at(1)).await.unwrap();
    assert_eq!(store.unfinished().await.unwrap().len(), 1);
    drop(store);
    remove(&path);
}
