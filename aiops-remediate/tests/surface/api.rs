//! What programs ask.

use std::sync::Arc;

use aiops_core::MemoryIncidentLog;
use aiops_remediate::server::Surface;
use aiops_remediate::server::axum::Router;
use aiops_remediate::server::axum::http::StatusCode;
use serde_json::json;

use crate::common::acts::report;
use crate::common::at;
use crate::common::broken::{Broken, Fails};
use crate::site::{ByHeader, Host};

#[tokio::test]
async fn an_approval_shows_exactly_what_would_run_and_is_granted_once() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    let listed = host.get("bob", "/v1/approvals").await.json();
    assert_eq!(listed["approvals"].as_array().unwrap().len(), 1);
    let path = format!("/v1/approvals/{}", approval.id);
    let shown = host.get("bob", &path).await.json();
    assert_eq!(shown, listed["approvals"][0]);
    assert_eq!(shown["action"], "asked");
    assert_eq!(shown["target"], json!({"namespace": "shop", "pod": "cart-1"}));
    assert_eq!(shown["observed"], json!({"version": "v1"}));
    assert_eq!(shown["service"], "cart");
    assert_eq!(shown["state"], "pending");
    assert!(shown["parameters"]["detected_at"].is_string());

    let grant = json!({"incident_id": shown["incident_id"], "digest": shown["digest"]});
    let granted = host.json("POST", "ada", &format!("{path}/approve"), &grant).await;
    assert_eq!(granted.status, StatusCode::OK, "{granted:?}");
    assert_eq!((&granted.json()["state"], &granted.json()["decided_by"]), (&json!("approved"), &json!("ada")));
    assert_eq!(host.site.tick(&host.dispatcher, 2).await.len(), 1);
    assert_eq!(host.site.effects(), ["asked"]);
    let settled = host.get("bob", &path).await.json();
    assert_eq!(settled["state"], "approved");
}

#[tokio::test]
async fn a_refusal_tells_why() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    let body = json!({"incident_id": approval.incident_id, "digest": approval.digest, "reason": "not in the sale"});
    let refused = host.json("POST", "ada", &format!("/v1/approvals/{}/reject", approval.id), &body).await;
    assert_eq!(refused.json()["reason"], "not in the sale");
    let answers = host.site.tick(&host.dispatcher, 2).await;
    assert!(answers[0].disposition.reason().unwrap().contains("not in the sale"));
    assert!(host.site.effects().is_empty());
}

#[tokio::test]
async fn incidents_are_listed_by_service_and_state() {
    let host = Host::new();
    host.waiting(1, "asked").await;
    let all = host.get("bob", "/v1/incidents").await.json();
    assert_eq!(all["incidents"].as_array().unwrap().len(), 1);
    let id = all["incidents"][0]["incident_id"].as_str().unwrap();
    let one = host.get("bob", &format!("/v1/incidents/{id}")).await.json();
    assert_eq!(one["records"].as_array().unwrap().len(), 3);
    for (query, found) in [
        ("service=cart&state=open", 1),
        ("service=other", 0),
        ("service=other&service=cart", 1),
        ("state=resolved", 0),
        ("limit=1&unknown=x", 1),
    ] {
        let listed = host.get("bob", &format!("/v1/incidents?{query}")).await.json();
        assert_eq!(listed["incidents"].as_array().unwrap().len(), found, "{query}");
    }
    for query in ["state=burning", "limit=0", "limit=201", "limit=x"] {
        let refused = host.get("bob", &format!("/v1/incidents?{query}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::BAD_REQUEST, "malformed"), "{query}");
    }
    assert_eq!(host.get("bob", "/v1/incidents/none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn verdicts_are_written_into_the_audit_and_come_back() {
    let host = Host::new();
    host.waiting(1, "asked").await;
    let review = host.get("bob", "/v1/review").await.json();
    let number = review["items"][0]["number"].as_u64().unwrap();
    let path = format!("/v1/review/{number}/verdict");
    let judged = host.json("POST", "ada", &path, &json!({"verdict": "wrong", "note": "it was the disk"})).await.json();
    assert_eq!(judged["verdict"]["verdict"], "wrong");
    assert_eq!(judged["verdict"]["by"], "ada");
    let again = host.json("POST", "adam", &path, &json!({"verdict": "right"})).await.json();
    assert_eq!((&again["verdict"]["verdict"], &again["verdict"]["given"]), (&json!("right"), &json!(2)));
    let review = host.get("bob", "/v1/review?days=1").await.json();
    assert_eq!(review["items"][0]["verdict"]["verdict"], "right");
    assert!(host.site.audit.text().contains("it was the disk"));
    assert_eq!(
        host.json("POST", "ada", "/v1/review/99/verdict", &json!({"verdict": "right"})).await.code(),
        "not_found"
    );
    assert_eq!(host.json("POST", "ada", &path, &json!({"verdict": "yes"})).await.code(), "malformed");
    assert_eq!(host.get("bob", "/v1/review?days=0").await.code(), "malformed");
}

#[tokio::test]
async fn the_kill_switch_stops_what_was_granted() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    assert_eq!(host.get("bob", "/v1/kill-switch").await.json()["on"], false);
    let set = host.json("PUT", "ada", "/v1/kill-switch", &json!({"on": true, "reason": "failing over by hand"})).await;
    assert_eq!((&set.json()["on"], &set.json()["by"]), (&json!(true), &json!("ada")));
    let grant = json!({"incident_id": approval.incident_id, "digest": approval.digest});
    host.json("POST", "ada", &format!("/v1/approvals/{}/approve", approval.id), &grant).await;
    host.site.tick(&host.dispatcher, 2).await;
    assert!(host.site.effects().is_empty());
    assert_eq!(host.get("bob", "/v1/kill-switch").await.json()["reason"], "failing over by hand");
    let silent = host.json("PUT", "ada", "/v1/kill-switch", &json!({"on": false, "reason": " "})).await;
    assert_eq!((&silent.json()["on"], &silent.json()["reason"]), (&json!(false), &json!("no reason given")));
}

/// However many ask, and nobody has to say who they are: the store is asked once a second.
#[tokio::test]
async fn a_store_that_is_down_is_not_ready_and_not_asked_for_every_probe() {
    let mut host = Host::new();
    let store = Arc::new(Broken::new(Fails::At("kill_switch")));
    let surface =
        Surface::new(Arc::clone(&host.dispatcher), Arc::clone(&store), MemoryIncidentLog::default(), ByHeader);
    host.router = Router::new().nest("/aiops", surface.with_clock(host.site.clock.clone()).router().unwrap());
    for second in 0..3 {
        host.site.clock.set(at(second));
        for _ in 0..10 {
            assert_eq!(host.get("", "/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(host.get("", "/health").await.status, StatusCode::OK);
        }
    }
    assert_eq!(store.calls(), 3);
    let switch = host.get("ada", "/v1/kill-switch").await;
    assert_eq!((switch.status, switch.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    assert!(!switch.body.contains("disk"), "{}", switch.body);
}

#[tokio::test]
async fn health_asks_nobody_and_the_description_is_served() {
    let host = Host::new();
    for path in ["/health", "/ready"] {
        assert_eq!(host.get("", path).await.json()["status"], "ok", "{path}");
    }
    let described = host.get("", "/openapi.json").await.json();
    assert_eq!(described["openapi"], "3.1.0");
    // What refers to a schema finds it.
    let text = described.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(described.pointer(pointer).is_some(), "{reference}");
    }
    // Each operation is there under its method, and asks who it is.
    host.happened(report(1, &[]), None).await;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let filled = path.replace("{id}", "x").replace("{number}", "1");
            let reply = host.json(&method.to_uppercase(), "", &filled, &json!({})).await;
            let wanted = if operation["security"] == json!([]) { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(reply.status, wanted, "{method} {path}");
            assert!(operation["responses"][wanted.as_str()].is_object(), "{method} {path}");
        }
        let other = host.json("DELETE", "ada", &path.replace("{id}", "x").replace("{number}", "1"), &json!({})).await;
        assert_eq!((other.status, other.code().as_str()), (StatusCode::METHOD_NOT_ALLOWED, "method"), "{path}");
    }
    assert_eq!(host.get("ada", "/v1/nothing").await.code(), "not_found");
}
