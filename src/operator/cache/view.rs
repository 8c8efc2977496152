//! From objects as the API server sends them to what is kept of them.
//!
//! Ten thousand Releases fit into little memory because of this page: templates are kept as compact text, and only where they can be needed.

use std::{collections::BTreeMap, marker::PhantomData};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference};
use kube::api::DynamicObject;
use lockkeeper_api::names::{BORROWED, FIELD_MANAGER, PIN, POD_TEMPLATE_HASH, RELEASE, ROLE};
use lockkeeper_engine::{
    contest, template_digest, version_digest,
    world::{Authorship, DeploymentView, Json, ReplicaSetView, Role, SavedTemplate, ServiceView, Template, Undone},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::store::Version;

/// Data as compact JSON text; as a tree it would take ten times the memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Compact<T = Value>(Box<str>, PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned + Default> Compact<T> {
    pub(super) fn new(data: &T) -> Self {
        Self(serde_json::to_string(data).unwrap_or_default().into(), PhantomData)
    }

    /// The data.
    pub fn get(&self) -> T {
        // It was written from such data, and so can be read.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// A ReplicaSet; `view.template` and `view.controlled` are left open. Deployments have many, most of them of former versions.
#[derive(Clone, Debug)]
pub struct ReplicaSetEntry {
    /// What is kept.
    pub view: Kept,
    /// Name of the Deployment that it refers to as owner.
    pub deployment: Option<String>,
    /// UID of that Deployment.
    pub deployment_uid: Option<String>,
    /// Whether that reference is the controller's.
    pub controlled: bool,
    /// The Release whose label it carries.
    pub release: Option<String>,
    /// The template, if it has replicas or is ours.
    pub template: Option<Template>,
}

/// What is kept of a ReplicaSet.
#[derive(Clone, Debug)]
pub enum Kept {
    /// The view itself, of one that has replicas or is ours: every look at its Release reads it.
    Whole(Box<ReplicaSetView>),
    /// Of a former version.
    Compact(Compact<ReplicaSetView>),
}

impl Kept {
    /// The view.
    pub fn get(&self) -> ReplicaSetView {
        match self {
            Self::Whole(view) => (**view).clone(),
            Self::Compact(view) => view.get(),
        }
    }
}

/// A saved template.
#[derive(Clone, Debug)]
pub struct SavedEntry {
    /// What is kept.
    pub view: SavedTemplate,
    /// Name of the Deployment.
    pub deployment: Option<String>,
}

/// The ready pods of one EndpointSlice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceEntry {
    /// Name of the Service.
    pub service: Option<String>,
    /// UID of the Service that it was made for; none if it was made by hand, or mirrored.
    pub service_uid: Option<String>,
    /// Names of the ready pods.
    pub ready: Vec<String>,
    /// Since when there has been, without a gap, a ready pod.
    pub since: Option<Timestamp>,
}

/// UID and resource version.
pub fn version(metadata: &ObjectMeta) -> Version {
    Version {
        uid: metadata.uid.clone().unwrap_or_default(),
        number: metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default(),
    }
}

/// A Deployment as seen at `now`; `before` is how it was.
pub fn deployment(object: &DynamicObject, before: Option<&DeploymentView>, now: Timestamp) -> DeploymentView {
    let (metadata, data) = (&object.metadata, &object.data);
    let (spec, status) = (&data["spec"], &data["status"]);
    let template = &spec["template"];
    let marks = metadata.annotations.iter().flatten().filter(|(key, _)| key.starts_with("lockkeeper.dev/"));
    // Most changes are of the status, and digests are the dearest part of all this.
    let held = Template::from(template);
    let same = before.filter(|before| before.template == held);
    DeploymentView {
        name: text(&metadata.name),
        uid: text(&metadata.uid),
        resource_version: text(&metadata.resource_version),
        current: is_current(metadata, status),
        deleting: metadata.deletion_timestamp.is_some(),
        replicas: number(&spec["replicas"]).unwrap_or(1),
        paused: spec["paused"].as_bool().unwrap_or_default(),
        recreate: spec["strategy"]["type"] == "Recreate",
        min_ready_seconds: number(&spec["minReadySeconds"]).unwrap_or_default(),
        marks: marks.map(|(key, value)| (key.clone(), value.clone())).collect(),
        selector: Json::from(&spec["selector"]),
        digest: same.map_or_else(|| template_digest(template), |same| same.digest.clone()),
        template: same.map_or(held, |same| same.template.clone()),
        status_replicas: number(&status["replicas"]).unwrap_or_default(),
        updated: number(&status["updatedReplicas"]).unwrap_or_default(),
        available: number(&status["availableReplicas"]).unwrap_or_default(),
        overdue: is_overdue(status),
        authorship: authorship(metadata, "/f:spec/f:template", before.map(|b| &b.authorship), now),
    }
}

/// A ReplicaSet; `before` is how it was.
pub fn replica_set(object: &DynamicObject, before: Option<&ReplicaSetEntry>) -> ReplicaSetEntry {
    let (metadata, data) = (&object.metadata, &object.data);
    let (spec, status) = (&data["spec"], &data["status"]);
    let template = &spec["template"];
    let replicas = number(&spec["replicas"]).unwrap_or(1);
    let counted = number(&status["replicas"]).unwrap_or_default();
    let labels = metadata.labels.clone().unwrap_or_default();
    let owner = owning_deployment(metadata);
    let role = labels.get(ROLE).and_then(|role| Role::parse(role));
    let held = Template::from(template);
    let same = before.filter(|before| before.template.as_ref() == Some(&held)).map(|before| before.view.get());
    let (digest, version) = match same {
        Some(same) => (same.digest, same.version),
        None => (template_digest(template), version_digest(template)),
    };
    let live = replicas > 0 || role.is_some();
    let view = ReplicaSetView {
        name: text(&metadata.name),
        uid: text(&metadata.uid),
        resource_version: text(&metadata.resource_version),
        deleting: metadata.deletion_timestamp.is_some(),
        controlled: false,
        role,
        borrowed: metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(BORROWED)),
        hash: spec["selector"]["matchLabels"][POD_TEMPLATE_HASH].as_str().unwrap_or_default().into(),
        labels,
        template_labels: strings(&template["metadata"]["labels"]),
        digest,
        version,
        images: images(&template["spec"]),
        template: None,
        replicas,
        existing: if is_current(metadata, status) { counted } else { counted.max(replicas) },
        available: number(&status["availableReplicas"]).unwrap_or_default(),
        created: metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    };
    ReplicaSetEntry {
        deployment: owner.map(|owner| owner.name.clone()),
        deployment_uid: owner.map(|owner| owner.uid.clone()),
        controlled: owner.is_some_and(|owner| owner.controller == Some(true)),
        release: view.labels.get(RELEASE).cloned(),
        template: live.then_some(held),
        view: if live { Kept::Whole(Box::new(view)) } else { Kept::Compact(Compact::new(&view)) },
    }
}

/// A ControllerRevision.
pub fn saved(object: &DynamicObject) -> SavedEntry {
    let metadata = &object.metadata;
    let hash = metadata.labels.as_ref().and_then(|labels| labels.get(POD_TEMPLATE_HASH)).cloned();
    SavedEntry {
        deployment: owning_deployment(metadata).map(|owner| owner.name.clone()),
        view: SavedTemplate {
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            resource_version: text(&metadata.resource_version),
            hash: hash.unwrap_or_default(),
            template: Template::from(&object.data["data"]["template"]),
        },
    }
}

/// A Service as seen at `now`, without its endpoints; `before` is how it was.
pub fn service(object: &DynamicObject, before: Option<&ServiceView>, now: Timestamp) -> ServiceView {
    let (metadata, spec) = (&object.metadata, &object.data["spec"]);
    ServiceView {
        name: text(&metadata.name),
        uid: text(&metadata.uid),
        resource_version: text(&metadata.resource_version),
        deleting: metadata.deletion_timestamp.is_some(),
        ours: metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(RELEASE)),
        selector: strings(&spec["selector"]),
        pin: metadata.annotations.as_ref().and_then(|annotations| annotations.get(PIN)).cloned(),
        ports: Json::from(&spec["ports"]),
        headless: spec["clusterIP"] == "None",
        heard: false,
        ready: Vec::new(),
        ready_since: None,
        authorship: authorship(metadata, "/f:spec/f:selector", before.map(|b| &b.authorship), now),
    }
}

/// An EndpointSlice as seen at `now`; `before` is how it was.
pub fn slice(object: &DynamicObject, before: Option<&SliceEntry>, now: Timestamp) -> SliceEntry {
    let ready = |endpoint: &&Value| {
        let conditions = &endpoint["conditions"];
        // Unknown is to be read as ready, says the API.
        conditions["ready"] != false && conditions["terminating"] != true
    };
    let endpoints = object.data["endpoints"].as_array().into_iter().flatten();
    let pods = endpoints.filter(ready).filter(|endpoint| endpoint["targetRef"]["kind"] == "Pod");
    let ready: Vec<String> =
        pods.filter_map(|endpoint| endpoint["targetRef"]["name"].as_str().map(String::from)).collect();
    let is_service = |owner: &&OwnerReference| owner.kind == "Service" && owner.api_version == "v1";
    let owner = object.metadata.owner_references.iter().flatten().find(is_service);
    // Others in the place of all that there were are a beginning, too.
    let lasting = before.filter(|before| before.ready.iter().any(|pod| ready.contains(pod)));
    SliceEntry {
        service: object.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name")).cloned(),
        service_uid: owner.map(|owner| owner.uid.clone()),
        since: (!ready.is_empty()).then(|| lasting.and_then(|before| before.since).unwrap_or(now)),
        ready,
    }
}

/// Who writes a field. Managers own what they wrote last, so that ours is gone when others have replaced it.
pub(super) fn authorship(
    metadata: &ObjectMeta,
    field: &str,
    before: Option<&Authorship>,
    now: Timestamp,
) -> Authorship {
    let entries = metadata.managed_fields.iter().flatten();
    let wrote = |entry: &&ManagedFieldsEntry| entry.fields_v1.as_ref().is_some_and(|f| f.0.pointer(field).is_some());
    let writers: Vec<_> = entries.filter(wrote).collect();
    let ours = writers.iter().any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    let recent = |undone: &&Undone| now.duration_since(undone.at) < contest::WINDOW;
    let mut undone: Vec<_> = before.into_iter().flat_map(|b| &b.undone).filter(recent).cloned().collect();
    if !ours && before.is_some_and(|before| before.ours) {
        let last = writers.into_iter().max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
        let by = last.and_then(|entry| entry.manager.clone()).unwrap_or_else(|| "unknown".into());
        undone.push(Undone { at: now, by });
    }
    Authorship { ours, undone }
}

fn owning_deployment(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let is_deployment = |owner: &&OwnerReference| owner.kind == "Deployment" && owner.api_version.starts_with("apps/");
    metadata.owner_references.iter().flatten().find(is_deployment)
}

fn is_current(metadata: &ObjectMeta, status: &Value) -> bool {
    metadata.generation.is_none_or(|generation| status["observedGeneration"].as_i64() >= Some(generation))
}

fn is_overdue(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.filter(|c| c["type"] == "Progressing").any(|c| c["reason"] == "ProgressDeadlineExceeded")
}

fn images(pod: &Value) -> BTreeMap<String, String> {
    let lists = ["initContainers", "containers"].into_iter().filter_map(|list| pod[list].as_array());
    lists
        .flatten()
        .filter_map(|container| Some((container["name"].as_str()?.into(), container["image"].as_str()?.into())))
        .collect()
}

/// An object of texts.
fn strings(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.into()))).collect()
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

pub(super) fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}
