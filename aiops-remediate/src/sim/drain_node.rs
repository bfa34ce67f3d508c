//! Drains a node: cordons it, then moves its pods off one by one, within their disruption budgets.

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Compensation, Inspection, Precondition};
use async_trait::async_trait;

use super::world::World;
use super::{Cluster, belongs, blocked, fact, failed, inspected, number, part};

/// `drain_node` on `node`.
///
/// Never the last node that takes pods; only a node that runs pods of the event's service. If a pod
/// may not be moved it stops there, and `compensate` lets pods onto the node again.
#[derive(Debug, Clone)]
pub struct DrainNode(Cluster);

impl DrainNode {
    /// The handler.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        Self(cluster.clone())
    }
}

fn inspect(world: &World, request: &ActionRequest) -> Result<Inspection, Inspection> {
    let name = part(request, "node")?;
    let node = world.node(name).map_err(|error| blocked(error.to_string()))?;
    let pods: Vec<_> = world.pods_on(name).collect();
    if node.cordoned_by.is_some() && pods.is_empty() {
        return Ok(Inspection::AlreadyDone { proof: format!("{name} is cordoned and empty") });
    }
    if let Some(by) = node.cordoned_by.as_ref().filter(|by| **by != request.key()) {
        return Err(blocked(format!("{name} is cordoned by {by}")));
    }
    if !pods.iter().any(|pod| pod.service == request.service) {
        let owner = pods.first().map_or_else(|| "no service".into(), |pod| pod.service.clone());
        belongs(request, &format!("node {name}"), &owner)?;
    }
    if world.last_schedulable(name) {
        return Err(blocked(format!("{name} is the last node that takes pods")));
    }
    Ok(Inspection::Ready { precondition: Precondition::new([("resource_version", node.resource_version.to_string())]) })
}

#[async_trait]
impl ActionHandler for DrainNode {
    fn name(&self) -> &str {
        "drain_node"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(self.0.world(|world| inspect(world, request)))
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let seen = fact(request, precondition, "resource_version")?;
        let (Some(version), Ok(node)) = (number(Some(precondition), "resource_version"), part(request, "node")) else {
            return Err(ActionError::before(request, "read the precondition", format!("it is not a node's: {seen}")));
        };
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: would drain {node}")));
        }
        let by = request.key();
        let cordon = |world: &mut World| world.cordon(&by, node, version);
        self.0.change(cordon).await.map_err(|error| failed(request, "cordon the node", error))?;
        let pods = self.0.world(|world| {
            world.pods_on(node).map(|pod| (pod.namespace.clone(), pod.name.clone())).collect::<Vec<_>>()
        });
        for (namespace, pod) in &pods {
            let evict = |world: &mut World| world.evict(&by, namespace, pod);
            // From here on something has changed, whatever this one answers.
            self.0.change(evict).await.map_err(|error| ActionError::unknown(request, "evict a pod", error))?;
        }
        Ok(Applied::new(format!("drained {node}, {} pods", pods.len())))
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        let Ok(node) = part(request, "node") else { return Ok(Compensation::None) };
        let uncordoned = self.0.world(|world| world.uncordon(&request.key(), node));
        match uncordoned.map_err(|error| failed(request, "uncordon the node", error))? {
            true => Ok(Compensation::Done(format!("uncordoned {node}"))),
            false => Ok(Compensation::None),
        }
    }
}
