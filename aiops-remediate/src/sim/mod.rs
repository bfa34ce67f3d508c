//! A cluster to try remediation on: pods, deployments with revisions and autoscalers, nodes, regions,
//! and others who change them. Deterministic: time comes from a [`Clock`], chance from a seed.
//!
//! Its five handlers ([`RestartPod`], [`ScaleDeployment`], [`RollbackDeployment`], [`DrainNode`],
//! [`FailoverRegion`]) show how each action is made safe by its precondition; handlers for a real
//! cluster follow the same rules.

mod actors;
mod drain_node;
mod failover_region;
mod objects;
mod restart_pod;
mod rollback_deployment;
mod scale_deployment;
mod world;

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::{ActionError, ActionHandler, ActionRequest, Clock, Inspection, Precondition, ServiceName};
use jiff::Timestamp;

pub use self::actors::Change;
pub use self::drain_node::DrainNode;
pub use self::failover_region::FailoverRegion;
pub use self::objects::{Deployment, Hpa, Node, Pod, Region, Revision};
pub use self::restart_pod::RestartPod;
pub use self::rollback_deployment::RollbackDeployment;
pub use self::scale_deployment::ScaleDeployment;
use self::world::World;
pub use self::world::{ApiError, Effect};
use crate::parameters;

/// How long a new pod takes to get ready.
const STARTUP: Duration = Duration::from_secs(20);

/// What goes wrong with the next change that a handler makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The API does not take it.
    Unavailable,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// The call hangs and nothing is done.
    Hang,
    /// It is done, and the call hangs.
    HangAfter,
    /// The handler's code panics.
    Panic,
}

#[derive(Debug)]
struct Inner {
    world: World,
    script: Vec<(Timestamp, Change)>,
    restless: Option<actors::Restless>,
    faults: VecDeque<Fault>,
}

/// A handle on one simulated cluster; clones share it.
///
/// ```
/// # #[cfg(feature = "sim")] {
/// use aiops_core::VirtualClock;
/// use aiops_remediate::sim::{Cluster, Deployment};
/// let clock = VirtualClock::new(jiff::Timestamp::UNIX_EPOCH);
/// let cluster = Cluster::new(clock).node("n1").node("n2").deployment(Deployment::new("shop", "cart", 3), "v1");
/// assert_eq!(cluster.pods().len(), 3);
/// # }
/// ```
#[derive(Clone)]
pub struct Cluster {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// An empty cluster on this clock. Add nodes before deployments: pods want a place.
    #[must_use]
    pub fn new(clock: impl Clock) -> Self {
        let world = World::new(clock.now(), STARTUP);
        let inner = Inner { world, script: Vec::new(), restless: None, faults: VecDeque::new() };
        Self { clock: Arc::new(clock), inner: Arc::new(Mutex::new(inner)) }
    }

    /// Adds a node that works.
    #[must_use]
    pub fn node(self, name: impl Into<String>) -> Self {
        let node = Node { name: name.into(), ready: true, cordoned_by: None, resource_version: 1 };
        self.world(|world| world.nodes.insert(node.name.clone(), node));
        self
    }

    /// Adds a deployment that runs `version`, with its pods ready.
    #[must_use]
    pub fn deployment(self, deployment: Deployment, version: &str) -> Self {
        self.world(|world| world.add_deployment(deployment, version));
        self
    }

    /// Adds a healthy region with its services; the first one takes the traffic.
    #[must_use]
    pub fn region(self, name: impl Into<String>, services: impl IntoIterator<Item = impl Into<ServiceName>>) -> Self {
        let services = services.into_iter().map(Into::into).collect();
        let region = Region { name: name.into(), healthy: true, services };
        self.world(|world| {
            world.active.get_or_insert_with(|| (region.name.clone(), 0));
            world.regions.insert(region.name.clone(), region)
        });
        self
    }

    /// Someone else makes this change at this time.
    pub fn change_at(&self, at: Timestamp, change: Change) {
        let mut inner = self.lock();
        inner.script.push((at, change));
        inner.script.sort_by_key(|(at, _)| *at);
    }

    /// From now on someone else changes something every so often (at least a second apart), chosen by
    /// the seed.
    pub fn restless(&self, seed: u64, every: Duration) {
        let mut inner = self.lock();
        inner.restless = Some(actors::Restless::new(seed, every, inner.world.now));
    }

    /// The next change that a handler makes goes wrong like this; several queue up.
    pub fn fail_next(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    /// What has changed so far, and by whom.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.world(|world| world.effects.iter().cloned().collect())
    }

    /// The pods now, sorted by namespace and name.
    #[must_use]
    pub fn pods(&self) -> Vec<Pod> {
        self.world(|world| world.pods.values().cloned().collect())
    }

    /// The deployments now, sorted by namespace and name.
    #[must_use]
    pub fn deployments(&self) -> Vec<Deployment> {
        self.world(|world| world.deployments.values().cloned().collect())
    }

    /// The nodes now, sorted by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.world(|world| world.nodes.values().cloned().collect())
    }

    /// The region that takes the traffic.
    #[must_use]
    pub fn active_region(&self) -> Option<String> {
        self.world(|world| world.active.as_ref().map(|(name, _)| name.clone()))
    }

    /// All five handlers.
    #[must_use]
    pub fn handlers(&self) -> Vec<Arc<dyn ActionHandler>> {
        vec![
            Arc::new(RestartPod::new(self)),
            Arc::new(ScaleDeployment::new(self)),
            Arc::new(RollbackDeployment::new(self)),
            Arc::new(DrainNode::new(self)),
            Arc::new(FailoverRegion::new(self)),
        ]
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.catch_up(self.clock.now());
        inner
    }

    /// Looks at or changes the world as it is now.
    fn world<T>(&self, with: impl FnOnce(&mut World) -> T) -> T {
        with(&mut self.lock().world)
    }

    /// Makes a handler's change, or meets the fault that was asked for.
    async fn change<T>(&self, make: impl FnOnce(&mut World) -> Result<T, ApiError> + Send) -> Result<T, ApiError> {
        let fault = self.lock().faults.pop_front();
        match fault {
            None => self.world(make),
            Some(Fault::Unavailable) => Err(ApiError::Unavailable),
            Some(Fault::AnswerLost) => self.world(make).and(Err(ApiError::AnswerLost)),
            Some(Fault::Hang) => pending().await,
            Some(Fault::HangAfter) => {
                let _ = self.world(make);
                pending().await
            }
            // A handler's own mistake, for tests of what stands around it.
            #[allow(clippy::panic)]
            Some(Fault::Panic) => panic!("a handler that panics"),
        }
    }
}

impl Inner {
    /// Lets everything happen that was due by `now`, in order. A clock set back changes nothing.
    fn catch_up(&mut self, now: Timestamp) {
        loop {
            let scripted = self.script.first().map(|(at, _)| *at).filter(|at| *at <= now);
            let random = self.restless.as_ref().map(|restless| restless.next).filter(|at| *at <= now);
            match (scripted, random) {
                (Some(at), random) if random.is_none_or(|other| at <= other) => {
                    self.world.now = self.world.now.max(at);
                    let (_, change) = self.script.remove(0);
                    actors::make(&mut self.world, &change);
                }
                (_, Some(at)) => {
                    self.world.now = self.world.now.max(at);
                    let change = self.restless.as_mut().and_then(|restless| restless.draw(&self.world));
                    if let Some(change) = change {
                        actors::make(&mut self.world, &change);
                    }
                }
                _ => break,
            }
        }
        self.world.now = self.world.now.max(now);
    }
}

/// A reason not to act, as an inspection.
fn blocked(reason: impl Into<String>) -> Inspection {
    Inspection::Blocked { reason: reason.into() }
}

/// A part of the target; its absence blocks.
fn part<'a>(request: &'a ActionRequest, name: &str) -> Result<&'a str, Inspection> {
    request.target.get(name).ok_or_else(|| blocked(format!("the target names no {name}")))
}

/// Namespace and deployment of a target; the service's name stands in for a missing deployment.
fn deployment_of(request: &ActionRequest) -> Result<(&str, &str), Inspection> {
    let name = request.target.get("deployment").or_else(|| request.target.get("service"));
    Ok((part(request, "namespace")?, name.ok_or_else(|| blocked("the target names no deployment"))?))
}

/// Refuses what belongs to another service: labels are not trusted.
fn belongs(request: &ActionRequest, what: &str, owner: &ServiceName) -> Result<(), Inspection> {
    if *owner == request.service {
        return Ok(());
    }
    Err(blocked(format!("{what} belongs to service {owner}, not to {}", request.service)))
}

/// A number among what was observed.
fn number<N: std::str::FromStr>(facts: Option<&Precondition>, name: &str) -> Option<N> {
    facts?.get(name)?.parse().ok()
}

/// A fact that `execute` needs; without it nothing is done.
fn fact<'a>(request: &ActionRequest, precondition: &'a Precondition, name: &str) -> Result<&'a str, ActionError> {
    precondition
        .get(name)
        .ok_or_else(|| ActionError::before(request, "read the precondition", format!("it holds no {name}")))
}

/// An API error as a handler's error.
fn failed(request: &ActionRequest, doing: &'static str, error: ApiError) -> ActionError {
    if error.nothing_changed() {
        ActionError::before(request, doing, error)
    } else {
        ActionError::unknown(request, doing, error)
    }
}

/// Unwraps the result of an inspection that stops at the first reason not to act.
fn inspected(result: Result<Inspection, Inspection>) -> Result<Inspection, ActionError> {
    Ok(result.unwrap_or_else(|reason| reason))
}

/// What the dispatcher had observed before it acted.
fn observed(request: &ActionRequest) -> Option<Precondition> {
    parameters::observed(request)
}
