//! Adds replicas to a deployment, by resource version, within its autoscaler's and the catalogue's
//! bounds.

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Precondition};
use async_trait::async_trait;

use super::world::World;
use super::{Cluster, belongs, blocked, deployment_of, fact, failed, inspected, number, observed};

/// `scale_deployment` on `namespace` and `deployment` (else `service`).
///
/// Never above the catalogue's `max_replicas`, never outside the autoscaler's bounds, and not at all
/// from zero: somebody switched that deployment off. At the ceiling it is blocked, not done. Made
/// safe by the resource version.
#[derive(Debug, Clone)]
pub struct ScaleDeployment {
    cluster: Cluster,
    step: u32,
}

impl ScaleDeployment {
    /// The handler; it adds one replica at a time.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), step: 1 }
    }

    /// How many replicas it adds (at least one).
    #[must_use]
    pub fn step(mut self, step: u32) -> Self {
        self.step = step.max(1);
        self
    }
}

fn inspect(world: &World, request: &ActionRequest, step: u32) -> Result<Inspection, Inspection> {
    let (namespace, name) = deployment_of(request)?;
    let found = world.deployment(namespace, name).map_err(|error| blocked(error.to_string()))?;
    let what = format!("deployment {namespace}/{name}");
    belongs(request, &what, &found.service)?;
    let replicas = found.replicas;
    if let Some(wanted) = number::<u32>(observed(request).as_ref(), "wanted").filter(|wanted| replicas >= *wanted) {
        return Ok(Inspection::AlreadyDone { proof: format!("{what} has {replicas} replicas, {wanted} were wanted") });
    }
    let max = request.parameters.get("max_replicas").and_then(serde_json::Value::as_u64);
    let Some(max) = max.and_then(|max| u32::try_from(max).ok()) else {
        return Err(blocked("the catalogue entry has no max_replicas"));
    };
    let ceiling = found.hpa.map_or(max, |hpa| hpa.max.min(max));
    if replicas == 0 {
        return Err(blocked(format!("{what} is scaled to 0: somebody switched it off")));
    }
    if replicas >= ceiling {
        return Err(blocked(format!("{what} has {replicas} replicas and its ceiling is {ceiling}")));
    }
    let mut wanted = replicas.saturating_add(step).min(ceiling);
    if let Some(hpa) = found.hpa {
        // The autoscaler would undo less than its minimum at once.
        wanted = wanted.max(hpa.min.min(ceiling));
    }
    let facts = [
        ("resource_version", found.resource_version.to_string()),
        ("replicas", replicas.to_string()),
        ("wanted", wanted.to_string()),
    ];
    Ok(Inspection::Ready { precondition: Precondition::new(facts) })
}

#[async_trait]
impl ActionHandler for ScaleDeployment {
    fn name(&self) -> &str {
        "scale_deployment"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(self.cluster.world(|world| inspect(world, request, self.step)))
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let wanted_text = fact(request, precondition, "wanted")?;
        let facts = (number(Some(precondition), "resource_version"), number::<u32>(Some(precondition), "wanted"));
        let ((Some(version), Some(wanted)), Ok((namespace, name))) = (facts, deployment_of(request)) else {
            return Err(ActionError::before(request, "read the precondition", "it is not a scale's"));
        };
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: would scale to {wanted_text}")));
        }
        let scale = |world: &mut World| world.scale(&request.key(), namespace, name, version, wanted);
        self.cluster.change(scale).await.map_err(|error| failed(request, "set the replicas", error))?;
        Ok(Applied::new(format!("scaled to {wanted}")))
    }
}
