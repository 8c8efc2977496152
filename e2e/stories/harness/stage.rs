//! What all stories share: a cluster, the product in it, and one operator.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lockkeeper_e2e::{Cluster, Fixture, Installation, MutatingPolicies, Operator, Options};

use super::Evidence;

/// Label of a Release that the shared operator leaves alone, because its story ends operators; the value is the namespace.
pub const OWN_OPERATOR: &str = "own-operator";
/// By which the shared operator's events tell that they are its.
pub const SHARED_OPERATOR: &str = "shared";

/// One for all stories.
pub struct Stage {
    pub cluster: Cluster,
    pub policies: MutatingPolicies,
    product: Product,
}

enum Product {
    /// Installed before the first story, with one operator for all.
    Shared { installation: Installation, operator: Box<Operator>, evidence: Evidence },
    #[allow(dead_code, reason = "for the installations only")]
    /// Installed by each story that runs, one after the other, from the chart or by kustomize.
    OfTheStory,
}

impl Stage {
    pub async fn set(policies: MutatingPolicies, evidence: Evidence) -> Result<Stage> {
        let cluster = Cluster::start(Options { mutating_policies: policies, ..Options::default() }).await?;
        match Self::with(&cluster, policies).await {
            Ok((installation, operator)) => {
                let product = Product::Shared { installation, operator: Box::new(operator), evidence };
                Ok(Stage { cluster, policies, product })
            }
            Err(error) => {
                cluster.keep_logs();
                Err(error)
            }
        }
    }

    async fn with(cluster: &Cluster, policies: MutatingPolicies) -> Result<(Installation, Operator)> {
        let installation = Installation::install(cluster, policies).await?;
        let selector = format!("--release-selector=!{OWN_OPERATOR}");
        let operator =
            installation.operator(cluster, "operator", &[&selector, &format!("--identity={SHARED_OPERATOR}")]).await?;
        Ok((installation, operator))
    }

    /// A cluster with nothing of the product in it.
    #[allow(dead_code, reason = "for the installations only")]
    pub async fn bare(policies: MutatingPolicies) -> Result<Stage> {
        let cluster = Cluster::start(Options { mutating_policies: policies, ..Options::default() }).await?;
        Ok(Stage { cluster, policies, product: Product::OfTheStory })
    }

    /// What was installed before the first story.
    pub fn installation(&self) -> Result<&Installation> {
        match &self.product {
            Product::Shared { installation, .. } => Ok(installation),
            Product::OfTheStory => bail!("each story installs the product here"),
        }
    }

    /// Logs of all operators there have been.
    pub fn operator_logs(&self) -> Vec<PathBuf> {
        let entries = self.cluster.logs().read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| is_operator_log(path)).collect()
    }
}

impl Fixture for Stage {
    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Ends the operator as an installation is taken down, keeps what its requests show, and then ends the cluster.
    async fn tear_down(self) -> Result<()> {
        if let Product::Shared { operator, evidence, .. } = self.product {
            let status = operator.process.terminate(super::LIMIT).await?;
            if !status.success() {
                self.cluster.keep_logs();
                bail!("the operator ended with {status} after SIGTERM; logs: {}", self.cluster.logs().display());
            }
            evidence.gather(&self.cluster, self.policies).await?;
        }
        self.cluster.stop().await
    }
}

fn is_operator_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        // Those of pods have the pod's name.
        name.starts_with("operator") || name.starts_with("lockkeeper")
    })
}
