//! What is stored, and everything that has ever happened to it, as etcd keeps it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Key, Kind, Object, Status,
    news::{Listener, News},
};

/// All objects at one moment. Cheap to keep: a write copies the pointers only, and only while somebody holds this.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(Arc<BTreeMap<Arc<Key>, Arc<Object>>>);

impl Snapshot {
    /// An object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.0.get(key)
    }

    /// All objects.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Object>)> {
        self.0.iter().map(|(key, object)| (&**key, object))
    }

    /// All objects of a kind, by namespace and name.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.named(kind).map(|(_, object)| object)
    }

    /// All objects of a kind with their keys, by namespace and name.
    pub fn named(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<Object>)> {
        let from = self.0.range(Key::new(kind, "", "")..).map(|(key, object)| (&**key, object));
        from.take_while(move |(key, _)| key.kind == kind)
    }

    /// The objects of a kind in a namespace, by name.
    pub fn within<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        self.0
            .range(Key::new(kind, namespace, "")..)
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
            .map(|(_, object)| object)
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Resource version of the change.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// When it was asked for, where the request was long on its way.
    pub asked: Timestamp,
    /// Which object.
    pub key: Key,
    /// Who has changed it.
    pub by: Arc<str>,
    /// How it was, if it was.
    pub before: Option<Arc<Object>>,
    /// How it is; what has been deleted as it was last, with the version of the deletion.
    pub object: Arc<Object>,
    /// Whether it is gone.
    pub gone: bool,
}

/// As a young cluster's; nothing is known of what was before.
const FIRST: u64 = 100;

/// The objects and their history.
#[derive(Debug)]
pub struct Store {
    objects: Snapshot,
    version: u64,
    asked: Option<Timestamp>,
    /// By kind, in their order.
    history: [History; Kind::ALL.len()],
    /// Tells of changes of any kind; each history has a channel of its own, too, so that watches wake for what concerns them only.
    changed: News,
}

#[derive(Debug, Default)]
struct History {
    /// What was before this version is forgotten.
    compacted: u64,
    changes: Vec<Change>,
    changed: News,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            objects: Snapshot::default(),
            version: FIRST,
            asked: None,
            history: Kind::ALL.map(|_| History { compacted: FIRST, ..History::default() }),
            changed: News::default(),
        }
    }
}

impl Store {
    /// All objects now.
    pub fn objects(&self) -> &Snapshot {
        &self.objects
    }

    /// The newest resource version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// From now on changes were asked for at this time; none: when they are made.
    pub fn asked(&mut self, at: Option<Timestamp>) {
        self.asked = at;
    }

    /// Tells of each change.
    pub fn subscribe(&self) -> Listener {
        self.changed.listen()
    }

    /// Tells of each change of a kind.
    pub fn subscribe_to(&self, kind: Kind) -> Listener {
        self.of(kind).changed.listen()
    }

    fn of(&self, kind: Kind) -> &History {
        &self.history[kind as usize]
    }

    /// Stores an object as it is to be, with a new resource version.
    pub fn put(&mut self, key: &Key, value: Value, by: &Arc<str>, at: Timestamp) -> Change {
        let object = self.stamp(value);
        let before = Arc::make_mut(&mut self.objects.0).insert(Arc::new(key.clone()), object.clone());
        self.record(key, by, at, before, object, false)
    }

    /// Removes an object, if it is there; `last` is what it was at its end, where that is not what is stored.
    pub fn remove(&mut self, key: &Key, last: Option<Value>, by: &Arc<str>, at: Timestamp) -> Option<Change> {
        let before = Arc::make_mut(&mut self.objects.0).remove(key)?;
        let object = self.stamp(last.unwrap_or_else(|| before.value().clone()));
        Some(self.record(key, by, at, Some(before), object, true))
    }

    fn stamp(&mut self, mut value: Value) -> Arc<Object> {
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        Arc::new(Object::new(value, self.version))
    }

    fn record(
        &mut self,
        key: &Key,
        by: &Arc<str>,
        at: Timestamp,
        before: Option<Arc<Object>>,
        object: Arc<Object>,
        gone: bool,
    ) -> Change {
        let asked = self.asked.unwrap_or(at);
        let (version, key, by) = (self.version, key.clone(), by.clone());
        let change = Change { version, at, asked, key, by, before, object, gone };
        self.note(change.clone());
        change
    }

    fn note(&mut self, change: Change) {
        let history = &mut self.history[change.key.kind as usize];
        history.changes.push(change);
        history.changed.tell();
        self.changed.tell();
    }

    /// The last change of each object that is there, in their order.
    pub fn last(&self) -> Vec<Change> {
        let changes = self.history.iter().flat_map(|history| &history.changes);
        let current =
            |change: &&Change| self.objects.get(&change.key).is_some_and(|object| object.version() == change.version);
        let mut last: Vec<Change> = changes.filter(current).cloned().collect();
        last.sort_by_key(|change| change.version);
        last
    }

    /// Makes a change that was made elsewhere, as the first of its object. Changes come in their order.
    pub fn bring(&mut self, change: &Change) -> Change {
        Arc::make_mut(&mut self.objects.0).insert(Arc::new(change.key.clone()), change.object.clone());
        self.version = change.version;
        let change = Change { before: None, ..change.clone() };
        self.note(change.clone());
        change
    }

    /// Everything that has ever happened to a kind, whatever clients may still ask for.
    pub fn history(&self, kind: Kind) -> &[Change] {
        &self.of(kind).changes
    }

    /// What has happened to a kind after this version.
    ///
    /// # Errors
    /// 410 when that is forgotten.
    pub fn since(&self, kind: Kind, version: u64) -> Result<&[Change], Status> {
        let history = self.of(kind);
        if version < history.compacted {
            return Err(Status::expired(version, history.compacted));
        }
        if history.changes.last().is_none_or(|last| last.version <= version) {
            return Ok(&[]);
        }
        let from = history.changes.partition_point(|change| change.version <= version);
        Ok(history.changes.get(from..).unwrap_or_default())
    }

    /// The objects of a kind as they were so long ago, and the version that a list of then has; not longer ago than is remembered.
    pub fn past(&self, kind: Kind, until: Timestamp) -> (Vec<(Key, Arc<Object>)>, u64) {
        let named = self.objects.named(kind).map(|(key, object)| (key.clone(), object.clone()));
        let mut objects: BTreeMap<Key, Arc<Object>> = named.collect();
        let history = self.of(kind);
        let known = |change: &Change| change.at <= until || change.version <= history.compacted;
        let from = history.changes.partition_point(known);
        let later = history.changes.get(from..).unwrap_or_default();
        for change in later.iter().rev() {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), before.clone()),
                None => objects.remove(&change.key),
            };
        }
        let version = match (later.is_empty(), from.checked_sub(1)) {
            (true, _) => self.version,
            (false, Some(last)) => history.changes.get(last).map_or(history.compacted, |change| change.version),
            (false, None) => history.compacted,
        };
        (objects.into_iter().collect(), version)
    }

    /// Forgets what has happened so far, as etcd does after a while: whoever comes with an older version has to list again.
    pub fn compact(&mut self) {
        for history in &mut self.history {
            history.compacted = self.version;
            history.changed.tell();
        }
    }
}
