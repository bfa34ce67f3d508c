//! Each handler passes the conformance suite of action handlers, over the double.

use aiops_core::ActionName;
use aiops_core::testing::{ActionCase, check_action_handler};
use aiops_remediate::kubernetes::ArgoWorkflow;
use aiops_remediate::parameters::with_observed;
use serde_json::{Value, json};

use super::controllers;
use super::double::{Double, Server, State};
use super::world::World;

/// What an action changes: specs and UIDs.
fn outside(double: &Double) -> String {
    let shown = |((plural, _, name), object): (&(String, String, String), &Value)| {
        format!("{plural} {name} {} {}\n", object["metadata"]["uid"], object["spec"])
    };
    double.state(|state| state.objects.iter().map(shown).collect())
}

/// Someone else changes an object.
fn change(state: &mut State, plural: &str, namespace: &str, name: &str, patch: &Value) {
    state.edit(&(plural.to_owned(), namespace.to_owned(), name.to_owned()), patch, "kubectl");
    controllers::settle(state);
}

fn image(version: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": format!("cart:{version}")}]}}}})
}

/// `cart` with a revision before the running one, on two nodes.
pub(crate) fn cluster(state: &mut State) {
    for name in ["n1", "n2"] {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        state.put_new("nodes", json!({"metadata": {"name": name}, "spec": {}, "status": ready}), "kubelet");
    }
    let labels = json!({"app.kubernetes.io/name": "cart"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "cart:v1"}]}});
    let spec = json!({"replicas": 4, "selector": {"matchLabels": labels}, "template": template});
    let deployment = json!({"metadata": {"name": "cart", "namespace": "shop", "labels": labels}, "spec": spec});
    state.put_new("deployments", deployment, "kubectl");
    controllers::settle(state);
    change(state, "deployments", "shop", "cart", &image("v2"));
}

fn case(action: &'static str, meanwhile: fn(&mut State)) -> ActionCase {
    let world = World::double(Server::default());
    let double = world.double.clone().unwrap();
    double.state(cluster);
    let pod = double.state(|state| state.objects.keys().find(|key| key.0 == "pods").unwrap().2.clone());
    let target = match action {
        "restart_pod" => ("pod", pod.as_str()),
        "drain_node" => ("node", "n1"),
        _ => ("deployment", "cart"),
    };
    let request = world.request(action, &[target], "cart", 3600);
    let handler = world.kubernetes.handlers().into_iter().find(|handler| handler.name() == action).unwrap();
    let disturbed = double.clone();
    ActionCase::new(handler, request, move || outside(&double), move || disturbed.state(meanwhile))
        .ask_again(with_observed)
}

async fn check(action: &'static str, meanwhile: fn(&mut State)) {
    check_action_handler(|| case(action, meanwhile)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn restart_pod_keeps_the_contract() {
    check("restart_pod", |state| {
        let first = state.objects.keys().find(|key| key.0 == "pods").unwrap().clone();
        state.remove(&first);
        controllers::settle(state);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn scale_deployment_keeps_the_contract() {
    check("scale_deployment", |state| change(state, "deployments", "shop", "cart", &json!({"spec": {"replicas": 2}})))
        .await;
}

#[tokio::test(start_paused = true)]
async fn rollback_deployment_keeps_the_contract() {
    check("rollback_deployment", |state| change(state, "deployments", "shop", "cart", &image("fix"))).await;
}

#[tokio::test(start_paused = true)]
async fn drain_node_keeps_the_contract() {
    check("drain_node", |state| change(state, "nodes", "", "n1", &json!({"spec": {"unschedulable": true}}))).await;
}

#[tokio::test(start_paused = true)]
async fn argo_workflow_keeps_the_contract() {
    let make = || {
        let world = World::double(Server::default());
        let double = world.double.clone().unwrap();
        double.state(|state| {
            let template = json!({"metadata": {"name": "failover", "namespace": "shop"}, "spec": {}});
            state.put_new("workflowtemplates", template, "kubectl");
            // Somebody runs every workflow, and it succeeds.
            state.between = Some(Box::new(|state, _| {
                let all: Vec<_> = state.objects.keys().filter(|key| key.0 == "workflows").cloned().collect();
                for key in all {
                    state.edit(&key, &json!({"status": {"phase": "Succeeded"}}), "argo");
                }
            }));
        });
        let action = ActionName::new("failover_region").unwrap();
        let handler =
            ArgoWorkflow::new(&world.kubernetes, &action, "shop", "failover").services(["cart"]).target("region");
        let request = world.request("failover_region", &[("region", "eu")], "cart", 3600);
        let disturbed = double.clone();
        let meanwhile = |state: &mut State| {
            change(state, "workflowtemplates", "shop", "failover", &json!({"spec": {"entrypoint": "other"}}))
        };
        ActionCase::new(handler, request, move || outside(&double), move || disturbed.state(meanwhile))
            .ask_again(with_observed)
    };
    check_action_handler(make).await.unwrap();
}
