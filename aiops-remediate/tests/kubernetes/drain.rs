//! `drain_node`.

use aiops_core::{ActionHandler, Applied, Compensation, Outcome};
use aiops_remediate::kubernetes::{DrainNode, KubernetesError};
use serde_json::{Value, json};

use super::world::{World, act, already_done, blocked, ready, why};

/// Two nodes of this scenario, and a service with pods on both.
async fn nodes(world: &World, service: &str, names: [&str; 2]) {
    for name in names {
        world.node(name).await;
    }
    world.deploy(service, 4, "v1").await;
    let pods = world.path("api/v1", "pods");
    world.until("pods on both", &pods, |found| names.iter().all(|node| !on(found, node).is_empty())).await;
}

/// Names of the pods on a node that nobody deletes.
fn on(pods: &Value, node: &str) -> Vec<String> {
    let items = pods["items"].as_array().unwrap().iter();
    let there = |pod: &&Value| pod["spec"]["nodeName"] == node && pod["metadata"]["deletionTimestamp"].is_null();
    items.filter(there).map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

async fn budget(world: &World, service: &str, least: u64) {
    let selector = json!({"matchLabels": {"app.kubernetes.io/name": service}});
    for version in ["policy/v1", "policy/v1beta1"] {
        let body = json!({
            "apiVersion": version, "kind": "PodDisruptionBudget", "metadata": {"name": "budget"},
            "spec": {"minAvailable": least, "selector": selector},
        });
        let path = world.path(&format!("apis/{version}"), "poddisruptionbudgets");
        if world.call(http::Method::POST, &path, "application/json", &body).await.is_err() {
            continue;
        }
        if world.double.is_none() {
            let path = format!("{path}/budget");
            let seen = |found: &Value| found["status"]["observedGeneration"] == found["metadata"]["generation"];
            let counted = |found: &Value| found["status"]["currentHealthy"] == 4 && seen(found);
            world.until("the budget is counted", &path, counted).await;
        }
        return;
    }
    panic!("the server has no disruption budgets");
}

async fn remove_nodes(world: &World, names: [&str; 2]) {
    for name in names {
        world.delete(&format!("/api/v1/nodes/{name}")).await;
    }
}

pub(crate) async fn a_node_is_drained_within_budgets(world: World) {
    let names = ["drained-1", "drained-2"];
    nodes(&world, "cart", names).await;
    budget(&world, "cart", 3).await;
    let handler = DrainNode::new(&world.kubernetes);
    let request = world.request("drain_node", &[("node", names[0])], "cart", 3600);

    let precondition = ready(&handler, &request).await;
    let said = handler.execute(&request.clone().dry_run(true), &precondition).await.unwrap();
    assert!(said.proof.contains("pods now"), "{said:?}");
    let path = format!("/api/v1/nodes/{}", names[0]);
    assert!(world.get(&path).await.unwrap()["spec"]["unschedulable"].is_null());

    let again = act(&handler, &request).await;
    assert_eq!(world.get(&path).await.unwrap()["spec"]["unschedulable"], true);
    let pods = world.get(&world.path("api/v1", "pods")).await.unwrap();
    assert_eq!(on(&pods, names[0]), Vec::<String>::new());
    already_done(&handler, &again).await;
    assert_eq!(handler.verify(&again, &Applied::new("")).await.unwrap(), Outcome::Helped);
    // The other one is the last that takes pods.
    blocked(&handler, &world.request("drain_node", &[("node", names[1])], "cart", 3600), "is the last one").await;
    remove_nodes(&world, names).await;
}

pub(crate) async fn a_budget_stops_a_drain_at_its_deadline(world: World) {
    let names = ["held-1", "held-2"];
    nodes(&world, "cart", names).await;
    budget(&world, "cart", 4).await;
    let handler = DrainNode::new(&world.kubernetes);
    let mut request = world.request("drain_node", &[("node", names[0])], "cart", 3600);
    request.deadline = aiops_core::time::plus(world.clock.now(), std::time::Duration::from_secs(5));

    let precondition = ready(&handler, &request).await;
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    let now = world.clock.now();
    assert!(now <= request.deadline && !error.nothing_changed, "{now}, {}: {error:?}", request.deadline);
    let KubernetesError::Undrained { left, all, blockers, .. } = why(&error) else { panic!("{error:?}") };
    assert!(left == all && *all >= 1, "{left} of {all}");
    assert!(blockers[0].contains("The disruption budget budget needs 4 healthy pods and has 4"), "{blockers:?}");
    assert_eq!(world.pods("cart").await.len(), 4);

    // Somebody opens the node and closes it again: now it is theirs.
    let path = format!("/api/v1/nodes/{}", names[0]);
    world.patch(&path, json!({"spec": {"unschedulable": null}})).await;
    world.patch(&path, json!({"spec": {"unschedulable": true}})).await;
    assert_eq!(handler.compensate(&request).await.unwrap(), Compensation::None);
    world.patch(&path, json!({"spec": {"unschedulable": null}})).await;
    // And the same request does not close it a second time.
    blocked(&handler, &request, "was opened again").await;

    let mut request = world.request("drain_node", &[("node", names[0])], "cart", 7200);
    request.deadline = aiops_core::time::plus(world.clock.now(), std::time::Duration::from_secs(3));
    let precondition = ready(&handler, &request).await;
    handler.execute(&request, &precondition).await.unwrap_err();
    assert_eq!(world.get(&path).await.unwrap()["spec"]["unschedulable"], true);
    assert!(matches!(handler.compensate(&request).await.unwrap(), Compensation::Done(_)));
    assert!(world.get(&path).await.unwrap()["spec"]["unschedulable"].is_null());
    assert_eq!(handler.compensate(&request).await.unwrap(), Compensation::None);
    remove_nodes(&world, names).await;
}

pub(crate) async fn nodes_that_must_stay_open_are_not_drained(world: World) {
    let names = ["open-1", "open-2"];
    nodes(&world, "cart", names).await;
    let handler = DrainNode::new(&world.kubernetes);
    let request = world.request("drain_node", &[("node", names[0])], "cart", 3600);
    blocked(&handler, &world.request("drain_node", &[("node", names[0])], "search", 3600), "no pod of service search")
        .await;

    // Somebody cordons it between the look and the action: it is theirs, and is not opened again.
    let precondition = ready(&handler, &request).await;
    let path = format!("/api/v1/nodes/{}", names[0]);
    world.patch(&path, json!({"spec": {"unschedulable": true}})).await;
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(error.nothing_changed, "{error:?}");
    blocked(&handler, &request, "cordoned by someone else").await;
    assert_eq!(handler.compensate(&request).await.unwrap(), Compensation::None);
    assert_eq!(world.get(&path).await.unwrap()["spec"]["unschedulable"], true);
    assert_eq!(world.pods("cart").await.len(), 4);
    world.patch(&path, json!({"spec": {"unschedulable": null}})).await;

    // A pod that nobody would make again.
    let spec = json!({"nodeName": names[0], "automountServiceAccountToken": false, "containers": [{"name": "c", "image": "alone:1"}]});
    let alone = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone"}, "spec": spec});
    world.create(&world.path("api/v1", "pods"), alone).await;
    blocked(&handler, &request, "has no controller").await;
    world.delete(&format!("{}?gracePeriodSeconds=0", world.path("api/v1", "pods/alone"))).await;
    ready(&handler, &request).await;
    remove_nodes(&world, names).await;
}
