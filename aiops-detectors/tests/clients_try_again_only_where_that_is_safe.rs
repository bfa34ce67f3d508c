//! Deadline, retries, bounds and secrets of the HTTP layer that all clients share.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::error_chain;
use aiops_detectors::client::{ClientError, ClientErrorKind, Endpoint, Prometheus, reqwest};
use aiops_detectors::jiff::Timestamp;

mod http_double;
use http_double::{Double, Reply};

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

fn endpoint(double: &Double) -> Endpoint {
    Endpoint::new(&double.url, reqwest::Client::new()).unwrap()
}

async fn ask(endpoint: Endpoint) -> Result<(), ClientError> {
    Prometheus::new(endpoint).query("up", Timestamp::UNIX_EPOCH).await.map(drop)
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for first in [
        Reply::Close,
        Reply::Cut(EMPTY.to_owned()),
        Reply::Body(502, "bad gateway".to_owned()),
        Reply::Body(503, "starting".to_owned()),
        Reply::WithHeader(429, "retry-after: 1", String::new()),
    ] {
        let script = first.clone();
        let double = Double::start(move |n, _| if n == 0 { script.clone() } else { Reply::ok(EMPTY) }).await;
        ask(endpoint(&double)).await.unwrap();
        assert_eq!(double.requests().len(), 2, "{first:?}");
    }
}

#[tokio::test]
async fn tries_end_after_three() {
    let double = Double::start(|_, _| Reply::Body(503, String::new())).await;
    let error = ask(endpoint(&double)).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ClientErrorKind::Unavailable, Some(503)));
    assert_eq!(double.requests().len(), 3);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn what_another_try_would_only_burden_is_tried_once() {
    let timeout = r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#;
    for (status, body, kind) in [
        (400, "", ClientErrorKind::Refused),
        (401, "", ClientErrorKind::Unauthorized),
        (403, "", ClientErrorKind::Unauthorized),
        (500, "", ClientErrorKind::Unavailable),
        (503, timeout, ClientErrorKind::Deadline),
        (504, "", ClientErrorKind::Deadline),
    ] {
        let double = Double::start(move |_, _| Reply::Body(status, body.to_owned())).await;
        assert_eq!(ask(endpoint(&double)).await.unwrap_err().kind, kind);
        assert_eq!(double.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let double = Double::start(|_, _| Reply::WithHeader(429, "retry-after: 3600", String::new())).await;
    let error = ask(endpoint(&double)).await.unwrap_err();
    assert_eq!((error.kind, double.requests().len()), (ClientErrorKind::Throttled, 1));
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_deadline() {
    let double = Double::start(|_, _| Reply::Hang).await;
    let error = ask(endpoint(&double).deadline(Duration::from_millis(80))).await.unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ClientErrorKind::Deadline, true));
    assert_eq!(double.requests()[0].parameter("timeout").as_deref(), Some("0.08"));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let endpoint = Endpoint::new("http://127.0.0.1:9", reqwest::Client::new()).unwrap();
    let error = ask(endpoint).await.unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ClientErrorKind::Unreachable, true));
    assert!(error_chain(&error).starts_with("prometheus query: unreachable: "), "{}", error_chain(&error));
    assert!(!error_chain(&error).contains("127.0.0.1:9/"), "no url: {}", error_chain(&error));
}

#[tokio::test]
async fn an_answer_over_the_bound_is_too_large_announced_or_not() {
    let padded = format!("{EMPTY}{}", " ".repeat(2_000));
    for reply in [Reply::ok(padded.clone()), Reply::Unannounced(padded.clone())] {
        let script = reply.clone();
        let double = Double::start(move |_, _| script.clone()).await;
        let error = ask(endpoint(&double).max_body(1_000)).await.unwrap_err();
        assert_eq!((error.kind, double.requests().len()), (ClientErrorKind::TooLarge, 1));
        ask(endpoint(&double).max_body(padded.len())).await.unwrap();
    }
}

#[tokio::test]
async fn long_queries_are_posted_as_a_form() {
    let double = Double::start(|_, _| Reply::ok(EMPTY)).await;
    let prometheus = Prometheus::new(endpoint(&double));
    let long = format!("sum(rate(x{{path=\"/ä&=+%\"}}[5m])) # {}", "y".repeat(5_000));
    for expression in ["up{a=\"b&c\"}", &long] {
        prometheus.query(expression, Timestamp::from_millisecond(-1_500).unwrap()).await.unwrap();
    }
    let [short, posted] = &double.requests()[..] else { unreachable!("two requests") };
    assert_eq!((short.method.as_str(), posted.method.as_str()), ("GET", "POST"));
    assert_eq!(short.parameter("query").unwrap(), "up{a=\"b&c\"}");
    assert_eq!(short.parameter("time").unwrap(), "-1.500");
    assert_eq!(posted.target, "/api/v1/query");
    assert!(posted.head.contains("content-type: application/x-www-form-urlencoded"));
    assert_eq!(posted.parameter("query").unwrap(), long);
}

#[tokio::test]
async fn prefix_tenant_and_credentials_are_sent_and_never_shown() {
    let double = Double::start(|_, request| {
        let echo = format!(r#"{{"status":"error","errorType":"bad_data","error":"who sent {}"}}"#, request.head.len());
        Reply::Body(400, echo.replace("who", "s3cr3t-token and k3y"))
    })
    .await;
    let host = double.url.trim_start_matches("http://");
    let endpoint = Endpoint::new(&format!("http://user:passw0rd@{host}/select/0/prometheus/"), reqwest::Client::new())
        .unwrap()
        .header("X-Api-Key", "k3y-0815")
        .unwrap()
        .tenant("shop")
        .unwrap();
    assert!(!format!("{endpoint:?}").contains("passw0rd") && !format!("{endpoint:?}").contains("k3y"));
    ask(endpoint.clone()).await.unwrap_err();
    let error = ask(endpoint.bearer("s3cr3t-token").unwrap()).await.unwrap_err();
    assert!(!error_chain(&error).contains("s3cr3t"), "{error}");
    assert!(error.reason.starts_with("[redacted] and k3y sent"), "{error}");
    let [basic, bearer] = &double.requests()[..] else { unreachable!("two requests") };
    assert!(basic.target.starts_with("/select/0/prometheus/api/v1/query?"), "{}", basic.target);
    for line in ["x-scope-orgid: shop", "x-api-key: k3y-0815", "authorization: basic "] {
        assert!(basic.head.contains(line), "{line}");
    }
    assert!(bearer.head.contains("authorization: bearer s3cr3t-token"));
    assert_eq!(bearer.head.matches("authorization:").count(), 1);
}

#[tokio::test]
async fn endpoints_that_cannot_work_are_refused_with_the_part_at_fault() {
    let new = |url: &str| Endpoint::new(url, reqwest::Client::new()).map(drop).unwrap_err().to_string();
    assert_eq!(new("ftp://x"), "endpoint, url: neither http nor https");
    assert_eq!(new("http://x/?tenant=a"), "endpoint, url: has a query or a fragment");
    assert!(new("prometheus").starts_with("endpoint, url: "));
    let endpoint = Endpoint::new("http://x", reqwest::Client::new()).unwrap();
    let error = endpoint.bearer("a\nb").unwrap_err().to_string();
    assert_eq!(error, "endpoint, bearer: cannot stand in a header");
}
