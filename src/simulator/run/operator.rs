//! The operator's own code as one process.

use std::{
    future::pending,
    num::NonZeroU16,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::SignedDuration;
use kube::{Client, core::Selector};
use lockkeeper_adapters::metric::MetricSource;
use lockkeeper_engine::plan::Setting;
use lockkeeper_operator::{
    context::{Clock, Context, Parts},
    controllers::{self, Scope},
    leader::{Candidate, Election, Leadership},
    metrics::Metrics,
    policies::{self, OPERATOR_USER, PolicyMode, PolicySettings, Rendered, TextError},
    server::Readiness,
    settings::WatchNamespaces,
};
use tokio::task::JoinHandle;

use crate::api::{Caller, Link, Service, Shared, User};

/// The operator's own namespace.
pub const PLATFORM: &str = "lockkeeper-system";
/// How long a Lease keeps others out.
const LEASE: Duration = Duration::from_secs(15);
/// Releases at the same time.
const CONCURRENCY: NonZeroU16 = NonZeroU16::MIN.saturating_add(7);

/// A process.
#[derive(Debug)]
pub struct Operator {
    link: Link,
    clock: Clock,
    leads: Leads,
    task: JoinHandle<()>,
}

/// What the admission policies of the simulation depend on.
fn policy_settings() -> PolicySettings {
    PolicySettings {
        operator_user: OPERATOR_USER.into(),
        approving_service_accounts: Vec::new(),
        mode: PolicyMode::Mutating,
    }
}

/// The admission policies of the simulation. They are read once: processes start by the thousand.
///
/// # Errors
/// If the policies of this build cannot be read.
pub fn rendered_policies() -> Result<&'static Rendered, TextError> {
    static RENDERED: OnceLock<Rendered> = OnceLock::new();
    match RENDERED.get() {
        Some(rendered) => Ok(rendered),
        None => {
            let rendered = policies::render_each(&policy_settings())?;
            Ok(RENDERED.get_or_init(|| rendered))
        }
    }
}

/// How a process comes to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// It acts from the beginning, whoever else does.
    Always,
    /// It stands for election under this name; the Lease lasts 15 s.
    Elected(String),
}

/// What a process is made of.
pub struct Setup {
    /// Its way to the API server.
    pub link: Link,
    /// Its own clock, which may be wrong.
    pub clock: Clock,
    /// How it comes to act.
    pub leads: Leads,
    /// Where it asks for numbers.
    pub provider: Option<Arc<dyn MetricSource>>,
}

impl Operator {
    /// Starts a process.
    ///
    /// # Errors
    /// If the policies of this build cannot be read.
    pub fn start(shared: &Shared, setup: Setup) -> Result<Self, TextError> {
        let Setup { link, clock, leads, provider } = setup;
        let own = clock.clone();
        let client = Service::new(shared.clone(), link.clone(), Caller::new(User::operator()), &[]).client();
        let (election, leadership) = elect(&client, &clock, &leads);
        let readiness = Readiness::default();
        let mut random = shared.fork_random();
        let context = Context::new(Parts {
            client,
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
            policies: rendered_policies()?.clone(),
        });
        let scope = Scope { mutating: true, concurrency: CONCURRENCY };
        let task = tokio::spawn(link.part(async move {
            tokio::select! {
                biased;
                () = stand(election) => {}
                () = controllers::run(context, scope, readiness) => {}
            }
        }));
        Ok(Self { link, clock: own, leads, task })
    }

    /// Its way to the API server.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// How it comes to act, and its clock: what another process in its place has, too.
    pub fn place(&self) -> (Leads, Clock) {
        (self.leads.clone(), self.clock.clone())
    }

    /// It is gone at once: nothing of it reaches the API server any more. (What it has spawned ends with the run.)
    pub fn kill(self) {
        self.link.cut();
        self.task.abort();
    }
}

fn elect(client: &Client, clock: &Clock, leads: &Leads) -> (Option<Election>, Leadership) {
    match leads {
        Leads::Always => (None, Leadership::always()),
        Leads::Elected(identity) => {
            let candidate = Candidate {
                namespace: PLATFORM.into(),
                lease: "lockkeeper".into(),
                identity: identity.clone(),
                duration: LEASE,
            };
            let (election, leadership) = Election::new(client.clone(), candidate, clock.clone());
            (Some(election), leadership)
        }
    }
}

async fn stand(election: Option<Election>) {
    match election {
        Some(election) => election.run(pending()).await,
        None => pending().await,
    }
}
