//! Operators that a story may end.

use anyhow::Result;
use jiff::Timestamp;
use lockkeeper_e2e::Operator;

use super::Story;
use super::stage::OWN_OPERATOR;

impl Story<'_> {
    /// Starts an operator for this story's Releases alone. They must have been made by `own_release`. Each operator of the
    /// story stands for election under the same Lease.
    pub async fn operator(&self) -> Result<Operator> {
        self.operator_electing(&self.namespace).await
    }

    /// The same, but its Lease, its log and, to begin with, its identity are named after `election`: it knows nothing of those of
    /// other elections.
    pub async fn operator_electing(&self, election: &str) -> Result<Operator> {
        let selector = format!("--release-selector={OWN_OPERATOR}={}", self.namespace);
        let lease = format!("--lease-name=lockkeeper-{election}");
        let name = format!("operator-{election}");
        let identity = format!("--identity={election}-{}", Timestamp::now().as_millisecond());
        self.stage.installation()?.operator(&self.stage.cluster, &name, &[&selector, &lease, &identity]).await
    }
}
