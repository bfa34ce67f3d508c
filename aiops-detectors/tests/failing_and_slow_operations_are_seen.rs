//! The trace error spike detector over a span source, minute by minute.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::{DataState, DetectionEvent, Detector, Severity, Sighting, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{MemorySpanSource, SpanRecord, TraceErrorSpike};

fn at(minute: i64, second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000_200 + 60 * minute + second).unwrap()
}

/// One minute of calls of `GET /cart`: `calls` of them, of which `errors` fail, each `millis` long.
fn write(source: &MemorySpanSource, minute: i64, calls: i64, errors: i64, millis: u64) {
    for call in 0..calls {
        let duration = Duration::from_millis(millis + call as u64 % 5);
        let span = SpanRecord::new(at(minute, call % 60), "cart", "GET /cart", duration);
        source.push(span.error(call < errors).trace_id(format!("{minute:04x}{call:04x}")));
    }
}

/// The first event of each rule with the minute of its tick, and the last sightings.
async fn run(
    detector: &TraceErrorSpike<MemorySpanSource>,
    minutes: std::ops::Range<i64>,
) -> (Vec<(i64, DetectionEvent)>, Vec<Sighting>) {
    let (mut events, mut last): (Vec<(i64, DetectionEvent)>, _) = (Vec::new(), Vec::new());
    for minute in minutes {
        last = detector.evaluate(Tick::new(at(minute, 0), at(minute + 1, 0))).await.unwrap().sightings;
        for sighting in &last {
            if let Sighting::Firing(event) = sighting
                && events.iter().all(|(_, seen)| seen.alertname() != event.alertname())
            {
                events.push((minute, (**event).clone()));
            }
        }
    }
    (events, last)
}

#[tokio::test]
async fn failing_calls_fire_with_operation_and_traces() {
    let source = MemorySpanSource::new("spans", 100_000);
    (0..90).for_each(|minute| write(&source, minute, 30, if minute >= 80 { 20 } else { minute % 2 }, 10));
    let (events, _) = run(&TraceErrorSpike::new(source), 50..90).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let (minute, event) = &events[0];
    assert_eq!((*minute, event.alertname(), event.service.as_str()), (82, "TraceErrorSpike/GET /cart", "cart"));
    let exemplars = event.signal.extra["exemplars"].as_array().unwrap();
    assert!(exemplars.len() == 5, "{exemplars:?}");
    assert_eq!((event.severity, event.observed()), (Severity::Warning, at(81, 0)));
}

#[tokio::test]
async fn a_share_of_half_is_critical_and_few_calls_are_unknown() {
    let source = MemorySpanSource::new("spans", 100_000);
    (0..80).for_each(|minute| write(&source, minute, 30, 0, 10));
    (80..90).for_each(|minute| write(&source, minute, 30, 30, 10));
    // Every call fails, but there are three a minute.
    (90..100).for_each(|minute| write(&source, minute, 3, 3, 10));
    let detector = TraceErrorSpike::new(source);
    run(&detector, 50..90).await;
    let (events, _) = run(&detector, 90..92).await;
    assert_eq!(events[0].1.severity, Severity::Critical);
    let (_, last) = run(&detector, 92..101).await;
    assert!(matches!(&last[0], Sighting::Unknown(_, DataState::NoData)), "{last:?}");
}

#[tokio::test]
async fn no_error_share_is_news_when_it_is_the_usual_one() {
    let source = MemorySpanSource::new("spans", 100_000);
    (0..200).for_each(|minute| write(&source, minute, 40, 8 + minute % 3, 10));
    let (events, last) = run(&TraceErrorSpike::new(source), 50..200).await;
    assert!(events.is_empty(), "{events:?}");
    assert!(last.iter().all(|sighting| matches!(sighting, Sighting::Normal(_))), "{last:?}");
}

#[tokio::test]
async fn slow_calls_fire_as_a_latency_shift() {
    let source = MemorySpanSource::new("spans", 100_000);
    (0..90).for_each(|minute| write(&source, minute, 30, 0, if minute >= 80 { 30 } else { 10 }));
    let (events, _) = run(&TraceErrorSpike::new(source), 50..90).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0].1;
    assert_eq!(event.alertname(), "TraceLatencyShift/GET /cart");
    let (value, expected) = (event.signal.value.unwrap(), event.signal.expected.unwrap());
    assert!((0.029..0.036).contains(&value) && (0.013..0.015).contains(&expected), "{value} {expected}");
}

#[tokio::test]
async fn a_shift_that_stays_is_the_level_after_an_hour() {
    let source = MemorySpanSource::new("spans", 100_000);
    (0..300).for_each(|minute| write(&source, minute, 30, if minute >= 80 { 10 } else { 0 }, 10));
    let detector = TraceErrorSpike::new(source);
    assert_eq!(run(&detector, 50..140).await.0.len(), 1);
    let (events, last) = run(&detector, 150..300).await;
    assert!(events.is_empty() && matches!(last[0], Sighting::Normal(_)), "{events:?} {last:?}");
}

#[tokio::test]
async fn a_restart_is_not_blind_and_operations_are_bounded() {
    let source = MemorySpanSource::new("spans", 100_000);
    (0..90).for_each(|minute| write(&source, minute, 30, if minute >= 80 { 20 } else { 0 }, 10));
    let detector = TraceErrorSpike::new(source.clone());
    run(&detector, 50..78).await;
    let restarted = TraceErrorSpike::new(source.clone());
    restarted.restore(&detector.save()).unwrap();
    let (restarted_events, _) = run(&restarted, 78..90).await;
    let (events, _) = run(&detector, 78..90).await;
    let seen = |events: &[(i64, DetectionEvent)]| {
        events
            .iter()
            .map(|(minute, event)| (*minute, event.fingerprint.clone(), event.signal.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!((seen(&restarted_events), events.len()), (seen(&events), 1));
    assert!(restarted.restore(b"nonsense").is_err());
    assert_eq!(restarted.tracked(), 1, "it stays as it was");
    let bounded = TraceErrorSpike::new(source).max_operations(0);
    run(&bounded, 50..60).await;
    assert_eq!(bounded.tracked(), 0);
}
