//! What an account must be allowed, and whether it is.

use std::fmt;

use serde_json::{Value, json};

use super::error::KubernetesError;
use super::object::Place;
use super::{
    ArgoWorkflow, Autoscaled, DeployWatcher, DrainNode, Kubernetes, RestartPod, RollbackDeployment, ScaleDeployment,
};

/// One right: a verb on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Access {
    /// The API group; empty for the core's.
    pub group: &'static str,
    /// The resource, with a subresource after a slash.
    pub resource: &'static str,
    /// The verb.
    pub verb: &'static str,
}

impl fmt::Display for Access {
    /// `delete pods`, `patch deployments.apps`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

fn rights(group: &'static str, resource: &'static str, verbs: &[&'static str]) -> Vec<Access> {
    verbs.iter().map(|verb| Access { group, resource, verb }).collect()
}

impl RestartPod {
    /// What its account must be allowed, in each namespace where it acts.
    #[must_use]
    pub fn needs(&self) -> Vec<Access> {
        rights("", "pods", &["delete", "get", "list"])
    }
}

impl ScaleDeployment {
    /// What its account must be allowed, in each namespace where it acts.
    #[must_use]
    pub fn needs(&self) -> Vec<Access> {
        let on_autoscalers: &[_] = match self.autoscaled {
            Autoscaled::Refuse => &["list"],
            Autoscaled::RaiseMinimum => &["list", "patch"],
        };
        let mut needs = rights("apps", "deployments", &["get", "patch"]);
        needs.extend(rights("autoscaling", "horizontalpodautoscalers", on_autoscalers));
        needs
    }
}

impl RollbackDeployment {
    /// What its account must be allowed, in each namespace where it acts.
    #[must_use]
    pub fn needs(&self) -> Vec<Access> {
        let mut needs = rights("apps", "deployments", &["get", "patch"]);
        needs.extend(rights("apps", "replicasets", &["list"]));
        needs
    }
}

impl DrainNode {
    /// What its account must be allowed, in the whole cluster.
    #[must_use]
    pub fn needs(&self) -> Vec<Access> {
        let mut needs = rights("", "nodes", &["get", "list", "patch"]);
        needs.extend(rights("", "pods", &["list"]));
        needs.extend(rights("", "pods/eviction", &["create"]));
        needs
    }
}

impl ArgoWorkflow {
    /// What its account must be allowed, in the namespace of its template.
    #[must_use]
    pub fn needs(&self) -> Vec<Access> {
        let mut needs = rights("argoproj.io", "workflows", &["create", "get", "patch"]);
        needs.extend(rights("argoproj.io", "workflowtemplates", &["get"]));
        needs
    }
}

impl DeployWatcher {
    /// What its account must be allowed, in the whole cluster or in its one namespace.
    #[must_use]
    pub fn needs(&self) -> Vec<Access> {
        let mut needs = rights("apps", "deployments", &["list", "watch"]);
        needs.extend(rights("apps", "statefulsets", &["list", "watch"]));
        needs.extend(rights("argoproj.io", "rollouts", &["list", "watch"]));
        needs
    }
}

impl Kubernetes {
    /// Asks the server whether the account is allowed all of this, in one namespace or in the whole cluster: to be
    /// called at the start, so that a missing right is not found out in an incident.
    ///
    /// # Errors
    /// [`KubernetesError::MissingAccess`] names every right that is missing; any other, that the server could not be
    /// asked.
    pub async fn check_access(&self, needs: &[Access], namespace: Option<&str>) -> Result<(), KubernetesError> {
        let mut missing = Vec::new();
        for need in needs {
            let (resource, part) = need.resource.split_once('/').unwrap_or((need.resource, ""));
            let attributes = json!({
                "namespace": namespace.unwrap_or_default(), "verb": need.verb, "group": need.group,
                "resource": resource, "subresource": part,
            });
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            });
            let place = Place::new("apis/authorization.k8s.io/v1", "selfsubjectaccessreviews");
            let answer = self.api.create(&place, review, false).await?;
            if answer.pointer("/status/allowed") != Some(&Value::Bool(true)) {
                missing.push(*need);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let place =
            namespace.map_or_else(|| "the whole cluster".to_owned(), |namespace| format!("namespace {namespace}"));
        Err(KubernetesError::MissingAccess { missing, place })
    }
}
