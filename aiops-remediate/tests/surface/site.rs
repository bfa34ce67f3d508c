//! A host with a surface: who is who stands in a header, as a proxy would write it.

use std::sync::Arc;

use aiops_core::{IncidentEntry, IncidentLog, IncidentRecord, MemoryIncidentLog, Responder, Response, Triaged};
use aiops_remediate::server::axum::Router;
use aiops_remediate::server::axum::body::{Body, to_bytes};
use aiops_remediate::server::axum::http::request::Parts;
use aiops_remediate::server::axum::http::{HeaderMap, Request, StatusCode};
use aiops_remediate::server::{Access, Authoriser, Denied, Person, Surface};
use aiops_remediate::{Approval, Dispatcher, MemoryAudit, MemoryStore};
use async_trait::async_trait;
use serde_json::Value;
use tower::ServiceExt;

use crate::common::acts::{Site, report};
use crate::common::at;

/// `ada` and `adam` may do all, `bob` may look, `mallory` hangs the host's authoriser, `crash` breaks it.
#[derive(Debug)]
pub(crate) struct ByHeader;

#[async_trait]
impl Authoriser for ByHeader {
    async fn authorise(&self, request: &Parts, access: Access) -> Result<Person, Denied> {
        match request.headers.get("x-user").and_then(|name| name.to_str().ok()) {
            Some(name @ ("ada" | "adam")) => Ok(Person::new(name)),
            Some("bob") if access == Access::Read => Ok(Person::new("bob")),
            Some("bob") => Err(Denied::Forbidden),
            Some("crash") => panic!("the session store is gone"),
            Some("nobody knows") => Err(Denied::Unavailable),
            _ => Err(Denied::Unauthenticated),
        }
    }
}

pub(crate) struct Host {
    pub(crate) site: Site,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) log: Arc<MemoryIncidentLog>,
    pub(crate) router: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(|surface| surface)
    }

    pub(crate) fn with(more: impl FnOnce(Surface) -> Surface) -> Self {
        let site = Site::new();
        let dispatcher = Arc::new(site.dispatcher());
        let log = Arc::new(MemoryIncidentLog::default());
        let (store, audit) = (Arc::<MemoryStore>::clone(&site.store), Arc::<MemoryAudit>::clone(&site.audit));
        let surface = Surface::new(Arc::clone(&dispatcher), store, Arc::<MemoryIncidentLog>::clone(&log), ByHeader)
            .review(Arc::clone(&audit), audit)
            .with_clock(site.clock.clone());
        let router = Router::new().nest("/aiops", more(surface).router().unwrap());
        Self { site, dispatcher, log, router }
    }

    /// What the stages of a pipeline write down of a report and its answer.
    pub(crate) async fn happened(&self, triaged: Triaged, response: Option<Response>) {
        let (incident, service) = (triaged.incident_id.clone(), triaged.event.service.clone());
        let event = Box::new(triaged.event.clone());
        let mut entries =
            vec![IncidentEntry::Announced { event }, IncidentEntry::Triaged { triaged: Box::new(triaged) }];
        entries.extend(response.map(|response| IncidentEntry::Responded { response: Box::new(response) }));
        for entry in entries {
            self.log.append(IncidentRecord::new(incident.clone(), service.clone(), at(0), entry)).await.unwrap();
        }
    }

    /// An approval that waits, with its incident in the log.
    pub(crate) async fn waiting(&self, number: u64, action: &str) -> Approval {
        let triaged = report(number, &[action]);
        let response = self.dispatcher.respond(&triaged, at(0)).await.unwrap();
        let incident = triaged.incident_id.clone();
        self.happened(triaged, Some(response)).await;
        let waiting = self.dispatcher.approvals().await.unwrap();
        waiting.into_iter().find(|approval| approval.incident_id == incident).unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(crate) async fn get(&self, who: &str, path: &str) -> Reply {
        let request = Request::get(format!("/aiops{path}")).header("x-user", who).body(Body::empty()).unwrap();
        self.send(request).await
    }

    pub(crate) async fn json(&self, method: &str, who: &str, path: &str, body: &Value) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(format!("/aiops{path}"))
            .header("x-user", who)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn form(&self, who: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let request = Request::post(format!("/aiops{path}"))
            .header("x-user", who)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(Body::from(body.finish()))
            .unwrap();
        self.send(request).await
    }
}

/// The token of the first form on a page that posts to an address with this end.
pub(crate) fn token(page: &str, action: &str) -> String {
    let form = page.split("<form ").find(|form| form.contains(&format!("{action}\""))).unwrap();
    let value = form.split("name=\"token\" value=\"").nth(1).unwrap();
    value.split('"').next().unwrap().to_owned()
}
