//! Restarts a pod by deleting it, by UID: its controller makes another.

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Outcome, Precondition};
use async_trait::async_trait;
use serde_json::Value;

use super::object::{Object, Place, not_before, pods};
use super::{Kubernetes, Stop, began, done, fact, held, inspected, part, stop, there};

/// `restart_pod` on `namespace` and `pod`.
///
/// Made safe by the UID: a pod that was replaced in between is not deleted, and one that is younger than the anomaly
/// was restarted already. The pod must have a controller, which makes another; a static pod of a node has none.
/// There is nothing to take back.
#[derive(Debug, Clone)]
pub struct RestartPod {
    kubernetes: Kubernetes,
    only_unhealthy: bool,
}

/// What a look found beside the facts.
struct Plan {
    place: Place,
    uid: String,
}

impl RestartPod {
    /// The handler. The event names the pod, so it may be one that is ready and serves badly.
    #[must_use]
    pub fn new(kubernetes: &Kubernetes) -> Self {
        Self { kubernetes: kubernetes.clone(), only_unhealthy: false }
    }

    /// Restarts only a pod that is not ready or is crash-looping, whatever the event names.
    #[must_use]
    pub fn only_unhealthy(mut self) -> Self {
        self.only_unhealthy = true;
        self
    }

    async fn look(&self, request: &ActionRequest) -> Result<(Precondition, Plan), Stop> {
        let (namespace, name) = (part(request, "namespace")?, part(request, "pod")?);
        let what = format!("pod {namespace}/{name}");
        let place = pods().within(namespace).named(name);
        let seen = fact(request, "uid");
        let pod = match there(self.kubernetes.api.get(&place).await) {
            Ok(pod) => pod,
            // Absence is a success only of a pod that we had seen.
            Err(Stop::Found(_)) if seen.is_some() => {
                return done(format!("pod {} is gone", seen.unwrap_or_default()));
            }
            Err(Stop::Found(_)) => return stop(format!("there is no {what}: it may have been replaced")),
            Err(error) => return Err(error),
        };
        self.kubernetes.belongs(request, &what, &pod)?;
        let uid = pod.uid()?.to_owned();
        if let Some(seen) = seen {
            if seen != uid {
                return done(format!("pod {uid} took the place of {seen}"));
            }
            if pod.is_being_deleted() {
                return done(format!("pod {uid} is being deleted"));
            }
        }
        if pod.is_being_deleted() {
            return stop(format!("{what} is being deleted already"));
        }
        let at = began(request)?;
        if let Some(created) = pod.created().filter(|created| not_before(*created, at)) {
            return done(format!("pod {uid} was made at {created}, after the anomaly began"));
        }
        let Some(owner) = pod.controller() else {
            return stop(format!("{what} has no controller that would make another"));
        };
        if owner.get("kind").and_then(Value::as_str) == Some("Node") {
            return stop(format!("{what} is a static pod: deleting it restarts nothing"));
        }
        if self.only_unhealthy && pod.condition_is("Ready", "True") && !is_crash_looping(&pod) {
            return stop(format!("{what} is ready"));
        }
        let owner = owner.get("uid").and_then(Value::as_str).unwrap_or_default();
        let facts = Precondition::new([("uid", uid.as_str()), ("owner", owner)]);
        Ok((facts, Plan { place, uid }))
    }
}

/// Whether a container waits to be started again after it crashed.
fn is_crash_looping(pod: &Object) -> bool {
    let waits = |container: &Value| {
        container.pointer("/state/waiting/reason").and_then(Value::as_str) == Some("CrashLoopBackOff")
    };
    ["/status/containerStatuses", "/status/initContainerStatuses"].iter().any(|list| pod.items(list).any(waits))
}

#[async_trait]
impl ActionHandler for RestartPod {
    fn name(&self) -> &str {
        "restart_pod"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(request, self.look(request).await)
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let Plan { place, uid } = held(request, precondition, self.look(request).await)?;
        let deleted = self.kubernetes.api.delete(&place, &uid, request.dry_run).await;
        deleted.map_err(|error| error.at(request, "delete the pod"))?;
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: the server would delete {uid}")));
        }
        Ok(Applied::new(format!("deleted {uid}")))
    }

    /// Helped once the pod is gone and its controller has all its pods ready; unknown while it has not.
    async fn verify(&self, request: &ActionRequest, _applied: &Applied) -> Result<Outcome, ActionError> {
        let (Some(uid), Some(owner)) = (fact(request, "uid"), fact(request, "owner")) else {
            return Ok(Outcome::Unknown);
        };
        let Ok(namespace) = part(request, "namespace") else { return Ok(Outcome::Unknown) };
        let selector = format!("{}={}", self.kubernetes.service_label, request.service);
        let found = self.kubernetes.api.list(&pods().within(namespace), &[("labelSelector", &selector)]).await;
        let found = found.map_err(|error| ActionError::before(request, "look at the pods", error))?;
        let owned: Vec<_> = found.iter().filter(|pod| pod.controller_is(&owner)).collect();
        let old = owned.iter().find(|pod| pod.uid().is_ok_and(|found| found == uid));
        Ok(match old {
            Some(pod) if !pod.is_being_deleted() => Outcome::NoEffect,
            None if !owned.is_empty() && owned.iter().all(|pod| pod.condition_is("Ready", "True")) => Outcome::Helped,
            _ => Outcome::Unknown,
        })
    }
}
