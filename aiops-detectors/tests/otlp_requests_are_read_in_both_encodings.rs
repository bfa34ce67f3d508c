//! OTLP requests written by the official message classes (fixtures/otlp/make.py), and the liberties that JSON has.
#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::time::Duration;

use aiops_detectors::jiff::Timestamp;
use aiops_detectors::otlp::{
    MalformedOtlp, OtlpBatch, OtlpEncoding, OtlpFault, OtlpPoint, OtlpSettings, OtlpSeverity, OtlpTemporality,
    OtlpValue, decode_logs, decode_points, decode_spans,
};
use aiops_detectors::{Labels, SpanRecord};

const METRICS: [(&[u8], OtlpEncoding); 2] = [
    (include_bytes!("fixtures/otlp/metrics.pb"), OtlpEncoding::Protobuf),
    (include_bytes!("fixtures/otlp/metrics.json"), OtlpEncoding::Json),
];
const LOGS: [(&[u8], OtlpEncoding); 2] = [
    (include_bytes!("fixtures/otlp/logs.pb"), OtlpEncoding::Protobuf),
    (include_bytes!("fixtures/otlp/logs.json"), OtlpEncoding::Json),
];
const TRACES: [(&[u8], OtlpEncoding); 2] = [
    (include_bytes!("fixtures/otlp/traces.pb"), OtlpEncoding::Protobuf),
    (include_bytes!("fixtures/otlp/traces.json"), OtlpEncoding::Json),
];
/// 2026-11-20 00:00 UTC.
const START: i64 = 1_795_132_800;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The labels of the fixtures' resource, and these.
fn with_checkout(pairs: &[(&str, &str)]) -> Labels {
    let mut all =
        labels(&[("service.name", "checkout"), ("service.version", "1.4.2"), ("service.instance.id", "pod-1")]);
    all.extend(labels(pairs));
    all
}

fn one<'a>(batch: &'a OtlpBatch<OtlpPoint>, metric: &str) -> &'a OtlpPoint {
    batch.items.iter().find(|point| &*point.metric == metric).unwrap()
}

#[test]
fn metrics_of_every_kind() {
    for (body, encoding) in METRICS {
        let batch = decode_points(body, encoding, &OtlpSettings::default()).unwrap();
        let gauges: Vec<f64> = batch
            .items
            .iter()
            .filter_map(|point| if let OtlpValue::Gauge(value) = point.value { Some(value) } else { None })
            .collect();
        assert_eq!(format!("{gauges:?}"), "[0.5, -9007199254740992.0, NaN, inf, -inf]", "{encoding:?}");
        assert_eq!(batch.items[0].labels, with_checkout(&[("zone", "aä\n\"")]), "pid and scope are no labels");
        assert_eq!(batch.items[1].labels, with_checkout(&[]));
        assert!(batch.items.iter().all(|point| point.at == at(60) && point.start == Some(at(0))));
        let sum = |metric| match one(&batch, metric).value {
            OtlpValue::Sum { value, temporality, monotonic } => (value, temporality, monotonic),
            _ => panic!("{metric} is no sum"),
        };
        assert_eq!(sum("requests"), (120.0, OtlpTemporality::Cumulative, true));
        assert_eq!(sum("in_flight"), (3.0, OtlpTemporality::Cumulative, false));
        assert_eq!(sum("errors"), (6.0, OtlpTemporality::Delta, true));
        let histogram = |metric| match &one(&batch, metric).value {
            OtlpValue::Histogram { distribution, temporality } => (distribution, *temporality),
            _ => panic!("{metric} is no histogram"),
        };
        let (duration, temporality) = histogram("duration");
        assert_eq!((duration.count(), duration.sum(), temporality), (10, Some(12.5), OtlpTemporality::Cumulative));
        // 5 of 10: half of the 6 between 0.5 and 1; 9 of 10: half of the 2 between 1 and 5.
        assert_eq!([0.5, 0.9].map(|q| duration.quantile(q)), [Some(0.75), Some(3.0)]);
        let (size, temporality) = histogram("size");
        assert_eq!((size.count(), size.sum(), temporality), (7, Some(30.0), OtlpTemporality::Delta));
        // base = sqrt 2: two in (-4, -2.83], one at zero, one in (0.5, 0.707], 300 in (1, 1.414].
        assert_eq!(size.quantile(0.0), Some(-4.0));
        let median = size.quantile(0.5).unwrap();
        assert!((median - 2.0_f64.powf(0.5 * (152.0 - 4.0) / 300.0)).abs() < 1e-12, "{median}");
        let OtlpValue::Summary { count, sum, quantiles } = &one(&batch, "latency").value else { panic!("no summary") };
        assert_eq!((*count, *sum, &quantiles[..]), (4, 2.0, &[(0.5, 0.4), (0.99, 0.9)][..]));

        let rejected: Vec<_> = batch.tally.rejected.into_iter().collect();
        let one_each = [OtlpFault::NoTime, OtlpFault::NoValue, OtlpFault::NoTemporality, OtlpFault::Buckets];
        assert_eq!(rejected, one_each.map(|fault| (fault, 1)), "{encoding:?}");
        assert_eq!((batch.tally.stale, batch.tally.without_version), (1, 0));
    }
}

#[test]
fn log_records_of_every_kind() {
    for (body, encoding) in LOGS {
        let batch = decode_logs(body, encoding, &OtlpSettings::default(), at(100)).unwrap();
        let shown: Vec<_> = batch
            .items
            .iter()
            .map(|item| (item.line.at, item.line.service.as_str(), item.line.text.as_str(), item.severity))
            .collect();
        let nested = r#"{"error":"no \"route\"","tries":[1,null],"ratio":0.25,"last":true,"raw":"AP8QgA=="}"#;
        assert_eq!(
            shown,
            [
                (at(0), "checkout", nested, Some(OtlpSeverity::Error)),
                (at(1), "checkout", "observed", Some(OtlpSeverity::Warn)),
                (at(100), "checkout", "checkout.failed", Some(OtlpSeverity::Fatal)),
                (at(2), "", "who am I?", None),
                (at(3), "", "nobody set a name", None),
            ],
            "{encoding:?}"
        );
        let id = "0102030405060708090a0b0c0d0e0f10";
        assert_eq!(
            batch.items[0].line.labels,
            with_checkout(&[("code", "500"), ("severity", "error"), ("trace_id", id)])
        );
        assert_eq!(batch.items[3].line.labels, Labels::new());
        assert_eq!(batch.tally.rejected.into_iter().collect::<Vec<_>>(), [(OtlpFault::Empty, 1)]);
        assert_eq!((batch.tally.without_service, batch.tally.without_version), (2, 2));
    }
}

#[test]
fn spans_of_every_kind() {
    let mut failed = SpanRecord::new(at(2), "checkout", "GET /cart", Duration::from_secs(2)).error(true);
    failed.labels =
        with_checkout(&[("http.response.status.code", "504"), ("span.kind", "server"), ("status.message", "timeout")]);
    let mut charge = SpanRecord::new(at(2), "checkout", "charge", Duration::from_millis(1_500));
    charge.labels = with_checkout(&[("span.kind", "client")]);
    let expected = [failed, charge].map(|span| span.trace_id("0102030405060708090a0b0c0d0e0f10"));
    for (body, encoding) in TRACES {
        let batch = decode_spans(body, encoding, &OtlpSettings::default()).unwrap();
        assert_eq!(batch.items, expected, "{encoding:?}");
        let rejected: Vec<_> = batch.tally.rejected.into_iter().collect();
        let faults = [(OtlpFault::NoTime, 1), (OtlpFault::TraceId, 2), (OtlpFault::EndsBeforeStart, 1)];
        assert_eq!(rejected, faults, "{encoding:?}");
    }
}

/// A request with these points of a gauge.
fn gauge(points: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"resource":null,"scopeMetrics":[{{"scope":{{}},"later":[{{}}],"metrics":[
            {{"name":"g","unit":7,"gauge":{{"dataPoints":[{points}]}}}}]}}]}}],"of_a_later_version":{{"a":[1]}}}}"#
    )
}

fn points(json: &str) -> OtlpBatch<OtlpPoint> {
    decode_points(json.as_bytes(), OtlpEncoding::Json, &OtlpSettings::default()).unwrap()
}

#[test]
fn json_takes_what_the_standard_allows_and_a_bad_point_refuses_only_itself() {
    let time = format!("\"timeUnixNano\":\"{START}000000000\"");
    let values = [
        ("\"asInt\":\"-5\"", Some(-5.0)),
        ("\"asInt\":5", Some(5.0)),
        ("\"asInt\":5.0", Some(5.0)),
        ("\"asDouble\":5", Some(5.0)),
        ("\"asDouble\":\"1e3\"", Some(1_000.0)),
        ("\"asDouble\":\"-Infinity\"", Some(f64::NEG_INFINITY)),
        ("\"asDouble\":null,\"asInt\":1", Some(1.0)),
        ("\"asDouble\":1,\"attributes\":null,\"flags\":0,\"exemplars\":[{}]", Some(1.0)),
        ("\"as_double\":1", None), // the names of the .proto files are unknown fields
        ("\"asInt\":5.5", None),
        ("\"asInt\":\"five\"", None),
        ("\"asDouble\":[1]", None),
        ("\"asDouble\":1,\"attributes\":[{\"key\":5}]", None),
        ("\"asDouble\":1,\"asDouble\":2", None),
    ];
    let body = gauge(&values.map(|(value, _)| format!("{{{time},{value}}}")).join(","));
    let batch = points(&body);
    let read: Vec<_> = batch.items.iter().map(|point| point.value.clone()).collect();
    let expected: Vec<_> = values.iter().filter_map(|(_, value)| value.map(OtlpValue::Gauge)).collect();
    assert_eq!(read, expected);
    assert_eq!(batch.tally.rejected(), 6, "{:?}", batch.tally);
    assert!(batch.tally.to_string().contains("5 rejected: malformed"), "{}", batch.tally);
    assert!(batch.tally.to_string().contains("8 without the resource attribute service.name"), "{}", batch.tally);

    for time in ["", "\"timeUnixNano\":0,", "\"timeUnixNano\":\"0\","] {
        let batch = points(&gauge(&format!("{{{time}\"asDouble\":1}}")));
        assert_eq!(batch.tally.rejected.get(&OtlpFault::NoTime), Some(&1), "{time}");
    }
}

#[test]
fn json_takes_an_enum_by_number_or_name() {
    for (temporality, expected) in [
        ("2", Some(OtlpTemporality::Cumulative)),
        ("\"1\"", Some(OtlpTemporality::Delta)),
        ("\"AGGREGATION_TEMPORALITY_CUMULATIVE\"", Some(OtlpTemporality::Cumulative)),
        ("\"CUMULATIVE\"", None),
        ("3", None),
    ] {
        let body = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"s","sum":{{
                "aggregationTemporality":{temporality},"isMonotonic":true,
                "dataPoints":[{{"timeUnixNano":"{START}000000000","asInt":1}}]}}}}]}}]}}]}}"#
        );
        let batch = points(&body);
        let read = batch.items.first().map(|point| match point.value {
            OtlpValue::Sum { temporality, .. } => temporality,
            _ => panic!("no sum"),
        });
        assert_eq!(read, expected, "{temporality}");
    }
}

#[test]
fn what_is_broken_around_the_items_is_malformed_and_nothing_is_taken() {
    let settings = OtlpSettings::default();
    for body in
        ["", "null", "[]", "{", "{\"resourceMetrics\":5}", "{\"resourceMetrics\":[{\"scopeMetrics\":[5]}]}", "{} {}"]
    {
        let read = decode_points(body.as_bytes(), OtlpEncoding::Json, &settings);
        assert_eq!(read.unwrap_err(), MalformedOtlp, "{body}");
    }
    assert_eq!(points("{}").items, [], "a request of nothing");
    assert_eq!(decode_points(b"", OtlpEncoding::Protobuf, &settings).unwrap().items, [], "of nothing, in protobuf");
    let (protobuf, _) = METRICS[0];
    let cut = decode_points(&protobuf[..protobuf.len() - 1], OtlpEncoding::Protobuf, &settings);
    assert_eq!(cut.unwrap_err(), MalformedOtlp);
    let json = decode_points(METRICS[1].0, OtlpEncoding::Protobuf, &settings);
    assert_eq!(json.unwrap_err(), MalformedOtlp, "the wrong encoding");
}

#[test]
fn bounds_refuse_or_cut_what_is_beyond_them_and_count_it() {
    let mut settings = OtlpSettings::default();
    (settings.max_items, settings.max_attributes, settings.max_label_bytes, settings.max_line_bytes) = (3, 1, 4, 5);
    settings.resource_labels.clear();
    let point =
        |attributes: &str| format!(r#"{{"timeUnixNano":"{START}000000000","asInt":1,"attributes":[{attributes}]}}"#);
    let attribute = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let two = format!("{},{}", attribute("abcdef", "ääää"), attribute("b", "c"));
    let body = gauge(&[point(&two), point(""), point(""), point(""), point("")].join(","));
    let batch = decode_points(body.as_bytes(), OtlpEncoding::Json, &settings).unwrap();
    assert_eq!(batch.items[0].labels, labels(&[("abcd", "ää")]));
    assert_eq!((batch.items.len(), batch.tally.cut), (3, 3), "name, value, and the second attribute");
    assert_eq!(batch.tally.rejected.get(&OtlpFault::TooMany), Some(&2));

    let (body, encoding) = LOGS[1];
    let batch = decode_logs(body, encoding, &settings, at(0)).unwrap();
    assert_eq!(batch.items[0].line.text, "{\"err");
    assert_eq!(batch.items[1].line.text, "obser");
    assert_eq!(batch.items[0].line.service, "chec", "cut like any other value");
}

#[test]
fn a_value_nested_a_thousand_times_is_cut_not_followed() {
    let deep = format!("{}{}", r#"{"arrayValue":{"values":["#.repeat(1_000), "]}}".repeat(1_000));
    let body =
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":1,"body":{deep}}}]}}]}}]}}"#);
    let batch = decode_logs(body.as_bytes(), OtlpEncoding::Json, &OtlpSettings::default(), at(0)).unwrap();
    assert_eq!(batch.items[0].line.text, r#"[[[[[[[["…""#);
    assert_eq!(batch.tally.cut, 1);
}
