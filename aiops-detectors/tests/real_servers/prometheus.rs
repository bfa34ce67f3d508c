//! Prometheus.

use std::time::Duration;

use aiops_core::testing::check_probe;
use aiops_core::{ContextQuery, ContextSource, Detector, Probe, ProbeQuery, Sighting, Tick};
use aiops_detectors::client::{
    ClientErrorKind, Endpoint, Prometheus, PrometheusProbe, PrometheusSource, PrometheusValue, Sli, Slo, SloBurnRate,
    reqwest,
};
use aiops_detectors::testing::check_sample_source;
use aiops_detectors::{Mad, Sample, SampleSource, SeriesDetector, SeriesDetectorBuilder};

use crate::{MINUTE, MINUTES, START, as_written, at, find, url_of};

fn prometheus() -> Prometheus {
    Prometheus::new(Endpoint::new(&url_of("PROM_URL", "prometheus"), reqwest::Client::new()).unwrap())
}

#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_two_days_of_history_are_read_as_they_were_written() {
    let source = prometheus().range("aiops_test_latency").step(MINUTE);
    check_sample_source(&source, at(10), at(200)).await.unwrap();
    as_written(&source.read(at(0), at(MINUTES)).await.unwrap().series);
}

#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_a_range_beyond_its_limit_is_read_in_parts() {
    let (ten, prometheus) = (Duration::from_secs(10), prometheus());
    let error = prometheus.query_range("aiops_test_latency", at(0), at(MINUTES), ten).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ClientErrorKind::TooLarge, Some(400)), "{error}");
    let batch = prometheus.range("aiops_test_latency").step(ten).read(at(0), at(MINUTES)).await.unwrap();
    let samples: Vec<usize> = batch.series.iter().map(|series| series.samples.len()).collect();
    assert_eq!(samples, [17_280, 17_280]);
}

#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_a_gap_longer_than_its_lookback_is_a_gap() {
    let batch = prometheus().range("aiops_test_gap").step(MINUTE).read(at(0), at(180)).await.unwrap();
    let minutes: Vec<i64> = batch.series[0].samples.iter().map(|sample| (sample.at.as_second() - START) / 60).collect();
    // The last value before the gap stands for five minutes less a moment, or exactly.
    let expected = |repeated: i64| (0..60 + repeated).chain(120..180).collect::<Vec<_>>();
    assert!([expected(4), expected(5)].contains(&minutes), "{minutes:?}");
}

#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_every_kind_of_answer_and_refusal() {
    let prometheus = prometheus();
    let PrometheusValue::Vector(odd) = prometheus.query("aiops_test_odd", at(0)).await.unwrap().value else {
        panic!("no vector")
    };
    let value = |k: &str| find(&odd, "k", k).samples[0].value;
    assert!(value("1").is_nan());
    assert_eq!(["2", "3", "4", "5"].map(value), [f64::INFINITY, f64::NEG_INFINITY, 1.5e21, 1e-7]);
    let value = |expression: &str| {
        let (prometheus, expression) = (prometheus.clone(), expression.to_owned());
        async move { prometheus.query(&expression, at(2)).await.map(|answer| answer.value) }
    };
    assert!(matches!(value("scalar(aiops_test_gap)").await.unwrap(), PrometheusValue::Scalar(two) if two.value == 2.0));
    assert_eq!(value("\"hi\"").await.unwrap(), PrometheusValue::Text("hi".to_owned()));
    assert_eq!(value("nosuch").await.unwrap(), PrometheusValue::Vector(Vec::new()));
    assert!(
        matches!(value("aiops_test_gap[5m]").await.unwrap(), PrometheusValue::Matrix(one) if one[0].samples.len() == 3)
    );
    // Long enough to be posted.
    let long = format!("aiops_test_gap + 0 * ({})", ["1"; 3_000].join("+"));
    assert!(matches!(value(&long).await.unwrap(), PrometheusValue::Vector(one) if one[0].samples[0].value == 2.0));

    let refused = value("sum(").await.unwrap_err();
    assert_eq!((refused.kind, refused.status), (ClientErrorKind::Refused, Some(400)));
    let refused = value("aiops_test_latency + on() aiops_test_latency").await.unwrap_err();
    assert_eq!((refused.kind, refused.status), (ClientErrorKind::Refused, Some(422)));
    let url = format!("{}/nosuch", std::env::var("PROM_URL").unwrap());
    let lost = Prometheus::new(Endpoint::new(&url, reqwest::Client::new()).unwrap());
    assert_eq!(lost.query("up", at(0)).await.unwrap_err().kind, ClientErrorKind::NotFound);
}

/// The gap begins after the 59th minute.
#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_one_time_is_answered_with_a_sample_of_up_to_five_minutes_before() {
    let values = async |minute| match prometheus().query("aiops_test_gap", at(minute)).await.unwrap().value {
        PrometheusValue::Vector(series) => series.iter().map(|series| series.samples[0]).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    // The time is the one that was asked for.
    assert_eq!(values(63).await, [Sample { at: at(63), value: 59.0 }]);
    assert_eq!(values(65).await, []);
}

#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_an_end_before_the_start_and_a_step_of_nothing_are_refused() {
    for (from, to, step) in [(10, 0, MINUTE), (0, 10, Duration::ZERO)] {
        let error = prometheus().query_range("aiops_test_latency", at(from), at(to), step).await.unwrap_err();
        assert_eq!((error.kind, error.status), (ClientErrorKind::Refused, Some(400)), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_its_own_alerts_are_read() {
    // The rule is evaluated once a second from the start on.
    for _ in 0..100 {
        if let [alert] = &prometheus().alerts().await.unwrap().value[..] {
            assert_eq!((alert.labels["alertname"].as_str(), alert.value), ("AiopsTestAlwaysFires", Some(42.0)));
            assert!(alert.state == "firing" && alert.active_at.is_some());
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no alert")
}

fn builder(lookback_minutes: i64) -> SeriesDetectorBuilder<PrometheusSource> {
    let source = prometheus().range("aiops_test_latency").step(MINUTE);
    SeriesDetector::builder("Latency", source, Mad::default())
        .service_label("service")
        .every(MINUTE)
        .lookback(MINUTE * u32::try_from(lookback_minutes).unwrap())
}

/// What one minute's evaluation tells, with its scores and without the ids of events.
async fn told(detector: &impl Detector, minute: i64) -> Vec<String> {
    let seen = detector.evaluate(Tick::new(at(minute), at(minute + 1))).await.unwrap().sightings;
    let one = |sighting: &Sighting| match sighting {
        Sighting::Firing(event) => format!("{} {} {:?}", event.service, event.fingerprint, event.signal),
        other => format!("{other:?}"),
    };
    seen.iter().map(one).collect()
}

/// Two days minute by minute, against one read of them twenty minutes before their end, amid the fault.
#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_a_detector_fed_by_two_days_of_back_fill_gives_the_scores_of_one_that_never_stopped() {
    let restart = MINUTES - 20;
    let (never_stopped, restarted) = (builder(10).build().unwrap(), builder(MINUTES).build().unwrap());
    let mut first = None;
    for minute in 1..restart {
        let fires = told(&never_stopped, minute).await.iter().any(|line| line.starts_with("checkout "));
        // The level of each afternoon is an anomaly of its own to this scorer.
        first = first.or((fires && minute > MINUTES - 100).then_some(minute));
    }
    assert_eq!(first, Some(MINUTES - 29), "the first minute of the fault");
    for minute in restart..=MINUTES {
        let expected = told(&never_stopped, minute).await;
        assert_eq!(told(&restarted, minute).await, expected, "minute {minute}");
        assert!(expected.iter().any(|line| line.starts_with("checkout ")), "{expected:?}");
        assert!(expected.iter().all(|line| !line.starts_with("cart ")), "{expected:?}");
    }
    assert_eq!(restarted.save(), never_stopped.save());
}

#[tokio::test]
#[ignore = "needs prometheus: .ci/services up prometheus"]
async fn prometheus_burn_rates_and_probes_from_counters() {
    let requests = |code: &str| format!("sum(rate(aiops_test_requests_total{{{code}}}[$window]))");
    let (good, bad, total) = (requests(r#"code="200""#), requests(r#"code="500""#), requests(""));
    let sli = [Sli::Good { good, total: total.clone() }, Sli::Bad { bad, total: total.clone() }];
    let end = at(MINUTES);
    for sli in sli {
        let slo = Slo::new("checkout", "availability", 0.999, sli).unwrap();
        let event = aiops_core::testing::samples::event("checkout", "1", end);
        let query = ContextQuery::new(event, "inc-1".into(), end, end + Duration::from_secs(10));
        let found = SloBurnRate::new(prometheus(), [slo]).gather(&query).await.unwrap();
        // One request in ten fails in the last half hour.
        for (window, rate) in [("5m", 100.0), ("30m", 100.0), ("1h", 50.0), ("2h", 25.0), ("6h", 100.0 / 12.0)] {
            let found = found[0].data["burn_rates"][window].as_f64().unwrap();
            assert!((found / rate - 1.0).abs() < 0.05, "{window}: {found}, not {rate}");
        }
        let text = &found[0].text;
        assert!(
            text.starts_with("checkout availability (99.9 %) burns its budget at 5")
                && text.ends_with("page from 14.4"),
            "{text}"
        );
    }
    // Where all fail nothing is good, and there is no series of it.
    let all = Sli::Good { good: requests(r#"code="none""#), total };
    let slo = Slo::new("checkout", "availability", 0.5, all).unwrap();
    let event = aiops_core::testing::samples::event("checkout", "1", end);
    let query = ContextQuery::new(event, "inc-1".into(), end, end + Duration::from_secs(10));
    let found = SloBurnRate::new(prometheus(), [slo]).gather(&query).await.unwrap();
    assert_eq!(found[0].data["burn_rates"]["5m"], 2.0, "{}", found[0].text);

    let probe = PrometheusProbe::new(prometheus())
        .number("failed", r#"sum(increase(aiops_test_requests_total{code="$code"}[10m]))"#)
        .unwrap();
    let failed = |code: &str| {
        ProbeQuery::new("failed", end, end + Duration::from_secs(10))
            .labels([("code".to_owned(), code.to_owned())].into())
    };
    let known = probe.read(&failed("500")).await.unwrap().value.unwrap();
    assert!((known - 60.0).abs() < 7.0, "{known}");
    check_probe(&probe, failed("500"), failed("x\"} or vector(1) #")).await.unwrap();
}
