//! Digests of pod templates.

use lockkeeper_api::names::{POD_TEMPLATE_HASH, RESTARTED_AT};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Length of a digest in characters; 40 bits tell the few templates of one workload apart, and a pod name stays short.
const LENGTH: usize = 10;

/// Digest of a JSON value: lower-case hexadecimal digits, safe as a label value and in object names.
///
/// Equal values have equal digests, whatever the order of their keys: `serde_json` keeps objects sorted.
pub fn digest(value: &Value) -> String {
    // A value has text keys only, and so can be written. Its `Display` writes the same in many small pieces.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let hash = Sha256::digest(&text);
    hash.iter().map(|byte| format!("{byte:02x}")).take(LENGTH / 2).collect()
}

/// Digest of a pod template apart from the label `pod-template-hash`, which Kubernetes adds to the copy in a ReplicaSet.
pub fn template_digest(template: &Value) -> String {
    digest(&without(template, &[("/metadata/labels", POD_TEMPLATE_HASH)]))
}

/// Digest of what makes a version: a native restart, which changes one annotation, is none.
pub fn version_digest(template: &Value) -> String {
    digest(&without(template, &[("/metadata/labels", POD_TEMPLATE_HASH), ("/metadata/annotations", RESTARTED_AT)]))
}

/// Whether these annotations set a template apart from its version: only then the two digests differ.
pub(crate) fn is_set_apart(template: &Value) -> bool {
    let annotations = template["metadata"]["annotations"].as_object();
    annotations.is_some_and(|annotations| annotations.is_empty() || annotations.contains_key(RESTARTED_AT))
}

/// The value without some keys, and without an object that becomes empty by that.
fn without(template: &Value, keys: &[(&str, &str)]) -> Value {
    let mut template = template.clone();
    for (parent, key) in keys {
        let Some(Value::Object(object)) = template.pointer_mut(parent) else { continue };
        object.remove(*key);
        let empty = object.is_empty();
        let Some((grandparent, name)) = parent.rsplit_once('/') else { continue };
        if let (true, Some(Value::Object(object))) = (empty, template.pointer_mut(grandparent)) {
            object.remove(name);
        }
    }
    template
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_replica_sets_copy_of_a_template_has_the_same_digest() {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        let copy =
            json!({"metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}}, "spec": {"containers": []}});
        assert_eq!(template_digest(&template), template_digest(&copy));
    }

    #[test]
    fn a_restart_is_another_template_but_no_other_version() {
        let before = json!({"metadata": {"labels": {"app": "web"}}, "spec": {}});
        let after = json!({"metadata": {"labels": {"app": "web"}, "annotations": {RESTARTED_AT: "now"}}, "spec": {}});
        assert_ne!(template_digest(&before), template_digest(&after));
        assert_eq!(version_digest(&before), version_digest(&after));
    }

    #[test]
    fn only_a_template_that_is_set_apart_has_another_digest_than_its_version() {
        for annotations in [json!({}), json!({RESTARTED_AT: "now"}), json!({RESTARTED_AT: "now", "a": "b"})] {
            let template = json!({"metadata": {"annotations": annotations}, "spec": {}});
            assert!(is_set_apart(&template), "{template}");
            assert_ne!(template_digest(&template), version_digest(&template));
        }
        for metadata in [json!(null), json!({}), json!({"labels": {}}), json!({"annotations": {"a": "b"}})] {
            let template = json!({"metadata": metadata, "spec": {}});
            assert!(!is_set_apart(&template), "{template}");
            assert_eq!(template_digest(&template), version_digest(&template));
        }
    }

    #[test]
    fn another_image_is_another_version() {
        let one = json!({"metadata": {"creationTimestamp": null}, "spec": {"containers": [{"image": "a:1"}]}});
        let two = json!({"metadata": {"creationTimestamp": null}, "spec": {"containers": [{"image": "a:2"}]}});
        assert_ne!(version_digest(&one), version_digest(&two));
    }
}
