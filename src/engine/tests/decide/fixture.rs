//! What users write: Deployments, Services, routes and Releases.

use jiff::Timestamp;
use lockkeeper_api::RollbackPolicySpec;
use serde_json::{Value, json};

use crate::lab::{Lab, NAMESPACE};

/// Name of the RollbackPolicy.
pub const POLICY: &str = "slo";

pub fn image(name: &str, tag: &str) -> String {
    format!("registry.example.com/{name}:{tag}")
}

pub fn deployment(name: &str, tag: &str, replicas: u32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image(name, tag)}]},
            },
        },
    })
}

pub fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}], "clusterIP": "10.0.0.1"},
    })
}

/// A route with a foreign backend beside ours, so that shares are shares of our own weight.
pub fn route(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"rules": [
            {"matches": [{"path": {"value": "/"}}], "backendRefs": [{"name": name, "port": 80, "weight": 1}]},
            {"matches": [{"path": {"value": "/api"}}],
             "backendRefs": [{"name": "legacy", "port": 80, "weight": 1}, {"name": name, "port": 80, "weight": 3}]},
        ]},
    })
}

/// A workload of a Release.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub name: &'static str,
    pub service: bool,
    pub routed: bool,
    /// Whether the Release carries the version.
    pub images: bool,
    pub replicas: u32,
    pub min_ready: u32,
}

impl Work {
    pub const fn web() -> Self {
        Self { name: "web", service: true, routed: true, images: false, replicas: 2, min_ready: 0 }
    }

    fn spec(&self) -> Value {
        let mut spec = json!({"ref": {"kind": "Deployment", "name": self.name}});
        if self.service {
            spec["service"] = self.name.into();
        }
        if self.routed {
            spec["routes"] = json!([{"kind": "HTTPRoute", "name": self.name}]);
        }
        if self.images {
            spec["images"] = json!({"app": image(self.name, "1")});
        }
        spec
    }
}

/// A lab in which version 1 of these workloads runs, and a Release with these steps and further fields.
pub fn lab(works: &[Work], steps: Value, rest: Value) -> Lab {
    // Not on a whole second: the status keeps no parts of one.
    let now: Timestamp = "2026-06-03T10:00:00.25Z".parse().unwrap();
    let workloads: Vec<Value> = works.iter().map(Work::spec).collect();
    let mut spec = json!({"workloads": workloads, "strategy": {"canary": {"steps": steps}}});
    for (key, value) in rest.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let mut lab = Lab::new(now, spec);
    for work in works {
        let mut deployment = deployment(work.name, "1", work.replicas);
        deployment["spec"]["minReadySeconds"] = work.min_ready.into();
        lab.cluster.create(lockkeeper_engine::write::Kind::Deployment, deployment);
        if work.service {
            lab.cluster.create(lockkeeper_engine::write::Kind::Service, service(work.name));
        }
        if work.routed {
            lab.cluster.create(lockkeeper_engine::write::Kind::HTTPRoute, route(work.name));
        }
    }
    lab
}

/// A policy of one check that must stay at most 0.5, with further fields of the check and of the policy.
pub fn policy(check: Value, rest: Value) -> RollbackPolicySpec {
    let mut one =
        json!({"name": "errors", "query": "errors{pod=~\"{{ candidate.pods }}\"}", "max": 0.5, "interval": "30s"});
    for (key, value) in check.as_object().unwrap() {
        one[key] = value.clone();
    }
    let mut spec = json!({"checks": [one]});
    for (key, value) in rest.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}
