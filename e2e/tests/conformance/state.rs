//! The state of a namespace as lines that can be compared between worlds: what has to be equal, and nothing else.

mod exclusion;

use std::collections::BTreeMap;

use lockkeeper_simulator::api::Kind;
use lockkeeper_simulator::api::object::{deleting, list, name, text};
use serde_json::{Value, json};

use super::names::Names;
use exclusion::{UNDER_WAY, excluded};

/// What is told of something: by name, in the order of the names.
pub type Facts = BTreeMap<String, String>;

/// The state of a namespace, of all its objects.
pub fn of(objects: &[(Kind, Value)], names: &mut Names) -> Facts {
    names.learn(objects);
    let mut facts = Facts::new();
    for (kind, object) in objects.iter().filter(|(kind, object)| !mirrored(*kind, object)) {
        match kind {
            Kind::Pod => count(&mut facts, pod(object, objects)),
            Kind::EndpointSlice => slice(&mut facts, object, objects),
            Kind::Release => {
                flatten(&mut facts, *kind, &with_status(object, release_status(&object["status"])), objects)
            }
            // The real cluster's operator looks at these in every namespace; the model's is there only where it is asked for.
            Kind::DeploymentWindow | Kind::RollbackPolicy => {
                flatten(&mut facts, *kind, &with_status(object, Value::Null), objects);
            }
            Kind::Namespace
            | Kind::Deployment
            | Kind::ReplicaSet
            | Kind::ControllerRevision
            | Kind::Service
            | Kind::HTTPRoute
            | Kind::Decision
            | Kind::Lease
            | Kind::ValidatingAdmissionPolicy
            | Kind::ValidatingAdmissionPolicyBinding
            | Kind::MutatingAdmissionPolicy
            | Kind::MutatingAdmissionPolicyBinding => flatten(&mut facts, *kind, object, objects),
        }
    }
    facts.into_iter().map(|(path, value)| (names.plain(&path), names.plain(&value))).collect()
}

/// Slices of Services without a selector are copied from old `Endpoints` objects, which the model has not.
fn mirrored(kind: Kind, object: &Value) -> bool {
    let manager = &object["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
    kind == Kind::EndpointSlice && *manager == "endpointslicemirroring-controller.k8s.io"
}

/// Which of the words for a rollout that is under way stays, where nothing gets on, depends on which status the controller has seen before.
fn under_way(deployment: &Value) -> bool {
    list(&deployment["status"]["conditions"]).iter().any(|condition| UNDER_WAY.contains(&text(&condition["reason"])))
}

fn with_status(object: &Value, status: Value) -> Value {
    let mut object = object.clone();
    object["status"] = status;
    object
}

/// Sentences have times and numbers of their own; what they say is in the rest.
fn release_status(status: &Value) -> Value {
    let conditions: Vec<Value> = list(&status["conditions"])
        .iter()
        .map(|condition| json!({"type": condition["type"], "status": condition["status"], "reason": condition["reason"]}))
        .collect();
    let gates: Vec<Value> = list(&status["gates"])
        .iter()
        .map(|gate| json!({"name": gate["name"], "state": gate["state"], "reason": gate["reason"]}))
        .collect();
    json!({
        "observedGeneration": status["observedGeneration"], "phase": status["phase"], "version": status["version"],
        "conditions": conditions, "gates": gates, "weight": status["weight"],
        "stable": status["stable"]["version"], "candidate": status["candidate"]["version"],
        "previous": status["previous"]["version"], "step": status["step"]["index"],
        "goingBack": status["goingBack"]["cause"], "blocked": list(&status["blocked"]).len(),
        "decisions": list(&status["decisions"]).len(), "hold": status["hold"]["reason"],
    })
}

/// Pods have random names: those that are alike are counted.
fn count(facts: &mut Facts, pod: String) {
    let count = facts.get(&pod).and_then(|count| count.parse::<u32>().ok()).unwrap_or_default() + 1;
    facts.insert(pod, count.to_string());
}

/// What of a pod both worlds have: the rest is the scheduler's, the kubelet's and the network's.
fn pod(pod: &Value, objects: &[(Kind, Value)]) -> String {
    let status = &pod["status"];
    let condition = |kind: &str| {
        let found = list(&status["conditions"]).iter().find(|condition| condition["type"] == kind);
        found.map_or("none", |found| text(&found["status"])).to_owned()
    };
    let containers: Vec<String> = list(&status["containerStatuses"])
        .iter()
        .map(|container| {
            let state = container["state"].as_object().and_then(|state| state.iter().next());
            let state = state.map_or(String::new(), |(name, state)| format!("{name} {}", text(&state["reason"])));
            // How often it has crashed depends on when one looks.
            let crashed = container["restartCount"].as_i64().unwrap_or_default() > 0;
            format!("{} {} {} crashed={crashed}", text(&container["name"]), text(&container["image"]), state.trim())
        })
        .collect();
    let owners: Vec<String> =
        list(&pod["metadata"]["ownerReferences"]).iter().map(|owner| owner_of(owner, objects)).collect();
    format!(
        "pods of {}: labels {} annotations {} {} ready={} {containers:?}{}",
        owners.join(", "),
        pod["metadata"]["labels"],
        pod["metadata"]["annotations"],
        text(&status["phase"]),
        condition("Ready"),
        if deleting(pod) { " deleting" } else { "" },
    )
}

/// Slices have random names, and how endpoints are spread over them is not laid down: those of a Service are counted together.
fn slice(facts: &mut Facts, slice: &Value, objects: &[(Kind, Value)]) {
    let service = text(&slice["metadata"]["labels"]["kubernetes.io/service-name"]);
    for port in list(&slice["ports"]) {
        let shown = format!("{}/{}", port["port"], text(&port["protocol"]));
        facts.insert(format!("endpoints of {service}: port {:?}", text(&port["name"])), shown);
    }
    for endpoint in list(&slice["endpoints"]) {
        let pod = objects
            .iter()
            .find(|(kind, object)| *kind == Kind::Pod && object["metadata"]["uid"] == endpoint["targetRef"]["uid"]);
        let owner = pod.and_then(|(_, pod)| list(&pod["metadata"]["ownerReferences"]).first());
        let of = owner.map_or_else(|| "a pod that is gone".to_owned(), |owner| owner_of(owner, objects));
        count(facts, format!("endpoints of {service}: pods of {of} {}", endpoint["conditions"]));
    }
}

/// An owner as somebody that is there, or that is gone.
fn owner_of(owner: &Value, objects: &[(Kind, Value)]) -> String {
    let there = objects.iter().any(|(_, object)| object["metadata"]["uid"] == owner["uid"]);
    let role = |field: &str| if owner[field] == true { format!(" {field}") } else { String::new() };
    let gone = if there { "" } else { " (gone)" };
    format!(
        "{} {}{}{}{gone}",
        text(&owner["kind"]),
        text(&owner["name"]),
        role("controller"),
        role("blockOwnerDeletion")
    )
}

/// One line a value.
fn flatten(facts: &mut Facts, kind: Kind, object: &Value, objects: &[(Kind, Value)]) {
    let place = format!("{}/{}", kind.served().plural, name(object));
    let metadata = &object["metadata"];
    let owners: Vec<String> = list(&metadata["ownerReferences"]).iter().map(|owner| owner_of(owner, objects)).collect();
    let kept = json!({
        "labels": metadata["labels"], "annotations": metadata["annotations"], "finalizers": metadata["finalizers"],
        "generation": metadata["generation"], "ownerReferences": owners,
        "deletionTimestamp": deleting(object).then_some("set"),
    });
    facts.insert(place.clone(), "is there".into());
    if kind == Kind::Deployment && under_way(object) {
        facts.insert(format!("{place} progress"), "is under way".into());
    }
    if kind == Kind::ReplicaSet {
        let current = object["status"]["observedGeneration"] == metadata["generation"];
        facts.insert(format!("{place} status is current"), current.to_string());
    }
    leaves(&kept, "metadata", &mut |path, value| {
        if !excluded(kind, path, value) {
            facts.insert(format!("{place} {path}"), shown(value));
        }
    });
    for (field, part) in object.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
            leaves(part, field, &mut |path, value| {
                if !excluded(kind, path, value) {
                    facts.insert(format!("{place} {path}"), shown(value));
                }
            });
        }
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Calls for every value that has no parts. Entries of lists are told by their type or name where they have one.
fn leaves(value: &Value, path: &str, tell: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Null => {}
        Value::Object(parts) => {
            for (key, part) in parts {
                leaves(part, &format!("{path}.{key}"), tell);
            }
        }
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                let told = part["type"].as_str().or_else(|| part["name"].as_str());
                let told = told.map_or_else(|| index.to_string(), str::to_owned);
                leaves(part, &format!("{path}[{told}]"), tell);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => tell(path, value),
    }
}
