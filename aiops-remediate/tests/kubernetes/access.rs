//! The roles of docs/deploy/rbac: each is what its handler uses, no less and no more.

use std::collections::BTreeSet;
use std::future::Future;

use aiops_core::DeployLog;
use aiops_remediate::kubernetes::{
    Access, ArgoWorkflow, Autoscaled, DeployWatcher, DrainNode, Kubernetes, KubernetesError, RestartPod,
    RollbackDeployment, ScaleDeployment, kube,
};
use http::{Method, Request};
use serde_json::{Value, json};

use super::double::Server;
use super::real::{config, kubelets, remove_all_nodes};
use super::world::World;
use super::{argo, deploys, drain, restart, rollback, scale};

/// The role of these rights, as it stands in the page.
fn page(name: &str, needs: &[Access]) -> String {
    let mut text =
        format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {name}\nrules:\n");
    let mut resources: Vec<(&str, &str)> = needs.iter().map(|need| (need.group, need.resource)).collect();
    resources.dedup();
    for (group, resource) in resources {
        let verbs: Vec<_> = needs
            .iter()
            .filter(|need| (need.group, need.resource) == (group, resource))
            .map(|need| need.verb)
            .collect();
        text +=
            &format!("  - apiGroups: [\"{group}\"]\n    resources: [{resource}]\n    verbs: [{}]\n", verbs.join(", "));
    }
    text
}

macro_rules! roles {
    ($($name:literal: $needs:expr),* $(,)?) => {
        fn roles(kubernetes: &Kubernetes) -> Vec<(&'static str, &'static str, Vec<Access>)> {
            let make = |needs: fn(&Kubernetes) -> Vec<Access>| needs(kubernetes);
            vec![$(($name, include_str!(concat!("../../../docs/deploy/rbac/", $name, ".yaml")), make($needs))),*]
        }
    };
}

roles![
    "aiops-restart-pod": |kubernetes| RestartPod::new(kubernetes).needs(),
    "aiops-scale-deployment": |kubernetes| ScaleDeployment::new(kubernetes).needs(),
    "aiops-raise-autoscaler": |kubernetes| ScaleDeployment::new(kubernetes).autoscaled(Autoscaled::RaiseMinimum).needs(),
    "aiops-rollback-deployment": |kubernetes| RollbackDeployment::new(kubernetes).needs(),
    "aiops-drain-node": |kubernetes| DrainNode::new(kubernetes).needs(),
    "aiops-argo-workflow": |kubernetes| {
        let action = aiops_core::ActionName::new("failover_region").unwrap();
        ArgoWorkflow::new(kubernetes, &action, "ops", "failover").needs()
    },
    "aiops-deploy-watcher": |kubernetes| DeployWatcher::new(kubernetes, DeployLog::default()).needs(),
];

fn needs_of(world: &World, names: &[&str]) -> BTreeSet<(&'static str, String)> {
    let roles = roles(&world.kubernetes);
    let wanted = roles.iter().filter(|(name, ..)| names.contains(name));
    wanted.flat_map(|(.., needs)| needs.iter().map(|need| (need.verb, need.resource.to_owned()))).collect()
}

#[tokio::test(start_paused = true)]
async fn pages_hold_what_handlers_say_that_they_need() {
    for (name, text, needs) in roles(&World::double(Server::default()).kubernetes) {
        assert_eq!(text, page(name, &needs), "docs/deploy/rbac/{name}.yaml");
    }
}

type Used = BTreeSet<(&'static str, String)>;

async fn used<F: Future<Output = ()>>(scenario: impl Fn(World) -> F) -> Used {
    let world = World::double(Server { argo: true, ..Server::default() });
    let double = world.double.clone().unwrap();
    scenario(world).await;
    double.state(|state| state.used.clone())
}

#[tokio::test(start_paused = true)]
async fn handlers_use_all_that_they_say_and_nothing_else() {
    let scaled = used(scale::replicas_grow_up_to_the_ceiling).await;
    // One that raises autoscalers also scales what has none.
    let raised = &scaled | &used(scale::an_autoscaler_is_refused_or_raised).await;
    let told = used(deploys::rollouts_are_told_and_scaling_is_none).await;
    let cases: [(&[&str], Used); 7] = [
        (&["aiops-restart-pod"], used(restart::a_pod_is_restarted_once_by_uid).await),
        (&["aiops-scale-deployment"], scaled),
        (&["aiops-raise-autoscaler"], raised),
        (&["aiops-rollback-deployment"], used(rollback::a_deployment_goes_back_one_revision).await),
        (&["aiops-drain-node"], used(drain::a_node_is_drained_within_budgets).await),
        (
            &["aiops-argo-workflow"],
            &used(argo::a_workflow_is_started_once_and_followed).await
                | &used(argo::a_workflow_that_does_not_end_is_stopped).await,
        ),
        (&["aiops-deploy-watcher", "aiops-rollback-deployment"], told),
    ];
    let world = World::double(Server::default());
    for (roles, used) in cases {
        assert_eq!(used, needs_of(&world, roles), "{roles:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_verb_is_named_at_the_start() {
    let forbidden = [("delete", "pods")].into_iter().collect();
    let world = World::double(Server { forbidden, ..Server::default() });
    let needs = RestartPod::new(&world.kubernetes).needs();
    let error = world.kubernetes.check_access(&needs, Some("shop")).await.unwrap_err();
    assert_eq!(error.to_string(), "in namespace shop the account may not delete pods");
    world.kubernetes.check_access(&needs[1..], Some("shop")).await.unwrap();
}

/// Gives the rights of these pages to a user, in the whole cluster or in one namespace.
async fn grant(admin: &World, user: &str, names: &[&str], namespace: Option<&str>) {
    for (name, text, _) in roles(&admin.kubernetes).into_iter().filter(|(name, ..)| names.contains(name)) {
        // The page itself goes to the server.
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
        let request = Request::builder().method(Method::POST).uri(path).header("content-type", "application/yaml");
        let posted = admin.client.request::<Value>(request.body(text.as_bytes().to_vec()).unwrap()).await;
        if let Err(kube::Error::Api(status)) = posted {
            assert!(status.is_already_exists(), "{name}: {status:?}");
        }
        let (kind, path) = match namespace {
            Some(namespace) => ("RoleBinding", format!("namespaces/{namespace}/rolebindings")),
            None => ("ClusterRoleBinding", "clusterrolebindings".to_owned()),
        };
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": format!("{name}-{user}")},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        });
        admin.create(&format!("/apis/{group}/v1/{path}"), binding).await;
    }
}

/// A user without any rights, and a namespace of its own.
async fn user(client: &kube::Client, name: &str) -> (World, String) {
    let namespace = format!("{name}-{}", std::process::id());
    let mut world = World::real(client.clone(), &namespace);
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    world.create("/api/v1/namespaces", body).await;
    let mut config = config();
    config.auth_info.impersonate = Some(namespace.clone());
    world.kubernetes = Kubernetes::connect(config).unwrap();
    (world, namespace)
}

/// Waits until the server has taken the rights up.
async fn known(world: &World, needs: &[Access], place: Option<&str>) {
    for _ in 0..200 {
        if world.kubernetes.check_access(needs, place).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    world.kubernetes.check_access(needs, place).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kubernetes: .ci/services up kubernetes"]
async fn every_page_suffices_on_a_real_server() {
    let client = kube::Client::try_from(config()).unwrap();
    let _one_at_a_time = super::real::NODES.lock().await;
    remove_all_nodes(&World::real(client.clone(), "default")).await;
    let kubelets = tokio::spawn(kubelets(World::real(client.clone(), "default")));
    macro_rules! suffices {
        ($($names:expr, $everywhere:expr, $scenario:path;)*) => {$(
            let names: &[&str] = &$names;
            println!("{names:?}");
            let (world, name) = user(&client, names[0]).await;
            let place = if $everywhere { None } else { Some(name.as_str()) };
            let needs: Vec<Access> =
                roles(&world.kubernetes).into_iter().filter(|(role, ..)| names.contains(role)).flat_map(|role| role.2).collect();
            match world.kubernetes.check_access(&needs, place).await {
                Err(KubernetesError::MissingAccess { missing, .. }) => assert_eq!(missing, needs),
                other => panic!("{names:?}: {other:?}"),
            }
            grant(&world, &name, names, place).await;
            known(&world, &needs, place).await;
            $scenario(world).await;
        )*};
    }
    suffices! {
        ["aiops-restart-pod"], false, restart::a_pod_is_restarted_once_by_uid;
        ["aiops-scale-deployment"], false, scale::replicas_grow_up_to_the_ceiling;
        ["aiops-raise-autoscaler"], false, scale::an_autoscaler_is_refused_or_raised;
        ["aiops-rollback-deployment"], false, rollback::a_deployment_goes_back_one_revision;
        ["aiops-drain-node"], true, drain::a_node_is_drained_within_budgets;
        ["aiops-argo-workflow"], false, argo::a_workflow_is_started_once_and_followed;
        ["aiops-deploy-watcher", "aiops-rollback-deployment"], false, deploys::rollouts_are_told_and_scaling_is_none;
    }
    kubelets.abort();
}
