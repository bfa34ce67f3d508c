//! Each store: keys begin once, tokens grow and fence, leases end, marks are taken all or none.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::{Disposition, Outcome, Plan, Precondition, Response};
use aiops_remediate::{
    Acquired, Begun, EpisodeKey, JournalEntry, JournalState, JsonlStore, KillSwitch, Lease, MemoryStore, Opened,
    RemediationStore, ReportRecord, Reservation, Reserved, Run, SnapshotQuery, StepEnd, StepKey, StoreError,
};
use common::{at, event, name, request, scratch, triaged};

const TTL: Duration = Duration::from_secs(600);

fn stores(test: &str) -> Vec<Arc<dyn RemediationStore>> {
    let file = scratch(&format!("contract-{test}.jsonl"));
    vec![Arc::new(MemoryStore::default()), Arc::new(JsonlStore::open(file).unwrap())]
}

fn record(number: u64) -> ReportRecord {
    ReportRecord::new(triaged(event(number, "cart", &[], at(0)), &["restart_pod"]), Plan::default(), at(0))
}

fn response(record: &ReportRecord, disposition: Disposition) -> Response {
    Response::new(record.triaged.incident_id.clone(), disposition, Plan::default(), at(1))
}

async fn lease(store: &dyn RemediationStore, key: &str, second: i64) -> Lease {
    match store.acquire(key, "one", at(second), TTL).await.unwrap() {
        Acquired::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_report_opens_once_and_its_first_answer_stays() {
    for store in stores("report") {
        let first = record(1);
        assert_eq!(store.open_report(&first).await.unwrap(), Opened::New);
        assert_eq!(store.open_report(&first).await.unwrap(), Opened::Known(None));
        store.open_report(&record(2)).await.unwrap();
        assert_eq!(store.open_reports().await.unwrap().len(), 2);
        store.close_report(&first.id, &response(&first, Disposition::Executed)).await.unwrap();
        store.close_report(&first.id, &response(&first, Disposition::NoAction)).await.unwrap();
        assert_eq!(store.open_report(&first).await.unwrap(), Opened::Known(Some(Disposition::Executed)));
        assert_eq!(store.open_reports().await.unwrap(), [record(2)]);
        let answered = record(3).response(Some(response(&record(3), Disposition::AwaitingApproval)));
        assert_eq!(store.open_report(&answered).await.unwrap(), Opened::New);
        assert_eq!(store.open_report(&answered).await.unwrap(), Opened::Known(Some(Disposition::AwaitingApproval)));
        let never = record(4);
        let error = store.close_report(&never.id, &response(&never, Disposition::Executed)).await.unwrap_err();
        assert!(error.to_string().ends_with("it was never opened"), "{error}");
    }
}

#[tokio::test]
async fn a_step_begins_once_also_after_it_ended_and_its_report_closed() {
    for store in stores("step") {
        let report = record(1);
        store.open_report(&report).await.unwrap();
        let entry = JournalEntry::new(report.id.clone(), 0, request("restart_pod", "cart-1", 1), at(0));
        assert_eq!(store.begin(&entry).await.unwrap(), Begun::New);
        assert_eq!(store.begin(&entry).await.unwrap(), Begun::Exists { at: at(0), end: None });
        assert_eq!(store.unfinished().await.unwrap(), std::slice::from_ref(&entry));
        let executing = JournalState::Executing { precondition: Precondition::new([("uid", "u1")]) };
        store.advance(&entry.key(), 0, &executing, at(1)).await.unwrap();
        assert_eq!(store.steps_of(&report.id).await.unwrap()[0].state, executing);
        let end = StepEnd::Executed { outcome: Outcome::Helped, proof: "u2".to_owned() };
        store.advance(&entry.key(), 0, &JournalState::Ended(end.clone()), at(2)).await.unwrap();
        let exists = Begun::Exists { at: at(0), end: Some(end) };
        assert_eq!(store.begin(&entry).await.unwrap(), exists);
        assert!(store.unfinished().await.unwrap().is_empty());
        store.close_report(&report.id, &response(&report, Disposition::Executed)).await.unwrap();
        assert_eq!(store.begin(&entry).await.unwrap(), exists);
        let again = store.advance(&entry.key(), 9, &executing, at(3)).await.unwrap_err();
        assert!(matches!(again, StoreError::Refused { .. }), "{again}");
    }
}

#[tokio::test]
async fn a_step_that_ends_after_its_report_closed_is_finished_then() {
    for store in stores("late") {
        let report = record(1);
        store.open_report(&report).await.unwrap();
        let entry = JournalEntry::new(report.id.clone(), 0, request("restart_pod", "cart-1", 1), at(0));
        store.begin(&entry).await.unwrap();
        store.close_report(&report.id, &response(&report, Disposition::Executed)).await.unwrap();
        assert_eq!(store.unfinished().await.unwrap().len(), 1);
        let end = JournalState::Ended(StepEnd::NotRun { reason: "gone".to_owned() });
        store.advance(&entry.key(), 1, &end, at(2)).await.unwrap();
        assert!(store.unfinished().await.unwrap().is_empty());
        assert!(matches!(store.begin(&entry).await.unwrap(), Begun::Exists { end: Some(_), .. }));
    }
}

#[tokio::test]
async fn an_older_token_is_fenced() {
    for store in stores("fence") {
        let (old, new) = (lease(&*store, "a", 0).await, lease(&*store, "b", 0).await);
        assert!(old.token < new.token);
        let request = request("restart_pod", "cart-1", 1).fencing_token(old.token);
        let entry = JournalEntry::new(record(1).id, 0, request, at(0));
        store.begin(&entry).await.unwrap();
        let verifying =
            JournalState::Verifying { precondition: Precondition::default(), proof: "p".to_owned(), verify_at: at(5) };
        store.advance(&entry.key(), new.token, &JournalState::Started, at(1)).await.unwrap();
        let error = store.advance(&entry.key(), old.token, &verifying, at(2)).await.unwrap_err();
        assert!(matches!(error, StoreError::Fenced { .. }) && !error.is_retryable(), "{error}");
        assert_eq!(store.unfinished().await.unwrap()[0].state, JournalState::Started);
        let unknown = StepKey::of(&common::request("restart_pod", "other", 1));
        assert!(store.advance(&unknown, 9, &verifying, at(2)).await.is_err());
    }
}

#[tokio::test]
async fn a_lock_has_one_holder_ends_by_itself_and_only_its_holder_releases_it() {
    for store in stores("lock") {
        let first = lease(&*store, "key", 0).await;
        let held = store.acquire("key", "two", at(599), TTL).await.unwrap();
        assert_eq!(held, Acquired::Held { holder: "one".to_owned(), until: at(600) });
        let second = lease(&*store, "key", 600).await;
        assert!(second.token > first.token);
        assert!(!store.release(&first).await.unwrap(), "the first holder's time was over");
        assert!(matches!(store.acquire("key", "two", at(601), TTL).await.unwrap(), Acquired::Held { .. }));
        assert!(store.release(&second).await.unwrap());
        assert!(matches!(store.acquire("key", "two", at(602), TTL).await.unwrap(), Acquired::Granted(_)));
    }
}

#[tokio::test]
async fn cool_down_and_loop_guard_are_reserved_all_or_none() {
    for store in stores("marks") {
        let run = |number: u64, pod: &str, second: i64| {
            let request = request("restart_pod", pod, 1);
            Run::new(record(number).id, "metric_anomaly|cart|A", name("restart_pod"), request.target, at(second))
        };
        let cooldown = Some(Duration::from_secs(300));
        let ask = |runs: Vec<Run>| {
            Reservation::new(
                runs.into_iter().map(|run| (run, cooldown)).collect(),
                Some((2, Duration::from_secs(3600))),
            )
        };
        assert_eq!(store.reserve(&ask(vec![run(1, "cart-1", 0)])).await.unwrap(), Reserved::Granted);
        let refused = store.reserve(&ask(vec![run(2, "cart-2", 299), run(2, "cart-1", 299)])).await.unwrap();
        let Reserved::Refused { reason } = refused else { panic!("granted within the cool-down") };
        assert!(reason.starts_with("cool-down: restart_pod on namespace=shop,pod=cart-1 was started at"), "{reason}");
        let query =
            SnapshotQuery::new(EpisodeKey::of(&event(1, "cart", &[], at(0))), "", vec!["restart_pod".into()], at(0));
        assert_eq!(store.snapshot(&query).await.unwrap().runs.len(), 1, "the refused plan left no mark");
        assert_eq!(store.reserve(&ask(vec![run(2, "cart-1", 300)])).await.unwrap(), Reserved::Granted);
        let refused = store.reserve(&ask(vec![run(3, "cart-3", 1000)])).await.unwrap();
        let loops = "loop guard: metric_anomaly|cart|A was acted on 2 times in 1h, at most 2";
        assert_eq!(refused, Reserved::Refused { reason: loops.to_owned() });
        store.give_back(&record(2).id, &run(2, "cart-1", 300)).await.unwrap();
        assert_eq!(store.reserve(&ask(vec![run(3, "cart-3", 1000)])).await.unwrap(), Reserved::Granted);
    }
}

#[tokio::test]
async fn kill_switch_and_ends_of_episodes_are_in_the_snapshot() {
    for store in stores("kill") {
        let episode = EpisodeKey::of(&event(1, "cart", &[], at(0)));
        let query = SnapshotQuery::new(episode.clone(), "x", vec![], at(0));
        assert!(!store.snapshot(&query).await.unwrap().kill_switch.on);
        store.set_kill_switch(KillSwitch::on("ops", "maintenance", at(5))).await.unwrap();
        store.resolve(&episode, at(9)).await.unwrap();
        store.resolve(&episode, at(3)).await.unwrap();
        let snapshot = store.snapshot(&query).await.unwrap();
        assert!(snapshot.kill_switch.on && store.kill_switch().await.unwrap().on);
        assert_eq!(snapshot.resolved_at, Some(at(9)), "an older end does not replace a newer one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_that_begin_at_once_one_does() {
    for store in stores("race") {
        let entry = JournalEntry::new(record(1).id, 0, request("restart_pod", "cart-1", 1), at(0));
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (store, entry) = (Arc::clone(&store), entry.clone());
                tokio::spawn(async move { store.begin(&entry).await.unwrap() == Begun::New })
            })
            .collect();
        let mut began = 0;
        for task in tasks {
            began += usize::from(task.await.unwrap());
        }
        assert_eq!(began, 1);
    }
}
