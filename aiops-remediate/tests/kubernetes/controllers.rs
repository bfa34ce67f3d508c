//! What the controllers, the scheduler and the kubelets of the double do, at once after each write.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::double::State;

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Pods of a template with this annotation never get ready.
pub(crate) const BROKEN: &str = "aiops-test/broken";

pub(crate) fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// Runs all of them until nothing changes.
pub(crate) fn settle(state: &mut State) {
    loop {
        let before = state.version;
        for deployment in of(state, "deployments") {
            roll_out(state, deployment);
        }
        for set in of(state, "replicasets") {
            replicate(state, &set);
        }
        for pod in of(state, "pods") {
            start(state, pod);
        }
        for deployment in of(state, "deployments") {
            report(state, deployment);
        }
        if state.version == before {
            return;
        }
    }
}

fn of(state: &State, plural: &str) -> Vec<Value> {
    state.objects.iter().filter(|(key, _)| key.0 == plural).map(|(_, object)| object.clone()).collect()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

fn owned(state: &State, plural: &str, owner: &Value) -> Vec<Value> {
    let ours = |object: &Value| object.pointer("/metadata/ownerReferences/0/uid") == Some(&owner["metadata"]["uid"]);
    of(state, plural).into_iter().filter(ours).collect()
}

fn owner(kind: &str, of: &Value) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": of["metadata"]["name"], "uid": of["metadata"]["uid"], "controller": true}])
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["annotations"][REVISION].as_str().map_or(0, |revision| revision.parse().unwrap())
}

fn hash(template: &Value) -> String {
    Sha256::digest(template.to_string().as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Gives the template its replica set, with the highest revision, and the replicas to it.
fn roll_out(state: &mut State, mut deployment: Value) {
    let template = deployment["spec"]["template"].clone();
    let hash = hash(&template);
    let name = format!("{}-{hash}", text(&deployment, "name"));
    let sets = owned(state, "replicasets", &deployment);
    let newest = sets.iter().map(revision).max().unwrap_or(0);
    let current = sets.iter().find(|set| text(set, "name") == name);
    if current.is_none_or(|set| revision(set) < newest) {
        let next = newest + 1;
        match current.cloned() {
            None => {
                let mut template = template.clone();
                template["metadata"]["labels"]["pod-template-hash"] = hash.clone().into();
                let set = json!({
                    "apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "metadata": {
                        "name": name, "namespace": text(&deployment, "namespace"),
                        "labels": template["metadata"]["labels"],
                        "annotations": {REVISION: next.to_string()},
                        "ownerReferences": owner("Deployment", &deployment),
                    },
                    "spec": {"replicas": 0, "template": template},
                });
                state.put_new("replicasets", set, "kube-controller-manager");
            }
            Some(mut set) => {
                set["metadata"]["annotations"][HISTORY] = revision(&set).to_string().into();
                set["metadata"]["annotations"][REVISION] = next.to_string().into();
                state.put("replicasets", set);
            }
        }
        deployment["metadata"]["annotations"][REVISION] = next.to_string().into();
        let now = state.now();
        deployment["status"]["conditions"] = json!([{
            "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
            "lastUpdateTime": now, "lastTransitionTime": now,
        }]);
        state.put("deployments", deployment.clone());
    }
    for mut set in owned(state, "replicasets", &deployment) {
        let wanted = if text(&set, "name") == name { deployment["spec"]["replicas"].clone() } else { json!(0) };
        if set["spec"]["replicas"] != wanted {
            set["spec"]["replicas"] = wanted;
            state.put("replicasets", set);
        }
    }
}

fn replicate(state: &mut State, set: &Value) {
    let wanted = set["spec"]["replicas"].as_u64().unwrap() as usize;
    let pods = owned(state, "pods", set);
    for pod in pods.iter().skip(wanted) {
        state.remove(&("pods".to_owned(), text(pod, "namespace").to_owned(), text(pod, "name").to_owned()));
    }
    for _ in pods.len()..wanted {
        let template = &set["spec"]["template"];
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("{}-{}", text(set, "name"), state.version), "namespace": text(set, "namespace"),
                "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
                "ownerReferences": owner("ReplicaSet", set),
            },
            "spec": template["spec"],
        });
        state.put_new("pods", pod, "kube-controller-manager");
    }
}

/// Binds a pod to the open node with the fewest pods, and makes it ready.
fn start(state: &mut State, mut pod: Value) {
    let before = pod.clone();
    if pod["spec"]["nodeName"].is_null() {
        let pods = of(state, "pods");
        let crowd =
            |node: &Value| pods.iter().filter(|pod| pod["spec"]["nodeName"] == node["metadata"]["name"]).count();
        let open = of(state, "nodes").into_iter().filter(|node| node["spec"]["unschedulable"] != json!(true));
        if let Some(node) = open.min_by_key(crowd) {
            pod["spec"]["nodeName"] = node["metadata"]["name"].clone();
        }
    }
    if pod["metadata"]["annotations"][BROKEN].is_null() && !is_ready(&pod) {
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    }
    if pod != before {
        state.put("pods", pod);
    }
}

fn report(state: &mut State, mut deployment: Value) {
    let before = deployment["status"].clone();
    let sets = owned(state, "replicasets", &deployment);
    let pods: Vec<Value> = sets.iter().flat_map(|set| owned(state, "pods", set)).collect();
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let status = &mut deployment["status"];
    for (field, number) in [
        ("replicas", pods.len()),
        ("updatedReplicas", pods.len()),
        ("readyReplicas", ready),
        ("availableReplicas", ready),
    ] {
        status[field] = number.into();
    }
    deployment["status"]["observedGeneration"] = deployment["metadata"]["generation"].clone();
    if deployment["status"] != before {
        state.put("deployments", deployment);
    }
}
