//! Bar: 300,000 OTLP data points a second on one core, from the body of a request to samples in their
//! source. Baseline, in the same run: a bare decode of the same body by `prost` into the generated messages,
//! of which nothing is done.

use std::hint::black_box;

use aiops_detectors::jiff::Timestamp;
use aiops_detectors::otlp::{OtlpEncoding, OtlpIntake, OtlpQuantity, OtlpSettings, OtlpSource, decode_points};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Value as Json, json};

/// Processes in one request of a collector.
const PROCESSES: u64 = 40;
/// Points of each of the three metrics of a process: routes.
const ROUTES: u64 = 70;
const POINTS: u64 = PROCESSES * ROUTES * 3;
const START: u64 = 1_795_132_800_000_000_000;
const MINUTE: u64 = 60_000_000_000;

fn attributes(pairs: &[(&str, String)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, String)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.clone())) }),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}

/// The attributes that the semantic conventions ask for of an HTTP server's metric.
fn route(number: u64) -> Vec<KeyValue> {
    attributes(&[
        ("http.request.method", "GET".to_owned()),
        ("http.response.status_code", (200 + number % 5 * 100).to_string()),
        ("http.route", format!("/api/v1/things/{number}")),
        ("network.protocol.version", "1.1".to_owned()),
        ("url.scheme", "https".to_owned()),
    ])
}

fn number(route_number: u64, minute: u64, value: Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes: route(route_number),
        start_time_unix_nano: START,
        time_unix_nano: START + minute * MINUTE,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: "s".to_owned(), data: Some(data), ..Metric::default() }
}

/// One request: for each process a gauge, a cumulative counter and a cumulative histogram of 14 bounds over
/// its routes.
fn request(minute: u64) -> ExportMetricsServiceRequest {
    let process = |process: u64| {
        let gauge = (0..ROUTES).map(|route| number(route, minute, Value::AsDouble(0.25 * minute as f64))).collect();
        let sum = (0..ROUTES).map(|route| number(route, minute, Value::AsInt((minute * 17) as i64))).collect();
        let histogram = |number| HistogramDataPoint {
            attributes: route(number),
            start_time_unix_nano: START,
            time_unix_nano: START + minute * MINUTE,
            count: 15 * minute,
            sum: Some(3.5 * minute as f64),
            bucket_counts: vec![minute; 15],
            explicit_bounds: vec![0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
            ..HistogramDataPoint::default()
        };
        let metrics = vec![
            metric("http.server.active_requests", Data::Gauge(Gauge { data_points: gauge })),
            metric(
                "http.server.requests",
                Data::Sum(Sum { data_points: sum, aggregation_temporality: 2, is_monotonic: true }),
            ),
            metric(
                "http.server.request.duration",
                Data::Histogram(Histogram {
                    data_points: (0..ROUTES).map(histogram).collect(),
                    aggregation_temporality: 2,
                }),
            ),
        ];
        let resource = attributes(&[
            ("service.name", format!("service-{}", process % 7)),
            ("service.version", "1.4.2".to_owned()),
            ("service.instance.id", format!("627cc493-f310-47de-96bd-71410b7dec{process:02}")),
            ("telemetry.sdk.language", "java".to_owned()),
            ("telemetry.sdk.name", "opentelemetry".to_owned()),
            ("host.name", format!("node-{}", process % 5)),
        ]);
        ResourceMetrics {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }
    };
    ExportMetricsServiceRequest { resource_metrics: (0..PROCESSES).map(process).collect() }
}

fn json_of_attributes(attributes: &[KeyValue]) -> Json {
    let pair = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => json!({"key": pair.key, "value": {"stringValue": text}}),
        _ => unreachable!("all are texts"),
    };
    attributes.iter().map(pair).collect()
}

fn json_of_number(point: &NumberDataPoint) -> Json {
    let (name, value) = match point.value {
        Some(Value::AsInt(number)) => ("asInt", json!(number.to_string())),
        Some(Value::AsDouble(number)) => ("asDouble", json!(number)),
        None => unreachable!("all have a value"),
    };
    json!({
        "attributes": json_of_attributes(&point.attributes), name: value,
        "startTimeUnixNano": point.start_time_unix_nano.to_string(),
        "timeUnixNano": point.time_unix_nano.to_string(),
    })
}

fn json_of_histogram(point: &HistogramDataPoint) -> Json {
    let counts: Vec<String> = point.bucket_counts.iter().map(u64::to_string).collect();
    json!({
        "attributes": json_of_attributes(&point.attributes), "count": point.count.to_string(), "sum": point.sum,
        "bucketCounts": counts, "explicitBounds": point.explicit_bounds,
        "startTimeUnixNano": point.start_time_unix_nano.to_string(),
        "timeUnixNano": point.time_unix_nano.to_string(),
    })
}

/// The same request as proto3's JSON, in which 64-bit numbers are texts.
fn json_body(minute: u64) -> Vec<u8> {
    let metric = |metric: &Metric| {
        let (kind, data) = match &metric.data {
            Some(Data::Gauge(gauge)) => {
                ("gauge", json!({"dataPoints": gauge.data_points.iter().map(json_of_number).collect::<Json>()}))
            }
            Some(Data::Sum(sum)) => {
                let points: Json = sum.data_points.iter().map(json_of_number).collect();
                ("sum", json!({"dataPoints": points, "aggregationTemporality": 2, "isMonotonic": true}))
            }
            Some(Data::Histogram(histogram)) => {
                let points: Json = histogram.data_points.iter().map(json_of_histogram).collect();
                ("histogram", json!({"dataPoints": points, "aggregationTemporality": 2}))
            }
            _ => unreachable!("there are no others"),
        };
        json!({"name": metric.name, "unit": metric.unit, kind: data})
    };
    let process = |group: &ResourceMetrics| {
        let resource = group.resource.as_ref().map(|resource| json_of_attributes(&resource.attributes));
        let metrics: Json = group.scope_metrics.iter().flat_map(|scope| &scope.metrics).map(metric).collect();
        json!({"resource": {"attributes": resource}, "scopeMetrics": [{"metrics": metrics}]})
    };
    let groups: Json = request(minute).resource_metrics.iter().map(process).collect();
    json!({"resourceMetrics": groups}).to_string().into_bytes()
}

/// An intake that wants all three metrics and had a minute before this one.
fn intake(earlier: &[u8], encoding: OtlpEncoding, received: Timestamp) -> OtlpIntake {
    let capacity = 100_000;
    let intake = OtlpIntake::new()
        .metric(OtlpSource::new("active", "http.server.active_requests", OtlpQuantity::Value, capacity))
        .metric(OtlpSource::new("rate", "http.server.requests", OtlpQuantity::Rate, capacity))
        .metric(OtlpSource::new("p99", "http.server.request.duration", OtlpQuantity::Quantile(0.99), capacity));
    take(&intake, earlier, encoding, received);
    intake
}

fn take(intake: &OtlpIntake, body: &[u8], encoding: OtlpEncoding, received: Timestamp) {
    let tally = intake.take_metrics(body, encoding, received).unwrap_or_else(|error| unreachable!("{error}"));
    assert_eq!((tally.rejected(), tally.unread), (0, 0), "{tally}");
}

fn otlp(c: &mut Criterion) {
    let [earlier, body] = [1, 2].map(|minute| request(minute).encode_to_vec());
    let [earlier_json, json] = [1, 2].map(json_body);
    let settings = OtlpSettings::default();
    let received = Timestamp::from_nanosecond(i128::from(START + 2 * MINUTE)).unwrap_or(Timestamp::MAX);
    let size = |body: &[u8]| body.len() as f64 / 1e6;
    eprintln!("{POINTS} data points, body {:.2} MB in protobuf, {:.2} MB in JSON", size(&body), size(&json));
    let mut group = c.benchmark_group("otlp");
    group.sample_size(20).throughput(Throughput::Elements(POINTS));
    group.bench_function("bare prost decode", |b| {
        b.iter(|| black_box(ExportMetricsServiceRequest::decode(black_box(&body[..]))));
    });
    group.bench_function("decode to points with labels", |b| {
        b.iter(|| black_box(decode_points(black_box(&body), OtlpEncoding::Protobuf, &settings)));
    });
    for (name, encoding, earlier, body) in [
        ("to samples in their sources", OtlpEncoding::Protobuf, &earlier, &body),
        ("from JSON to samples in their sources", OtlpEncoding::Json, &earlier_json, &json),
    ] {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || intake(earlier, encoding, received),
                |intake| take(intake, black_box(body), encoding, received),
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("bare serde_json over the JSON, keeping nothing", |b| {
        b.iter(|| black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(&json))));
    });
    let unread = OtlpIntake::new();
    group.bench_function("metrics that nobody wants", |b| {
        b.iter(|| black_box(unread.take_metrics(black_box(&body), OtlpEncoding::Protobuf, received)));
    });
    group.finish();
}

criterion_group!(benches, otlp);
criterion_main!(benches);
