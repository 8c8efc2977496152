//! The one door: from plan, world, status and time to the next status and the writes that are safe now.
//!
//! ```text
//! Stable -> Waiting -> Progressing <-> Paused -> Promoting -> Baking -> Stable
//!              |            |             |          |          |
//!           Rejected        +-------------+----------+----------+--> RollingBack -> RolledBack | Aborted | Stable | Waiting
//! Invalid: from Stable or Waiting, when the spec cannot work
//! ```
//!
//! The caller publishes the status before it sends the writes: intent first, so that a crash in between is continued and
//! not repeated.

mod back;
mod empty;
mod fault;
mod forward;
mod idle;
mod judge;
mod measure;
mod native;
mod promote;
mod wait;

pub(crate) use back::ends_in;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::release::{Phase, ReleaseStatus, RevisionStatus, WeightStatus};
use serde::{Deserialize, Serialize};

use crate::{
    analysis, condition, contest,
    converge::{Pending, Round, Scene},
    plan::Plan,
    revision::{Wanted, wanted},
    verdict::{self, Command},
    world::{Guard, World},
    write::{self, Seen, Write},
};

/// The most transitions in one decision; a plan has at most 64 steps.
const TURNS_MAX: usize = 256;

/// What happens next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The status to publish.
    pub status: ReleaseStatus,
    /// Whether the status differs enough to be written: more than values and times of measurements.
    pub publish: bool,
    /// The writes that are safe once the status is published, in this order.
    pub writes: Vec<Write>,
    /// What the status rests on: it must be proven before that is published, because what the status forgets nobody can tell any more.
    pub rests_on: Vec<Seen>,
    /// What people should be told.
    pub events: Vec<Event>,
    /// Queries to ask now.
    pub measure: Vec<analysis::Request>,
    /// The pod-template-hashes whose pods matter now.
    pub watch_pods: Vec<String>,
    /// When to decide again, if nothing changes before.
    pub wake: Option<Timestamp>,
}

/// Something that people should be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// One word of the status.
    pub reason: String,
    /// Whether it asks for attention.
    pub warning: bool,
    /// One sentence.
    pub note: String,
}

/// Decides. `status` is the last one published, or known better by this process; `now` is the time.
pub fn decide(plan: &Plan, world: &World, status: &ReleaseStatus, now: Timestamp) -> Outcome {
    let mut run = Run::new(plan, world, status, now);
    run.commands = verdict::count(plan, world, &mut run.next);
    run.measured();
    let mut doing = Doing::default();
    for _ in 0..TURNS_MAX {
        match run.turn() {
            Turn::Again => {}
            Turn::Now(now) => {
                doing = now;
                break;
            }
        }
    }
    run.finish(status, doing)
}

/// The result of one look at the current phase.
enum Turn {
    /// The phase or step has changed: look again.
    Again,
    /// This is what is done in this phase now.
    Now(Doing),
}

/// What is done now, and what is waited for.
#[derive(Default)]
struct Doing {
    writes: Vec<Write>,
    message: String,
    waits: Waits,
    wake: Option<Timestamp>,
}

impl Doing {
    /// Whether something has to come about before anything else is decided.
    fn is_under_way(&self) -> bool {
        self.waits != Waits::Nothing
    }
}

/// What kind of thing is waited for: conditions tell them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Nothing.
    #[default]
    Nothing,
    /// Machines.
    Machines,
    /// People, windows, pauses, data.
    Decision,
    /// Something that only a person or Git mends.
    Mending,
}

struct Run<'a> {
    plan: &'a Plan,
    world: &'a World,
    now: Timestamp,
    next: ReleaseStatus,
    commands: Vec<Command>,
    events: Vec<Event>,
    faults: Vec<String>,
    wanted: Option<Wanted>,
    /// What the status rests on.
    rests_on: Vec<Seen>,
    /// When to look again, whatever is being done.
    wake: Option<Timestamp>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, world: &'a World, status: &ReleaseStatus, now: Timestamp) -> Self {
        Self {
            plan,
            world,
            now,
            next: status.clone(),
            commands: Vec::new(),
            events: Vec::new(),
            faults: fault::faults(plan, world),
            wanted: wanted(plan, world, status.stable.as_ref()),
            rests_on: Vec::new(),
            wake: None,
        }
    }

    fn turn(&mut self) -> Turn {
        self.follow();
        if let Some(turn) = self.lost().or_else(|| self.bereft()) {
            return turn;
        }
        if self.plan.deleting
            && let Some(turn) = self.deleting()
        {
            return turn;
        }
        if self.next.stable.is_none() {
            return self.idle();
        }
        match self.next.phase {
            Phase::Stable | Phase::RolledBack | Phase::Aborted | Phase::Rejected | Phase::Invalid => self.idle(),
            Phase::Waiting => self.waiting(),
            Phase::Progressing | Phase::Paused => self.stepping(),
            Phase::Promoting => self.promoting(),
            Phase::Baking => self.baking(),
            Phase::RollingBack => self.going_back(),
        }
    }

    /// Moves to another phase.
    fn enter(&mut self, phase: Phase) {
        if self.next.phase != phase {
            self.next.phase = phase;
            self.next.since = Some(Time(self.now));
        }
    }

    fn event(&mut self, reason: &str, warning: bool, note: impl Into<String>) {
        self.events.push(Event { reason: reason.into(), warning, note: note.into() });
    }

    /// Takes the first command of these kinds.
    fn take(&mut self, verdicts: &[lockkeeper_api::decision::Verdict]) -> Option<Command> {
        let index = self.commands.iter().position(|command| verdicts.contains(&command.verdict))?;
        Some(self.commands.remove(index))
    }

    /// Runs one convergence for every workload, and joins the rounds.
    fn each(&self, converge: impl Fn(&Scene<'_>, usize) -> Round) -> Joined {
        let hold = self.hold();
        let mut joined = Joined { served: true, ..Joined::default() };
        for (index, (work, view)) in self.plan.workloads.iter().zip(&self.world.workloads).enumerate() {
            let Some(deployment) = view.deployment.as_ref() else { continue };
            let scene = Scene { plan: self.plan, work, view, deployment, hold: &hold, now: self.now };
            let round = converge(&scene, index);
            joined.served &= round.served;
            joined.exposed |= scene.exposed();
            joined.writes.extend(round.writes);
            joined.pending.extend(round.pending);
            joined.wake = earliest(joined.wake, round.wake);
        }
        joined
    }

    /// The revision by which Deployments are held: the one that is not wanted to run by itself.
    fn hold(&self) -> String {
        let candidate = self.next.candidate.as_ref().map(|c| &c.revision);
        let wanted = self.wanted.as_ref().map(|w| &w.revision);
        let hold = if self.in_flight() { candidate.or(wanted) } else { wanted.or(candidate) };
        hold.cloned().unwrap_or_default()
    }

    /// Whether a version is on its way, forth or back.
    fn in_flight(&self) -> bool {
        match self.next.phase {
            Phase::Waiting
            | Phase::Progressing
            | Phase::Paused
            | Phase::Promoting
            | Phase::Baking
            | Phase::RollingBack => true,
            Phase::Stable | Phase::RolledBack | Phase::Aborted | Phase::Rejected | Phase::Invalid => false,
        }
    }

    /// Completes the status and says when to look again.
    fn finish(mut self, before: &ReleaseStatus, mut doing: Doing) -> Outcome {
        let mut measure = Vec::new();
        let facts = self.facts();
        let transition = match doing.waits {
            Waits::Nothing | Waits::Decision => doing.wake,
            Waits::Machines | Waits::Mending => None,
        };
        for (policy, since) in self.armed() {
            let (requests, next) = analysis::due(policy, &self.next.checks, &facts, since, self.now);
            measure.extend(requests);
            doing.wake = earliest(doing.wake, next);
        }
        let mut contests = contest::all(self.plan, self.world, self.now);
        // Routes and Services are the user's alone at rest; images that the Release carries are ours always.
        contests.retain(|(field, _)| *field == contest::Field::Template || self.in_flight());
        let over = contests.iter().map(|(_, contest)| contest.until).min();
        doing.wake = earliest(earliest(doing.wake, over), self.wake);
        if let Guard::Broken(why) = &self.world.guard
            && doing.waits == Waits::Decision
        {
            doing.message = format!("{}; no Decision counts: {why}", doing.message);
        }
        self.next.observed_generation = self.plan.generation;
        self.next.next_transition_time = transition.map(Time);
        self.next.message = doing.message;
        let on_its_way = self.next.candidate.as_ref().or(self.next.stable.as_ref());
        self.next.version = on_its_way.map(|revision| revision.version.clone());
        self.next.conditions =
            condition::conditions(before, &self.next, self.plan, self.world, &contests, doing.waits, self.now);
        let watch_pods = self.watched();
        Outcome {
            publish: condition::meaningful(before, &self.next),
            writes: doing.writes,
            rests_on: self.rests_on,
            events: self.events,
            measure,
            watch_pods,
            // What has passed brings nothing new: looking again for it would never end.
            wake: doing.wake.filter(|wake| *wake > self.now),
            status: self.next,
        }
    }

    /// The finalizer, which must be there before the first effect.
    fn finalizer(&self, wanted: bool) -> Option<Write> {
        let plan = self.plan;
        match (wanted, plan.has_finalizer()) {
            (true, false) if !plan.deleting => {
                Some(write::add_finalizer(&plan.name, &plan.resource_version, &plan.finalizers))
            }
            (false, true) => Some(write::remove_finalizer(&plan.name, &plan.resource_version, &plan.finalizers)),
            (true, _) | (false, false) => None,
        }
    }

    /// Forgets all that belongs to one attempt.
    fn clear_attempt(&mut self) {
        self.next.candidate = None;
        self.next.step = None;
        self.next.weight = None;
        self.next.exposed = None;
        self.next.unavailable_since = None;
        self.next.without_pods = None;
        self.next.gates.clear();
        self.next.gates_at_start = None;
        self.next.checks.clear();
        self.next.hold = None;
        self.next.bake_until = None;
        verdict::spend(&mut self.next);
    }

    fn weight(&mut self, desired: u8, confirmed: Option<u8>) {
        let before = self.next.weight.unwrap_or_default();
        self.next.weight = Some(WeightStatus { desired, confirmed: confirmed.unwrap_or(before.confirmed) });
    }

    fn block(&mut self, revision: &RevisionStatus, phase: Phase, message: &str) {
        const BLOCKED_MAX: usize = 16;
        self.next.blocked.retain(|blocked| blocked.revision != revision.revision);
        self.next.blocked.push(lockkeeper_api::release::BlockedRevision {
            revision: revision.revision.clone(),
            version: revision.version.clone(),
            phase,
            message: message.into(),
            since: Time(self.now),
            retried: false,
        });
        let surplus = self.next.blocked.len().saturating_sub(BLOCKED_MAX);
        self.next.blocked.drain(..surplus);
    }
}

/// The rounds of all workloads.
#[derive(Default)]
struct Joined {
    writes: Vec<Write>,
    pending: Vec<Pending>,
    wake: Option<Timestamp>,
    served: bool,
    /// Whether the candidate has traffic somewhere.
    exposed: bool,
}

impl Joined {
    /// It is not served before something else has come about.
    fn await_pods(&mut self, what: String) {
        self.served = false;
        self.pending.push(Pending::Progress(what));
    }

    /// Whether nothing is left to do.
    fn done(&self) -> bool {
        self.writes.is_empty() && self.pending.is_empty()
    }

    /// What is waited for, in one sentence; and whether waiting mends it.
    fn pending(&self) -> Option<(String, bool)> {
        let broken = self.pending.iter().find_map(|p| match p {
            Pending::Broken(why) => Some((why.clone(), false)),
            Pending::Progress(_) => None,
        });
        broken.or_else(|| {
            self.pending.iter().find_map(|p| match p {
                Pending::Progress(what) => Some((what.clone(), true)),
                Pending::Broken(_) => None,
            })
        })
    }
}

/// A time as people and the API write it, in whole seconds.
pub(crate) fn clock(at: Timestamp) -> jiff::fmt::strtime::Display<'static> {
    at.strftime("%Y-%m-%dT%H:%M:%SZ")
}

/// The earlier of two instants that may not exist.
fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
