//! `restart_pod`.

use aiops_core::{ActionHandler, Applied, Outcome, Precondition};
use aiops_remediate::kubernetes::{KubernetesError, RestartPod};
use aiops_remediate::parameters::with_observed;
use serde_json::{Value, json};

use super::controllers::is_ready;
use super::world::{World, act, already_done, blocked, ready, why};

pub(crate) async fn a_pod_is_restarted_once_by_uid(world: World) {
    world.deploy("cart", 3, "v1").await;
    let handler = RestartPod::new(&world.kubernetes);
    let pod = world.pod("cart").await;
    let path = world.path("api/v1", &format!("pods/{pod}"));
    let request = world.request("restart_pod", &[("pod", &pod)], "cart", 3600);

    // A dry run goes to the server and changes nothing.
    let precondition = ready(&handler, &request).await;
    let said = handler.execute(&request.clone().dry_run(true), &precondition).await.unwrap();
    assert!(said.proof.starts_with("dry run: the server would delete"), "{said:?}");
    assert!(world.get(&path).await.unwrap()["metadata"]["deletionTimestamp"].is_null());

    // Another pod of that name is not the one that was seen.
    let other = Precondition::new([("uid", "another"), ("owner", precondition.get("owner").unwrap())]);
    let error = handler.execute(&request, &other).await.unwrap_err();
    assert!(error.nothing_changed && matches!(why(&error), KubernetesError::Changed(_)), "{error:?}");

    let again = act(&handler, &request).await;
    world.until("the pod is gone", &path, Value::is_null).await;
    already_done(&handler, &again).await;
    let pods = world.path("api/v1", "pods");
    world
        .until("three ready pods", &pods, |found| {
            found["items"].as_array().unwrap().iter().filter(|pod| is_ready(pod)).count() == 3
        })
        .await;
    assert_eq!(handler.verify(&again, &Applied::new("")).await.unwrap(), Outcome::Helped);

    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(error.nothing_changed, "{error:?}");
    assert_eq!(world.pods("cart").await.len(), 3);
}

pub(crate) async fn pods_that_must_stay_are_not_restarted(world: World) {
    world.deploy("cart", 1, "v1").await;
    let pod = world.pod("cart").await;
    let handler = RestartPod::new(&world.kubernetes);
    let target = [("pod", pod.as_str())];

    blocked(&handler, &world.request("restart_pod", &target, "search", 3600), "belongs to service cart").await;
    blocked(&handler, &world.request("restart_pod", &[("pod", "cart-0")], "cart", 3600), "there is no pod").await;
    blocked(&handler, &world.request("restart_pod", &[("pod", "../nodes/n1")], "cart", 3600), "cannot be the name")
        .await;
    // Made after the anomaly began: it was restarted already.
    already_done(&handler, &world.request("restart_pod", &target, "cart", -3600)).await;
    let strict = RestartPod::new(&world.kubernetes).only_unhealthy();
    blocked(&strict, &world.request("restart_pod", &target, "cart", 3600), "is ready").await;

    let labels = json!({"app.kubernetes.io/name": "alone"});
    let spec = json!({"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "alone:1"}]});
    let alone =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "labels": labels}, "spec": spec});
    world.create(&world.path("api/v1", "pods"), alone).await;
    blocked(&handler, &world.request("restart_pod", &[("pod", "alone")], "alone", 3600), "has no controller").await;

    // One that crash-loops is restarted by the strict handler too.
    let waiting = json!([{"name": "c", "ready": false, "restartCount": 9, "image": "cart:v1", "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
    let status = world.path("api/v1", &format!("pods/{pod}/status"));
    world.patch(&status, json!({"status": {"containerStatuses": waiting}})).await;
    let request = world.request("restart_pod", &target, "cart", 3600);
    let precondition = ready(&strict, &request).await;
    assert!(with_observed(&request, &precondition).parameters.contains_key("observed"));
    act(&strict, &request).await;
    world.until("the pod is gone", &world.path("api/v1", &format!("pods/{pod}")), Value::is_null).await;
}
