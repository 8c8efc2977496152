//! Managed fields: who wrote what last.
//!
//! Kept for kinds of which somebody reads them (the operator tells by them who undoes its writes), for `spec` only, and by the
//! update rule for applies too: whoever changes a value owns it, and the others lose it. A list is one value.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Kind, object::entry};

/// Whether managed fields are kept of a kind.
pub fn kept(kind: Kind) -> bool {
    matches!(kind, Kind::Deployment | Kind::Service | Kind::HTTPRoute)
}

/// Notes what `manager` has changed at `now`.
pub fn record(before: &Value, after: &mut Value, manager: &str, now: Timestamp) {
    let mut changed = Map::new();
    differing(&before["spec"], &after["spec"], &mut changed);
    if changed.is_empty() {
        return;
    }
    let mut entries = before["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    for other in &mut entries {
        if let Value::Object(fields) = &mut other["fieldsV1"]["f:spec"] {
            subtract(fields, &changed);
        }
    }
    let own = entries.iter().position(|entry| entry["manager"] == manager);
    let mut fields = match own {
        Some(at) => entries.remove(at)["fieldsV1"]["f:spec"].take(),
        None => json!({}),
    };
    if let Value::Object(fields) = &mut fields {
        unite(fields, &changed);
    }
    entries.retain(|entry| entry["fieldsV1"]["f:spec"].as_object().is_some_and(|fields| !fields.is_empty()));
    entries.push(json!({
        "manager": manager, "operation": "Update", "apiVersion": after["apiVersion"],
        "time": crate::api::time(now), "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields},
    }));
    entry(after, "metadata").insert("managedFields".into(), entries.into());
}

/// The paths below which two values differ, as a tree whose leaves are empty.
fn differing(before: &Value, after: &Value, into: &mut Map<String, Value>) {
    let none = Map::new();
    let (was, is) = (before.as_object().unwrap_or(&none), after.as_object().unwrap_or(&none));
    for (key, value) in is {
        let old = was.get(key).unwrap_or(&Value::Null);
        if old == value {
            continue;
        }
        let mut below = Map::new();
        if value.is_object() {
            differing(old, value, &mut below);
        }
        into.insert(format!("f:{key}"), below.into());
    }
}

/// Takes the leaves of `other` out of `fields`.
fn subtract(fields: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (key, below) in other {
        let Some(Value::Object(own)) = fields.get_mut(key) else { continue };
        match below {
            Value::Object(below) if !below.is_empty() && !own.is_empty() => {
                subtract(own, below);
                if own.is_empty() {
                    fields.remove(key);
                }
            }
            _ => {
                fields.remove(key);
            }
        }
    }
}

fn unite(fields: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (key, below) in other {
        let own = fields.entry(key.clone()).or_insert_with(|| json!({}));
        if let (Value::Object(own), Value::Object(below)) = (own, below) {
            unite(own, below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_changes_a_field_owns_it_and_the_other_loses_it() {
        let now = Timestamp::UNIX_EPOCH;
        let mut first = json!({"spec": {"rules": [1], "replicas": 1}, "metadata": {}});
        record(&json!({}), &mut first, "git", now);
        let mut second = first.clone();
        second["spec"]["rules"] = json!([2]);
        record(&first, &mut second, "lockkeeper", now);
        let owns = |object: &Value, manager: &str, field: &str| {
            let entries = object["metadata"]["managedFields"].as_array().unwrap();
            entries.iter().any(|e| e["manager"] == manager && e["fieldsV1"].pointer(field).is_some())
        };
        assert!(owns(&first, "git", "/f:spec/f:rules"));
        assert!(owns(&second, "lockkeeper", "/f:spec/f:rules"));
        assert!(!owns(&second, "git", "/f:spec/f:rules"));
        assert!(owns(&second, "git", "/f:spec/f:replicas"));
    }
}
