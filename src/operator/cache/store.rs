//! Objects of one kind, as small as they are needed, newest first seen wins.
//!
//! Two sources fill a store: the watch, and the answers to our own writes. Either may be ahead of the other, so that the
//! newer resource version wins, and what we have deleted does not come back by an older event.

use std::collections::{BTreeMap, BTreeSet};

/// Namespace (empty for a cluster's own objects) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The object of this name in this namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What identifies one state of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// UID.
    pub uid: String,
    /// Resource version, as a number: the API server compares them as such, and so may clients since Kubernetes 1.35; before,
    /// every version of it did so too.
    pub number: u64,
}

#[derive(Debug)]
enum Slot<V> {
    Held {
        version: Version,
        /// Elsewhere, because half of a map's places are empty.
        value: Box<V>,
    },
    /// We have deleted the object, and the watch has not said so yet.
    Gone { uid: String },
}

/// Objects of one kind.
#[derive(Debug)]
pub struct Store<V> {
    slots: BTreeMap<Key, Slot<V>>,
    /// Names, sorted, by namespace and the object that they belong to, for kinds that belong to one.
    by_owner: BTreeMap<Key, Vec<String>>,
    owner: fn(&V) -> Option<&str>,
    /// By namespace, the version of the last deletion of which the watch has told.
    deletions: BTreeMap<String, u64>,
}

impl<V> Store<V> {
    /// An empty store. `owner` is the name of the object, in the same namespace, by which others are looked up.
    pub fn new(owner: fn(&V) -> Option<&str>) -> Self {
        Self { slots: BTreeMap::new(), by_owner: BTreeMap::new(), owner, deletions: BTreeMap::new() }
    }

    /// Whether this state of an object is newer than what is known of it.
    pub fn is_news(&self, key: &Key, version: &Version) -> bool {
        match self.slots.get(key) {
            Some(Slot::Held { version: held, .. }) => held.number < version.number,
            Some(Slot::Gone { uid }) => *uid != version.uid,
            None => true,
        }
    }

    /// Whether an answer to a write of ours comes too late: nothing of that name is held, and a watch tells things in their order. So what the
    /// answer shows has been told already, and that it is gone, too; nobody would say so again.
    pub fn is_over(&self, key: &Key, version: &Version) -> bool {
        !self.slots.contains_key(key)
            && self.deletions.get(&key.namespace).is_some_and(|deletion| version.number < *deletion)
    }

    /// Holds an object, unless something newer is held. Says whether it does.
    ///
    /// `value` gets what was held before.
    pub fn put(&mut self, key: Key, version: Version, value: impl FnOnce(Option<&V>) -> V) -> bool {
        if !self.is_news(&key, &version) {
            return false;
        }
        let value = match self.slots.get(&key) {
            Some(Slot::Held { version: held, value: before }) if held.uid == version.uid => value(Some(before)),
            Some(Slot::Held { .. } | Slot::Gone { .. }) | None => value(None),
        };
        self.unlink(&key);
        if let Some(owner) = (self.owner)(&value) {
            let names = self.by_owner.entry(Key::new(&key.namespace, owner)).or_default();
            if let Err(place) = names.binary_search(&key.name) {
                names.insert(place, key.name.clone());
            }
        }
        self.slots.insert(key, Slot::Held { version, value: Box::new(value) });
        true
    }

    /// The watch says that an object is gone. Says whether it was held.
    pub fn remove(&mut self, key: &Key, version: &Version) -> bool {
        let last = self.deletions.entry(key.namespace.clone()).or_default();
        *last = version.number.max(*last);
        match self.slots.get(key) {
            Some(Slot::Held { version: held, .. }) if held.uid != version.uid && held.number > version.number => false,
            Some(Slot::Held { .. }) => self.drop_slot(key),
            Some(Slot::Gone { uid }) if *uid == version.uid => {
                self.slots.remove(key);
                false
            }
            Some(Slot::Gone { .. }) | None => false,
        }
    }

    /// We have deleted an object, and it is gone at once.
    pub fn bury(&mut self, key: &Key, uid: &str) {
        if matches!(self.slots.get(key), Some(Slot::Held { version, .. }) if version.uid == uid) {
            self.unlink(key);
            self.slots.insert(key.clone(), Slot::Gone { uid: uid.into() });
        }
    }

    /// A list has been read as a whole: what is not in it, of the namespaces that it covers, is gone. Gives what was dropped.
    pub fn keep_only(&mut self, listed: &BTreeSet<Key>, covers: impl Fn(&Key) -> bool) -> Vec<Key> {
        let lost: Vec<Key> = self.slots.keys().filter(|key| covers(key) && !listed.contains(*key)).cloned().collect();
        lost.into_iter().filter(|key| self.drop_slot(key)).collect()
    }

    fn drop_slot(&mut self, key: &Key) -> bool {
        self.unlink(key);
        matches!(self.slots.remove(key), Some(Slot::Held { .. }))
    }

    fn unlink(&mut self, key: &Key) {
        let Some(Slot::Held { value, .. }) = self.slots.get(key) else { return };
        let Some(owner) = (self.owner)(value) else { return };
        let owner = Key::new(&key.namespace, owner);
        if let Some(names) = self.by_owner.get_mut(&owner) {
            names.retain(|name| *name != key.name);
            if names.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&V> {
        match self.slots.get(key) {
            Some(Slot::Held { value, .. }) => Some(value),
            Some(Slot::Gone { .. }) | None => None,
        }
    }

    /// The state in which one object is held.
    pub fn version(&self, key: &Key) -> Option<&Version> {
        match self.slots.get(key) {
            Some(Slot::Held { version, .. }) => Some(version),
            Some(Slot::Gone { .. }) | None => None,
        }
    }

    /// The objects that belong to one, by name.
    pub fn of(&self, owner: &Key) -> impl Iterator<Item = (&str, &V)> {
        let names = self.by_owner.get(owner).into_iter().flatten();
        let namespace = owner.namespace.clone();
        names.filter_map(move |name| Some((name.as_str(), self.get(&Key::new(&namespace, name))?)))
    }

    /// The objects of one namespace, by name.
    pub fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a Key, &'a V)> {
        self.slots.range(Key::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace).filter_map(
            |(key, slot)| match slot {
                Slot::Held { value, .. } => Some((key, value.as_ref())),
                Slot::Gone { .. } => None,
            },
        )
    }

    /// All objects.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &V)> {
        self.slots.iter().filter_map(|(key, slot)| match slot {
            Slot::Held { value, .. } => Some((key, value.as_ref())),
            Slot::Gone { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(uid: &str, number: u64) -> Version {
        Version { uid: uid.into(), number }
    }

    fn store() -> (Store<&'static str>, Key) {
        (Store::new(|value| value.split_once('.').map(|(owner, _)| owner)), Key::new("shop", "web"))
    }

    #[test]
    fn an_older_event_does_not_undo_what_our_write_has_answered() {
        let (mut store, key) = store();
        assert!(store.put(key.clone(), version("a", 10), |_| "written"));
        assert!(!store.put(key.clone(), version("a", 9), |_| "watched"));
        assert!(!store.put(key.clone(), version("a", 10), |_| "watched"));
        assert_eq!(store.get(&key), Some(&"written"));
        assert!(store.put(key.clone(), version("a", 100), |_| "newer"));
        assert_eq!(store.get(&key), Some(&"newer"));
    }

    #[test]
    fn what_we_deleted_does_not_come_back_by_an_older_event_but_by_a_new_object() {
        let (mut store, key) = store();
        store.put(key.clone(), version("a", 10), |_| "old");
        store.bury(&key, "a");
        assert!(!store.put(key.clone(), version("a", 11), |_| "on its way when we deleted it"));
        assert_eq!(store.get(&key), None);
        assert!(store.put(key.clone(), version("b", 12), |_| "another"));
        assert!(!store.remove(&key, &version("a", 11)), "the deletion of the first one is not that of the second");
        assert_eq!(store.get(&key), Some(&"another"));
    }

    #[test]
    fn an_answer_that_comes_after_the_deletion_of_what_it_shows_is_over() {
        let (mut store, key) = store();
        assert!(!store.is_over(&key, &version("a", 10)), "the answer is faster than the watch");
        store.put(key.clone(), version("a", 10), |_| "watched");
        assert!(!store.is_over(&key, &version("a", 11)), "a later state of it");
        store.remove(&key, &version("a", 12));
        assert!(store.is_over(&key, &version("a", 11)));
        assert!(!store.is_over(&key, &version("b", 13)), "another of the same name");
        assert!(
            !store.is_over(&Key::new("bank", "web"), &version("c", 11)),
            "of another namespace another watch may tell"
        );
    }

    #[test]
    fn a_list_drops_what_it_does_not_hold_in_the_namespaces_that_it_covers() {
        let (mut store, key) = store();
        let other = Key::new("bank", "web");
        store.put(key.clone(), version("a", 1), |_| "web.a");
        store.put(other.clone(), version("b", 2), |_| "web.b");
        assert_eq!(store.keep_only(&BTreeSet::new(), |key| key.namespace == "shop"), std::slice::from_ref(&key));
        assert_eq!(store.of(&key).count(), 0);
        assert_eq!(store.get(&other), Some(&"web.b"));
    }

    #[test]
    fn what_belongs_to_an_object_is_found_by_it_also_after_it_has_changed_hands() {
        let (mut store, key) = store();
        store.put(key.clone(), version("a", 1), |_| "one.x");
        assert_eq!(store.of(&Key::new("shop", "one")).collect::<Vec<_>>(), [("web", &"one.x")]);
        store.put(key.clone(), version("a", 2), |_| "two.x");
        assert_eq!(store.of(&Key::new("shop", "one")).count(), 0);
        assert_eq!(store.of(&Key::new("shop", "two")).count(), 1);
    }
}
