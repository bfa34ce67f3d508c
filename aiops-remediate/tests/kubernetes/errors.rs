//! What a server refuses, and what never comes back.

use aiops_core::ActionHandler;
use aiops_remediate::kubernetes::{Kubernetes, KubernetesError, RestartPod, ScaleDeployment, kube};
use http::Response;
use kube::client::Body;

use super::double::Server;
use super::world::{World, blocked, ready, why};

const CART: [(&str, &str); 1] = [("deployment", "cart")];

/// On every server: not there, and changed meanwhile.
pub(crate) async fn refusals_are_told_apart(world: World) {
    let handler = ScaleDeployment::new(&world.kubernetes);
    let request = world.request("scale_deployment", &CART, "cart", 3600);
    blocked(&handler, &request, "is not there").await;
    world.deploy("cart", 1, "v1").await;
    let precondition = ready(&handler, &request).await;
    world.roll_out("cart", "v2").await;
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(matches!(why(&error), KubernetesError::Changed(what) if what.contains("generation")), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_account_may_not_is_named() {
    let world = World::double(Server::default());
    world.deploy("cart", 1, "v1").await;
    let pod = world.pod("cart").await;
    let handler = RestartPod::new(&world.kubernetes);
    let request = world.request("restart_pod", &[("pod", &pod)], "cart", 3600);
    let precondition = ready(&handler, &request).await;
    world.double.as_ref().unwrap().state(|state| state.server.forbidden.insert(("delete", "pods")));
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(error.nothing_changed);
    assert!(
        matches!(why(&error), KubernetesError::Forbidden { verb: "delete", what, .. } if what.starts_with("pods shop/cart-"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_late() {
    let world = World::double(Server::default());
    world.deploy("cart", 1, "v1").await;
    let handler = ScaleDeployment::new(&world.kubernetes);
    let request = world.request("scale_deployment", &CART, "cart", 3600);
    let precondition = ready(&handler, &request).await;
    let double = world.double.as_ref().unwrap();
    double.state(|state| state.server.hangs = true);
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    // It hung at the look, before the change.
    assert!(error.nothing_changed && matches!(why(&error), KubernetesError::Late { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_the_outcome_unknown() {
    let world = World::double(Server::default());
    world.deploy("cart", 1, "v1").await;
    let handler = ScaleDeployment::new(&world.kubernetes);
    let request = world.request("scale_deployment", &CART, "cart", 3600);
    let precondition = ready(&handler, &request).await;
    world.double.as_ref().unwrap().state(|state| state.server.loses_answers = true);
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(!error.nothing_changed && matches!(why(&error), KubernetesError::Failed { status: 502, .. }), "{error:?}");
    super::world::already_done(&handler, &aiops_remediate::parameters::with_observed(&request, &precondition)).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_come_too_late_are_read_anew() {
    let world = World::double(Server { page: Some(1), ..Server::default() });
    world.deploy("cart", 1, "v1").await;
    world.roll_out("cart", "v2").await;
    let handler = aiops_remediate::kubernetes::RollbackDeployment::new(&world.kubernetes);
    let request = world.request("rollback_deployment", &CART, "cart", 3600);
    let expire = |pages| world.double.as_ref().unwrap().state(|state| state.server.expired_pages = pages);
    expire(3);
    ready(&handler, &request).await;
    expire(4);
    let error = handler.inspect(&request).await.unwrap_err();
    assert!(matches!(why(&error), KubernetesError::Expired { .. }), "{error:?}");
}

/// Each recorded answer, as a client of it sees it.
#[tokio::test(start_paused = true)]
async fn recorded_answers_are_understood() {
    macro_rules! recorded {
        ($file:literal) => {
            include_str!(concat!("../data/kubernetes/", $file, ".json"))
        };
    }
    type Is = fn(&KubernetesError) -> bool;
    let cases: [(u16, &'static str, Is, bool); 7] = [
        (401, recorded!("unauth_401"), |error| matches!(error, KubernetesError::Unauthenticated { .. }), false),
        (403, recorded!("forbidden_403"), |error| matches!(error, KubernetesError::Forbidden { .. }), false),
        (409, recorded!("stale_409"), |error| matches!(error, KubernetesError::Conflict { .. }), false),
        (409, recorded!("deploy_exists_409"), |error| matches!(error, KubernetesError::AlreadyExists { .. }), false),
        (422, recorded!("invalid_422"), |error| matches!(error, KubernetesError::Invalid { .. }), false),
        (400, recorded!("evict_v1"), |error| matches!(error, KubernetesError::Invalid { .. }), false),
        (
            429,
            recorded!("evict_429_pdb"),
            |error| matches!(error, KubernetesError::Budget { causes, .. } if causes.contains("needs 2 healthy pods")),
            true,
        ),
    ];
    for (status, body, is, retryable) in cases {
        let service = tower::service_fn(move |_: http::Request<Body>| async move {
            let answer = Response::builder().status(status).body(Body::from(body.as_bytes().to_vec()));
            Ok::<_, std::convert::Infallible>(answer.unwrap())
        });
        let world = World::double(Server::default());
        let kubernetes = Kubernetes::new(kube::Client::new(service, "default"));
        let request = world.request("scale_deployment", &CART, "cart", 0);
        let error = ScaleDeployment::new(&kubernetes).inspect(&request).await.unwrap_err();
        assert!(is(why(&error)) && why(&error).is_retryable() == retryable, "{body}: {error:?}");
    }
}
