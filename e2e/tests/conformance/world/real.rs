//! The real control plane, with the operator as a process.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use lockkeeper_e2e::{Cluster, Fixture, Installation, Load, MutatingPolicies, Operator, Options, Traffic, User};
use lockkeeper_simulator::api::Kind;
use lockkeeper_simulator::api::object::text;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Mirror, mirror};
use crate::names::Names;
use crate::play::Step;
use crate::state::{self, Facts};

/// Label of the Releases that the operator is to look at.
pub const OPERATED: &str = "operated";
/// So long changes are gathered before somebody looks: most come in bunches.
const BUNCH: Duration = Duration::from_millis(100);
/// So long nothing has to change in a state that is as expected.
const QUIET: Duration = Duration::from_millis(500);
/// So long nothing has to change in one that is not, until that is what there is. (The garbage collector takes notice of new kinds, and so of
/// ours, every 30 s.)
const GIVE_UP: Duration = Duration::from_secs(40);
/// The same where the worlds have parted before: they are not expected to meet again, and it is only told how it goes on.
const PARTED: Duration = Duration::from_secs(4);
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
        let cluster = Cluster::start(Options::default()).await?;
        let installation = Installation::install(&cluster, MutatingPolicies::Served).await?;
        let selector = format!("--release-selector={OPERATED}");
        let operator = installation.operator(&cluster, "operator", &[&selector]).await?;
        let mirror = Mirror::start(&cluster.client(User::Admin));
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
    stage: &'a Stage,
    expected: &'a [Step],
    parted: AtomicBool,
}

impl<'a> Real<'a> {
    /// `expected` is what has happened in the model.
    pub fn new(stage: &'a Stage, expected: &'a [Step]) -> Real<'a> {
        Real { stage, expected, parted: AtomicBool::new(false) }
    }

    pub async fn prepare(&self, namespace: &str) -> Result<()> {
        self.stage.cluster.create_namespace(namespace).await?;
        self.stage.cluster.apply(&include_str!("people.yaml").replace("NAMESPACE", namespace)).await
    }

    pub fn client(&self, user: User) -> Client {
        self.stage.cluster.client(user)
    }

    pub fn send_requests(&self, host: &str) -> Traffic {
        Traffic::start(self.stage.cluster.gateway_url(), &Load::new(host, 20))
    }

    /// What is stored of the kinds of which there is something.
    async fn stored(&self, namespace: &str) -> Result<Vec<(Kind, Value)>> {
        let kinds: BTreeSet<Kind> = self.stage.mirror.within(namespace).into_iter().map(|(kind, _)| kind).collect();
        mirror::stored(&self.client(User::Admin), namespace, kinds).await
    }

    /// Waits until the state is the model's and stays so, or stays another one.
    pub async fn settle(&self, namespace: &str, step: usize, names: &mut Names) -> Result<Facts> {
        let expected = self.expected.get(step).map(|step| &step.facts);
        let mut changed = self.stage.mirror.subscribe(namespace);
        let limit = Instant::now() + LIMIT;
        let mut facts = Facts::new();
        let mut since = Instant::now();
        let mut news = true;
        loop {
            if news {
                sleep(BUNCH).await;
                changed.borrow_and_update();
                names.learn(&self.stage.mirror.sets(namespace));
                let now = state::of(&self.stage.mirror.within(namespace), names);
                if now != facts {
                    (facts, since) = (now, Instant::now());
                }
            }
            let equal = expected == Some(&facts);
            let patience = match (equal, self.parted.load(Relaxed)) {
                (true, _) => QUIET,
                (false, true) => PARTED,
                (false, false) => GIVE_UP,
            };
            let until = (since + patience).min(limit);
            if Instant::now() >= until {
                // The mirror may be late: what is stored decides.
                let stored = state::of(&self.stored(namespace).await?, names);
                if stored == facts || Instant::now() >= limit {
                    self.parted.fetch_or(!equal, Relaxed);
                    self.outlast_the_second(namespace).await;
                    return Ok(stored);
                }
                (facts, since) = (stored, Instant::now());
                continue;
            }
            // Late is no error: then it is quiet.
            news = timeout_at(until, changed.changed()).await.is_ok();
        }
    }
    /// Ages count in seconds, and controllers take the older or the younger of two, or go by names: what is made next is to be younger than
    /// all that there is, as in the model.
    async fn outlast_the_second(&self, namespace: &str) {
        let objects = self.stage.mirror.within(namespace);
        let created = objects.iter().map(|(_, object)| text(&object["metadata"]["creationTimestamp"]));
        if let Some(youngest) = created.filter_map(|time| time.parse::<Timestamp>().ok()).max() {
            let over = youngest + SignedDuration::from_secs(1);
            // In the past it is not waited for.
            sleep(Duration::try_from(over.duration_since(Timestamp::now())).unwrap_or_default()).await;
        }
    }
}
