//! The JSON-lines journal: what was acknowledged is there again, a torn last line is cut off and
//! reported, anything else that does not read is an error with its line.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::time::Duration;

use aiops_core::{Disposition, Plan, Response};
use aiops_remediate::{
    Acquired, Begun, EpisodeKey, JournalEntry, JsonlStore, KillSwitch, Opened, RemediationStore, ReportRecord,
    Reservation, Run, SnapshotQuery, StoreError,
};
use common::{at, event, name, request, scratch, triaged};

fn record(number: u64) -> ReportRecord {
    ReportRecord::new(triaged(event(number, "cart", &[], at(0)), &["restart_pod"]), Plan::default(), at(0))
}

#[tokio::test]
async fn everything_is_there_again() {
    let file = scratch("reads-back.jsonl");
    let episode = EpisodeKey::of(&record(1).triaged.event);
    let entry = JournalEntry::new(record(1).id, 0, request("restart_pod", "cart-1", 1).fencing_token(7), at(0));
    let run = Run::new(record(1).id, "id", name("restart_pod"), entry.request.target.clone(), at(0));
    {
        let store = JsonlStore::open(&file).unwrap();
        assert_eq!(store.torn(), None);
        store.open_report(&record(1)).await.unwrap();
        store.open_report(&record(2)).await.unwrap();
        let response = Response::new(record(2).triaged.incident_id, Disposition::NoAction, Plan::default(), at(1));
        store.close_report(&record(2).id, &response).await.unwrap();
        store.reserve(&Reservation::new(vec![(run.clone(), None)], None)).await.unwrap();
        store.begin(&entry).await.unwrap();
        store.set_kill_switch(KillSwitch::on("ops", "night", at(2))).await.unwrap();
        store.resolve(&episode, at(3)).await.unwrap();
        store.acquire("key", "dead process", at(0), Duration::from_secs(600)).await.unwrap();
    }
    let store = JsonlStore::open(&file).unwrap();
    assert_eq!(store.open_reports().await.unwrap(), [record(1)]);
    assert_eq!(store.open_report(&record(2)).await.unwrap(), Opened::Known(Some(Disposition::NoAction)));
    assert_eq!(store.begin(&entry).await.unwrap(), Begun::Exists { at: at(0), end: None });
    let snapshot = store.snapshot(&SnapshotQuery::new(episode, "id", vec![], at(0))).await.unwrap();
    assert_eq!((snapshot.kill_switch.on, snapshot.resolved_at), (true, Some(at(3))));
    assert_eq!(snapshot.runs, [run]);
    let Acquired::Granted(lease) = store.acquire("key", "new", at(1), Duration::from_secs(600)).await.unwrap() else {
        panic!("a dead process holds nothing")
    };
    assert!(lease.token > 7, "tokens grow over restarts");
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_at_every_byte() {
    let file = scratch("torn.jsonl");
    let store = JsonlStore::open(&file).unwrap();
    store.set_kill_switch(KillSwitch::on("ops", "first", at(1))).await.unwrap();
    let whole = fs::read(&file).unwrap();
    store.set_kill_switch(KillSwitch::off("ops", "second", at(2))).await.unwrap();
    drop(store);
    let both = fs::read(&file).unwrap();
    for cut in whole.len()..both.len() {
        fs::write(&file, &both[..cut]).unwrap();
        let store = JsonlStore::open(&file).unwrap();
        let torn = store.torn().map(|torn| (torn.line, torn.bytes));
        assert_eq!(torn, (cut > whole.len()).then(|| (3, cut - whole.len())));
        assert_eq!(store.kill_switch().await.unwrap().reason, "first");
        store.set_kill_switch(KillSwitch::off("ops", "third", at(3))).await.unwrap();
        drop(store);
        assert_eq!(JsonlStore::open(&file).unwrap().kill_switch().await.unwrap().reason, "third");
    }
}

#[test]
fn a_torn_header_starts_anew() {
    let file = scratch("torn-header.jsonl");
    fs::write(&file, "{\"aiops_jou").unwrap();
    let store = JsonlStore::open(&file).unwrap();
    assert_eq!(store.torn().map(|torn| torn.line), Some(1));
    drop(store);
    assert_eq!(JsonlStore::open(&file).unwrap().torn(), None);
}

#[tokio::test]
async fn a_broken_line_before_the_last_is_an_error_with_its_number() {
    let file = scratch("broken.jsonl");
    let store = JsonlStore::open(&file).unwrap();
    for reason in ["a", "b", "c"] {
        store.set_kill_switch(KillSwitch::on("ops", reason, at(1))).await.unwrap();
    }
    drop(store);
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "{\"record\":\"kill\",\"switch\":";
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let error = JsonlStore::open(&file).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { line: 3, .. }), "{error}");
    assert!(
        error.to_string().ends_with("broken.jsonl:3: the journal does not read; repair the line or move the file away")
    );
}

#[test]
fn a_file_of_a_newer_version_or_of_something_else_is_refused() {
    let file = scratch("newer.jsonl");
    fs::write(&file, "{\"aiops_journal\":5}\n").unwrap();
    let error = JsonlStore::open(&file).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "it has version 5, this program reads versions 1 to 4");
    fs::write(&file, "{\"record\":\"kill\"}\n").unwrap();
    assert!(matches!(JsonlStore::open(&file), Err(StoreError::Corrupt { line: 1, .. })));
}

#[test]
fn a_second_holder_of_the_file_is_refused() {
    let file = scratch("second.jsonl");
    let _first = JsonlStore::open(&file).unwrap();
    let error = JsonlStore::open(&file).unwrap_err();
    assert!(error.is_retryable());
    assert!(std::error::Error::source(&error).unwrap().to_string().starts_with("another process has "));
}
