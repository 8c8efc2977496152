//! The API server's work on one request: checks, admission, and what is stored in the end.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Change, Key, Kind, Object, Patch, Snapshot, Status, Store, User, admission, managed,
    object::{deleting, entry, list, text, uid},
    schema, time,
};

/// Looks at each change right after it, with all objects before and after.
pub trait Observer: Send {
    /// One change.
    fn changed(&mut self, change: &Change, before: &Snapshot, after: &Snapshot);
}

/// Which part of an object a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status, where that is a part of its own.
    Main,
    /// The status.
    Status,
}

/// Who asks, and under which name changes are recorded.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The authenticated user.
    pub user: Arc<User>,
    /// The field manager.
    pub manager: Arc<str>,
}

impl Caller {
    /// A user with a manager of the same name as theirs.
    pub fn new(user: User) -> Self {
        let manager = Arc::from(user.name.rsplit(':').next().unwrap_or_default());
        Self { user: Arc::new(user), manager }
    }
}

/// What a deletion is conditional on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preconditions {
    /// UID.
    pub uid: Option<String>,
    /// Resource version.
    pub version: Option<String>,
}

/// An API server with all that it stores.
#[derive(Default)]
pub struct Server {
    store: Store,
    observers: Vec<Box<dyn Observer>>,
    uids: u64,
    /// The time; whoever drives the server sets it.
    pub now: Timestamp,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("now", &self.now).field("version", &self.store.version()).finish_non_exhaustive()
    }
}

impl Server {
    /// What is stored.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Forgets the history.
    pub fn compact(&mut self) {
        self.store.compact();
    }

    /// Lets somebody look at each change from now on.
    pub fn observe(&mut self, observer: impl Observer + 'static) {
        self.observers.push(Box::new(observer));
    }

    /// An object.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, key: &Key) -> Result<Arc<Object>, Status> {
        self.store.objects().get(key).cloned().ok_or_else(|| Status::not_found(key))
    }

    /// Creates an object.
    ///
    /// # Errors
    /// 404 where the namespace is missing, 409 where it exists, 422 or 403 where it is not admitted.
    pub fn create(
        &mut self,
        caller: &Caller,
        kind: Kind,
        namespace: &str,
        mut object: Value,
    ) -> Result<Arc<Object>, Status> {
        let served = kind.served();
        self.uids += 1;
        let number = self.uids;
        let (api_version, kind_name) = (kind.api_version(), served.kind);
        object["apiVersion"] = api_version.into();
        object["kind"] = kind_name.into();
        let metadata = entry(&mut object, "metadata");
        if let (None, Some(Value::String(base))) = (metadata.get("name"), metadata.get("generateName")) {
            metadata.insert("name".into(), format!("{base}{}", suffix(number)).into());
        }
        if served.namespaced {
            metadata.insert("namespace".into(), namespace.into());
        }
        metadata.insert("uid".into(), format!("00000000-0000-4000-8000-{number:012x}").into());
        metadata.insert("creationTimestamp".into(), time(self.now));
        for field in ["resourceVersion", "deletionTimestamp", "managedFields", "generation"] {
            metadata.remove(field);
        }
        if served.generation {
            metadata.insert("generation".into(), 1.into());
        }
        if served.status
            && let Value::Object(object) = &mut object
        {
            // A subresource is not written by a creation; a pod begins pending, which is what no status means here.
            object.remove("status");
        }
        let key = Key::new(kind, namespace, super::object::name(&object));
        if key.name.is_empty() {
            return Err(Status::invalid(
                &key,
                &[("metadata.name".into(), "Required value: name or generateName is required".into())],
            ));
        }
        let home = Key::new(Kind::Namespace, "", namespace);
        if served.namespaced && self.store.objects().get(&home).is_none() {
            return Err(Status::not_found(&home));
        }
        if self.store.objects().get(&key).is_some() {
            return Err(Status::already_exists(&key));
        }
        self.admit(caller, &key, Part::Main, None, &mut object)?;
        if managed::kept(kind) {
            managed::record(&Value::Null, &mut object, &caller.manager, self.now);
        }
        Ok(self.put(&key, object, caller))
    }

    /// Changes an object. One that is the same afterwards is not written.
    ///
    /// # Errors
    /// 404 where it is missing, 409 where it is not the one that was meant, 422 or 403 where it is not admitted.
    pub fn update(
        &mut self,
        caller: &Caller,
        key: &Key,
        part: Part,
        change: impl FnOnce(&Value) -> Result<Value, Status>,
    ) -> Result<Arc<Object>, Status> {
        let before = self.get(key)?;
        let mut after = change(&before)?;
        let asked = &after["metadata"]["resourceVersion"];
        if !asked.is_null() && *asked != before["metadata"]["resourceVersion"] {
            return Err(Status::conflict(key));
        }
        let asked = &after["metadata"]["uid"];
        if !asked.is_null() && *asked != before["metadata"]["uid"] {
            let why = format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                text(asked),
                uid(&before)
            );
            return Err(Status::unfulfilled(key, &why));
        }
        keep(&before, &mut after, key, part);
        self.admit(caller, key, part, Some(&before), &mut after)?;
        if after == *before.value() {
            return Ok(before);
        }
        let served = key.kind.served();
        if served.generation && grows(&before, &after) {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
            after["metadata"]["generation"] = generation.into();
        }
        if managed::kept(key.kind) && part == Part::Main {
            managed::record(&before, &mut after, &caller.manager, self.now);
        }
        if deleting(&after) && list(&after["metadata"]["finalizers"]).is_empty() && key.kind != Kind::Pod {
            let last = self.put(key, after, caller);
            self.remove(key, caller);
            return Ok(last);
        }
        Ok(self.put(key, after, caller))
    }

    /// Patches an object.
    ///
    /// # Errors
    /// As [`Server::update`]; also where the patch does not fit.
    pub fn patch(&mut self, caller: &Caller, key: &Key, part: Part, patch: &Patch) -> Result<Arc<Object>, Status> {
        if let (Patch::Apply(object), Part::Main, Err(_)) = (patch, part, self.get(key)) {
            return self.create(caller, key.kind, &key.namespace, object.clone());
        }
        self.update(caller, key, part, |object| patch.apply(key, object))
    }

    /// Deletes an object, or marks it where somebody has to finish first: finalizers, or the grace of a pod. Gives what is left of it.
    ///
    /// # Errors
    /// 404 where it is missing, 409 where it is not the one that was meant.
    pub fn delete(
        &mut self,
        caller: &Caller,
        key: &Key,
        conditions: &Preconditions,
        grace: Option<u32>,
    ) -> Result<Option<Arc<Object>>, Status> {
        let before = self.get(key)?;
        let version = text(&before["metadata"]["resourceVersion"]);
        let checks = [("UID", &conditions.uid, uid(&before)), ("ResourceVersion", &conditions.version, version)];
        for (what, wanted, found) in checks {
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
                let why =
                    format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
                return Err(Status::unfulfilled(key, &why));
            }
        }
        let grace = match key.kind {
            Kind::Pod => grace.unwrap_or(30),
            _ => 0,
        };
        let finalizers = !list(&before["metadata"]["finalizers"]).is_empty();
        if grace == 0 && !finalizers {
            self.remove(key, caller);
            return Ok(None);
        }
        if deleting(&before) {
            return Ok(Some(before));
        }
        let mut after = before.value().clone();
        after["metadata"]["deletionTimestamp"] = time(self.now);
        after["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        if let (true, Some(generation)) = (key.kind.served().generation, before["metadata"]["generation"].as_i64()) {
            after["metadata"]["generation"] = (generation + 1).into();
        }
        Ok(Some(self.put(key, after, caller)))
    }

    fn admit(
        &self,
        caller: &Caller,
        key: &Key,
        part: Part,
        before: Option<&Arc<Object>>,
        after: &mut Value,
    ) -> Result<(), Status> {
        schema::admit(key, before.map(|before| before.value()), after)?;
        if part == Part::Main {
            admission::admit(self.store.objects(), caller, key, before, after)?;
        }
        tidy(&mut after["metadata"]);
        Ok(())
    }

    fn put(&mut self, key: &Key, object: Value, caller: &Caller) -> Arc<Object> {
        let before = self.store.objects().clone();
        let change = self.store.put(key, object, &caller.manager, self.now);
        self.tell(&change, &before);
        change.object
    }

    fn remove(&mut self, key: &Key, caller: &Caller) {
        let before = self.store.objects().clone();
        if let Some(change) = self.store.remove(key, &caller.manager, self.now) {
            self.tell(&change, &before);
        }
    }

    fn tell(&mut self, change: &Change, before: &Snapshot) {
        let after = self.store.objects().clone();
        for observer in &mut self.observers {
            observer.changed(change, before, &after);
        }
    }
}

/// What a request cannot change, whatever it says.
fn keep(before: &Value, after: &mut Value, key: &Key, part: Part) {
    let served = key.kind.served();
    if part == Part::Status {
        let (Value::Object(before), Value::Object(after)) = (before, after) else { return };
        after.retain(|field, _| field == "status" || before.contains_key(field));
        for (field, value) in before.iter().filter(|(field, _)| *field != "status") {
            if after.get(field) != Some(value) {
                after.insert(field.clone(), value.clone());
            }
        }
        if after.get("status").is_some_and(Value::is_null) {
            after.remove("status");
        }
        return;
    }
    for field in ["apiVersion", "kind"] {
        set(after, field, &before[field]);
    }
    if served.status {
        set(after, "status", &before["status"]);
    }
    let kept = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
    ];
    for field in kept {
        set(&mut after["metadata"], field, &before["metadata"][field]);
    }
}

fn set(object: &mut Value, field: &str, value: &Value) {
    let Value::Object(object) = object else { return };
    if value.is_null() {
        object.remove(field);
    } else if object.get(field) != Some(value) {
        object.insert(field.into(), value.clone());
    }
}

/// Whether anything has changed but metadata and status.
fn grows(before: &Value, after: &Value) -> bool {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return false };
    let own = |key: &&String| !matches!(key.as_str(), "metadata" | "status");
    after.keys().filter(own).any(|key| before.get(key) != after.get(key))
        || before.keys().filter(own).any(|key| !after.contains_key(key))
}

/// Empty maps and lists in metadata are not kept.
fn tidy(metadata: &mut Value) {
    let Value::Object(metadata) = metadata else { return };
    for field in ["labels", "annotations", "ownerReferences", "finalizers"] {
        let empty = match metadata.get(field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Null) => true,
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => false,
        };
        if empty {
            metadata.remove(field);
        }
    }
}

/// Five characters as generated names have them.
fn suffix(number: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let base = LETTERS.len() as u64;
    // Spread, so that names that follow each other do not sort by age.
    let mut rest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    (0..5)
        .map(|_| {
            let letter = LETTERS[(rest % base) as usize];
            rest /= base;
            char::from(letter)
        })
        .collect()
}

/// The scale subresource of an object, and back.
pub mod scale {
    use super::*;

    /// As it is read.
    pub fn of(object: &Value) -> Value {
        let metadata = &object["metadata"];
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"]},
            "spec": {"replicas": object["spec"]["replicas"]},
            "status": {"replicas": object["status"]["replicas"]},
        })
    }

    /// The object at another scale.
    pub fn set(object: &Value, scale: &Value) -> Value {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = scale["metadata"]["resourceVersion"].clone();
        object["spec"]["replicas"] = scale["spec"]["replicas"].clone();
        object
    }
}
