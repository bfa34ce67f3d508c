//! Everyone else who changes the cluster: people, autoscalers, deploys, failing hardware.

use std::time::Duration;

use aiops_core::time::plus;
use jiff::Timestamp;

use super::world::World;

/// A change that someone else makes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A pod is deleted; its owner makes another.
    DeletePod {
        /// Namespace.
        namespace: String,
        /// Name.
        pod: String,
    },
    /// A pod stops answering.
    HangPod {
        /// Namespace.
        namespace: String,
        /// Name.
        pod: String,
    },
    /// A new version is rolled out.
    Deploy {
        /// Namespace.
        namespace: String,
        /// Name.
        deployment: String,
        /// Version.
        version: String,
    },
    /// Someone else scales.
    Scale {
        /// Namespace.
        namespace: String,
        /// Name.
        deployment: String,
        /// Wanted replicas.
        replicas: u32,
    },
    /// A node stops or starts to work.
    NodeReady {
        /// Name.
        node: String,
        /// Whether it works.
        ready: bool,
    },
    /// Someone cordons a node.
    Cordon {
        /// Name.
        node: String,
    },
    /// A region turns healthy or unhealthy.
    RegionHealthy {
        /// Name.
        region: String,
        /// Whether it could take traffic.
        healthy: bool,
    },
}

/// Who scripted and random changes are noted as.
const SOMEONE: &str = "someone else";

/// Makes one change; what is not possible any more is left out.
pub(super) fn make(world: &mut World, change: &Change) {
    match change {
        Change::DeletePod { namespace, pod } => {
            if let Ok(uid) = world.pod(namespace, pod).map(|pod| pod.uid.clone()) {
                let _ = world.delete_pod(SOMEONE, namespace, pod, &uid);
            }
        }
        Change::HangPod { namespace, pod } => {
            if let Some(found) = world.pods.get_mut(&(namespace.clone(), pod.clone())) {
                found.hangs = true;
                world.note(SOMEONE, format!("pod {namespace}/{pod} hangs"));
            }
        }
        Change::Deploy { namespace, deployment, version } => {
            let _ = world.roll_out(SOMEONE, namespace, deployment, version, None);
        }
        Change::Scale { namespace, deployment, replicas } => {
            if let Ok(version) = world.deployment(namespace, deployment).map(|found| found.resource_version) {
                let _ = world.scale(SOMEONE, namespace, deployment, version, *replicas);
            }
        }
        Change::NodeReady { node, ready } => {
            world.change_node(node, |node| node.ready = *ready);
            world.note(SOMEONE, format!("node {node} ready: {ready}"));
            world.schedule();
        }
        Change::Cordon { node } => {
            world.change_node(node, |node| node.cordoned_by = Some(SOMEONE.to_owned()));
            world.note(SOMEONE, format!("cordon {node}"));
        }
        Change::RegionHealthy { region, healthy } => {
            if let Some(found) = world.regions.get_mut(region) {
                found.healthy = *healthy;
                world.note(SOMEONE, format!("region {region} healthy: {healthy}"));
            }
        }
    }
}

/// Changes something at random now and then; equal seeds change equal things at equal times.
#[derive(Debug, Clone)]
pub(super) struct Restless {
    random: SplitMix,
    every: Duration,
    pub(super) next: Timestamp,
}

impl Restless {
    pub(super) fn new(seed: u64, every: Duration, from: Timestamp) -> Self {
        // At least a second apart, so that a long jump of the clock ends.
        let every = every.max(Duration::from_secs(1));
        Self { random: SplitMix(seed), every, next: plus(from, every) }
    }

    /// The next change, drawn from what is there.
    pub(super) fn draw(&mut self, world: &World) -> Option<Change> {
        self.next = plus(self.next, self.every);
        let pod = self.random.pick(world.pods.keys()).cloned();
        let (namespace, deployment) = self.random.pick(world.deployments.keys()).cloned()?;
        Some(match self.random.below(6) {
            0 => pod.map(|(namespace, pod)| Change::DeletePod { namespace, pod })?,
            1 => pod.map(|(namespace, pod)| Change::HangPod { namespace, pod })?,
            2 => Change::Deploy { namespace, deployment, version: format!("r{}", self.random.below(1_000)) },
            3 => {
                let replicas = u32::try_from(self.random.below(5)).unwrap_or(0).saturating_add(1);
                Change::Scale { namespace, deployment, replicas }
            }
            4 => Change::Cordon { node: self.random.pick(world.nodes.keys()).cloned()? },
            _ => {
                let ready = self.random.below(2) == 0;
                Change::NodeReady { node: self.random.pick(world.nodes.keys()).cloned()?, ready }
            }
        })
    }
}

/// Steele, Lea and Flood's SplitMix64 (OOPSLA 2014): small, seedable, good enough to choose.
#[derive(Debug, Clone)]
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, from: impl ExactSizeIterator<Item = &'a T>) -> Option<&'a T> {
        let index = self.below(from.len());
        let mut from = from;
        from.nth(index)
    }
}
