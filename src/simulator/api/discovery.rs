//! What else a client may ask at its start: which kinds there are, and who it is.

use serde_json::{Value, json};

use super::{Kind, User};

/// The answer to a request that is not about objects, if it is one of those.
pub fn answer(path: &str, user: &User, hidden: &[Kind]) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["version"] => {
            Some(json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64"}))
        }
        ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => Some(json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
            "status": {"userInfo": {"username": user.name, "groups": user.groups}},
        })),
        ["api", version] => resources("", version, hidden),
        ["apis", group, version] => resources(group, version, hidden),
        _ => None,
    }
}

fn resources(group: &str, version: &str, hidden: &[Kind]) -> Option<Value> {
    let kinds = Kind::ALL.into_iter().filter(|kind| !hidden.contains(kind)).map(Kind::served);
    let resources: Vec<Value> = kinds
        .filter(|served| served.group == group && served.version == version)
        .map(|served| {
            json!({"name": served.plural, "singularName": served.kind.to_lowercase(), "namespaced": served.namespaced,
                "kind": served.kind, "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]})
        })
        .collect();
    let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources});
    (!resources.is_empty()).then_some(list)
}
