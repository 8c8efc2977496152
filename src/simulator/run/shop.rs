//! An application as its users write it: a Deployment, its Service and route, and a Release.

use serde_json::{Value, json};

use crate::api::{Key, Kind};

/// Its namespace.
pub const NAMESPACE: &str = "shop";
/// Its name, which all of its objects have.
pub const NAME: &str = "web";

/// The image of a version.
pub fn image(tag: &str) -> String {
    format!("registry.example.com/{NAME}:{tag}")
}

/// The object of this kind.
pub fn key(kind: Kind) -> Key {
    Key::new(kind, NAMESPACE, NAME)
}

fn metadata() -> Value {
    json!({"name": NAME, "namespace": NAMESPACE})
}

/// The Deployment.
pub fn deployment(tag: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {"containers": [{"name": "app", "image": image(tag), "ports": [{"containerPort": 8080}]}]},
            },
        },
    })
}

/// A ReplicaSet of an earlier version, which the Deployment's controller takes into the history.
pub fn history(tag: &str) -> Value {
    let labels = json!({"app": NAME, "pod-template-hash": "5d8f7c9b6d"});
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{NAME}-5d8f7c9b6d"), "namespace": NAMESPACE, "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": deployment(tag, 0)["spec"]["template"]["spec"]},
        },
    })
}

/// The Service.
pub fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(),
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": 8080}], "clusterIP": "10.0.0.1"},
    })
}

/// The route.
pub fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata(),
        "spec": {
            "parentRefs": [{"name": "gw", "namespace": "gateway"}],
            "rules": [{"backendRefs": [{"name": NAME, "port": 80}]}],
        },
    })
}

/// A policy that asks for the part of the requests that fail.
pub fn policy() -> Value {
    json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": "slo", "namespace": NAMESPACE},
        "spec": {"checks": [
            {"name": "errors", "query": "errors{pod=~\"{{ candidate.pods }}\"}", "max": 0.01, "interval": "10s", "failureLimit": 1},
        ]},
    })
}

/// The Release, whose version the Deployment carries.
pub fn release(steps: Value) -> Value {
    json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release", "metadata": metadata(),
        "spec": {
            "workloads": [{"ref": {"kind": "Deployment", "name": NAME}, "service": NAME, "routes": [{"kind": "HTTPRoute", "name": NAME}]}],
            "strategy": {"canary": {"steps": steps}},
            "rollbackPolicy": "slo",
        },
    })
}

/// The same object of another application: wherever this one's name stands, that one's does.
pub fn renamed(object: &Value, to: &str) -> Value {
    match object {
        Value::String(text) if text == NAME => to.into(),
        Value::String(text) => text.replace(&format!("/{NAME}:"), &format!("/{to}:")).into(),
        Value::Array(all) => all.iter().map(|part| renamed(part, to)).collect(),
        Value::Object(all) => all.iter().map(|(key, part)| (key.clone(), renamed(part, to))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => object.clone(),
    }
}
