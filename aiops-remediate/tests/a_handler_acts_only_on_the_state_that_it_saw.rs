//! The simulated cluster's handlers: whatever others change between inspect and execute, nothing is
//! done to another object, twice, or outside the bounds.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, Compensation, IncidentId, Inspection, Outcome, Precondition,
    Target, VirtualClock,
};
use aiops_remediate::parameters::{DETECTED_AT, SERVICE_VERSION, with_observed};
use aiops_remediate::sim::{
    Change, Cluster, Deployment, DrainNode, FailoverRegion, Fault, RestartPod, RollbackDeployment, ScaleDeployment,
};
use common::{at, event, name};
use serde_json::{Value, json};

struct Lab {
    clock: VirtualClock,
    cluster: Cluster,
}

/// Two nodes, three carts, one billing pod; v1 runs since second 0.
fn lab() -> Lab {
    let clock = VirtualClock::new(at(0));
    let cluster = Cluster::new(clock.clone())
        .node("n1")
        .node("n2")
        .deployment(Deployment::new("shop", "cart", 3), "v1")
        .deployment(Deployment::new("shop", "billing", 1), "v7")
        .region("eu", ["cart"])
        .region("us", ["cart"]);
    Lab { clock, cluster }
}

impl Lab {
    /// Someone else changes something now.
    fn change(&self, change: Change) {
        self.cluster.change_at(at(0), change);
        assert!(!self.cluster.pods().is_empty());
    }

    fn deploy(&self, version: &str) {
        let (namespace, deployment) = ("shop".to_owned(), "cart".to_owned());
        self.change(Change::Deploy { namespace, deployment, version: version.to_owned() });
    }

    /// Effects of handlers, not of others.
    fn effects(&self) -> Vec<String> {
        let ours = self.cluster.effects().into_iter().filter(|effect| effect.by.contains('|'));
        ours.map(|effect| effect.what).collect()
    }
}

fn ask(action: &str, target: &[(&str, &str)], parameters: Value) -> ActionRequest {
    let event = event(1, "cart", &[], at(0));
    let target = Target::new(target.iter().copied());
    let Value::Object(mut all) = parameters else { panic!("parameters are an object") };
    all.entry(DETECTED_AT).or_insert_with(|| at(10).to_string().into());
    ActionRequest::new(name(action), target, event.service, event.fingerprint, IncidentId::new("inc-1"), at(60))
        .parameters(all)
        .dry_run(false)
}

async fn ready(handler: &dyn ActionHandler, request: &ActionRequest) -> Precondition {
    match handler.inspect(request).await.unwrap() {
        Inspection::Ready { precondition } => precondition,
        other => panic!("{other:?}"),
    }
}

async fn blocked(handler: &dyn ActionHandler, request: &ActionRequest) -> String {
    match handler.inspect(request).await.unwrap() {
        Inspection::Blocked { reason } => reason,
        other => panic!("{other:?}"),
    }
}

async fn done(handler: &dyn ActionHandler, request: &ActionRequest) -> bool {
    matches!(handler.inspect(request).await.unwrap(), Inspection::AlreadyDone { .. })
}

fn cause(error: &ActionError) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

const CART: [(&str, &str); 2] = [("namespace", "shop"), ("deployment", "cart")];

#[tokio::test]
async fn restart_deletes_by_uid_once_and_is_verified_by_the_owners_pods() {
    let lab = lab();
    let handler = RestartPod::new(&lab.cluster);
    let request = ask("restart_pod", &[("namespace", "shop"), ("pod", "cart-1")], json!({}));
    let precondition = ready(&handler, &request).await;
    let applied = handler.execute(&request, &precondition).await.unwrap();
    let second = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(second.nothing_changed);
    assert_eq!(lab.effects(), ["delete pod shop/cart-1 uid-1"]);
    let asked_again = with_observed(&request, &precondition);
    assert!(done(&handler, &asked_again).await, "gone, and we had seen it");
    assert_eq!(handler.verify(&asked_again, &applied).await.unwrap(), Outcome::Unknown, "the new pod is starting");
    lab.clock.advance(Duration::from_secs(20));
    assert_eq!(handler.verify(&asked_again, &applied).await.unwrap(), Outcome::Helped);
    assert_eq!(blocked(&handler, &request).await, "there is no pod shop/cart-1: it may have been replaced");
}

#[tokio::test]
async fn restart_refuses_foreign_and_younger_pods() {
    let lab = lab();
    let handler = RestartPod::new(&lab.cluster);
    let foreign = ask("restart_pod", &[("namespace", "shop"), ("pod", "billing-4")], json!({}));
    assert_eq!(blocked(&handler, &foreign).await, "pod shop/billing-4 belongs to service billing, not to cart");
    lab.clock.advance(Duration::from_secs(60));
    lab.change(Change::DeletePod { namespace: "shop".to_owned(), pod: "cart-1".to_owned() });
    let younger = ask("restart_pod", &[("namespace", "shop"), ("pod", "cart-5")], json!({}));
    assert!(done(&handler, &younger).await);
    let nameless = ask("restart_pod", &[("namespace", "shop")], json!({}));
    assert_eq!(blocked(&handler, &nameless).await, "the target names no pod");
    assert!(lab.effects().is_empty());
}

#[tokio::test]
async fn scale_stays_within_every_bound_and_resource_version() {
    let lab = lab();
    let handler = ScaleDeployment::new(&lab.cluster).step(2);
    let request = ask("scale_deployment", &CART, json!({ "max_replicas": 4 }));
    let precondition = ready(&handler, &request).await;
    assert_eq!(precondition.get("wanted"), Some("4"), "capped at max_replicas");
    let scale = |replicas| Change::Scale { namespace: "shop".into(), deployment: "cart".into(), replicas };
    lab.change(scale(2));
    assert!(handler.execute(&request, &precondition).await.unwrap_err().nothing_changed);
    let precondition = ready(&handler, &request).await;
    handler.execute(&request, &precondition).await.unwrap();
    assert!(done(&handler, &with_observed(&request, &precondition)).await);
    assert_eq!(lab.effects(), ["scale shop/cart from 2 to 4"]);
    assert_eq!(blocked(&handler, &request).await, "deployment shop/cart has 4 replicas and its ceiling is 4");
    lab.change(scale(0));
    assert!(blocked(&handler, &request).await.ends_with("somebody switched it off"));
    let unbounded = ask("scale_deployment", &CART, json!({}));
    assert_eq!(blocked(&handler, &unbounded).await, "the catalogue entry has no max_replicas");
}

#[tokio::test]
async fn scale_stays_within_the_autoscaler() {
    let clock = VirtualClock::new(at(0));
    let cluster = Cluster::new(clock).node("n1").deployment(Deployment::new("shop", "cart", 3).hpa(2, 3), "v1");
    let handler = ScaleDeployment::new(&cluster);
    let request = ask("scale_deployment", &[("namespace", "shop"), ("service", "cart")], json!({ "max_replicas": 20 }));
    assert_eq!(blocked(&handler, &request).await, "deployment shop/cart has 3 replicas and its ceiling is 3");
}

#[tokio::test]
async fn rollback_takes_back_only_the_revision_of_the_event() {
    let lab = lab();
    let handler = RollbackDeployment::new(&lab.cluster);
    let request = ask("rollback_deployment", &CART, json!({ SERVICE_VERSION: "v2" }));
    assert!(blocked(&handler, &request).await.ends_with("has no revision before the running one"));
    lab.deploy("v2");
    let precondition = ready(&handler, &request).await;
    lab.clock.advance(Duration::from_secs(60));
    lab.deploy("fix");
    let late = handler.execute(&request, &precondition).await.unwrap_err();
    assert_eq!(cause(&late), "deployment shop/cart changed: expected revision 2, found revision 3");
    assert!(blocked(&handler, &request).await.contains("revision 3 (fix) was rolled out at"));
    assert!(lab.effects().is_empty(), "the manual fix stays");
    let other = ask("rollback_deployment", &CART, json!({ SERVICE_VERSION: "v2", DETECTED_AT: at(90).to_string() }));
    assert_eq!(blocked(&handler, &other).await, "deployment shop/cart runs fix, the event is about v2");
}

#[tokio::test]
async fn rollback_runs_once() {
    let lab = lab();
    lab.deploy("v2");
    let handler = RollbackDeployment::new(&lab.cluster);
    let request = ask("rollback_deployment", &CART, json!({}));
    let precondition = ready(&handler, &request).await;
    lab.clock.advance(Duration::from_secs(60));
    handler.execute(&request, &precondition).await.unwrap();
    assert!(handler.execute(&request, &precondition).await.is_err());
    assert!(done(&handler, &request).await && done(&handler, &with_observed(&request, &precondition)).await);
    assert_eq!(lab.effects(), ["roll out shop/cart revision 3 (v1)"]);
}

#[tokio::test]
async fn drain_never_takes_the_last_node_and_takes_back_what_it_left_half_done() {
    let lab = lab();
    let handler = DrainNode::new(&lab.cluster);
    let (one, two) = (ask("drain_node", &[("node", "n1")], json!({})), ask("drain_node", &[("node", "n2")], json!({})));
    let (first, second) = (ready(&handler, &one).await, ready(&handler, &two).await);
    handler.execute(&one, &first).await.unwrap();
    assert!(done(&handler, &one).await);
    let refused = handler.execute(&two, &second).await.unwrap_err();
    assert_eq!(cause(&refused), "n2 is the last node that takes pods");
    assert_eq!(blocked(&handler, &two).await, "n2 is the last node that takes pods");
    assert_eq!(lab.cluster.pods().iter().filter(|pod| pod.node.as_deref() == Some("n2")).count(), 4);
}

#[tokio::test]
async fn drain_stops_at_a_disruption_budget_and_uncordons() {
    let clock = VirtualClock::new(at(0));
    let carts = Deployment::new("shop", "cart", 2).min_available(2);
    let cluster = Cluster::new(clock).node("n1").node("n2").deployment(carts, "v1");
    let handler = DrainNode::new(&cluster);
    let request = ask("drain_node", &[("node", "n1")], json!({}));
    let precondition = ready(&handler, &request).await;
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert_eq!(cause(&error), "the disruption budget of shop/cart keeps 2 pods and 2 are ready");
    assert!(!error.nothing_changed && !cluster.nodes()[0].schedulable());
    let taken_back = handler.compensate(&request).await.unwrap();
    assert_eq!(taken_back, Compensation::Done("uncordoned n1".to_owned()));
    assert!(cluster.nodes()[0].schedulable());
    assert_eq!(handler.compensate(&request).await.unwrap(), Compensation::None);
}

#[tokio::test]
async fn drain_refuses_a_node_of_others() {
    let clock = VirtualClock::new(at(0));
    let cluster = Cluster::new(clock).node("n1").node("n2").deployment(Deployment::new("shop", "billing", 2), "v1");
    let request = ask("drain_node", &[("node", "n1")], json!({}));
    let reason = blocked(&DrainNode::new(&cluster), &request).await;
    assert_eq!(reason, "node n1 belongs to service billing, not to cart");
}

#[tokio::test]
async fn failover_moves_the_traffic_once_and_only_to_a_healthy_region() {
    let lab = lab();
    let handler = FailoverRegion::new(&lab.cluster);
    let request = ask("failover_region", &[("region", "eu")], json!({}));
    let precondition = ready(&handler, &request).await;
    lab.change(Change::RegionHealthy { region: "us".to_owned(), healthy: false });
    assert_eq!(blocked(&handler, &request).await, "no other healthy region runs service cart");
    lab.change(Change::RegionHealthy { region: "us".to_owned(), healthy: true });
    handler.execute(&request, &precondition).await.unwrap();
    assert!(handler.execute(&request, &precondition).await.unwrap_err().nothing_changed);
    assert!(done(&handler, &request).await);
    assert_eq!(lab.cluster.active_region().as_deref(), Some("us"));
    assert_eq!(lab.effects(), ["fail over from eu to us"]);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let lab = lab();
    lab.deploy("v2");
    let pod = lab.cluster.pods().last().unwrap().name.clone();
    for handler in lab.cluster.handlers() {
        let target = [("namespace", "shop"), ("deployment", "cart"), ("pod", &pod), ("node", "n1"), ("region", "eu")];
        let request = ask(handler.name(), &target, json!({ "max_replicas": 9 })).dry_run(true);
        let precondition = ready(&*handler, &request).await;
        let Applied { proof, .. } = handler.execute(&request, &precondition).await.unwrap();
        assert!(proof.starts_with("dry run: would "), "{proof}");
    }
    assert!(lab.effects().is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_an_unavailable_api_changed_nothing() {
    let lab = lab();
    let handler = FailoverRegion::new(&lab.cluster);
    let request = ask("failover_region", &[("region", "eu")], json!({}));
    let precondition = ready(&handler, &request).await;
    lab.cluster.fail_next(Fault::Unavailable);
    lab.cluster.fail_next(Fault::AnswerLost);
    assert!(handler.execute(&request, &precondition).await.unwrap_err().nothing_changed);
    assert!(lab.effects().is_empty());
    assert!(!handler.execute(&request, &precondition).await.unwrap_err().nothing_changed);
    assert!(done(&handler, &with_observed(&request, &precondition)).await, "inspect finds out");
}

#[test]
fn equal_seeds_make_equal_worlds() {
    let run = |seed| {
        let lab = lab();
        lab.cluster.restless(seed, Duration::from_secs(30));
        lab.clock.advance(Duration::from_secs(3600));
        lab.cluster.effects()
    };
    assert!(run(1).len() > 60);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
