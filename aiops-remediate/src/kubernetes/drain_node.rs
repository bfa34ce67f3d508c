//! Drains a node: cordons it, then moves its pods off within their disruption budgets.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::time::minus;
use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Compensation, Inspection, Precondition};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::api::{Change, FIELD_MANAGER};
use super::error::KubernetesError;
use super::evict::{Evictions, Fixed, fixed, pods_on, stays};
use super::object::{Object, Place, nodes};
use super::{Kubernetes, Stop, done, held, inspected, mark, part, stop, there};

/// Which request cordoned the node: only that one lets pods onto it again.
const CORDONED_BY: &str = "aiops/cordoned-by";
/// Kept of the request's time, to say what blocks.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// `drain_node` on `node`.
///
/// Never the last node that takes pods, and only one that runs pods of the event's service. A node that somebody else
/// cordoned is theirs. Pods without a controller, or with data on the node, are a reason not to begin. Evictions
/// respect disruption budgets; what is left at the deadline is named with what holds it, and `compensate` lets pods
/// onto the node again, where it was this request that stopped them.
#[derive(Debug, Clone)]
pub struct DrainNode {
    kubernetes: Kubernetes,
    evictions: Arc<Evictions>,
    local_data: bool,
}

/// What a look found beside the facts.
struct Plan {
    place: Place,
    resource_version: String,
    cordoned: bool,
    pods: Vec<Object>,
}

impl DrainNode {
    /// The handler.
    #[must_use]
    pub fn new(kubernetes: &Kubernetes) -> Self {
        Self { kubernetes: kubernetes.clone(), evictions: Arc::default(), local_data: false }
    }

    /// Moves pods with `emptyDir` volumes too; what is in these is lost.
    #[must_use]
    pub fn with_local_data(mut self) -> Self {
        self.local_data = true;
        self
    }

    async fn look(&self, request: &ActionRequest) -> Result<(Precondition, Plan), Stop> {
        let api = &self.kubernetes.api;
        let name = part(request, "node")?;
        let place = nodes().named(name);
        let node = there(api.get(&place).await)?;
        let mut pods = pods_on(api, name).await?;
        let ours = pods.iter().any(|pod| self.kubernetes.belongs(request, "", pod).is_ok());
        pods.retain(|pod| !stays(pod));
        let cordoned = is_cordoned(&node);
        if cordoned && pods.is_empty() {
            return done(format!("node {name} is cordoned and empty"));
        }
        if cordoned && !is_ours(&node, request) {
            return stop(format!("node {name} is cordoned by someone else"));
        }
        if !cordoned && node.annotation(CORDONED_BY) == Some(&mark(request)) {
            return stop(format!("node {name} was opened again after this request had closed it"));
        }
        if !ours {
            return stop(format!("node {name} runs no pod of service {}", request.service));
        }
        if !cordoned && !others_take_pods(&self.all_nodes().await?, name) {
            return stop(format!("node {name} is the last one that takes pods"));
        }
        for pod in &pods {
            let which = format!("pod {}/{} on node {name}", pod.namespace(), pod.name());
            match fixed(pod, self.local_data) {
                Some(Fixed::NoController) => return stop(format!("{which} has no controller that would make another")),
                Some(Fixed::LocalData) => return stop(format!("{which} has data on the node (emptyDir)")),
                None => {}
            }
        }
        let facts = Precondition::new([("uid", node.uid()?)]);
        let resource_version = node.resource_version()?.to_owned();
        Ok((facts, Plan { place, resource_version, cordoned, pods }))
    }

    async fn all_nodes(&self) -> Result<Vec<Object>, KubernetesError> {
        self.kubernetes.api.list(&nodes(), &[]).await
    }

    async fn rehearse(&self, plan: &Plan, cordon: Change) -> Result<String, KubernetesError> {
        let api = &self.kubernetes.api;
        api.patch(&plan.place, cordon, true).await?;
        let mut blockers = 0;
        for pod in &plan.pods {
            match self.evictions.evict(api, pod, true).await {
                Ok(()) => {}
                Err(KubernetesError::Budget { .. } | KubernetesError::Conflict { .. }) => blockers += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(format!("dry run: the server would evict {} of {} pods now", plan.pods.len() - blockers, plan.pods.len()))
    }

    /// Cordons, and evicts what is there. An error of the first part says that nothing changed; of the second, that
    /// something did.
    async fn run(&self, request: &ActionRequest, plan: &Plan, cordon: Change) -> Result<usize, ActionError> {
        let (api, name) = (&self.kubernetes.api, request.target.get("node").unwrap_or_default());
        if !plan.cordoned {
            let cordoned = api.patch(&plan.place, cordon, false).await;
            cordoned.map_err(|error| error.at(request, "cordon the node"))?;
        }
        let unknown = |doing| move |error| ActionError::unknown(request, doing, error);
        // Another node may have been cordoned at the same time.
        let all = self.all_nodes().await.map_err(unknown("look at the other nodes"))?;
        if !others_take_pods(&all, name) {
            let why = KubernetesError::Changed(format!("node {name} is the last one that takes pods"));
            return Err(ActionError::unknown(request, "leave a node for the pods", why));
        }
        let end = minus(request.deadline, LAST_WORDS);
        self.evictions.drain(api, name, end).await.map_err(unknown("evict the pods"))
    }
}

fn is_cordoned(node: &Object) -> bool {
    node.at("/spec/unschedulable") == Some(&Value::Bool(true))
}

/// Whether it was this request that cordoned the node, and nobody has done so since.
fn is_ours(node: &Object, request: &ActionRequest) -> bool {
    node.annotation(CORDONED_BY) == Some(&mark(request))
        && node.managers("unschedulable").any(|(manager, _)| manager == FIELD_MANAGER)
}

/// Whether a node other than this one takes any pod.
fn others_take_pods(nodes: &[Object], name: &str) -> bool {
    let closed =
        |taint: &Value| matches!(taint.get("effect").and_then(Value::as_str), Some("NoSchedule" | "NoExecute"));
    nodes.iter().filter(|node| node.name() != name).any(|node| {
        node.condition_is("Ready", "True")
            && !is_cordoned(node)
            && !node.is_being_deleted()
            && !node.items("/spec/taints").any(closed)
    })
}

#[async_trait]
impl ActionHandler for DrainNode {
    fn name(&self) -> &str {
        "drain_node"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(request, self.look(request).await)
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let plan = held(request, precondition, self.look(request).await)?;
        let cordon = Change::Merge(json!({
            "metadata": {"resourceVersion": plan.resource_version, "annotations": {CORDONED_BY: mark(request)}},
            "spec": {"unschedulable": true},
        }));
        if request.dry_run {
            let said = self.rehearse(&plan, cordon).await;
            return said.map(Applied::new).map_err(|error| ActionError::before(request, "try the drain", error));
        }
        let moved = self.run(request, &plan, cordon).await?;
        Ok(Applied::new(format!("cordoned, {moved} pods moved")))
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        let Ok(name) = part(request, "node") else { return Ok(Compensation::None) };
        let (api, place) = (&self.kubernetes.api, nodes().named(name));
        let before = |error| ActionError::before(request, "look at the node", error);
        let node = match api.get(&place).await {
            Err(KubernetesError::NotFound { .. }) => return Ok(Compensation::None),
            found => found.map_err(before)?,
        };
        if !is_cordoned(&node) || !is_ours(&node, request) {
            return Ok(Compensation::None);
        }
        let uncordon = json!({
            // The mark stays: the same request does not close it again.
            "metadata": {"resourceVersion": node.resource_version().map_err(before)?},
            "spec": {"unschedulable": null},
        });
        let done = api.patch(&place, Change::Merge(uncordon), request.dry_run).await;
        done.map_err(|error| error.at(request, "uncordon the node"))?;
        Ok(Compensation::Done(format!("uncordoned {name}")))
    }
}
