//! The patch formats of the API server that the operator and the people in the simulation use.

mod strategic;

use json_patch::PatchOperation;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Key, Status};

/// How an object is to be changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' own: lists with keys are merged.
    Strategic(Value),
    /// `kubectl apply --server-side`: these fields are to be so. Where it says nothing, nothing is changed, and a list is one
    /// value: fields that the same manager has left out since its last apply are not removed. Always forced.
    Apply(Value),
}

impl Patch {
    /// The patch of a body with this content type.
    ///
    /// # Errors
    /// 415 for another content type.
    pub fn new(content_type: &str, body: Value) -> Result<Self, Status> {
        match content_type.split(';').next().unwrap_or_default() {
            "application/json-patch+json" => Ok(Self::Json(body)),
            "application/merge-patch+json" => Ok(Self::Merge(body)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(body)),
            "application/apply-patch+yaml" => Ok(Self::Apply(body)),
            _ => Err(Status::new(415, "UnsupportedMediaType", "the body of the request was in an unknown format")),
        }
    }

    /// The object as the patch makes it.
    ///
    /// # Errors
    /// When the patch does not fit.
    pub fn apply(&self, key: &Key, object: &Value) -> Result<Value, Status> {
        let mut changed = object.clone();
        match self {
            Self::Json(operations) => {
                let Value::Array(operations) = operations else {
                    return Err(Status::bad_request("error decoding patch: it is no list"));
                };
                for operation in operations {
                    // What is changed so far is thrown away with the error.
                    if !usual(&mut changed, operation)? {
                        let operation = PatchOperation::deserialize(operation).map_err(|_| Status::rejected_patch())?;
                        json_patch::patch_unsafe(&mut changed, &[operation]).map_err(|_| Status::rejected_patch())?;
                    }
                }
            }
            Self::Merge(patch) => merge(&mut changed, patch),
            Self::Strategic(_) if !key.kind.served().strategic() => {
                let message = "the body of the request was in an unknown format - accepted media types include: \
                               application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(Status::new(415, "UnsupportedMediaType", message));
            }
            Self::Strategic(patch) => strategic::merge(&mut changed, patch, ""),
            Self::Apply(patch) => {
                // These are one value for an apply, and maps for a patch.
                for whole in ["/spec/selector"] {
                    if let (Some(place), Some(_)) = (changed.pointer_mut(whole), patch.pointer(whole)) {
                        *place = Value::Null;
                    }
                }
                strategic::merge(&mut changed, patch, "");
            }
        }
        Ok(changed)
    }
}

/// Does one of the operations that most patches are made of, and says whether it was one: the library reads each by way of copies. The API
/// server's library puts in what a `replace` does not find, where that is a field.
///
/// # Errors
/// When a test does not hold.
fn usual(object: &mut Value, operation: &Value) -> Result<bool, Status> {
    let (Some(path), Some(value)) = (operation["path"].as_str(), operation.get("value")) else { return Ok(false) };
    match operation["op"].as_str() {
        Some("test") if object.pointer(path) == Some(value) => Ok(true),
        Some("test") => Err(Status::rejected_patch()),
        Some("add" | "replace") => {
            let Some((parent, field)) = path.rsplit_once('/') else { return Ok(false) };
            let Some(Value::Object(fields)) = object.pointer_mut(parent) else { return Ok(false) };
            fields.insert(field.replace("~1", "/").replace("~0", "~"), value.clone());
            Ok(true)
        }
        Some(_) | None => Ok(false),
    }
}

/// A merge patch, RFC 7396.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Kind;

    fn check(patch: Patch, before: Value, after: Value) {
        let key = Key::new(Kind::Deployment, "shop", "web");
        assert_eq!(patch.apply(&key, &before).unwrap(), after);
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_removes_by_null() {
        check(
            Patch::Merge(json!({"a": [1], "b": null, "c": {"d": 1}})),
            json!({"a": [2, 3], "b": 1}),
            json!({"a": [1], "c": {"d": 1}}),
        );
    }

    #[test]
    fn a_strategic_merge_finds_containers_by_name() {
        let object = |image: &str| {
            json!({"spec": {"template": {"spec": {"containers": [
            {"name": "app", "image": image, "ports": [{"containerPort": 80}]}, {"name": "side", "image": "s"}]}}}})
        };
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "a:2"}]}}}});
        check(Patch::Strategic(patch), object("a:1"), object("a:2"));
    }

    #[test]
    fn a_failed_test_refuses_a_json_patch_as_a_whole() {
        let patch =
            Patch::Json(json!([{"op": "add", "path": "/a", "value": 1}, {"op": "test", "path": "/b", "value": 2}]));
        let refused = patch.apply(&Key::new(Kind::Release, "shop", "web"), &json!({"b": 3})).unwrap_err();
        assert_eq!((refused.code, refused.reason), (422, "Invalid"));
        assert!(refused.body().get("details").is_none(), "the operator tells it from a schema's complaint by that");
    }

    #[test]
    fn a_json_patch_puts_in_what_a_replace_does_not_find_where_that_is_a_field() {
        let json = |operations| Patch::Json(operations);
        check(
            json(json!([{"op": "replace", "path": "/a/b~1c", "value": 1}])),
            json!({"a": {}}),
            json!({"a": {"b/c": 1}}),
        );
        check(json(json!([{"op": "replace", "path": "/a/0", "value": 1}])), json!({"a": [0, 2]}), json!({"a": [1, 2]}));
        check(json(json!([{"op": "add", "path": "/a/-", "value": 1}])), json!({"a": [0]}), json!({"a": [0, 1]}));
        let key = Key::new(Kind::Deployment, "shop", "web");
        for path in ["/a/5", "/b/c"] {
            let patch = json(json!([{"op": "replace", "path": path, "value": 1}]));
            assert_eq!(patch.apply(&key, &json!({"a": []})).unwrap_err().code, 422, "{path}");
        }
    }

    #[test]
    fn own_kinds_have_no_strategic_merge() {
        let key = Key::new(Kind::Release, "shop", "web");
        assert_eq!(Patch::Strategic(json!({})).apply(&key, &json!({})).unwrap_err().code, 415);
    }
}
