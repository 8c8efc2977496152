//! The product as a story installs it: from the chart, with the operator in pods.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1 as core;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_e2e::{
    ADDRESS, Cluster, MutatingPolicies, SYSTEM_NAMESPACE, User, http_get, policies_are_in_force, wait,
};

use crate::harness::LIMIT;

/// Settings of one installation.
#[derive(Clone, Debug)]
pub struct Values {
    /// Namespace of the Helm release, and so of the operator.
    pub namespace: &'static str,
    pub policies: MutatingPolicies,
    /// For `--set`.
    pub settings: Vec<String>,
}

impl Default for Values {
    fn default() -> Values {
        Values { namespace: SYSTEM_NAMESPACE, policies: MutatingPolicies::Served, settings: Vec::new() }
    }
}

/// An installation of the chart by Helm.
pub struct Chart<'a> {
    cluster: &'a Cluster,
    values: Values,
}

/// A pod of the operator that is not being deleted.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    url: String,
}

impl<'a> Chart<'a> {
    /// Takes away whatever another story has left, and installs nothing yet.
    pub async fn prepare(cluster: &'a Cluster, values: Values) -> Result<Chart<'a>> {
        cluster.bash(include_str!("purge.sh")).await.context("cannot clear the cluster")?;
        Ok(Chart { cluster, values })
    }

    /// Installs the chart of this checkout, and returns when the pods are ready and the policies in force.
    pub async fn install(&self) -> Result<()> {
        self.install_from(&chart()).await
    }

    /// Installs this chart, a directory or a package, or upgrades to it.
    pub async fn install_from(&self, chart: &Path) -> Result<()> {
        self.apply(chart, &["--wait", "--timeout=2m"]).await?;
        self.in_force().await
    }

    /// Installs the chart of this checkout and returns at once.
    pub async fn begin_to_install(&self) -> Result<()> {
        self.apply(&chart(), &[]).await
    }

    async fn apply(&self, chart: &Path, patience: &[&str]) -> Result<()> {
        let chart = chart.display().to_string();
        let namespace = self.values.namespace;
        let mut arguments = vec!["upgrade", "--install", "lockkeeper", &chart, "--namespace", namespace];
        arguments.push("--create-namespace");
        arguments.extend(patience);
        let prometheus = format!("prometheusUrl={}", self.cluster.prometheus_url()?);
        // Prometheus is a process beside the pods.
        let own = [prometheus, "allowAddresses={127.0.0.0/8}".to_owned()];
        for setting in own.iter().chain(&self.values.settings) {
            arguments.extend(["--set", setting]);
        }
        self.cluster.helm(arguments).await.map(drop)
    }

    /// Goes back to the revision before.
    pub async fn rollback(&self) -> Result<()> {
        let namespace = self.values.namespace;
        self.cluster.helm(["rollback", "lockkeeper", "--namespace", namespace, "--wait", "--timeout=2m"]).await?;
        self.in_force().await
    }

    /// The policies are in force, and the operator finds them intact.
    pub async fn in_force(&self) -> Result<()> {
        policies_are_in_force(self.cluster, self.values.policies).await?;
        wait::answer("the operator to find all policies intact", LIMIT, async || {
            for pod in self.pods().await? {
                let page = pod.page("/readyz").await?;
                ensure!(!page.contains("[!]") && !page.contains("[-]"), "{}:\n{page}", pod.name);
            }
            Ok(())
        })
        .await
    }

    pub async fn uninstall(&self) -> Result<()> {
        let namespace = self.values.namespace;
        self.cluster.helm(["uninstall", "lockkeeper", "--namespace", namespace, "--wait", "--timeout=2m"]).await?;
        // Helm waits for the Deployment, not for its pods.
        let pods = Api::<core::Pod>::namespaced(self.cluster.client(User::Admin), namespace);
        wait::list(&pods, OPERATOR, "be gone", LIMIT, |pods| pods.is_empty()).await.map(drop)
    }

    /// The pods of the operator, by name.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let pods = Api::<core::Pod>::namespaced(self.cluster.client(User::Admin), self.values.namespace);
        let listed = pods.list(&ListParams::default().labels(OPERATOR)).await?;
        let live = listed.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        live.map(|pod| {
            let address = pod.annotations().get(ADDRESS).with_context(|| format!("{} runs nowhere", pod.name_any()))?;
            Ok(Pod { name: pod.name_any(), url: format!("http://{address}") })
        })
        .collect()
    }

    /// The names of those that lead.
    pub async fn leaders(&self) -> Result<Vec<String>> {
        let mut leaders = Vec::new();
        for pod in self.pods().await? {
            if pod.series().await?.get("lockkeeper_leader") == Some(&1.0) {
                leaders.push(pod.name);
            }
        }
        Ok(leaders)
    }

    /// The operator was refused nothing: its rights are enough.
    pub async fn was_refused_nothing(&self) -> Result<()> {
        for pod in self.pods().await? {
            let series = pod.series().await?;
            let refused: Vec<&String> = series
                .keys()
                .filter(|series| series.starts_with("lockkeeper_api_requests") && series.contains("\"403\""))
                .collect();
            ensure!(refused.is_empty(), "{} was refused: {refused:?}", pod.name);
        }
        Ok(())
    }
}

impl Pod {
    /// What it answers on this path, whatever the status.
    pub async fn page(&self, path: &str) -> Result<String> {
        let answer = http_get(&format!("{}{path}", self.url)).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    async fn series(&self) -> Result<BTreeMap<String, f64>> {
        let page = self.page("/metrics").await?;
        let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
        Ok(samples.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect())
    }
}

const OPERATOR: &str = "app.kubernetes.io/component=operator";

/// The chart of this checkout.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/lockkeeper")
}
