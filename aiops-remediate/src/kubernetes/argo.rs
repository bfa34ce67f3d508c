//! Has an action done by a workflow of Argo.

use std::collections::BTreeSet;
use std::time::Duration;

use aiops_core::time::minus;
use aiops_core::{
    ActionError, ActionHandler, ActionName, ActionRequest, Applied, Compensation, Inspection, Outcome, Precondition,
    ServiceName, text,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::api::Change;
use super::error::KubernetesError;
use super::object::{Object, Place};
use super::{Kubernetes, Stop, done, held, inspected, mark, stop, there};

const API: &str = "apis/argoproj.io/v1alpha1";
/// Between two looks at a workflow.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Kept of the request's time, to stop the workflow.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Digits of the request's digest in a workflow's name.
const DIGITS: usize = 16;
/// Characters of a workflow's own words.
const WORDS: usize = 300;

/// An action by a `Workflow` made from a `WorkflowTemplate`, such as `failover_region`.
///
/// The workflow's name follows from the request, so that a second one is refused by the server: one that is there is
/// followed, not started again. Its parameters are the fixed ones and parts of the target; a part that holds more than
/// letters, digits, `.`, `_` and `-` blocks, since templates put parameters into scripts. It is followed to its end;
/// at the deadline, and by `compensate`, it is stopped (`spec.shutdown: Stop`, which runs its exit handlers).
///
/// What a template acts on cannot be seen from outside: [`services`](Self::services) lists for which services it may
/// run, and for all others it is blocked.
#[derive(Debug, Clone)]
pub struct ArgoWorkflow {
    kubernetes: Kubernetes,
    action: String,
    namespace: String,
    template: String,
    services: BTreeSet<ServiceName>,
    from_target: Vec<String>,
    fixed: Vec<(String, String)>,
}

/// What a look found beside the facts.
struct Plan {
    body: serde_json::Value,
}

impl ArgoWorkflow {
    /// The action of this name by the template of this name and namespace.
    #[must_use]
    pub fn new(
        kubernetes: &Kubernetes,
        action: &ActionName,
        namespace: impl Into<String>,
        template: impl Into<String>,
    ) -> Self {
        Self {
            kubernetes: kubernetes.clone(),
            action: action.to_string(),
            namespace: namespace.into(),
            template: template.into(),
            services: BTreeSet::new(),
            from_target: Vec::new(),
            fixed: Vec::new(),
        }
    }

    /// The services that it may run for; none unless they are named.
    #[must_use]
    pub fn services(mut self, services: impl IntoIterator<Item = impl Into<ServiceName>>) -> Self {
        self.services.extend(services.into_iter().map(Into::into));
        self
    }

    /// A part of the target that is passed on as the parameter of the same name.
    #[must_use]
    pub fn target(mut self, part: impl Into<String>) -> Self {
        self.from_target.push(part.into());
        self
    }

    /// A parameter with a value of its own.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.fixed.push((name.into(), value.into()));
        self
    }

    fn name_of(&self, request: &ActionRequest) -> String {
        let mut digest = mark(request);
        digest.truncate(DIGITS);
        format!("aiops-{}-{digest}", self.action.replace('_', "-").to_ascii_lowercase())
    }

    fn all(&self) -> Place {
        Place::new(API, "workflows").within(&self.namespace)
    }

    async fn found(&self, request: &ActionRequest) -> Result<Option<Object>, KubernetesError> {
        match self.kubernetes.api.get(&self.all().named(&self.name_of(request))).await {
            Err(KubernetesError::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    async fn look(&self, request: &ActionRequest) -> Result<(Precondition, Plan), Stop> {
        if !self.services.contains(&request.service) {
            return stop(format!("template {} is not for service {}", self.template, request.service));
        }
        if let Some(workflow) = self.found(request).await? {
            let (name, phase) = (workflow.name(), workflow.text("/status/phase"));
            if has_failed(phase) {
                return stop(format!("workflow {name} was started already and ended as {phase}: {}", words(&workflow)));
            }
            return done(format!("workflow {name} was started already"));
        }
        let mut parameters: Vec<_> =
            self.fixed.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        for part in &self.from_target {
            match request.target.get(part) {
                Some(value) if is_plain(value) => parameters.push(json!({"name": part, "value": value})),
                Some(_) => {
                    return stop(format!("the target's {part} holds more than letters, digits, '.', '_' and '-'"));
                }
                None => return stop(format!("the target names no {part}")),
            }
        }
        let template = Place::new(API, "workflowtemplates").within(&self.namespace).named(&self.template);
        let template = there(self.kubernetes.api.get(&template).await)?;
        let generation = template.number("/metadata/generation").unwrap_or_default().to_string();
        let facts = [("template", template.uid()?.to_owned()), ("generation", generation)];
        let body = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
            "metadata": {"name": self.name_of(request), "annotations": {"aiops/incident": request.incident_id.to_string()}},
            "spec": {"workflowTemplateRef": {"name": self.template}, "arguments": {"parameters": parameters}},
        });
        Ok((Precondition::new(facts), Plan { body }))
    }

    /// Follows it to its end, or stops it at the deadline.
    async fn follow(&self, request: &ActionRequest, end: Timestamp) -> Result<(), KubernetesError> {
        let name = self.name_of(request);
        loop {
            let (phase, message) = match self.found(request).await {
                Ok(Some(workflow)) => (workflow.text("/status/phase").to_owned(), words(&workflow)),
                Ok(None) => return Err(KubernetesError::NotFound { what: format!("workflow {name}") }),
                // It runs whether or not this answer came.
                Err(error) if error.is_retryable() => (String::new(), String::new()),
                Err(error) => return Err(error),
            };
            match phase.as_str() {
                "Succeeded" => return Ok(()),
                phase if has_failed(phase) => {
                    return Err(KubernetesError::Workflow { name, phase: phase.to_owned(), message });
                }
                _ => {}
            }
            if !self.kubernetes.api.pause(LOOK_EVERY, end).await {
                let stopped = self.stop(request).await.is_ok_and(|stopped| stopped);
                let message = if stopped { "it was told to stop at the deadline" } else { "it could not be stopped" };
                let phase = if phase.is_empty() { "Pending".to_owned() } else { phase };
                return Err(KubernetesError::Workflow { name, phase, message: message.to_owned() });
            }
        }
    }

    /// Whether a workflow that ran was told to stop.
    async fn stop(&self, request: &ActionRequest) -> Result<bool, KubernetesError> {
        let Some(workflow) = self.found(request).await? else { return Ok(false) };
        let phase = workflow.text("/status/phase");
        if phase == "Succeeded" || has_failed(phase) || !workflow.text("/spec/shutdown").is_empty() {
            return Ok(false);
        }
        let change = Change::Merge(json!({"spec": {"shutdown": "Stop"}}));
        self.kubernetes.api.patch(&self.all().named(workflow.name()), change, request.dry_run).await?;
        Ok(true)
    }
}

fn has_failed(phase: &str) -> bool {
    matches!(phase, "Failed" | "Error")
}

fn words(workflow: &Object) -> String {
    text::clip(workflow.text("/status/message"), WORDS)
}

fn is_plain(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=253).contains(&value.len()) && value.chars().all(plain) && !value.starts_with('-')
}

#[async_trait]
impl ActionHandler for ArgoWorkflow {
    fn name(&self) -> &str {
        &self.action
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        inspected(request, self.look(request).await)
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let Plan { body } = held(request, precondition, self.look(request).await)?;
        match self.kubernetes.api.create(&self.all(), body, request.dry_run).await {
            // Started by an earlier call whose answer was lost, or by another process.
            Ok(_) | Err(KubernetesError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.at(request, "start the workflow")),
        }
        let name = self.name_of(request);
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: the server would start workflow {name}")));
        }
        let followed = self.follow(request, minus(request.deadline, LAST_WORDS)).await;
        followed.map_err(|error| ActionError::unknown(request, "follow the workflow to its end", error))?;
        Ok(Applied::new(format!("workflow {name}")))
    }

    /// Helped once it succeeded, worse where it failed, unknown while it runs.
    async fn verify(&self, request: &ActionRequest, _applied: &Applied) -> Result<Outcome, ActionError> {
        let found = self.found(request).await;
        let found = found.map_err(|error| ActionError::before(request, "look at the workflow", error))?;
        Ok(match found.as_ref().map(|workflow| workflow.text("/status/phase")) {
            None => Outcome::NoEffect,
            Some("Succeeded") => Outcome::Helped,
            Some(phase) if has_failed(phase) => Outcome::Worse,
            Some(_) => Outcome::Unknown,
        })
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        let stopped = self.stop(request).await.map_err(|error| error.at(request, "stop the workflow"))?;
        let name = self.name_of(request);
        Ok(if stopped { Compensation::Done(format!("told workflow {name} to stop")) } else { Compensation::None })
    }
}
