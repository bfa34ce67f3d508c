//! The suite against a real API server with its controller manager. Scheduler and kubelets are played here.

use std::time::Duration;

use aiops_remediate::kubernetes::kube;
use http::Method;
use serde_json::{Value, json};

use super::controllers::is_ready;
use super::world::{HOME, World};

/// Between two rounds of the kubelets.
const ROUND: Duration = Duration::from_millis(50);

pub(crate) fn config() -> kube::Config {
    let url = std::env::var("KUBE_URL").unwrap_or_else(|_| panic!("KUBE_URL: .ci/services up kubernetes"));
    let mut config = kube::Config::new(url.parse().unwrap());
    config.accept_invalid_certs = true;
    config.default_retry = false;
    config.auth_info.token = Some(std::env::var("KUBE_TOKEN").unwrap().into());
    config
}

/// Binds pods to the open nodes of their namespace, in turn, makes them ready, and ends those that are to end.
pub(crate) async fn kubelets(world: World) {
    let mut turn = 0;
    loop {
        // A pod may be gone by the time that it is written to.
        let pods = world.get("/api/v1/pods").await.unwrap_or_default();
        let nodes = world.get("/api/v1/nodes").await.unwrap_or_default();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let (namespace, name) = (&pod["metadata"]["namespace"], pod["metadata"]["name"].as_str().unwrap());
            let path = format!("/api/v1/namespaces/{}/pods/{name}", namespace.as_str().unwrap());
            let call = |method, path: String, kind: &'static str, body: Value| {
                let world = &world;
                async move { world.call(method, &path, kind, &body).await.ok() }
            };
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                call(Method::DELETE, format!("{path}?gracePeriodSeconds=0"), "application/json", Value::Null).await;
                continue;
            }
            let takes = |node: &&Value| {
                node["metadata"]["labels"][HOME] == *namespace
                    && node["spec"]["unschedulable"].is_null()
                    && is_ready(node)
            };
            let open: Vec<&Value> = nodes["items"].as_array().into_iter().flatten().filter(takes).collect();
            if pod["spec"]["nodeName"].is_null() && !open.is_empty() {
                turn += 1;
                let target = json!({"kind": "Node", "name": open[turn % open.len()]["metadata"]["name"]});
                let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
                call(Method::POST, format!("{path}/binding"), "application/json", body).await;
            }
            if !is_ready(pod) {
                let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap().to_string();
                let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": now}]);
                let body = json!({"status": {"phase": "Running", "conditions": ready}});
                call(Method::PATCH, format!("{path}/status"), "application/merge-patch+json", body).await;
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// Nodes belong to the whole server: one test at a time has some.
pub(crate) static NODES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What a run that was stopped left behind.
pub(crate) async fn remove_all_nodes(admin: &World) {
    for node in admin.get("/api/v1/nodes").await.unwrap()["items"].as_array().unwrap() {
        admin.delete(&format!("/api/v1/nodes/{}", node["metadata"]["name"].as_str().unwrap())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kubernetes: .ci/services up kubernetes"]
async fn every_scenario_on_a_real_server() {
    let client = kube::Client::try_from(config()).unwrap();
    let admin = World::real(client.clone(), "default");
    let _one_at_a_time = NODES.lock().await;
    remove_all_nodes(&admin).await;
    let version = admin.get("/version").await.unwrap();
    println!("Kubernetes {}", version["gitVersion"]);
    let kubelets = tokio::spawn(kubelets(World::real(client.clone(), "default")));
    let run = std::process::id();
    let mut namespaces = Vec::new();
    for scenario in super::SCENARIOS {
        let namespace = format!("{}-{run}", scenario.replace('_', "-"));
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        admin.create("/api/v1/namespaces", body).await;
        namespaces.push((*scenario, namespace));
    }
    super::every_scenario(|scenario| {
        let (_, namespace) = namespaces.iter().find(|(name, _)| *name == scenario).unwrap();
        World::real(client.clone(), namespace)
    })
    .await;
    kubelets.abort();
}
