//! The garbage collector: what has owners, and none of them is left, goes; and what is deleted goes with, after or without its dependents.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

use super::{Actor, Edit, Turn};
use crate::api::{
    Caller, Kind, Object, Propagation, Snapshot, User,
    object::{list, text},
};

/// What the collector does now.
pub fn sync(objects: &Snapshot) -> Vec<Edit> {
    let alive: BTreeSet<&str> = objects.all().map(|(_, object)| object.uid()).collect();
    let mut edits = Vec::new();
    for (key, object) in objects.all() {
        let owners = object.owners();
        let (all, left) = (owners.len(), owners.filter(|owner| alive.contains(owner)).count());
        if all > 0 && left == 0 {
            edits.extend((!object.is_deleting()).then(|| Edit::Delete(key.kind, object.value().clone())));
        } else if left < all {
            edits.push(without_owners(key.kind, object, |owner| !alive.contains(text(&owner["uid"]))));
        }
        if object.is_deleting() {
            edits.extend(finish(key.kind, object, objects));
        }
    }
    edits
}

/// What somebody wants to be deleted only when its dependents are let go, or gone.
fn finish(kind: Kind, object: &Arc<Object>, objects: &Snapshot) -> Vec<Edit> {
    let has = |propagation: Propagation| {
        let finalizer = propagation.finalizer();
        list(&object["metadata"]["finalizers"]).iter().any(|known| known.as_str() == finalizer)
    };
    let owns = |owner: &Value| owner["uid"] == object["metadata"]["uid"];
    let dependents = objects.all().filter(|(_, other)| list(&other["metadata"]["ownerReferences"]).iter().any(owns));
    let (mut edits, waits_for): (Vec<Edit>, Propagation) = if has(Propagation::Orphan) {
        (dependents.map(|(key, other)| without_owners(key.kind, other, owns)).collect(), Propagation::Orphan)
    } else if has(Propagation::Foreground) {
        let deletion = |other: &Arc<Object>| (!other.is_deleting()).then(|| other.value().clone());
        let mut blocked = false;
        let mut edits = Vec::new();
        for (key, other) in dependents {
            let blocks = |owner: &Value| owns(owner) && owner["blockOwnerDeletion"] == true;
            blocked |= list(&other["metadata"]["ownerReferences"]).iter().any(blocks);
            edits.extend(deletion(other).map(|other| Edit::Delete(key.kind, other)));
        }
        if blocked {
            return edits;
        }
        (edits, Propagation::Foreground)
    } else {
        return Vec::new();
    };
    let mut after = object.value().clone();
    let finalizers = list(&after["metadata"]["finalizers"]).iter();
    let others = finalizers.filter(|finalizer| finalizer.as_str() != waits_for.finalizer()).cloned().collect();
    after["metadata"]["finalizers"] = Value::Array(others);
    edits.push(Edit::Update(kind, after));
    edits
}

fn without_owners(kind: Kind, object: &Object, gone: impl Fn(&Value) -> bool) -> Edit {
    let mut object = object.value().clone();
    let others = list(&object["metadata"]["ownerReferences"]).iter().filter(|owner| !gone(owner)).cloned().collect();
    object["metadata"]["ownerReferences"] = Value::Array(others);
    Edit::Update(kind, object)
}

/// The collector at work.
#[derive(Debug)]
pub struct GarbageCollector(Caller);

impl Default for GarbageCollector {
    fn default() -> Self {
        Self(Caller::new(User::controller("generic-garbage-collector")))
    }
}

impl Actor for GarbageCollector {
    fn watches(&self) -> &'static [Kind] {
        &Kind::ALL
    }

    fn reaction(&self) -> (u64, u64) {
        (5, 500)
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        for edit in sync(turn.server.store().objects()) {
            // Whoever else has changed or deleted it was faster, and is heard of in the next look.
            let _ = edit.apply(turn.server, &self.0);
        }
        None
    }
}
