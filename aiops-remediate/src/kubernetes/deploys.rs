//! Feeds a [`DeployLog`] with the rollouts of a cluster.

use std::convert::Infallible;
use std::time::Duration;

use aiops_core::DeployLog;
use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use futures_util::StreamExt;
use kube::core::WatchEvent;

use super::Kubernetes;
use super::error::KubernetesError;
use super::object::{Object, Place};
use super::rollouts::Kind;

/// Between two watches: a server that ends each at once is not asked without end.
const PAUSE: Duration = Duration::from_secs(1);
/// After the first failure; doubled with each, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Nothing comes of a watch for so long, though the server ends each after four minutes: it is gone.
const SILENT: Duration = Duration::from_secs(300);
/// After a kind that the server does not have (Argo Rollouts): it may be installed later.
const ABSENT: Duration = Duration::from_secs(300);

/// Watches deployments, stateful sets and, where they are installed, Argo Rollouts, and records each rollout: its start,
/// its completion or failure, the version, and as a note the image and who set it.
///
/// A rollout is a change of the pod template: it has the revision of its controller as its id, so that scaling is none,
/// and a restart, a list and a watch tell the same one. A rollback by
/// [`RollbackDeployment`](super::RollbackDeployment) is tagged as our own and holds nothing back. A rollout that passed
/// its progress deadline is told as failed; one that never ends stops holding after the longest window of
/// [`DeployWindow`](aiops_core::DeployWindow). The service is the label `app.kubernetes.io/name`, or the one that
/// [`Kubernetes::service_label`] sets, of the object or its template; without it the log counts and ignores it.
///
/// ```no_run
/// # use aiops_core::DeployLog;
/// # use aiops_remediate::kubernetes::{DeployWatcher, Kubernetes};
/// # async fn host(kubernetes: Kubernetes, shutdown: impl Future<Output = ()>) {
/// let deploys = DeployLog::new(50);
/// let watcher = DeployWatcher::new(&kubernetes, deploys.clone());
/// tokio::select! {
///     never = watcher.run() => match never {},
///     () = shutdown => {}
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DeployWatcher {
    kubernetes: Kubernetes,
    log: DeployLog,
    namespace: Option<String>,
}

impl DeployWatcher {
    /// Over all namespaces.
    #[must_use]
    pub fn new(kubernetes: &Kubernetes, log: DeployLog) -> Self {
        Self { kubernetes: kubernetes.clone(), log, namespace: None }
    }

    /// Over one namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Watches for as long as it is polled; dropping it is how it stops. What the server refuses is counted and tried
    /// again, after up to a minute.
    pub async fn run(&self) -> Infallible {
        let kinds = (self.follow(Kind::Deployment), self.follow(Kind::StatefulSet), self.follow(Kind::Rollout));
        tokio::select! {
            never = kinds.0 => never,
            never = kinds.1 => never,
            never = kinds.2 => never,
        }
    }

    async fn follow(&self, kind: Kind) -> Infallible {
        let clock = &self.kubernetes.api.clock;
        let place = self.namespace.iter().fold(kind.all_of(), |place, namespace| place.within(namespace));
        let mut backoff = FIRST_BACKOFF;
        loop {
            let failure = match self.list(kind, &place).await {
                Ok(version) => {
                    backoff = FIRST_BACKOFF;
                    self.watch(kind, &place, version).await
                }
                Err(failure) => failure,
            };
            let wait = match failure {
                // Read anew.
                KubernetesError::Expired { .. } => PAUSE,
                KubernetesError::NotFound { .. } => ABSENT,
                failure => {
                    let (kind, outcome) = (kind.label(), failure.label());
                    metrics::counter!("aiops_kubernetes_watch_failures_total", "kind" => kind, "outcome" => outcome)
                        .increment(1);
                    tracing::warn!(kind, error = %aiops_core::error_chain(&failure), "rollouts cannot be watched");
                    let wait = backoff;
                    backoff = backoff.saturating_mul(2).min(LONGEST_BACKOFF);
                    wait
                }
            };
            clock.sleep_until(plus(clock.now(), wait)).await;
        }
    }

    async fn list(&self, kind: Kind, place: &Place) -> Result<String, KubernetesError> {
        let (objects, version) = self.kubernetes.api.list_at(place, &[]).await?;
        for object in &objects {
            self.record(kind, object, true);
        }
        Ok(version)
    }

    /// One watch after the other, until one fails.
    async fn watch(&self, kind: Kind, place: &Place, mut version: String) -> KubernetesError {
        let api = &self.kubernetes.api;
        loop {
            // A connection that died without a word would be watched for ever.
            let silent = || KubernetesError::Late { what: place.to_string(), after: SILENT };
            let end = || plus(api.clock.now(), SILENT);
            let mut events = match guarded(&*api.clock, end(), api.watch(place, &version)).await {
                Ok(Ok(events)) => Box::pin(events),
                Ok(Err(error)) => return error,
                Err(_) => return silent(),
            };
            loop {
                let event = match guarded(&*api.clock, end(), events.next()).await {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(_) => return silent(),
                };
                let object = match event {
                    Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Object(object),
                    Ok(WatchEvent::Deleted(object)) => {
                        version = Object(object).text("/metadata/resourceVersion").to_owned();
                        continue;
                    }
                    Ok(WatchEvent::Bookmark(bookmark)) => {
                        version = bookmark.metadata.resource_version;
                        continue;
                    }
                    Ok(WatchEvent::Error(status)) => {
                        return KubernetesError::of(kube::Error::Api(status), "watch", &place.to_string());
                    }
                    Err(error) => return KubernetesError::of(error, "watch", &place.to_string()),
                };
                version = object.text("/metadata/resourceVersion").to_owned();
                self.record(kind, &object, false);
            }
            api.clock.sleep_until(plus(api.clock.now(), PAUSE)).await;
        }
    }

    fn record(&self, kind: Kind, object: &Object, first_look: bool) {
        let now = self.kubernetes.api.clock.now();
        for step in kind.steps(object, &self.kubernetes.service_label, now, first_look) {
            self.log.record(step);
        }
    }
}
