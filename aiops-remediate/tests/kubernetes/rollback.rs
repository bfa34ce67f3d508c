//! `rollback_deployment`.

use aiops_core::{ActionHandler, Applied, Outcome};
use aiops_remediate::kubernetes::RollbackDeployment;
use aiops_remediate::parameters::SERVICE_VERSION;
use serde_json::json;

use super::world::{World, act, already_done, blocked, ready, with};

const CART: [(&str, &str); 1] = [("deployment", "cart")];

pub(crate) async fn a_deployment_goes_back_one_revision(world: World) {
    world.deploy("cart", 2, "v1").await;
    world.roll_out("cart", "v2").await;
    let handler = RollbackDeployment::new(&world.kubernetes);
    let request = world.request("rollback_deployment", &CART, "cart", 3600);
    let request = with(&request, SERVICE_VERSION, json!("v2"));

    let precondition = ready(&handler, &request).await;
    assert_eq!((precondition.get("image"), precondition.get("image_to")), (Some("cart:v2"), Some("cart:v1")));
    handler.execute(&request.clone().dry_run(true), &precondition).await.unwrap();
    assert_eq!(world.image("cart").await, "cart:v2");

    let again = act(&handler, &request).await;
    let found = world.rolled_out("cart").await;
    assert_eq!(world.image("cart").await, "cart:v1");
    assert_eq!(found["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    already_done(&handler, &again).await;
    assert_eq!(handler.verify(&again, &Applied::new("")).await.unwrap(), Outcome::Helped);
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(error.nothing_changed, "{error:?}");

    // Another anomaly, later: what ran when it began is the revision that was rolled back to.
    let other = with(&world.request("rollback_deployment", &CART, "cart", 7200), SERVICE_VERSION, json!("v2"));
    blocked(&handler, &other, "does not run version v2").await;
    // And one that began before the rollback leaves it alone.
    let before = world.request("rollback_deployment", &CART, "cart", -7200);
    blocked(&handler, &before, "after the anomaly began").await;
}

pub(crate) async fn what_must_not_be_rolled_back_is_not(world: World) {
    world.deploy("cart", 1, "v1").await;
    let handler = RollbackDeployment::new(&world.kubernetes);
    let request = world.request("rollback_deployment", &CART, "cart", 3600);
    blocked(&handler, &request, "no revision before").await;
    world.roll_out("cart", "v2").await;
    blocked(&handler, &world.request("rollback_deployment", &CART, "search", 3600), "belongs to service cart").await;
    blocked(&handler, &world.request("rollback_deployment", &CART, "cart", -3600), "after the anomaly began").await;

    // Somebody rolls out a fix between the look and the action: it stays.
    let precondition = ready(&handler, &request).await;
    world.roll_out("cart", "fix").await;
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(error.nothing_changed, "{error:?}");
    assert_eq!(world.image("cart").await, "cart:fix");

    let path = world.deployment("cart");
    let annotate = |value| json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": value}}});
    world.patch(&path, annotate(json!("shop:apps/Deployment:shop/cart"))).await;
    blocked(&handler, &request, "kept by Argo CD").await;
    world.patch(&path, annotate(json!(null))).await;
    world.patch(&path, json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}})).await;
    blocked(&handler, &request, "kept by Flux").await;
    world.patch(&path, json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": null}}})).await;
    ready(&handler, &request).await;
    world.patch(&path, json!({"spec": {"paused": true}})).await;
    blocked(&handler, &request, "are paused").await;
    world.patch(&path, json!({"spec": {"paused": null}})).await;

    // What a GitOps controller wrote shows who keeps it, without any label.
    let applied = format!("{path}?fieldManager=helm-controller");
    let patch = json!({"spec": {"minReadySeconds": 1}});
    world.call(http::Method::PATCH, &applied, "application/merge-patch+json", &patch).await.unwrap();
    blocked(&handler, &request, "kept by Flux").await;
}
