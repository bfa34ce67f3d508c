//! Kinds of error lines that a known service never wrote before, minute by minute.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use aiops_core::testing::check_detector;
use aiops_core::{
    DeployLog, DetectionEvent, Detector, IdentityScheme, Rollout, RolloutKind, RolloutPhase, Sighting, Tick,
};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{ErrorLogs, LogLine, NewTemplate, fingerprint_line};

/// Start of a window, 2001-09-09T01:50:00Z.
const BASE: i64 = 1_000_000_200;
/// Minutes for which a service is learned.
const LEARNT: i64 = 150;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(BASE + 60 * minute).unwrap()
}

fn write(logs: &ErrorLogs, minute: i64, text: &str) {
    logs.push(&LogLine::new(at(minute), "cart", text), at(minute));
}

/// A store that knows `cart` for long enough, from one line a window.
fn learnt() -> ErrorLogs {
    let logs = ErrorLogs::new(at(-1));
    (0..=LEARNT / 5).for_each(|window| write(&logs, 5 * window, &format!("order {window} failed")));
    logs
}

/// The firing events by alertname, and the alertnames that are normal.
async fn see(detector: &NewTemplate, minute: i64) -> (BTreeMap<String, DetectionEvent>, Vec<String>) {
    let evaluation = detector.evaluate(Tick::new(at(minute), at(minute + 1))).await.unwrap();
    let (mut firing, mut normal) = (BTreeMap::new(), Vec::new());
    for sighting in evaluation.sightings {
        match sighting {
            Sighting::Firing(event) => {
                let before = firing.insert(event.alertname().to_owned(), *event);
                assert!(before.is_none(), "{before:?} twice");
            }
            Sighting::Normal(identity) => normal.push(identity.alertname),
            Sighting::Unknown(..) => {}
        }
    }
    (firing, normal)
}

fn named(line: &str) -> String {
    format!("NewTemplate/{}", fingerprint_line(line.as_bytes()))
}

#[tokio::test]
async fn the_third_line_in_a_window_tells_a_new_kind() {
    let logs = learnt();
    let detector = NewTemplate::new(logs.clone());
    let name = named("disk 1 is gone");
    for (minute, fires) in [(160, false), (163, false), (166, false), (167, true)] {
        write(&logs, minute, &format!("disk {minute} is gone"));
        let (firing, _) = see(&detector, minute).await;
        assert_eq!(firing.contains_key(&name), fires, "minute {minute}: the first line is older than five minutes");
    }
    let (firing, _) = see(&detector, 168).await;
    let event = &firing[&name];
    assert_eq!((event.kind.as_str(), event.service.as_str(), event.detected_at), ("new_template", "cart", at(160)));
    assert_eq!((event.signal.value, event.signal.threshold, event.signal.n), (Some(3.0), Some(3.0), Some(32)));
    assert_eq!(event.signal.extra["groups"][0]["template"], "disk * is gone");
    // Another quarter of an hour without a line, and it is over; a later line changes nothing.
    assert!(see(&detector, 181).await.0.contains_key(&name));
    assert_eq!(see(&detector, 182).await, (BTreeMap::new(), vec![name]));
    for minute in 300..304 {
        write(&logs, minute, "disk 7 is gone");
        assert!(see(&detector, minute).await.0.is_empty());
    }
}

#[tokio::test]
async fn one_line_is_enough_where_a_process_ended() {
    for line in ["FATAL: tablespace 7 is full", "thread 'main' panicked at src/main.rs:7", "Out of memory: killed 7"] {
        let logs = learnt();
        let detector = NewTemplate::new(logs.clone());
        write(&logs, 160, line);
        let (firing, _) = see(&detector, 160).await;
        assert_eq!(firing.keys().collect::<Vec<_>>(), [&named(line)], "{line}");
        assert_eq!(firing[&named(line)].signal.threshold, Some(1.0));
    }
}

#[tokio::test]
async fn a_service_that_is_learned_is_silent() {
    let logs = ErrorLogs::new(at(-1));
    logs.name("web", at(0));
    let detector = NewTemplate::new(logs.clone());
    for minute in 0..LEARNT {
        write(&logs, minute, &format!("{} broke: FATAL", ["this", "that", "it", "all"][minute as usize % 4]));
        assert!(see(&detector, minute).await.0.is_empty(), "minute {minute}");
    }
    // What it wrote while it was learned is known for good; a service that was named speaks with its first line.
    write(&logs, LEARNT, "this broke: FATAL");
    logs.push(&LogLine::new(at(LEARNT), "web", "FATAL: first line ever"), at(LEARNT));
    let (firing, _) = see(&detector, LEARNT).await;
    assert_eq!(firing.values().map(|event| event.service.as_str()).collect::<Vec<_>>(), ["web"]);
}

#[tokio::test]
async fn after_a_deploy_five_are_told_and_the_rest_are_one_event() {
    let words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu", "nu"];
    let run = |kind: Option<RolloutKind>| async move {
        let (logs, deploys) = (learnt(), DeployLog::default());
        if let Some(kind) = kind {
            deploys.record(Rollout::new("cart", "d7", RolloutPhase::Completed, at(155)).kind(kind));
        }
        let detector = NewTemplate::new(logs.clone()).deploys(deploys);
        // Twelve words in one place would be one kind.
        for (n, word) in words.iter().enumerate() {
            let line = format!("{word} {}", ["is not configured", "cannot be found"][n % 2]);
            (0..3).for_each(|_| write(&logs, 160, &line));
        }
        let first = see(&detector, 160).await.0;
        assert_eq!(see(&detector, 161).await.0.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
        first
    };
    let firing = run(Some(RolloutKind::Full)).await;
    assert_eq!(firing.len(), 6);
    let more = &firing["NewTemplate/more"];
    assert_eq!((more.signal.extra["kinds"].as_u64(), more.signal.extra["deploy"].as_str()), (Some(7), Some("d7")));
    assert_eq!(more.signal.extra["groups"].as_array().unwrap().len(), 7);
    // Only a rollout brings new code, and twelve are few enough to be told each.
    for kind in [None, Some(RolloutKind::Scale), Some(RolloutKind::OwnRollback)] {
        let firing = run(kind).await;
        assert!(firing.len() == 12 && !firing.contains_key("NewTemplate/more"), "{kind:?}: {}", firing.len());
    }
}

#[tokio::test]
async fn a_storm_is_bounded_in_each_window() {
    let logs = learnt();
    let detector = NewTemplate::new(logs.clone());
    let word = |n: i64| -> String { (0..4).map(|place| char::from(b'a' + (n >> (2 * place) & 3) as u8)).collect() };
    for n in 0..60 {
        (0..3).for_each(|_| write(&logs, 160 + n / 30 * 5, &format!("{} cannot {}", word(n), word(n * 3 + 1))));
    }
    assert_eq!(see(&detector, 161).await.0.len(), 21, "20 and the rest");
    assert_eq!(see(&detector, 165).await.0.len(), 41, "20 more and the rest of both");
}

#[tokio::test]
async fn kinds_that_join_are_told_once_under_their_first_name() {
    let logs = learnt();
    let detector = NewTemplate::new(logs.clone());
    let line = |host: &str| format!("lost connection to host {host}");
    let mut names = std::collections::BTreeSet::new();
    for (n, host) in (0..).zip(["db.one", "db.two", "db.three", "db.four", "db.five", "db.six"]) {
        (0..3).for_each(|_| write(&logs, 160 + n, &line(host)));
        names.extend(see(&detector, 160 + n).await.0.into_keys());
    }
    let known = ["db.one", "db.two", "db.three"].map(|host| named(&line(host)));
    assert!(names.len() <= 3 && names.iter().all(|name| known.contains(name)), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_of_a_detector() {
    let logs = learnt();
    for n in 0..3 {
        write(&logs, 160 + n, "disk 1 is gone");
    }
    let ticks = (155..260).map(|minute| Tick::new(at(minute), at(minute + 1)));
    check_detector(&NewTemplate::new(logs), &IdentityScheme::default(), ticks).await.unwrap();
}
