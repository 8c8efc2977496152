//! Where a scenario plays: a cluster of its own with the product installed, and operators with default settings.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lockkeeper_e2e::{Cluster, Installation, Operator, Options};

use crate::acceptor;
use crate::metric_source::MetricSource;
use crate::usage::Usage;

/// Requests a second of each controller of the controller manager: more than it can send, so that it is no bound.
const CONTROLLER_REQUESTS_PER_SECOND: u32 = 5_000;

/// Who accepts routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// The bench itself, at once.
    Acceptor,
    /// Traefik.
    Traefik,
}

impl Gateway {
    /// Name of the Gateway that routes attach to.
    pub fn name(self) -> &'static str {
        match self {
            Gateway::Acceptor => acceptor::GATEWAY,
            Gateway::Traefik => "gw",
        }
    }
}

/// A cluster, the product in it, and a metrics provider.
pub struct Stage {
    pub cluster: Cluster,
    pub metrics: MetricSource,
    installation: Installation,
}

impl Stage {
    /// Starts a cluster and installs everything but the operator's process.
    ///
    /// # Errors
    /// If a part does not come up.
    pub async fn open(gateway: Gateway) -> Result<Stage> {
        let options = Options {
            controller_requests_per_second: CONTROLLER_REQUESTS_PER_SECOND,
            prometheus: false,
            gateway: gateway == Gateway::Traefik,
            ..Options::default()
        };
        let mutating_policies = options.mutating_policies;
        let cluster = Cluster::start(options).await?;
        let installation = Installation::install(&cluster, mutating_policies).await?;
        match gateway {
            Gateway::Acceptor => acceptor::start(&cluster).await?,
            Gateway::Traefik => {}
        }
        Ok(Stage { metrics: MetricSource::start().await?, cluster, installation })
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        self.installation.binary()
    }

    /// Starts an operator and returns at once.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, name: &str, arguments: &[&str]) -> Result<Operator> {
        let source = format!("--prometheus-url={}", self.metrics.url());
        let arguments: Vec<&str> = [source.as_str()].iter().chain(arguments).copied().collect();
        self.installation.start(&self.cluster, name, &arguments)
    }

    /// Starts an operator with default settings and waits until it is ready.
    ///
    /// # Errors
    /// If it is not ready within `within`.
    pub async fn operator(&self, name: &str, within: Duration) -> Result<Operator> {
        let mut operator = self.start(name, &[])?;
        operator.process.ready(&format!("{}/readyz", operator.url), within).await?;
        Ok(operator)
    }
}

/// What an operator uses.
///
/// # Errors
/// If it has ended.
pub fn usage(operator: &Operator) -> Result<Usage> {
    Usage::of(operator.process.id().context("the operator has ended by itself")?)
}
