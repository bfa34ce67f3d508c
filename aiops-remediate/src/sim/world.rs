//! The state of the simulated cluster and its API: each call checks what it was told to check and
//! changes the state in one step, as an API server does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aiops_core::ServiceName;
use aiops_core::time::plus;
use jiff::Timestamp;

use super::objects::{Deployment, Node, Pod, Region, Revision};

/// Effects that are remembered.
const EFFECTS_KEPT: usize = 100_000;

/// What the cluster's API answers instead of doing it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// There is no such object.
    #[error("there is no {0}")]
    NotFound(String),
    /// The object is not what the caller saw.
    #[error("{what} changed: expected {expected}, found {found}")]
    Conflict {
        /// The object.
        what: String,
        /// What the caller saw.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A rule of the cluster forbids it.
    #[error("{0}")]
    Forbidden(String),
    /// The API did not take the call.
    #[error("the API server is not available")]
    Unavailable,
    /// The API took the call and its answer was lost.
    #[error("the connection broke before the answer came")]
    AnswerLost,
}

impl ApiError {
    /// Whether it is certain that nothing changed.
    #[must_use]
    pub fn nothing_changed(&self) -> bool {
        *self != Self::AnswerLost
    }
}

/// Something that changed, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effect {
    /// When.
    pub at: Timestamp,
    /// Who: `action|target|fingerprint` of a request, or the name of another actor.
    pub by: String,
    /// What (`delete pod shop/cart-1`).
    pub what: String,
}

/// The state. Objects are kept sorted, so that equal seeds and calls give equal worlds.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) startup: Duration,
    pub(super) pods: BTreeMap<(String, String), Pod>,
    pub(super) deployments: BTreeMap<(String, String), Deployment>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) regions: BTreeMap<String, Region>,
    /// The region that takes the traffic, and how often it changed.
    pub(super) active: Option<(String, u64)>,
    pub(super) effects: VecDeque<Effect>,
    made: u64,
}

fn key(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

fn conflict<A>(what: String, expected: impl ToString, found: impl ToString) -> Result<A, ApiError> {
    Err(ApiError::Conflict { what, expected: expected.to_string(), found: found.to_string() })
}

impl World {
    pub(super) fn new(now: Timestamp, startup: Duration) -> Self {
        Self {
            now,
            startup,
            pods: BTreeMap::new(),
            deployments: BTreeMap::new(),
            nodes: BTreeMap::new(),
            regions: BTreeMap::new(),
            active: None,
            effects: VecDeque::new(),
            made: 0,
        }
    }

    pub(super) fn note(&mut self, by: &str, what: String) {
        self.effects.push_back(Effect { at: self.now, by: by.to_owned(), what });
        if self.effects.len() > EFFECTS_KEPT {
            self.effects.pop_front();
        }
    }

    pub(super) fn add_deployment(&mut self, mut deployment: Deployment, version: &str) {
        let revision = Revision { number: 1, version: version.to_owned(), at: self.now, takes_back: None };
        deployment.revisions = vec![revision];
        let (namespace, name) = (deployment.namespace.clone(), deployment.name.clone());
        self.deployments.insert(key(&namespace, &name), deployment);
        self.settle(&namespace, &name);
        // What was there before the simulation began is ready.
        let now = self.now;
        self.pods.values_mut().for_each(|pod| pod.ready_from = pod.ready_from.min(now));
    }

    /// Makes or removes pods until a deployment has as many as it wants.
    pub(super) fn settle(&mut self, namespace: &str, name: &str) {
        let Some(deployment) = self.deployments.get(&key(namespace, name)).cloned() else { return };
        loop {
            let mine: Vec<_> = self.owned(namespace, name).map(|pod| pod.name.clone()).collect();
            let (have, want) = (mine.len(), usize::try_from(deployment.replicas).unwrap_or(usize::MAX));
            if have < want {
                self.make_pod(&deployment);
            } else if let (true, Some(last)) = (have > want, mine.last()) {
                self.pods.remove(&key(namespace, last));
            } else {
                return;
            }
        }
    }

    pub(super) fn owned<'a>(&'a self, namespace: &'a str, owner: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().filter(move |pod| pod.namespace == namespace && pod.owner == owner)
    }

    fn make_pod(&mut self, deployment: &Deployment) {
        self.made = self.made.saturating_add(1);
        let load = |node: &str| self.pods.values().filter(|pod| pod.node.as_deref() == Some(node)).count();
        let node = self.nodes.values().filter(|node| node.schedulable()).map(|node| &node.name);
        let node = node.min_by_key(|name| (load(name), (*name).clone())).cloned();
        let pod = Pod {
            namespace: deployment.namespace.clone(),
            name: format!("{}-{}", deployment.name, self.made),
            uid: format!("uid-{}", self.made),
            service: deployment.service.clone(),
            owner: deployment.name.clone(),
            node,
            created_at: self.now,
            ready_from: plus(self.now, self.startup),
            hangs: false,
        };
        self.pods.insert(key(&pod.namespace, &pod.name), pod);
    }

    /// Gives pods that no node took to a node, where one takes pods again.
    pub(super) fn schedule(&mut self) {
        let Some(node) = self.nodes.values().find(|node| node.schedulable()).map(|node| node.name.clone()) else {
            return;
        };
        let ready_from = plus(self.now, self.startup);
        for pod in self.pods.values_mut().filter(|pod| pod.node.is_none()) {
            (pod.node, pod.ready_from) = (Some(node.clone()), ready_from);
        }
    }

    pub(super) fn pod(&self, namespace: &str, name: &str) -> Result<&Pod, ApiError> {
        self.pods.get(&key(namespace, name)).ok_or_else(|| ApiError::NotFound(format!("pod {namespace}/{name}")))
    }

    pub(super) fn deployment(&self, namespace: &str, name: &str) -> Result<&Deployment, ApiError> {
        let found = self.deployments.get(&key(namespace, name));
        found.ok_or_else(|| ApiError::NotFound(format!("deployment {namespace}/{name}")))
    }

    fn deployment_mut(&mut self, namespace: &str, name: &str) -> Result<&mut Deployment, ApiError> {
        let found = self.deployments.get_mut(&key(namespace, name));
        found.ok_or_else(|| ApiError::NotFound(format!("deployment {namespace}/{name}")))
    }

    pub(super) fn node(&self, name: &str) -> Result<&Node, ApiError> {
        self.nodes.get(name).ok_or_else(|| ApiError::NotFound(format!("node {name}")))
    }

    /// Deletes one pod, if it is still the one with this UID; its owner makes another.
    pub(super) fn delete_pod(&mut self, by: &str, namespace: &str, name: &str, uid: &str) -> Result<(), ApiError> {
        let pod = self.pod(namespace, name)?;
        if pod.uid != uid {
            return conflict(format!("pod {namespace}/{name}"), uid, pod.uid.clone());
        }
        let owner = pod.owner.clone();
        self.pods.remove(&key(namespace, name));
        self.note(by, format!("delete pod {namespace}/{name} {uid}"));
        self.settle(namespace, &owner);
        Ok(())
    }

    /// Sets the replicas, if the deployment is still at this version.
    pub(super) fn scale(
        &mut self,
        by: &str,
        namespace: &str,
        name: &str,
        resource_version: u64,
        replicas: u32,
    ) -> Result<(), ApiError> {
        let deployment = self.deployment_mut(namespace, name)?;
        if deployment.resource_version != resource_version {
            let what = format!("deployment {namespace}/{name}");
            return conflict(what, resource_version, deployment.resource_version);
        }
        let before = deployment.replicas;
        deployment.replicas = replicas;
        deployment.resource_version = resource_version.saturating_add(1);
        self.note(by, format!("scale {namespace}/{name} from {before} to {replicas}"));
        self.settle(namespace, name);
        Ok(())
    }

    /// Rolls a new version out, or back: all pods are replaced.
    pub(super) fn roll_out(
        &mut self,
        by: &str,
        namespace: &str,
        name: &str,
        version: &str,
        takes_back: Option<u64>,
    ) -> Result<u64, ApiError> {
        let now = self.now;
        let deployment = self.deployment_mut(namespace, name)?;
        let running = deployment.running().map_or(0, |revision| revision.number);
        if let Some(expected) = takes_back.filter(|expected| *expected != running) {
            return conflict(
                format!("deployment {namespace}/{name}"),
                format!("revision {expected}"),
                format!("revision {running}"),
            );
        }
        let number = running.saturating_add(1);
        deployment.revisions.push(Revision { number, version: version.to_owned(), at: now, takes_back });
        deployment.resource_version = deployment.resource_version.saturating_add(1);
        self.note(by, format!("roll out {namespace}/{name} revision {number} ({version})"));
        self.pods.retain(|_, pod| !(pod.namespace == namespace && pod.owner == name));
        self.settle(namespace, name);
        Ok(number)
    }

    /// Keeps new pods from a node, if it is at this version. The last node that takes pods is refused.
    pub(super) fn cordon(&mut self, by: &str, name: &str, resource_version: u64) -> Result<(), ApiError> {
        let node = self.node(name)?;
        if node.resource_version != resource_version {
            return conflict(format!("node {name}"), resource_version, node.resource_version);
        }
        if self.last_schedulable(name) {
            return Err(ApiError::Forbidden(format!("{name} is the last node that takes pods")));
        }
        self.change_node(name, |node| node.cordoned_by = Some(by.to_owned()));
        self.note(by, format!("cordon {name}"));
        Ok(())
    }

    /// Lets pods onto a node again, if `by` had cordoned it; says whether it had.
    pub(super) fn uncordon(&mut self, by: &str, name: &str) -> Result<bool, ApiError> {
        if self.node(name)?.cordoned_by.as_deref() != Some(by) {
            return Ok(false);
        }
        self.change_node(name, |node| node.cordoned_by = None);
        self.note(by, format!("uncordon {name}"));
        self.schedule();
        Ok(true)
    }

    pub(super) fn change_node(&mut self, name: &str, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(name) {
            change(node);
            node.resource_version = node.resource_version.saturating_add(1);
        }
    }

    /// Whether no other node takes pods.
    pub(super) fn last_schedulable(&self, name: &str) -> bool {
        !self.nodes.values().any(|node| node.name != name && node.schedulable())
    }

    pub(super) fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().filter(move |pod| pod.node.as_deref() == Some(node))
    }

    /// Moves one pod off its node, unless the disruption budget forbids it.
    pub(super) fn evict(&mut self, by: &str, namespace: &str, name: &str) -> Result<(), ApiError> {
        let pod = self.pod(namespace, name)?.clone();
        let ready = self.owned(namespace, &pod.owner).filter(|pod| pod.ready(self.now)).count();
        let budget = self.deployment(namespace, &pod.owner)?.min_available;
        if pod.ready(self.now) && ready <= usize::try_from(budget).unwrap_or(usize::MAX) {
            let owner = &pod.owner;
            return Err(ApiError::Forbidden(format!(
                "the disruption budget of {namespace}/{owner} keeps {budget} pods and {ready} are ready"
            )));
        }
        self.pods.remove(&key(namespace, name));
        self.note(by, format!("evict pod {namespace}/{name} {}", pod.uid));
        self.settle(namespace, &pod.owner);
        Ok(())
    }

    /// Moves the traffic to another region, if that is healthy and it was not moved since `epoch`.
    pub(super) fn fail_over(&mut self, by: &str, from: &str, to: &str, epoch: u64) -> Result<u64, ApiError> {
        let Some((active, found)) = self.active.clone() else {
            return Err(ApiError::NotFound("active region".to_owned()));
        };
        if active != from || found != epoch {
            return conflict("traffic".to_owned(), format!("{from} ({epoch})"), format!("{active} ({found})"));
        }
        if !self.regions.get(to).is_some_and(|region| region.healthy) {
            return Err(ApiError::Forbidden(format!("region {to} is not healthy")));
        }
        let epoch = epoch.saturating_add(1);
        self.active = Some((to.to_owned(), epoch));
        self.note(by, format!("fail over from {from} to {to}"));
        Ok(epoch)
    }

    /// The healthy region that would take a service's traffic.
    pub(super) fn other_region(&self, from: &str, service: &ServiceName) -> Option<&Region> {
        self.regions.values().find(|region| region.name != from && region.healthy && region.services.contains(service))
    }
}
