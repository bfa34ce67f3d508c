//! Restarts a pod by deleting it, by UID: its owner makes another.

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Outcome, Precondition};
use async_trait::async_trait;

use super::world::World;
use super::{Cluster, belongs, blocked, fact, failed, inspected, observed, part};
use crate::parameters::detected_at;

/// `restart_pod` on `namespace` and `pod`.
///
/// Made safe by the UID: a pod that was replaced in between is not deleted. A pod that is younger than
/// the episode was restarted already.
#[derive(Debug, Clone)]
pub struct RestartPod(Cluster);

impl RestartPod {
    /// The handler.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        Self(cluster.clone())
    }
}

fn inspect(world: &World, request: &ActionRequest) -> Result<Inspection, Inspection> {
    let (namespace, name) = (part(request, "namespace")?, part(request, "pod")?);
    let before = observed(request);
    let uid = before.as_ref().and_then(|facts| facts.get("uid"));
    let Ok(pod) = world.pod(namespace, name) else {
        // Absence is a success only of a pod that we had seen.
        return match uid {
            Some(uid) => Ok(Inspection::AlreadyDone { proof: format!("pod {uid} is gone") }),
            None => Err(blocked(format!("there is no pod {namespace}/{name}: it may have been replaced"))),
        };
    };
    belongs(request, &format!("pod {namespace}/{name}"), &pod.service)?;
    if uid.is_some_and(|uid| uid != pod.uid) {
        return Ok(Inspection::AlreadyDone { proof: format!("pod {} took its place", pod.uid) });
    }
    if detected_at(request).is_some_and(|at| pod.created_at > at) {
        let proof = format!("pod {} was made at {}, after the anomaly began", pod.uid, pod.created_at);
        return Ok(Inspection::AlreadyDone { proof });
    }
    let facts = [("uid", &pod.uid), ("owner", &pod.owner)];
    Ok(Inspection::Ready { precondition: Precondition::new(facts.map(|(name, value)| (name, value.clone()))) })
}

#[async_trait]
impl ActionHandler for RestartPod {
    fn name(&self) -> &str {
        "restart_pod"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(self.0.world(|world| inspect(world, request)))
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let uid = fact(request, precondition, "uid")?;
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: would delete {uid}")));
        }
        let namespace = request.target.get("namespace").unwrap_or_default();
        let name = request.target.get("pod").unwrap_or_default();
        let delete = |world: &mut World| world.delete_pod(&request.key(), namespace, name, uid);
        self.0.change(delete).await.map_err(|error| failed(request, "delete the pod", error))?;
        Ok(Applied::new(format!("deleted {uid}")))
    }

    /// Helped once the pod is gone and its owner has all its pods ready; unknown while it has not.
    async fn verify(&self, request: &ActionRequest, _applied: &Applied) -> Result<Outcome, ActionError> {
        let before = observed(request);
        let fact = |name: &str| before.as_ref().and_then(|facts| facts.get(name)).unwrap_or_default().to_owned();
        let (uid, owner) = (fact("uid"), fact("owner"));
        let namespace = request.target.get("namespace").unwrap_or_default();
        Ok(self.0.world(|world| {
            let mut pods = world.owned(namespace, &owner).peekable();
            if world.owned(namespace, &owner).any(|pod| pod.uid == uid) {
                Outcome::NoEffect
            } else if pods.peek().is_some() && pods.all(|pod| pod.ready(world.now)) {
                Outcome::Helped
            } else {
                Outcome::Unknown
            }
        }))
    }
}
