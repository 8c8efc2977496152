//! The real control plane, with the operator as a process.

use std::time::Duration;

use anyhow::Result;
use kube::Client;
use lockkeeper_e2e::{Cluster, Fixture, Installation, MutatingPolicies, Operator, Options, User};
use lockkeeper_simulator::api::Kind;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::Mirror;
use crate::names::Names;
use crate::play::Step;
use crate::state::{self, Facts};

/// Label of the Releases that the operator is to look at.
pub const OPERATED: &str = "operated";
/// So long nothing has to change in a state that is as expected.
const QUIET: Duration = Duration::from_millis(500);
/// So long nothing has to change in one that is not, until that is what there is.
const GIVE_UP: Duration = Duration::from_secs(20);
/// After so long something keeps changing for ever.
const LIMIT: Duration = Duration::from_secs(180);

/// A cluster with the product, one operator, and a mirror of what is in it.
pub struct Stage {
    cluster: Cluster,
    operator: Operator,
    mirror: Mirror,
}

impl Stage {
    pub async fn set() -> Result<Stage> {
        let cluster = Cluster::start(Options { prometheus: false, ..Options::default() }).await?;
        let installation = Installation::install(&cluster, MutatingPolicies::Served).await?;
        let selector = format!("--release-selector={OPERATED}");
        let operator = installation.operator(&cluster, "operator", &[&selector]).await?;
        let mirror = Mirror::start(&cluster.client(User::Admin)).await;
        Ok(Stage { cluster, operator, mirror })
    }
}

impl Fixture for Stage {
    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    async fn tear_down(self) -> Result<()> {
        drop(self.mirror);
        drop(self.operator);
        self.cluster.stop().await
    }
}

/// The real cluster, in which a scenario has been played in the model before.
pub struct Real<'a> {
    pub stage: &'a Stage,
    pub expected: &'a [Step],
}

impl Real<'_> {
    pub async fn prepare(&self, namespace: &str) -> Result<()> {
        self.stage.cluster.create_namespace(namespace).await?;
        self.stage.cluster.apply(&include_str!("people.yaml").replace("NAMESPACE", namespace)).await
    }

    pub fn client(&self, user: User) -> Client {
        self.stage.cluster.client(user)
    }

    pub fn object(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.stage.mirror.object(kind, namespace, name)
    }

    /// Waits until the state is the model's and stays so, or stays another one.
    pub async fn settle(&self, namespace: &str, step: usize, names: &mut Names) -> Result<Facts> {
        let expected = self.expected.get(step).map(|step| &step.facts);
        let mut changed = self.stage.mirror.subscribe();
        let limit = Instant::now() + LIMIT;
        let mut facts = Facts::new();
        let mut since = Instant::now();
        loop {
            changed.borrow_and_update();
            let now = state::of(&self.stage.mirror.within(namespace), names);
            if now != facts {
                (facts, since) = (now, Instant::now());
            }
            let until = (since + if expected == Some(&facts) { QUIET } else { GIVE_UP }).min(limit);
            if Instant::now() >= until {
                return Ok(facts);
            }
            // Late is no error: then it is quiet.
            let _ = timeout_at(until, changed.changed()).await;
        }
    }
}
