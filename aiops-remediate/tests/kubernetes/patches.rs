//! Merge patches, JSON patches, and who set which field of a spec.

use serde_json::{Map, Value, json};

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let object = target.as_object_mut().unwrap();
    for (name, value) in fields {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The operations `add` and `replace` of RFC 6902, on objects.
pub(crate) fn json_patch(target: &mut Value, patch: &Value) {
    for operation in patch.as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/").replace("~0", "~");
        let parent = target.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        assert!(operation["op"] != "replace" || parent.contains_key(&name), "{path} is not there");
        parent.insert(name, operation["value"].clone());
    }
}

/// Notes who set what changed in the spec, as `managedFields` do, to the depth of one field.
pub(crate) fn note_managers(before: &Value, after: &mut Value, manager: &str, now: &str) {
    let spec = after["spec"].as_object().cloned().unwrap_or_default();
    let field = |name: &String| format!("f:{name}");
    let changed: Vec<String> = spec
        .iter()
        .filter(|(name, value)| before["spec"].get(name) != Some(value))
        .map(|(name, _)| field(name))
        .collect();
    let had = before["spec"].as_object().cloned().unwrap_or_default();
    let removed: Vec<String> = had.keys().filter(|name| !spec.contains_key(*name)).map(field).collect();
    if changed.is_empty() && removed.is_empty() {
        return;
    }
    let mut entries = after["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    for entry in &mut entries {
        let fields = entry["fieldsV1"]["f:spec"].as_object_mut().unwrap();
        fields.retain(|field, _| !changed.contains(field) && !removed.contains(field));
    }
    let mut own = entries.iter().position(|entry| entry["manager"] == manager).map_or_else(
        || json!({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}),
        |at| entries.remove(at),
    );
    own["time"] = now.into();
    for field in changed {
        own["fieldsV1"]["f:spec"][field] = json!({});
    }
    entries.retain(|entry| entry["fieldsV1"]["f:spec"] != json!({}));
    entries.push(own);
    after["metadata"]["managedFields"] = entries.into();
}
