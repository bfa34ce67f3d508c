//! Ten minutes of a server that is down, slow, or answers something else: no event begins or ends by it, the
//! state of the data changes once and back, and all goes on by itself.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::testing::RecordingNotifier;
use aiops_core::{NoticeKind, Pipeline};
use aiops_detectors::client::{Endpoint, Prometheus, reqwest};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{Mad, SeriesDetector};

mod http_double;
use http_double::{Double, Reply, Request};

const STEP: i64 = 30;
/// Steps at which the server has the fault: ten minutes.
const FAULT: std::ops::Range<i64> = 300..320;
/// The first step, 2026-11-25 00:00 UTC.
const START: i64 = 1_795_564_800;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Down,
    Hangs,
    Throttles,
    Overloaded,
    ProxyPage,
    Cut,
    NoJson,
    ErrorWith200,
    Partial,
}

const FAULTS: [Fault; 9] = [
    Fault::Down,
    Fault::Hangs,
    Fault::Throttles,
    Fault::Overloaded,
    Fault::ProxyPage,
    Fault::Cut,
    Fault::NoJson,
    Fault::ErrorWith200,
    Fault::Partial,
];

fn at(step: i64) -> Timestamp {
    Timestamp::from_second(START + step * STEP).unwrap()
}

/// The answer of a sound server, which was itself not there while it was down.
fn sound(request: &Request, fault: Fault, slow: &std::ops::Range<i64>) -> String {
    let of = |name: &str| request.parameter(name).unwrap().parse::<f64>().unwrap();
    let (from, to) = (of("start"), of("end"));
    let sample = |step: &i64| {
        let value = if slow.contains(step) { 90.0 } else { 10.0 + (step % 5) as f64 / 10.0 };
        format!("[{},\"{value}\"]", START + step * STEP)
    };
    let inside = |step: &i64| {
        let second = (START + step * STEP) as f64;
        second >= from && second <= to && !(fault == Fault::Down && FAULT.contains(step))
    };
    let values: Vec<String> = (0..400).filter(inside).map(|step| sample(&step)).collect();
    if values.is_empty() {
        return r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.to_owned();
    }
    let series = format!(r#"{{"metric":{{"job":"cart"}},"values":[{}]}}"#, values.join(","));
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}"#)
}

fn faulty(fault: Fault, sound: String) -> Reply {
    match fault {
        Fault::Down => Reply::Close,
        Fault::Hangs => Reply::Hang,
        Fault::Throttles => Reply::WithHeader(429, "Retry-After: 30", "too many outstanding requests".to_owned()),
        Fault::Overloaded => {
            Reply::Body(503, r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#.to_owned())
        }
        Fault::ProxyPage => Reply::Body(200, "<html><body>Sign in</body></html>".to_owned()),
        Fault::Cut => Reply::Cut(sound),
        Fault::NoJson => Reply::ok("{\"status\":\"success\",\"data\":\u{0}"),
        Fault::ErrorWith200 => Reply::ok(r#"{"status":"error","errorType":"execution","error":"out of memory"}"#),
        Fault::Partial => {
            Reply::ok(r#"{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]}}"#)
        }
    }
}

/// A server that was down has nothing of that time, so what is known is old until it has a new sample.
fn states_of(fault: Fault) -> &'static [&'static str] {
    if fault == Fault::Down { &["ok", "error", "stale", "ok"] } else { &["ok", "error", "ok"] }
}

/// What was announced and resolved, by step, and the states of the data as they changed.
async fn run(fault: Fault, slow: std::ops::Range<i64>) -> (Vec<(&'static str, i64)>, Vec<String>) {
    let now = Arc::new(Mutex::new(0));
    let (clock, anomaly) = (Arc::<Mutex<i64>>::clone(&now), slow.clone());
    let double = Double::start(move |_, request| {
        let answer = sound(request, fault, &anomaly);
        if FAULT.contains(&clock.lock().unwrap()) { faulty(fault, answer) } else { Reply::ok(answer) }
    })
    .await;
    let endpoint =
        Endpoint::new(&double.url, reqwest::Client::new()).unwrap().deadline(Duration::from_millis(80)).retries(0);
    let source = Prometheus::new(endpoint).range("latency").step(Duration::from_secs(30));
    let detector = SeriesDetector::builder("Latency", source, Mad::default()).service_label("job").build().unwrap();
    let detector = Arc::new(detector);
    let pager = Arc::new(RecordingNotifier::new("pager"));
    let mut replay = Pipeline::builder()
        .detector(Arc::<SeriesDetector<_>>::clone(&detector))
        .notify(Arc::<RecordingNotifier>::clone(&pager))
        .replay(at(200))
        .unwrap();
    let mut states = Vec::new();
    for step in 201..400 {
        *now.lock().unwrap() = step;
        replay.run_to(at(step)).await.unwrap();
        let state = detector.status().state.to_string();
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    let told = pager.notices().into_iter().filter_map(|notice| {
        let what = match notice.kind {
            NoticeKind::Announced { .. } => "announced",
            NoticeKind::Resolved => "resolved",
            _ => return None,
        };
        Some((what, (notice.at.as_second() - START) / STEP))
    });
    (told.collect(), states)
}

#[tokio::test]
async fn a_healthy_series_gives_no_event_and_no_resolve() {
    for fault in FAULTS {
        let (told, states) = run(fault, 0..0).await;
        assert!(told.is_empty(), "{fault:?}: {told:?}");
        assert_eq!(states, states_of(fault), "{fault:?}");
    }
}

#[tokio::test]
async fn an_anomaly_that_goes_on_is_one_episode_and_ends_after_the_fault() {
    for fault in FAULTS {
        let (told, states) = run(fault, 290..330).await;
        let [("announced", begun), ("resolved", ended)] = told[..] else { panic!("{fault:?}: {told:?}") };
        assert!((290..293).contains(&begun) && ended >= 330, "{fault:?}: {told:?}");
        assert_eq!(states, states_of(fault), "{fault:?}");
    }
}

#[tokio::test]
async fn an_anomaly_that_ended_during_the_fault_resolves_once_it_is_known() {
    for fault in FAULTS {
        let (told, _) = run(fault, 290..305).await;
        let [("announced", begun), ("resolved", ended)] = told[..] else { panic!("{fault:?}: {told:?}") };
        assert!((290..293).contains(&begun) && ended >= FAULT.end, "{fault:?}: {told:?}");
    }
}
