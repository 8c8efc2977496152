//! What scenarios begin with.

use serde_json::{Value, json};

/// The image of a version: its words say how pods behave, in both worlds.
pub fn image(version: &str) -> String {
    format!("demo:{version}")
}

/// A Deployment `web`.
pub fn deployment(version: &str, replicas: u32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": image(version), "ports": [{"containerPort": 8080}]}]},
            },
        },
    })
}

/// A patch of the template's image.
pub fn version(version: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image(version)}]}}}})
}

/// A Service of this name before all pods of `web`.
pub fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

/// Where requests to the route of this name go; no two scenarios have one host.
pub fn host(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.example.com")
}

/// A route of this name to the Service of that name.
pub fn route(name: &str, namespace: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": "gw", "namespace": "gateway"}],
            "hostnames": [host(name, namespace)],
            "rules": [{"backendRefs": [{"name": name, "port": 80}]}],
        },
    })
}

/// A Release of `web` with these steps.
pub fn release(steps: Value) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "workloads": [{"ref": {"kind": "Deployment", "name": "web"}, "service": "web", "routes": [{"kind": "HTTPRoute", "name": "web"}]}],
            "strategy": {"canary": {"steps": steps}},
        },
    })
}

/// The object with this value at a place whose parent may be missing.
pub fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let mut place = &mut object;
    for part in pointer.split('/').skip(1) {
        place = match part.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[part],
        };
    }
    *place = value;
    object
}
