//! The router of OTLP over HTTP: encodings, refusals and what may be sent again (OTLP 1.10, "OTLP/HTTP").
#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::Clock;
use aiops_core::testing::{ManualClock, MetricRecorder};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::otlp::{OtlpHttpLimits, OtlpIntake, OtlpQuantity, OtlpSource, router};
use aiops_detectors::server::axum::Router;
use aiops_detectors::server::axum::body::{Body, Bytes, to_bytes};
use aiops_detectors::server::axum::http::{HeaderMap, Request, StatusCode, request::Parts};
use aiops_detectors::server::{AllowEveryone, Authoriser, BearerToken, Denied};
use aiops_detectors::{LogSource, MemoryLogSource, MemorySpanSource, SampleSource};
use flate2::{Compression, write::GzEncoder};
use tower::ServiceExt;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const TRACES: &[u8] = include_bytes!("fixtures/otlp/traces.pb");

/// A router over one metric, logs and spans, and the sources.
struct Host {
    router: Router,
    queue: OtlpSource,
    logs: MemoryLogSource,
}

impl Host {
    fn with(authoriser: impl Authoriser, clock: impl Clock, limits: OtlpHttpLimits) -> Self {
        let (queue, logs) =
            (OtlpSource::new("queue", "queue", OtlpQuantity::Value, 3), MemoryLogSource::new("logs", 9));
        let intake =
            OtlpIntake::new().metric(queue.clone()).logs(logs.clone()).spans(MemorySpanSource::new("spans", 9));
        Self { router: router(intake, authoriser, clock, limits), queue, logs }
    }

    fn new() -> Self {
        Self::with(AllowEveryone, clock(), OtlpHttpLimits::default())
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, to_bytes(body, 10_000).await.unwrap())
    }

    async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> (StatusCode, HeaderMap, Bytes) {
        self.send(post(path, content_type, body)).await
    }
}

fn post(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", content_type).body(body.into()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// When the fixtures are from.
fn clock() -> ManualClock {
    ManualClock::at_second(1_795_132_800)
}

/// A gauge with these points, of a named service or not.
fn queue(points: &str, named: bool) -> String {
    let attribute = r#"{"key":"service.name","value":{"stringValue":"cart"}}"#;
    let attributes = if named { attribute } else { "" };
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{attributes}]}},"scopeMetrics":[{{"metrics":[
            {{"name":"queue","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
    )
}

const GOOD: &str = r#"{"timeUnixNano":"1795132800000000000","asInt":1}"#;
const BAD: &str = r#"{"timeUnixNano":"1795132800000000000"}"#;

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

#[tokio::test]
async fn success_is_answered_in_the_encoding_of_the_request_plain_or_gzip() {
    let host = Host::new();
    let (status, head, body) = host.post("/v1/metrics", JSON, queue(GOOD, true)).await;
    assert_eq!((status, &head["content-type"], text(&body)), (StatusCode::OK, &JSON.parse().unwrap(), "{}"));
    let (status, head, body) = host.post("/v1/traces", PROTOBUF, "").await;
    assert_eq!((status, &head["content-type"], &body[..]), (StatusCode::OK, &PROTOBUF.parse().unwrap(), &[][..]));

    let mut request =
        post("/v1/logs", "Application/JSON; charset=utf-8", gzip(include_bytes!("fixtures/otlp/logs.json")));
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let (status, _, body) = host.send(request).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let read = host.logs.read(Timestamp::UNIX_EPOCH, Timestamp::MAX).await.unwrap();
    assert_eq!(read.lines.len(), 5);
}

#[tokio::test]
async fn partial_success_says_how_many_and_why() {
    let host = Host::new();
    let (status, _, body) = host.post("/v1/metrics", JSON, queue(&format!("{GOOD},{BAD}"), true)).await;
    assert_eq!(status, StatusCode::OK);
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["partialSuccess"]["rejectedDataPoints"], "1", "int64 is text in JSON");
    let message = body["partialSuccess"]["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("1 rejected: no_value"), "{message}");

    // A warning without a refusal.
    let (_, _, body) = host.post("/v1/metrics", JSON, queue(GOOD, false)).await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["partialSuccess"]["rejectedDataPoints"], "0");
    assert!(body["partialSuccess"]["errorMessage"].as_str().unwrap().contains("service.name"), "{body}");

    let (status, _, body) = host.post("/v1/traces", PROTOBUF, TRACES).await;
    let message = "1 rejected: no_time; 2 rejected: trace_id; 1 rejected: ends_before_start";
    let length = u8::try_from(message.len()).unwrap();
    // partial_success = 1 { rejected_spans = 1: 4, error_message = 2 }
    let expected = [&[0x0a, length + 4, 0x08, 4, 0x12, length], message.as_bytes()].concat();
    assert_eq!((status, &body[..]), (StatusCode::OK, &expected[..]));
    let (_, _, body) = host.post("/v1/logs", JSON, include_str!("fixtures/otlp/logs.json")).await;
    assert!(text(&body).contains(r#""rejectedLogRecords":"1""#), "{}", text(&body));
}

#[tokio::test]
async fn what_is_broken_or_not_spoken_here_must_not_be_sent_again() {
    let mut limits = OtlpHttpLimits::default();
    (limits.max_sent, limits.max_inflated) = (1_000, 5_000);
    let host = Host::with(AllowEveryone, clock(), limits);
    let encoded = |encoding: &str, body: Vec<u8>| {
        let mut request = post("/v1/traces", PROTOBUF, body);
        request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
        request
    };
    let bomb = gzip(&[0; 500_000]);
    assert!(bomb.len() < 1_000);
    let cut = gzip(TRACES)[..60].to_vec();
    for (what, request, expected) in [
        ("no protobuf", post("/v1/traces", PROTOBUF, "{}"), StatusCode::BAD_REQUEST),
        ("no JSON", post("/v1/logs", JSON, "{"), StatusCode::BAD_REQUEST),
        ("no gzip", encoded("gzip", TRACES.to_vec()), StatusCode::BAD_REQUEST),
        ("half a gzip", encoded("gzip", cut), StatusCode::BAD_REQUEST),
        ("a bomb", encoded("gzip", bomb), StatusCode::PAYLOAD_TOO_LARGE),
        ("zstd", encoded("zstd", TRACES.to_vec()), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("too long", post("/v1/traces", PROTOBUF, vec![0; 1_001]), StatusCode::PAYLOAD_TOO_LARGE),
        ("text", post("/v1/traces", "text/plain", TRACES), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("no type", Request::post("/v1/logs").body(Body::empty()).unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let json = request.headers().get("content-type").is_none_or(|value| value != PROTOBUF);
        let (status, head, body) = host.send(request).await;
        assert_eq!(status, expected, "{what}");
        assert!(!head.contains_key("retry-after"), "{what}");
        // google.rpc.Status, INVALID_ARGUMENT
        if json {
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(body["code"] == 3 && body["message"].is_string(), "{what}: {body}");
        } else {
            assert_eq!(head["content-type"], PROTOBUF, "{what}");
            assert_eq!(body[..3], [0x08, 3, 0x12], "{what}");
            assert_eq!(body.len(), usize::from(body[3]) + 4, "{what}");
        }
    }
    let (status, _, _) = host.send(Request::get("/v1/traces").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_full_buffer_is_429_with_retry_after_until_it_is_read() {
    let host = Host::new();
    let three = [GOOD, GOOD, GOOD].join(",");
    assert_eq!(host.post("/v1/metrics", JSON, queue(&three, true)).await.0, StatusCode::OK);
    let (status, head, _) = host.post("/v1/metrics", JSON, queue(GOOD, true)).await;
    assert_eq!((status, &head["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &"30".parse().unwrap()));
    let (status, ..) = host.post("/v1/metrics", JSON, queue(GOOD, true).replace("queue", "other")).await;
    assert_eq!(status, StatusCode::OK, "metrics that do not go there are taken");
    host.queue.read(Timestamp::UNIX_EPOCH, Timestamp::MAX).await.unwrap();
    assert_eq!(host.post("/v1/metrics", JSON, queue(GOOD, true)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_does_not_come_gives_its_turn_back_and_those_behind_it_may_come_again() {
    let clock = clock();
    let mut limits = OtlpHttpLimits::default();
    (limits.max_at_once, limits.max_wait) = (1, Duration::from_secs(5));
    let host = Arc::new(Host::with(AllowEveryone, clock.clone(), limits));
    let send = |body: Body| {
        let host = Arc::<Host>::clone(&host);
        tokio::spawn(async move { host.post("/v1/traces", PROTOBUF, body).await })
    };
    let silent = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let seconds = Duration::from_secs;
    let first = send(silent());
    clock.wait_for_sleepers(1).await;
    let second = send(silent());
    clock.wait_for_sleepers(2).await;
    clock.advance(seconds(1));
    let third = send(Body::from(TRACES));
    clock.wait_for_sleepers(3).await;
    let expect = |answer: (StatusCode, HeaderMap, Bytes), message: &str| {
        let (status, head, body) = answer;
        assert_eq!((status, &head["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
        assert!(body.ends_with(message.as_bytes()), "{body:?}");
    };
    clock.advance(seconds(4));
    expect(first.await.unwrap(), "the body came too slowly");
    clock.wait_for_sleepers(2).await;
    clock.advance(seconds(1));
    expect(third.await.unwrap(), "too many requests at the same time");
    clock.advance(seconds(4));
    expect(second.await.unwrap(), "the body came too slowly");
    assert_eq!(host.post("/v1/traces", PROTOBUF, TRACES).await.0, StatusCode::OK);
}

/// Cannot reach what it asks.
#[derive(Debug)]
struct Unreachable;

#[async_trait::async_trait]
impl Authoriser for Unreachable {
    async fn authorise(&self, request: &Parts) -> Result<(), Denied> {
        assert_eq!(request.uri.path(), "/v1/traces");
        Err(Denied::Unavailable)
    }
}

#[tokio::test]
async fn nothing_is_taken_of_those_who_may_not_send() {
    let host = Host::with(BearerToken::new("s3cret"), clock(), OtlpHttpLimits::default());
    let (status, head, body) = host.post("/v1/metrics", JSON, queue(GOOD, true)).await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &16.into()));
    assert!(!head.contains_key("retry-after"));
    assert!(host.queue.read(Timestamp::UNIX_EPOCH, Timestamp::MAX).await.unwrap().series.is_empty());
    let mut request = post("/v1/metrics", JSON, queue(GOOD, true));
    request.headers_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
    assert_eq!(host.send(request).await.0, StatusCode::OK);

    let host = Host::with(Unreachable, clock(), OtlpHttpLimits::default());
    let (status, head, _) = host.post("/v1/traces", PROTOBUF, TRACES).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && head.contains_key("retry-after"));
}

#[test]
fn requests_are_counted() {
    let recorder = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        let _: StatusCode = runtime.block_on(async { Host::new().post("/v1/logs", JSON, "{").await.0 });
    });
    assert_eq!(recorder.value("aiops_otlp_requests_total"), Some(1.0));
}
