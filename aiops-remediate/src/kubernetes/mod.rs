//! Actions on Kubernetes, over the client that the host passes in.
//!
//! [`RestartPod`], [`ScaleDeployment`], [`RollbackDeployment`] and [`DrainNode`] act only on what they saw: each
//! `execute` looks again, does nothing unless the state is the one that was observed, and writes with the server's own
//! precondition (the UID, the resource version), so that nobody's change in between is lost. A change that somebody
//! made after the anomaly began is left alone. In a dry run the change goes to the server with `dryRun=All`: it is
//! checked and admitted there, and not made.
//!
//! Targets name the object by the labels of the event: `namespace` with `pod` or `deployment` (else `service`), or
//! `node`. Labels are not trusted: the object must carry the event's service in its label `app.kubernetes.io/name`, or
//! in the one that [`Kubernetes::service_label`] sets.
//!
//! [`ArgoWorkflow`] has any other action done by a workflow. [`DeployWatcher`] feeds a deploy log with the rollouts of
//! the cluster.
//!
//! A program that is built with it must enable a version of the API on `k8s-openapi` (`v1_34`, say): libraries may not.
//!
//! What an account needs is in `docs/deploy/rbac`; [`Kubernetes::check_access`] asks the server for it at the start.
//! `docs/guide/kubernetes.md` tells more.
//!
//! ```no_run
//! use aiops_remediate::kubernetes::{Kubernetes, RestartPod, ScaleDeployment, kube};
//! # async fn host() -> Result<(), kube::Error> {
//! let kubernetes = Kubernetes::connect(kube::Config::infer().await.map_err(kube::Error::InferConfig)?)?;
//! let handlers = (RestartPod::new(&kubernetes), ScaleDeployment::new(&kubernetes).step(2));
//! # let _ = handlers;
//! # Ok(()) }
//! ```

mod access;
mod api;
mod argo;
mod deploys;
mod drain_node;
mod error;
mod evict;
mod object;
mod restart_pod;
mod rollback_deployment;
mod rollouts;
mod scale_deployment;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::{ActionError, ActionHandler, ActionRequest, Clock, Inspection, Precondition, SystemClock, text};
/// The client's crate; the host picks its TLS and the version of the API by features.
pub use kube;

pub use self::access::Access;
use self::api::Api;
pub use self::argo::ArgoWorkflow;
pub use self::deploys::DeployWatcher;
pub use self::drain_node::DrainNode;
pub use self::error::KubernetesError;
use self::object::{Object, is_name};
pub use self::restart_pod::RestartPod;
pub use self::rollback_deployment::RollbackDeployment;
pub use self::scale_deployment::{Autoscaled, ScaleDeployment};
use crate::parameters;
use crate::sha256::{hex, sha256};

/// The label of the recommended set that names the application.
const SERVICE_LABEL: &str = "app.kubernetes.io/name";
/// One call to the API server; half of the dispatcher's time for an inspection.
const CALL: Duration = Duration::from_secs(10);
/// Characters of a reason.
const REASON: usize = 500;

/// What the handlers of one cluster share: the client, the clock, and how a service is told.
#[derive(Clone)]
pub struct Kubernetes {
    api: Api,
    service_label: String,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes")
            .field("service_label", &self.service_label)
            .field("call_deadline", &self.api.call)
            .finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// On a client of this configuration that tries nothing again by itself.
    ///
    /// # Errors
    /// The client cannot be built: a certificate or a token that does not read.
    pub fn connect(mut config: kube::Config) -> Result<Self, kube::Error> {
        config.default_retry = false;
        Ok(Self::new(kube::Client::try_from(config)?))
    }

    /// On this client, which must try nothing again by itself (`Config::default_retry`, which is on unless it is
    /// switched off): a write that came through without an answer would be refused the second time, as if it had not.
    /// With the label `app.kubernetes.io/name`, 10 s for a call, and the system's clock.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        let api = Api { client, clock: Arc::new(SystemClock), call: CALL };
        Self { api, service_label: SERVICE_LABEL.to_owned() }
    }

    /// The label of pods and deployments that names the service.
    #[must_use]
    pub fn service_label(mut self, label: impl Into<String>) -> Self {
        self.service_label = label.into();
        self
    }

    /// The longest that one call to the API server may take.
    #[must_use]
    pub fn call_deadline(mut self, deadline: Duration) -> Self {
        self.api.call = deadline;
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.api.clock = Arc::new(clock);
        self
    }

    /// The four handlers as they are by default.
    #[must_use]
    pub fn handlers(&self) -> Vec<Arc<dyn ActionHandler>> {
        vec![
            Arc::new(RestartPod::new(self)),
            Arc::new(ScaleDeployment::new(self)),
            Arc::new(RollbackDeployment::new(self)),
            Arc::new(DrainNode::new(self)),
        ]
    }

    /// Refuses what belongs to another service: labels of events are not trusted.
    fn belongs(&self, request: &ActionRequest, what: &str, object: &Object) -> Result<(), Stop> {
        let label = &self.service_label;
        match object.label(label) {
            Some(service) if service == request.service.as_str() => Ok(()),
            Some(service) => stop(format!("{what} belongs to service {service}, not to {}", request.service)),
            None => stop(format!("{what} has no label {label}: whose it is cannot be told")),
        }
    }
}

/// Why nothing is to be done.
#[derive(Debug)]
enum Stop {
    Found(Inspection),
    Error(KubernetesError),
}

impl From<KubernetesError> for Stop {
    fn from(error: KubernetesError) -> Self {
        Self::Error(error)
    }
}

/// A reason not to act.
fn stop<T>(reason: impl AsRef<str>) -> Result<T, Stop> {
    Err(Stop::Found(Inspection::Blocked { reason: text::clip(reason.as_ref(), REASON) }))
}

/// The wanted state is there.
fn done<T>(proof: impl AsRef<str>) -> Result<T, Stop> {
    Err(Stop::Found(Inspection::AlreadyDone { proof: text::clip(proof.as_ref(), REASON) }))
}

/// An object that is not there is a reason not to act, not a failure.
fn there<T>(found: Result<T, KubernetesError>) -> Result<T, Stop> {
    match found {
        Err(error @ KubernetesError::NotFound { .. }) => stop(error.to_string()),
        other => other.map_err(Stop::Error),
    }
}

/// What a look at the target found, as an inspection.
fn inspected<P>(request: &ActionRequest, look: Result<(Precondition, P), Stop>) -> Result<Inspection, ActionError> {
    match look {
        Ok((precondition, _)) => Ok(Inspection::Ready { precondition }),
        Err(Stop::Found(inspection)) => Ok(inspection),
        Err(Stop::Error(error)) => Err(ActionError::before(request, "look at the target", error)),
    }
}

/// What a look right before the change found: it must be what was observed.
fn held<P>(
    request: &ActionRequest,
    observed: &Precondition,
    look: Result<(Precondition, P), Stop>,
) -> Result<P, ActionError> {
    let why = match look {
        Ok((now, plan)) if now == *observed => return Ok(plan),
        Ok((now, _)) => {
            let changed = now.facts().filter(|(name, value)| observed.get(name) != Some(value));
            changed.map(|(name, value)| format!("{name} is {value}")).collect::<Vec<_>>().join(", ")
        }
        Err(Stop::Found(Inspection::AlreadyDone { proof: why } | Inspection::Blocked { reason: why })) => why,
        Err(Stop::Found(_)) => String::new(),
        Err(Stop::Error(error)) => return Err(ActionError::before(request, "look at the target", error)),
    };
    Err(ActionError::before(request, "find the observed state", KubernetesError::Changed(why)))
}

/// A part of the target that names an object.
fn part<'a>(request: &'a ActionRequest, name: &str) -> Result<&'a str, Stop> {
    match request.target.get(name) {
        Some(value) if is_name(value) => Ok(value),
        Some(_) => stop(format!("the target's {name} cannot be the name of an object")),
        None => stop(format!("the target names no {name}")),
    }
}

/// Namespace and deployment of a target; the service's name stands in for a missing deployment.
fn deployment_of(request: &ActionRequest) -> Result<(&str, &str), Stop> {
    let key = if request.target.get("deployment").is_some() { "deployment" } else { "service" };
    match part(request, key) {
        Ok(name) => Ok((part(request, "namespace")?, name)),
        Err(_) if request.target.get(key).is_none() => stop("the target names no deployment"),
        Err(why) => Err(why),
    }
}

/// What was observed before, of a request that is asked again.
fn fact(request: &ActionRequest, name: &str) -> Option<String> {
    parameters::observed(request)?.get(name).map(str::to_owned)
}

/// When the anomaly began: what was changed later is left alone.
fn began(request: &ActionRequest) -> Result<jiff::Timestamp, Stop> {
    let at = parameters::detected_at(request);
    at.map_or_else(|| stop("the request does not say when the anomaly began"), Ok)
}

/// The request's key as it stands in an annotation.
fn mark(request: &ActionRequest) -> String {
    hex(&sha256(&[request.key().as_bytes()]))
}
