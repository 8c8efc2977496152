//! Objects as JSON: one state of one, and how its parts are read.

use std::{fmt, ops::Deref, sync::OnceLock};

use hyper::body::Bytes;
use jiff::Timestamp;
use lockkeeper_api::names::POD_TEMPLATE_HASH;
use serde_json::{Map, Value};

use super::{Kind, read_time, selects_plain};

/// Where an object is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for a cluster's own objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The object of this name.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let namespace = if kind.served().namespaced { namespace.into() } else { String::new() };
        Self { kind, namespace, name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One state of an object; it never changes, so it is shared by whoever looks at it.
pub struct Object {
    value: Value,
    version: u64,
    json: OnceLock<Bytes>,
    known: OnceLock<Known>,
}

/// What is asked of an object again and again, looked up once.
struct Known {
    uid: Box<str>,
    owners: Vec<Box<str>>,
    /// Whether one of the owners is its controller, and the UID of that one.
    controlled: bool,
    controller: Option<Box<str>>,
    deleting: bool,
    /// The label by which the pods of a version are told from others.
    hash: Option<Box<str>>,
    ready: bool,
    ready_since: Option<Timestamp>,
}

impl Known {
    fn of(object: &Value) -> Self {
        let owners = list(&object["metadata"]["ownerReferences"]);
        let (controller, ready) = (controller(object), ready(object));
        Self {
            uid: uid(object).into(),
            owners: owners.iter().map(|owner| text(&owner["uid"]).into()).collect(),
            controlled: controller.is_some(),
            controller: controller.and_then(|owner| owner["uid"].as_str()).map(Box::from),
            deleting: deleting(object),
            hash: object["metadata"]["labels"][POD_TEMPLATE_HASH].as_str().map(Box::from),
            ready: ready.is_some(),
            ready_since: ready.and_then(|ready| read_time(&ready["lastTransitionTime"])),
        }
    }
}

impl Object {
    pub(super) fn new(value: Value, version: u64) -> Self {
        Self { value, version, json: OnceLock::new(), known: OnceLock::new() }
    }

    /// The object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its resource version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// As it is sent; made once.
    pub fn json(&self) -> Bytes {
        // Its `Display` writes the same in many small pieces.
        self.json.get_or_init(|| serde_json::to_vec(&self.value).unwrap_or_default().into()).clone()
    }

    fn known(&self) -> &Known {
        self.known.get_or_init(|| Known::of(&self.value))
    }

    /// The UID.
    pub fn uid(&self) -> &str {
        &self.known().uid
    }

    /// UIDs of its owners.
    pub fn owners(&self) -> impl ExactSizeIterator<Item = &str> {
        self.known().owners.iter().map(|uid| &**uid)
    }

    /// Whether this is the controller of it.
    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.known().controller.as_deref() == Some(uid)
    }

    /// Whether it has a controller.
    pub fn has_controller(&self) -> bool {
        self.known().controlled
    }

    /// Whether it is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.known().deleting
    }

    /// The version of a pod, as its label says.
    pub fn hash(&self) -> Option<&str> {
        self.known().hash.as_deref()
    }

    /// Whether a Service's selector selects this pod.
    pub fn is_selected_by(&self, selector: &Value) -> bool {
        // Mostly the version tells, which is known.
        let version = selector[POD_TEMPLATE_HASH].as_str();
        version.is_none_or(|version| self.hash() == Some(version))
            && selects_plain(selector, &self["metadata"]["labels"])
    }

    /// Whether it is a pod that is ready.
    pub fn is_ready(&self) -> bool {
        self.known().ready
    }

    /// Since when it is a pod that is ready, if it is.
    pub fn ready_since(&self) -> Option<Timestamp> {
        self.known().ready_since
    }
}

impl Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// A text, or an empty one.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The name.
pub fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

/// The namespace.
pub fn namespace(object: &Value) -> &str {
    text(&object["metadata"]["namespace"])
}

/// The UID.
pub fn uid(object: &Value) -> &str {
    text(&object["metadata"]["uid"])
}

/// A count, or 0.
pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// The entries of a list, or none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether it is being deleted.
pub fn deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The controller's reference among the owners.
pub fn controller(object: &Value) -> Option<&Value> {
    list(&object["metadata"]["ownerReferences"]).iter().find(|owner| owner["controller"] == true)
}

/// Whether this is the controller of it.
pub fn controlled_by(object: &Value, uid: &str) -> bool {
    controller(object).is_some_and(|owner| owner["uid"] == uid)
}

/// The condition that says that a pod is ready, if it is.
fn ready(pod: &Value) -> Option<&Value> {
    let ready = list(&pod["status"]["conditions"]).iter().find(|condition| condition["type"] == "Ready")?;
    (ready["status"] == "True").then_some(ready)
}

/// The object at a key of an object, made if need be.
pub fn entry<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let place = &mut value[key];
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    match place {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => unreachable!(),
    }
}
