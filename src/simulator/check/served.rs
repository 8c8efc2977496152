//! S14: whatever users change, requests go where pods are.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{Checker, Scene};

/// Requests that reach no pod are brought to one within this time, if there is one: it takes a write, or a few where networks are bad.
#[derive(Debug)]
pub struct Served {
    patience: Duration,
    /// Since when requests of a workload reach no pod, and whether that was told.
    since: BTreeMap<String, (Timestamp, bool)>,
}

impl Served {
    /// A checker with so much patience.
    pub fn new(patience: Duration) -> Self {
        Self { patience, since: BTreeMap::new() }
    }
}

impl Checker for Served {
    fn promise(&self) -> &'static str {
        "S14"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let (title, work, is) = (scene.work.title(), scene.work, &scene.is);
        let versions = ["stable", "candidate", "previous"];
        let others = || versions.into_iter().filter_map(|part| work.hash(part)).any(|hash| is.ready(hash) > 0);
        let Some(service) = is.starved().filter(|_| is.replicas() > 0 && others()) else {
            self.since.remove(&title);
            return None;
        };
        let (since, told) = self.since.entry(title).or_insert((scene.change.at, false));
        let late = scene.change.at > *since + scene.memory.known_after + self.patience;
        if !late || std::mem::replace(told, true) {
            return None;
        }
        Some(format!("requests to {service} have reached no pod since {since}, and there are pods"))
    }
}
