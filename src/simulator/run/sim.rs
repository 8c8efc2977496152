//! A cluster with everybody in it, for one seed.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use lockkeeper_adapters::endpoint::Endpoint;
use lockkeeper_operator::{context::Clock, policies::TextError};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    BEGINNING, Climate, Leads, Operator, PLATFORM, Setup, SharedTrace, Skew, Trace, Writer, rendered_policies,
    virtual_clock,
};
use crate::{
    api::{
        Backup, Call, Caller, Disposition, Fault, Kind, Link, Rumour, Server, Shared, Snapshot, Stall, User,
        object::namespace,
    },
    check::{KNOWN_AFTER, PATIENCE, Report, Violation, Witness},
    world::{
        self, Actor, DeploymentController, EndpointController, GarbageCollector, Gateway, InForce, Kubelet,
        ReplicaSetController, Source, Tardy, Truth,
    },
};

/// What a run begins with.
pub struct Plot {
    /// All chance comes from it.
    pub seed: u64,
    /// When it begins.
    pub begins: Timestamp,
    /// How wrong the operators' clock is.
    pub skew: Skew,
    /// Whether the trace keeps its lines.
    pub lines: bool,
    /// What is there from before, in a cluster that begins with nothing else; not made later than this run begins.
    pub backup: Option<Arc<Backup>>,
    /// What users have applied before.
    pub objects: Vec<Value>,
    /// Whoever acts beside the controllers.
    pub actors: Vec<Box<dyn Actor>>,
    /// What the metrics source answers.
    pub truth: Arc<dyn Truth>,
    /// After this time an operator has heard of a change: checkers wait so long where a promise is about what it knows.
    pub known_after: Duration,
    /// The same of endpoints, where that takes longer: nothing that is written proves them.
    pub endpoints_known_after: Duration,
    /// So long they wait, from then on, for requests that reach no pod to be brought to one.
    pub patience: Duration,
    /// How long a message to the API server takes, in milliseconds.
    pub latency: (u64, u64),
    /// How long the controllers of Deployments, ReplicaSets and endpoints take to notice a change, in milliseconds.
    pub notices_after: (u64, u64),
    /// How long the gateway takes to accept a route, in milliseconds.
    pub accepts_after: (u64, u64),
    /// How long its data planes take from then on; within the operator's settle time of 2 s, in milliseconds.
    pub settles_after: (u64, u64),
    /// The Gateways that are there; none: whichever a route names.
    pub gateways: Option<Vec<String>>,
}

impl Plot {
    /// A plot without users, in which everything goes as usual.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            begins: Timestamp::from_second(BEGINNING).unwrap_or_default(),
            skew: Skew::default(),
            lines: false,
            backup: None,
            objects: Vec::new(),
            actors: Vec::new(),
            truth: Arc::new(world::by_image),
            known_after: KNOWN_AFTER,
            endpoints_known_after: Duration::ZERO,
            patience: PATIENCE,
            latency: (0, 4),
            notices_after: (1, 20),
            accepts_after: (20, 1500),
            settles_after: (0, 1900),
            gateways: None,
        }
    }
}

/// A run of which the operators write more often than this never ends: a release writes some fifty times.
const WRITES_MAX: u64 = 5000;

/// Operators write without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endless {
    /// How often they have written.
    pub writes: u64,
    /// The time at which that was given up.
    pub at: Timestamp,
}

impl std::fmt::Display for Endless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S12: {} writes by {}, and no end", self.writes, self.at)
    }
}

impl std::error::Error for Endless {}

/// It has not come about in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Late {
    /// What was waited for.
    pub what: String,
    /// The time at which that was given up.
    pub at: Timestamp,
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not {} by {}", self.what, self.at)
    }
}

impl std::error::Error for Late {}

/// A run under way.
pub struct Sim {
    /// The API server.
    pub shared: Shared,
    /// What the checkers have found.
    pub report: Report,
    operators: Vec<Option<Operator>>,
    truth: Arc<dyn Truth>,
    prometheus: Endpoint,
    latency: (u64, u64),
    fault: Option<Box<dyn Fault>>,
    climate: Climate,
    dies_at_poll: Option<u64>,
    in_force: InForce,
    skew: Skew,
}

impl Sim {
    /// Plays: sets everything up, lets `body` direct it, and takes it down. Runs on this thread only.
    ///
    /// # Errors
    /// If the runtime cannot be made, the policies of this build cannot be read, or `body` says so.
    pub fn play<T>(
        plot: Plot,
        body: impl AsyncFnOnce(&mut Self) -> Result<T, Box<dyn std::error::Error>>,
    ) -> Result<T, Box<dyn std::error::Error>> {
        // The jitter of kube's watchers comes from there.
        fastrand::seed(plot.seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let mut sim = Self::set_up(plot)?;
            body(&mut sim).await
        })
    }

    fn set_up(plot: Plot) -> Result<Self, Box<dyn std::error::Error>> {
        let Plot {
            seed,
            begins,
            skew,
            lines,
            backup,
            objects,
            actors,
            truth,
            known_after,
            endpoints_known_after,
            patience,
            latency,
            notices_after,
            accepts_after,
            settles_after,
            gateways,
        } = plot;
        let trace: SharedTrace = Arc::new(Mutex::new(Trace::new(lines)));
        let mut server = Server::default();
        server.observe(Writer(trace.clone()));
        let gateway = Gateway::new(accepts_after, settles_after).only(gateways);
        let in_force = gateway.in_force();
        let report = Report::default();
        let endpoints_known_after = known_after.max(endpoints_known_after);
        let witness =
            Witness { in_force: in_force.clone(), skew: skew.clone(), known_after, endpoints_known_after, patience };
        crate::check::install(&mut server, &report, witness);
        let shared = Shared::new(server, virtual_clock(begins), trace, fastrand::Rng::with_seed(seed));
        match backup {
            Some(backup) => shared.lock().restore(&backup),
            None => furnish(&shared, &objects)?,
        }
        apply(&shared, objects);
        let mut everybody: Vec<Box<dyn Actor>> = vec![
            Box::new(Tardy(Box::new(DeploymentController::default()), notices_after)),
            Box::new(Tardy(Box::new(ReplicaSetController::default()), notices_after)),
            Box::new(Kubelet::default()),
            Box::new(Tardy(Box::new(EndpointController::default()), notices_after)),
            Box::new(GarbageCollector::default()),
            Box::new(gateway),
        ];
        everybody.extend(actors);
        tokio::spawn(world::run(shared.clone(), everybody));
        let prometheus = "http://prometheus.monitoring:9090".parse()?;
        Ok(Self {
            shared,
            report,
            operators: Vec::new(),
            truth,
            prometheus,
            latency,
            fault: None,
            climate: Climate::default(),
            dies_at_poll: None,
            in_force,
            skew,
        })
    }

    /// The next operator dies at its write of this number, before or after it is done.
    pub fn kill_at_write(&mut self, write: u64, done: bool) {
        self.fault = Some(Box::new(move |call: &Call, _: u64, at: u64| {
            if call.verb.writes() && write == at { Disposition::Kill { done } } else { Disposition::Pass }
        }));
    }

    /// The next operator dies when it, or a request of it, would go on for the time of this number, at whatever it awaits.
    pub fn kill_at_poll(&mut self, poll: u64) {
        self.dies_at_poll = Some(poll);
    }

    /// Decides what becomes of the requests of the next operator.
    pub fn next_fault(&mut self, fault: impl Fault + 'static) {
        self.fault = Some(Box::new(fault));
    }

    /// What operators meet, those meet, too, that take the place of one that has died, with these faults.
    pub fn lasts(&mut self, faults: Option<impl FnMut() -> Box<dyn Fault> + 'static>) {
        self.climate.last(faults);
    }

    /// From now on every request of the operators arrives.
    pub fn calm(&mut self) {
        self.fault = None;
        self.climate = Climate::default();
        for operator in self.operators.iter().flatten() {
            operator.link().set_fault(Box::new(|_: &Call, _: u64, _: u64| Disposition::Pass));
            operator.link().set_lag(Duration::ZERO);
            operator.link().set_rumour(Rumour::default());
            operator.link().set_unanswered(0);
        }
    }

    /// The caches of the operators are behind by up to so much from now on.
    pub fn lag(&mut self, most: Duration) {
        self.climate.lag = most;
        for operator in self.operators.iter().flatten() {
            operator.link().set_lag(most);
        }
    }

    /// News of watches travels like this to the operators, from now on.
    pub fn rumour(&mut self, rumour: Rumour) {
        self.climate.rumour = rumour;
        for operator in self.operators.iter().flatten() {
            operator.link().set_rumour(rumour);
        }
    }

    /// For its time, from then on, these watches of the operators that run hear nothing.
    pub fn stall(&self, after: Duration, stall: Stall) {
        for operator in self.operators.iter().flatten() {
            operator.link().set_stall(after, stall);
        }
    }

    /// Of a hundred events that the operators send from now on, so many are taken, and the answer is lost.
    pub fn unanswered(&mut self, part: u8) {
        self.climate.unanswered = part;
        for operator in self.operators.iter().flatten() {
            operator.link().set_unanswered(part);
        }
    }

    /// Writes of all operators that run.
    pub fn writes(&self) -> u64 {
        self.operators.iter().flatten().map(|operator| operator.link().writes()).sum()
    }

    /// Starts an operator that acts from the beginning, by the plot's clock. Gives its number.
    ///
    /// # Errors
    /// If the policies of this build cannot be read.
    pub fn start(&mut self) -> Result<usize, TextError> {
        let clock = self.skew.of(self.shared.clock());
        self.start_as(Leads::Always, clock)
    }

    /// Starts an operator with a clock of its own, beside those that run. Gives its number.
    ///
    /// # Errors
    /// If the policies of this build cannot be read.
    pub fn start_as(&mut self, leads: Leads, clock: Clock) -> Result<usize, TextError> {
        let number = self.operators.len();
        let link = Link::new(&format!("operator-{number}"), self.shared.fork_random(), self.latency);
        if let Some(fault) = self.fault.take() {
            link.set_fault(fault);
        }
        if let Some(poll) = self.dies_at_poll.take() {
            link.die_at_poll(poll);
        }
        self.climate.over(&link);
        let (report, shared) = (self.report.clone(), self.shared.clone());
        link.set_guard(Box::new(move |call| {
            if let Some(what) = crate::check::unguarded(call) {
                let server = shared.lock();
                report.broken(Violation { promise: "S9", at: server.now, version: server.store().version(), what });
            }
        }));
        let provider = Arc::new(Source::new(self.shared.clone(), self.truth.clone(), self.prometheus.clone()));
        let operator = Operator::start(&self.shared, Setup { link, clock, leads, provider: Some(provider) })?;
        self.operators.push(Some(operator));
        Ok(number)
    }

    /// Kills an operator, if it still runs.
    pub fn kill(&mut self, number: usize) {
        if let Some(operator) = self.operators.get_mut(number).and_then(Option::take) {
            operator.kill();
        }
    }

    /// An operator dies, if it still runs, and another takes its place.
    ///
    /// # Errors
    /// If the policies of this build cannot be read.
    pub fn replace(&mut self, number: usize) -> Result<(), TextError> {
        let place = self.operator(number).map(Operator::place);
        self.kill(number);
        self.fault = self.climate.fault().or(self.fault.take());
        if let Some((leads, clock)) = place {
            self.start_as(leads, clock)?;
        }
        Ok(())
    }

    /// The operators that run, by number.
    pub fn running(&self) -> Vec<usize> {
        (0..self.operators.len()).filter(|number| self.operator(*number).is_some()).collect()
    }

    /// An operator that runs.
    pub fn operator(&self, number: usize) -> Option<&Operator> {
        self.operators.get(number)?.as_ref()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.shared.clock().now()
    }

    /// By which rules requests may go.
    pub fn in_force(&self) -> InForce {
        self.in_force.clone()
    }

    /// Waits until the cluster is so. An operator that dies by a fault meanwhile is started again.
    ///
    /// # Errors
    /// When it is not within the limit, or operators write without end.
    pub async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Snapshot) -> bool,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let mut changed = self.shared.lock().store().subscribe();
        let end = Instant::now() + limit;
        let mut dying = self.dying();
        loop {
            changed.catch_up();
            if self.writes() > WRITES_MAX {
                return Err(Endless { writes: self.writes(), at: self.now() }.into());
            }
            if holds(self.shared.lock().store().objects()) {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(number) = dying.next() => {
                    self.replace(number)?;
                    dying = self.dying();
                }
                () = changed.changed() => {}
                () = sleep_until(end) => return Err(Late { what: what.into(), at: self.now() }.into()),
            }
        }
    }

    /// The numbers of the operators that run now, when they die.
    fn dying(&self) -> FuturesUnordered<impl Future<Output = usize> + use<>> {
        let links = self.operators.iter().enumerate();
        let links = links.filter_map(|(number, operator)| Some((number, operator.as_ref()?.link().clone())));
        let dies = links.map(|(number, link)| async move {
            link.killed().await;
            number
        });
        dies.collect()
    }

    /// Lets so much time pass.
    pub async fn pass(&mut self, time: Duration) -> Result<(), Box<dyn std::error::Error>> {
        match self.until("", time, |_| false).await {
            Err(error) if error.is::<Late>() => Ok(()),
            other => other,
        }
    }
}

/// Namespaces for these objects, and admission policies.
fn furnish(shared: &Shared, objects: &[Value]) -> Result<(), TextError> {
    let mut namespaces: Vec<&str> = objects.iter().map(namespace).filter(|name| !name.is_empty()).collect();
    namespaces.push(PLATFORM);
    namespaces.sort_unstable();
    namespaces.dedup();
    let namespaces = namespaces.iter().map(|name| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}})
    });
    let policies = rendered_policies()?.iter().flat_map(|(_, objects)| objects).map(|policy| json!(policy));
    apply(shared, namespaces.chain(policies));
    Ok(())
}

/// What users have applied.
fn apply(shared: &Shared, objects: impl IntoIterator<Item = Value>) {
    let mut server = shared.lock();
    let admin = Caller::new(User::new("admin", &["system:masters"]));
    for object in objects {
        let kind = Kind::of(crate::api::object::text(&object["apiVersion"]), crate::api::object::text(&object["kind"]));
        let namespace = namespace(&object).to_owned();
        if let Some(kind) = kind {
            let created = server.create(&admin, kind, &namespace, object);
            debug_assert!(created.is_ok(), "{created:?}");
        }
    }
}
