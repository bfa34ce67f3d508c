//! Objects as the server has them, where they are, and what of them handlers read.

use std::fmt;
use std::time::Duration;

use aiops_core::time::minus;
use jiff::Timestamp;
use serde_json::Value;

use super::api::FIELD_MANAGER;
use super::error::KubernetesError;

/// The server's times have whole seconds, rounded down.
const GRAIN: Duration = Duration::from_secs(1);

/// Where an object or a collection is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    api: &'static str,
    plural: &'static str,
    namespace: Option<String>,
    name: Option<String>,
    part: Option<&'static str>,
}

impl Place {
    /// A collection: `api/v1` or `apis/apps/v1`, and the plural name.
    pub(super) fn new(api: &'static str, plural: &'static str) -> Self {
        Self { api, plural, namespace: None, name: None, part: None }
    }

    pub(super) fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    pub(super) fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    pub(super) fn part(mut self, part: &'static str) -> Self {
        self.part = Some(part);
        self
    }

    pub(super) fn path(&self) -> String {
        let mut path = format!("/{}", self.api);
        if let Some(namespace) = &self.namespace {
            path += &format!("/namespaces/{namespace}");
        }
        path += &format!("/{}", self.plural);
        for part in self.name.as_deref().into_iter().chain(self.part) {
            path += &format!("/{part}");
        }
        path
    }
}

impl fmt::Display for Place {
    /// `pods/eviction shop/cart-1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)?;
        if let Some(part) = self.part {
            write!(f, "/{part}")?;
        }
        let parts: Vec<_> = self.namespace.iter().chain(&self.name).map(String::as_str).collect();
        if parts.is_empty() { Ok(()) } else { write!(f, " {}", parts.join("/")) }
    }
}

pub(super) fn pods() -> Place {
    Place::new("api/v1", "pods")
}

pub(super) fn nodes() -> Place {
    Place::new("api/v1", "nodes")
}

pub(super) fn deployments() -> Place {
    Place::new("apis/apps/v1", "deployments")
}

pub(super) fn replica_sets() -> Place {
    Place::new("apis/apps/v1", "replicasets")
}

pub(super) fn stateful_sets() -> Place {
    Place::new("apis/apps/v1", "statefulsets")
}

/// Served by every version that there is; its fields are all that is asked for.
pub(super) fn autoscalers() -> Place {
    Place::new("apis/autoscaling/v1", "horizontalpodautoscalers")
}

/// Whether the text can be a name: it comes from a label, and goes into a path.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    (1..=253).contains(&text.len()) && text.chars().all(plain) && !text.starts_with(['.', '-']) && !text.contains("..")
}

/// An object.
#[derive(Debug, Clone)]
pub(super) struct Object(pub(super) Value);

impl Object {
    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    pub(super) fn text(&self, pointer: &str) -> &str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, pointer: &str) -> Option<u64> {
        self.at(pointer).and_then(Value::as_u64)
    }

    pub(super) fn items(&self, pointer: &str) -> impl Iterator<Item = &Value> {
        self.at(pointer).and_then(Value::as_array).into_iter().flatten()
    }

    /// # Errors
    /// The field is not there: whatever answered is no API server.
    pub(super) fn must(&self, pointer: &str, field: &'static str) -> Result<&str, KubernetesError> {
        let found = self.text(pointer);
        if found.is_empty() { Err(KubernetesError::Shape { what: self.name().to_owned(), field }) } else { Ok(found) }
    }

    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub(super) fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    pub(super) fn uid(&self) -> Result<&str, KubernetesError> {
        self.must("/metadata/uid", "metadata.uid")
    }

    pub(super) fn resource_version(&self) -> Result<&str, KubernetesError> {
        self.must("/metadata/resourceVersion", "metadata.resourceVersion")
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.at("/metadata/labels")?.get(key)?.as_str()
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.at("/metadata/annotations")?.get(key)?.as_str()
    }

    pub(super) fn created(&self) -> Option<Timestamp> {
        self.text("/metadata/creationTimestamp").parse().ok()
    }

    pub(super) fn is_being_deleted(&self) -> bool {
        self.at("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
    }

    /// The owner that makes another one when this one goes.
    pub(super) fn controller(&self) -> Option<&Value> {
        self.items("/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
    }

    pub(super) fn controller_is(&self, uid: &str) -> bool {
        self.controller().is_some_and(|owner| owner.get("uid").and_then(Value::as_str) == Some(uid))
    }

    /// The condition of this type among the status's.
    pub(super) fn condition(&self, kind: &str) -> Option<&Value> {
        self.items("/status/conditions").find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
    }

    pub(super) fn condition_is(&self, kind: &str, status: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition.get("status").and_then(Value::as_str) == Some(status))
    }

    /// Who other than us set a field of the spec at or after this time, and when, as far as the server says so.
    pub(super) fn set_since<'a>(&'a self, field: &'a str, at: Timestamp) -> Option<(&'a str, Timestamp)> {
        self.managers(field).filter(|(manager, _)| *manager != FIELD_MANAGER).find_map(|(manager, entry)| {
            let time = entry.get("time")?.as_str()?.parse().ok()?;
            not_before(time, at).then_some((manager, time))
        })
    }

    /// Who set a field of the spec last, and when.
    pub(super) fn set_last<'a>(&'a self, field: &'a str) -> Option<(&'a str, Timestamp)> {
        let times = self.managers(field).filter_map(|(manager, entry)| {
            let at = entry.get("time")?.as_str()?.parse().ok()?;
            Some((manager, at))
        });
        times.max_by_key(|(_, at)| *at)
    }

    /// Those who set a field of the spec.
    pub(super) fn managers<'a>(&'a self, field: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.items("/metadata/managedFields").filter_map(move |entry| {
            entry.pointer(&format!("/fieldsV1/f:spec/f:{field}"))?;
            Some((entry.get("manager")?.as_str()?, entry))
        })
    }
}

/// Whether what the server dates so may have come at or after this time.
pub(super) fn not_before(servers: Timestamp, at: Timestamp) -> bool {
    servers > minus(at, GRAIN)
}

/// Marks that GitOps controllers leave: labels and annotations of Argo CD and Flux.
const GITOPS_MARKS: [(&str, &str); 5] = [
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("fluxcd.io/sync-checksum", "Flux"),
];
/// Names under which they write.
const GITOPS_MANAGERS: [(&str, &str); 5] = [
    ("argocd-controller", "Argo CD"),
    ("argocd-application-controller", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
    ("flux", "Flux"),
];

fn known(manager: &str) -> Option<&'static str> {
    GITOPS_MANAGERS.iter().find(|(name, _)| *name == manager).map(|(_, system)| *system)
}

/// The GitOps system that keeps this object as its repository has it, where one does.
pub(super) fn gitops_owner(object: &Object) -> Option<&'static str> {
    let marked = GITOPS_MARKS.iter().find(|(key, _)| object.label(key).or_else(|| object.annotation(key)).is_some());
    let writes = || object.items("/metadata/managedFields").find_map(|entry| known(entry.get("manager")?.as_str()?));
    marked.map(|(_, system)| *system).or_else(writes)
}

/// The GitOps system that keeps one field of the spec.
pub(super) fn gitops_owner_of(object: &Object, field: &str) -> Option<&'static str> {
    object.managers(field).find_map(|(manager, _)| known(manager))
}
