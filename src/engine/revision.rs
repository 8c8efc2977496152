//! Which version is asked for.

use std::collections::BTreeMap;

use lockkeeper_api::release::{RevisionStatus, WorkloadRevision};
use serde_json::{Value, json};

use crate::{
    digest::{digest, template_digest, version_digest},
    plan::{Plan, WorkloadPlan},
    world::{ContainerView, DeploymentView, Glance, Template, WorkloadView, World},
    write::ContainerImage,
};

/// The version that the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Digest over all workloads.
    pub revision: String,
    /// Name for people.
    pub version: String,
    /// Each workload's part.
    pub workloads: Vec<WorkloadRevision>,
    /// Who asked for it, where the API server has recorded a person.
    pub requested_by: Option<String>,
}

impl Wanted {
    /// Whether this is the version that the status names.
    pub fn is(&self, other: &RevisionStatus) -> bool {
        self.revision == other.revision
    }
}

/// Reads the version asked for; none while a Deployment is missing.
pub fn wanted(plan: &Plan, world: &World, stable: Option<&RevisionStatus>) -> Option<Wanted> {
    let mut workloads = Vec::with_capacity(plan.workloads.len());
    let mut image = None;
    let mut requested_by = None;
    for (index, (work, view)) in plan.workloads.iter().zip(&world.workloads).enumerate() {
        let deployment = view.deployment.as_ref()?;
        let asked = other_template(work, deployment);
        let digest = asked.as_ref().map_or_else(|| deployment.version_digest(), version_digest);
        let before = stable.and_then(|s| s.workloads.get(index)).filter(|w| w.uid == deployment.uid);
        let changed = before.is_none_or(|before| before.digest != digest);
        if changed && image.is_none() {
            image = match &asked {
                None => first_image_that_differs(deployment.template.glance(), view, before),
                Some(template) => first_image_that_differs(Template::from(template).glance(), view, before),
            };
        }
        if changed && requested_by.is_none() {
            requested_by = match work.images.is_empty() {
                true => deployment.marks.get(lockkeeper_api::names::REQUESTED_BY).cloned(),
                false => plan.requested_by.clone(),
            };
        }
        workloads.push(WorkloadRevision {
            name: work.deployment.clone(),
            hash: match before.filter(|_| !changed) {
                Some(unchanged) => unchanged.hash.clone(),
                None => hash(view, asked.as_ref().map_or_else(|| deployment.digest.clone(), template_digest)),
            },
            digest,
            uid: deployment.uid.clone(),
        });
    }
    let revision = digest_of(&workloads);
    let version = plan.version.clone().or_else(|| image.map(|image| tag(&image))).unwrap_or_else(|| revision.clone());
    Some(Wanted { revision, version, workloads, requested_by })
}

/// The revision of these parts.
pub fn digest_of(workloads: &[WorkloadRevision]) -> String {
    digest(&json!(workloads.iter().map(|w| (&w.name, &w.digest)).collect::<Vec<_>>()))
}

/// The hash by which the version's pods are told apart: the one that a ReplicaSet of equal template has already, because
/// that one must be borrowed; else one of our own.
fn hash(view: &WorkloadView, digest: String) -> String {
    let twins = view.replica_sets.iter().filter(|rs| rs.digest == digest && !rs.deleting);
    twins.max_by_key(|rs| (rs.replicas, rs.created)).map_or(digest, |rs| rs.hash.clone())
}

/// The Deployment's template with the images of the plan; none where it has them already.
fn other_template(work: &WorkloadPlan, deployment: &DeploymentView) -> Option<Value> {
    images_to_set(work, deployment)?;
    let mut template = deployment.template.value();
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in template.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(image) = container["name"].as_str().and_then(|name| work.images.get(name)) {
                container["image"] = image.as_str().into();
            }
        }
    }
    Some(template)
}

/// The plan's images that the Deployment does not have yet.
pub fn images_to_set(work: &WorkloadPlan, deployment: &DeploymentView) -> Option<Vec<ContainerImage>> {
    images_that_differ(&work.images, deployment)
}

/// Those of some images that the Deployment does not have; none if it has them all.
pub fn images_that_differ(
    images: &BTreeMap<String, String>,
    deployment: &DeploymentView,
) -> Option<Vec<ContainerImage>> {
    if images.is_empty() {
        return None;
    }
    let differing = deployment.template.glance().containers.iter().filter_map(|ContainerView { name, image, init }| {
        let wanted = images.get(name).filter(|wanted| image.as_ref() != Some(*wanted))?;
        Some(ContainerImage { container: name.clone(), image: wanted.clone(), init: *init })
    });
    let differing: Vec<_> = differing.collect();
    (!differing.is_empty()).then_some(differing)
}

/// Names of the plan's images that no container has.
pub fn images_without_container<'a>(work: &'a WorkloadPlan, deployment: &DeploymentView) -> Vec<&'a str> {
    let has = |name: &&str| deployment.template.glance().containers.iter().any(|container| container.name == *name);
    work.images.keys().map(String::as_str).filter(|name| !has(name)).collect()
}

fn first_image_that_differs(
    template: &Glance,
    view: &WorkloadView,
    before: Option<&WorkloadRevision>,
) -> Option<String> {
    let old = before.and_then(|before| view.replica_sets.iter().find(|rs| rs.hash == before.hash));
    let all = &template.containers;
    let differs = all.iter().find(|container| {
        let image = old.and_then(|old| old.images.get(&container.name));
        image.is_none_or(|image| container.image.as_ref() != Some(image))
    });
    differs.or(all.first()).and_then(|container| container.image.clone())
}

/// The tag of an image reference; without one, a shortened digest or the reference itself.
pub fn tag(image: &str) -> String {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => tag.into(),
        (None, Some(digest)) => digest.chars().take(19).collect(),
        (None, None) => "latest".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{hash, tag};
    use crate::converge::tests::moment::{Moment, replica_set, second};

    #[test]
    fn a_version_has_the_hash_of_the_replica_set_that_the_deployment_would_take() {
        // Three of the same template: one has pods, another is younger.
        let twins = |change: fn(&mut Moment)| {
            let twins = Moment::at_rest().with(|m| {
                for (hash, pods, created) in [("old", 0, 1), ("large", 2, 2), ("young", 0, 3)] {
                    let mut set = replica_set(hash, None, pods);
                    (set.digest, set.created) = ("b".into(), second(created));
                    m.view.replica_sets.push(set);
                }
                change(m);
            });
            hash(&twins.view, "b".into())
        };
        assert_eq!(twins(|_| {}), "large");
        assert_eq!(twins(|m| m.set("large").deleting = true), "young");
        assert_eq!(
            twins(|m| m.view.replica_sets.iter_mut().for_each(|set| set.deleting = true)),
            "b",
            "one of our own"
        );
        assert_eq!(twins(|m| m.view.replica_sets.truncate(1)), "b");
    }

    #[test]
    fn a_version_is_called_by_its_tag() {
        for (image, version) in [
            ("registry.example.com:5000/shop/web:2.4.0", "2.4.0"),
            ("web:2.4.0@sha256:0123456789abcdef0123456789abcdef", "2.4.0"),
            ("web@sha256:0123456789abcdef0123456789abcdef", "sha256:0123456789ab"),
            ("registry.example.com:5000/web", "latest"),
        ] {
            assert_eq!(tag(image), version, "{image}");
        }
    }
}
