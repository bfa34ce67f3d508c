//! The deploy watcher.

use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{Deploy, DeployLog, DeployWindow, RolloutKind};
use aiops_remediate::kubernetes::{DeployWatcher, RollbackDeployment};
use serde_json::{Value, json};

use super::double::Server;
use super::world::{APPS, World, act};

struct Watching {
    log: DeployLog,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watching {
    fn start(world: &World, log: DeployLog) -> Self {
        let watcher = DeployWatcher::new(&world.kubernetes, log.clone()).namespace(&world.namespace);
        let task = tokio::spawn(async move { match watcher.run().await {} });
        Self { log, task }
    }

    /// The deploys of a service, once it is so.
    async fn until(&self, world: &World, what: &str, holds: impl Fn(&[Deploy]) -> bool) -> Vec<Deploy> {
        let end = plus(world.clock.now(), Duration::from_secs(60));
        loop {
            let deploys = self.log.deploys(&"cart".into());
            if holds(&deploys) {
                return deploys;
            }
            assert!(world.clock.now() < end, "{what}: {deploys:#?}");
            world.clock.sleep_until(plus(world.clock.now(), Duration::from_millis(100))).await;
        }
    }
}

fn all_complete(count: usize) -> impl Fn(&[Deploy]) -> bool {
    move |deploys| deploys.len() == count && deploys.iter().all(|deploy| deploy.completed.is_some())
}

pub(crate) async fn rollouts_are_told_and_scaling_is_none(world: World) {
    let watching = Watching::start(&world, DeployLog::new(50));
    world.deploy("cart", 2, "v1").await;
    watching.until(&world, "the first rollout", all_complete(1)).await;
    world.roll_out("cart", "v2").await;
    let told = watching.until(&world, "the second rollout", all_complete(2)).await;
    let (first, second) = (&told[0], &told[1]);
    assert_eq!((first.version.as_deref(), second.version.as_deref()), (Some("v1"), Some("v2")));
    assert!(second.started <= second.completed && second.kind == RolloutKind::Full, "{second:?}");
    assert_eq!(second.note.as_deref(), Some("image cart:v2, set by kubectl-edit"));
    assert!(second.deploy_id.ends_with("/cart#2"), "{second:?}");

    // Scaling is no rollout, and our own rollback holds nothing back.
    world.patch(&world.deployment("cart"), json!({"spec": {"replicas": 4}})).await;
    world.rolled_out("cart").await;
    let handler = RollbackDeployment::new(&world.kubernetes);
    let request = world.request("rollback_deployment", &[("deployment", "cart")], "cart", 3600);
    act(&handler, &request).await;
    world.rolled_out("cart").await;
    let told = watching.until(&world, "our rollback", all_complete(3)).await;
    assert_eq!((told[2].kind, told[2].version.as_deref()), (RolloutKind::OwnRollback, Some("v1")));
    assert_eq!(DeployWindow::default().of(&told[2]), None);
    // What somebody rolls out later is theirs again.
    world.roll_out("cart", "v3").await;
    let told = watching.until(&world, "the one after it", all_complete(4)).await;
    assert_eq!(told[3].kind, RolloutKind::Full);

    // A process that starts now tells the same deploys: into the same log nothing new comes.
    let again = Watching::start(&world, watching.log.clone());
    let fresh = Watching::start(&world, DeployLog::new(50));
    let running = fresh.until(&world, "what runs", all_complete(1)).await;
    assert_eq!(running[0].deploy_id, told[3].deploy_id);
    again.until(&world, "no more than before", all_complete(4)).await;

    let labels = json!({"app.kubernetes.io/name": "broker"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "broker:7"}]}});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "broker", "labels": labels},
        "spec": {"replicas": 1, "serviceName": "broker", "selector": {"matchLabels": labels}, "template": template},
    });
    world.create(&world.path(APPS, "statefulsets"), set).await;
    // Its controller does not run here: its status is played.
    let path = world.path(APPS, "statefulsets/broker/status");
    let status = |ready: u64| {
        json!({"status": {
            "observedGeneration": 1, "replicas": 1, "readyReplicas": ready, "updatedReplicas": 1,
            "currentRevision": "broker-1", "updateRevision": "broker-1",
        }})
    };
    let broker = |log: &DeployLog| log.deploys(&"broker".into()).first().cloned();
    for (ready, complete) in [(0, false), (1, true)] {
        world.patch(&path, status(ready)).await;
        let found = watching.log.clone();
        watching
            .until(&world, "the stateful set", |_| {
                broker(&found).is_some_and(|deploy| deploy.completed.is_some() == complete)
            })
            .await;
    }
    assert_eq!(broker(&watching.log).and_then(|deploy| deploy.version).as_deref(), Some("7"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expired_or_is_refused_misses_nothing() {
    let world = World::double(Server { page: Some(1), ..Server::default() });
    let double = world.double.clone().unwrap();
    let watching = Watching::start(&world, DeployLog::new(50));
    world.deploy("cart", 1, "v1").await;
    watching.until(&world, "the first rollout", all_complete(1)).await;
    // The server forgets while nobody watches: it is listed anew.
    double.state(|state| state.server.forbidden.insert(("watch", "deployments")));
    world.roll_out("cart", "v2").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    double.state(|state| {
        state.forget();
        state.server.forbidden.clear();
    });
    watching.until(&world, "the second rollout", all_complete(2)).await;
    double.state(super::double::State::forget);
    world.roll_out("cart", "v3").await;
    watching.until(&world, "the third rollout", all_complete(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_is_begun_anew() {
    let world = World::double(Server { silent: true, ..Server::default() });
    let watching = Watching::start(&world, DeployLog::new(50));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.deploy("cart", 1, "v1").await;
    tokio::time::sleep(Duration::from_secs(290)).await;
    assert!(watching.log.deploys(&"cart".into()).is_empty());
    watching.until(&world, "the list after five minutes", all_complete(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_rollout_stops_holding() {
    let world = World::double(Server::default());
    let watching = Watching::start(&world, DeployLog::new(50));
    world.deploy("cart", 1, "v1").await;
    watching.until(&world, "the first rollout", all_complete(1)).await;
    let double = world.double.as_ref().unwrap();
    let key = ("deployments".to_owned(), world.namespace.clone(), "cart".to_owned());
    let progressing = |reason: &str, at: String| {
        json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "2"}}, "status": {
            "availableReplicas": 0,
            "conditions": [{"type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": at}],
        }})
    };
    // It goes on and never ends: it holds 30 minutes.
    double.state(|state| state.edit(&key, &progressing("ReplicaSetUpdated", state.now()), "kube-controller-manager"));
    let told = watching.until(&world, "a rollout that goes on", |deploys| deploys.len() == 2).await;
    let (from, to) = DeployWindow::default().of(&told[1]).unwrap();
    assert_eq!(told[1].completed, None);
    assert_eq!(aiops_core::time::since(to, from), Duration::from_secs(1_800));
    // Its deadline passed: it holds no longer.
    tokio::time::sleep(Duration::from_secs(600)).await;
    double.state(|state| {
        state.edit(&key, &progressing("ProgressDeadlineExceeded", state.now()), "kube-controller-manager")
    });
    let told = watching.until(&world, "a rollout that failed", |deploys| deploys[1].failed.is_some()).await;
    assert_eq!(DeployWindow::default().of(&told[1]).map(|(_, to)| to), told[1].failed);
}

#[tokio::test(start_paused = true)]
async fn argo_rollouts_are_told_once_they_are_installed() {
    let world = World::double(Server::default());
    let watching = Watching::start(&world, DeployLog::new(50));
    let double = world.double.as_ref().unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    double.state(|state| state.server.argo = true);
    let labels = json!({"app.kubernetes.io/name": "cart", "app.kubernetes.io/version": "v9"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "cart@sha256:1"}]}});
    let rollout = |phase: &str| -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "cart", "annotations": {"rollout.argoproj.io/revision": "4"}},
            "spec": {"replicas": 1, "template": template}, "status": {"phase": phase, "observedGeneration": "1"},
        })
    };
    world.create(&world.path("apis/argoproj.io/v1alpha1", "rollouts"), rollout("Progressing")).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let told = watching.until(&world, "a rollout of Argo", |deploys| deploys.len() == 1).await;
    assert_eq!((told[0].version.as_deref(), told[0].completed), (Some("v9"), None));
    let path = world.path("apis/argoproj.io/v1alpha1", "rollouts/cart/status");
    world.patch(&path, json!({"status": {"phase": "Degraded"}})).await;
    watching.until(&world, "a rollout that failed", |deploys| deploys[0].failed.is_some()).await;
}
