//! Strategic merge: which lists are merged, and by which key.

use serde_json::{Map, Value};

/// Merges into the field of this name.
pub(super) fn merge(target: &mut Value, patch: &Value, field: &str) {
    match (patch, key_of(field, patch)) {
        (Value::Object(patch), _) => object(target, patch),
        (Value::Array(items), Some(key)) => list(target, items, key),
        (Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null, _) => {
            target.clone_from(patch);
        }
    }
}

fn object(target: &mut Value, patch: &Map<String, Value>) {
    if patch.get("$patch").is_some_and(|directive| directive == "replace") {
        *target = Value::Object(
            patch.iter().filter(|(key, _)| *key != "$patch").map(|(k, v)| (k.clone(), v.clone())).collect(),
        );
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value, key);
        }
    }
}

fn list(target: &mut Value, items: &[Value], key: &str) {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Value::Array(target) = target else { return };
    for item in items {
        let found = target.iter().position(|other| other[key] == item[key]);
        match (found, item["$patch"] == "delete") {
            (Some(at), true) => {
                target.remove(at);
            }
            (Some(at), false) => merge(&mut target[at], item, ""),
            (None, true) => {}
            (None, false) => target.push(item.clone()),
        }
    }
}

/// The merge key of a list in the built-in kinds that are served; other lists are one value.
fn key_of(field: &str, items: &Value) -> Option<&'static str> {
    match field {
        "ports" if !items[0]["containerPort"].is_null() => Some("containerPort"),
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" => Some("name"),
        "ownerReferences" => Some("uid"),
        "ports" => Some("port"),
        "conditions" => Some("type"),
        _ => None,
    }
}
