//! The garbage collector: what has owners, and none of them is left, goes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Actor, Turn};
use crate::api::{Caller, Key, Kind, Preconditions, User};

/// The collector at work. It knows deletions in the background only, which is how everybody in the simulation deletes.
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
        let objects = turn.server.store().objects();
        let alive: BTreeSet<&str> = objects.all().map(|(_, object)| object.uid()).collect();
        let lost = objects.all().filter(|(_, object)| {
            let mut owners = object.owners();
            owners.len() > 0 && !owners.any(|owner| alive.contains(owner))
        });
        let lost: Vec<(Key, String)> = lost.map(|(key, object)| (key.clone(), object.uid().to_owned())).collect();
        for (key, uid) in lost {
            let conditions = Preconditions { uid: Some(uid), version: None };
            // Whoever else has deleted it was faster.
            let _ = turn.server.delete(&self.0, &key, &conditions, None);
        }
        None
    }
}
