//! The manifests of docs/deploy/kubernetes are YAML, and what one of them names, another one has.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aiops_core::{DETECTIONS, TRIAGE_GROUP};
use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value, json};

/// Seconds that a stage takes at most once it is told to stop (`SHUTDOWN_GRACE` of each stage).
const GRACE: [(&str, u64); 3] = [("detection", 15), ("triage", 15), ("remediation", 30)];

fn docs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path)
}

/// A list or map that is not closed yet; a map with the key that waits for its value.
enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

/// The documents of a text. Keys that stand twice, anchors and tags are refused.
fn parse(text: &str) -> Result<Vec<Value>, String> {
    let (mut documents, mut open) = (Vec::new(), Vec::<Open>::new());
    for event in Parser::new_from_str(text) {
        let value = match event.map_err(|error| error.to_string())?.0 {
            Event::SequenceStart(_, 0, None) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(_, 0, None) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Value::Array(items),
                Some(Open::Map(map, None)) => Value::Object(map),
                _ => return Err("a map ends at a key".to_owned()),
            },
            Event::Scalar(text, style, 0, None) => match (style, open.last_mut()) {
                (_, Some(Open::Map(map, key @ None))) => {
                    if map.contains_key(&*text) {
                        return Err(format!("the key {text:?} is there twice"));
                    }
                    *key = Some(text.into_owned());
                    continue;
                }
                (ScalarStyle::Plain, _) => serde_json::from_str(&text).unwrap_or_else(|_| json!(text)),
                _ => json!(text),
            },
            Event::Alias(..) | Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err("an anchor or a tag".to_owned());
            }
            _ => continue,
        };
        match open.last_mut() {
            None => documents.push(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map(map, key)) => drop(map.insert(key.take().ok_or("a key is no text")?, value)),
        }
    }
    Ok(documents)
}

fn file(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(docs(path)).unwrap();
    parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All objects of the cluster.
fn objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(docs("deploy/kubernetes")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".yaml") && name != "collector.yaml" {
            objects.extend(file(&format!("deploy/kubernetes/{name}")));
        }
    }
    objects
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn each_object_has_its_own_name() {
    let objects = objects();
    let mut names = BTreeSet::new();
    for object in &objects {
        let name = (text(object, "/apiVersion"), text(object, "/kind"), text(object, "/metadata/name"));
        assert!(names.insert(name), "{name:?} is there twice");
    }
    assert_eq!(of_kind(&objects, "Deployment").count(), 3);
    assert!(parse("a: 1\na: 2").is_err() && parse("a: [1").is_err() && parse("a: &b 1").is_err());
}

#[test]
fn the_parts_of_a_service_name_each_other() {
    let objects = objects();
    for (stage, grace) in GRACE {
        let name = format!("aiops-{stage}");
        let deployment = named(&objects, "Deployment", &name);
        let (labels, pod) = (&deployment["metadata"]["labels"], &deployment["spec"]["template"]["spec"]);
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], *labels);
        assert_eq!(pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"], *labels);
        assert_eq!(named(&objects, "PodDisruptionBudget", &name)["spec"]["selector"]["matchLabels"], *labels);
        let of_pod = &deployment["spec"]["template"]["metadata"]["labels"];
        assert!(labels.as_object().unwrap().iter().all(|(key, value)| of_pod[key] == *value), "{of_pod}");
        assert_eq!(pod["containers"][0]["args"][0], stage);
        assert!(
            pod["terminationGracePeriodSeconds"].as_u64().unwrap() > grace,
            "{stage} is killed while it hands back"
        );
        assert_eq!(text(pod, "/serviceAccountName"), name);
        // What the arguments name stands in the environment.
        let container = &pod["containers"][0];
        let variables: Vec<&str> =
            container["env"].as_array().unwrap().iter().map(|entry| text(entry, "/name")).collect();
        for argument in container["args"].as_array().unwrap().iter().filter_map(Value::as_str) {
            if let Some(variable) = argument.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')')) {
                assert!(variables.contains(&variable), "{stage}: no {variable} in the environment");
            }
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let volumes = pod["volumes"].as_array().unwrap();
            assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
        }
    }
}

#[test]
fn only_remediation_may_do_anything() {
    let objects = objects();
    for (stage, _) in GRACE {
        let name = format!("aiops-{stage}");
        assert_eq!(named(&objects, "ServiceAccount", &name)["automountServiceAccountToken"], false);
        let pod = &named(&objects, "Deployment", &name)["spec"]["template"]["spec"];
        let token = pod["automountServiceAccountToken"] == true;
        assert_eq!(token, stage == "remediation", "{stage}");
    }
    let mut bound = Vec::new();
    for binding in of_kind(&objects, "RoleBinding") {
        let role = text(binding, "/roleRef/name");
        let page = std::fs::read_to_string(docs("deploy/rbac").join(format!("{role}.yaml"))).unwrap();
        let roles = parse(&page).unwrap();
        let named = roles.iter().any(|role| {
            role["kind"] == binding["roleRef"]["kind"] && role["metadata"]["name"] == binding["roleRef"]["name"]
        });
        assert!(named, "{role}: {roles:?}");
        let subjects = binding["subjects"].as_array().unwrap();
        assert_eq!(subjects, &[json!({"kind": "ServiceAccount", "name": "aiops-remediation", "namespace": "aiops"})]);
        bound.push(role);
    }
    assert_eq!(bound, ["aiops-restart-pod", "aiops-scale-deployment", "aiops-rollback-deployment"]);
    for kind in ["ClusterRoleBinding", "Role", "ClusterRole"] {
        assert_eq!(of_kind(&objects, kind).count(), 0, "{kind}");
    }
}

#[test]
fn the_autoscaler_reads_what_triage_counts() {
    let objects = objects();
    let page = std::fs::read_to_string(docs("METRICS.md")).unwrap();
    let mut autoscalers = 0;
    for autoscaler in of_kind(&objects, "HorizontalPodAutoscaler") {
        let target = named(&objects, "Deployment", text(autoscaler, "/spec/scaleTargetRef/name"));
        assert!(target["spec"]["replicas"].is_null(), "an apply would set the autoscaler's number back");
        let metric = &autoscaler["spec"]["metrics"][0]["external"]["metric"];
        let line = format!("| `{}` | `topic`, `group` |", text(metric, "/name"));
        assert!(page.contains(&line), "docs/METRICS.md has no line {line}");
        assert_eq!(metric["selector"]["matchLabels"], json!({"topic": DETECTIONS, "group": TRIAGE_GROUP}));
        autoscalers += 1;
    }
    assert_eq!(autoscalers, 1);
}

/// Both collectors: what a pipeline names is defined, and what is defined is in a pipeline.
#[test]
fn the_collectors_define_what_their_pipelines_name() {
    for path in ["deploy/otel-collector.yaml", "deploy/kubernetes/collector.yaml"] {
        let config = file(path).remove(0);
        let defined = |section: &str| -> BTreeSet<String> {
            config[section].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
        };
        let mut used = BTreeSet::new();
        for (pipeline, parts) in config["service"]["pipelines"].as_object().unwrap() {
            for section in ["receivers", "processors", "exporters"] {
                let known: BTreeSet<String> = &defined(section) | &defined("connectors");
                for name in parts[section].as_array().unwrap().iter().filter_map(Value::as_str) {
                    assert!(known.contains(name), "{path}: {pipeline} names {name}, which is not among the {section}");
                    used.insert(name.to_owned());
                }
            }
            assert_eq!(parts["processors"][0], "memory_limiter", "{path}: {pipeline} refuses too late");
        }
        let all = ["receivers", "processors", "exporters", "connectors"].iter().flat_map(|section| defined(section));
        assert_eq!(used, all.collect(), "{path}");
        let extensions: BTreeSet<String> = serde_json::from_value(config["service"]["extensions"].clone()).unwrap();
        assert_eq!(extensions, defined("extensions"), "{path}");
    }
}
