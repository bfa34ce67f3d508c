//! A request to the double, and refusals: bodies that a real server sent, with the names of the object at hand.

use std::collections::BTreeMap;

use http::{Method, Request};
use serde_json::{Value, json};

use super::double::{Key, Refusal};

/// A request, taken apart.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) group: String,
    pub(crate) namespace: String,
    pub(crate) plural: String,
    pub(crate) name: String,
    pub(crate) part: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) patch: String,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn read(request: &Request<()>, bytes: &[u8]) -> Self {
        let mut parts: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        let group = if parts[0] == "api" { 2 } else { 3 };
        let mut rest = parts.split_off(group);
        let mut namespace = String::new();
        if rest[0] == "namespaces" && rest.len() > 2 {
            namespace = rest[1].to_owned();
            rest.drain(..2);
        }
        let part = |index: usize| rest.get(index).map(|part| (*part).to_owned()).unwrap_or_default();
        let query = request.uri().query().unwrap_or_default();
        Self {
            method: request.method().clone(),
            group: parts[1..].join("/"),
            namespace,
            plural: part(0),
            name: part(1),
            part: part(2),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            patch: request
                .headers()
                .get("content-type")
                .map(|kind| kind.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            body: if bytes.is_empty() { Value::Null } else { serde_json::from_slice(bytes).unwrap() },
        }
    }

    /// The verb as roles know it.
    pub(crate) fn verb(&self) -> &'static str {
        match (&self.method, self.name.is_empty()) {
            (&Method::GET, true) if self.query.contains_key("watch") => "watch",
            (&Method::GET, true) => "list",
            (&Method::GET, false) => "get",
            (&Method::POST, _) => "create",
            (&Method::DELETE, _) => "delete",
            _ => "patch",
        }
    }

    /// The resource as roles know it.
    pub(crate) fn part_of(&self) -> String {
        if self.part.is_empty() { self.plural.clone() } else { format!("{}/{}", self.plural, self.part) }
    }

    pub(crate) fn key(&self) -> Key {
        (self.plural.clone(), self.namespace.clone(), self.name.clone())
    }

    /// A delete reads the query only where it has no body.
    pub(crate) fn dry_run(&self) -> bool {
        if self.method == Method::DELETE && !self.body.is_null() {
            return self.body["dryRun"] == json!(["All"]);
        }
        self.query.get("dryRun").is_some_and(|dry| dry == "All")
    }

    pub(crate) fn manager(&self) -> String {
        self.query.get("fieldManager").cloned().unwrap_or_else(|| "unknown".to_owned())
    }

    pub(crate) fn resource(&self) -> String {
        match self.group.split_once('/') {
            Some((group, _)) => format!("{}.{group}", self.plural),
            None => self.plural.clone(),
        }
    }

    /// A recorded refusal about `checkout`, made to be about this object.
    pub(crate) fn refused(&self, status: u16, recorded: &str) -> Refusal {
        let text = recorded.replace("deployments.apps", &self.resource());
        let mut body: Value = serde_json::from_str(&text).unwrap();
        let message = body["message"].as_str().unwrap().replace("checkout", &self.name).replace("nosuch", &self.name);
        body["message"] = message.into();
        if let Some(details) = body.get_mut("details").filter(|details| details.get("name").is_some()) {
            details["name"] = self.name.clone().into();
            details["kind"] = self.plural.clone().into();
        }
        (status, body)
    }

    pub(crate) fn not_found(&self) -> Refusal {
        self.refused(404, include_str!("../data/kubernetes/notfound_404.json"))
    }

    pub(crate) fn stale(&self) -> Refusal {
        self.refused(409, include_str!("../data/kubernetes/stale_409.json"))
    }
}
