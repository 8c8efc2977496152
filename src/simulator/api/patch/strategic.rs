//! Strategic merge: which lists are merged, and by which key.

use serde_json::{Map, Value};

/// Merges into the field of this name.
pub(super) fn merge(target: &mut Value, patch: &Value, field: &str) {
    match (patch, key_of(field, patch)) {
        (Value::Object(patch), _) => object(target, patch),
        (Value::Array(items), Some(key)) => list(target, items, key),
        (Value::Array(items), None) if field == "finalizers" => set(target, items),
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
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(Value::Array(items)) = target.get_mut(field) {
                items.retain(|item| !value.as_array().is_some_and(|gone| gone.contains(item)));
            }
        } else if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value, key);
        }
    }
}

/// What is new comes first; the rest keeps its order.
fn list(target: &mut Value, items: &[Value], key: &str) {
    let known = target.as_array().cloned().unwrap_or_default();
    let place = |item: &Value| known.iter().position(|other| other[key] == item[key]);
    let gone = |at: usize| items.iter().any(|item| item["$patch"] == "delete" && item[key] == known[at][key]);
    let patched = items.iter().filter(|item| item["$patch"] != "delete").map(|item| {
        let at = place(item);
        let mut merged = at.map_or(Value::Null, |at| known[at].clone());
        merge(&mut merged, item, "");
        (at, merged)
    });
    let others = (0..known.len()).filter(|at| !gone(*at) && !items.iter().any(|item| place(item) == Some(*at)));
    let others = others.map(|at| (at, known[at].clone())).collect();
    *target = in_order(patched.collect(), others);
}

/// Lists of plain values that are sets.
fn set(target: &mut Value, items: &[Value]) {
    let known = target.as_array().cloned().unwrap_or_default();
    let place = |item: &Value| known.iter().position(|other| other == item);
    let patched = items.iter().map(|item| (place(item), item.clone())).collect();
    let others = known.iter().cloned().enumerate().filter(|(_, other)| !items.contains(other)).collect();
    *target = in_order(patched, others);
}

/// Two lists of which it is known where each item was.
fn in_order(patched: Vec<(Option<usize>, Value)>, others: Vec<(usize, Value)>) -> Value {
    let mut others = others.into_iter().peekable();
    let mut all = Vec::new();
    for (at, item) in patched {
        while let Some((_, other)) = others.next_if(|(before, _)| at.is_some_and(|at| *before < at)) {
            all.push(other);
        }
        all.push(item);
    }
    all.extend(others.map(|(_, other)| other));
    all.into()
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
