//! Operators that a story may end.

use anyhow::Result;
use lockkeeper_e2e::Operator;

use super::Story;
use super::stage::OWN_OPERATOR;

impl Story<'_> {
    /// Starts an operator for this story's Releases alone. They must have been made by `own_release`. Each operator of the
    /// story stands for election under the same Lease.
    pub async fn operator(&self) -> Result<Operator> {
        let selector = format!("--release-selector={OWN_OPERATOR}={}", self.namespace);
        let lease = format!("--lease-name=lockkeeper-{}", self.namespace);
        let name = format!("operator-{}", self.namespace);
        self.stage.installation.operator(&self.stage.cluster, &name, &[&selector, &lease]).await
    }
}
