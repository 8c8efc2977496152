//! Where requests go, told from the objects alone.

use lockkeeper_api::names::POD_TEMPLATE_HASH;
use lockkeeper_engine::{plan::WorkloadPlan, write::Kind};
use serde_json::Value;

use crate::{
    cluster::{Cluster, number},
    controllers::selected,
};

/// What a workload's pods get of its requests.
pub struct Traffic<'a> {
    pub cluster: &'a Cluster,
    pub work: &'a WorkloadPlan,
}

impl Traffic<'_> {
    pub fn replicas(&self) -> u32 {
        self.cluster.get(Kind::Deployment, &self.work.deployment).map_or(0, |d| number(&d["spec"]["replicas"]))
    }

    /// Whether a version has its Deployment and its ReplicaSet still; without them its pods are about to go.
    pub fn stands(&self, hash: &str) -> bool {
        let name = &self.work.deployment;
        self.cluster.get(Kind::Deployment, name).is_some()
            && self.cluster.get(Kind::ReplicaSet, &format!("{name}-{hash}")).is_some()
    }

    /// Ready pods of a version.
    pub fn ready(&self, hash: &str) -> usize {
        let own = self.cluster.pods.values().filter(|pod| pod.labels["app"] == self.work.deployment.as_str());
        own.filter(|pod| pod.ready.is_some() && pod.labels[POD_TEMPLATE_HASH] == hash).count()
    }

    fn backends<'b>(&self, rule: &'b Value) -> Vec<(&'b str, f64)> {
        let services = self.work.services.as_ref().unwrap();
        let refs = rule["backendRefs"].as_array().into_iter().flatten();
        refs.filter_map(|backend| Some((backend["name"].as_str()?, backend["weight"].as_f64().unwrap_or(1.0))))
            .filter(|(name, _)| *name == services.stable || *name == services.canary)
            .collect()
    }

    /// The rules by which requests may go: those that are written, and those that data planes may still have.
    fn rules(&self, in_force: bool) -> Vec<Value> {
        let mut sets = Vec::new();
        for route in &self.work.routes {
            sets.extend(self.cluster.get(Kind::HTTPRoute, route).map(|route| route["spec"]["rules"].clone()));
            if in_force {
                sets.extend(self.cluster.gateways.get(route).into_iter().flat_map(|gateway| gateway.in_force.clone()));
            }
        }
        sets.into_iter().flat_map(|rules| rules.as_array().cloned().unwrap_or_default()).collect()
    }

    fn part(&self, service: &str, hash: &str) -> f64 {
        let pods = selected(self.cluster, service);
        let own = pods.iter().filter(|pod| self.cluster.pods[*pod].labels[POD_TEMPLATE_HASH] == hash).count();
        if pods.is_empty() { 0.0 } else { own as f64 / pods.len() as f64 }
    }

    fn share_by(&self, rules: &[Value], hash: &str) -> f64 {
        let Some(services) = &self.work.services else { return 0.0 };
        if !self.work.routed() {
            return 100.0 * self.part(&services.stable, hash);
        }
        let share = |rule: &Value| {
            let backends = self.backends(rule);
            let total: f64 = backends.iter().map(|(_, weight)| weight).sum();
            let own: f64 = backends.iter().map(|(name, weight)| weight * self.part(name, hash)).sum();
            if total > 0.0 { 100.0 * own / total } else { 0.0 }
        };
        rules.iter().map(share).fold(0.0, f64::max)
    }

    /// The share of a version by the routes as they are written, in percent.
    pub fn share(&self, hash: &str) -> f64 {
        self.share_by(&self.rules(false), hash)
    }

    /// The largest share that it may have anywhere.
    pub fn most(&self, hash: &str) -> f64 {
        self.share_by(&self.rules(true), hash)
    }

    /// Services of ours that get requests.
    pub fn weighted(&self, in_force: bool) -> Vec<String> {
        if self.work.services.is_none() {
            return Vec::new();
        }
        let rules = self.rules(in_force);
        let backends = rules.iter().flat_map(|rule| self.backends(rule));
        backends.filter(|(_, weight)| *weight > 0.0).map(|(name, _)| name.to_owned()).collect()
    }

    /// Those of them without a ready pod.
    pub fn starved(&self, in_force: bool) -> Vec<String> {
        self.weighted(in_force).into_iter().filter(|service| selected(self.cluster, service).is_empty()).collect()
    }
}
