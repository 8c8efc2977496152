//! Leader election by a Lease, with fencing: of all processes with the same Lease at most one acts at any time.
//!
//! ```text
//!             Lease free, or unchanged for its duration (D)
//!  Follower ────────────────────────────────────────────────▶ Leader, until 3/4 D after it *sent* its last good renewal
//!      ▲   ◀────────────────────────────────────────────────    │
//!      └── Lease taken or gone; or no good renewal in time ─────┘     shut down: Lease freed, the next one acts at once
//!
//!  leader    sends renewal ─▶ stored ······ 3/4 D: stops acting ·······
//!  follower                     sees it ······························· D: may take over
//! ```
//! A follower sees a renewal after the leader has sent it, and waits a quarter of D longer than the leader goes on, so the two
//! do not overlap however long messages take. Each process measures time by its own monotonic clock; times written in the Lease are for
//! people only. A process that was stopped as a whole (a suspended virtual machine) may wake up as leader for an instant: writes
//! carry the resource version that they were decided on, for that and for requests that were already on their way.
//!
//! Why not a library: kube-lease-manager 0.13, the only one for this version of kube, compares the clocks of two machines and
//! goes on reporting leadership while the API server cannot be reached.

#[cfg(test)]
mod fake;
mod sighting;
#[cfg(test)]
mod tests;

use std::{error::Error, future::Future, pin::pin, time::Duration};

use futures::{StreamExt, stream};
use json_patch::{
    AddOperation, Patch as JsonPatch, PatchOperation, RemoveOperation, TestOperation, jsonptr::PointerBuf,
};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{
        utils::{Backoff, StreamBackoff},
        watcher::watch_object,
    },
};
use lockkeeper_api::names::FIELD_MANAGER;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use self::sighting::{Next, evaluate, see};
use crate::context::Clock;

/// Whom a Lease belongs to that was just created. Nobody has this identity, so that the Lease keeps everybody out for its duration.
const NOBODY: &str = "nobody-yet";

/// What a process needs to know to stand for election.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease; processes that share the work between them by selector need one each.
    pub lease: String,
    /// Name of this process in the Lease; no two running processes may have the same.
    pub identity: String,
    /// How long a Lease that is not renewed keeps others out; whole seconds, at least 2. The leader renews three times as
    /// often, and stops acting after three quarters of it.
    pub duration: Duration,
}

impl Candidate {
    fn seconds(&self) -> i32 {
        i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX)
    }

    /// One write in this time at most, and none may take longer.
    fn interval(&self) -> Duration {
        self.duration / 3
    }

    /// When a leader that sent its last good renewal at `sent` must have stopped.
    fn fence(&self, sent: Instant) -> Instant {
        sent + self.duration / 4 * 3
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    Follower,
    Leader {
        until: Instant,
        /// Which time it is that this process leads.
        term: u64,
    },
    /// There is no election.
    Alone,
}

impl Standing {
    fn leads(self, now: Instant) -> bool {
        match self {
            Self::Follower => false,
            Self::Leader { until, .. } => now < until,
            Self::Alone => true,
        }
    }
}

/// Whether this process is the one that acts. Cheap to clone and to ask; to be asked before every write.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Standing>);

impl Leadership {
    /// Leadership without an election, for an installation that has only one process.
    pub fn always() -> Self {
        Self(watch::channel(Standing::Alone).1)
    }

    /// Whether this process may act now. False from the fencing deadline on, whether or not anybody has noticed yet.
    pub fn is_leader(&self) -> bool {
        self.0.borrow().leads(Instant::now())
    }

    /// Which time it is that this process leads, counted from 1. None without an election: then nothing keeps another process from acting
    /// at the same time.
    pub fn term(&self) -> Option<u64> {
        match *self.0.borrow() {
            Standing::Leader { term, .. } => Some(term),
            Standing::Follower | Standing::Alone => None,
        }
    }

    /// Waits until this process leads; at once if it does. Never returns when the election has ended.
    pub async fn acquired(&mut self) {
        if self.0.wait_for(|standing| standing.leads(Instant::now())).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until this process does not lead; at once if it does not.
    pub async fn lost(&mut self) {
        loop {
            let standing = *self.0.borrow_and_update();
            let until = match standing {
                Standing::Leader { until, .. } if Instant::now() < until => until,
                Standing::Follower | Standing::Leader { .. } => return,
                Standing::Alone => std::future::pending().await,
            };
            tokio::select! {
                Ok(()) = self.0.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

/// The election as one process takes part in it.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    /// For the times that people read in the Lease.
    clock: Clock,
    standing: watch::Sender<Standing>,
}

impl Election {
    /// Prepares to stand; nothing is sent before [`Election::run`].
    pub fn new(client: Client, candidate: Candidate, clock: Clock) -> (Self, Leadership) {
        let (standing, receiver) = watch::channel(Standing::Follower);
        let api = Api::namespaced(client, &candidate.namespace);
        (Self { api, candidate, clock, standing }, Leadership(receiver))
    }

    /// Takes part until `shutdown`, then frees the Lease if it is ours, so that the next process acts at once. Whatever acts
    /// must have ended before `shutdown` does. Failing requests are logged and tried again, for as long as it takes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let contend = async {
            for term in 1.. {
                let sent = self.follow().await;
                self.lead(sent, term).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = contend => {}
        }
        if let Standing::Leader { .. } = self.standing.send_replace(Standing::Follower) {
            self.release().await;
        }
    }

    /// Watches the Lease until this process has taken it. Returns when the request that took it was sent.
    async fn follow(&self) -> Instant {
        let interval = self.candidate.interval();
        let mut sighting = loop {
            match self.look().await {
                Some(lease) => break see(None, lease, Instant::now()),
                None => sleep(interval).await,
            }
        };
        let watch = StreamBackoff::new(watch_object(self.api.clone(), &self.candidate.lease), Every(interval));
        let mut watch = pin!(watch.chain(stream::pending()));
        let mut not_before = Instant::now();
        loop {
            let next = evaluate(&sighting, &self.candidate.identity, self.candidate.duration, Instant::now());
            let wake = match &next {
                Next::Create | Next::Take { .. } => not_before,
                Next::Wait(until) => *until,
            };
            tokio::select! {
                // What the watch has already brought comes before an attempt that it may show to be vain.
                biased;
                Some(seen) = watch.next() => match seen {
                    Ok(lease) => sighting = see(Some(sighting), lease, Instant::now()),
                    Err(error) => warn!(%error, "failed to watch the Lease{}", mend(&error)),
                },
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    let answer = match &next {
                        Next::Wait(_) => continue,
                        Next::Create => self.create().await,
                        Next::Take { version, transitions } => match self.take(version, *transitions).await {
                            Answer::Done => return now,
                            answer => answer,
                        },
                    };
                    not_before = now + interval;
                    match answer {
                        // Rather than trust that the watch is still alive.
                        Answer::Done | Answer::Refused => if let Some(lease) = self.look().await {
                            sighting = see(Some(sighting), lease, Instant::now());
                        },
                        Answer::Failed => {}
                    }
                }
            }
        }
    }

    /// Renews the Lease until that fails for good. `sent` is when the request that took it was sent.
    async fn lead(&self, mut sent: Instant, term: u64) {
        let Candidate { lease, identity, .. } = &self.candidate;
        info!(%lease, %identity, "leading: this process acts");
        let mut attempt = sent;
        loop {
            let until = self.candidate.fence(sent);
            self.standing.send_replace(Standing::Leader { until, term });
            sleep_until((attempt + self.candidate.interval()).min(until)).await;
            attempt = Instant::now();
            if attempt >= until {
                warn!(%lease, %identity, "following: the Lease could not be renewed in time");
                break;
            }
            match self.renew(self.candidate.interval().min(until - attempt)).await {
                Answer::Done => sent = attempt,
                Answer::Failed => {}
                Answer::Refused => {
                    warn!(%lease, %identity, "following: someone else has taken or removed the Lease");
                    break;
                }
            }
        }
        self.standing.send_replace(Standing::Follower);
    }

    async fn create(&self) -> Answer {
        let name = Some(self.candidate.lease.clone());
        let metadata = ObjectMeta { name, ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(self.spec(NOBODY, 0)) };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        // Unlike with the others, 404 and 422 would be the namespace or the name: for people to mend.
        answer("create", &[409], timeout(self.candidate.interval(), self.api.create(&params, &lease)).await)
    }

    async fn take(&self, version: &str, transitions: i32) -> Answer {
        let spec = self.spec(&self.candidate.identity, transitions);
        let patch = [test(["metadata", "resourceVersion"], json!(version)), add(["spec"], json!(spec))];
        self.patch("take", self.candidate.interval(), patch).await
    }

    fn spec(&self, holder: &str, transitions: i32) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        LeaseSpec {
            holder_identity: Some(holder.into()),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_duration_seconds: Some(self.candidate.seconds()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Succeeds exactly if the Lease is still ours when it is stored. The resource version is no condition, so that a renewal whose
    /// answer was lost does not make the next one fail.
    async fn renew(&self, limit: Duration) -> Answer {
        let patch = [
            test(["spec", "holderIdentity"], json!(self.candidate.identity)),
            add(["spec", "renewTime"], json!(MicroTime(self.clock.now()))),
            add(["spec", "leaseDurationSeconds"], json!(self.candidate.seconds())),
        ];
        self.patch("renew", limit, patch).await
    }

    async fn release(&self) {
        let path = ["spec", "holderIdentity"];
        let remove = PatchOperation::Remove(RemoveOperation { path: PointerBuf::from_tokens(path) });
        let patch = [test(path, json!(self.candidate.identity)), remove];
        match self.patch("free", self.candidate.interval(), patch).await {
            Answer::Done => info!(lease = self.candidate.lease, "freed the Lease: the next process acts at once"),
            Answer::Refused => debug!("the Lease was no longer ours"),
            Answer::Failed => {} // Logged; it runs out by itself.
        }
    }

    async fn patch<const N: usize>(&self, what: &str, limit: Duration, patch: [PatchOperation; N]) -> Answer {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Json::<()>(JsonPatch(patch.into()));
        answer(what, &[404, 409, 422], timeout(limit, self.api.patch(&self.candidate.lease, &params, &patch)).await)
    }

    /// Reads the Lease; `None` when there was no answer.
    async fn look(&self) -> Option<Option<Lease>> {
        match timeout(self.candidate.interval(), self.api.get_opt(&self.candidate.lease)).await {
            Ok(Ok(lease)) => Some(lease),
            Ok(Err(error)) => {
                warn!(%error, "failed to read the Lease{}", mend(&error));
                None
            }
            Err(_) => {
                warn!("failed to read the Lease: the API server gave no answer in time");
                None
            }
        }
    }
}

/// What became of a write to the Lease.
enum Answer {
    Done,
    /// Its condition did not hold: the Lease is another's, or has changed, or is gone.
    Refused,
    /// Nothing is known; it may have been stored.
    Failed,
}

type Timed<T> = Result<T, tokio::time::error::Elapsed>;

fn answer(what: &str, refusals: &[u16], result: Timed<kube::Result<Lease>>) -> Answer {
    match result {
        Ok(Ok(_)) => Answer::Done,
        Ok(Err(kube::Error::Api(status))) if refusals.contains(&status.code) => Answer::Refused,
        Ok(Err(error)) => {
            warn!(%error, "failed to {what} the Lease{}", mend(&error));
            Answer::Failed
        }
        Err(_) => {
            warn!("failed to {what} the Lease: the API server gave no answer in time");
            Answer::Failed
        }
    }
}

/// What to do about an error, where that is known.
fn mend(error: &(dyn Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 403) {
            return ": the operator needs get, list, watch, create and patch on leases in its own namespace";
        }
        cause = error.source();
    }
    ""
}

fn test<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: PointerBuf::from_tokens(path), value })
}

fn add<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value })
}

/// The same pause after each error, without end.
struct Every(Duration);

impl Iterator for Every {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0)
    }
}

impl Backoff for Every {
    fn reset(&mut self) {}
}
