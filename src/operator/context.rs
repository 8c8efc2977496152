//! What all parts share.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Client, ResourceExt,
    api::DynamicObject,
    core::{Selector, SelectorExt},
};
use lockkeeper_adapters::metric::MetricSource;
use lockkeeper_api::{Release, release::Phase};
use lockkeeper_engine::{plan::Setting, world::Guard};
use parking_lot::RwLock;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    cache::{Cache, Key, Resource, Touched, touched},
    events::Events,
    jump::Jumps,
    leader::Leadership,
    measure::Measures,
    metrics::Metrics,
    orphan::Orphans,
    pods::Pods,
    policies::{self, Policy, Rendered},
    policy::Trials,
    publish::{Memory, Proofs, Told},
    queue::Queue,
    server::{Readiness, Requirement},
    settings::WatchNamespaces,
    throttle::Throttle,
};

/// Where the time comes from: the system's clock, or a test's.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that says what the function says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// When it will be that time, in the runtime's own measure.
    pub fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + std::time::Duration::try_from(at.duration_since(self.now())).unwrap_or_default()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// The parts from outside that an operator is made of.
#[allow(missing_debug_implementations, reason = "a metrics provider has no Debug")]
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// The time.
    pub clock: Clock,
    /// Whether this process acts.
    pub leadership: Leadership,
    /// What the installation decides.
    pub setting: Setting,
    /// Where Releases are handled.
    pub namespaces: WatchNamespaces,
    /// Which Releases are handled.
    pub releases: Selector,
    /// What this process lacks.
    pub readiness: Readiness,
    /// Series.
    pub metrics: Metrics,
    /// Where checks without a connection of their own are asked; none if there is no such place.
    pub provider: Option<Arc<dyn MetricSource>>,
    /// Numbers in 0..1 for jitter.
    pub random: Box<dyn FnMut() -> f64 + Send>,
    /// Name of this process in events.
    pub identity: String,
    /// The admission policies, as they are to be.
    pub policies: Rendered,
}

/// What all parts share.
#[allow(missing_debug_implementations, reason = "a metrics provider has no Debug")]
pub struct Context {
    /// The API server: for watches, and for writes through `act` and `publish`.
    pub client: Client,
    /// What is known of the cluster.
    pub cache: Cache,
    /// The time.
    pub clock: Clock,
    /// Whether this process acts.
    pub leadership: Leadership,
    /// What the installation decides.
    pub setting: Setting,
    /// Where Releases are handled.
    pub namespaces: WatchNamespaces,
    /// Series.
    pub metrics: Metrics,
    /// Deployments without a Release that are due.
    pub deployments: Arc<Queue<Key>>,
    /// Releases that are due.
    pub releases: Arc<Queue<Key>>,
    /// Windows that are due.
    pub windows: Arc<Queue<Key>>,
    /// RollbackPolicies that are due.
    pub policies: Arc<Queue<Key>>,
    /// Objects that failed when they were last looked at.
    pub backoff: Backoff<(Resource, Key)>,
    /// Statuses that are newer than the published ones.
    pub memory: Memory,
    /// Releases that are known to be current.
    pub proofs: Proofs,
    /// Statuses of windows and policies that this process has told.
    pub told: Told,
    /// Measurements.
    pub measures: Measures,
    /// Queries of policies, tried before they are needed.
    pub trials: Trials,
    /// Deployments without a Release.
    pub orphans: Orphans,
    /// Writes of late.
    pub throttle: Throttle,
    /// Pods of candidates.
    pub pods: Pods,
    /// Events.
    pub events: Events,
    /// The admission policies.
    admission: Vec<Expected>,
    guard: RwLock<Guard>,
    jumps: Jumps,
    selector: Selector,
}

/// An admission policy and its binding, as they are to be.
struct Expected {
    policy: Policy,
    name: String,
    objects: Vec<DynamicObject>,
    requirement: Requirement,
}

impl Expected {
    fn new(policy: Policy, objects: Vec<DynamicObject>, readiness: &Readiness) -> Self {
        // The policy itself; its binding follows.
        let name = objects.first().map(ResourceExt::name_any).unwrap_or_default();
        let requirement = readiness.recommend(format!("policy {name}"), "the policies have not been read yet");
        Self { policy, name, objects, requirement }
    }
}

impl Context {
    /// Puts the parts together; nothing runs yet.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            client,
            clock,
            leadership,
            setting,
            metrics,
            provider,
            random,
            identity,
            policies,
            namespaces,
            releases,
            readiness,
        } = parts;
        let expected = policies.into_iter().map(|(policy, objects)| Expected::new(policy, objects, &readiness));
        Arc::new(Self {
            admission: expected.collect(),
            guard: RwLock::default(),
            jumps: Jumps::new(clock.now()),
            cache: Cache::new(&setting.operator_namespace),
            deployments: Queue::new("deployment", metrics.clone()),
            orphans: Orphans::default(),
            throttle: Throttle::default(),
            releases: Queue::new("release", metrics.clone()),
            windows: Queue::new("window", metrics.clone()),
            policies: Queue::new("policy", metrics.clone()),
            backoff: Backoff::new(random),
            memory: Memory::default(),
            proofs: Proofs::default(),
            told: Told::default(),
            measures: Measures::new(provider),
            trials: Trials::default(),
            pods: Pods::default(),
            events: Events::new(client.clone(), identity),
            client,
            clock,
            leadership,
            setting,
            namespaces,
            selector: releases,
            metrics,
        })
    }

    /// How far the system's clock has jumped since this process began, by whoever has set it. Not to be called while the cache is read:
    /// when a jump is noticed, all statuses of before are marked.
    pub fn jumped(&self) -> SignedDuration {
        let (jumped, before) = self.jumps.total(self.clock.now());
        if let Some(before) = before {
            warn!(by = ?jumped.saturating_sub(before), "the system's clock has jumped");
            self.memory.jumped(self.cache.read().releases.all(), before);
        }
        jumped
    }

    /// The time by a clock that never jumps: for what is kept in memory, and compared with the time later.
    pub fn steady(&self) -> Timestamp {
        let jumped = self.jumped();
        let now = self.clock.now();
        now.checked_sub(jumped).unwrap_or(now)
    }

    /// Whether this operator, of several that share the work, handles a Release.
    pub fn handles(&self, release: &Release) -> bool {
        let none = BTreeMap::new();
        self.selector.matches(release.metadata.labels.as_ref().unwrap_or(&none))
    }

    /// Whether this operator writes the status of a window or policy. It reads those of the platform wherever it works, but one that
    /// does not handle their namespace may see only a part of the Releases that they are about: several would contradict each other.
    pub fn speaks_of(&self, object: &Key) -> bool {
        self.namespaces.covers(&object.namespace)
    }

    /// Which RollbackPolicy a Release means by a name, if there is one.
    pub fn policy_of(&self, release: &Key, name: &str) -> Option<Key> {
        let state = self.cache.read();
        state.policy(&release.namespace, name, &self.setting.operator_namespace).map(|(key, _)| key)
    }

    /// Whether the API server vouches for the authors of Decisions.
    pub fn guard(&self) -> Guard {
        self.guard.read().clone()
    }

    /// Looks at the admission policies again: one of them has changed, or all have been read.
    ///
    /// One that is missing or altered is told everywhere, but this process stays ready and goes on: releases under way must be
    /// able to go back, and a new process would find it no better. Without the one for Decisions, none counts.
    pub fn check_policies(&self) {
        let state = self.cache.read();
        let live: Vec<_> = state.admission.all().map(|(_, object)| object).collect();
        for Expected { policy, name, objects, requirement } in &self.admission {
            let found = policies::guard(&live, objects);
            self.metrics.policy_intact(name, found == policies::Guard::Intact);
            match &found {
                policies::Guard::Intact if requirement.met() => {
                    info!(policy = name, "the admission policy is in force")
                }
                policies::Guard::Broken(why) if requirement.lacking(why) => {
                    warn!(policy = name, why, "an admission policy is not in force")
                }
                policies::Guard::Intact | policies::Guard::Broken(_) => {}
            }
            match policy {
                Policy::Decision => {
                    *self.guard.write() = match found {
                        policies::Guard::Intact => Guard::Intact,
                        policies::Guard::Broken(why) => Guard::Broken(why),
                    }
                }
                Policy::Hold | Policy::Author | Policy::Pin | Policy::Govern => {}
            }
        }
    }

    /// Whoever should look at a change, does.
    pub fn touch(&self, touched: Touched) {
        let Touched { releases, windows, policies, deployments, .. } = touched;
        releases.into_iter().for_each(|key| self.releases.add(key));
        windows.into_iter().for_each(|key| self.windows.add(key));
        policies.into_iter().for_each(|key| self.policies.add(key));
        deployments.into_iter().for_each(|key| self.deployments.add(key));
    }

    /// Everything is looked at: this process has just begun to act.
    pub fn touch_all(&self) {
        let state = self.cache.read();
        for (key, release) in state.releases.all() {
            // What has traffic to move does not wait for the thousands that rest.
            match at_rest(release) {
                true => self.releases.add(key.clone()),
                false => self.releases.add_first(key.clone()),
            }
        }
        state.windows.all().for_each(|(key, _)| self.windows.add(key.clone()));
        state.policies.all().for_each(|(key, _)| self.policies.add(key.clone()));
        let left = state.deployments.all().filter(|(key, _)| touched::left_by(&state, key).is_some());
        left.for_each(|(key, _)| self.deployments.add(key.clone()));
    }
}

/// Whether nothing was under way in a Release when its status was published, nor has been asked for since.
fn at_rest(release: &Release) -> bool {
    let settled = release.status.as_ref().is_some_and(|status| match status.phase {
        Phase::Stable | Phase::RolledBack | Phase::Aborted | Phase::Rejected | Phase::Invalid => true,
        Phase::Waiting | Phase::Progressing | Phase::Paused | Phase::Promoting | Phase::Baking | Phase::RollingBack => {
            false
        }
    });
    let observed = release.status.as_ref().and_then(|status| status.observed_generation);
    settled && observed == release.metadata.generation
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, num::NonZeroU16};

    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;
    use crate::fixture::parts;

    #[tokio::test]
    async fn what_is_under_way_or_asked_for_does_not_wait_for_what_rests() {
        let nobody =
            tower::service_fn(async |_: http::Request<Body>| Ok::<_, Infallible>(http::Response::new(Body::empty())));
        let context = Context::new(parts(Client::new(nobody, "shop")));
        for (name, phase, observed) in
            [("a", "Stable", 7), ("b", "RolledBack", 7), ("c", "RollingBack", 7), ("d", "Stable", 6)]
        {
            let release = json!({
                "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1", "generation": 7},
                "spec": {
                    "workloads": [{"ref": {"kind": "Deployment", "name": name}}],
                    "strategy": {"canary": {"steps": [{"setWeight": 5}]}},
                },
                "status": {"phase": phase, "observedGeneration": observed, "message": ""},
            });
            context
                .cache
                .put(Resource::Release, serde_json::from_value(release).unwrap(), Timestamp::UNIX_EPOCH)
                .unwrap();
        }
        context.touch_all();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let look = context.releases.clone().run(NonZeroU16::MIN, move |key| {
            let sender = sender.clone();
            async move { sender.send(key.name).unwrap() }
        });
        let looked = async { [receiver.recv().await.unwrap(), receiver.recv().await.unwrap()] };
        let looked = tokio::select! {
            () = look => panic!("it goes on for ever"),
            looked = looked => looked,
        };
        assert_eq!(looked, ["c", "d"]);
    }
}
