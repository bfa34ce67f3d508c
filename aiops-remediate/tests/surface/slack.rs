//! The address that Slack posts clicks to: nothing gets past the signature.

use std::sync::Arc;

use aiops_remediate::notify::{SlackClicks, reqwest};
use aiops_remediate::server::axum::Router;
use aiops_remediate::server::axum::body::{Body, Bytes};
use aiops_remediate::server::axum::http::{Request, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use tower::ServiceExt;

use crate::common::at;
use crate::site::Host;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

fn signature(timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v0={hex}")
}

async fn posted(router: &Router, timestamp: &str, signature: &str, body: Body) -> StatusCode {
    let request = Request::post("/aiops/slack")
        .header("x-slack-request-timestamp", timestamp)
        .header("x-slack-signature", signature)
        .body(body)
        .unwrap();
    router.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn the_address_of_clicks_takes_what_slack_signed_once() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    let clicks = SlackClicks::builder(Arc::clone(&host.dispatcher), SECRET, "xoxb-1", reqwest::Client::new())
        .api("http://127.0.0.1:1")
        .with_clock(host.site.clock.clone())
        .build()
        .unwrap();
    let router = Router::new().nest("/aiops", clicks.router());
    let payload = serde_json::json!({
        "type": "block_actions",
        "user": {"id": "UADA"},
        "team": {"id": "T1"},
        "channel": {"id": "C1"},
        "message": {"ts": "1.0", "blocks": []},
        "actions": [{
            "action_id": "aiops_approve",
            "block_id": format!("aiops buttons {}", approval.id),
            "value": format!("{}.{}", approval.id, approval.digest),
        }],
    });
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("payload", &payload.to_string());
    let body = form.finish();
    let timestamp = at(0).as_second().to_string();
    let good = signature(&timestamp, &body);
    let post = async |timestamp: &str, signature: &str, body: &str| {
        posted(&router, timestamp, signature, Body::from(body.to_owned())).await
    };
    assert_eq!(post(&timestamp, "", &body).await, StatusCode::UNAUTHORIZED);
    assert_eq!(post(&timestamp, &good, &format!("{body}&x=1")).await, StatusCode::UNAUTHORIZED);
    let old = (at(0).as_second() - 301).to_string();
    assert_eq!(post(&old, &signature(&old, &body), &body).await, StatusCode::UNAUTHORIZED);
    assert_eq!(post(&timestamp, &signature(&timestamp, "x=1"), "x=1").await, StatusCode::BAD_REQUEST);
    // Signed by Slack, of somebody whom the dispatcher's authoriser does not know: told, and not decided.
    assert_eq!(post(&timestamp, &good, &body).await, StatusCode::OK);
    assert_eq!(post(&timestamp, &good, &body).await, StatusCode::UNAUTHORIZED, "replayed");
    assert_eq!(host.dispatcher.approvals().await.unwrap().len(), 1);

    let pieces = (0..10_000).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1_000])));
    let large = Body::from_stream(futures_util::stream::iter(pieces));
    assert_eq!(posted(&router, &timestamp, &good, large).await, StatusCode::PAYLOAD_TOO_LARGE);
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let (slow, ()) = tokio::join!(posted(&router, &timestamp, &good, never), async { host.site.clock.set(at(3)) });
    assert_eq!(slow, StatusCode::REQUEST_TIMEOUT);
}
