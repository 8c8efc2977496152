//! Checkers: what must hold after every single write, told from the objects alone.
//!
//! They know what the operator publishes and what users have written, never what the operator thinks. Requests, caches and controllers take
//! their time here; so where a promise is about what the operator knows, it is checked only once it could know ([`Witness::known_after`]).

mod capacity;
mod exposure;
mod pods;
mod request;
mod served;
mod traffic;
mod watchman;
mod work;

use std::{cell::OnceCell, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;

pub use self::{
    request::unguarded,
    traffic::{Traffic, serves},
    work::Work,
};
use crate::{
    api::{Change, Server, Snapshot},
    run::Skew,
    world::InForce,
};

/// After this time an operator whose link and watches work has heard of a change, and what it had decided before has arrived.
pub const KNOWN_AFTER: Duration = Duration::from_secs(1);
/// How long requests may reach no pod while there are some, where networks are bad: a request may take half a minute to fail, and a few may in a row.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which promise: `S1` and so on.
    pub promise: &'static str,
    /// When.
    pub at: Timestamp,
    /// By the change with this resource version.
    pub version: u64,
    /// What was seen.
    pub what: String,
}

/// What the checkers of a run have found.
#[derive(Clone, Debug, Default)]
pub struct Report(Arc<Mutex<Vec<Violation>>>);

impl Report {
    /// Adds what was found.
    pub fn broken(&self, violation: Violation) {
        self.0.lock().push(violation);
    }

    /// What was found, in order.
    pub fn violations(&self) -> Vec<Violation> {
        self.0.lock().clone()
    }
}

/// Who has made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The operator.
    Operator,
    /// A controller of Kubernetes, a kubelet, a gateway.
    Machine,
    /// Anybody else: people, Git, autoscalers.
    Other,
}

impl Author {
    fn of(change: &Change) -> Self {
        match &*change.by {
            lockkeeper_api::names::FIELD_MANAGER => Self::Operator,
            "deployment-controller"
            | "replicaset-controller"
            | "kubelet"
            | "endpointslice-controller"
            | "generic-garbage-collector"
            | "gateway" => Self::Machine,
            _ => Self::Other,
        }
    }
}

/// One change, as it concerns one workload of a Release.
pub struct Scene<'a> {
    /// The change.
    pub change: &'a Change,
    /// By whom.
    pub author: Author,
    /// All objects after it.
    pub objects: &'a Snapshot,
    /// The workload.
    pub work: &'a Work,
    /// Where requests went before.
    pub was: Traffic<'a>,
    /// Where they go now.
    pub is: Traffic<'a>,
    /// What is remembered of the Release.
    pub memory: &'a watchman::Memory,
    /// What the operators' clock says: windows open and close by it, whatever the true time is.
    pub told: Timestamp,
    /// Whether that clock has jumped a moment ago, so that what was decided before may just arrive.
    pub jumped: bool,
    /// How the candidate's exposure has grown, once somebody has asked.
    growth: OnceCell<Option<exposure::Growth>>,
}

/// A promise that can be checked after a change. What is broken is given as a sentence.
pub trait Checker: Send {
    /// Which promise.
    fn promise(&self) -> &'static str;

    /// Looks at a change.
    fn check(&mut self, scene: &Scene<'_>) -> Option<String>;
}

/// What checkers know beside the objects.
#[derive(Clone, Debug)]
pub struct Witness {
    /// By which rules requests may go.
    pub in_force: InForce,
    /// How wrong the operators' clock is.
    pub skew: Skew,
    /// After this time an operator has heard of a change.
    pub known_after: Duration,
    /// After this time, of a change of endpoints.
    pub endpoints_known_after: Duration,
    /// After this time, an operator that has heard of it has brought requests that reach no pod to one.
    pub patience: Duration,
}

/// All checkers.
fn all(patience: Duration) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(exposure::Step),
        Box::new(capacity::Starving),
        Box::new(capacity::Kept),
        Box::new(capacity::Flips),
        Box::new(exposure::Blocked),
        Box::new(exposure::Closed),
        Box::new(pods::Killed),
        Box::new(pods::TwoActive),
        Box::new(served::Served::new(patience)),
        Box::new(served::Standing::new(patience)),
    ]
}

/// Lets all checkers look at a server.
pub fn install(server: &mut Server, report: &Report, witness: Witness) {
    let checkers = all(witness.patience);
    server.observe(watchman::Watchman::new(report.clone(), witness, checkers));
}
