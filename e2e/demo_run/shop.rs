//! The application of the demo and what people do with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use lockkeeper_api::release::Release;
use lockkeeper_e2e::{Cluster, User, wait};
use tokio::process::Command;

pub const NAMESPACE: &str = "shop";
pub const NAME: &str = "checkout";
pub const HOST: &str = "shop.example.com";
/// For anything to come about, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(180);
/// How long the first release waits for its window.
const OPENS_AFTER: Duration = Duration::from_secs(12);

pub struct Shop<'a> {
    cluster: &'a Cluster,
    binary: PathBuf,
}

impl<'a> Shop<'a> {
    /// Version 1.0.0, served; a window that opens soon.
    pub async fn open(cluster: &'a Cluster, binary: &Path) -> Result<Shop<'a>> {
        cluster.create_namespace(NAMESPACE).await?;
        let opens = (Timestamp::now() + OPENS_AFTER).to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        cluster.apply(&include_str!("manifests.yaml").replace("OPENS", &opens)).await?;
        wait::served(cluster.gateway_url(), HOST, LIMIT).await?;
        Ok(Shop { cluster, binary: binary.to_owned() })
    }

    /// Asks for a version by changing the Release.
    pub async fn ask_for(&self, version: &str, tag: &str) -> Result<()> {
        let yaml = include_str!("release.yaml").replace("version: NAME", &format!("version: {version}"));
        self.cluster.apply(&yaml.replace("TAG", tag)).await
    }

    pub fn releases(&self) -> Api<Release> {
        Api::namespaced(self.cluster.client(User::Admin), NAMESPACE)
    }

    pub fn routes(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
        Api::namespaced_with(self.cluster.client(User::Admin), NAMESPACE, &ApiResource::from_gvk(&kind))
    }

    /// As `pods`, of the version that the Deployment asks for.
    pub async fn stable_pods(&self) -> Result<BTreeMap<String, i32>> {
        let deployments: Api<Deployment> = Api::namespaced(self.cluster.client(User::Admin), NAMESPACE);
        let spec = deployments.get(NAME).await?.spec.context("the Deployment has no spec")?;
        let containers = spec.template.spec.context("the Deployment has no pods")?.containers;
        let image = containers.first().and_then(|container| container.image.as_deref()).unwrap_or_default();
        self.pods(image.trim_start_matches("demo:")).await
    }

    /// Number of restarts by UID of the pods with this image tag.
    pub async fn pods(&self, tag: &str) -> Result<BTreeMap<String, i32>> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(User::Admin), NAMESPACE);
        let image = format!("demo:{tag}");
        let mut restarts = BTreeMap::new();
        for pod in pods.list(&ListParams::default()).await? {
            let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            if pod.metadata.deletion_timestamp.is_none() && containers.any(|c| c.image.as_ref() == Some(&image)) {
                let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
                restarts.insert(pod.uid().unwrap_or_default(), statuses.map(|status| status.restart_count).sum());
            }
        }
        Ok(restarts)
    }

    /// Alice, of another team than who asks for the version, agrees with the command line tool.
    pub async fn approve(&self, gate: &str) -> Result<()> {
        let output = Command::new(&self.binary)
            .args(["approve", NAME, "--namespace", NAMESPACE, "--gate", gate])
            .env("KUBECONFIG", self.cluster.kubeconfig(User::Alice))
            .stdin(Stdio::null())
            .output()
            .await
            .context("cannot start lockkeeper")?;
        ensure!(output.status.success(), "lockkeeper approve: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}
