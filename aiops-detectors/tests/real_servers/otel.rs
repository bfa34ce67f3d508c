//! Real clients of OTLP send to the router: the Python SDK and a collector, on request (.ci/services.d/otel.py).

use std::time::Duration;

use aiops_core::SystemClock;
use aiops_detectors::client::reqwest;
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::otlp::{OtlpHttpLimits, OtlpIntake, OtlpQuantity, OtlpSeverity, OtlpSource, router};
use aiops_detectors::server::{BearerToken, axum};
use aiops_detectors::{LogLine, LogSource, MemoryLogSource, MemorySpanSource, SampleSource, SpanSource};

use super::url_of;

/// Serves an intake on a free port; it ends with the test's runtime.
async fn serve(intake: OtlpIntake) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = router(intake, BearerToken::new("s3cret"), SystemClock, OtlpHttpLimits::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Has a client send to `url`, or do what else it can.
async fn ask(what: &str, url: &str) {
    let answer = reqwest::get(format!("{}/{what}?to={url}", url_of("OTEL_URL", "otel"))).await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{text}");
}

/// The values of the one series of a source, and whether its labels say who it is from.
async fn values(source: &OtlpSource) -> Vec<f64> {
    let series = source.read(Timestamp::UNIX_EPOCH, Timestamp::MAX).await.unwrap().series;
    let [only] = &series[..] else { panic!("{}: {series:?}", source.metric()) };
    for (label, value) in [("service.name", "checkout"), ("service.version", "1.4.2"), ("service.instance.id", "pod-1")]
    {
        assert_eq!(only.labels.get(label).map(String::as_str), Some(value), "{:?}", only.labels);
    }
    only.samples.iter().map(|sample| sample.value).collect()
}

async fn lines(source: &MemoryLogSource) -> Vec<LogLine> {
    source.read(Timestamp::UNIX_EPOCH, Timestamp::MAX).await.unwrap().lines
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs otel: .ci/services up otel"]
async fn otel_an_sdk_sends_all_three_signals() {
    let source = |metric: &str, quantity| OtlpSource::new(metric, metric, quantity, 100);
    let requests = source("requests", OtlpQuantity::Increase);
    let depth = source("depth", OtlpQuantity::Value);
    let mean = source("duration", OtlpQuantity::Mean);
    let median = source("size", OtlpQuantity::Quantile(0.5));
    let (logs, spans) = (MemoryLogSource::new("logs", 100), MemorySpanSource::new("spans", 100));
    let sources = [&requests, &depth, &mean, &median];
    let intake = sources.into_iter().fold(OtlpIntake::new(), |intake, source| intake.metric(source.clone()));
    let url = serve(intake.logs_from(OtlpSeverity::Error, logs.clone()).spans(spans.clone())).await;
    ask("sdk", &url).await;

    // What an SDK has counted before its second export, and the one at its end, which adds nothing. Its streams
    // may begin a moment before the first request is received here: then that one has no increase.
    let requests = values(&requests).await;
    assert!(requests.ends_with(&[3.0, 0.0]) && requests.len() <= 3, "{requests:?}");
    assert_eq!(values(&depth).await[..2], [7.5, 8.0]);
    let means = values(&mean).await;
    assert!((means.last().unwrap() - 50.5).abs() < 1e-9, "{means:?}: of 1 to 100");
    let median = *values(&median).await.last().unwrap();
    assert!((48.0..53.0).contains(&median), "{median}: of 1 to 100");

    let [line] = &lines(&logs).await[..] else { panic!("not one line") };
    assert_eq!((line.service.as_str(), line.text.as_str()), ("checkout", "no connection to db-1"));
    let spans = spans.read(Timestamp::UNIX_EPOCH, Timestamp::MAX).await.unwrap().spans;
    let shown: Vec<_> =
        spans.iter().map(|span| (span.operation.as_str(), span.error, span.labels["span.kind"].as_str())).collect();
    assert_eq!(shown, [("GET /cart", true, "server"), ("charge", false, "client")]);
    assert_eq!(line.labels["trace_id"], spans[0].trace_id, "the line belongs to the span");
    assert_eq!(spans[0].labels["service.version"], "1.4.2");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs otel: .ci/services up otel"]
async fn otel_a_collector_sends_the_lines_of_a_file() {
    let (errors, all) = (MemoryLogSource::new("errors", 100), MemoryLogSource::new("all", 100));
    let intake = OtlpIntake::new().logs(all.clone()).logs_from(OtlpSeverity::Error, errors.clone());
    ask("collector", &serve(intake).await).await;
    // It starts in some tenths of a second.
    for _ in 0..300 {
        if lines(&all).await.len() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ask("stop", "").await;
    let seconds: Vec<_> = lines(&all).await.iter().map(|line| line.at.as_second() - 1_795_132_800).collect();
    assert_eq!(seconds, [0, 1, 2], "the times of the lines, not of their reading");
    let errors = lines(&errors).await;
    let texts: Vec<_> = errors.iter().map(|line| (line.labels["text"].as_str(), line.service.as_str())).collect();
    assert_eq!(
        texts,
        [("no connection to db-1", ""), ("no connection to db-2", "")],
        "a file does not say whose it is"
    );
}
