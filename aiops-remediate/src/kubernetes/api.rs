//! The few calls that handlers make, over the host's client: JSON as the server has it, so that no field of a newer
//! server is lost on the way back.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::Clock;
use aiops_core::plugin::{Fault, guarded};
use aiops_core::time::{plus, since};
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use jiff::Timestamp;
use kube::core::WatchEvent;
use serde_json::{Value, json};

use super::error::KubernetesError;
use super::object::{Object, Place};

/// Objects of one page.
const PAGE: &str = "250";
/// Objects that a list may have; beyond it nothing is decided.
const MOST: usize = 10_000;
/// Lists that are begun anew because a page came too late.
const RESTARTS: u32 = 3;
/// Seconds after which the server ends a watch; the client goes on with another.
const WATCH: &str = "240";
/// Who writes, in the server's `managedFields`.
pub(super) const FIELD_MANAGER: &str = "aiops";

/// The host's client, the clock, and what one call may take.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) client: kube::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) call: Duration,
}

/// Objects, and the resource version of the list.
type Listed = (Vec<Object>, String);

/// A change of an object.
pub(super) enum Change {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(Value),
}

impl Api {
    async fn send(&self, verb: &'static str, request: Request<Vec<u8>>, what: &str) -> Result<Value, KubernetesError> {
        let (began, end) = (self.clock.now(), plus(self.clock.now(), self.call));
        let answer = match guarded(&*self.clock, end, self.client.request::<Value>(request)).await {
            Ok(answer) => answer.map_err(|error| KubernetesError::of(error, verb, what)),
            Err(Fault::Late(_)) => Err(KubernetesError::Late { what: what.to_owned(), after: since(end, began) }),
            Err(fault) => Err(KubernetesError::Unreachable { source: Box::new(fault) }),
        };
        let outcome = answer.as_ref().map_or_else(KubernetesError::label, |_| "ok");
        metrics::counter!("aiops_kubernetes_calls_total", "verb" => verb, "outcome" => outcome).increment(1);
        answer
    }

    pub(super) async fn get(&self, place: &Place) -> Result<Object, KubernetesError> {
        let request = built(Method::GET, &place.path(), &[], None)?;
        self.send("get", request, &place.to_string()).await.map(Object)
    }

    /// All objects of a collection, page by page.
    pub(super) async fn list(&self, place: &Place, query: &[(&str, &str)]) -> Result<Vec<Object>, KubernetesError> {
        self.list_at(place, query).await.map(|(objects, _)| objects)
    }

    /// The same, with the resource version from which a watch goes on.
    pub(super) async fn list_at(&self, place: &Place, query: &[(&str, &str)]) -> Result<Listed, KubernetesError> {
        let mut restarts = 0;
        loop {
            match self.pages(place, query).await {
                Err(KubernetesError::Expired { .. }) if restarts < RESTARTS => restarts += 1,
                other => return other,
            }
        }
    }

    async fn pages(&self, place: &Place, query: &[(&str, &str)]) -> Result<Listed, KubernetesError> {
        let (mut objects, mut next) = (Vec::new(), String::new());
        loop {
            let mut page = query.to_vec();
            page.push(("limit", PAGE));
            if !next.is_empty() {
                page.push(("continue", &next));
            }
            let request = built(Method::GET, &place.path(), &page, None)?;
            let mut list = self.send("list", request, &place.to_string()).await?;
            let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
                return Err(KubernetesError::Shape { what: place.to_string(), field: "items" });
            };
            objects.extend(items.into_iter().map(Object));
            if objects.len() > MOST {
                return Err(KubernetesError::TooMany { what: place.to_string(), most: MOST });
            }
            next = list.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
            if next.is_empty() {
                return Ok((objects, Object(list).text("/metadata/resourceVersion").to_owned()));
            }
        }
    }

    pub(super) async fn patch(&self, place: &Place, change: Change, dry_run: bool) -> Result<Object, KubernetesError> {
        let (kind, body) = match change {
            Change::Merge(body) => ("application/merge-patch+json", body),
            Change::Json(body) => ("application/json-patch+json", body),
        };
        let request = built(Method::PATCH, &place.path(), &writes(dry_run), Some((kind, body)))?;
        self.send("patch", request, &place.to_string()).await.map(Object)
    }

    /// Deletes it while it has this UID.
    pub(super) async fn delete(&self, place: &Place, uid: &str, dry_run: bool) -> Result<(), KubernetesError> {
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        if dry_run {
            // Where there is a body, the server reads no option of the query: `dryRun` there would be ignored.
            options["dryRun"] = json!(["All"]);
        }
        let request = built(Method::DELETE, &place.path(), &[], Some(("application/json", options)))?;
        self.send("delete", request, &place.to_string()).await.map(drop)
    }

    /// Posts to a collection or to a subresource.
    pub(super) async fn create(&self, place: &Place, body: Value, dry_run: bool) -> Result<Value, KubernetesError> {
        let request = built(Method::POST, &place.path(), &writes(dry_run), Some(("application/json", body)))?;
        self.send("create", request, &place.to_string()).await
    }

    /// What changes in a collection after this resource version, until the server ends it.
    pub(super) async fn watch(
        &self,
        place: &Place,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Value>, kube::Error>> + use<>, KubernetesError> {
        let query = [("watch", "1"), ("resourceVersion", version), ("timeoutSeconds", WATCH)];
        let request = built(Method::GET, &place.path(), &query, None)?;
        let what = place.to_string();
        let stream = self.client.request_events::<Value>(request).await;
        stream.map_err(|error| KubernetesError::of(error, "watch", &what))
    }

    /// The same, with no call beyond this end.
    pub(super) fn until(&self, end: Timestamp) -> Self {
        Self { call: self.call.min(since(end, self.clock.now())), ..self.clone() }
    }

    /// Waits, but not beyond the end; whether there is time left.
    pub(super) async fn pause(&self, wait: Duration, end: Timestamp) -> bool {
        let until = plus(self.clock.now(), wait).min(end);
        self.clock.sleep_until(until).await;
        self.clock.now() < end
    }
}

/// The query of a patch or a creation.
fn writes(dry_run: bool) -> Vec<(&'static str, &'static str)> {
    let mut query = vec![("fieldManager", FIELD_MANAGER)];
    if dry_run {
        query.push(("dryRun", "All"));
    }
    query
}

fn built(
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    body: Option<(&str, Value)>,
) -> Result<Request<Vec<u8>>, KubernetesError> {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let mark = if query.is_empty() { "" } else { "?" };
    let mut request = Request::builder().method(method).uri(format!("{path}{mark}{query}"));
    let mut bytes = Vec::new();
    if let Some((kind, body)) = body {
        request = request.header(CONTENT_TYPE, kind);
        bytes = body.to_string().into_bytes();
    }
    request.body(bytes).map_err(|error| KubernetesError::Unreachable { source: error.into() })
}
