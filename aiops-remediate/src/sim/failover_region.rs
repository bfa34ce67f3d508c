//! Moves the traffic from one region to another healthy one.

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Precondition};
use async_trait::async_trait;

use super::world::World;
use super::{Cluster, blocked, fact, failed, inspected, number, part};

/// `failover_region` on `region`, the one to leave.
///
/// Made safe by the count of moves so far: traffic that moved in between is not moved again.
#[derive(Debug, Clone)]
pub struct FailoverRegion(Cluster);

impl FailoverRegion {
    /// The handler.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        Self(cluster.clone())
    }
}

fn inspect(world: &World, request: &ActionRequest) -> Result<Inspection, Inspection> {
    let name = part(request, "region")?;
    let region = world.regions.get(name).ok_or_else(|| blocked(format!("there is no region {name}")))?;
    if !region.services.contains(&request.service) {
        return Err(blocked(format!("region {name} does not run service {}", request.service)));
    }
    let Some((active, epoch)) = &world.active else { return Err(blocked("no region takes the traffic")) };
    if active != name {
        return Ok(Inspection::AlreadyDone { proof: format!("{active} takes the traffic") });
    }
    let to = world.other_region(name, &request.service);
    let to = to.ok_or_else(|| blocked(format!("no other healthy region runs service {}", request.service)))?;
    Ok(Inspection::Ready { precondition: Precondition::new([("epoch", epoch.to_string()), ("to", to.name.clone())]) })
}

#[async_trait]
impl ActionHandler for FailoverRegion {
    fn name(&self) -> &str {
        "failover_region"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(self.0.world(|world| inspect(world, request)))
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let to = fact(request, precondition, "to")?;
        let (Some(epoch), Ok(from)) = (number(Some(precondition), "epoch"), part(request, "region")) else {
            return Err(ActionError::before(request, "read the precondition", "it is not a fail-over's"));
        };
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: would fail over from {from} to {to}")));
        }
        let move_it = |world: &mut World| world.fail_over(&request.key(), from, to, epoch);
        let epoch = self.0.change(move_it).await.map_err(|error| failed(request, "fail over", error))?;
        Ok(Applied::new(format!("{to} takes the traffic (move {epoch})")))
    }
}
