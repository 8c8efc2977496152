//! Writes as data: the operator's `act` sends them, tests and the simulator read them.

use lockkeeper_api::names::{
    BORROWED, FIELD_MANAGER, FINALIZER, HOLD, PAUSED_BY, PIN, POD_TEMPLATE_HASH, RELEASE, ROLE,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::world::{DeploymentView, ReplicaSetView, Role, RouteView, SavedTemplate, ServiceView};

/// Kinds of object that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `lockkeeper.dev/v1alpha1`
    Release,
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    ReplicaSet,
    /// `apps/v1`
    ControllerRevision,
    /// `v1`
    Service,
    /// `gateway.networking.k8s.io/v1`
    HTTPRoute,
}

/// How an object is written. Every write but Create carries the resource version that it was decided on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// A new object; that it exists already is no error, because its name says what it is.
    Create(Value),
    /// A merge patch.
    Merge(Value),
    /// A strategic merge patch, which finds list items by their key.
    Strategic(Value),
    /// A JSON patch.
    Json(Value),
    /// A deletion, of this very object as it was seen.
    Delete {
        /// UID.
        uid: String,
        /// Resource version.
        resource_version: String,
    },
}

/// One write to an object in the Release's namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Write {
    /// Kind of the object.
    pub kind: Kind,
    /// Name of the object.
    pub name: String,
    /// What is sent.
    pub request: Request,
    /// What it is for, in a few words.
    pub purpose: String,
    /// Other objects without which as they were seen it would do harm: who has traffic, where capacity goes. The request is guarded by
    /// the version of the object that it changes, and not by theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<Seen>,
}

/// An object as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: String,
    /// Resource version; none if there was no such object.
    pub resource_version: Option<String>,
}

impl Seen {
    /// A Service as it was seen.
    pub fn service(seen: &ServiceView) -> Self {
        Self::new(Kind::Service, &seen.name, &seen.resource_version)
    }

    /// A route as it was seen.
    pub fn route(seen: &RouteView) -> Self {
        Self::new(Kind::HTTPRoute, &seen.name, &seen.resource_version)
    }

    /// A ReplicaSet as it was seen.
    pub fn replica_set(seen: &ReplicaSetView) -> Self {
        Self::new(Kind::ReplicaSet, &seen.name, &seen.resource_version)
    }

    /// A Deployment as it was seen.
    pub fn deployment(seen: &DeploymentView) -> Self {
        Self::new(Kind::Deployment, &seen.name, &seen.resource_version)
    }

    /// That there was no such object.
    pub fn absent(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), resource_version: None }
    }

    fn new(kind: Kind, name: &str, resource_version: &str) -> Self {
        Self { kind, name: name.into(), resource_version: Some(resource_version.into()) }
    }
}

impl Write {
    fn new(kind: Kind, name: &str, request: Request, purpose: impl Into<String>) -> Self {
        Self { kind, name: name.into(), request, purpose: purpose.into(), rests_on: Vec::new() }
    }

    /// The same write, which rests on these objects, too.
    pub fn resting_on(mut self, rests_on: impl IntoIterator<Item = Seen>) -> Self {
        self.rests_on.extend(rests_on);
        self
    }
}

/// A merge patch of metadata and other fields that carries the resource version.
fn merge(resource_version: &str, metadata: Value, rest: Value) -> Request {
    let mut patch = rest;
    let mut metadata = metadata;
    metadata["resourceVersion"] = resource_version.into();
    patch["metadata"] = metadata;
    Request::Merge(patch)
}

/// Adds the finalizer to the finalizers that the Release has.
pub fn add_finalizer(release: &str, resource_version: &str, present: &[String]) -> Write {
    let all: Vec<_> = present.iter().map(String::as_str).chain([FINALIZER]).collect();
    Write::new(Kind::Release, release, merge(resource_version, json!({"finalizers": all}), json!({})), "add finalizer")
}

/// Takes the finalizer from the Release.
pub fn remove_finalizer(release: &str, resource_version: &str, present: &[String]) -> Write {
    let rest: Vec<_> = present.iter().filter(|name| *name != FINALIZER).collect();
    Write::new(
        Kind::Release,
        release,
        merge(resource_version, json!({"finalizers": rest}), json!({})),
        "remove finalizer",
    )
}

/// The Deployment's part of a release: what it should be.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct DeploymentGoal {
    /// The hold annotation, or none.
    pub hold: Option<String>,
    /// Whether we pause it; none leaves it as it is.
    pub paused: Option<bool>,
    /// Whether the Release is done with it: our annotations go.
    pub leave: bool,
    /// Images to set, where the Release carries the version and the template differs.
    pub images: Option<Vec<ContainerImage>>,
}

/// The image of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerImage {
    /// Name of the container.
    pub container: String,
    /// Its image.
    pub image: String,
    /// Whether it is an init container.
    pub init: bool,
}

/// Writes the difference between a Deployment and its goal in one request, or nothing.
pub fn deployment(release: &str, seen: &DeploymentView, goal: &DeploymentGoal) -> Option<Write> {
    let mut annotations = Map::new();
    if goal.leave {
        annotations.extend(seen.marks.keys().map(|key| (key.clone(), Value::Null)));
    } else if seen.marks.get(RELEASE).map(String::as_str) != Some(release) {
        annotations.insert(RELEASE.into(), release.into());
    }
    if seen.marks.get(HOLD) != goal.hold.as_ref() {
        annotations.insert(HOLD.into(), goal.hold.clone().map_or(Value::Null, Value::from));
    }
    let mut spec = Map::new();
    match goal.paused {
        Some(true) if !seen.paused => {
            spec.insert("paused".into(), true.into());
            annotations.insert(PAUSED_BY.into(), FIELD_MANAGER.into());
        }
        // What a person has paused, a person resumes.
        Some(false) if seen.marks.contains_key(PAUSED_BY) => {
            annotations.insert(PAUSED_BY.into(), Value::Null);
            if seen.paused {
                spec.insert("paused".into(), Value::Null);
            }
        }
        Some(_) | None => {}
    }
    let purpose = match (&goal.images, &goal.paused) {
        (Some(_), _) => "set images",
        (None, Some(false)) => "give back",
        (None, Some(true) | None) => "hold",
    };
    let mut pod = Map::new();
    for image in goal.images.iter().flatten() {
        let list = if image.init { "initContainers" } else { "containers" };
        let containers = pod.entry(list).or_insert_with(|| json!([]));
        if let Value::Array(containers) = containers {
            containers.push(json!({"name": image.container, "image": image.image}));
        }
    }
    if !pod.is_empty() {
        spec.insert("template".into(), json!({"spec": pod}));
    }
    if annotations.is_empty() && spec.is_empty() {
        return None;
    }
    let mut patch = json!({"metadata": {"resourceVersion": seen.resource_version, "annotations": annotations}});
    if !spec.is_empty() {
        patch["spec"] = spec.into();
    }
    Some(Write::new(Kind::Deployment, &seen.name, Request::Strategic(patch), purpose))
}

fn owner(deployment: &DeploymentView, controller: bool) -> Value {
    json!([{
        "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name, "uid": deployment.uid,
        "controller": controller, "blockOwnerDeletion": controller,
    }])
}

/// Saves the stable template, so that a stable ReplicaSet that somebody deletes can be made again.
pub fn save_template(release: &str, deployment: &DeploymentView, hash: &str, template: &Value) -> Write {
    let name = saved_name(&deployment.name, hash);
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "labels": {RELEASE: release, POD_TEMPLATE_HASH: hash},
            "ownerReferences": owner(deployment, false),
        },
        "revision": 1,
        "data": {"template": template},
    });
    Write::new(Kind::ControllerRevision, &name, Request::Create(object), "save stable template")
}

/// Name of the ControllerRevision that holds a Deployment's stable template.
pub fn saved_name(deployment: &str, hash: &str) -> String {
    format!("{deployment}-{hash}-stable")
}

/// Deletes a saved template.
pub fn delete_saved(saved: &SavedTemplate) -> Write {
    let request = Request::Delete { uid: saved.uid.clone(), resource_version: saved.resource_version.clone() };
    Write::new(Kind::ControllerRevision, &saved.name, request, "delete saved template")
}

/// A ReplicaSet object of this template that the Deployment ignores (`role`) or controls.
pub fn create_replica_set(
    release: &str,
    deployment: &DeploymentView,
    hash: &str,
    mut template: Value,
    replicas: u32,
    role: Option<Role>,
) -> Write {
    template["metadata"]["labels"][POD_TEMPLATE_HASH] = hash.into();
    let mut selector = deployment.selector.value();
    selector["matchLabels"][POD_TEMPLATE_HASH] = hash.into();
    let labels = match role {
        Some(role) => json!({RELEASE: release, ROLE: role.as_str()}),
        None => template["metadata"]["labels"].clone(),
    };
    let name = format!("{}-{hash}", deployment.name);
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "labels": labels, "ownerReferences": owner(deployment, role.is_none())},
        "spec": {
            "replicas": replicas, "minReadySeconds": deployment.min_ready_seconds,
            "selector": selector, "template": template,
        },
    });
    Write::new(
        Kind::ReplicaSet,
        &name,
        Request::Create(object),
        if role.is_some() { "create candidate" } else { "recreate stable" },
    )
}

/// Scales a ReplicaSet.
pub fn scale(seen: &ReplicaSetView, replicas: u32) -> Write {
    let request = merge(&seen.resource_version, json!({}), json!({"spec": {"replicas": replicas}}));
    Write::new(Kind::ReplicaSet, &seen.name, request, format!("scale to {replicas}"))
}

/// Takes a ReplicaSet from its Deployment: labels off and a reference of ours in, in one patch, because the Deployment
/// controller's own release would remove the reference.
pub fn detach(release: &str, deployment: &DeploymentView, seen: &ReplicaSetView, role: Role) -> Write {
    let mut labels = Map::new();
    for key in selector_keys(&deployment.selector.value()) {
        if seen.labels.contains_key(&key) {
            labels.insert(key, Value::Null);
        }
    }
    labels.insert(RELEASE.into(), release.into());
    labels.insert(ROLE.into(), role.as_str().into());
    let mut metadata = json!({"labels": labels, "ownerReferences": owner(deployment, false)});
    // What runs already was never stable: a resumed Deployment has started it.
    if role == Role::Candidate && seen.replicas == 0 {
        metadata["annotations"] = json!({BORROWED: "true"});
    }
    let request = merge(&seen.resource_version, metadata, json!({}));
    Write::new(Kind::ReplicaSet, &seen.name, request, format!("detach as {}", role.as_str()))
}

/// Gives a ReplicaSet to its Deployment; `replicas` scales it in the same patch.
pub fn attach(deployment: &DeploymentView, seen: &ReplicaSetView, replicas: Option<u32>) -> Write {
    let mut labels = Map::new();
    for (key, value) in &seen.template_labels {
        labels.insert(key.clone(), value.clone().into());
    }
    labels.insert(RELEASE.into(), Value::Null);
    labels.insert(ROLE.into(), Value::Null);
    let mut metadata = json!({"labels": labels, "ownerReferences": owner(deployment, true)});
    if seen.borrowed {
        metadata["annotations"] = json!({BORROWED: null});
    }
    let rest = replicas.map_or_else(|| json!({}), |replicas| json!({"spec": {"replicas": replicas}}));
    Write::new(Kind::ReplicaSet, &seen.name, merge(&seen.resource_version, metadata, rest), "give to the Deployment")
}

/// Deletes a ReplicaSet.
pub fn delete_replica_set(seen: &ReplicaSetView) -> Write {
    let request = Request::Delete { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
    Write::new(Kind::ReplicaSet, &seen.name, request, "delete candidate")
}

/// Pins a Service to one version. A merge patch: a forced apply would replace the whole selector.
pub fn pin(seen: &ServiceView, hash: &str) -> Write {
    let request = merge(
        &seen.resource_version,
        json!({"annotations": {PIN: hash}}),
        json!({"spec": {"selector": {POD_TEMPLATE_HASH: hash}}}),
    );
    Write::new(Kind::Service, &seen.name, request, format!("pin to {hash}"))
}

/// Gives a Service its own selector back.
pub fn unpin(seen: &ServiceView) -> Write {
    let mut patch = json!({});
    if seen.selector.contains_key(POD_TEMPLATE_HASH) {
        patch = json!({"spec": {"selector": {POD_TEMPLATE_HASH: null}}});
    }
    Write::new(
        Kind::Service,
        &seen.name,
        merge(&seen.resource_version, json!({"annotations": {PIN: null}}), patch),
        "unpin",
    )
}

/// The Service for the candidate: the stable one's selector and ports, one version only. It belongs to the Deployment,
/// so that it goes with it.
pub fn create_canary_service(
    release: &str,
    deployment: &DeploymentView,
    stable: &ServiceView,
    name: &str,
    hash: &str,
) -> Write {
    let mut selector = stable.selector.clone();
    selector.insert(POD_TEMPLATE_HASH.into(), hash.into());
    let mut ports = stable.ports.value();
    for port in ports.as_array_mut().into_iter().flatten() {
        if let Value::Object(port) = port {
            port.remove("nodePort");
        }
    }
    let mut spec = json!({"selector": selector, "ports": ports});
    if stable.headless {
        spec["clusterIP"] = "None".into();
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "labels": {RELEASE: release}, "ownerReferences": owner(deployment, false)},
        "spec": spec,
    });
    Write::new(Kind::Service, name, Request::Create(object), "create canary Service")
}

/// Lets the canary Service select another version; only while it carries no weight.
pub fn aim_canary_service(seen: &ServiceView, hash: &str) -> Write {
    let request = merge(&seen.resource_version, json!({}), json!({"spec": {"selector": {POD_TEMPLATE_HASH: hash}}}));
    Write::new(Kind::Service, &seen.name, request, format!("aim at {hash}"))
}

/// Deletes the canary Service.
pub fn delete_service(seen: &ServiceView) -> Write {
    let request = Request::Delete { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
    Write::new(Kind::Service, &seen.name, request, "delete canary Service")
}

/// Replaces the backends of some rules of a route.
pub fn route(seen: &RouteView, rules: &[(usize, Value)], purpose: String) -> Write {
    let mut operations =
        vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": seen.resource_version})];
    for (index, backends) in rules {
        operations
            .push(json!({"op": "replace", "path": format!("/spec/rules/{index}/backendRefs"), "value": backends}));
    }
    Write::new(Kind::HTTPRoute, &seen.name, Request::Json(operations.into()), purpose)
}

/// The label keys that a selector looks at.
fn selector_keys(selector: &Value) -> Vec<String> {
    let labels = selector["matchLabels"].as_object().into_iter().flat_map(|labels| labels.keys().cloned());
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    labels.chain(expressions.filter_map(|e| e["key"].as_str().map(String::from))).collect()
}
