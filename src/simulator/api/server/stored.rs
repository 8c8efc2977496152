//! What becomes of an object between a request and the store: what is refused, kept, counted and left out.

use serde_json::Value;

use super::Part;
use crate::api::{
    Key, Kind, Status,
    object::{deleting, list, text, uid},
};

/// What a request cannot change, whatever it says.
pub(super) fn keep(before: &Value, after: &mut Value, key: &Key, part: Part) {
    let served = key.kind.served();
    if part == Part::Status {
        // Of a Deployment its controller writes the annotation of the revision on this way.
        let annotations = (key.kind == Kind::Deployment).then(|| after["metadata"]["annotations"].take());
        let (Value::Object(was), Value::Object(is)) = (before, &mut *after) else { return };
        is.retain(|field, value| if field == "status" { !value.is_null() } else { was.contains_key(field) });
        for (field, value) in was.iter().filter(|(field, _)| *field != "status") {
            if is.get(field) != Some(value) {
                is.insert(field.clone(), value.clone());
            }
        }
        if let Some(annotations) = annotations {
            set(&mut after["metadata"], "annotations", &annotations);
        }
        return;
    }
    for field in ["apiVersion", "kind"] {
        set(after, field, &before[field]);
    }
    if served.status {
        set(after, "status", &before["status"]);
    }
    let kept = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
    ];
    for field in kept {
        set(&mut after["metadata"], field, &before["metadata"][field]);
    }
}

fn set(object: &mut Value, field: &str, value: &Value) {
    let Value::Object(object) = object else { return };
    if value.is_null() {
        object.remove(field);
    } else if object.get(field) != Some(value) {
        object.insert(field.into(), value.clone());
    }
}

/// Whether anything has changed but metadata and status.
pub(super) fn grows(before: &Value, after: &Value) -> bool {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return false };
    let own = |key: &&String| !matches!(key.as_str(), "metadata" | "status");
    after.keys().filter(own).any(|key| before.get(key) != after.get(key))
        || before.keys().filter(own).any(|key| !after.contains_key(key))
}

/// Empty maps and lists in metadata are not kept.
fn tidy(metadata: &mut Value) {
    let Value::Object(metadata) = metadata else { return };
    for field in ["labels", "annotations", "ownerReferences", "finalizers"] {
        let empty = match metadata.get(field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Null) => true,
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => false,
        };
        if empty {
            metadata.remove(field);
        }
    }
}

/// Whether a request about this object names another one.
///
/// # Errors
/// 400 if it does.
pub(super) fn is_meant(key: &Key, object: &Value) -> Result<(), Status> {
    let metadata = &object["metadata"];
    let (name, namespace) = (text(&metadata["name"]), text(&metadata["namespace"]));
    if !name.is_empty() && name != key.name {
        let why = format!("the name of the object ({name}) does not match the name on the URL ({})", key.name);
        return Err(Status::bad_request(why));
    }
    if !namespace.is_empty() && namespace != key.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    Ok(())
}

/// Whether an object is the one that was decided on, as its UID and resource version say.
///
/// # Errors
/// 409 if it is not, 422 where a kind of ours wants a version, or where it has another UID.
pub(super) fn is_current(key: &Key, before: &Value, after: &Value) -> Result<(), Status> {
    let (was, asked) = (&before["metadata"], &after["metadata"]);
    let built_in = key.kind.served().strategic();
    if asked["resourceVersion"].is_null() && !built_in {
        let why = "Invalid value: 0: must be specified for an update";
        return Err(Status::invalid_version(key, why));
    }
    if !asked["resourceVersion"].is_null() && asked["resourceVersion"] != was["resourceVersion"] {
        return Err(Status::conflict(key));
    }
    if !asked["uid"].is_null() && asked["uid"] != was["uid"] {
        let why = format!("Invalid value: \"{}\": field is immutable", text(&asked["uid"]));
        return Err(Status::invalid(key, &[("metadata.uid".into(), why)]));
    }
    let known = list(&was["finalizers"]);
    let new = list(&asked["finalizers"]).iter().find(|finalizer| !known.contains(finalizer));
    match new.filter(|_| deleting(before)) {
        Some(new) => {
            let why = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{new}}}"
            );
            Err(Status::invalid(key, &[("metadata.finalizers".into(), why)]))
        }
        None => Ok(()),
    }
}

/// Whether a whole object is the one that it is to replace. A patch is asked by `is_current` instead.
///
/// # Errors
/// 409 where a kind that is built in has another UID.
pub(super) fn is_same(key: &Key, before: &Value, object: &Value) -> Result<(), Status> {
    let asked = text(&object["metadata"]["uid"]);
    if asked.is_empty() || asked == uid(before) || !key.kind.served().strategic() {
        return Ok(());
    }
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {asked}, UID in object meta: {}",
        key.kind.served().plural,
        key.namespace,
        key.name,
        uid(before)
    );
    Err(Status::unfulfilled(key, &why))
}

/// What says nothing is not stored.
pub(super) fn normalize(key: &Key, object: &mut Value) {
    tidy(&mut object["metadata"]);
    if matches!(key.kind, Kind::Deployment | Kind::ReplicaSet)
        && let Some(Value::Object(spec)) = object.get_mut("spec")
    {
        spec.retain(|field, value| match field.as_str() {
            "paused" => *value != false,
            "minReadySeconds" => *value != 0,
            _ => true,
        });
    }
}
