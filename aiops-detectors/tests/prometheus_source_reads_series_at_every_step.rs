//! The Prometheus source keeps its contract: steps, parts, bounds, and faults of the server.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aiops_core::testing::{MetricRecorder, check_detector};
use aiops_core::{Detector, IdentityScheme, Sighting, Tick};
use aiops_detectors::client::{ClientError, Endpoint, PartialAnswers, Prometheus, PrometheusSource, reqwest};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::testing::check_sample_source;
use aiops_detectors::{RollingZScore, SampleSource, SeriesBatch, SeriesDetector, SeriesDetectorBuilder};

mod http_double;
use http_double::{Double, Reply, Request};

/// 2026-11-20 00:00 UTC.
const START: i64 = 1_795_132_800;
const STEP: i64 = 30;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

/// What the server has measured: level with a ripple, and a fault in the 100th to 109th step.
fn value(service: usize, seconds: i64) -> f64 {
    let step = (seconds - START) / STEP;
    let fault = if service == 0 && (100..110).contains(&step) { 90.0 } else { 0.0 };
    10.0 + (step % 7) as f64 / 10.0 + fault
}

fn seconds_of(request: &Request, name: &str) -> f64 {
    request.parameter(name).unwrap().parse().unwrap()
}

fn steps_of(request: &Request) -> i64 {
    let [start, end, step] = ["start", "end", "step"].map(|name| seconds_of(request, name));
    ((end - start) / step) as i64 + 1
}

/// Answers a range query over `services` series as Prometheus would, newest label first.
fn answer(request: &Request, services: usize, beside: &str) -> String {
    let [start, end, step] = ["start", "end", "step"].map(|name| seconds_of(request, name) as i64);
    let mut result = String::new();
    for service in (0..services).rev() {
        let mut values = String::new();
        for seconds in (start..=end).step_by(usize::try_from(step).unwrap()) {
            write!(values, "[{seconds},\"{}\"],", value(service, seconds)).unwrap();
        }
        let values = values.trim_end_matches(',');
        write!(result, r#"{{"metric":{{"service":"s{service}"}},"values":[{values}]}},"#).unwrap();
    }
    let result = result.trim_end_matches(',');
    format!(r#"{{"status":"success",{beside}"data":{{"resultType":"matrix","result":[{result}]}}}}"#)
}

fn prometheus(double: &Double) -> Prometheus {
    Prometheus::new(Endpoint::new(&double.url, reqwest::Client::new()).unwrap())
}

async fn server(services: usize) -> (Double, PrometheusSource) {
    let double = Double::start(move |_, request| Reply::ok(answer(request, services, ""))).await;
    let source = prometheus(&double).range("latency");
    (double, source)
}

fn samples(batch: &SeriesBatch) -> usize {
    batch.series.iter().map(|series| series.samples.len()).sum()
}

#[tokio::test]
async fn it_passes_the_conformance_suite() {
    let (_double, source) = server(3).await;
    check_sample_source(&source, at(7), at(3_601)).await.unwrap();
    check_sample_source(&source.step(Duration::from_millis(7_000)), at(0), at(3_600)).await.unwrap();
}

#[tokio::test]
async fn steps_lie_on_multiples_and_parts_give_what_the_whole_gives() {
    let (double, source) = server(2).await;
    let whole = source.read(at(10), at(300)).await.unwrap();
    let first = source.read(at(10), at(150)).await.unwrap();
    let second = source.read(at(150), at(300)).await.unwrap();
    for (series, name) in whole.series.iter().zip(["s0", "s1"]) {
        assert_eq!(series.labels["service"], name);
        let times: Vec<i64> = series.samples.iter().map(|sample| sample.at.as_second() - START).collect();
        assert_eq!(times, [30, 60, 90, 120, 150, 180, 210, 240, 270]);
    }
    let joined = [&first.series[0].samples[..], &second.series[0].samples[..]].concat();
    assert_eq!(joined, whole.series[0].samples);
    let before = double.requests().len();
    for (from, to) in [(31, 60), (30, 30), (60, 30)] {
        assert!(source.read(at(from), at(to)).await.unwrap().series.is_empty(), "no step in {from}..{to}");
    }
    assert_eq!(double.requests().len(), before, "nothing to ask for");
}

#[tokio::test]
async fn a_long_range_is_read_in_parts_that_the_server_takes() {
    let (double, source) = server(1).await;
    let read = source.read(at(0), at(25_000 * STEP)).await.unwrap();
    assert_eq!((read.series.len(), samples(&read)), (1, 25_000));
    assert!(read.series[0].samples.is_sorted_by(|a, b| a.at < b.at));
    assert_eq!(double.requests().iter().map(steps_of).collect::<Vec<_>>(), [10_000, 10_000, 5_000]);
}

#[tokio::test]
async fn too_large_an_answer_is_asked_for_in_smaller_parts_from_then_on() {
    let limit = r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}"#;
    let by_server = Double::start(move |_, request| {
        if steps_of(request) > 300 { Reply::Body(422, limit.to_owned()) } else { Reply::ok(answer(request, 2, "")) }
    })
    .await;
    let by_client = Double::start(|_, request| Reply::ok(answer(request, 2, ""))).await;
    let bounded = Endpoint::new(&by_client.url, reqwest::Client::new()).unwrap().max_body(12_000);
    for (double, source) in
        [(&by_server, prometheus(&by_server).range("x")), (&by_client, Prometheus::new(bounded).range("x"))]
    {
        let read = source.read(at(0), at(1_000 * STEP)).await.unwrap();
        assert_eq!(samples(&read), 2_000);
        assert_eq!(double.requests().iter().map(steps_of).collect::<Vec<_>>()[..3], [1_000, 500, 250]);
        let before = double.requests().len();
        source.read(at(0), at(1_000 * STEP)).await.unwrap();
        assert_eq!(double.requests().len() - before, 4, "the size is remembered");
    }
}

#[tokio::test]
async fn one_step_that_is_too_large_is_an_error_that_stays() {
    let double = Double::start(|_, request| Reply::ok(answer(request, 2, ""))).await;
    let endpoint = Endpoint::new(&double.url, reqwest::Client::new()).unwrap().max_body(50);
    let error = Prometheus::new(endpoint).range("x").read(at(0), at(900)).await.unwrap_err();
    assert!(!error.is_retryable());
    assert_eq!(error.to_string(), "source \"x\" could not be read");
    assert!(error.source.downcast_ref::<ClientError>().is_some());
}

#[test]
fn series_beyond_the_bound_are_counted_the_first_by_labels_stay() {
    let metrics = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&metrics, || {
        runtime.block_on(async {
            let (_double, source) = server(5).await;
            let read = source.max_series(2).read(at(0), at(60)).await.unwrap();
            let names: Vec<&str> = read.series.iter().map(|series| series.labels["service"].as_str()).collect();
            assert_eq!(names, ["s0", "s1"]);
        });
    });
    assert_eq!(metrics.value("aiops_prometheus_series_refused_total"), Some(3.0));
}

#[tokio::test]
async fn a_partial_answer_is_unknown_unless_the_host_takes_it() {
    let warned = r#""warnings":["store b: connection refused"],"#;
    let double = Double::start(move |_, request| Reply::ok(answer(request, 1, warned))).await;
    let error = prometheus(&double).range("x").read(at(0), at(60)).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.source.to_string(), "prometheus query_range: a partial answer: store b: connection refused");
    let lenient = prometheus(&double).range("x").partial_answers(PartialAnswers::Accept);
    assert_eq!(samples(&lenient.read(at(0), at(60)).await.unwrap()), 2);
}

const LOOKBACK: Duration = Duration::from_secs(3_600);

fn builder(source: PrometheusSource) -> SeriesDetectorBuilder<PrometheusSource> {
    SeriesDetector::builder("Latency", source, RollingZScore::default()).service_label("service").lookback(LOOKBACK)
}

fn detector(source: PrometheusSource) -> SeriesDetector<PrometheusSource> {
    builder(source).build().unwrap()
}

fn tick(step: i64) -> Tick {
    Tick::new(at(step * STEP), at((step + 1) * STEP))
}

#[tokio::test]
async fn a_detector_over_it_keeps_the_contract() {
    let (_double, source) = server(2).await;
    check_detector(&detector(source), &IdentityScheme::default(), (95..115).map(tick)).await.unwrap();
}

#[tokio::test]
async fn a_detector_fed_by_history_is_one_that_never_stopped() {
    let never_stopped = detector(server(2).await.1);
    for step in 1..105 {
        never_stopped.evaluate(tick(step)).await.unwrap();
    }
    let seen = never_stopped.evaluate(tick(105)).await.unwrap();
    let reaches_back = LOOKBACK + Duration::from_secs(104 * 30);
    let restarted = builder(server(2).await.1).lookback(reaches_back).build().unwrap();
    let after = restarted.evaluate(tick(105)).await.unwrap();
    assert_eq!(restarted.save(), never_stopped.save());
    let explained = |seen: &aiops_core::Evaluation| -> Vec<String> {
        let firing = seen.sightings.iter().filter_map(|sighting| match sighting {
            Sighting::Firing(event) => Some(event.explain()),
            _ => None,
        });
        firing.collect()
    };
    assert_eq!(explained(&after), explained(&seen));
    assert_eq!(explained(&seen).len(), 1, "the fault of s0");
}

/// Faults of 20 evaluations each, ten minutes; steps 100 to 109 hold the anomaly.
#[tokio::test]
async fn a_server_in_trouble_makes_no_event_and_no_resolve_and_is_read_again_after() {
    for fault in [
        Reply::Close,
        Reply::Hang,
        Reply::Body(429, String::new()),
        Reply::Body(503, "starting".to_owned()),
        Reply::ok("<html>maintenance</html>"),
        Reply::ok(r#"{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]}}"#),
    ] {
        let script = fault.clone();
        let in_trouble =
            |request: &Request| (102..122).contains(&((seconds_of(request, "end") as i64 - START) / STEP + 1));
        let double =
            Double::start(
                move |_, request| {
                    if in_trouble(request) { script.clone() } else { Reply::ok(answer(request, 2, "")) }
                },
            )
            .await;
        // Each fault would only repeat itself.
        let endpoint = Endpoint::new(&double.url, reqwest::Client::new()).unwrap().retries(0);
        let detector = detector(Prometheus::new(endpoint).range("latency"));
        for step in 90..=101 {
            let seen = detector.evaluate(tick(step)).await.unwrap();
            let firing = seen.sightings.iter().filter(|sighting| matches!(sighting, Sighting::Firing(_))).count();
            assert_eq!(firing, usize::from(step == 101), "step {step}");
        }
        for step in 102..122 {
            if matches!(fault, Reply::Hang) {
                // As the detection stage does it: the evaluation's future is dropped.
                tokio::time::timeout(Duration::from_millis(20), detector.evaluate(tick(step))).await.unwrap_err();
                continue;
            }
            let error = detector.evaluate(tick(step)).await.unwrap_err();
            assert!(error.is_retryable(), "{fault:?}: {error}");
        }
        let seen = detector.evaluate(tick(122)).await.unwrap();
        assert!(seen.sightings.iter().all(|sighting| matches!(sighting, Sighting::Normal(_))), "{fault:?}: {seen:?}");
        // What happened meanwhile was read: nothing is missing from the baseline.
        let whole = self::detector(server(2).await.1);
        for step in (90..=101).chain([122]) {
            whole.evaluate(tick(step)).await.unwrap();
        }
        assert_eq!(detector.save(), whole.save(), "{fault:?}");
    }
}

#[tokio::test]
async fn late_scrapes_are_waited_for_by_the_evaluation_delay() {
    // Every sample arrives 60 s after its time: what is asked for earlier is not there yet.
    let now = Arc::new(AtomicI64::new(0));
    let clock = Arc::<AtomicI64>::clone(&now);
    let double = Double::start(move |_, request| {
        let known = clock.load(Ordering::Relaxed) - 60;
        let end = seconds_of(request, "end") as i64 - START;
        assert!(end <= known, "asked for {end}, known up to {known}");
        Reply::ok(answer(request, 1, ""))
    })
    .await;
    let source = prometheus(&double).range("x");
    let detector = builder(source).evaluation_delay(Duration::from_secs(60)).build().unwrap();
    for step in 0..10 {
        now.store(step * STEP, Ordering::Relaxed);
        detector.evaluate(tick(step)).await.unwrap();
    }
    assert_eq!(detector.series(), 1);
}
