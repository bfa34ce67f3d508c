//! `scale_deployment`.

use aiops_core::{ActionHandler, Applied, Outcome};
use aiops_remediate::kubernetes::{Autoscaled, ScaleDeployment};
use serde_json::json;

use super::world::{World, act, already_done, blocked, ready, with};

const CART: [(&str, &str); 1] = [("deployment", "cart")];

pub(crate) async fn replicas_grow_up_to_the_ceiling(world: World) {
    world.deploy("cart", 2, "v1").await;
    let handler = ScaleDeployment::new(&world.kubernetes).step(2);
    let request = world.request("scale_deployment", &CART, "cart", 3600);

    let precondition = ready(&handler, &request).await;
    handler.execute(&request.clone().dry_run(true), &precondition).await.unwrap();
    assert_eq!(world.rolled_out("cart").await["spec"]["replicas"], 2);

    let again = act(&handler, &request).await;
    assert_eq!(world.rolled_out("cart").await["spec"]["replicas"], 4);
    already_done(&handler, &again).await;
    assert_eq!(handler.verify(&again, &Applied::new("")).await.unwrap(), Outcome::Helped);
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(error.nothing_changed, "{error:?}");

    // Two more would be six: the ceiling is five. At the ceiling it is for a person.
    act(&handler, &request).await;
    assert_eq!(world.rolled_out("cart").await["spec"]["replicas"], 5);
    blocked(&handler, &request, "its ceiling is 5").await;

    // The step of the request goes before the handler's.
    let far = with(&with(&request, "max_replicas", json!(50)), "step", json!(10));
    assert_eq!(ready(&handler, &far).await.get("wanted"), Some("15"));
}

pub(crate) async fn what_others_scale_is_left_to_them(world: World) {
    world.deploy("cart", 3, "v1").await;
    let handler = ScaleDeployment::new(&world.kubernetes);
    let request = world.request("scale_deployment", &CART, "cart", 3600);
    blocked(&handler, &world.request("scale_deployment", &CART, "search", 3600), "belongs to service cart").await;
    let mut bare = request.clone();
    bare.parameters.remove("max_replicas");
    blocked(&handler, &bare, "no max_replicas").await;

    // Somebody scales between the look and the action: theirs stays.
    let precondition = ready(&handler, &request).await;
    world.patch(&world.deployment("cart"), json!({"spec": {"replicas": 2}})).await;
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(error.nothing_changed, "{error:?}");
    assert_eq!(world.rolled_out("cart").await["spec"]["replicas"], 2);

    // And what they set after the anomaly began is not raised.
    let earlier = world.request("scale_deployment", &CART, "cart", -3600);
    blocked(&handler, &earlier, "kubectl-edit set replicas").await;

    world.patch(&world.deployment("cart"), json!({"spec": {"replicas": 0}})).await;
    blocked(&handler, &request, "is scaled to 0").await;
}

pub(crate) async fn an_autoscaler_is_refused_or_raised(world: World) {
    world.deploy("cart", 2, "v1").await;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"});
    let autoscaler = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "cart"},
        "spec": {"minReplicas": 2, "maxReplicas": 4, "scaleTargetRef": target},
    });
    world.create(&world.path("apis/autoscaling/v1", "horizontalpodautoscalers"), autoscaler).await;
    let path = world.path("apis/autoscaling/v1", "horizontalpodautoscalers/cart");
    let request = world.request("scale_deployment", &CART, "cart", 3600);
    blocked(&ScaleDeployment::new(&world.kubernetes), &request, "autoscaler cart sets the replicas").await;

    let handler = ScaleDeployment::new(&world.kubernetes).step(9).autoscaled(Autoscaled::RaiseMinimum);
    let again = act(&handler, &request).await;
    // Within its maximum, and the deployment itself is left alone.
    assert_eq!(world.get(&path).await.unwrap()["spec"]["minReplicas"], 4);
    assert_eq!(world.rolled_out("cart").await["spec"]["replicas"], 2);
    already_done(&handler, &again).await;
    // No autoscaler runs here, so the pods are not there.
    assert_eq!(handler.verify(&again, &Applied::new("")).await.unwrap(), Outcome::Unknown);
    blocked(&handler, &request, "its ceiling is 4").await;
}
