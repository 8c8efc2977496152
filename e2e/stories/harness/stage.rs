//! What all stories share: a cluster, the product in it, and one operator.

use std::path::{Path, PathBuf};

use anyhow::Result;
use lockkeeper_e2e::{Cluster, Fixture, Installation, MutatingPolicies, Operator, Options};

use super::Evidence;

/// Label of a Release that the shared operator leaves alone, because its story ends operators; the value is the namespace.
pub const OWN_OPERATOR: &str = "own-operator";

/// One for all stories.
pub struct Stage {
    pub cluster: Cluster,
    pub installation: Installation,
    pub policies: MutatingPolicies,
    operator: Operator,
    evidence: Evidence,
}

impl Stage {
    pub async fn set(policies: MutatingPolicies, evidence: Evidence) -> Result<Stage> {
        let cluster = Cluster::start(Options { mutating_policies: policies, ..Options::default() }).await?;
        match Self::with(&cluster, policies).await {
            Ok((installation, operator)) => Ok(Stage { cluster, installation, policies, operator, evidence }),
            Err(error) => {
                cluster.keep_logs();
                Err(error)
            }
        }
    }

    async fn with(cluster: &Cluster, policies: MutatingPolicies) -> Result<(Installation, Operator)> {
        let installation = Installation::install(cluster, policies).await?;
        let selector = format!("--release-selector=!{OWN_OPERATOR}");
        let operator = installation.operator(cluster, "operator", &[&selector]).await?;
        Ok((installation, operator))
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
        let status = self.operator.process.terminate(super::LIMIT).await?;
        if !status.success() {
            self.cluster.keep_logs();
            anyhow::bail!("the operator ended with {status} after SIGTERM; logs: {}", self.cluster.logs().display());
        }
        self.evidence.gather(&self.cluster, self.policies).await?;
        self.cluster.stop().await
    }
}

fn is_operator_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("operator"))
}
