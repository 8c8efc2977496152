//! The operator's own code as one process.

use std::{num::NonZeroU16, sync::Arc};

use jiff::SignedDuration;
use kube::core::Selector;
use lockkeeper_adapters::metric::MetricSource;
use lockkeeper_engine::plan::Setting;
use lockkeeper_operator::{
    context::{Clock, Context, Parts},
    controllers::{self, Scope},
    leader::Leadership,
    metrics::Metrics,
    policies::{OPERATOR_USER, PolicyMode, PolicySettings, TextError},
    server::Readiness,
    settings::WatchNamespaces,
};
use tokio::task::JoinHandle;

use crate::api::{Caller, Link, Service, Shared, User};

/// The operator's own namespace.
pub const PLATFORM: &str = "lockkeeper-system";
/// Releases at the same time.
const CONCURRENCY: NonZeroU16 = NonZeroU16::MIN.saturating_add(7);

/// A process.
#[derive(Debug)]
pub struct Operator {
    link: Link,
    task: JoinHandle<()>,
}

/// What the admission policies of the simulation depend on.
pub fn policy_settings() -> PolicySettings {
    PolicySettings { operator_user: OPERATOR_USER.into(), approving_service_accounts: Vec::new(), mode: PolicyMode::Mutating }
}

impl Operator {
    /// Starts a process at the end of this link, with this clock of its own.
    ///
    /// # Errors
    /// If the policies of this build cannot be read.
    pub fn start(
        shared: &Shared,
        link: Link,
        clock: Clock,
        leadership: Leadership,
        provider: Option<Arc<dyn MetricSource>>,
    ) -> Result<Self, TextError> {
        let caller = Caller::new(User::operator());
        let readiness = Readiness::default();
        let mut random = shared.fork_random();
        let context = Context::new(Parts {
            client: Service::new(shared.clone(), link.clone(), caller, &[]).client(),
            clock,
            leadership,
            setting: Setting {
                operator_namespace: PLATFORM.into(),
                settle: SignedDuration::from_secs(2),
                paused_at_rest: false,
                approving_service_accounts: Vec::new(),
            },
            namespaces: WatchNamespaces::All,
            releases: Selector::default(),
            readiness: readiness.clone(),
            metrics: Metrics::new(),
            provider,
            random: Box::new(move || random.f64()),
            identity: "simulated".into(),
            policies: policy_settings(),
        })?;
        let scope = Scope { mutating: true, concurrency: CONCURRENCY };
        let task = tokio::spawn(controllers::run(context, scope, readiness));
        Ok(Self { link, task })
    }

    /// Its way to the API server.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// It is gone at once: nothing of it reaches the API server any more. (What it has spawned ends with the run.)
    pub fn kill(self) {
        self.link.cut();
        self.task.abort();
    }
}
