//! The schema files equal the types, accept what the types write, and refuse what the types refuse.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use aiops_core::jiff::Timestamp;
use aiops_core::testing::samples;
use aiops_core::{
    Decision, Disposition, Envelope, Incident, IncidentEntry, IncidentLog, IncidentQuery, IncidentRecord,
    MemoryIncidentLog, Notice, Outcome, Plan, Response, RuleVerdict, Step, Target, schema,
};
use serde_json::{Map, Value, json};

/// Whether a value fits a schema; the keywords are those that our schemas use, and an unknown one is a
/// panic, so that nothing passes unseen.
fn fits(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    let Some(keywords) = schema.as_object() else {
        return if schema == &json!(true) { Ok(()) } else { Err(format!("nothing fits {schema}")) };
    };
    for (keyword, rule) in keywords {
        let fine = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" => true,
            "format" => fits_format(rule.as_str().unwrap(), value),
            "$ref" => {
                let path = rule.as_str().unwrap().strip_prefix('#').unwrap();
                fits(root.pointer(path).unwrap(), value, root)?;
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|rule| is(rule.as_str().unwrap(), value)),
                rule => is(rule.as_str().unwrap(), value),
            },
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap()),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "required" => value.as_object().is_none_or(|object| {
                rule.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        fits(rule, value, root).map_err(|why| format!("{name}: {why}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = keywords.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        fits(rule, value, root).map_err(|why| format!("{name}: {why}"))?;
                    }
                }
                true
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    fits(rule, value, root)?;
                }
                true
            }
            "prefixItems" => {
                for (rule, value) in rule.as_array().unwrap().iter().zip(value.as_array().into_iter().flatten()) {
                    fits(rule, value, root)?;
                }
                true
            }
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "anyOf" => rule.as_array().unwrap().iter().any(|rule| fits(rule, value, root).is_ok()),
            "oneOf" => rule.as_array().unwrap().iter().filter(|rule| fits(rule, value, root).is_ok()).count() == 1,
            other => panic!("this test does not know the keyword {other}"),
        };
        if !fine {
            return Err(format!("{value} breaks {keyword}: {rule}"));
        }
    }
    Ok(())
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("this test does not know the type {other}"),
    }
}

fn fits_format(format: &str, value: &Value) -> bool {
    match format {
        "date-time" => value.as_str().is_none_or(|text| text.parse::<Timestamp>().is_ok()),
        "double" => value.is_null() || value.is_number(),
        "uint64" | "uint32" => value.is_null() || value.is_u64(),
        other => panic!("this test does not know the format {other}"),
    }
}

fn accepts(schema: &Value, value: &Value) {
    fits(schema, value, schema).unwrap_or_else(|why| panic!("{why}\nin {value}"));
}

fn refuses(schema: &Value, value: &Value) {
    assert!(fits(schema, value, schema).is_err(), "it accepts {value}");
}

fn written(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// An event with everything that it can carry.
fn event() -> aiops_core::DetectionEvent {
    let mut event = samples::event("checkout", "1", Timestamp::from_second(1_746_432_300).unwrap());
    event.signal = event.signal.band(0.1, 0.2).with("score_unit", "sigma");
    (event.upstream_id, event.repeats) = (Some("am-1".to_owned()), 3);
    event
}

fn nine() -> Value {
    json!({
        "event_id": "e1", "kind": "log_burst", "service": "checkout", "severity": "critical",
        "detected_at": "2025-05-05T08:05:00Z", "source": "loki", "signal": {"z": 5.1, "rate": 40},
        "labels": {"alertname": "LogBurst"}, "fingerprint": "9c3c84d025b7a40b"
    })
}

/// A response for each disposition, with a plan of every kind of step.
fn responses() -> Vec<Response> {
    let target = Some(Target::new([("namespace", "shop"), ("pod", "cart-1")]));
    let decided = |decision, target, outcome| {
        let mut step = Step::new("restart_pod", target, decision, "why");
        step.rules = vec![RuleVerdict::new("ceiling", true, "1 <= 2").input("ceiling", 2_u32).input("class", "pod")];
        step.outcome = outcome;
        step
    };
    let steps = vec![
        decided(Decision::Allow, target.clone(), Some(Outcome::Helped)),
        decided(Decision::RequireApproval, target.clone(), Some(Outcome::NoEffect)),
        decided(Decision::Deny, None, Some(Outcome::Worse)),
        decided(Decision::Deny, target, Some(Outcome::Unknown)),
        decided(Decision::Allow, None, None),
    ];
    let plan = Plan::new(steps, vec![RuleVerdict::new("needs_human", true, "nobody")]);
    [
        Disposition::Executed,
        Disposition::WouldExecute,
        Disposition::AwaitingApproval,
        Disposition::Escalated { reason: "low".to_owned() },
        Disposition::Rejected { reason: "unknown action: x".to_owned() },
        Disposition::Duplicate,
        Disposition::NoAction,
    ]
    .into_iter()
    .map(|disposition| Response::new("inc-1".into(), disposition, plan.clone(), Timestamp::UNIX_EPOCH))
    .collect()
}

async fn incident() -> Incident {
    let event = event();
    let (id, at) = (event.incident_id.clone().unwrap(), event.observed());
    let triaged = samples::triaged(event.clone(), &["restart_pod"]);
    let mut entries = vec![
        IncidentEntry::Announced { event: Box::new(event.clone()) },
        IncidentEntry::Triaged { triaged: Box::new(triaged) },
        IncidentEntry::Responded { response: Box::new(responses().remove(0)) },
        IncidentEntry::Resolved { event: Box::new(event.clone()) },
    ];
    let notices = samples::notice_kinds(&event, "text").into_iter();
    entries.extend(notices.map(|kind| IncidentEntry::Notified { channel: "log".to_owned(), notice: Box::new(kind) }));
    let log = MemoryIncidentLog::default();
    for entry in entries {
        log.append(IncidentRecord::new(id.clone(), "checkout".into(), at, entry)).await.unwrap();
    }
    log.query(&IncidentQuery::incident(id)).await.unwrap().remove(0)
}

#[tokio::test]
async fn what_the_types_write_is_accepted() {
    let (event, schema) = (event(), schema::detection_event());
    accepts(&schema, &nine());
    accepts(&schema, &written(&event));
    let own = aiops_core::DetectionEvent::builder(
        "disk_full".into(),
        "db",
        aiops_core::Severity::Info,
        Timestamp::UNIX_EPOCH,
        "host",
    );
    accepts(&schema, &written(&own.resolved().build()));

    accepts(&schema::triage_context(), &written(&samples::context(&event)));
    let triaged = samples::triaged(event.clone(), &["restart_pod"]);
    accepts(&schema::triage_report(), &written(&triaged.report));
    accepts(&schema::triaged(), &written(&triaged));
    for response in responses() {
        accepts(&schema::response(), &written(&response));
        accepts(&schema::envelope(), &written(&Envelope::response(&event.event_id, &response)));
    }
    for kind in samples::notice_kinds(&event, "text") {
        let notice = Notice::new(triaged.incident_id.clone(), event.clone(), kind, event.observed());
        accepts(&schema::notice(), &written(&notice));
    }
    accepts(&schema::envelope(), &written(&Envelope::detection(&event)));
    accepts(&schema::envelope(), &written(&Envelope::triaged(&triaged).into_dead_letter("does not read", 5)));
    accepts(&schema::incident(), &written(&incident().await));
}

/// What is refused on read, type by type: each key that is required, and values out of their range.
#[test]
fn what_the_types_refuse_is_refused() {
    fn without_each_key<T: serde::de::DeserializeOwned>(schema: &Value, whole: &Value) {
        let keys: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
        for key in keys {
            let mut part: Map<String, Value> = whole.as_object().unwrap().clone();
            part.remove(&key);
            let part = Value::Object(part);
            let reads = serde_json::from_value::<T>(part.clone());
            let fits = fits(schema, &part, schema);
            assert_eq!(reads.is_ok(), fits.is_ok(), "without {key}: read {:?}, schema {fits:?}", reads.err());
        }
    }
    let triaged = samples::triaged(event(), &["restart_pod"]);
    without_each_key::<aiops_core::DetectionEvent>(&schema::detection_event(), &written(&event()));
    without_each_key::<aiops_core::TriageReport>(&schema::triage_report(), &written(&triaged.report));
    without_each_key::<aiops_core::Triaged>(&schema::triaged(), &written(&triaged));
    without_each_key::<Response>(&schema::response(), &written(&responses().remove(3)));
    without_each_key::<Notice>(&schema::notice(), &written(&samples::notice(event())));
    without_each_key::<Envelope>(&schema::envelope(), &written(&Envelope::detection(&event())));

    let changed = |mut whole: Value, pointer: &str, value: Value| {
        *whole.pointer_mut(pointer).unwrap() = value;
        whole
    };
    for (pointer, value) in [
        ("/severity", json!("page")),
        ("/severity", json!(3)),
        ("/kind", json!("")),
        ("/detected_at", json!("yesterday")),
        ("/labels", json!({"pod": 1})),
        ("/signal", json!("high")),
    ] {
        refuses(&schema::detection_event(), &changed(nine(), pointer, value));
    }
    let report = written(&triaged.report);
    for (pointer, value) in [
        ("/confidence", json!(1.5)),
        ("/confidence", json!("0.9")),
        ("/needs_human", json!("no")),
        ("/likely_causes", json!("cart")),
    ] {
        let wrong = changed(report.clone(), pointer, value);
        assert!(serde_json::from_value::<aiops_core::TriageReport>(wrong.clone()).is_err());
        refuses(&schema::triage_report(), &wrong);
    }
    let response = written(&responses().remove(0));
    for (pointer, value) in [
        ("/disposition/disposition", json!("done")),
        ("/plan/steps/0/decision", json!("maybe")),
        ("/plan/steps/0/outcome", json!("good")),
    ] {
        refuses(&schema::response(), &changed(response.clone(), pointer, value));
    }
    let notice = written(&samples::notice(event()));
    refuses(&schema::notice(), &changed(notice, "/notice", json!("paged")));
    let envelope = written(&Envelope::detection(&event()));
    refuses(&schema::envelope(), &changed(envelope, "/specversion", json!("0.3")));
}

#[test]
fn the_files_equal_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
    let mut files = Vec::new();
    for (name, schema) in schema::all() {
        let path = folder.join(format!("{name}.json"));
        if std::env::var_os("AIOPS_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        let equal = serde_json::from_str::<Value>(&found).is_ok_and(|found| found == schema);
        assert!(equal, "{} is not what the type says: set AIOPS_BLESS=1 and read the change", path.display());
        files.push(format!("{name}.json"));
    }
    let mut found: Vec<String> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, files, "a file that no schema has");
}
