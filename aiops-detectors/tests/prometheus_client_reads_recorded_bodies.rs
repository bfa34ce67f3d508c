//! Every body that real servers were seen to answer is read, each through the client.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::path::Path;
use std::time::Duration;

use aiops_core::error_chain;
use aiops_detectors::client::{
    ClientError, ClientErrorKind, Endpoint, Prometheus, PrometheusAnswer, PrometheusValue, reqwest,
};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{Labels, Sample, Series};

mod http_double;
use http_double::{Double, Reply};

fn recorded(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/prometheus").join(name)).unwrap()
}

fn client(double: &Double) -> Prometheus {
    Prometheus::new(Endpoint::new(&double.url, reqwest::Client::new()).unwrap())
}

async fn query_of(status: u16, body: String) -> Result<PrometheusAnswer<PrometheusValue>, ClientError> {
    let double = Double::start(move |_, _| Reply::Body(status, body.clone())).await;
    client(&double).query("x", at("2026-11-25T03:00:00Z")).await
}

async fn range_of(status: u16, body: String) -> Result<PrometheusAnswer<Vec<Series>>, ClientError> {
    let double = Double::start(move |_, _| Reply::Body(status, body.clone())).await;
    let from = at("2026-11-25T03:00:00Z");
    client(&double).query_range("x", from, from, Duration::from_secs(60)).await
}

async fn value(name: &str) -> PrometheusValue {
    query_of(200, recorded(name)).await.unwrap().value
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_vector_is_one_sample_for_each_series() {
    let PrometheusValue::Vector(series) = value("prom_query_vector.json").await else { panic!("no vector") };
    let name = ("__name__", "http_request_duration_p99_seconds");
    assert_eq!(series[0].labels, labels(&[name, ("instance", "i-0"), ("job", "cart")]));
    let milliseconds = Timestamp::from_millisecond(1_795_575_707_840).unwrap();
    assert_eq!(series[0].samples, [Sample { at: milliseconds, value: 0.242_781 }]);
    assert_eq!(series.len(), 2);
    assert!(matches!(value("vm_query_vector.json").await, PrometheusValue::Vector(series) if series.len() == 2));
}

#[tokio::test]
async fn an_empty_result_is_no_error() {
    for name in ["prom_query_empty.json", "vm_query_empty.json", "vm_query_scalar.json", "vm_query_string.json"] {
        assert_eq!(value(name).await, PrometheusValue::Vector(Vec::new()), "{name}");
    }
    let null = r#"{"status":"success","data":{"result":null,"resultType":"vector"}}"#;
    assert_eq!(query_of(200, null.to_owned()).await.unwrap().value, PrometheusValue::Vector(Vec::new()));
    assert_eq!(range_of(200, recorded("vm_query_range_end_before_start.json")).await.unwrap().value, []);
}

#[tokio::test]
async fn scalars_and_strings_are_read_as_what_they_are() {
    let expected = Sample { at: Timestamp::from_millisecond(1_795_575_707_856).unwrap(), value: 1.0 };
    assert_eq!(value("prom_query_scalar.json").await, PrometheusValue::Scalar(expected));
    assert_eq!(value("prom_query_string.json").await, PrometheusValue::Text("hi".to_owned()));
    assert!(
        matches!(value("vm_query_scalar1.json").await, PrometheusValue::Vector(one) if one[0].samples[0].value == 2.0)
    );
}

#[tokio::test]
async fn nan_and_infinities_come_as_they_are() {
    let PrometheusValue::Vector(series) = value("prom_query_nan_inf.json").await else { panic!("no vector") };
    let values: Vec<(&str, f64)> = series.iter().map(|s| (s.labels["k"].as_str(), s.samples[0].value)).collect();
    assert_eq!(values[0], ("big", 1.5e21));
    assert!(values[1].0 == "nan" && values[1].1.is_nan());
    assert_eq!(values[2..], [("ninf", f64::NEG_INFINITY), ("pinf", f64::INFINITY), ("tiny", 1e-7)]);
    // VictoriaMetrics leaves NaN out and writes numbers in full.
    let PrometheusValue::Vector(series) = value("vm_query_nan_inf.json").await else { panic!("no vector") };
    let values: Vec<f64> = series.iter().map(|s| s.samples[0].value).collect();
    assert_eq!(values, [1.5e21, f64::NEG_INFINITY, f64::INFINITY, 1e-7]);
}

#[tokio::test]
async fn a_range_selector_gives_a_matrix_whatever_its_content_type() {
    for (name, samples) in [("prom_query_matrix.json", 3), ("vm_query_matrix.json", 2)] {
        let PrometheusValue::Matrix(series) = value(name).await else { panic!("{name}: no matrix") };
        assert_eq!(series[0].samples.len(), samples, "{name}");
    }
}

#[tokio::test]
async fn ranges_are_read_with_their_gaps() {
    for (name, series, samples) in [
        ("prom_query_range.json", 1, 11),
        ("prom_query_range_gap.json", 1, 1),
        ("prom_query_range_zscore.json", 2, 5),
        ("vm_query_range.json", 1, 10),
        ("vm_query_range_zscore.json", 2, 5),
    ] {
        let read = range_of(200, recorded(name)).await.unwrap();
        assert_eq!((read.value.len(), read.value[0].samples.len()), (series, samples), "{name}");
        assert!(!read.partial && read.warnings.is_empty() && read.infos.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn every_refusal_has_its_kind_and_the_servers_words() {
    use ClientErrorKind::{Deadline, NotFound, Refused, TooLarge};
    for (name, status, kind, words) in [
        ("prom_error_bad_query.json", 400, Refused, "unclosed left parenthesis"),
        ("prom_error_missing_query.json", 400, Refused, "no expression found"),
        ("prom_error_execution_422.json", 422, Refused, "found duplicate series"),
        ("prom_error_timeout_503.json", 503, Deadline, "query timed out"),
        ("prom_error_too_many_points.json", 400, TooLarge, "maximum resolution"),
        ("prom_404.txt", 404, NotFound, ""),
        ("vm_error_bad_query.json", 422, Refused, "unexpected token"),
        ("vm_error_missing_query.json", 422, Refused, "missing `query` arg"),
        ("vm_error_execution.json", 422, Refused, "duplicate time series"),
        ("vm_error_too_many_points.json", 422, TooLarge, "too many points"),
        ("vm_404.txt", 400, Refused, ""),
    ] {
        let error = query_of(status, recorded(name)).await.unwrap_err();
        assert_eq!((error.kind, error.status), (kind, Some(status)), "{name}");
        assert!(error.reason.contains(words) && error.reason.len() <= 310, "{name}: {error}");
        assert_eq!(error.is_retryable(), kind == Deadline, "{name}");
        assert!(!error_chain(&error).contains("127.0.0.1:42066"), "a body that is not the API's is not shown");
    }
}

#[tokio::test]
async fn alerts_carry_labels_state_time_and_value() {
    let double = Double::start(|_, _| Reply::ok(recorded("prom_alerts.json"))).await;
    let alerts = client(&double).alerts().await.unwrap().value;
    assert_eq!(double.requests()[0].target, "/api/v1/alerts");
    assert_eq!((alerts.len(), alerts[0].labels["alertname"].as_str()), (2, "P99LatencyAnomaly"));
    assert_eq!((alerts[0].state.as_str(), alerts[0].value), ("firing", Some(47.981_484_353_599_33)));
    assert_eq!(alerts[0].active_at, Some(at("2026-11-25T03:00:52.658040672Z")));
    assert_eq!(alerts[0].annotations["summary"], "P99 anomaly on checkout");
    let double = Double::start(|_, _| Reply::ok(recorded("vm_alerts.txt"))).await;
    assert_eq!(client(&double).alerts().await.unwrap().value, []);
}

/// Shapes of Prometheus 3 (querying/api.md, "Native histograms").
#[tokio::test]
async fn a_native_histogram_is_an_error_that_says_what_to_ask_for() {
    let histogram = r#"[1795575707.8,{"count":"3","sum":"1.5","buckets":[[0,"0.5","1","3"]]}]"#;
    for item in [
        format!(r#"{{"metric":{{"__name__":"rpc"}},"histogram":{histogram}}}"#),
        format!(r#"{{"metric":{{"__name__":"rpc"}},"values":[[1795575647,"1"]],"histograms":[{histogram}]}}"#),
    ] {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{item}]}}}}"#);
        let error = range_of(200, body).await.unwrap_err();
        assert_eq!(error.kind, ClientErrorKind::Unsupported);
        assert!(error.reason.starts_with("rpc has native histograms: ask for histogram_quantile"), "{error}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn only_what_the_storage_warns_of_makes_an_answer_partial() {
    let with =
        |beside: &str| format!(r#"{{"status":"success",{beside},"data":{{"resultType":"matrix","result":[]}}}}"#);
    for (beside, partial) in [
        (r#""infos":["PromQL info: metric might not be a counter (1:6)"]"#, false),
        (r#""warnings":["PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)"]"#, false),
        (r#""warnings":["remote_read: store a is down"]"#, true),
        (r#""isPartial":true"#, true),
        (r#""isPartial":false,"warnings":null"#, false),
    ] {
        let answer = range_of(200, with(beside)).await.unwrap();
        assert_eq!(answer.partial, partial, "{beside}");
    }
}

#[tokio::test]
async fn an_error_behind_200_is_an_error() {
    let error = |kind: &str| {
        format!(
            r#"{{"status":"error","errorType":"{kind}","error":"no","data":{{"resultType":"vector","result":[]}}}}"#
        )
    };
    for (name, kind) in [
        ("execution", ClientErrorKind::Refused),
        ("422", ClientErrorKind::Refused),
        ("timeout", ClientErrorKind::Deadline),
        ("unavailable", ClientErrorKind::Unavailable),
    ] {
        assert_eq!(query_of(200, error(name)).await.unwrap_err().kind, kind, "{name}");
    }
}

#[tokio::test]
async fn garbage_is_malformed_and_is_not_shown() {
    for body in [
        "",
        "<html>please log in, token=abcd</html>",
        "[]",
        r#"{"status":"success"}"#,
        r#"{"status":"success","data":null}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]}]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"abcd"]}]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1e300,"1"]}]}}"#,
        r#"{"status":"success","data":{"resultType":"scalar","result":[]}}"#,
        r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}"#,
    ] {
        let error = query_of(200, body.to_owned()).await.unwrap_err();
        assert_eq!(error.kind, ClientErrorKind::Malformed, "{body}");
        assert!(error.is_retryable() && !error_chain(&error).contains("abcd"), "{error}");
    }
}
