//! The schema of a report keeps the rules of every provider's strict mode, says what the Rust type says, and
//! agrees with the reader of replies.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test]

mod strict_modes;

use std::sync::LazyLock;

use aiops_core::{ActionMenu, ActionName, MenuEntry, TriageReport};
use aiops_llm::reply::{ReplyError, read_reply};
use aiops_llm::{MenuTooLarge, bounded_report_schema, report_schema};
use proptest::prelude::*;
use serde_json::{Value, json};
use strict_modes::{anthropic, keys_in_order, openai};

const KEYS: [&str; 6] = ["summary", "likely_causes", "evidence", "recommended_actions", "confidence", "needs_human"];

/// Actions `name_000` and so on, as long as wanted.
fn menu(count: usize, chars: usize) -> ActionMenu {
    let name = |i: usize| ActionName::new(format!("{}_{i:03}", "n".repeat(chars.saturating_sub(4)))).unwrap();
    ActionMenu::new((0..count).map(|i| MenuEntry::new(name(i), "an action")).collect())
}

fn parsed(menu: &ActionMenu) -> Value {
    serde_json::from_str(report_schema(menu).unwrap().json()).unwrap()
}

#[test]
fn catalogues_of_0_1_5_200_and_1000_actions_are_taken_by_every_strict_mode() {
    for count in [0, 1, 5, 200, 1_000] {
        let menu = menu(count, 11);
        let schema = parsed(&menu);
        assert_eq!(openai(&schema), Vec::<String>::new(), "{count} actions");
        assert_eq!(anthropic(&schema), schema, "{count} actions: Anthropic's transform changes it");
        let names = schema["properties"]["recommended_actions"]["items"]["enum"].as_array().cloned();
        assert_eq!(names.map(|names| names.len()), (count > 0).then_some(count));
        let bounded: Value = serde_json::from_str(bounded_report_schema(&menu).unwrap().json()).unwrap();
        assert_eq!(openai(&bounded), Vec::<String>::new(), "{count} actions, bounded");
        assert_ne!(anthropic(&bounded), bounded, "Anthropic takes no bounds");
    }
}

#[test]
fn a_menu_beyond_a_limit_is_an_error_that_names_it_and_is_not_cut() {
    let said = report_schema(&menu(1_001, 11)).unwrap_err();
    assert_eq!(said, MenuTooLarge::Names { names: 1_001, max: 1_000 });
    assert_eq!(
        said.to_string(),
        "a schema may list 1000 actions (OpenAI's limit on enum values), the menu has 1001: build the menu of a \
         part of the catalogue, by blast radius or by kind of service"
    );
    let said = report_schema(&menu(300, 51)).unwrap_err();
    assert_eq!(said, MenuTooLarge::Chars { names: 300, chars: 15_300, max: 15_000 });
    assert!(said.to_string().contains("may have 15000 characters in all (OpenAI's limit on one enum), the menu's 300"));
    assert!(report_schema(&menu(300, 50)).is_ok());
    assert!(report_schema(&menu(250, 64)).is_ok(), "up to 250 names have no limit on characters");
}

#[test]
fn keys_are_written_in_reading_order_and_all_are_required() {
    let schema = report_schema(&menu(5, 11)).unwrap();
    assert_eq!(schema.name(), "triage_report");
    assert_eq!(keys_in_order(schema.json(), &["properties"]), KEYS);
    assert_eq!(keys_in_order(schema.json(), &[]), ["type", "properties", "required", "additionalProperties"]);
    assert_eq!(parsed(&menu(5, 11))["required"], json!(KEYS));
}

#[test]
fn equal_menus_give_equal_bytes_in_any_order() {
    let name = |name: &str| MenuEntry::new(ActionName::new(name).unwrap(), name);
    let of = |names: &[&str]| {
        report_schema(&ActionMenu::new(names.iter().map(|n| name(n)).collect())).unwrap().json().to_owned()
    };
    assert_eq!(of(&["restart_pod", "drain_node"]), of(&["drain_node", "restart_pod"]));
    assert_eq!(of(&["restart_pod", "restart_pod"]), of(&["restart_pod"]), "a value stands once in an enum");
    assert_ne!(of(&["restart_pod"]), of(&["restart_pods"]));
    assert!(of(&["restart_pod", "drain_node"]).contains(r#""enum":["drain_node","restart_pod"]"#));
}

/// The type behind a schema, with references followed: `array of string` for a list of texts.
fn kind(schema: &Value, root: &Value) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        return kind(root.pointer(path.strip_prefix('#').unwrap()).unwrap(), root);
    }
    match schema["type"].as_str() {
        Some("array") => format!("array of {}", kind(&schema["items"], root)),
        Some(kind) => kind.to_owned(),
        None => panic!("a schema without a type: {schema}"),
    }
}

#[test]
fn the_schema_says_what_the_rust_type_says() {
    let of_type = aiops_core::schema::triage_report();
    let ours = parsed(&menu(1, 11));
    let kinds = |schema: &Value| -> Vec<(String, String)> {
        let properties = schema["properties"].as_object().unwrap();
        properties.iter().map(|(key, value)| (key.clone(), kind(value, schema))).collect()
    };
    assert_eq!(kinds(&ours), kinds(&of_type));
    let report = serde_json::to_value(TriageReport::new("x").evidence(["log:1"])).unwrap();
    let written: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(written, kinds(&ours).iter().map(|(key, _)| key).collect::<Vec<_>>());
}

#[test]
fn the_linters_see_what_providers_refuse() {
    let faulty = json!({"type": "object", "properties": {
        "a": {"type": "string", "enum": []},
        "b": {"type": "number", "minimum": 0, "default": 1},
        "c": {"type": "object", "properties": {}},
    }, "required": ["a"], "additionalProperties": false});
    let said = openai(&faulty).join("; ");
    for fault in ["$.a: empty enum", "$.b: default", "$.c: open object", "$: b is not required"] {
        assert!(said.contains(fault), "{fault} is not in {said}");
    }
    let transformed = anthropic(&faulty);
    assert!(transformed["properties"]["b"].get("minimum").is_none());
    assert_eq!(transformed["properties"]["c"]["additionalProperties"], json!(false));
}

/// What no schema says, with the reader's name for it.
#[test]
fn what_the_schema_cannot_say_is_refused_by_name() {
    let validator = jsonschema::validator_for(&parsed(&menu(5, 11))).unwrap();
    let report = r#"{"summary":"s","likely_causes":[],"evidence":[],"recommended_actions":[],"confidence":0.5,"needs_human":true}"#;
    assert!(read_reply(report, Some("stop")).is_ok());
    for (text, name) in [
        (report.replace("0.5", "1.0000001"), "confidence must be a number from 0 to 1, not 1.0000001"),
        (report.replace("0.5", "95"), "confidence must be a number from 0 to 1, not 95"),
        (report.replace("{\"s", "{\"summary\":\"t\",\"s"), "duplicate key \"summary\" in the report"),
        (
            report.replace("\"s\"", &format!("\"{}\"", "s".repeat(70_000))),
            "the reply has 70108 bytes, at most 65536 are read",
        ),
    ] {
        assert!(validator.is_valid(&serde_json::from_str(&text).unwrap()), "the schema takes it");
        assert_eq!(read_reply(&text, Some("stop")).unwrap_err().to_string(), name);
    }
}

/// A value for a key, right more often than wrong.
fn field(key: &'static str) -> BoxedStrategy<Value> {
    let wrong = prop_oneof![Just(json!(null)), Just(json!(7)), Just(json!("x")), Just(json!([1])), Just(json!({}))];
    let texts = |items: BoxedStrategy<String>| prop::collection::vec(items, 0..4).prop_map(|list| json!(list)).boxed();
    let right = match key {
        "summary" => any::<String>().prop_map(Value::from).boxed(),
        "recommended_actions" => texts(prop_oneof![9 => "nnnnnnn_00[0-4]", 1 => "[nN_0 ]{0,12}"].boxed()),
        "confidence" => prop_oneof![3 => 0.0..=1.0, 1 => -2.0..3.0, 1 => any::<f64>()].prop_map(|x| json!(x)).boxed(),
        "needs_human" => any::<bool>().prop_map(Value::from).boxed(),
        _ => texts(any::<String>().boxed()),
    };
    prop_oneof![40 => right, 1 => wrong].boxed()
}

fn reply() -> BoxedStrategy<Value> {
    let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = KEYS
        .into_iter()
        .map(|key| prop::option::weighted(0.97, field(key).prop_map(move |value| (key.to_owned(), value))).boxed())
        .chain([prop::option::weighted(0.2, Just(("mood".to_owned(), json!(["extra"])))).boxed()])
        .collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect())).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The reader knows no menu, so a name that is not in it counts as read here: the check of names stands
    /// behind the reader, whatever the server held the model to.
    #[test]
    fn reader_and_schema_agree(reply in reply()) {
        static VALIDATOR: LazyLock<jsonschema::Validator> =
            LazyLock::new(|| jsonschema::validator_for(&parsed(&menu(5, 11))).unwrap());
        let menu = menu(5, 11);
        let known = |report: &TriageReport| report.recommended_actions.iter().all(|name| menu.get(name).is_some());
        let text = reply.to_string();
        match read_reply(&text, Some("end_turn")) {
            Ok(report) => {
                // Unknown keys dropped, and evidence that is not given is none.
                let mut read = reply;
                let read = read.as_object_mut().unwrap();
                read.retain(|key, _| KEYS.contains(&key.as_str()));
                read.entry("evidence").or_insert_with(|| json!([]));
                prop_assert_eq!(VALIDATOR.is_valid(&json!(read)), known(&report), "{}", text);
            }
            Err(error) if VALIDATOR.is_valid(&reply) => {
                // All that the schema cannot say.
                let named = matches!(&error, ReplyError::Wrong { field: "confidence", .. });
                prop_assert!(named, "{error}: {text}");
            }
            Err(error) => {
                let named = matches!(&error, ReplyError::Wrong { .. } | ReplyError::Missing { .. });
                prop_assert!(named, "{error}: {text}");
            }
        }
    }
}
