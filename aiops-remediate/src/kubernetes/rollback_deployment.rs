//! Rolls a deployment back to the template of the revision before the running one.

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Outcome, Precondition};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::Change;
use super::object::{Object, Place, deployments, gitops_owner, not_before, replica_sets};
use super::{Kubernetes, Stop, began, deployment_of, done, fact, held, inspected, mark, stop, there};
use crate::parameters::service_version;

/// The deployment controller's number of a rollout, on deployments and replica sets.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Its list of the numbers that a replica set had before: it ran again.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The label by which replica sets of one deployment differ; no part of a template.
const HASH: &str = "pod-template-hash";
/// Which request rolled the deployment back, and from which revision; a deploy watcher knows it for our own by it.
const ROLLED_BACK_BY: &str = "aiops/rolled-back-by";
pub(super) const ROLLED_BACK_FROM: &str = "aiops/rolled-back-from";

/// `rollback_deployment` on `namespace` and `deployment` (else `service`).
///
/// It acts only on the revision that ran when the anomaly began: one that was rolled out later is somebody's fix. An
/// event that names a version must name the running one (the template's label `app.kubernetes.io/version`, or an
/// image's tag). What Argo CD or Flux keeps is not touched: it would roll forward again. Made safe by the generation
/// that was observed and by the resource version. There is nothing to take back: the change is made whole or not at
/// all.
#[derive(Debug, Clone)]
pub struct RollbackDeployment(Kubernetes);

/// The change that a look found to be right.
struct Plan {
    place: Place,
    resource_version: String,
    revision: u64,
    to: u64,
    template: Value,
    has_annotations: bool,
}

impl RollbackDeployment {
    /// The handler.
    #[must_use]
    pub fn new(kubernetes: &Kubernetes) -> Self {
        Self(kubernetes.clone())
    }

    async fn look(&self, request: &ActionRequest) -> Result<(Precondition, Plan), Stop> {
        let (namespace, name) = deployment_of(request)?;
        let what = format!("deployment {namespace}/{name}");
        let place = deployments().within(namespace).named(name);
        let found = there(self.0.api.get(&place).await)?;
        self.0.belongs(request, &what, &found)?;
        let from = found.annotation(ROLLED_BACK_FROM).unwrap_or_default();
        if found.annotation(ROLLED_BACK_BY) == Some(&mark(request)) {
            return done(format!("revision {from} of {what} was taken back"));
        }
        if let Some(system) = gitops_owner(&found) {
            return stop(format!("{what} is kept by {system}, which would undo it: change its repository instead"));
        }
        if found.at("/spec/paused") == Some(&Value::Bool(true)) {
            return stop(format!("the rollouts of {what} are paused: somebody is at it"));
        }
        let generation = found.number("/metadata/generation").unwrap_or_default();
        if found.number("/status/observedGeneration").unwrap_or_default() < generation {
            return stop(format!("{what} was changed and its controller has not taken that up"));
        }
        let sets = self.0.api.list(&replica_sets().within(namespace), &[]).await?;
        let Some((running, before)) = revisions(&found, &sets) else {
            return stop(format!("{what} has no revision before the running one"));
        };
        let ((revision, running), (to, before)) = (running, before);
        let at = began(request)?;
        if let Some(rolled_out) = rolled_out(&found, running).filter(|rolled_out| not_before(*rolled_out, at)) {
            return stop(format!(
                "{what}: revision {revision} was rolled out at {rolled_out}, after the anomaly began"
            ));
        }
        if let Some(version) = service_version(request).filter(|version| !runs(running, version)) {
            return stop(format!("{what} does not run version {version}, which the event is about"));
        }
        let facts = [
            ("uid", found.uid()?.to_owned()),
            ("generation", generation.to_string()),
            ("revision", revision.to_string()),
            ("to", to.to_string()),
            ("image", running.text("/spec/template/spec/containers/0/image").to_owned()),
            ("image_to", before.text("/spec/template/spec/containers/0/image").to_owned()),
        ];
        let mut template = before.at("/spec/template").cloned().unwrap_or_default();
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove(HASH);
        }
        let plan = Plan {
            place,
            resource_version: found.resource_version()?.to_owned(),
            revision,
            to,
            template,
            has_annotations: found.at("/metadata/annotations").is_some_and(Value::is_object),
        };
        Ok((Precondition::new(facts), plan))
    }
}

type Revision<'a> = (u64, &'a Object);

/// The replica set that runs and the one that ran before it, with their revisions.
fn revisions<'a>(deployment: &Object, sets: &'a [Object]) -> Option<(Revision<'a>, Revision<'a>)> {
    let (uid, current) = (deployment.uid().ok()?, number(deployment)?);
    let mut owned: Vec<Revision<'a>> =
        sets.iter().filter(|set| set.controller_is(uid)).filter_map(|set| Some((number(set)?, set))).collect();
    owned.sort_by_key(|(revision, _)| *revision);
    match owned.as_slice() {
        // The controller gives the highest number to what runs; anything else is in between.
        [.., before, running] if running.0 == current => Some((*running, *before)),
        _ => None,
    }
}

fn number(object: &Object) -> Option<u64> {
    object.annotation(REVISION)?.parse().ok()
}

/// When the running revision was rolled out: when its replica set was made, or where that ran before, when its
/// rollout went on last.
fn rolled_out(deployment: &Object, running: &Object) -> Option<Timestamp> {
    let made = running.created();
    if running.annotation(HISTORY).is_none() {
        return made;
    }
    let progress = deployment.condition("Progressing")?.get("lastUpdateTime")?.as_str()?.parse().ok();
    // Without a time it may have been just now.
    Some(progress.unwrap_or(Timestamp::MAX))
}

/// The tag of an image.
pub(super) fn tag(image: &str) -> Option<&str> {
    let named = image.split('@').next()?;
    // A colon before a slash is a registry's port.
    named.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}

/// Whether the replica set runs this version.
fn runs(set: &Object, version: &str) -> bool {
    let labelled = set.at("/spec/template/metadata/labels/app.kubernetes.io~1version").and_then(Value::as_str);
    let tagged = |container: &Value| container.get("image").and_then(|image| tag(image.as_str()?)) == Some(version);
    labelled == Some(version) || set.items("/spec/template/spec/containers").any(tagged)
}

#[async_trait]
impl ActionHandler for RollbackDeployment {
    fn name(&self) -> &str {
        "rollback_deployment"
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(request, self.look(request).await)
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let plan = held(request, precondition, self.look(request).await)?;
        let mut change = vec![
            // The server compares it with the object's and answers 409 where they differ.
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": plan.resource_version}),
            json!({"op": "replace", "path": "/spec/template", "value": plan.template}),
        ];
        if !plan.has_annotations {
            change.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        for (key, value) in [(ROLLED_BACK_BY, mark(request)), (ROLLED_BACK_FROM, plan.revision.to_string())] {
            let path = format!("/metadata/annotations/{}", key.replace('/', "~1"));
            change.push(json!({"op": "add", "path": path, "value": value}));
        }
        let patched = self.0.api.patch(&plan.place, Change::Json(change.into()), request.dry_run).await;
        patched.map_err(|error| error.at(request, "set the template"))?;
        let (from, to) = (plan.revision, plan.to);
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: the server would roll revision {from} back to {to}")));
        }
        Ok(Applied::new(format!("revision {from} rolled back to the template of {to}")))
    }

    /// Helped once the rollout is complete, worse where it is stuck, unknown while it runs or where somebody
    /// changed its spec since.
    async fn verify(&self, request: &ActionRequest, _applied: &Applied) -> Result<Outcome, ActionError> {
        let Ok((namespace, name)) = deployment_of(request) else { return Ok(Outcome::Unknown) };
        let found = self.0.api.get(&deployments().within(namespace).named(name)).await;
        let found = found.map_err(|error| ActionError::before(request, "look at the deployment", error))?;
        if found.annotation(ROLLED_BACK_BY) != Some(&mark(request)) {
            return Ok(Outcome::NoEffect);
        }
        let seen = fact(request, "generation").and_then(|seen| seen.parse::<u64>().ok());
        if seen.is_none_or(|seen| found.number("/metadata/generation") != Some(seen.saturating_add(1))) {
            return Ok(Outcome::Unknown);
        }
        let progress = found.condition("Progressing").and_then(|condition| condition.get("reason")?.as_str());
        Ok(match progress {
            Some("ProgressDeadlineExceeded") => Outcome::Worse,
            _ if is_complete(&found) => Outcome::Helped,
            _ => Outcome::Unknown,
        })
    }
}

/// Whether the deployment runs what its spec says, and nothing else.
pub(super) fn is_complete(deployment: &Object) -> bool {
    let status = |field: &str| deployment.number(&format!("/status/{field}")).unwrap_or(0);
    let wanted = deployment.number("/spec/replicas").unwrap_or(1);
    status("observedGeneration") >= deployment.number("/metadata/generation").unwrap_or(0)
        && ["updatedReplicas", "replicas", "availableReplicas"].iter().all(|field| status(field) == wanted)
}
