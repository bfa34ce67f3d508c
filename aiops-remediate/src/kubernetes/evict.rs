//! Moves pods off a node by the eviction API, which respects disruption budgets.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::Api;
use super::error::KubernetesError;
use super::object::{Object, pods};

/// Between two tries of a pod that a budget holds, and between two looks at what is left.
const TRY_EVERY: Duration = Duration::from_secs(2);
/// Blockers that an error names.
const NAMED: usize = 10;

/// Why a pod cannot be moved at all.
pub(super) enum Fixed {
    /// Nobody would make another.
    NoController,
    /// Its data is on the node.
    LocalData,
}

/// Pods that a drain leaves alone: those of the node itself and of daemon sets, and those that ended.
pub(super) fn stays(pod: &Object) -> bool {
    let kind = pod.controller().and_then(|owner| owner.get("kind")?.as_str());
    matches!(kind, Some("DaemonSet" | "Node"))
        || pod.annotation("kubernetes.io/config.mirror").is_some()
        || matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

/// Why this pod cannot be moved without losing something.
pub(super) fn fixed(pod: &Object, local_data: bool) -> Option<Fixed> {
    if pod.controller().is_none() {
        return Some(Fixed::NoController);
    }
    let local = pod.items("/spec/volumes").any(|volume| volume.get("emptyDir").is_some_and(Value::is_object));
    (local && !local_data).then_some(Fixed::LocalData)
}

/// The pods on a node.
pub(super) async fn pods_on(api: &Api, node: &str) -> Result<Vec<Object>, KubernetesError> {
    api.list(&pods(), &[("fieldSelector", &format!("spec.nodeName={node}"))]).await
}

/// Evicts by policy/v1, or by policy/v1beta1 on a server that lacks it (before 1.22).
#[derive(Debug, Default)]
pub(super) struct Evictions {
    old: AtomicBool,
}

impl Evictions {
    /// Asks for one pod to go. One that is gone is no error.
    pub(super) async fn evict(&self, api: &Api, pod: &Object, dry_run: bool) -> Result<(), KubernetesError> {
        let place = pods().within(pod.namespace()).named(pod.name()).part("eviction");
        loop {
            let old = self.old.load(Ordering::Relaxed);
            let mut options = json!({"preconditions": {"uid": pod.uid()?}});
            if dry_run {
                options["dryRun"] = json!(["All"]);
            }
            let body = json!({
                "apiVersion": if old { "policy/v1beta1" } else { "policy/v1" },
                "kind": "Eviction",
                "metadata": {"name": pod.name(), "namespace": pod.namespace()},
                "deleteOptions": options,
            });
            match api.create(&place, body, dry_run).await {
                Ok(_) | Err(KubernetesError::NotFound { .. }) => return Ok(()),
                Err(KubernetesError::Invalid { message, .. }) if !old && message.contains("no kind \"Eviction\"") => {
                    self.old.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Evicts every pod that does not stay, until none is left on the node.
    ///
    /// # Errors
    /// At the end, with what is left and what holds it; at once where the server says no for good.
    pub(super) async fn drain(&self, api: &Api, node: &str, end: Timestamp) -> Result<usize, KubernetesError> {
        let mut all = None;
        let mut asked = BTreeSet::new();
        loop {
            let found = pods_on(api, node).await?;
            let left: Vec<&Object> = found.iter().filter(|pod| !stays(pod)).collect();
            let all = *all.get_or_insert(left.len());
            if left.is_empty() {
                return Ok(all);
            }
            let mut blockers = Vec::new();
            let mut wait = TRY_EVERY;
            for pod in &left {
                let name = format!("{}/{}", pod.namespace(), pod.name());
                if pod.is_being_deleted() || asked.contains(pod.uid()?) {
                    blockers.push(format!("pod {name} is ending"));
                    continue;
                }
                // A pod that somebody put there since, and that nobody would make again.
                if pod.controller().is_none() {
                    blockers.push(format!("pod {name} has no controller"));
                    continue;
                }
                match self.evict(&api.until(end), pod, false).await {
                    Ok(()) => {
                        asked.insert(pod.uid()?.to_owned());
                        blockers.push(format!("pod {name} is ending"));
                    }
                    // Another of its name by now, or its budget was being written.
                    Err(KubernetesError::Conflict { .. }) => blockers.push(format!("pod {name} changed meanwhile")),
                    Err(KubernetesError::Budget { causes, .. }) => blockers.push(format!("pod {name}: {causes}")),
                    Err(KubernetesError::Throttled { retry_after }) => {
                        wait = wait.max(retry_after.unwrap_or_default());
                        blockers.push(format!("pod {name}: the server takes no more for now"));
                    }
                    Err(KubernetesError::Late { .. }) => {
                        blockers.push(format!("pod {name}: no answer to its eviction"))
                    }
                    Err(error) => return Err(error),
                }
            }
            if !api.pause(wait, end).await {
                return self.left(api, node, all, blockers).await;
            }
        }
    }

    /// What is left at the end.
    async fn left(
        &self,
        api: &Api,
        node: &str,
        all: usize,
        mut blockers: Vec<String>,
    ) -> Result<usize, KubernetesError> {
        let found = pods_on(api, node).await?;
        let left = found.iter().filter(|pod| !stays(pod)).count();
        if left == 0 {
            return Ok(all);
        }
        blockers.truncate(NAMED);
        Err(KubernetesError::Undrained { node: node.to_owned(), left, all: all.max(left), blockers })
    }
}
