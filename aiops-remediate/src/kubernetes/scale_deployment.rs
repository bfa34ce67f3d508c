//! Adds replicas to a deployment, within the catalogue's and its autoscaler's bounds.

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Outcome, Precondition};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::api::Change;
use super::object::{Object, Place, autoscalers, deployments, gitops_owner_of};
use super::{Kubernetes, Stop, began, deployment_of, done, fact, held, inspected, stop, there};

/// What is done with a deployment whose replicas an autoscaler sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Autoscaled {
    /// Nothing: the autoscaler would undo it.
    #[default]
    Refuse,
    /// Its minimum is raised, within its maximum.
    RaiseMinimum,
}

/// `scale_deployment` on `namespace` and `deployment` (else `service`).
///
/// Never above the catalogue's `max_replicas`, never outside an autoscaler's bounds, and not at all from zero:
/// somebody switched that deployment off. At the ceiling it is blocked, which goes to a person, and not done. Replicas
/// that somebody set after the anomaly began stay as they are, as far as the server tells who set them when
/// (`managedFields`; servers may not note it for the subresource `scale`). Made safe by the generation that was
/// observed and by the resource version. There is nothing to take back: the change is made whole or not at all.
#[derive(Debug, Clone)]
pub struct ScaleDeployment {
    kubernetes: Kubernetes,
    step: u64,
    pub(super) autoscaled: Autoscaled,
}

/// The change that a look found to be right.
struct Plan {
    place: Place,
    resource_version: String,
    /// The field of the spec that holds the number.
    field: &'static str,
    wanted: u64,
}

impl ScaleDeployment {
    /// The handler; it adds one replica at a time and refuses what an autoscaler scales.
    #[must_use]
    pub fn new(kubernetes: &Kubernetes) -> Self {
        Self { kubernetes: kubernetes.clone(), step: 1, autoscaled: Autoscaled::default() }
    }

    /// How many replicas it adds (at least one), unless the request's parameter `step` says otherwise.
    #[must_use]
    pub fn step(mut self, step: u32) -> Self {
        self.step = u64::from(step.max(1));
        self
    }

    /// What is done with a deployment that an autoscaler scales.
    #[must_use]
    pub fn autoscaled(mut self, autoscaled: Autoscaled) -> Self {
        self.autoscaled = autoscaled;
        self
    }

    async fn look(&self, request: &ActionRequest) -> Result<(Precondition, Plan), Stop> {
        let (namespace, name) = deployment_of(request)?;
        let what = format!("deployment {namespace}/{name}");
        let place = deployments().within(namespace).named(name);
        let found = there(self.kubernetes.api.get(&place).await)?;
        self.kubernetes.belongs(request, &what, &found)?;
        let replicas = found.number("/spec/replicas").unwrap_or(1);
        let Some(max) = request.parameters.get("max_replicas").and_then(Value::as_u64) else {
            return stop("the catalogue entry has no max_replicas");
        };
        if replicas == 0 {
            return stop(format!("{what} is scaled to 0: somebody switched it off"));
        }
        let listed = self.kubernetes.api.list(&autoscalers().within(namespace), &[]).await?;
        let mut scaled_by = listed.into_iter().filter(|autoscaler| scales(autoscaler, name));
        let autoscaler = scaled_by.next();
        if let (Some(first), Some(second)) = (&autoscaler, scaled_by.next()) {
            return stop(format!("{what} has two autoscalers, {} and {}", first.name(), second.name()));
        }
        let step = request.parameters.get("step").and_then(Value::as_u64).map_or(self.step, |step| step.max(1));
        let (object, place, field, number, ceiling) = match autoscaler {
            None => (found, place, "replicas", replicas, max),
            Some(autoscaler) => {
                let by = autoscaler.name().to_owned();
                if self.autoscaled == Autoscaled::Refuse {
                    return stop(format!("autoscaler {by} sets the replicas of {what}: raise its minimum instead"));
                }
                let minimum = autoscaler.number("/spec/minReplicas").unwrap_or(1).max(1);
                let most = autoscaler.number("/spec/maxReplicas").unwrap_or(minimum).min(max);
                (autoscaler, autoscalers().within(namespace).named(&by), "minReplicas", minimum.max(replicas), most)
            }
        };
        if let Some(wanted) = fact(request, "wanted").and_then(|wanted| wanted.parse::<u64>().ok()) {
            let has = object.number(&format!("/spec/{field}")).unwrap_or(1);
            if has >= wanted {
                return done(format!("{field} of {what} is {has}, {wanted} was wanted"));
            }
        }
        if number >= ceiling {
            return stop(format!("{what} has {number} replicas and its ceiling is {ceiling}"));
        }
        if let Some((who, when)) = object.set_since(field, began(request)?) {
            return stop(format!("{who} set {field} of {what} at {when}, after the anomaly began"));
        }
        if let Some(system) = gitops_owner_of(&object, field) {
            return stop(format!("{system} keeps {field} of {what}: change its repository instead"));
        }
        let wanted = number.saturating_add(step).min(ceiling);
        let facts = [
            ("uid", object.uid()?.to_owned()),
            ("field", field.to_owned()),
            ("now", object.number(&format!("/spec/{field}")).unwrap_or(1).to_string()),
            ("replicas", replicas.to_string()),
            ("wanted", wanted.to_string()),
            ("generation", object.number("/metadata/generation").unwrap_or_default().to_string()),
        ];
        let resource_version = object.resource_version()?.to_owned();
        Ok((Precondition::new(facts), Plan { place, resource_version, field, wanted }))
    }
}

/// Whether an autoscaler sets the replicas of this deployment.
fn scales(autoscaler: &Object, deployment: &str) -> bool {
    autoscaler.text("/spec/scaleTargetRef/kind") == "Deployment"
        && autoscaler.text("/spec/scaleTargetRef/name") == deployment
}

#[async_trait]
impl ActionHandler for ScaleDeployment {
    fn name(&self) -> &str {
        "scale_deployment"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(request, self.look(request).await)
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let plan = held(request, precondition, self.look(request).await)?;
        let Plan { place, resource_version, field, wanted } = plan;
        let mut change = json!({"metadata": {"resourceVersion": resource_version}, "spec": {}});
        change["spec"][field] = wanted.into();
        let patched = self.kubernetes.api.patch(&place, Change::Merge(change), request.dry_run).await;
        let patched = patched.map_err(|error| error.at(request, "set the replicas"))?;
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: the server would set {field} to {wanted}")));
        }
        Ok(Applied::new(format!(
            "{field} {wanted}, generation {}",
            patched.number("/metadata/generation").unwrap_or(0)
        )))
    }

    /// Helped once that many replicas are ready; unknown while they are not.
    async fn verify(&self, request: &ActionRequest, _applied: &Applied) -> Result<Outcome, ActionError> {
        let wanted = fact(request, "wanted").and_then(|wanted| wanted.parse::<u64>().ok());
        let (Some(wanted), Ok((namespace, name))) = (wanted, deployment_of(request)) else {
            return Ok(Outcome::Unknown);
        };
        let found = self.kubernetes.api.get(&deployments().within(namespace).named(name)).await;
        let found = found.map_err(|error| ActionError::before(request, "look at the deployment", error))?;
        let ready = found.number("/status/readyReplicas").unwrap_or(0);
        Ok(match self.inspect(request).await? {
            Inspection::AlreadyDone { .. } if ready >= wanted => Outcome::Helped,
            Inspection::Ready { .. } => Outcome::NoEffect,
            _ => Outcome::Unknown,
        })
    }
}
