//! Our own kinds by their real schemas: pruning, defaults, validation and CEL rules. Built-in kinds are taken as they come.
//!
//! As the API server since 1.33 does, what was the same before is not validated again (ratcheting).

mod node;
mod rule;
mod validate;

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Value, json};

use self::{node::Node, validate::Path};
use super::{Key, Kind, Status};

/// The schemas, read once.
static SCHEMAS: LazyLock<BTreeMap<Kind, Node>> = LazyLock::new(|| {
    let crds = lockkeeper_api::crds();
    let read = crds.into_iter().filter_map(|crd| {
        let crd = json!(crd);
        let version = &crd["spec"]["versions"][0];
        let kind = Kind::ALL.into_iter().find(|kind| crd["spec"]["names"]["kind"] == kind.served().kind)?;
        Some((kind, Node::read(&version["schema"]["openAPIV3Schema"])))
    });
    read.collect()
});

/// Makes an object what its schema says, or refuses it.
///
/// # Errors
/// 422 with every fault.
pub fn admit(key: &Key, before: Option<&Value>, after: &mut Value) -> Result<(), Status> {
    let Some(schema) = SCHEMAS.get(&key.kind) else { return Ok(()) };
    for part in ["spec", "status"] {
        let Some(node) = schema.properties.get(part) else { continue };
        let old = before.map(|before| &before[part]).filter(|old| !old.is_null());
        if old == after.get(part) {
            continue;
        }
        match after.get_mut(part) {
            Some(value) => node.complete(value),
            None => continue,
        }
        let mut causes = Vec::new();
        let path = Path::Top(part);
        validate::validate(node, &path, old, &after[part], &mut causes);
        // Rules are not asked of what is broken.
        if causes.is_empty() {
            validate::rules(node, &path, old, &after[part], &mut causes);
        }
        if !causes.is_empty() {
            return Err(Status::invalid(key, &causes));
        }
    }
    let missing = schema.required.iter().filter(|field| after.get(field).is_none());
    let missing: Vec<_> = missing.map(|field| (field.clone(), "Required value".to_owned())).collect();
    if missing.is_empty() { Ok(()) } else { Err(Status::invalid(key, &missing)) }
}

/// Everything that is wrong with an object as a person has written it: its field and a sentence. Unlike an admission, which drops fields
/// that the schema does not know, it tells of them. None for kinds that are not ours.
pub fn faults(kind: Kind, object: &Value) -> Vec<(String, String)> {
    let Some(schema) = SCHEMAS.get(&kind) else { return Vec::new() };
    let mut causes = Vec::new();
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    let strange = object.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str()));
    causes.extend(strange.map(|(name, _)| (name.clone(), format!("unknown field: there are {}", known.join(", ")))));
    let Some(node) = schema.properties.get("spec") else { return causes };
    let Some(spec) = object.get("spec") else {
        causes.push(("spec".into(), "is missing: add it".into()));
        return causes;
    };
    node.unknown("spec", spec, &mut causes);
    let mut complete = spec.clone();
    node.complete(&mut complete);
    validate::validate(node, &Path::Top("spec"), None, &complete, &mut causes);
    validate::rules(node, &Path::Top("spec"), None, &complete, &mut causes);
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(change: impl FnOnce(&mut Value)) -> Result<Value, Status> {
        let mut release = json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release", "metadata": {"name": "web"},
            "spec": {
                "workloads": [{"ref": {"kind": "Deployment", "name": "web"}, "service": "web"}],
                "strategy": {"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "1m"}}]}},
            },
        });
        change(&mut release);
        admit(&Key::new(Kind::Release, "shop", "web"), None, &mut release).map(|()| release)
    }

    fn refused(change: impl FnOnce(&mut Value), part: &str) {
        let status = release(change).unwrap_err();
        assert_eq!((status.code, status.reason), (422, "Invalid"));
        assert!(status.message.contains(part), "{} does not say {part}", status.message);
    }

    #[test]
    fn defaults_are_filled_in_and_unknown_fields_dropped() {
        let release = release(|release| release["spec"]["typo"] = json!(1)).unwrap();
        assert_eq!(release["spec"]["progressDeadline"], "10m");
        assert!(release["spec"].get("typo").is_none());
    }

    #[test]
    fn faults_are_refused_with_the_sentence_of_the_schema() {
        refused(|release| release["spec"]["strategy"]["canary"]["steps"] = json!([]), "spec.strategy.canary.steps");
        refused(|release| release["spec"]["strategy"]["canary"]["steps"][0]["setWeight"] = json!(101), "setWeight");
        refused(
            |release| release["spec"]["strategy"]["canary"]["steps"][0]["approval"] = json!({"name": "go"}),
            "exactly one",
        );
        refused(|release| release["spec"]["progressDeadline"] = json!("1s"), "10s");
        refused(|release| drop(release["spec"].as_object_mut().unwrap().remove("workloads")), "Required value");
    }

    #[test]
    fn a_decision_cannot_be_changed() {
        let key = Key::new(Kind::Decision, "shop", "d");
        let mut one =
            json!({"spec": {"release": "web", "revision": "r", "verdict": "Abort", "by": {"username": "olga"}}});
        admit(&key, None, &mut one).unwrap();
        let mut other = one.clone();
        admit(&key, Some(&one), &mut other).unwrap();
        other["spec"]["verdict"] = json!("Pause");
        assert!(admit(&key, Some(&one), &mut other).unwrap_err().message.contains("cannot be changed"));
    }

    #[test]
    fn every_rule_of_our_schemas_compiles() {
        let mut rules = 0;
        for node in SCHEMAS.values() {
            node.each(&mut |node| {
                for rule in &node.rules {
                    assert!(rule.compiles(), "{rule:?}");
                    rules += 1;
                }
            });
        }
        assert!(rules > 50, "{rules}");
    }
}
