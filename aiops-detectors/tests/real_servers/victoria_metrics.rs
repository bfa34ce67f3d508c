//! VictoriaMetrics: the samples that Prometheus has, and what it does otherwise.

use std::time::Duration;

use aiops_core::{Detector, Sighting, Tick};
use aiops_detectors::client::{ClientErrorKind, Endpoint, Prometheus, PrometheusValue, reqwest};
use aiops_detectors::testing::check_sample_source;
use aiops_detectors::{Mad, SampleSource, SeriesDetector};

use crate::{MINUTE, MINUTES, START, as_written, at, find, url_of};

fn victoria_metrics() -> Prometheus {
    Prometheus::new(Endpoint::new(&url_of("VM_URL", "victoria-metrics"), reqwest::Client::new()).unwrap())
}

async fn value(expression: &str, minute: i64) -> PrometheusValue {
    victoria_metrics().query(expression, at(minute)).await.unwrap().value
}

#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_two_days_of_history_are_read_as_they_were_written() {
    let source = victoria_metrics().range("aiops_test_latency").step(MINUTE);
    check_sample_source(&source, at(10), at(200)).await.unwrap();
    as_written(&source.read(at(0), at(MINUTES)).await.unwrap().series);
}

#[tokio::test]
#[ignore = "needs victoria-metrics and prometheus: .ci/services up victoria-metrics prometheus"]
async fn victoria_metrics_a_detector_sees_in_it_what_it_sees_in_prometheus() {
    let prometheus = Prometheus::new(Endpoint::new(&url_of("PROM_URL", "prometheus"), reqwest::Client::new()).unwrap());
    let mut saved = Vec::new();
    for client in [prometheus, victoria_metrics()] {
        let source = client.range("aiops_test_latency").step(MINUTE);
        let builder = SeriesDetector::builder("Latency", source, Mad::default()).service_label("service");
        let detector = builder.every(MINUTE).lookback(MINUTE * 2_000).build().unwrap();
        let seen = detector.evaluate(Tick::new(at(MINUTES - 29), at(MINUTES))).await.unwrap().sightings;
        let firing = seen.iter().filter_map(|sighting| match sighting {
            Sighting::Firing(event) => Some(event.service.as_str()),
            _ => None,
        });
        assert_eq!(firing.collect::<Vec<_>>(), ["checkout"]);
        saved.push(detector.save());
    }
    assert_eq!(saved[0], saved[1]);
}

#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_a_range_beyond_its_limit_is_read_in_parts() {
    let (five, client) = (Duration::from_secs(5), victoria_metrics());
    let error = client.query_range("aiops_test_latency", at(0), at(MINUTES), five).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ClientErrorKind::TooLarge, Some(422)), "{error}");
    let batch = client.range("aiops_test_latency").step(five).read(at(0), at(MINUTES)).await.unwrap();
    let samples: Vec<usize> = batch.series.iter().map(|series| series.samples.len()).collect();
    assert_eq!(samples, [34_560, 34_560]);
}

/// It looks back by the distance of the samples, Prometheus by five minutes.
#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_a_last_value_is_repeated_for_one_step() {
    let batch = victoria_metrics().range("aiops_test_gap").step(MINUTE).read(at(0), at(180)).await.unwrap();
    let minutes: Vec<i64> = batch.series[0].samples.iter().map(|sample| (sample.at.as_second() - START) / 60).collect();
    assert_eq!(minutes, (0..61).chain(120..180).collect::<Vec<_>>());
}

/// From 50 steps on it moves the range to multiples of the step; a source asks for those anyway.
#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_a_long_range_is_moved_to_multiples_of_the_step() {
    let second = Duration::from_secs(1);
    for (steps, moved) in [(10, second), (60, Duration::ZERO)] {
        let (from, to) = (at(0) + second, at(steps) + second);
        let answer = victoria_metrics().query_range("aiops_test_latency", from, to, MINUTE).await.unwrap();
        assert_eq!(answer.value[0].samples[0].at, at(0) + moved, "{steps} steps");
    }
}

#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_nan_is_left_out_and_numbers_come_in_full() {
    let PrometheusValue::Vector(odd) = value("aiops_test_odd", 1).await else { panic!("no vector") };
    let values = ["2", "3", "4", "5"].map(|k| find(&odd, "k", k).samples[0].value);
    assert_eq!(values, [f64::INFINITY, f64::NEG_INFINITY, 1.5e21, 1e-7]);
    assert_eq!(odd.len(), 4);
}

#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_scalars_are_vectors_and_strings_are_nothing() {
    let PrometheusValue::Vector(one) = value("scalar(aiops_test_gap)", 2).await else { panic!("no vector") };
    assert_eq!((one.len(), one[0].labels.len(), one[0].samples[0].value), (1, 0, 2.0));
    assert_eq!(value("\"hi\"", 2).await, PrometheusValue::Vector(Vec::new()));
    assert_eq!(value("nosuch", 2).await, PrometheusValue::Vector(Vec::new()));
}

/// Its content type is `application/stream+json`.
#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_a_range_selector_gives_a_matrix() {
    assert!(matches!(value("aiops_test_gap[5m]", 2).await, PrometheusValue::Matrix(one) if one[0].samples.len() == 3));
}

#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_refusals_are_422_and_an_unknown_path_is_400() {
    for expression in ["sum(", "", "aiops_test_latency + on() aiops_test_latency"] {
        let error = victoria_metrics().query(expression, at(2)).await.unwrap_err();
        assert_eq!((error.kind, error.status), (ClientErrorKind::Refused, Some(422)), "{expression}: {error}");
        assert!(!error.reason.is_empty() && !error.is_retryable());
    }
    let url = format!("{}/nosuch", url_of("VM_URL", "victoria-metrics"));
    let lost = Prometheus::new(Endpoint::new(&url, reqwest::Client::new()).unwrap());
    let error = lost.query("up", at(0)).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ClientErrorKind::Refused, Some(400)), "{error}");
}

/// Prometheus refuses it with 400.
#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_an_end_before_the_start_is_five_minutes_from_the_start() {
    let answer = victoria_metrics().query_range("aiops_test_latency", at(10), at(0), MINUTE).await.unwrap();
    let minutes: Vec<i64> = answer.value[0].samples.iter().map(|sample| (sample.at.as_second() - START) / 60).collect();
    assert_eq!(minutes, (10..=15).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs victoria-metrics: .ci/services up victoria-metrics"]
async fn victoria_metrics_has_no_alerts_of_its_own() {
    assert_eq!(victoria_metrics().alerts().await.unwrap().value, []);
}
