//! The operator's loop over the cluster on a virtual clock: observe, decide, publish, act; and everything that others do meanwhile.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    DecisionSpec, Release, ReleaseStatus, RollbackPolicySpec,
    decision::{Author, Verdict},
    release::Phase,
};
use lockkeeper_engine::{
    Event, Outcome,
    analysis::{Measurement, PolicyPlan, Reading, Request},
    decide,
    plan::{Plan, Setting},
    window::WindowView,
    world::{DecisionView, Guard, Undone, World},
    write::{Kind, Request as Sent, Write},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    check::Watchman,
    cluster::{Cluster, Stale},
    controllers, happening,
    happening::Happening,
    view,
};

/// The one Release.
pub const NAME: &str = "shop";
/// Its namespace.
pub const NAMESPACE: &str = "team";
/// The operator's namespace.
pub const PLATFORM: &str = "platform";
/// More rounds than this at one moment are a fight that never ends.
const ROUNDS_MAX: usize = 300;

/// What a metrics provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Good,
    Bad,
    NoData,
    Error,
    /// Nothing ever comes back.
    Silence,
}

/// An operator, a cluster, and a Release in it.
pub struct Lab {
    pub cluster: Cluster,
    pub policies: BTreeMap<String, RollbackPolicySpec>,
    pub windows: Vec<WindowView>,
    pub decisions: Vec<DecisionView>,
    pub guard: Guard,
    pub answer: Answer,
    pub setting: Setting,
    pub events: Vec<Event>,
    pub outcome: Outcome,
    pub watchman: Watchman,
    /// Every write that was done, for people who read a failure.
    pub log: Vec<String>,
    /// The same, as data.
    pub done: Vec<Write>,
    /// What happens, and before which write.
    pub script: VecDeque<(usize, Happening)>,
    pub writes: usize,
    /// Whether controllers act between any two writes of a round.
    pub interleaved: bool,
    /// The queries that were asked, by check.
    pub asked: BTreeMap<String, String>,
    /// What others have written over, by kind and name of the object.
    pub undone: BTreeMap<String, Vec<Undone>>,
    memory: Option<(ReleaseStatus, ReleaseStatus)>,
    measured: (String, BTreeMap<String, Measurement>),
    next_decision: u64,
}

impl Lab {
    /// A lab with a Release of this spec, before the first look at it.
    pub fn new(now: Timestamp, spec: Value) -> Self {
        let mut cluster = Cluster::new(now);
        cluster.create(
            Kind::Release,
            json!({
                "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
                "metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": spec,
            }),
        );
        Self {
            cluster,
            policies: BTreeMap::new(),
            windows: Vec::new(),
            decisions: Vec::new(),
            guard: Guard::Intact,
            answer: Answer::Good,
            setting: Setting {
                operator_namespace: PLATFORM.into(),
                settle: controllers::SETTLES_AFTER,
                paused_at_rest: false,
                approving_service_accounts: Vec::new(),
            },
            events: Vec::new(),
            outcome: Outcome::default(),
            watchman: Watchman::default(),
            log: Vec::new(),
            done: Vec::new(),
            script: VecDeque::new(),
            writes: 0,
            interleaved: false,
            asked: BTreeMap::new(),
            undone: BTreeMap::new(),
            memory: None,
            measured: Default::default(),
            next_decision: 0,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.cluster.now
    }

    /// The Release as the API server has it, if it is still there.
    pub fn release(&self) -> Option<Release> {
        let object = self.cluster.get(Kind::Release, NAME)?;
        Some(Release::deserialize(object).expect("the Release can be read"))
    }

    /// The status last decided, published or not.
    pub fn status(&self) -> &ReleaseStatus {
        &self.outcome.status
    }

    pub fn phase(&self) -> Phase {
        self.outcome.status.phase
    }

    pub fn plan(&self, release: &Release) -> Plan {
        let parsed = |name: &str, spec| PolicyPlan::parse(name, spec).map(Arc::new);
        let policies = self.policies.iter().map(|(name, spec)| (name.clone(), Ok(parsed(name, spec)))).collect();
        Plan::parse(release, &policies, self.setting.clone())
    }

    pub fn world(&self, plan: &Plan) -> World {
        World {
            workloads: view::workloads(&self.cluster, plan, &self.outcome.watch_pods, &self.undone),
            windows: self.windows.clone(),
            namespace_labels: BTreeMap::new(),
            decisions: self.decisions.clone(),
            guard: self.guard.clone(),
            measurements: self.measured.1.clone(),
        }
    }

    /// The status that the operator goes on from: the one that is published, or one that it knows better.
    fn known(&self, release: &Release) -> ReleaseStatus {
        let published = release.status.clone().unwrap_or_default();
        match &self.memory {
            Some((of, current)) if *of == published => current.clone(),
            Some(_) | None => published,
        }
    }

    /// Time goes on while nothing happens. Whoever sleeps until the time that was decided misses nothing.
    fn sleep(&mut self, until: Timestamp) {
        // Who waits for an answer is woken by it.
        let awake = self.outcome.wake.is_some_and(|wake| wake <= until) || self.answer == Answer::Silence;
        if let Some(release) = self.release().filter(|_| !awake) {
            let plan = self.plan(&release);
            let late = decide(&plan, &self.world(&plan), &self.known(&release), until);
            let missed = late.publish || !late.writes.is_empty() || !late.measure.is_empty();
            let wake = self.outcome.wake;
            assert!(!missed, "it sleeps until {wake:?}, and at {until} there is: {late:#?}\n{}", self.tail());
        }
        self.cluster.now = until;
    }

    /// One look of the operator. Says whether it did anything.
    pub fn round(&mut self) -> bool {
        let Some(release) = self.release() else { return false };
        let published = release.status.clone().unwrap_or_default();
        let status = self.known(&release);
        let plan = self.plan(&release);
        let world = self.world(&plan);
        let Outcome { status: next, publish, mut writes, rests_on, events, measure, watch_pods, wake } =
            decide(&plan, &world, &status, self.now());
        assert!(wake.is_none_or(|wake| wake > self.now()), "it would wake for ever at {wake:?}\n{}", self.tail());
        self.watchman.decided(&plan, &world, &status, &next, self.cluster.now);
        self.outcome = Outcome {
            status: next.clone(),
            publish,
            writes: writes.clone(),
            rests_on,
            events: events.clone(),
            measure: Vec::new(),
            watch_pods,
            wake,
        };
        self.events.extend(events);
        let measured = next.exposed.as_ref().and(next.candidate.as_ref().or(next.stable.as_ref()));
        let measured = measured.map(|revision| revision.revision.clone()).unwrap_or_default();
        if self.measured.0 != measured {
            self.measured = (measured, BTreeMap::new());
        }
        let publishes = publish && published != next;
        if publishes {
            if self.happens() {
                return true;
            }
            if self.release().map(|r| r.metadata.resource_version) != Some(release.metadata.resource_version.clone()) {
                return true;
            }
            self.cluster.update(Kind::Release, NAME, |release| release["status"] = json!(next));
            self.memory = None;
            rebase(&mut writes, &plan.resource_version, &self.cluster);
            self.note(format!("status {} {}", next.phase, next.message));
        } else {
            self.memory = (published != next).then_some((published, next));
        }
        let measures = !measure.is_empty() && self.answer != Answer::Silence;
        if self.act(&writes) {
            self.measure(measure);
        }
        publishes || !writes.is_empty() || measures
    }

    /// Does the writes, until one is stale or the operator crashes.
    fn act(&mut self, writes: &[Write]) -> bool {
        for write in writes {
            if self.happens() {
                return false;
            }
            let before = self.cluster.clone();
            match self.cluster.apply(write) {
                Ok(()) => {
                    self.note(format!("{:?} {}: {}", write.kind, write.name, write.purpose));
                    self.done.push(write.clone());
                    self.watchman.written(&before, &self.cluster, write, &self.log);
                }
                Err(Stale) => {
                    self.log.push(format!("stale: {:?} {}: {}", write.kind, write.name, write.purpose));
                    return true;
                }
            }
            if self.interleaved {
                self.pass();
            }
        }
        true
    }

    /// What is due before the next write. Says whether the operator has crashed by it.
    fn happens(&mut self) -> bool {
        self.writes += 1;
        let mut crashed = false;
        while self.script.front().is_some_and(|(at, _)| *at <= self.writes) {
            let (_, happening) = self.script.pop_front().unwrap();
            crashed |= self.happen(&happening);
        }
        crashed
    }

    /// Something that others do. Says whether it was the operator's end.
    pub fn happen(&mut self, happening: &Happening) -> bool {
        self.note(format!("<- {happening:?}"));
        self.watchman.happens(happening);
        if *happening == Happening::Crash {
            self.memory = None;
            self.measured = Default::default();
            self.outcome.watch_pods.clear();
            return true;
        }
        happening::happen(self, happening);
        false
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{} {what}", self.cluster.now));
    }

    /// What the controllers do at this moment. Says whether anything has changed.
    pub fn pass(&mut self) -> bool {
        let before = self.cluster.clone();
        controllers::pass(&mut self.cluster);
        let changed = before != self.cluster;
        if changed {
            self.watchman.passed(&before, &self.cluster, &self.log);
        }
        changed
    }

    /// The operator is away, without its policies, while so many moments pass at which controllers do something.
    pub fn away(&mut self, moments: usize) -> &mut Self {
        self.note("-- the operator is away".into());
        self.watchman.away();
        for _ in 0..moments {
            if !self.pass() {
                let Some(next) = controllers::next(&self.cluster) else { break };
                self.cluster.now = next;
            }
        }
        self.memory = None;
        self.note("-- the operator is back".into());
        self
    }

    fn measure(&mut self, requests: Vec<Request>) {
        let now = self.now();
        let reading = match self.answer {
            Answer::Good => Reading::Value(0.0),
            Answer::Bad => Reading::Value(1.0),
            Answer::NoData => Reading::NoData("no series matched".into()),
            Answer::Error => Reading::Error("HTTP 503".into()),
            Answer::Silence => return,
        };
        for request in requests {
            self.asked.insert(request.check.clone(), request.query.clone());
            let samples = request.samples.as_ref().map(|_| Reading::Value(1000.0));
            self.measured.1.insert(request.check, Measurement { taken: now, reading: reading.clone(), samples });
        }
    }

    /// Runs until nothing happens by itself any more, or `until`.
    pub fn run_until(&mut self, until: Timestamp) {
        let mut rounds = 0;
        loop {
            let acted = self.round();
            let changed = self.pass();
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "it never comes to rest at {}:\n{}", self.now(), self.tail());
            if acted || changed {
                continue;
            }
            self.watchman.quiet(&self.cluster, &self.log);
            let decided = self.outcome.wake.filter(|wake| *wake > self.now());
            let next = decided.into_iter().chain(controllers::next(&self.cluster)).min();
            match next {
                Some(next) if next <= until => {
                    self.sleep(next);
                    self.pass();
                    rounds = 0;
                }
                Some(_) | None => match self.script.pop_front() {
                    Some((_, happening)) => {
                        self.happen(&happening);
                        rounds = 0;
                    }
                    None => return,
                },
            }
        }
    }

    /// Runs for so long.
    pub fn run(&mut self, minutes: i64) -> &mut Self {
        let until = self.now() + SignedDuration::from_mins(minutes);
        self.run_until(until);
        self.cluster.now = self.cluster.now.max(until);
        self
    }

    /// A person decides something about the revision on its way (for Rollback about the stable one, for Retry the blocked one).
    pub fn decide(&mut self, verdict: Verdict, gate: Option<&str>, by: &str) {
        let status = self.release().and_then(|release| release.status).unwrap_or_default();
        let revision = match verdict {
            Verdict::Rollback => status.stable.map(|stable| stable.revision),
            Verdict::Retry => status.blocked.last().map(|blocked| blocked.revision.clone()),
            Verdict::Approve
            | Verdict::Reject
            | Verdict::Promote
            | Verdict::Skip
            | Verdict::Pause
            | Verdict::Resume
            | Verdict::Abort
            | Verdict::Override => status.candidate.map(|candidate| candidate.revision),
        };
        self.decide_on(&revision.unwrap_or_default(), verdict, gate, by);
    }

    /// A person decides something about this revision.
    pub fn decide_on(&mut self, revision: &str, verdict: Verdict, gate: Option<&str>, by: &str) {
        self.next_decision += 1;
        self.decisions.push(DecisionView {
            name: format!("{by}-{}", self.next_decision),
            uid: format!("decision-{}", self.next_decision),
            created: Time(Timestamp::from_second(self.now().as_second()).unwrap()).0,
            spec: DecisionSpec {
                release: NAME.into(),
                revision: revision.into(),
                verdict,
                gate: gate.map(str::to_owned),
                reason: Some("because".into()),
                expires_after: None,
                by: Author { username: by.into(), groups: vec!["team".into()] },
            },
        });
    }

    pub fn tail(&self) -> String {
        let from = self.log.len().saturating_sub(80);
        self.log[from..].join("\n")
    }
}

/// Writes to the Release follow the status that was published right before.
fn rebase(writes: &mut [Write], before: &str, cluster: &Cluster) {
    let version = cluster.get(Kind::Release, NAME).unwrap()["metadata"]["resourceVersion"].clone();
    for write in writes.iter_mut().filter(|write| write.kind == Kind::Release) {
        if let Sent::Merge(patch) = &mut write.request
            && patch["metadata"]["resourceVersion"] == before
        {
            patch["metadata"]["resourceVersion"] = version.clone();
        }
    }
}
