//! The model: the simulator.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use kube::Client;
use lockkeeper_adapters::metric::{NoData, Sample};
use lockkeeper_e2e::User;
use lockkeeper_simulator::api::{self, Caller, Kind, Link, Service, Snapshot};
use lockkeeper_simulator::run::Sim;
use lockkeeper_simulator::world::by_image;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::names::Names;
use crate::state::{self, Facts};

/// So long nothing has to change; whoever acts by himself does it sooner.
const QUIET: u32 = 30;
/// After so long something keeps changing for ever.
const LIMIT: u32 = 3600;

/// A simulated cluster.
pub struct Model<'a>(pub &'a mut Sim);

impl Model<'_> {
    pub fn prepare(&self, namespace: &str) -> Result<()> {
        let object = json!({"metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}}});
        let admin = Caller::new(person(User::Admin));
        let created = self.0.shared.lock().create(&admin, Kind::Namespace, "", object);
        created.map(drop).map_err(|status| anyhow!("{}", status.message))
    }

    pub fn client(&self, user: User) -> Result<Client> {
        let link = Link::new(user.name(), self.0.shared.fork_random(), (0, 2));
        Ok(Service::new(self.0.shared.clone(), link, Caller::new(person(user)), &[]).client())
    }

    pub async fn settle(&self, namespace: &str, names: &mut Names) -> Result<Facts> {
        let version = || self.0.shared.lock().store().version();
        let (mut facts, mut seen) = (self.facts(namespace, names), version());
        let mut quiet = 0;
        for _ in 0..LIMIT {
            // Time goes on only here.
            sleep(Duration::from_secs(1)).await;
            quiet += 1;
            if version() != seen {
                seen = version();
                let now = self.facts(namespace, names);
                if now != facts {
                    (facts, quiet) = (now, 0);
                }
            }
            if quiet == QUIET {
                return Ok(facts);
            }
        }
        bail!("the model does not come to rest within {LIMIT} virtual seconds")
    }

    fn facts(&self, namespace: &str, names: &mut Names) -> Facts {
        let server = self.0.shared.lock();
        let all = server.store().objects().all().filter(|(key, _)| key.namespace == namespace);
        let objects: Vec<(Kind, Value)> = all.map(|(key, object)| (key.kind, object.value().clone())).collect();
        state::of(&objects, names)
    }
}

/// What the metrics source answers: a few queries without data, as Prometheus does, and others from what pods of the image show.
pub fn answer(objects: &Snapshot, query: &str) -> Sample {
    match query {
        "vector(0)" => Sample::Value(0.0),
        "vector(1)" => Sample::Value(1.0),
        "vector(2)" => Sample::Value(2.0),
        "vector(0) / vector(0)" => Sample::NoData { reason: NoData::NotANumber },
        "vector(1) / vector(0)" => Sample::NoData { reason: NoData::Infinite },
        _ => by_image(objects, query),
    }
}

/// People as the model knows them: it has no roles but the custom verbs, and these are what the real ones' roles give.
fn person(user: User) -> api::User {
    let groups: Vec<&str> = user.group().into_iter().chain(["system:authenticated"]).collect();
    let verbs: &[&str] = match user {
        User::Admin => &["approve", "promote", "abort", "override", "govern"],
        User::Alice | User::Bob => &["approve", "promote", "abort", "override"],
        User::Carol | User::Dave => &["approve"],
        User::Erin => &["promote", "abort"],
        User::Mallory => &[],
    };
    let verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
    api::User { verbs, ..api::User::new(user.name(), &groups) }
}
