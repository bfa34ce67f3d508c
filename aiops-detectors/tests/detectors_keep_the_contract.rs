//! The bundled detectors pass the conformance suite of detectors.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::testing::check_detector;
use aiops_core::{Detector, IdentityScheme, Sighting, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{
    AdaptiveLogBurst, ErrorLogBurst, ErrorLogs, Labels, LogBurst, LogLine, Mad, MemoryLogSource, MemorySource,
    MemorySpanSource, Sample, Series, SeriesDetector, SpanRecord, TraceErrorSpike,
};

const STEP: i64 = 300;

fn at(index: i64) -> Timestamp {
    Timestamp::from_second(1_000_000_000 + index * STEP).unwrap()
}

fn tick(index: i64) -> Tick {
    Tick::new(at(index), at(index + 1))
}

/// Passes the suite over `ticks`, in which it fires at least once and is quiet at least once.
async fn check(make: impl Fn() -> Box<dyn Detector>, ticks: impl Iterator<Item = Tick> + Clone) {
    check_detector(&*make(), &IdentityScheme::default(), ticks.clone()).await.unwrap();
    let (detector, mut fired, mut quiet) = (make(), 0, 0);
    for tick in ticks {
        for sighting in detector.evaluate(tick).await.unwrap().sightings {
            match sighting {
                Sighting::Firing(_) => fired += 1,
                Sighting::Normal(_) => quiet += 1,
                Sighting::Unknown(..) => {}
            }
        }
    }
    assert!(fired > 0 && quiet > 0, "the suite saw {fired} firing and {quiet} normal sightings");
}

#[tokio::test(start_paused = true)]
async fn the_series_detector() {
    let make = || -> Box<dyn Detector> {
        let series = |service: &str, pod: &str, peak: f64| {
            let value = |index: i64| if index == 65 { peak } else { 10.0 + (index % 5) as f64 / 10.0 };
            let samples = (0..70).map(|index| Sample { at: at(index), value: value(index) }).collect();
            let labels = [("service", service), ("pod", pod)].map(|(name, value)| (name.to_owned(), value.to_owned()));
            Series::new(Labels::from(labels), samples)
        };
        // Two pods of one service are one identity; the third series breaks off.
        let series = vec![series("cart", "a", 90.0), series("cart", "b", 95.0), series("web", "c", f64::NAN)];
        let detector = SeriesDetector::builder("Latency", MemorySource::new("memory", series), Mad::default())
            .service_label("service")
            .every(Duration::from_secs(300))
            .lookback(Duration::from_secs(30 * 86_400))
            .build();
        Box::new(detector.unwrap())
    };
    check(make, (55..90).map(tick)).await;
}

/// Lines of one service, with a burst in one window.
fn lines() -> MemoryLogSource {
    let source = MemoryLogSource::new("logs", 100_000);
    for index in 0..40 {
        let lines = if index == 35 { 200 } else { 3 + index % 3 };
        for line in 0..lines {
            let second = Duration::from_secs(line as u64);
            source.push(LogLine::new(aiops_core::time::plus(at(index), second), "cart", "boom"));
        }
    }
    source
}

#[tokio::test(start_paused = true)]
async fn log_bursts() {
    check(|| Box::new(LogBurst::new(lines()).services(["cart", "web"])), (1..45).map(tick)).await;
}

#[tokio::test(start_paused = true)]
async fn adaptive_log_bursts() {
    let minutes = (1..45 * 5).map(|minute| {
        let now = aiops_core::time::plus(at(0), Duration::from_secs(60 * minute));
        Tick::new(now, aiops_core::time::plus(now, Duration::from_secs(60)))
    });
    check(|| Box::new(AdaptiveLogBurst::new(lines()).services(["cart", "web"])), minutes).await;
    check(|| Box::new(AdaptiveLogBurst::new(lines())), (1..45).map(tick)).await;
}

#[tokio::test(start_paused = true)]
async fn error_log_bursts() {
    // All lines of the last three quarters of an hour are there at each tick: only the newest minutes change.
    let make = || -> Box<dyn Detector> {
        let logs = ErrorLogs::new(at(0));
        for second in 60..2_700 {
            let now = aiops_core::time::plus(at(0), Duration::from_secs(second));
            let kinds = if (2_000..2_300).contains(&second) { 3 } else { 1 };
            for kind in ["boom", "crash", "crash"].iter().take(kinds) {
                for service in ["cart", "web"] {
                    logs.push(&LogLine::new(now, service, *kind), now);
                }
            }
        }
        Box::new(ErrorLogBurst::new(logs))
    };
    let minutes = (2..60).map(|minute| {
        let now = aiops_core::time::plus(at(0), Duration::from_secs(60 * minute));
        Tick::new(now, aiops_core::time::plus(now, Duration::from_secs(60)))
    });
    check(make, minutes).await;
}

#[tokio::test(start_paused = true)]
async fn trace_error_spikes() {
    let make = || -> Box<dyn Detector> {
        let source = MemorySpanSource::new("spans", 100_000);
        for second in 0..5_400 {
            let (service, took) = (if second % 3 == 0 { "cart" } else { "web" }, Duration::from_millis(second % 7));
            let span =
                SpanRecord::new(aiops_core::time::plus(at(0), Duration::from_secs(second)), service, "GET /", took);
            source.push(span.error(second > 4_800 && second % 3 == 0).trace_id(format!("{second:x}")));
        }
        Box::new(TraceErrorSpike::new(source))
    };
    let minutes = (50..100).map(|minute| {
        let now = aiops_core::time::plus(at(0), Duration::from_secs(60 * minute));
        Tick::new(now, aiops_core::time::plus(now, Duration::from_secs(60)))
    });
    check(make, minutes).await;
}
