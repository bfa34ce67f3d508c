//! The clients, sources and routers against real servers, with what .ci/services.d made for them.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod alertmanager;
#[cfg(feature = "otlp")]
mod otel;
mod prometheus;
mod victoria_metrics;

use std::time::Duration;

use aiops_detectors::Series;
use aiops_detectors::jiff::Timestamp;

/// 2026-11-20 00:00 UTC: made_history of .ci/services.d/history.sh.
const START: i64 = 1_795_132_800;
const MINUTES: i64 = 2_880;
const MINUTE: Duration = Duration::from_secs(60);

/// What `.ci/services up SERVICE` printed.
fn url_of(variable: &str, service: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable}: run .ci/services up {service}"))
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(START + minute * 60).unwrap()
}

/// The value of a minute, by the rule that made it.
fn made(service: i64, minute: i64) -> f64 {
    let night = if minute % 1_440 >= 720 { 500 } else { 0 };
    let fault = if service == 0 && minute >= MINUTES - 30 { 4_000 } else { 0 };
    (1_000 + night + (minute * 7_919 + service * 13) % 101 + fault) as f64 / 10.0
}

/// All of `aiops_test_latency`, each sample at its minute.
fn as_written(series: &[Series]) {
    assert_eq!(series.len(), 2);
    for (number, service) in (0..).zip(["checkout", "cart"]) {
        let series = find(series, "service", service);
        assert_eq!(series.labels["__name__"], "aiops_test_latency");
        assert_eq!(series.samples.len(), 2_880);
        for (minute, sample) in (0..).zip(&series.samples) {
            assert_eq!((sample.at, sample.value), (at(minute), made(number, minute)));
        }
    }
}

fn find<'a>(series: &'a [Series], label: &str, value: &str) -> &'a Series {
    series.iter().find(|series| series.labels.get(label).is_some_and(|found| found == value)).unwrap()
}
