//! Everybody but the operator: Kubernetes' controllers, kubelets, a gateway, a metrics source, people, Git.
//!
//! Each is an [`Actor`]: woken by changes of the kinds that it watches, after a delay drawn from the seed, or at a time that it
//! has asked for. What it decides is a pure function of objects; the actor around it only reads them and applies the [`Edit`]s.

mod behaviour;
mod deployment;
mod edit;
mod endpoints;
mod garbage;
mod gateway;
mod idle;
mod kubelet;
mod metric;
pub mod people;
mod replica_set;
mod script;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

pub use self::{
    behaviour::Behaviour,
    deployment::{DeploymentController, sync},
    edit::Edit,
    endpoints::EndpointController,
    garbage::GarbageCollector,
    gateway::{Gateway, InForce},
    kubelet::Kubelet,
    metric::{Source, Spoken, Truth, by_image},
    replica_set::ReplicaSetController,
    script::{Act, Script, When},
};
use crate::api::{Kind, Server, Shared};

/// Somebody who acts in the cluster.
pub trait Actor: Send {
    /// Kinds whose changes wake it.
    fn watches(&self) -> &'static [Kind];

    /// How long it takes to notice a change, in milliseconds: at least and at most.
    fn reaction(&self) -> (u64, u64) {
        (1, 20)
    }

    /// Looks once and does what is to be done now. Gives the time at which it wants to look again, whatever changes.
    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp>;
}

/// Somebody who takes so long to notice a change, in milliseconds.
pub struct Tardy(pub Box<dyn Actor>, pub (u64, u64));

impl Actor for Tardy {
    fn watches(&self) -> &'static [Kind] {
        self.0.watches()
    }

    fn reaction(&self) -> (u64, u64) {
        self.1
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        self.0.step(turn)
    }
}

/// An actor's turn.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The API server.
    pub server: &'a mut Server,
    /// The time.
    pub now: Timestamp,
    /// Chance.
    pub random: &'a mut fastrand::Rng,
}

struct Place {
    actor: Box<dyn Actor>,
    due: Option<Timestamp>,
    seen: u64,
    random: fastrand::Rng,
}

/// Lets actors act, for ever.
pub async fn run(shared: Shared, actors: Vec<Box<dyn Actor>>) {
    let mut changed = shared.lock().store().subscribe();
    let now = shared.clock().now();
    let mut places: Vec<Place> = actors
        .into_iter()
        .map(|actor| Place { actor, due: Some(now), seen: 0, random: shared.fork_random() })
        .collect();
    loop {
        changed.catch_up();
        wake(&shared, &mut places);
        let now = shared.clock().now();
        // Whoever is due first acts first; of two at the same time the first in the list.
        let next = (0..places.len()).filter_map(|index| Some((places[index].due?, index))).min();
        match next {
            Some((due, index)) if due <= now => {
                let mut server = shared.lock();
                let place = &mut places[index];
                place.due = place.actor.step(&mut Turn { server: &mut server, now, random: &mut place.random });
            }
            next => tokio::select! {
                biased;
                () = changed.changed() => {}
                () = until(&shared, next.map(|(due, _)| due)) => {}
            },
        }
    }
}

async fn until(shared: &Shared, due: Option<Timestamp>) {
    match due {
        Some(due) => {
            let wait = Duration::try_from(due.duration_since(shared.clock().now())).unwrap_or_default();
            sleep_until(Instant::now() + wait).await;
        }
        None => std::future::pending().await,
    }
}

/// Actors that watch what has changed are due soon.
fn wake(shared: &Shared, places: &mut [Place]) {
    let server = shared.lock();
    let version = server.store().version();
    for place in places {
        let after = std::mem::replace(&mut place.seen, version);
        if after == version {
            continue;
        }
        let news = place.actor.watches().iter().any(|kind| match server.store().since(*kind, after) {
            Ok(changes) => !changes.is_empty(),
            Err(_) => true,
        });
        if news {
            let (from, to) = place.actor.reaction();
            let due = server.now + Duration::from_millis(place.random.u64(from..=to));
            place.due = Some(place.due.map_or(due, |before| before.min(due)));
        }
    }
}
