//! What all parts share.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use kube::{
    Client,
    api::DynamicObject,
    core::{Selector, SelectorExt},
};
use lockkeeper_adapters::metric::MetricSource;
use lockkeeper_api::Release;
use lockkeeper_engine::{plan::Setting, world::Guard};
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    cache::{Cache, Key, Touched},
    events::Events,
    leader::Leadership,
    measure::Measures,
    metrics::Metrics,
    pods::Pods,
    policies::{self, Policy, PolicySettings, TextError},
    publish::Memory,
    queue::Queue,
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
    /// Which Releases are handled.
    pub releases: Selector,
    /// Series.
    pub metrics: Metrics,
    /// Where checks without a connection of their own are asked; none if there is no such place.
    pub provider: Option<Arc<dyn MetricSource>>,
    /// Numbers in 0..1 for jitter.
    pub random: Box<dyn FnMut() -> f64 + Send>,
    /// Name of this process in events.
    pub identity: String,
    /// What the admission policies depend on.
    pub policies: PolicySettings,
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
    /// Series.
    pub metrics: Metrics,
    /// Releases that are due.
    pub releases: Arc<Queue<Key>>,
    /// Windows that are due.
    pub windows: Arc<Queue<Key>>,
    /// RollbackPolicies that are due.
    pub policies: Arc<Queue<Key>>,
    /// Releases whose writes failed.
    pub backoff: Backoff<Key>,
    /// Statuses that are newer than the published ones.
    pub memory: Memory,
    /// Measurements.
    pub measures: Measures,
    /// Pods of candidates.
    pub pods: Pods,
    /// Events.
    pub events: Events,
    /// The admission policy for Decisions and its binding, as they are to be.
    expected: Vec<DynamicObject>,
    guard: RwLock<Guard>,
    selector: Selector,
}

impl Context {
    /// Puts the parts together; nothing runs yet.
    ///
    /// # Errors
    /// If the text of the policies of this build cannot be read.
    pub fn new(parts: Parts) -> Result<Arc<Self>, TextError> {
        let Parts { client, clock, leadership, setting, metrics, provider, random, identity, policies, releases } =
            parts;
        Ok(Arc::new(Self {
            expected: Policy::Decision.render(&policies)?,
            guard: RwLock::default(),
            cache: Cache::new(&setting.operator_namespace),
            releases: Queue::new("release", metrics.clone()),
            windows: Queue::new("window", metrics.clone()),
            policies: Queue::new("policy", metrics.clone()),
            backoff: Backoff::new(random),
            memory: Memory::default(),
            measures: Measures::new(provider),
            pods: Pods::default(),
            events: Events::new(client.clone(), identity),
            client,
            clock,
            leadership,
            setting,
            selector: releases,
            metrics,
        }))
    }

    /// Whether this operator, of several that share the work, handles a Release.
    pub fn handles(&self, release: &Release) -> bool {
        let none = BTreeMap::new();
        self.selector.matches(release.metadata.labels.as_ref().unwrap_or(&none))
    }

    /// Whether the API server vouches for the authors of Decisions.
    pub fn guard(&self) -> Guard {
        self.guard.read().clone()
    }

    /// Looks at the admission policies again: one of them has changed, or all have been read.
    pub fn check_guard(&self) {
        let live: Vec<_> = self.cache.read().admission.all().map(|(_, object)| object.clone()).collect();
        *self.guard.write() = match policies::guard(&live, &self.expected) {
            policies::Guard::Intact => Guard::Intact,
            policies::Guard::Broken(why) => Guard::Broken(why),
        };
    }

    /// Whoever should look at a change, does.
    pub fn touch(&self, touched: Touched) {
        let Touched { releases, windows, policies, .. } = touched;
        releases.into_iter().for_each(|key| self.releases.add(key));
        windows.into_iter().for_each(|key| self.windows.add(key));
        policies.into_iter().for_each(|key| self.policies.add(key));
    }

    /// Everything is looked at: this process has just begun to act.
    pub fn touch_all(&self) {
        let state = self.cache.read();
        state.releases.all().for_each(|(key, _)| self.releases.add(key.clone()));
        state.windows.all().for_each(|(key, _)| self.windows.add(key.clone()));
        state.policies.all().for_each(|(key, _)| self.policies.add(key.clone()));
    }
}
