//! What should not get through: strangers, replays, other incidents, other sites, too much, too late.

use aiops_remediate::server::axum::body::{Body, Bytes};
use aiops_remediate::server::axum::http::{Request, StatusCode};
use serde_json::json;

use crate::common::at;
use crate::site::{Host, token};

/// Everything that changes something, by JSON and by form.
fn changes(approval: &str) -> Vec<(&'static str, String)> {
    vec![
        ("POST", format!("/v1/approvals/{approval}/approve")),
        ("POST", format!("/v1/approvals/{approval}/reject")),
        ("POST", "/v1/review/1/verdict".to_owned()),
        ("PUT", "/v1/kill-switch".to_owned()),
        ("POST", format!("/page/approvals/{approval}")),
        ("POST", "/page/review/1".to_owned()),
        ("POST", "/page/kill-switch".to_owned()),
    ]
}

#[tokio::test]
async fn strangers_and_readers_change_nothing() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    for (who, status) in [
        ("", StatusCode::UNAUTHORIZED),
        ("eve", StatusCode::UNAUTHORIZED),
        ("bob", StatusCode::FORBIDDEN),
        ("nobody knows", StatusCode::SERVICE_UNAVAILABLE),
        ("crash", StatusCode::SERVICE_UNAVAILABLE),
    ] {
        for (method, path) in changes(approval.id.as_str()) {
            let reply = host.json(method, who, &path, &json!({})).await;
            assert_eq!(reply.status, status, "{who} {path}");
            assert!(!reply.body.contains("session store"), "{}", reply.body);
        }
    }
    for path in ["/v1/approvals", "/v1/incidents", "/v1/review", "/v1/kill-switch", "/page", "/page/review"] {
        let reply = host.get("eve", path).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(!reply.body.contains("cart"), "{path}");
    }
    assert_eq!(host.dispatcher.approvals().await.unwrap().len(), 1);
    assert!(!host.site.audit.text().contains("\"kind\":\"kill_switch\""));
}

#[tokio::test]
async fn a_second_word_of_anybody_changes_nothing() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    let body = json!({"incident_id": approval.incident_id, "digest": approval.digest});
    let (approve, reject) =
        (format!("/v1/approvals/{}/approve", approval.id), format!("/v1/approvals/{}/reject", approval.id));
    // At the same time: one is taken.
    let (one, other, no) = tokio::join!(
        host.json("POST", "ada", &approve, &body),
        host.json("POST", "adam", &approve, &body),
        host.json("POST", "adam", &reject, &body),
    );
    let taken = [&one, &other, &no].into_iter().filter(|reply| reply.status == StatusCode::OK).count();
    assert_eq!(taken, 1, "{one:?} {other:?} {no:?}");
    for (path, who) in [(&approve, "ada"), (&approve, "adam"), (&reject, "ada")] {
        let replayed = host.json("POST", who, path, &body).await;
        assert_eq!((replayed.status, replayed.code().as_str()), (StatusCode::CONFLICT, "settled"));
        assert!(replayed.json()["error"]["approval"]["decided_by"].is_string());
    }
    host.site.tick(&host.dispatcher, 2).await;
    host.site.tick(&host.dispatcher, 3).await;
    assert_eq!(host.site.effects(), ["asked"]);
    // After it ran.
    assert_eq!(host.json("POST", "ada", &approve, &body).await.code(), "settled");
}

#[tokio::test]
async fn an_approval_is_of_its_incident_its_digest_and_its_time() {
    let host = Host::new();
    let (one, two) = (host.waiting(1, "asked").await, host.waiting(2, "asked_too").await);
    assert_ne!(one.incident_id, two.incident_id);
    let approve = format!("/v1/approvals/{}/approve", one.id);
    for (body, code) in [
        (json!({"incident_id": two.incident_id, "digest": one.digest}), "other_incident"),
        (json!({"incident_id": one.incident_id, "digest": two.digest}), "other_digest"),
        (json!({"incident_id": one.incident_id, "digest": ""}), "other_digest"),
        (json!({"incident_id": one.incident_id}), "malformed"),
        (json!({"incident_id": one.incident_id, "digest": one.digest, "dry_run": false}), "malformed"),
        (json!([]), "malformed"),
    ] {
        assert_eq!(host.json("POST", "ada", &approve, &body).await.code(), code, "{body}");
    }
    let body = json!({"incident_id": one.incident_id, "digest": one.digest});
    for id in ["0", "..", "%2e%2e", "%00", "%ff", "00000000000000000000000000000000"] {
        let guessed = host.json("POST", "ada", &format!("/v1/approvals/{id}/approve"), &body).await;
        assert_eq!(guessed.status, StatusCode::NOT_FOUND, "{id}");
    }
    // Adam's word is good for the host, and the dispatcher's own authoriser takes that of all who begin like ada.
    host.site.clock.set(at(1_800));
    let late = host.json("POST", "ada", &approve, &body).await;
    assert_eq!((late.status, late.code().as_str()), (StatusCode::CONFLICT, "expired"));
    host.site.tick(&host.dispatcher, 1_801).await;
    assert!(host.site.effects().is_empty());
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    let page = format!("/page/approvals/{}", approval.id);
    let good = token(&host.get("ada", &page).await.body, &page);
    let fields = |token: &str| {
        vec![
            ("token".to_owned(), token.to_owned()),
            ("incident_id".to_owned(), approval.incident_id.to_string()),
            ("digest".to_owned(), approval.digest.clone()),
            ("decision".to_owned(), "approve".to_owned()),
        ]
    };
    // A form without the token, with one of somebody else, of another form, of yesterday.
    let adams = token(&host.get("adam", &page).await.body, &page);
    let switch = token(&host.get("ada", "/page").await.body, "page/kill-switch");
    for bad in ["", "0", &adams, &switch, &good[1..]] {
        let fields = fields(bad);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let reply = host.form("ada", &page, &fields).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{bad}");
    }
    let body = |token: &str| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields(token));
        form.finish()
    };
    // With the right token, and yet from elsewhere, or of a type that a script of another site could send.
    for (header, value, kind) in [
        ("sec-fetch-site", "cross-site", "application/x-www-form-urlencoded"),
        ("sec-fetch-site", "same-site", "application/x-www-form-urlencoded"),
        ("sec-fetch-site", "same-origin", "text/plain"),
        ("sec-fetch-site", "none", "multipart/form-data; boundary=x"),
    ] {
        let request = Request::post(format!("/aiops{page}"))
            .header("x-user", "ada")
            .header("content-type", kind)
            .header(header, value)
            .body(Body::from(body(&good)))
            .unwrap();
        let reply = host.send(request).await;
        assert!(matches!(reply.status, StatusCode::FORBIDDEN | StatusCode::UNSUPPORTED_MEDIA_TYPE), "{value} {kind}");
    }
    // The API takes JSON alone, which other sites cannot send unasked.
    let json = json!({"incident_id": approval.incident_id, "digest": approval.digest}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = Request::post(format!("/aiops/v1/approvals/{}/approve", approval.id))
            .header("x-user", "ada")
            .header("content-type", kind)
            .body(Body::from(json.clone()))
            .unwrap();
        assert_eq!(host.send(request).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    host.site.clock.set(at(7_200));
    let old = body(&good);
    let request = Request::post(format!("/aiops{page}"))
        .header("x-user", "ada")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(old))
        .unwrap();
    assert_eq!(host.send(request).await.status, StatusCode::FORBIDDEN);
    host.site.clock.set(at(1));
    assert_eq!(host.dispatcher.approvals().await.unwrap().len(), 1, "it still waits");
}

/// A body of 10 MB, announced or not, in pieces.
#[tokio::test]
async fn too_much_is_refused_before_it_is_kept() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for (method, path) in changes(approval.id.as_str()) {
        let kind = if path.starts_with("/page") { "application/x-www-form-urlencoded" } else { "application/json" };
        for announced in [true, false] {
            let counted = std::sync::Arc::clone(&taken);
            let pieces = (0..10_000).map(move |_| {
                counted.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1_000]))
            });
            let mut request = Request::builder().method(method).uri(format!("/aiops{path}"));
            if announced {
                request = request.header("content-length", "10000000");
            }
            let request = request
                .header("x-user", "ada")
                .header("content-type", kind)
                .body(Body::from_stream(futures_util::stream::iter(pieces)))
                .unwrap();
            let reply = host.send(request).await;
            assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        }
    }
    let read = taken.load(std::sync::atomic::Ordering::Relaxed);
    assert!(read <= 7 * 67_000, "{read} bytes were read of 140 MB");
    println!("read {read} of 140,000,000 bytes");
}

/// A body that never ends costs ten seconds.
#[tokio::test]
async fn a_slow_client_holds_nothing() {
    let host = Host::new();
    let waits = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let request = Request::put("/aiops/v1/kill-switch")
        .header("x-user", "ada")
        .header("content-type", "application/json")
        .body(Body::from_stream(waits))
        .unwrap();
    let (reply, ()) = tokio::join!(host.send(request), async { host.site.clock.set(at(10)) });
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::REQUEST_TIMEOUT, "slow"));
}
