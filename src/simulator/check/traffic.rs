//! Where requests go.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::Work;
use crate::api::{
    Key, Kind, Object, Snapshot,
    object::{list, name, number, text},
};

/// What a workload's pods get of its requests.
pub struct Traffic<'a> {
    /// The objects.
    pub objects: &'a Snapshot,
    /// By which rules data planes may still go.
    pub in_force: &'a BTreeMap<Key, Vec<Value>>,
    /// The workload.
    pub work: &'a Work,
    /// Pods that get requests. Every question is about them, so they are looked for once.
    serving: Vec<&'a Object>,
    /// Those that the stable Service selects, and the canary's.
    selected: [OnceCell<Vec<Option<&'a str>>>; 2],
}

impl<'a> Traffic<'a> {
    /// As it is with these objects.
    pub fn new(objects: &'a Snapshot, in_force: &'a BTreeMap<Key, Vec<Value>>, work: &'a Work) -> Self {
        let serving = objects.within(Kind::Pod, work.namespace()).map(|pod| &**pod).filter(|pod| serves(pod)).collect();
        Self { objects, in_force, work, serving, selected: Default::default() }
    }

    fn get(&self, kind: Kind, name: &str) -> Option<&'a Arc<Object>> {
        self.objects.get(&Key::new(kind, self.work.namespace(), name))
    }

    /// How many pods are asked for.
    pub fn replicas(&self) -> i64 {
        self.work.find(self.objects).map_or(0, |deployment| deployment["spec"]["replicas"].as_i64().unwrap_or(1))
    }

    /// Whether a version has its Deployment and its ReplicaSet still, and both belong together; without them its pods are about to go.
    pub fn stands(&self, hash: &str) -> bool {
        let Some(deployment) = self.work.find(self.objects) else { return false };
        let set = self.get(Kind::ReplicaSet, &format!("{}-{hash}", self.work.deployment()));
        set.is_some_and(|set| set.owners().len() == 0 || set.owners().any(|owner| owner == deployment.uid()))
    }

    /// Ready pods of a version.
    pub fn ready(&self, hash: &str) -> usize {
        self.serving.iter().filter(|pod| pod.hash() == Some(hash)).count()
    }

    /// The ready pods that a Service selects at this moment: how many, and how many of them are of a version.
    pub fn selected(&self, service: &str, hash: &str) -> (usize, usize) {
        let own = |hashes: &[Option<&str>]| (hashes.len(), hashes.iter().filter(|own| **own == Some(hash)).count());
        let [of_stable, of_canary] = &self.selected;
        match &self.work.services {
            Some((stable, _)) if service == stable => own(of_stable.get_or_init(|| self.selection(service))),
            Some((_, canary)) if service == canary => own(of_canary.get_or_init(|| self.selection(service))),
            Some(_) | None => own(&self.selection(service)),
        }
    }

    /// The versions of the ready pods that a Service selects.
    fn selection(&self, service: &str) -> Vec<Option<&'a str>> {
        let Some(service) = self.get(Kind::Service, service) else { return Vec::new() };
        let selector = &service["spec"]["selector"];
        self.serving.iter().filter(|pod| pod.is_selected_by(selector)).map(|pod| pod.hash()).collect()
    }

    /// Whether the stable Service has no ready pod.
    pub fn unserved(&self) -> bool {
        self.work.services.as_ref().is_some_and(|(stable, _)| self.selected(stable, "").0 == 0)
    }

    fn backends<'b>(&'b self, rule: &'b Value) -> impl Iterator<Item = (&'b str, f64)> {
        let ours =
            |name: &str| self.work.services.as_ref().is_some_and(|(stable, canary)| name == stable || name == canary);
        let refs = list(&rule["backendRefs"]).iter();
        refs.map(|backend| (text(&backend["name"]), backend["weight"].as_f64().unwrap_or(1.0)))
            .filter(move |(name, _)| ours(name))
    }

    /// The rules by which requests may go: those that are written, and those that data planes may still have.
    fn rules(&self, in_force: bool) -> impl Iterator<Item = &'a Value> {
        let work: &'a Work = self.work;
        let (objects, forced) = (self.objects, self.in_force);
        work.routes.iter().flat_map(move |route| {
            let key = Key::new(Kind::HTTPRoute, work.namespace(), route.as_str());
            let old = forced.get(&key).filter(|_| in_force).into_iter().flatten();
            let written = objects.get(&key).map(|route| &route["spec"]["rules"]);
            written.into_iter().chain(old).flat_map(list)
        })
    }

    fn part(&self, service: &str, hash: &str) -> f64 {
        let (all, own) = self.selected(service, hash);
        if all == 0 { 0.0 } else { own as f64 / all as f64 }
    }

    /// The largest share of a version, in percent: by the routes as they are written, or anywhere.
    pub fn share(&self, hash: &str, in_force: bool) -> f64 {
        let Some((stable, canary)) = &self.work.services else { return 0.0 };
        let of_stable = self.part(stable, hash);
        if !self.work.routed() {
            return 100.0 * of_stable;
        }
        let of_canary = self.part(canary, hash);
        let shares = self.rules(in_force).map(|rule| {
            let (mut total, mut own) = (0.0, 0.0);
            for (name, weight) in self.backends(rule) {
                total += weight;
                own += weight * if name == stable { of_stable } else { of_canary };
            }
            if total > 0.0 { 100.0 * own / total } else { 0.0 }
        });
        shares.fold(0.0, f64::max)
    }

    /// Whether a Service of ours gets requests somewhere.
    pub fn weighted(&self, service: &str) -> bool {
        self.rules(true).any(|rule| self.backends(rule).any(|(name, weight)| name == service && weight > 0.0))
    }

    /// A Service of ours that gets requests and has no ready pod.
    pub fn starved(&self) -> Option<&'a str> {
        let (stable, canary) = self.work.services.as_ref()?;
        [stable, canary]
            .into_iter()
            .find(|service| self.weighted(service) && self.selected(service, "").0 == 0)
            .map(String::as_str)
    }

    /// `spec.replicas` of a ReplicaSet.
    pub fn size(set: &Value) -> i64 {
        number(&set["spec"]["replicas"])
    }

    /// Names of the active ReplicaSets that the Deployment controls.
    pub fn active(&self) -> Vec<&'a str> {
        let Some(deployment) = self.work.find(self.objects) else { return Vec::new() };
        let uid = deployment.uid();
        let namespace: &'a str = self.work.namespace();
        let sets = self.objects.within(Kind::ReplicaSet, namespace);
        let own = sets.filter(|set| set.is_controlled_by(uid) && Self::size(set) > 0);
        own.map(|set| name(set)).collect()
    }
}

/// Whether a pod gets requests.
pub fn serves(pod: &Object) -> bool {
    pod.is_ready() && !pod.is_deleting()
}
