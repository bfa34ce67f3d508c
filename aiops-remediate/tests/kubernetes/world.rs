//! A cluster to act on, a double or a real one, and the few things that tests do to it.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{
    ActionError, ActionHandler, ActionName, ActionRequest, Clock, DetectionEvent, EventKind, IncidentId, Inspection,
    Precondition, Severity, Signal, SystemClock, Target,
};
use aiops_remediate::kubernetes::{Kubernetes, KubernetesError, kube};
use aiops_remediate::parameters::{DETECTED_AT, with_observed};
use async_trait::async_trait;
use http::{Method, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::double::{Double, Server};

/// Where deployments are.
pub(crate) const APPS: &str = "apis/apps/v1";

/// A node's label with the namespace whose pods it takes: a real server keeps the pods of other scenarios.
pub(crate) const HOME: &str = "aiops-test/namespace";

/// tokio's time, which stands still while anything runs, from a fixed start.
#[derive(Debug, Clone)]
struct Paused(tokio::time::Instant);

#[async_trait]
impl Clock for Paused {
    fn now(&self) -> Timestamp {
        plus(Timestamp::from_second(1_746_432_000).unwrap(), self.0.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep(aiops_core::time::since(at, self.now())).await;
    }
}

pub(crate) struct World {
    pub(crate) client: kube::Client,
    pub(crate) namespace: String,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) double: Option<Double>,
}

impl World {
    pub(crate) fn double(server: Server) -> Self {
        let clock = Paused(tokio::time::Instant::now());
        let double = Double::new(clock.clone(), server);
        let client = double.client(false);
        let kubernetes = Kubernetes::new(double.client(true)).with_clock(clock.clone());
        let namespace = "shop".to_owned();
        Self { client, namespace, kubernetes, clock: Arc::new(clock), double: Some(double) }
    }

    pub(crate) fn real(client: kube::Client, namespace: &str) -> Self {
        let kubernetes = Kubernetes::new(client.clone());
        let clock = Arc::new(SystemClock);
        Self { client, namespace: namespace.to_owned(), kubernetes, clock, double: None }
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.client.request::<Value>(request.body(body).unwrap()).await
    }

    /// `apis/apps/v1`, `deployments` to a path in this world's namespace.
    pub(crate) fn path(&self, api: &str, rest: &str) -> String {
        format!("/{api}/namespaces/{}/{rest}", self.namespace)
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        self.call(Method::GET, path, "application/json", &Value::Null).await.ok()
    }

    pub(crate) async fn create(&self, collection: &str, body: Value) -> Value {
        let path = format!("{collection}?fieldManager=kubectl-edit");
        self.call(Method::POST, &path, "application/json", &body).await.unwrap()
    }

    /// A person changes an object.
    pub(crate) async fn patch(&self, path: &str, body: Value) -> Value {
        let path = format!("{path}?fieldManager=kubectl-edit");
        self.call(Method::PATCH, &path, "application/merge-patch+json", &body).await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.call(Method::DELETE, path, "application/json", &Value::Null).await.unwrap();
    }

    /// Waits until it is so; at once in a double.
    pub(crate) async fn until(&self, what: &str, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let end = plus(self.clock.now(), Duration::from_secs(60));
        loop {
            let found = self.get(path).await.unwrap_or_default();
            if holds(&found) {
                return found;
            }
            assert!(self.clock.now() < end, "{what}: {found:#}");
            self.clock.sleep_until(plus(self.clock.now(), Duration::from_millis(50))).await;
        }
    }

    /// A deployment of this version that is rolled out.
    pub(crate) async fn deploy(&self, name: &str, replicas: u64, version: &str) {
        let labels = json!({"app.kubernetes.io/name": name});
        let spec = json!({
            "replicas": replicas,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": format!("{name}:{version}")}]},
            },
        });
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": spec});
        self.create(&self.path(APPS, "deployments"), body).await;
        self.rolled_out(name).await;
    }

    pub(crate) async fn rolled_out(&self, name: &str) -> Value {
        self.until("rolled out", &self.deployment(name), |found| {
            let status = |field: &str| found["status"][field].as_u64().unwrap_or(0);
            let wanted = found["spec"]["replicas"].as_u64().unwrap_or(0);
            found["status"]["observedGeneration"] == found["metadata"]["generation"]
                && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| status(field) == wanted)
        })
        .await
    }

    pub(crate) fn deployment(&self, name: &str) -> String {
        self.path(APPS, &format!("deployments/{name}"))
    }

    /// A person rolls out another version.
    pub(crate) async fn roll_out(&self, name: &str, version: &str) {
        let containers = json!([{"name": "c", "image": format!("{name}:{version}")}]);
        self.patch(&self.deployment(name), json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
        self.rolled_out(name).await;
    }

    pub(crate) async fn image(&self, name: &str) -> String {
        let found = self.get(&self.deployment(name)).await.unwrap();
        found["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn pods(&self, service: &str) -> Vec<Value> {
        let found = self.get(&self.path("api/v1", "pods")).await.unwrap();
        let of = |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/name"] == service;
        found["items"].as_array().unwrap().iter().filter(of).cloned().collect()
    }

    /// A pod of a service that nobody deletes now.
    pub(crate) async fn pod(&self, service: &str) -> String {
        let pods = self.pods(service).await;
        let live = pods.iter().find(|pod| pod["metadata"]["deletionTimestamp"].is_null()).unwrap();
        live["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// A node that takes pods.
    pub(crate) async fn node(&self, name: &str) {
        let body =
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {HOME: self.namespace}}});
        self.create("/api/v1/nodes", body).await;
        // A real server closes a new node until its kubelet has reported.
        let path = format!("/api/v1/nodes/{name}");
        self.patch(&path, json!({"spec": {"taints": null}})).await;
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        self.patch(&format!("{path}/status"), ready).await;
    }

    /// A request about an anomaly that began this many seconds from now.
    pub(crate) fn request(&self, action: &str, target: &[(&str, &str)], service: &str, began: i64) -> ActionRequest {
        let now = self.clock.now();
        let began = Timestamp::from_second(now.as_second() + began).unwrap();
        let event: DetectionEvent =
            DetectionEvent::builder(EventKind::MetricAnomaly, service, Severity::Warning, began, "test")
                .alertname("P99")
                .signal(Signal::new(9.0).expected(1.0).score(8.0).threshold(3.0))
                .build();
        let mut parts = vec![("namespace", self.namespace.as_str())];
        parts.retain(|_| !target.iter().any(|(name, _)| *name == "node"));
        parts.extend(target);
        let parameters = json!({"max_replicas": 5, DETECTED_AT: began.to_string()});
        ActionRequest::new(
            ActionName::new(action).unwrap(),
            Target::new(parts),
            event.service,
            event.fingerprint,
            IncidentId::new("inc-1"),
            plus(now, Duration::from_secs(20)),
        )
        .parameters(parameters.as_object().unwrap().clone())
        .dry_run(false)
    }
}

/// The request with one parameter more.
pub(crate) fn with(request: &ActionRequest, name: &str, value: Value) -> ActionRequest {
    let mut parameters = request.parameters.clone();
    parameters.insert(name.to_owned(), value);
    request.clone().parameters(parameters)
}

pub(crate) async fn ready(handler: &dyn ActionHandler, request: &ActionRequest) -> Precondition {
    match handler.inspect(request).await.unwrap() {
        Inspection::Ready { precondition } => precondition,
        other => panic!("{} is not ready: {other:?}", request.action),
    }
}

/// Why it must not run, which must say this.
pub(crate) async fn blocked(handler: &dyn ActionHandler, request: &ActionRequest, why: &str) {
    match handler.inspect(request).await.unwrap() {
        Inspection::Blocked { reason } => assert!(reason.contains(why), "{reason:?} does not say {why:?}"),
        other => panic!("{} is not blocked ({why}): {other:?}", request.action),
    }
}

pub(crate) async fn already_done(handler: &dyn ActionHandler, request: &ActionRequest) {
    let found = handler.inspect(request).await.unwrap();
    assert!(matches!(found, Inspection::AlreadyDone { .. }), "{found:?}");
}

/// Does it as a dispatcher does, and gives the request as it is asked again.
pub(crate) async fn act(handler: &dyn ActionHandler, request: &ActionRequest) -> ActionRequest {
    let precondition = ready(handler, request).await;
    handler.execute(request, &precondition).await.unwrap_or_else(|error| panic!("{}", aiops_core::error_chain(&error)));
    with_observed(request, &precondition)
}

/// The error of Kubernetes in a handler's error.
pub(crate) fn why(error: &ActionError) -> &KubernetesError {
    error.source.downcast_ref().unwrap()
}
