//! Workflows of Argo. No controller can be had: who runs them is played, by setting their status.

use aiops_core::{ActionHandler, ActionName, Applied, Compensation, Outcome};
use aiops_remediate::kubernetes::{ArgoWorkflow, KubernetesError};
use serde_json::{Value, json};

use super::world::{World, already_done, blocked, ready, why};

const API: &str = "apis/argoproj.io/v1alpha1";

/// Argo's kinds, with any content.
async fn install(world: &World) {
    if world.double.is_some() {
        return;
    }
    for (plural, kind) in [("workflows", "Workflow"), ("workflowtemplates", "WorkflowTemplate")] {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.argoproj.io")},
            "spec": {
                "group": "argoproj.io", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": schema}],
            },
        });
        // It may be there from a run before.
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let _ = world.call(http::Method::POST, path, "application/json", &crd).await;
        world.until("the kind is served", &world.path(API, plural), |found| found["items"].is_array()).await;
    }
}

fn handler(world: &World) -> ArgoWorkflow {
    let action = ActionName::new("failover_region").unwrap();
    ArgoWorkflow::new(&world.kubernetes, &action, &world.namespace, "failover")
        .services(["cart"])
        .target("region")
        .parameter("mode", "full")
}

/// The one workflow that there is.
async fn workflow(world: &World) -> Value {
    let all = world.until("a workflow", &world.path(API, "workflows"), |all| all["items"] != json!([])).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    all["items"][0].clone()
}

pub(crate) async fn a_workflow_is_started_once_and_followed(world: World) {
    install(&world).await;
    let (handler, templates) = (handler(&world), world.path(API, "workflowtemplates"));
    let request = world.request("failover_region", &[("region", "eu-west-1")], "cart", 3600);
    blocked(&handler, &request, "workflowtemplates").await;
    let template = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTemplate", "metadata": {"name": "failover"}, "spec": {}});
    world.create(&templates, template).await;
    blocked(&handler, &world.request("failover_region", &[("region", "eu")], "search", 3600), "not for service search")
        .await;
    let script = world.request("failover_region", &[("region", "eu; rm -rf /")], "cart", 3600);
    blocked(&handler, &script, "more than letters").await;

    let precondition = ready(&handler, &request).await;
    handler.execute(&request.clone().dry_run(true), &precondition).await.unwrap();
    ready(&handler, &request).await;

    // Somebody runs it, and it succeeds.
    let runs = async {
        let found = workflow(&world).await;
        let path = world.path(API, &format!("workflows/{}", found["metadata"]["name"].as_str().unwrap()));
        assert!(path.contains("/workflows/aiops-failover-region-"), "{path}");
        let parameters = json!([{"name": "mode", "value": "full"}, {"name": "region", "value": "eu-west-1"}]);
        assert_eq!(found["spec"]["arguments"]["parameters"], parameters);
        assert_eq!(found["spec"]["workflowTemplateRef"]["name"], "failover");
        already_done(&handler, &request).await;
        status(&world, &path, "Running").await;
        assert_eq!(handler.verify(&request, &Applied::new("")).await.unwrap(), Outcome::Unknown);
        status(&world, &path, "Succeeded").await;
    };
    let (applied, ()) = tokio::join!(handler.execute(&request, &precondition), runs);
    assert!(applied.unwrap().proof.starts_with("workflow aiops-failover-region-"));
    assert_eq!(handler.verify(&request, &Applied::new("")).await.unwrap(), Outcome::Helped);
    assert_eq!(handler.compensate(&request).await.unwrap(), Compensation::None);

    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(error.nothing_changed, "{error:?}");
    workflow(&world).await;
}

/// As Argo's controller does, which has no subresource for it.
async fn status(world: &World, path: &str, phase: &str) {
    let part = if world.double.is_some() { "/status" } else { "" };
    world.patch(&format!("{path}{part}"), json!({"status": {"phase": phase, "message": "as it was played"}})).await;
}

pub(crate) async fn a_workflow_that_does_not_end_is_stopped(world: World) {
    install(&world).await;
    let handler = handler(&world);
    let template = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTemplate", "metadata": {"name": "failover"}, "spec": {}});
    world.create(&world.path(API, "workflowtemplates"), template).await;
    let mut request = world.request("failover_region", &[("region", "eu")], "cart", 3600);
    request.deadline = aiops_core::time::plus(world.clock.now(), std::time::Duration::from_secs(4));
    let precondition = ready(&handler, &request).await;
    let error = handler.execute(&request, &precondition).await.unwrap_err();
    assert!(!error.nothing_changed && world.clock.now() <= request.deadline);
    assert!(
        matches!(why(&error), KubernetesError::Workflow { message, .. } if message.contains("told to stop")),
        "{error:?}"
    );
    let found = workflow(&world).await;
    assert_eq!(found["spec"]["shutdown"], "Stop");
    // It is told once; and one that failed is for a person.
    assert_eq!(handler.compensate(&request).await.unwrap(), Compensation::None);
    let path = world.path(API, &format!("workflows/{}", found["metadata"]["name"].as_str().unwrap()));
    status(&world, &path, "Failed").await;
    blocked(&handler, &request, "ended as Failed: as it was played").await;
    assert_eq!(handler.verify(&request, &Applied::new("")).await.unwrap(), Outcome::Worse);
}
