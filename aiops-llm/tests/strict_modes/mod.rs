//! What providers take in strict mode, from their documentation: linters for tests.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// What is wrong with a schema under OpenAI's strict mode (`strict: true`).
pub(crate) fn openai(schema: &Value) -> Vec<String> {
    let mut lint = OpenAi::default();
    if schema["type"] != "object" {
        lint.faults.push("$: the root is no object".to_owned());
    }
    lint.visit("$", schema, 1);
    let OpenAi { mut faults, properties, chars, values } = lint;
    for (what, found, max) in
        [("properties", properties, 5_000), ("characters of names", chars, 120_000), ("enum values", values, 1_000)]
    {
        if found > max {
            faults.push(format!("$: {found} {what}, {max} are taken"));
        }
    }
    faults
}

#[derive(Default)]
struct OpenAi {
    faults: Vec<String>,
    properties: usize,
    chars: usize,
    values: usize,
}

impl OpenAi {
    fn visit(&mut self, path: &str, schema: &Value, depth: usize) {
        const TAKEN: [&str; 16] = [
            "type",
            "description",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "enum",
            "const",
            "anyOf",
            "pattern",
            "format",
            "minimum",
            "maximum",
            "minItems",
            "maxItems",
            "maxLength",
        ];
        let Value::Object(keys) = schema else {
            self.faults.push(format!("{path}: not an object"));
            return;
        };
        if depth > 10 {
            self.faults.push(format!("{path}: {depth} levels deep"));
        }
        for key in keys.keys().filter(|key| !TAKEN.contains(&key.as_str())) {
            self.faults.push(format!("{path}: {key}"));
        }
        self.visit_enum(path, keys);
        if keys.get("type") == Some(&json!("object")) {
            if keys.get("additionalProperties") != Some(&json!(false)) {
                self.faults.push(format!("{path}: open object"));
            }
            let required = keys.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            for (key, schema) in keys.get("properties").and_then(Value::as_object).into_iter().flatten() {
                self.properties += 1;
                self.chars += key.chars().count();
                if !required.contains(&json!(key)) {
                    self.faults.push(format!("{path}: {key} is not required"));
                }
                self.visit(&format!("{path}.{key}"), schema, depth + 1);
            }
        }
        if let Some(items) = keys.get("items") {
            self.visit(&format!("{path}[]"), items, depth + 1);
        }
    }

    fn visit_enum(&mut self, path: &str, keys: &Map<String, Value>) {
        let Some(values) = keys.get("enum").and_then(Value::as_array) else { return };
        let chars: usize = values.iter().map(|value| value.as_str().unwrap_or_default().chars().count()).sum();
        self.values += values.len();
        self.chars += chars;
        if values.is_empty() {
            self.faults.push(format!("{path}: empty enum"));
        }
        if values.len() > 250 && chars > 15_000 {
            self.faults.push(format!("{path}: an enum of {chars} characters"));
        }
        let mut distinct: Vec<String> = values.iter().map(Value::to_string).collect();
        distinct.sort();
        distinct.dedup();
        if distinct.len() < values.len() {
            self.faults.push(format!("{path}: an enum with a value twice"));
        }
    }
}

/// What Anthropic's own clients make of a schema before they send it: open objects are closed, and what the
/// grammar cannot hold moves into the description. A schema that this leaves alone is taken as it is. (They also
/// drop the type beside an enum, which says nothing more; it stays here.)
pub(crate) fn anthropic(schema: &Value) -> Value {
    const FORMATS: [&str; 9] = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "uuid"];
    let Value::Object(keys) = schema else { return schema.clone() };
    let mut kept = Map::new();
    let mut moved = Vec::new();
    let object = keys.get("type") == Some(&json!("object"));
    for (key, value) in keys {
        match key.as_str() {
            "type" | "description" | "title" | "required" | "const" | "$ref" => {
                kept.insert(key.clone(), value.clone());
            }
            "enum" if value.as_array().is_some_and(|values| !values.is_empty()) => {
                kept.insert(key.clone(), value.clone());
            }
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let each = properties.map(|(key, schema)| (key.clone(), anthropic(schema)));
                kept.insert(key.clone(), Value::Object(each.collect()));
            }
            "items" => {
                kept.insert(key.clone(), anthropic(value));
            }
            "anyOf" | "allOf" => {
                let each = value.as_array().into_iter().flatten();
                kept.insert(key.clone(), Value::Array(each.map(anthropic).collect()));
            }
            "format" if value.as_str().is_some_and(|format| FORMATS.contains(&format)) => {
                kept.insert(key.clone(), value.clone());
            }
            "minItems" if value == &json!(0) || value == &json!(1) => {
                kept.insert(key.clone(), value.clone());
            }
            "additionalProperties" if object => {}
            _ => moved.push(format!("{key}: {value}")),
        }
    }
    if object {
        kept.insert("additionalProperties".to_owned(), json!(false));
    }
    if !moved.is_empty() {
        let description = kept.get("description").and_then(Value::as_str).unwrap_or_default();
        let description = format!("{description}\n\n{{{}}}", moved.join(", "));
        kept.insert("description".to_owned(), json!(description));
    }
    Value::Object(kept)
}

/// The keys of the object at `path`, as they stand in the text: a `Value` would sort them.
pub(crate) fn keys_in_order(json: &str, path: &[&str]) -> Vec<String> {
    struct Keys<'a>(&'a [&'a str]);
    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut keys = Vec::new();
            let mut inner = Vec::new();
            while let Some(key) = map.next_key::<String>()? {
                if self.0.first().is_some_and(|wanted| *wanted == key) {
                    let value: Box<RawValue> = map.next_value()?;
                    inner = keys_in_order(value.get(), &self.0[1..]);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
                keys.push(key);
            }
            Ok(if self.0.is_empty() { keys } else { inner })
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_map(Keys(path)).unwrap()
}
