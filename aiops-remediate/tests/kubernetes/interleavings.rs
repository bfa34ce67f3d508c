//! Whatever people and controllers do between any two calls of a handler: what they changed after the anomaly began
//! stays as they left it.

use std::sync::{Arc, Mutex};

use aiops_core::{ActionHandler, Applied, Inspection};
use aiops_remediate::parameters::with_observed;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::controllers;
use super::double::{Double, Server, State};
use super::world::World;

/// What somebody else does.
#[derive(Debug, Clone)]
enum Step {
    Scale(u64),
    RollOut(u8),
    Pause(bool),
    Cordon(bool),
    DeletePod(usize),
    /// A status that moves on, as it does all the time.
    Status,
    /// A change of the metadata alone.
    Annotate,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (1..6_u64).prop_map(Step::Scale),
        1 => (1..6_u8).prop_map(Step::RollOut),
        1 => any::<bool>().prop_map(Step::Pause),
        3 => any::<bool>().prop_map(Step::Cordon),
        1 => (0..4_usize).prop_map(Step::DeletePod),
        1 => Just(Step::Status),
        1 => Just(Step::Annotate),
    ]
}

/// What people last set after the anomaly began, by name of the field.
#[derive(Debug, Default)]
struct Wanted {
    replicas: Option<Value>,
    image: Option<Value>,
    paused: Option<Value>,
    cordoned: Option<Value>,
}

const IMAGE: &str = "/spec/template/spec/containers/0/image";

fn key(plural: &str, namespace: &str, name: &str) -> (String, String, String) {
    (plural.to_owned(), namespace.to_owned(), name.to_owned())
}

/// Makes the change as the server would, at a time of its own.
fn make(state: &mut State, step: &Step, wanted: &mut Wanted) {
    state.ahead += 10;
    let (cart, node) = (key("deployments", "shop", "cart"), key("nodes", "", "n1"));
    let (deployment, open) = (state.objects[&cart].clone(), state.objects[&node]["spec"]["unschedulable"].is_null());
    match step {
        Step::Scale(replicas) => {
            state.edit(&cart, &json!({"spec": {"replicas": replicas}}), "kubectl");
            // To set what is there already is no change that the server notes.
            if deployment["spec"]["replicas"] != *replicas {
                wanted.replicas = Some(json!(replicas));
            }
        }
        Step::RollOut(version) => {
            let image = format!("cart:{version}");
            let containers = json!([{"name": "c", "image": image}]);
            state.edit(&cart, &json!({"spec": {"template": {"spec": {"containers": containers}}}}), "kubectl");
            if deployment.pointer(IMAGE) != Some(&json!(image)) {
                wanted.image = Some(json!(image));
            }
        }
        Step::Pause(paused) => {
            let value = if *paused { json!(true) } else { Value::Null };
            state.edit(&cart, &json!({"spec": {"paused": value}}), "kubectl");
            wanted.paused = Some(value);
        }
        Step::Cordon(close) => {
            let value = if *close { json!(true) } else { Value::Null };
            state.edit(&node, &json!({"spec": {"unschedulable": value}}), "kubectl");
            // An open node that is opened tells nobody anything, nor does one that is closed and opened again
            // before the handler came.
            wanted.cordoned = match (close, open) {
                (true, true) | (false, false) => Some(value),
                _ => wanted.cordoned.take(),
            };
            if !close && !state.writes.iter().any(|write| write.contains("patch nodes")) {
                wanted.cordoned = None;
            }
        }
        Step::DeletePod(index) => {
            let pods: Vec<_> = state.objects.keys().filter(|key| key.0 == "pods").cloned().collect();
            if let Some(pod) = pods.get(index % pods.len().max(1)) {
                state.remove(pod);
            }
        }
        Step::Status => state.edit(&cart, &json!({"status": {"note": state.version}}), "kubelet"),
        Step::Annotate => {
            let annotations = json!({"seen": state.version.to_string()});
            state.edit(&cart, &json!({"metadata": {"annotations": annotations}}), "kubectl");
        }
    }
    controllers::settle(state);
}

/// Two revisions, two nodes, four pods.
fn cluster(state: &mut State) {
    super::contract::cluster(state);
    state.writes.clear();
}

fn holds(double: &Double, wanted: &Wanted, made_since: &dyn Fn(&str) -> bool) -> Result<(), TestCaseError> {
    double.state(|state| {
        let deployment = &state.objects[&key("deployments", "shop", "cart")];
        let node = &state.objects[&key("nodes", "", "n1")];
        let has = [
            ("replicas", &wanted.replicas, deployment["spec"]["replicas"].clone()),
            ("image", &wanted.image, deployment.pointer(IMAGE).cloned().unwrap_or_default()),
            ("paused", &wanted.paused, deployment["spec"]["paused"].clone()),
            ("unschedulable", &wanted.cordoned, node["spec"]["unschedulable"].clone()),
        ];
        for (field, wanted, has) in has {
            if let Some(wanted) = wanted {
                prop_assert_eq!(wanted, &has, "{} was undone; writes: {:?}", field, state.writes);
            }
        }
        let deleted = state.writes.iter().filter_map(|write| write.strip_prefix("delete pods shop/"));
        for pod in deleted {
            let name = pod.split(' ').next().unwrap();
            prop_assert!(!made_since(name), "{} was made after the anomaly began and was deleted", name);
        }
        Ok(())
    })
}

/// Runs one handler as a dispatcher may at worst: it looks, acts, looks again, acts again, and takes back.
async fn run(action: &'static str, steps: Vec<(usize, Step)>) -> Result<(), TestCaseError> {
    let world = World::double(Server::default());
    let double = world.double.clone().unwrap();
    double.state(cluster);
    let old: Vec<String> =
        double.state(|state| state.objects.keys().filter(|key| key.0 == "pods").map(|key| key.2.clone()).collect());
    let target = match action {
        "restart_pod" => ("pod", old[0].as_str()),
        "drain_node" => ("node", "n1"),
        _ => ("deployment", "cart"),
    };
    // The anomaly begins five seconds after all this was made, and before anybody does anything.
    let request = world.request(action, &[target], "cart", 5);
    let handler = world.kubernetes.handlers().into_iter().find(|handler| handler.name() == action).unwrap();
    let wanted = Arc::new(Mutex::new(Wanted::default()));
    let (shared, mut steps) = (Arc::<Mutex<Wanted>>::clone(&wanted), steps);
    double.state(|state| {
        state.between = Some(Box::new(move |state, call| {
            let (now, later) = std::mem::take(&mut steps).into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= call);
            steps = later;
            for (_, step) in now {
                make(state, &step, &mut shared.lock().unwrap());
            }
        }));
    });
    let check = || holds(&double, &wanted.lock().unwrap(), &|name| !old.iter().any(|pod| pod == name));

    if let Ok(Inspection::Ready { precondition }) = handler.inspect(&request).await {
        let again = with_observed(&request, &precondition);
        let _ = handler.execute(&request.clone().dry_run(true), &precondition).await;
        check()?;
        let _ = handler.execute(&request, &precondition).await;
        check()?;
        let _ = handler.verify(&again, &Applied::new("")).await;
        let _ = handler.inspect(&again).await;
        let _ = handler.execute(&request, &precondition).await;
        check()?;
        let _ = handler.compensate(&again).await;
        check()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_handler_undoes_what_was_changed_since(
        action in prop::sample::select(vec!["restart_pod", "scale_deployment", "rollback_deployment", "drain_node"]),
        steps in prop::collection::vec((0..30_usize, step()), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(action, steps))?;
    }
}
