//! The five simulated handlers pass the conformance suite of action handlers.
#![allow(clippy::unwrap_used)]

mod common;

use aiops_core::testing::{ActionCase, check_action_handler};
use aiops_core::{ActionRequest, IncidentId, Target, VirtualClock};
use aiops_remediate::parameters::{DETECTED_AT, with_observed};
use aiops_remediate::sim::{Change, Cluster, Deployment};
use common::{at, event, name};
use serde_json::json;

/// The case of one action on `cart`, and what somebody else does to its target meanwhile.
fn case(action: &str, target: &[(&str, &str)], meanwhile: Change) -> ActionCase {
    let clock = VirtualClock::new(at(0));
    let cluster = Cluster::new(clock)
        .node("n1")
        .node("n2")
        .deployment(Deployment::new("shop", "cart", 3), "v1")
        .region("eu", ["cart"])
        .region("us", ["cart"]);
    let deploy = Change::Deploy { namespace: "shop".into(), deployment: "cart".into(), version: "v2".into() };
    if action == "rollback_deployment" {
        cluster.change_at(at(0), deploy);
    }
    let event = event(1, "cart", &[], at(0));
    let target = Target::new(target.iter().copied());
    let parameters = json!({ "max_replicas": 9, DETECTED_AT: at(10).to_string() });
    let request =
        ActionRequest::new(name(action), target, event.service, event.fingerprint, IncidentId::new("inc-1"), at(60))
            .parameters(parameters.as_object().unwrap().clone());
    let handler = cluster.handlers().into_iter().find(|handler| handler.name() == action).unwrap();
    let (outside, disturb) = (cluster.clone(), cluster);
    ActionCase::new(
        handler,
        request,
        move || format!("{:?}", outside.effects()),
        move || disturb.change_at(at(0), meanwhile.clone()),
    )
    .ask_again(with_observed)
}

async fn check(action: &str, target: &[(&str, &str)], meanwhile: Change) {
    check_action_handler(|| case(action, target, meanwhile.clone())).await.unwrap();
}

const CART: [(&str, &str); 2] = [("namespace", "shop"), ("deployment", "cart")];

#[tokio::test(start_paused = true)]
async fn restart_pod() {
    let meanwhile = Change::DeletePod { namespace: "shop".into(), pod: "cart-1".into() };
    check("restart_pod", &[("namespace", "shop"), ("pod", "cart-1")], meanwhile).await;
}

#[tokio::test(start_paused = true)]
async fn scale_deployment() {
    let meanwhile = Change::Scale { namespace: "shop".into(), deployment: "cart".into(), replicas: 2 };
    check("scale_deployment", &CART, meanwhile).await;
}

#[tokio::test(start_paused = true)]
async fn rollback_deployment() {
    let meanwhile = Change::Deploy { namespace: "shop".into(), deployment: "cart".into(), version: "fix".into() };
    check("rollback_deployment", &CART, meanwhile).await;
}

#[tokio::test(start_paused = true)]
async fn drain_node() {
    check("drain_node", &[("node", "n1")], Change::Cordon { node: "n1".into() }).await;
}

#[tokio::test(start_paused = true)]
async fn failover_region() {
    let meanwhile = Change::RegionHealthy { region: "us".into(), healthy: false };
    check("failover_region", &[("region", "eu")], meanwhile).await;
}
