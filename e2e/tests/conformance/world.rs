//! The two worlds in which a scenario is played.

mod mirror;
mod model;
mod real;

use anyhow::Result;
use kube::Client;
use lockkeeper_e2e::{Traffic, User};
use lockkeeper_simulator::api::Kind;

use super::names::Names;
use super::state::Facts;
pub use mirror::Mirror;
pub use model::{Model, answer};
pub use real::{OPERATED, Real, Stage};

/// Where a scenario is played.
pub enum World<'a> {
    /// The simulator, on a virtual clock.
    Model(Model<'a>),
    /// The control plane, the gateway and the operator's process.
    Real(Real<'a>),
}

impl World<'_> {
    /// Makes the namespace, and gives people their roles in it.
    pub async fn prepare(&self, namespace: &str) -> Result<()> {
        match self {
            World::Model(model) => model.prepare(namespace),
            World::Real(real) => real.prepare(namespace).await,
        }
    }

    pub fn client(&self, user: User) -> Result<Client> {
        match self {
            World::Model(model) => model.client(user),
            World::Real(real) => Ok(real.client(user)),
        }
    }

    /// Sends requests to this host, where pods answer.
    pub fn send_requests(&self, host: &str) -> Option<Traffic> {
        match self {
            World::Model(_) => None,
            World::Real(real) => Some(real.send_requests(host)),
        }
    }

    /// Waits until nothing changes any more, and gives what there is then. `step` counts what has happened before in this scenario.
    pub async fn settle(&self, namespace: &str, step: usize, names: &mut Names) -> Result<Facts> {
        match self {
            World::Model(model) => model.settle(namespace, names).await,
            World::Real(real) => real.settle(namespace, step, names).await,
        }
    }
}

/// The kinds that live in namespaces, and are compared.
pub fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| kind.served().namespaced)
}
