//! An API server of one namespace: JSON objects with versions, and the writes of the engine as it would apply them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use lockkeeper_engine::write::{Kind, Request, Write};
use serde_json::{Map, Value, json};

/// A pod, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// UID of its ReplicaSet.
    pub owner: String,
    pub labels: Arc<Value>,
    pub image: String,
    pub created: Timestamp,
    /// Since when it is ready.
    pub ready: Option<Timestamp>,
}

/// What a gateway makes of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// The generation that it knows of.
    pub seen: i64,
    /// When it will accept, or has accepted, that generation.
    pub accepted: Timestamp,
    /// Rules by which requests may go at this moment, the latest last: data planes change over one by one.
    pub in_force: Vec<Value>,
}

/// The API server refuses a write that was decided on an older state.
#[derive(Debug, PartialEq, Eq)]
pub struct Stale;

/// All objects of a namespace, and what the controllers keep beside them. It is copied and compared before and after whatever is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub now: Timestamp,
    pub objects: BTreeMap<(Kind, String), Arc<Value>>,
    pub pods: BTreeMap<String, Pod>,
    /// Ready pods by Service, as the EndpointSlices hold them.
    pub endpoints: BTreeMap<String, Vec<String>>,
    /// Services whose EndpointSlices nobody has heard of yet.
    pub unheard: BTreeSet<String>,
    /// How long EndpointSlices take to follow pods and selectors.
    pub lag: SignedDuration,
    /// When they will have followed.
    pub following: Option<Timestamp>,
    /// Since when a Service has had a ready pod without a gap.
    pub served: BTreeMap<String, Timestamp>,
    pub gateways: BTreeMap<String, Gateway>,
    /// Whether the admission policies for hold and pin are installed.
    pub guarded: bool,
    counter: u64,
}

impl Cluster {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            objects: BTreeMap::new(),
            pods: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            unheard: BTreeSet::new(),
            lag: SignedDuration::ZERO,
            following: None,
            served: BTreeMap::new(),
            gateways: BTreeMap::new(),
            guarded: true,
            counter: 100,
        }
    }

    /// A number that was never given before.
    pub fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned())).map(Arc::as_ref)
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = (&String, &Value)> {
        self.objects.iter().filter(move |((k, _), _)| *k == kind).map(|((_, name), object)| (name, object.as_ref()))
    }

    pub fn create(&mut self, kind: Kind, mut object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if self.get(kind, &name).is_some() {
            return;
        }
        let number = self.next();
        object["metadata"]["uid"] = format!("uid-{number}").into();
        object["metadata"]["resourceVersion"] = number.to_string().into();
        object["metadata"]["generation"] = 1.into();
        object["metadata"]["creationTimestamp"] = self.now.to_string().into();
        self.objects.insert((kind, name), object.into());
    }

    /// Changes an object; its resource version and generation follow.
    pub fn update(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) -> bool {
        let key = (kind, name.to_owned());
        let Some(before) = self.objects.get(&key) else { return false };
        let mut after = Value::clone(before);
        change(&mut after);
        prune(&mut after["metadata"]);
        if after == **before {
            return false;
        }
        if after["spec"] != before["spec"] {
            after["metadata"]["generation"] = (before["metadata"]["generation"].as_i64().unwrap() + 1).into();
        }
        if before["metadata"]["deletionTimestamp"].is_string() {
            let count = |object: &Value| object["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
            assert!(count(&after) <= count(before), "the API server allows no new finalizer on what is being deleted");
        }
        let number = self.next();
        after["metadata"]["resourceVersion"] = number.to_string().into();
        let gone = after["metadata"]["deletionTimestamp"].is_string() && after["metadata"]["finalizers"].is_null();
        if gone {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, after.into());
        }
        true
    }

    /// A deletion; what has finalizers stays until they are gone.
    pub fn delete(&mut self, kind: Kind, name: &str) {
        let now = self.now.to_string();
        self.update(kind, name, |object| object["metadata"]["deletionTimestamp"] = now.into());
    }

    /// One write of the operator.
    pub fn apply(&mut self, write: &Write) -> Result<(), Stale> {
        let (kind, name) = (write.kind, write.name.as_str());
        let current = self.get(kind, name).cloned();
        let fresh = |version: &Value| match &current {
            Some(object) if object["metadata"]["resourceVersion"] == *version => Ok(()),
            Some(_) | None => Err(Stale),
        };
        match &write.request {
            Request::Create(object) => self.create(kind, object.clone()),
            Request::Merge(patch) => {
                fresh(&patch["metadata"]["resourceVersion"])?;
                self.update(kind, name, |object| merge(object, patch));
            }
            Request::Strategic(patch) => {
                fresh(&patch["metadata"]["resourceVersion"])?;
                self.update(kind, name, |object| strategic(object, patch));
            }
            Request::Json(operations) => {
                let operations = operations.as_array().unwrap();
                for operation in operations.iter().filter(|operation| operation["op"] == "test") {
                    fresh(&operation["value"])?;
                }
                self.update(kind, name, |object| {
                    for operation in operations.iter().filter(|operation| operation["op"] == "replace") {
                        let at = operation["path"].as_str().unwrap();
                        *object.pointer_mut(at).expect("the path of a replace exists") = operation["value"].clone();
                    }
                });
            }
            Request::Delete { uid, resource_version } => {
                fresh(&resource_version.as_str().into())?;
                assert_eq!(current.unwrap()["metadata"]["uid"], uid.as_str());
                self.delete(kind, name);
            }
        }
        Ok(())
    }
}

/// Empty maps and lists in metadata are not kept.
fn prune(metadata: &mut Value) {
    for key in ["labels", "annotations", "ownerReferences", "finalizers"] {
        let empty = match &metadata[key] {
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Null => true,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if let (true, Value::Object(map)) = (empty, &mut *metadata) {
            map.remove(key);
        }
    }
}

/// A merge patch (RFC 7396), but for the resource version, which is a condition.
fn merge(target: &mut Value, patch: &Value) {
    patch_with(target, patch, |target, patch, _| *target = patch.clone());
}

/// A strategic merge patch, as far as Deployments need it: containers are found by name.
fn strategic(target: &mut Value, patch: &Value) {
    patch_with(target, patch, |target, patch, key| {
        if !matches!(key, "containers" | "initContainers") {
            *target = patch.clone();
            return;
        }
        for item in patch.as_array().unwrap() {
            let list = target.as_array_mut().expect("containers are a list");
            let same = list.iter_mut().find(|other| other["name"] == item["name"]).expect("the container exists");
            strategic(same, item);
        }
    });
}

fn patch_with(target: &mut Value, patch: &Value, leaf: impl Fn(&mut Value, &Value, &str) + Copy) {
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch.as_object().unwrap() {
        match value {
            _ if key == "resourceVersion" => {}
            Value::Null => {
                target.as_object_mut().unwrap().remove(key);
            }
            Value::Object(_) => patch_with(&mut target[key], value, leaf),
            Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                leaf(&mut target[key], value, key)
            }
        }
    }
}

/// Whether labels hold all of a selector's.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().cloned().unwrap_or_else(Map::new);
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
}

/// Whether an object refers to this owner, as its controller or only as an owner.
pub fn owned(object: &Value, uid: &str, controller: bool) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.into_iter().any(|owner| owner["uid"] == uid && (owner["controller"] == true || !controller))
}

/// A number of a spec or status.
pub fn number(value: &Value) -> u32 {
    value.as_u64().unwrap_or_default() as u32
}
