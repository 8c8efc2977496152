//! The application that a story releases: Deployment, Service and HTTPRoute of the same name.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use lockkeeper_e2e::{Load, MutatingPolicies, Totals, Traffic, User, wait};
use serde_json::json;

use super::{LIMIT, Specs, Story};

/// Requests a second to an application whose traffic matters.
const PER_SECOND: u32 = 40;

pub struct App<'a> {
    pub story: &'a Story<'a>,
    pub name: String,
    pub host: String,
    manifests: String,
}

impl Story<'_> {
    /// `web` at version 1.0.0, served.
    pub async fn app(&self, replicas: u32) -> Result<App<'_>> {
        self.app_named("web", replicas).await
    }

    /// An application of this name at version 1.0.0, served.
    pub async fn app_named(&self, name: &str, replicas: u32) -> Result<App<'_>> {
        let app = self.unborn(name, replicas);
        app.sync("1.0.0").await?;
        app.available().await?;
        wait::served(self.cluster().gateway_url(), &app.host, LIMIT).await?;
        Ok(app)
    }

    /// An application of this name of which nothing is in the cluster yet.
    pub fn unborn(&self, name: &str, replicas: u32) -> App<'_> {
        let host = format!("{name}.{}.example.com", self.namespace);
        let manifests = include_str!("app.yaml")
            .replace("NAMESPACE", &self.namespace)
            .replace("NAME", name)
            .replace("HOST", &host)
            .replace("REPLICAS", &replicas.to_string());
        App { story: self, name: name.to_owned(), host, manifests }
    }
}

impl App<'_> {
    /// Applies the manifests with this version, as a Git sync does.
    pub async fn sync(&self, version: &str) -> Result<()> {
        self.story.apply(&self.manifests(version)).await
    }

    /// The manifests with this version, as Git has them.
    pub fn manifests(&self, version: &str) -> String {
        self.manifests.replace("VERSION", version)
    }

    /// Applies the manifests with this version by `kubectl apply`, client-side.
    pub async fn sync_client_side(&self, version: &str) -> Result<()> {
        let cluster = self.story.cluster();
        let admin = cluster.kubeconfig(User::Admin);
        cluster.kubectl_with_input(&admin, ["apply", "-f", "-"], &self.manifests(version)).await.map(drop)
    }

    /// The same, with the annotation by which the Deployment is managed from its creation on.
    pub async fn sync_managed(&self, version: &str) -> Result<()> {
        let name = format!("{{name: {}, ", self.name);
        let managed = format!("{name}annotations: {{lockkeeper.dev/release: web}}, ");
        self.story.apply(&self.manifests.replace("VERSION", version).replacen(&name, &managed, 1)).await
    }

    /// Applies Service and HTTPRoute, but not the Deployment, as they were at first.
    pub async fn route_again(&self) -> Result<()> {
        let (_, others) = self.manifests.split_once("---\n").context("there is one document only")?;
        self.story.apply(others).await
    }

    /// Waits until the Deployment's template, and nothing else, is fully available.
    pub async fn available(&self) -> Result<()> {
        wait::object(&self.story.api::<Deployment>(), &self.name, "be available", LIMIT, |deployment| {
            let Some((Some(spec), Some(status))) = deployment.map(|d| (d.spec.as_ref(), d.status.as_ref())) else {
                return false;
            };
            let generation = deployment.and_then(|deployment| deployment.metadata.generation);
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            status.observed_generation == generation && counts.iter().all(|count| *count == spec.replicas)
        })
        .await?;
        Ok(())
    }

    /// Waits until the Deployment has this version, fully available, and nobody holds it.
    pub async fn given_back(&self, version: &str) -> Result<()> {
        let image = format!("demo:{version}");
        wait::object(&self.story.api::<Deployment>(), &self.name, "be given back", LIMIT, |deployment| {
            deployment.is_some_and(|deployment| is_image(deployment, &image) && !self.is_held(deployment))
        })
        .await?;
        self.available().await
    }

    /// Whether a release, or a version that waits, keeps it paused.
    fn is_held(&self, deployment: &Deployment) -> bool {
        match self.story.stage.policies {
            MutatingPolicies::Served => is_paused(deployment),
            // There it is paused between releases too.
            MutatingPolicies::Absent => deployment.annotations().contains_key("lockkeeper.dev/hold"),
        }
    }

    /// Whether a release, or a version that waits, keeps the Deployment paused now.
    pub async fn held(&self) -> Result<bool> {
        Ok(self.is_held(&self.story.api::<Deployment>().get(&self.name).await?))
    }

    /// Whether the Deployment is paused now.
    pub async fn paused(&self) -> Result<bool> {
        Ok(is_paused(&self.story.api::<Deployment>().get(&self.name).await?))
    }

    /// Sets the image of the Deployment: the way to release of those whose Deployment carries the version.
    pub async fn set_version(&self, version: &str) -> Result<()> {
        let containers = json!([{"name": "app", "image": format!("demo:{version}")}]);
        let patch = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}));
        self.story.api::<Deployment>().patch(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Sets the number of replicas through the scale subresource, as an autoscaler does.
    pub async fn scale(&self, replicas: u32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.story.api::<Deployment>().patch_scale(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub fn traffic(&self) -> Traffic {
        Traffic::start(self.story.cluster().gateway_url(), &Load::new(&self.host, PER_SECOND))
    }

    pub async fn specs(&self) -> Result<Specs> {
        Specs::of(self).await
    }

    /// UID by name of the pods of this version that are not being deleted.
    pub async fn pods(&self, version: &str) -> Result<BTreeMap<String, String>> {
        let pods = self.story.api::<Pod>().list(&ListParams::default().labels(&self.label())).await?;
        let of_version = pods.into_iter().filter(|pod| is_of(pod, version));
        Ok(of_version.map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect())
    }

    /// Waits until this version has no pods but such that are being deleted.
    pub async fn gone(&self, version: &str) -> Result<()> {
        let what = format!("have none of {version}");
        let gone = |pods: &[Pod]| !pods.iter().any(|pod| is_of(pod, version));
        wait::list(&self.story.api::<Pod>(), &self.label(), &what, LIMIT, gone).await.map(drop)
    }

    /// Selects its pods.
    fn label(&self) -> String {
        format!("app={}", self.name)
    }

    /// Fails where the specs are not as expected. Without mutating policies a Deployment that a Release manages is paused too.
    pub async fn has(&self, expected: &Specs) -> Result<()> {
        let deployment = self.story.api::<Deployment>().get(&self.name).await?;
        let managed = deployment.annotations().contains_key("lockkeeper.dev/release");
        let expected = match self.story.stage.policies {
            MutatingPolicies::Absent if managed => expected.clone().paused(),
            MutatingPolicies::Absent | MutatingPolicies::Served => expected.clone(),
        };
        self.specs().await?.same_as(&expected)
    }

    /// Nothing of ours is left: specs as expected, no canary Service, every ReplicaSet controlled by the Deployment, with the
    /// very reference that its controller writes, and without our labels.
    pub async fn at_rest(&self, expected: &Specs) -> Result<()> {
        self.has(expected).await?;
        let services = self.story.api::<Service>().list(&ListParams::default()).await?;
        let names: Vec<String> = services.iter().map(ResourceExt::name_any).collect();
        ensure!(!names.contains(&format!("{}-canary", self.name)), "the canary Service is left: {names:?}");
        let sets = self.story.api::<ReplicaSet>().list(&ListParams::default()).await?;
        for set in sets.iter().filter(|set| set.name_any().starts_with(&self.name)) {
            let owners = set.owner_references();
            let as_its_own = |owner: &OwnerReference| {
                owner.kind == "Deployment" && owner.controller == Some(true) && owner.block_owner_deletion == Some(true)
            };
            let controlled = owners.len() == 1 && owners.iter().all(as_its_own);
            ensure!(controlled, "the Deployment does not control ReplicaSet {} as its own: {owners:?}", set.name_any());
            let ours: Vec<&String> = set.labels().keys().filter(|label| label.starts_with("lockkeeper.dev/")).collect();
            ensure!(ours.is_empty(), "ReplicaSet {} has {ours:?}", set.name_any());
        }
        Ok(())
    }
}

fn is_of(pod: &Pod, version: &str) -> bool {
    let image = format!("demo:{version}");
    let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    pod.metadata.deletion_timestamp.is_none() && containers.any(|c| c.image.as_ref() == Some(&image))
}

fn is_paused(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true)
}

fn is_image(deployment: &Deployment, image: &str) -> bool {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| pod.containers.iter().any(|container| container.image.as_deref() == Some(image)))
}

/// No request failed, and there were some.
pub fn none_failed(totals: &Totals) -> Result<()> {
    ensure!(totals.requests > 0, "there was no traffic");
    ensure!(totals.failed() == 0, "{} of {} requests failed: {:?}", totals.failed(), totals.requests, totals.failures);
    Ok(())
}
