//! Who is on stage: the user's own objects as they were before the new version was asked for, and what is missing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Case, Manifest, Scenario};
use crate::api::{
    Key, Kind,
    object::{entry, list, name, namespace},
};

/// Tag of the version that runs before the new one.
pub const BEFORE: &str = "before";

/// Everything that stands in the cluster before the new version is asked for.
#[derive(Clone, Debug)]
pub struct Cast {
    /// The objects, as they are created.
    pub objects: Vec<Value>,
    /// The Release's place.
    pub release: Key,
    /// The objects that carry the version, as they ask for the new one.
    pub wanted: Vec<(Key, Value)>,
    /// The same, as they ask for the version before.
    pub before: Vec<(Key, Value)>,
    /// What a Git sync writes: Deployments, Services and routes, with the new version.
    pub in_git: Vec<Value>,
    /// Images of the new version.
    pub images: Vec<String>,
    /// Decisions of the files.
    pub decisions: Vec<Value>,
    /// What was made up or taken for granted, in sentences.
    pub assumed: Vec<String>,
}

impl Cast {
    /// Sets the stage for one Release.
    pub fn new(manifest: &Manifest, case: &Case, scenario: &Scenario) -> Self {
        let home = case.plan.namespace.as_str();
        let release = Key::new(Kind::Release, home, &case.plan.name);
        let mut cast = Self {
            objects: Vec::new(),
            release: release.clone(),
            wanted: Vec::new(),
            before: Vec::new(),
            in_git: Vec::new(),
            images: Vec::new(),
            decisions: Vec::new(),
            assumed: Vec::new(),
        };
        for kind in [Kind::Namespace, Kind::RollbackPolicy, Kind::DeploymentWindow] {
            cast.objects.extend(manifest.of(kind).map(bare));
        }
        let mut written = manifest.find(Kind::Release, home, &case.plan.name).map(bare).unwrap_or_default();
        let carries = case.plan.workloads.iter().any(|workload| !workload.images.is_empty());
        if carries {
            cast.wanted.push((release.clone(), written.clone()));
        }
        for index in 0..case.plan.workloads.len() {
            cast.workload(manifest, case, scenario, index, &mut written);
        }
        if carries {
            // It names the new version.
            entry(&mut written, "spec").remove("version");
            cast.before.push((release, written.clone()));
        }
        let decisions = manifest.of(Kind::Decision);
        cast.decisions.extend(
            decisions
                .filter(|decision| {
                    namespace(decision) == home && decision["spec"]["release"] == case.plan.name.as_str()
                })
                .cloned(),
        );
        cast.objects.push(written);
        if !manifest.ignored.is_empty() {
            cast.assumed.push(format!("not needed, so not used: {}", manifest.ignored.join(", ")));
        }
        cast
    }

    /// The Deployment of a workload, and what stands before it.
    fn workload(&mut self, manifest: &Manifest, case: &Case, scenario: &Scenario, index: usize, release: &mut Value) {
        let (home, plan) = (case.plan.namespace.as_str(), &case.plan.workloads[index]);
        let key = Key::new(Kind::Deployment, home, &plan.deployment);
        let found = manifest.find(Kind::Deployment, home, &plan.deployment).map(bare);
        let mut deployment = found.unwrap_or_else(|| {
            self.assumed.push(format!(
                "Deployment {} is not among the files: one with {} replicas is made up",
                plan.deployment, scenario.replicas
            ));
            made_up_deployment(home, &plan.deployment, &plan.images, scenario.replicas)
        });
        // The version that runs has passed its gates long ago.
        let annotations = entry(&mut deployment["metadata"], "annotations");
        annotations.retain(|key, _| !key.starts_with("lockkeeper.dev/"));
        let mut wanted = deployment.clone();
        let mut before = deployment;
        let containers = list(&wanted["spec"]["template"]["spec"]["containers"]).len();
        for container in 0..containers {
            let place = format!("/spec/template/spec/containers/{container}");
            let called = wanted.pointer(&place).map(name_of).unwrap_or_default();
            let asked = match (plan.images.get(&called), plan.images.is_empty()) {
                (Some(image), _) => image.clone(),
                (None, true) => wanted.pointer(&place).map(image_of).unwrap_or_default(),
                // A container that the release does not change.
                (None, false) => continue,
            };
            let earlier = earlier(&asked);
            for (object, image) in [(&mut wanted, &asked), (&mut before, &earlier)] {
                if let Some(container) = object.pointer_mut(&place) {
                    container["image"] = image.clone().into();
                }
            }
            if !plan.images.is_empty() {
                release["spec"]["workloads"][index]["images"][&called] = earlier.into();
            }
            self.images.push(asked);
        }
        self.assumed.push(format!(
            "Deployment {} runs a version called {BEFORE} when {} is asked for",
            plan.deployment,
            self.images.last().map_or("the new one", String::as_str)
        ));
        if plan.images.is_empty() {
            self.wanted.push((key.clone(), wanted.clone()));
            self.before.push((key, before.clone()));
        }
        self.in_git.push(wanted);
        let selector = before["spec"]["selector"]["matchLabels"].clone();
        self.objects.push(before);
        self.services(manifest, case, index, &selector);
    }

    fn services(&mut self, manifest: &Manifest, case: &Case, index: usize, selector: &Value) {
        let (home, plan) = (case.plan.namespace.as_str(), &case.plan.workloads[index]);
        let stable = plan.services.iter().map(|services| services.stable.as_str());
        let pins = plan.pins.iter().map(String::as_str);
        for service in stable.chain(pins) {
            let object = manifest.find(Kind::Service, home, service).map(bare).unwrap_or_else(|| {
                self.assumed
                    .push(format!("Service {service} is not among the files: one that selects the pods is made up"));
                json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": service, "namespace": home},
                    "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]},
                })
            });
            self.add(object);
        }
        for route in &plan.routes {
            let object = manifest.find(Kind::HTTPRoute, home, route).map(bare).unwrap_or_else(|| {
                self.assumed
                    .push(format!("HTTPRoute {route} is not among the files: one with this one backend is made up"));
                let backend = plan.services.as_ref().map(|services| services.stable.as_str()).unwrap_or_default();
                json!({
                    "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                    "metadata": {"name": route, "namespace": home},
                    "spec": {
                        "parentRefs": [{"name": "gateway"}],
                        "rules": [{"backendRefs": [{"name": backend, "port": 80}]}],
                    },
                })
            });
            self.add(object);
        }
    }

    /// Unless another workload has brought it.
    fn add(&mut self, object: Value) {
        let same = |other: &Value| other["kind"] == object["kind"] && name(other) == name(&object);
        if !self.objects.iter().any(same) {
            self.in_git.push(object.clone());
            self.objects.push(object);
        }
    }
}

/// An object without what only a cluster knows.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        fields.remove("status");
    }
    let metadata = entry(&mut object, "metadata");
    for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences"] {
        metadata.remove(field);
    }
    object
}

fn name_of(container: &Value) -> String {
    container["name"].as_str().unwrap_or_default().into()
}

fn image_of(container: &Value) -> String {
    container["image"].as_str().unwrap_or_default().into()
}

/// The image of the version before.
fn earlier(image: &str) -> String {
    let repository = image.split('@').next().unwrap_or(image);
    let after_slash = repository.rfind('/').map_or(0, |slash| slash + 1);
    let end = repository[after_slash..].find(':').map_or(repository.len(), |colon| after_slash + colon);
    format!("{}:{BEFORE}", &repository[..end])
}

fn made_up_deployment(home: &str, called: &str, images: &BTreeMap<String, String>, replicas: u32) -> Value {
    let container =
        |(name, image): (&String, &String)| json!({"name": name, "image": image, "ports": [{"containerPort": 8080}]});
    let mut containers: Vec<Value> = images.iter().map(container).collect();
    if containers.is_empty() {
        containers.push(container((&"app".to_owned(), &format!("registry.example.com/{called}:new"))));
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": called, "namespace": home},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": called}},
            "template": {"metadata": {"labels": {"app": called}}, "spec": {"containers": containers}},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_before_has_the_same_repository() {
        for (image, expected) in [
            ("registry.example.com:5000/web:2.4.0", "registry.example.com:5000/web:before"),
            ("registry.example.com:5000/web", "registry.example.com:5000/web:before"),
            ("web@sha256:0123", "web:before"),
            ("web:1@sha256:0123", "web:before"),
        ] {
            assert_eq!(earlier(image), expected);
        }
    }
}
