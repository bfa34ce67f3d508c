//! One series of samples in through CSV, push, Prometheus, VictoriaMetrics and OTLP in both encodings: the same
//! sightings out, byte for byte but for the ids of events.
#![cfg(all(feature = "client", feature = "otlp"))]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use aiops_core::{Detector, Sighting, Tick};
use aiops_detectors::client::{Endpoint, Prometheus, reqwest};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::otlp::{OtlpEncoding, OtlpIntake, OtlpQuantity, OtlpSource};
use aiops_detectors::{Labels, Mad, MemorySource, PushSource, Sample, SampleSource, Series, SeriesDetector, read_csv};
use serde_json::{Value, json};

mod http_double;
use http_double::{Double, Reply, Request};

/// 2026-11-20 00:10 UTC.
const START: i64 = 1_795_133_400;
const MINUTE: Duration = Duration::from_secs(60);
const MINUTES: i64 = 200;
const SERVICES: [&str; 2] = ["cart", "checkout"];
/// The label that names them, by OTLP's rules and by PromQL's, which has no dots.
const OF_OTLP: &str = "service.name";
const OF_PROMQL: &str = "service";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(START + minute * 60).unwrap()
}

/// Numbers with nine decimals, as many as VictoriaMetrics keeps of them; checkout is slow from the 150th minute to
/// the 160th, and has a gap. The real servers have them as `aiops_test_ways` (.ci/services.d/history.sh).
fn value(service: &str, minute: i64) -> Option<f64> {
    let slow = if service == "checkout" && (150..160).contains(&minute) { 2.0 } else { 0.0 };
    let gap = service == "checkout" && (100..104).contains(&minute);
    (!gap).then(|| format!("{:.9}", (minute % 13) as f64 / 30.0 + 0.1 + slow).parse().unwrap())
}

fn labels(name: &str, service: &str) -> Labels {
    Labels::from([(name.to_owned(), service.to_owned())])
}

/// What is sent or pushed in a minute.
fn of_minute(minute: i64) -> impl Iterator<Item = (&'static str, f64)> {
    SERVICES.into_iter().filter_map(move |service| Some((service, value(service, minute)?)))
}

/// Runs a detector minute by minute; `feed` brings what came in the minute before.
async fn sightings(label: &str, source: impl SampleSource, feed: impl Fn(i64)) -> Vec<String> {
    let detector = SeriesDetector::builder("Latency", source, Mad::default())
        .service_label(label)
        .every(MINUTE)
        .unit("s")
        .build()
        .unwrap();
    let mut seen = Vec::new();
    for minute in 1..=MINUTES {
        feed(minute - 1);
        for sighting in detector.evaluate(Tick::new(at(minute), at(minute + 1))).await.unwrap().sightings {
            seen.push(match sighting {
                Sighting::Firing(event) => {
                    let mut event = serde_json::to_value(event).unwrap();
                    event.as_object_mut().unwrap().remove("event_id").unwrap();
                    format!("{minute} firing {event}")
                }
                other => format!("{minute} {other:?}"),
            });
        }
    }
    seen
}

fn csv(label: &str) -> MemorySource {
    let series = SERVICES.map(|service| {
        let mut text = "timestamp,value\n".to_owned();
        for (minute, value) in (0..MINUTES).filter_map(|minute| Some((minute, value(service, minute)?))) {
            writeln!(text, "{},{value}", at(minute)).unwrap();
        }
        Series::new(labels(label, service), read_csv(text.as_bytes()).unwrap().samples)
    });
    MemorySource::new("csv", series.into())
}

/// Answers a range query as Prometheus would that has scraped these samples.
fn answer(request: &Request) -> Reply {
    let [start, end] = ["start", "end"].map(|name| request.parameter(name).unwrap().parse::<f64>().unwrap() as i64);
    let result: Vec<Value> = SERVICES
        .into_iter()
        .map(|service| {
            let of = |seconds| Some(json!([seconds, value(service, (seconds - START) / 60)?.to_string()]));
            let values: Vec<Value> = (start.max(START)..=end).step_by(60).filter_map(of).collect();
            json!({"metric": labels(OF_OTLP, service), "values": values})
        })
        .filter(|series| series["values"] != json!([]))
        .collect();
    Reply::ok(json!({"status": "success", "data": {"resultType": "matrix", "result": result}}).to_string())
}

fn as_json(minute: i64) -> Vec<u8> {
    let group = |(service, value): (&str, f64)| {
        let attribute = json!({"key": "service.name", "value": {"stringValue": service}});
        let point = json!({"timeUnixNano": at(minute).as_nanosecond().to_string(), "asDouble": value});
        let metric = json!({"name": "latency", "gauge": {"dataPoints": [point]}});
        json!({"resource": {"attributes": [attribute]}, "scopeMetrics": [{"metrics": [metric]}]})
    };
    json!({"resourceMetrics": of_minute(minute).map(group).collect::<Vec<_>>()}).to_string().into_bytes()
}

/// A field of bytes, shorter than 128.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn fixed(number: u8, bits: u64) -> Vec<u8> {
    [&[number << 3 | 1][..], &bits.to_le_bytes()].concat()
}

fn as_protobuf(minute: i64) -> Vec<u8> {
    let group = |(service, value): (&str, f64)| {
        let key_value = [field(1, b"service.name"), field(2, &field(1, service.as_bytes()))].concat();
        let nanos = u64::try_from(at(minute).as_nanosecond()).unwrap();
        let point = [fixed(3, nanos), fixed(4, value.to_bits())].concat();
        let metric = [field(1, b"latency"), field(5, &field(1, &point))].concat();
        // The resource after what it is of: any order is allowed.
        field(1, &[field(2, &field(2, &metric)), field(1, &field(1, &key_value))].concat())
    };
    of_minute(minute).flat_map(group).collect()
}

async fn by_otlp(encoding: OtlpEncoding, body: impl Fn(i64) -> Vec<u8>) -> Vec<String> {
    let source = OtlpSource::new("otlp", "latency", OtlpQuantity::Value, 100);
    let intake = OtlpIntake::new().metric(source.clone());
    sightings(OF_OTLP, source, |minute| {
        let tally = intake.take_metrics(&body(minute), encoding, at(minute)).unwrap();
        assert_eq!((tally.rejected(), tally.unread), (0, 0), "{tally}");
    })
    .await
}

#[tokio::test]
async fn the_same_events_by_every_way() {
    let expected = sightings(OF_OTLP, csv(OF_OTLP), |_| ()).await;
    let firing: Vec<_> = expected.iter().filter(|line| line.contains(" firing ")).collect();
    assert!(firing.len() >= 10 && firing.iter().all(|line| line.contains("\"service\":\"checkout\"")), "{firing:?}");
    let kinds: BTreeMap<_, usize> = expected.iter().fold(BTreeMap::new(), |mut kinds, line| {
        *kinds.entry(line.split([' ', '(']).nth(1).unwrap()).or_default() += 1;
        kinds
    });
    assert_eq!(kinds.len(), 3, "firing, normal and unknown: {kinds:?}");

    let push = PushSource::new("push", 100);
    let pushed = sightings(OF_OTLP, push.clone(), |minute| {
        for (service, value) in of_minute(minute) {
            push.offer(labels(OF_OTLP, service), Sample { at: at(minute), value }).unwrap();
        }
    })
    .await;
    assert_eq!(pushed, expected, "push");

    let double = Double::start(|_, request| answer(request)).await;
    let prometheus = Prometheus::new(Endpoint::new(&double.url, reqwest::Client::new()).unwrap());
    let source = prometheus.range("latency").step(MINUTE);
    assert_eq!(sightings(OF_OTLP, source, |_| ()).await, expected, "Prometheus");

    assert_eq!(by_otlp(OtlpEncoding::Json, as_json).await, expected, "OTLP in JSON");
    assert_eq!(by_otlp(OtlpEncoding::Protobuf, as_protobuf).await, expected, "OTLP in protobuf");
}

#[tokio::test]
#[ignore = "needs prometheus and victoria-metrics: .ci/services up prometheus victoria-metrics"]
async fn the_same_events_by_real_servers() {
    let expected = sightings(OF_PROMQL, csv(OF_PROMQL), |_| ()).await;
    let by_otlp_names = sightings(OF_OTLP, csv(OF_OTLP), |_| ()).await;
    let renamed = |line: String| line.replace(OF_OTLP, OF_PROMQL);
    assert_eq!(expected, by_otlp_names.into_iter().map(renamed).collect::<Vec<_>>(), "the name of the label");
    for variable in ["PROM_URL", "VM_URL"] {
        let url = std::env::var(variable).unwrap_or_else(|_| panic!("{variable}: run .ci/services up"));
        let prometheus = Prometheus::new(Endpoint::new(&url, reqwest::Client::new()).unwrap());
        // A bare name would repeat the last value in the gap; `max` drops the metric's name.
        let source = prometheus.range("max by (service) (max_over_time(aiops_test_ways[59s]))").step(MINUTE);
        assert_eq!(sightings(OF_PROMQL, source, |_| ()).await, expected, "{variable}");
    }
}
