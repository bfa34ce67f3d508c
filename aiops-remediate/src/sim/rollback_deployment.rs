//! Rolls a deployment back to the revision before the running one, if that is still the one that ran
//! when the event fired.

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Precondition};
use async_trait::async_trait;

use super::world::World;
use super::{Cluster, belongs, blocked, deployment_of, fact, failed, inspected, number, observed};
use crate::parameters::{detected_at, service_version};

/// `rollback_deployment` on `namespace` and `deployment` (else `service`).
///
/// A rollback that runs twice would undo a manual fix, so it acts only on the revision that ran when
/// the event fired: the version in the event's labels, and nothing rolled out since.
#[derive(Debug, Clone)]
pub struct RollbackDeployment(Cluster);

impl RollbackDeployment {
    /// The handler.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        Self(cluster.clone())
    }
}

fn inspect(world: &World, request: &ActionRequest) -> Result<Inspection, Inspection> {
    let (namespace, name) = deployment_of(request)?;
    let found = world.deployment(namespace, name).map_err(|error| blocked(error.to_string()))?;
    let what = format!("deployment {namespace}/{name}");
    belongs(request, &what, &found.service)?;
    if let Some(controller) = &found.managed_by {
        let why = format!("{what} is kept by {controller}, which would undo it: change its repository instead");
        return Err(blocked(why));
    }
    let [.., to, running] = found.revisions.as_slice() else {
        return Err(blocked(format!("{what} has no revision before the running one")));
    };
    if let Some(taken) = running.takes_back {
        let ours = number::<u64>(observed(request).as_ref(), "revision");
        let since = detected_at(request).is_some_and(|at| running.at >= at);
        if ours.map_or(since, |ours| ours == taken) {
            let (number, version) = (running.number, &running.version);
            let proof = format!("revision {number} ({version}) took revision {taken} back");
            return Ok(Inspection::AlreadyDone { proof });
        }
    }
    if detected_at(request).is_some_and(|at| running.at > at) {
        let (number, version, at) = (running.number, &running.version, running.at);
        return Err(blocked(format!(
            "{what}: revision {number} ({version}) was rolled out at {at}, after the anomaly began"
        )));
    }
    if let Some(version) = service_version(request).filter(|version| *version != running.version) {
        return Err(blocked(format!("{what} runs {}, the event is about {version}", running.version)));
    }
    let facts = [("revision", running.number.to_string()), ("to", to.version.clone())];
    Ok(Inspection::Ready { precondition: Precondition::new(facts) })
}

#[async_trait]
impl ActionHandler for RollbackDeployment {
    fn name(&self) -> &str {
        "rollback_deployment"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(self.0.world(|world| inspect(world, request)))
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let to = fact(request, precondition, "to")?;
        let revision = number::<u64>(Some(precondition), "revision");
        let (Some(revision), Ok((namespace, name))) = (revision, deployment_of(request)) else {
            return Err(ActionError::before(request, "read the precondition", "it is not a rollback's"));
        };
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: would roll revision {revision} back to {to}")));
        }
        let roll = |world: &mut World| world.roll_out(&request.key(), namespace, name, to, Some(revision));
        let number = self.0.change(roll).await.map_err(|error| failed(request, "roll back", error))?;
        Ok(Applied::new(format!("revision {number} ({to})")))
    }
}
