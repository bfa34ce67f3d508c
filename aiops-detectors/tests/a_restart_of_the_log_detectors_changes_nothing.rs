//! The log store and its detectors over restarts: the same events as without, and nothing known is new.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use aiops_core::{Detector, MemoryStateStore, Sighting, StateError, StateStore, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{AdaptiveLogBurst, ErrorLogBurst, ErrorLogs, LogLine, LogState, MemoryLogSource, NewTemplate};

/// Start of a window, 2001-09-09T01:50:00Z.
const BASE: i64 = 1_000_000_200;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(BASE + 60 * minute).unwrap()
}

/// All that stops and starts again.
struct Process {
    logs: ErrorLogs,
    bursts: Arc<ErrorLogBurst>,
    new: Arc<NewTemplate>,
    services: Arc<AdaptiveLogBurst<MemoryLogSource>>,
    state: LogState,
}

impl Process {
    fn start(store: &Arc<dyn StateStore>, source: &MemoryLogSource, minute: i64) -> Self {
        let logs = ErrorLogs::new(at(minute - 1));
        let bursts = Arc::new(ErrorLogBurst::new(logs.clone()));
        let new = Arc::new(NewTemplate::new(logs.clone()));
        let services = Arc::new(AdaptiveLogBurst::new(source.clone()));
        let state = LogState::new(Arc::<dyn StateStore>::clone(store), "test")
            .keep(Arc::<ErrorLogBurst>::clone(&bursts))
            .keep(Arc::<NewTemplate>::clone(&new))
            .keep(Arc::<AdaptiveLogBurst<MemoryLogSource>>::clone(&services))
            .keep(logs.clone());
        Self { logs, bursts, new, services, state }
    }

    async fn minute(&self, source: &MemoryLogSource, minute: i64) -> Vec<String> {
        for (service, text, count) in lines(minute) {
            for _ in 0..count {
                let line = LogLine::new(at(minute), service, text.as_str());
                self.logs.push(&line, at(minute));
                source.push(line);
            }
        }
        let tick = Tick::new(at(minute + 2), at(minute + 3));
        let detectors: [&dyn Detector; 3] = [&*self.bursts, &*self.new, &*self.services];
        let mut seen = Vec::new();
        for detector in detectors {
            seen.extend(detector.evaluate(tick).await.unwrap().sightings.iter().map(|sighting| match sighting {
                Sighting::Firing(event) => format!(
                    "{} {} since {}, {:?}: {}",
                    event.service,
                    event.alertname(),
                    event.detected_at,
                    event.severity,
                    serde_json::to_string(&event.signal).unwrap()
                ),
                other => format!("{other:?}"),
            }));
        }
        seen
    }
}

/// What is written in a minute: noise; a burst of a service, in which kinds join; a kind that its total
/// hides; a new kind, which comes back.
fn lines(minute: i64) -> Vec<(&'static str, String, u64)> {
    let burst = (200..216).contains(&minute);
    let mut lines = vec![
        ("cart", format!("order {minute} failed"), if burst { 20 } else { 2 }),
        ("web", format!("cache miss of {minute}"), 150),
        ("web", format!("payment {minute} declined"), if burst { 20 } else { 0 }),
    ];
    if burst {
        let host = ["db.one", "db.two", "db.three", "db.four", "db.five"][(minute as usize - 200) / 2 % 5];
        lines.push(("cart", format!("lost connection to host {host}"), 6));
    }
    if (204..209).contains(&minute) || (290..294).contains(&minute) {
        lines.push(("cart", format!("disk {minute} is gone"), 1));
    }
    lines
}

/// All sightings of each minute, with a restart after some of them.
async fn run(restarts: &[i64]) -> Vec<Vec<String>> {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStateStore::default());
    let source = MemoryLogSource::new("lines", 20_000);
    let mut process = Process::start(&store, &source, 0);
    let mut seen = Vec::new();
    for minute in 0..310 {
        seen.push(process.minute(&source, minute).await);
        if restarts.contains(&minute) {
            process.state.save().await.unwrap();
            process = Process::start(&store, &source, minute + 1);
            process.state.load().await.unwrap();
        }
    }
    seen
}

#[tokio::test]
async fn the_events_are_those_of_a_run_that_never_stopped() {
    let whole = run(&[]).await;
    let fired = |name: &str| whole.iter().flatten().any(|line| line.contains(name) && line.contains(" since "));
    assert!(fired("cart ErrorLogBurst") && fired("web ErrorLogBurst/") && fired("cart AdaptiveLogBurst"));
    assert!(fired("cart NewTemplate/"));
    let late = whole[290..].iter().flatten().find(|line| line.contains("NewTemplate/") && line.contains(" since "));
    assert_eq!(late, None, "it was seen before");
    let restarted = run(&[60, 199, 202, 203, 205, 208, 211, 219, 289]).await;
    for (minute, (left, right)) in whole.iter().zip(&restarted).enumerate() {
        assert_eq!(left, right, "minute {minute}");
    }
}

/// A process with 160 minutes behind it, saved, and the keys of its state.
async fn saved() -> (Arc<dyn StateStore>, MemoryLogSource, Vec<String>) {
    let store: Arc<dyn StateStore> = Arc::new(MemoryStateStore::default());
    let source = MemoryLogSource::new("lines", 20_000);
    let process = Process::start(&store, &source, 0);
    for minute in 0..160 {
        process.minute(&source, minute).await;
    }
    process.state.save().await.unwrap();
    let mut keys = Vec::new();
    for name in ["ErrorLogs", "ErrorLogBurst", "AdaptiveLogBurst", "NewTemplate"] {
        for part in 0..=64 {
            let key = format!("test/{name}/{part}");
            if store.load(&key).await.unwrap().is_some() {
                keys.push(key);
            }
        }
    }
    (store, source, keys)
}

#[tokio::test]
async fn what_does_not_read_is_named_and_starts_empty_and_the_rest_is_there() {
    let (store, source, keys) = saved().await;
    // Two services, and the times of the store; nothing is told.
    assert_eq!(keys.len(), 7, "{keys:?}");
    for key in keys {
        let good = store.load(&key).await.unwrap().unwrap();
        let cut = good.bytes[..good.bytes.len() - 9].to_vec();
        let version = String::from_utf8(good.bytes.clone()).unwrap().replacen(" 1 ", " 2 ", 1).into_bytes();
        let mut at_version = good.version;
        for bad in [cut, version, b"nonsense".to_vec(), Vec::new()] {
            store.save(&key, bad, at_version).await.unwrap();
            let process = Process::start(&store, &source, 160);
            let error = process.state.load().await.unwrap_err();
            let StateError::Corrupt { key: named, .. } = &error else { panic!("{error:?}") };
            assert_eq!(*named, key);
            let services = if key.contains("ErrorLogs/") && !key.ends_with("/64") { 1 } else { 2 };
            assert_eq!(process.logs.services(), services, "{key}");
            let tracked = if key.contains("ErrorLogBurst/") { (1, 1) } else { (2, 2) };
            assert_eq!(process.bursts.tracked(), tracked, "{key}");
            assert_eq!(process.services.tracked(), if key.contains("Adaptive") { 1 } else { 2 });
            // It goes on, is quiet about what it lost, and can save over what did not read.
            for minute in 160..166 {
                let seen = process.minute(&source, minute).await;
                assert!(seen.iter().all(|line| !line.contains(" since ")), "{key} minute {minute}: {seen:?}");
            }
            process.state.save().await.unwrap();
            at_version = store.load(&key).await.unwrap().unwrap().version;
        }
        store.save(&key, good.bytes, at_version).await.unwrap();
    }
}

#[tokio::test]
async fn another_writer_is_a_conflict() {
    let (store, source, keys) = saved().await;
    let process = Process::start(&store, &source, 160);
    process.state.load().await.unwrap();
    let other = store.load(&keys[0]).await.unwrap().unwrap();
    store.save(&keys[0], other.bytes, other.version).await.unwrap();
    let error = process.state.save().await.unwrap_err();
    assert!(matches!(&error, StateError::Conflict { key, .. } if *key == keys[0]), "{error:?}");
}
