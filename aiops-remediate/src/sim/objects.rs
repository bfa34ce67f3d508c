//! The objects of the simulated cluster.

use std::collections::BTreeSet;

use aiops_core::ServiceName;
use jiff::Timestamp;

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name; a replacement has another.
    pub name: String,
    /// Its UID: one pod, once.
    pub uid: String,
    /// The service that its labels name.
    pub service: ServiceName,
    /// The deployment that owns it.
    pub owner: String,
    /// The node that it runs on; none while no node takes it.
    pub node: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is ready, unless it hangs.
    pub ready_from: Timestamp,
    /// It runs and answers nothing.
    pub hangs: bool,
}

impl Pod {
    /// Whether it serves.
    #[must_use]
    pub fn ready(&self, now: Timestamp) -> bool {
        self.node.is_some() && !self.hangs && now >= self.ready_from
    }
}

/// One revision of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revision {
    /// Grows with each rollout.
    pub number: u64,
    /// The version that it runs.
    pub version: String,
    /// When it was rolled out.
    pub at: Timestamp,
    /// The revision that it took back, where it is a rollback.
    pub takes_back: Option<u64>,
}

/// The bounds of a horizontal autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hpa {
    /// At least so many replicas.
    pub min: u32,
    /// At most so many replicas.
    pub max: u32,
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deployment {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The service that its labels name.
    pub service: ServiceName,
    /// Wanted replicas.
    pub replicas: u32,
    /// So many pods must stay ready when one is evicted (a disruption budget).
    pub min_available: u32,
    /// The autoscaler, where there is one.
    pub hpa: Option<Hpa>,
    /// Who keeps it as a repository says (Argo CD, Flux), where somebody does: what is changed by hand is
    /// changed back.
    pub managed_by: Option<String>,
    /// Grows with each change.
    pub resource_version: u64,
    /// The rollouts, the running one last.
    pub revisions: Vec<Revision>,
}

impl Deployment {
    /// A deployment of `replicas` pods at revision 1, named like its service, without autoscaler.
    pub fn new(namespace: impl Into<String>, service: impl Into<ServiceName>, replicas: u32) -> Self {
        let service = service.into();
        Self {
            namespace: namespace.into(),
            name: service.as_str().to_owned(),
            service,
            replicas,
            min_available: 0,
            hpa: None,
            managed_by: None,
            resource_version: 1,
            revisions: Vec::new(),
        }
    }

    /// Another name than the service's.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// With an autoscaler.
    #[must_use]
    pub fn hpa(mut self, min: u32, max: u32) -> Self {
        self.hpa = Some(Hpa { min, max });
        self
    }

    /// Kept as a repository says, by this controller.
    #[must_use]
    pub fn managed_by(mut self, controller: impl Into<String>) -> Self {
        self.managed_by = Some(controller.into());
        self
    }

    /// With a disruption budget.
    #[must_use]
    pub fn min_available(mut self, pods: u32) -> Self {
        self.min_available = pods;
        self
    }

    /// The running revision; none before the first rollout.
    #[must_use]
    pub fn running(&self) -> Option<&Revision> {
        self.revisions.last()
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it works.
    pub ready: bool,
    /// Who cordoned it; none = it takes pods.
    pub cordoned_by: Option<String>,
    /// Grows with each change.
    pub resource_version: u64,
}

impl Node {
    /// Whether it takes pods.
    #[must_use]
    pub fn schedulable(&self) -> bool {
        self.ready && self.cordoned_by.is_none()
    }
}

/// One region.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Whether it could take traffic.
    pub healthy: bool,
    /// The services that run in it.
    pub services: BTreeSet<ServiceName>,
}
