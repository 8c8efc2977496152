//! The API server's work on one request: checks, admission, and what is stored in the end.

mod stored;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Change, Key, Kind, Object, Patch, Snapshot, Status, Store, User, admission, managed,
    object::{deleting, entry, list, number, text, uid},
    schema, time, written,
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
    /// What is to become of those that it owns. (Of all that a deletion says, this is no condition.)
    pub propagation: Propagation,
}

/// What becomes of an object's dependents when it is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// The finalizer by which the garbage collector knows.
    pub fn finalizer(self) -> Option<&'static str> {
        match self {
            Self::Background => None,
            Self::Foreground => Some("foregroundDeletion"),
            Self::Orphan => Some("orphan"),
        }
    }
}

/// What a server stores at a moment, for others to begin with.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The last change of each object.
    changes: Vec<Change>,
    uids: u64,
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

    /// What happens now was asked for at this time; none: now.
    pub fn late(&mut self, asked: Option<Timestamp>) {
        self.store.asked(asked);
    }

    /// Forgets the history.
    pub fn compact(&mut self) {
        self.store.compact();
    }

    /// What is stored.
    pub fn back_up(&self) -> Backup {
        Backup { changes: self.store.last(), uids: self.uids }
    }

    /// Stores what another server has stored, and tells observers of it. To be done first; what led there is forgotten.
    pub fn restore(&mut self, backup: &Backup) {
        self.uids = backup.uids;
        for change in &backup.changes {
            let before = self.store.objects().clone();
            let change = self.store.bring(change);
            self.tell(&change, &before);
        }
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
        stored::is_meant(&Key::new(kind, namespace, super::object::name(&object)), &object)?;
        let metadata = entry(&mut object, "metadata");
        if let (None, Some(Value::String(base))) = (metadata.get("name"), metadata.get("generateName")) {
            metadata.insert("name".into(), format!("{base}{}", suffix(number)).into());
        }
        if served.namespaced {
            metadata.insert("namespace".into(), namespace.into());
        }
        metadata.insert("uid".into(), format!("00000000-0000-4000-8000-{number:012x}").into());
        metadata.insert("creationTimestamp".into(), time(self.now));
        for field in ["resourceVersion", "deletionTimestamp", "managedFields"] {
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
        if let Some(there) = self.store.objects().get(&key) {
            let status = Status::already_exists(&key);
            return Err(if deleting(there) { status.because("object is being deleted") } else { status });
        }
        self.admit(caller, &key, Part::Main, None, &mut object)?;
        if managed::kept(kind) {
            managed::record(&Value::Null, &mut object, &caller.manager, self.now);
        }
        Ok(self.put(&key, object, caller))
    }

    /// Stores an object past all admission: as one that is there since its kind knew other schemas.
    pub fn plant(&mut self, caller: &Caller, kind: Kind, namespace: &str, mut object: Value) {
        self.uids += 1;
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.served().kind.into();
        object["metadata"]["namespace"] = namespace.into();
        object["metadata"]["uid"] = format!("00000000-0000-4000-8000-{:012x}", self.uids).into();
        object["metadata"]["creationTimestamp"] = time(self.now);
        let key = Key::new(kind, namespace, super::object::name(&object));
        self.put(&key, object, caller);
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
        stored::is_meant(key, &after)?;
        stored::is_current(key, &before, &after)?;
        stored::keep(&before, &mut after, key, part);
        self.admit(caller, key, part, Some(&before), &mut after)?;
        if after == *before.value() {
            return Ok(before);
        }
        let served = key.kind.served();
        let annotated = key.kind == Kind::Deployment
            && part == Part::Main
            && before["metadata"]["annotations"] != after["metadata"]["annotations"];
        if served.generation && (annotated || stored::grows(&before, &after)) {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
            after["metadata"]["generation"] = generation.into();
        }
        if managed::kept(key.kind) && part == Part::Main {
            managed::record(&before, &mut after, &caller.manager, self.now);
        }
        if deleting(&after) && list(&after["metadata"]["finalizers"]).is_empty() && key.kind != Kind::Pod {
            self.remove_as(key, Some(after.clone()), caller);
            return Ok(Arc::new(Object::new(after, before.version())));
        }
        Ok(self.put(key, after, caller))
    }

    /// Replaces an object as a whole.
    ///
    /// # Errors
    /// As [`Server::update`].
    pub fn replace(&mut self, caller: &Caller, key: &Key, part: Part, object: Value) -> Result<Arc<Object>, Status> {
        stored::is_meant(key, &object)?;
        self.update(caller, key, part, |before| {
            stored::is_same(key, before, &object)?;
            Ok(object)
        })
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
        let checks = [
            ("UID", &conditions.uid, uid(&before), "deleted and then recreated"),
            ("ResourceVersion", &conditions.version, version, "modified"),
        ];
        for (what, wanted, found, meanwhile) in checks {
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
                let why = format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object \
                     might have been {meanwhile}"
                );
                return Err(Status::unmet(key, &why));
            }
        }
        let grace = match key.kind {
            Kind::Pod => grace.unwrap_or(30),
            _ => 0,
        };
        let propagation = conditions.propagation.finalizer().filter(|_| key.kind != Kind::Pod);
        let finalizers = !list(&before["metadata"]["finalizers"]).is_empty();
        if grace == 0 && !finalizers && propagation.is_none() {
            self.remove(key, caller);
            return Ok(None);
        }
        if deleting(&before) {
            return Ok(Some(before));
        }
        let mut after = before.value().clone();
        if let Some(finalizer) = propagation {
            let mut finalizers = list(&after["metadata"]["finalizers"]).to_vec();
            finalizers.push(finalizer.into());
            after["metadata"]["finalizers"] = finalizers.into();
        }
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
        stored::normalize(key, after);
        Ok(())
    }

    fn put(&mut self, key: &Key, object: Value, caller: &Caller) -> Arc<Object> {
        let before = self.store.objects().clone();
        let change = self.store.put(key, object, &caller.manager, self.now);
        self.tell(&change, &before);
        change.object
    }

    fn remove(&mut self, key: &Key, caller: &Caller) {
        self.remove_as(key, None, caller);
    }

    /// With what it was at last, where the request that ends it changes it, too.
    fn remove_as(&mut self, key: &Key, last: Option<Value>, caller: &Caller) {
        let before = self.store.objects().clone();
        if let Some(change) = self.store.remove(key, last, &caller.manager, self.now) {
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
        let replicas = object["spec"]["replicas"].as_i64().filter(|replicas| *replicas > 0);
        // None is left out, as Go does.
        let spec = replicas.map_or_else(|| json!({}), |replicas| json!({"replicas": replicas}));
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"]},
            "spec": spec,
            "status": {"replicas": number(&object["status"]["replicas"]), "selector": written(&object["spec"]["selector"])},
        })
    }

    /// The object at another scale.
    ///
    /// # Errors
    /// 422 for less than nothing.
    pub fn set(key: &Key, object: &Value, scale: &Value) -> Result<Value, Status> {
        let replicas = number(&scale["spec"]["replicas"]);
        if replicas < 0 {
            let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            return Err(Status::invalid(key, &[("spec.replicas".into(), why)]));
        }
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = scale["metadata"]["resourceVersion"].clone();
        object["spec"]["replicas"] = replicas.into();
        Ok(object)
    }
}
