//! A double of the API server for plain `cargo test`: objects by REST, with the preconditions, refusals and answers of
//! a real one. The refusals are bodies that a real one sent, with the names of the object at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use aiops_core::Clock;
use aiops_remediate::kubernetes::kube;
use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::call::Call;
use super::{controllers, patches};

pub(crate) type Refusal = (u16, Value);
pub(crate) type Key = (String, String, String);

/// What of a server differs by version and by account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    /// Watches get no answer, as over a connection that died without a word.
    pub(crate) silent: bool,
    /// Before 1.22: evictions and budgets are policy/v1beta1.
    pub(crate) old_policy: bool,
    /// (verb, plural) that the account may not.
    pub(crate) forbidden: BTreeSet<(&'static str, &'static str)>,
    /// Pages that come too late, one after the other.
    pub(crate) expired_pages: u32,
    /// Calls from now on that never answer.
    pub(crate) hangs: bool,
    /// Writes whose answer is lost.
    pub(crate) loses_answers: bool,
    /// Argo's kinds are installed.
    pub(crate) argo: bool,
    /// Another page size than the client's.
    pub(crate) page: Option<usize>,
}

/// What somebody else does before this call of a client is answered.
pub(crate) type Between = Box<dyn FnMut(&mut State, usize) + Send>;

pub(crate) struct State {
    pub(crate) objects: BTreeMap<Key, Value>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) version: u64,
    pub(crate) server: Server,
    /// Verb and resource of what the handlers asked for.
    pub(crate) used: BTreeSet<(&'static str, String)>,
    /// Non-dry writes of clients, `verb plural namespace/name by manager`.
    pub(crate) writes: Vec<String>,
    pub(crate) between: Option<Between>,
    /// Seconds that the server's clock is ahead.
    pub(crate) ahead: i64,
    /// What changed: resource version, type of the event, plural, and the object.
    pub(crate) history: Vec<(u64, &'static str, String, Value)>,
    /// Watches from an older version than this are too old.
    pub(crate) forgotten: u64,
    pub(crate) changed: Arc<Notify>,
    calls: usize,
    made: u64,
}

/// A handle; clones share the server.
#[derive(Clone)]
pub(crate) struct Double(Arc<Mutex<State>>);

impl Double {
    pub(crate) fn new(clock: impl Clock, server: Server) -> Self {
        let (objects, writes) = (BTreeMap::new(), Vec::new());
        let clock = Arc::new(clock);
        let state = State {
            objects,
            clock,
            version: 100,
            server,
            writes,
            used: BTreeSet::new(),
            between: None,
            ahead: 0,
            history: Vec::new(),
            forgotten: 0,
            changed: Arc::default(),
            calls: 0,
            made: 0,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.lock().unwrap())
    }

    /// A client; of one of the handlers it is noted which rights it uses.
    pub(crate) fn client(&self, of_handlers: bool) -> kube::Client {
        let double = self.clone();
        kube::Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let double = double.clone();
                async move { Ok::<_, Infallible>(double.serve(request, of_handlers).await) }
            }),
            "default",
        )
    }

    async fn serve(&self, request: Request<Body>, of_handlers: bool) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let call = Call::read(&Request::from_parts(parts, ()), &bytes);
        if of_handlers {
            self.state(|state| state.used.insert((call.verb(), call.part_of())));
        }
        if call.query.contains_key("watch") && self.state(|state| !state.refuses("watch", &call)) {
            return self.watch(&call).await;
        }
        let answer = self.state(|state| (!state.server.hangs).then(|| state.answer(&call)));
        let Some(answer) = answer else { std::future::pending().await };
        let lost = self.state(|state| state.server.loses_answers && call.method != Method::GET);
        let (status, body) =
            if lost { (502, json!({"reason": "", "message": "bad gateway", "code": 502})) } else { answer };
        Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("content-type", "application/json")
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap()
    }
}

impl State {
    fn refuses(&self, verb: &str, call: &Call) -> bool {
        self.server.forbidden.iter().any(|(may, plural)| (*may, *plural) == (verb, call.plural.as_str()))
    }

    fn answer(&mut self, call: &Call) -> (u16, Value) {
        self.calls += 1;
        if let Some(mut between) = self.between.take() {
            between(self, self.calls);
            self.between = Some(between);
        }
        let verb = call.verb();
        if self.refuses(verb, call) {
            return call.refused(403, include_str!("../data/kubernetes/forbidden_403.json"));
        }
        let done = match verb {
            "list" => self.list(call),
            "get" => self.objects.get(&call.key()).cloned().map(|found| (200, found)).ok_or_else(|| call.not_found()),
            "create" if call.part == "eviction" => self.evict(call),
            "create" if call.part == "binding" => self.bind(call),
            "create" if call.plural == "selfsubjectaccessreviews" => Ok((201, self.review(call))),
            "create" => self.create(call),
            "delete" => self.delete(call),
            _ => self.patch(call),
        };
        if done.is_ok() && !matches!(verb, "get" | "list") && !call.dry_run() {
            let part = if call.part.is_empty() { String::new() } else { format!("/{}", call.part) };
            let what = format!("{}{part} {}/{} by {}", call.plural, call.namespace, call.name, call.manager());
            self.writes.push(format!("{verb} {what}"));
            controllers::settle(self);
        }
        done.unwrap_or_else(|refusal| refusal)
    }

    fn review(&self, call: &Call) -> Value {
        let wanted = &call.body["spec"]["resourceAttributes"];
        let refused =
            self.server.forbidden.iter().any(|(verb, plural)| wanted["verb"] == *verb && wanted["resource"] == *plural);
        json!({"kind": "SelfSubjectAccessReview", "status": {"allowed": !refused}})
    }

    fn list(&mut self, call: &Call) -> Result<(u16, Value), Refusal> {
        if self.server.old_policy && call.group == "policy/v1" {
            return Err(call.not_found());
        }
        if call.plural == "rollouts" && !self.server.argo {
            return Err(call.not_found());
        }
        let next = call.query.get("continue").filter(|next| !next.is_empty());
        if next.is_some() && self.server.expired_pages > 0 {
            self.server.expired_pages -= 1;
            let message = "The provided continue parameter is too old to display a consistent list result.";
            return Err((
                410,
                json!({"kind": "Status", "status": "Failure", "reason": "Expired", "message": message, "code": 410}),
            ));
        }
        let found: Vec<&Value> = self
            .objects
            .iter()
            .filter(|((plural, namespace, _), _)| {
                *plural == call.plural && (call.namespace.is_empty() || *namespace == call.namespace)
            })
            .map(|(_, object)| object)
            .filter(|object| selected(object, call.query.get("labelSelector"), "/metadata/labels"))
            .filter(|object| {
                match call.query.get("fieldSelector").and_then(|field| field.strip_prefix("spec.nodeName=")) {
                    Some(node) => object.pointer("/spec/nodeName") == Some(&json!(node)),
                    None => true,
                }
            })
            .collect();
        let from = next.map_or(0, |next| next.parse::<usize>().unwrap());
        // Who asks for no pages gets none.
        let asked = call.query.get("limit").map(|limit| limit.parse().unwrap());
        let limit = asked.map_or(usize::MAX, |asked: usize| self.server.page.unwrap_or(asked).min(asked));
        let page: Vec<_> = found.iter().skip(from).take(limit).collect();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if from + page.len() < found.len() {
            metadata["continue"] = (from + page.len()).to_string().into();
        }
        Ok((200, json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page})))
    }

    fn create(&mut self, call: &Call) -> Result<(u16, Value), Refusal> {
        if self.server.old_policy && call.group == "policy/v1" {
            return Err(call.not_found());
        }
        let mut object = call.body.clone();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let key = (call.plural.clone(), call.namespace.clone(), name.clone());
        if self.objects.contains_key(&key) {
            let mut about = call.refused(409, include_str!("../data/kubernetes/deploy_exists_409.json"));
            about.1["message"] = format!("{} \"{name}\" already exists", call.resource()).into();
            return Err(about);
        }
        if !call.namespace.is_empty() {
            object["metadata"]["namespace"] = call.namespace.clone().into();
        }
        if !call.dry_run() {
            self.put_new(&call.plural, object.clone(), &call.manager());
            object = self.objects[&key].clone();
        }
        Ok((201, object))
    }

    /// A new object with what the server fills in.
    pub(crate) fn put_new(&mut self, plural: &str, mut object: Value, manager: &str) {
        self.made += 1;
        let now = self.now();
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.insert("uid".to_owned(), format!("00000000-0000-4000-8000-{:012}", self.made).into());
        metadata.insert("creationTimestamp".to_owned(), now.clone().into());
        metadata.insert("generation".to_owned(), 1.into());
        patches::note_managers(&Value::Null, &mut object, manager, &now);
        self.put(plural, object);
    }

    /// Stores it under the next resource version.
    pub(crate) fn put(&mut self, plural: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (plural.to_owned(), text("namespace"), text("name"));
        let kind = if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        self.happened(kind, plural, object.clone());
        self.objects.insert(key, object);
    }

    pub(crate) fn now(&self) -> String {
        let now = self.clock.now();
        jiff::Timestamp::from_second(now.as_second() + self.ahead).unwrap().to_string()
    }

    /// Somebody merges this into an object, which is there.
    pub(crate) fn edit(&mut self, key: &Key, patch: &Value, manager: &str) {
        let before = self.objects[key].clone();
        let mut after = before.clone();
        patches::merge(&mut after, patch);
        self.changed(&before, &mut after, manager);
        if after != before {
            self.put(&key.0, after);
        }
    }

    /// What the server notes about a change.
    fn changed(&self, before: &Value, after: &mut Value, manager: &str) {
        if after["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or(0);
            after["metadata"]["generation"] = (generation + 1).into();
        }
        patches::note_managers(before, after, manager, &self.now());
    }

    fn patch(&mut self, call: &Call) -> Result<(u16, Value), Refusal> {
        let before = self.objects.get(&call.key()).cloned().ok_or_else(|| call.not_found())?;
        let mut after = before.clone();
        if call.patch.starts_with("application/json-patch") {
            patches::json_patch(&mut after, &call.body);
        } else {
            patches::merge(&mut after, &call.body);
        }
        if after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"] {
            return Err(call.stale());
        }
        if after.pointer("/spec/replicas").and_then(Value::as_i64).is_some_and(|replicas| replicas < 0) {
            return Err(call.refused(422, include_str!("../data/kubernetes/invalid_422.json")));
        }
        if call.part == "status" {
            after["spec"] = before["spec"].clone();
        } else {
            after["status"] = before["status"].clone();
        }
        self.changed(&before, &mut after, &call.manager());
        if !call.dry_run() && after != before {
            self.put(&call.plural, after.clone());
        }
        Ok((200, after))
    }

    fn delete(&mut self, call: &Call) -> Result<(u16, Value), Refusal> {
        let found = self.objects.get(&call.key()).cloned().ok_or_else(|| call.not_found())?;
        for (wanted, field) in [("uid", "uid"), ("resourceVersion", "resourceVersion")] {
            let wanted = call.body.pointer(&format!("/preconditions/{wanted}"));
            if wanted.is_some_and(|wanted| *wanted != found["metadata"][field]) {
                return Err(call.stale());
            }
        }
        if !call.dry_run() {
            self.remove(&call.key());
        }
        Ok((200, found))
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        self.version += 1;
        if let Some(mut object) = self.objects.remove(key) {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.happened("DELETED", &key.0, object);
        }
    }

    fn happened(&mut self, kind: &'static str, plural: &str, object: Value) {
        self.history.push((self.version, kind, plural.to_owned(), object));
        self.changed.notify_waiters();
    }

    fn bind(&mut self, call: &Call) -> Result<(u16, Value), Refusal> {
        let mut pod = self.objects.get(&call.key()).cloned().ok_or_else(|| call.not_found())?;
        pod["spec"]["nodeName"] = call.body["target"]["name"].clone();
        self.put("pods", pod);
        Ok((201, json!({"kind": "Status", "status": "Success", "code": 201})))
    }

    fn evict(&mut self, call: &Call) -> Result<(u16, Value), Refusal> {
        if self.server.old_policy && call.body["apiVersion"] == "policy/v1" {
            return Err(call.refused(400, include_str!("../data/kubernetes/evict_v1.json")));
        }
        let pod = self.objects.get(&call.key()).cloned().ok_or_else(|| call.not_found())?;
        let uid = call.body.pointer("/deleteOptions/preconditions/uid");
        if uid.is_some_and(|uid| *uid != pod["metadata"]["uid"]) {
            return Err(call.stale());
        }
        if let Some(why) = self.held(&pod) {
            let mut refusal = call.refused(429, include_str!("../data/kubernetes/evict_429_pdb.json"));
            refusal.1["details"]["causes"][0]["message"] = why.into();
            return Err(refusal);
        }
        if !call.dry_run() {
            self.remove(&call.key());
        }
        Ok((201, serde_json::from_str(include_str!("../data/kubernetes/evict_v1beta1_201.json")).unwrap()))
    }

    /// The budget that does not let this pod go.
    fn held(&self, pod: &Value) -> Option<String> {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap();
        let in_namespace = |plural: &'static str| {
            let wanted = move |key: &Key| key.0 == plural && key.1 == namespace;
            self.objects.iter().filter(move |(key, _)| wanted(key)).map(|(_, object)| object)
        };
        in_namespace("poddisruptionbudgets").find_map(|budget| {
            let labels = budget["spec"]["selector"]["matchLabels"].as_object().unwrap();
            let covers =
                |pod: &Value| labels.iter().all(|(key, value)| pod["metadata"]["labels"].get(key) == Some(value));
            let healthy = in_namespace("pods").filter(|pod| covers(pod) && controllers::is_ready(pod)).count() as u64;
            let needs = budget["spec"]["minAvailable"].as_u64().unwrap();
            let name = &budget["metadata"]["name"];
            (covers(pod) && healthy <= needs).then(|| {
                let name = name.as_str().unwrap();
                format!("The disruption budget {name} needs {needs} healthy pods and has {healthy} currently")
            })
        })
    }
}

/// Whether an object has all that `key=value,…` asks for.
fn selected(object: &Value, selector: Option<&String>, at: &str) -> bool {
    selector.into_iter().flat_map(|selector| selector.split(',')).all(|one| {
        let (key, value) = one.split_once('=').unwrap();
        object.pointer(at).and_then(|labels| labels.get(key)) == Some(&json!(value))
    })
}
