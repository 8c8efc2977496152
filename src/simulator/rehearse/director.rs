//! Everybody who does something during a rehearsal, and the account of where requests go.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::Release;
use lockkeeper_api::{
    decision::Verdict,
    release::{ApprovalGate, GateKind, GateState, Phase, ReleaseStatus, Step, Strategy},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    chronicle::{SharedLog, status},
    outcome::BeatKind,
    scenario::{Moment, Otherwise, People},
    source::{State, is_new},
};
use crate::{
    api::{
        Caller, Key, Kind, Snapshot, Status, User,
        object::{list, name, text},
        selects_plain,
    },
    check::{Work, serves},
    world::{Act, Actor, Gateway, InForce, Turn},
};

/// How long after a change of routes or pods data planes may still follow; afterwards nobody looks until something changes.
const FOLLOWS: SignedDuration = SignedDuration::from_secs(6);
/// What begins the name of a step that waits for somebody; no gate can be called so.
const STEP: &str = "step ";
/// How exactly the account follows data planes.
const LOOKS_EVERY: SignedDuration = SignedDuration::from_millis(100);

/// Something that is to be done.
pub struct Task {
    /// So long after `since`.
    pub at: SignedDuration,
    /// Since when that counts.
    pub since: Moment,
    /// What the timeline says; none for what the Release's status tells itself.
    pub says: Option<(BeatKind, String)>,
    /// What is done.
    pub act: Act,
    /// How often it is done again.
    pub every: Option<(SignedDuration, Again)>,
}

/// Makes the same act anew.
pub type Again = Arc<dyn Fn() -> Act + Send + Sync>;

/// The director at work.
pub struct Director {
    /// The Release.
    pub key: Key,
    /// What happens.
    pub log: SharedLog,
    /// The account, and what is wrong with the source.
    pub state: Arc<Mutex<State>>,
    /// By which rules requests go.
    pub in_force: InForce,
    /// Images of the new version.
    pub images: Vec<String>,
    /// What people do when they are asked.
    pub people: People,
    /// What is to be done.
    pub tasks: VecDeque<Task>,
    /// Decisions of the files, which are made as soon as there is something to decide about.
    pub decisions: Vec<Value>,
    /// Whether something is still to be done; whoever waits for an end looks at it.
    pub busy: Arc<AtomicBool>,
    asked: BTreeMap<String, Timestamp>,
    answered: Vec<(String, String)>,
    resumed: Option<u32>,
    moved: Option<Timestamp>,
    version: u64,
}

impl Director {
    /// A director who has not done anything yet.
    pub fn new(
        key: Key,
        log: SharedLog,
        state: Arc<Mutex<State>>,
        in_force: InForce,
        images: Vec<String>,
        people: People,
    ) -> Self {
        Self {
            key,
            log,
            state,
            in_force,
            images,
            people,
            tasks: VecDeque::new(),
            decisions: Vec::new(),
            busy: Arc::new(AtomicBool::new(true)),
            asked: BTreeMap::new(),
            answered: Vec::new(),
            resumed: None,
            moved: None,
            version: 0,
        }
    }

    /// Books where requests go. Gives when to look again.
    fn account(&mut self, turn: &Turn<'_>) -> Option<Timestamp> {
        if turn.server.store().version() != self.version {
            self.version = turn.server.store().version();
            self.moved = Some(turn.now);
        }
        let objects = turn.server.store().objects();
        let release = objects.get(&self.key)?;
        let in_force = self.in_force.lock();
        let shares = Work::of(release).filter_map(|work| share(objects, &in_force, &work, &self.images));
        let share = shares.fold(0.0, f64::max);
        let mut state = self.state.lock();
        state.ledger.share(turn.now, share);
        let mut log = self.log.lock();
        if share > 0.0 {
            log.moment(Moment::FirstTraffic, turn.now);
        }
        let moved = self.moved? + FOLLOWS;
        (moved > turn.now).then_some(turn.now + LOOKS_EVERY)
    }

    /// Does what is due. Gives when something is due next.
    fn tasks(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let mut next = None;
        let mut waiting = VecDeque::new();
        for mut task in std::mem::take(&mut self.tasks) {
            let since = self.log.lock().moments.get(&task.since).copied();
            let due = since.map(|since| since + task.at);
            match due {
                Some(due) if due <= turn.now => {
                    // A repetition is not told again.
                    if let Some((kind, says)) = task.says.take() {
                        self.log.lock().tell(turn.now, kind, says);
                    }
                    (task.act)(turn);
                    if let Some((every, again)) = task.every.clone() {
                        task.at += every;
                        task.act = again();
                        next = earliest(next, due + every);
                        waiting.push_back(task);
                    }
                }
                due => {
                    if let Some(due) = due {
                        next = earliest(next, due);
                    }
                    waiting.push_back(task);
                }
            }
        }
        let pending =
            waiting.iter().any(|task| task.every.is_none() && self.log.lock().moments.contains_key(&task.since));
        self.busy.store(pending, Relaxed);
        self.tasks = waiting;
        next
    }

    /// People answer what they are asked. Gives when the next one does.
    fn answer(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let release = turn.server.get(&self.key).ok()?;
        let status = status(&release);
        let spec: Release = serde_json::from_value(release.value().clone()).ok()?;
        let revision = status.candidate.as_ref().map(|candidate| candidate.revision.clone())?;
        self.decide_as_written(turn, &revision);
        let mut next = None;
        let asking: Vec<&str> = status
            .gates
            .iter()
            .filter(|gate| gate.kind == GateKind::Approval && gate.state == GateState::Closed)
            .map(|gate| gate.name.as_str())
            .collect();
        // A gate that closes again, as when approvals expire, asks again.
        let asks = |name: &str| asking.contains(&name) || name.starts_with(STEP);
        self.asked.retain(|name, _| asks(name));
        self.answered.retain(|(gate, _)| asks(gate));
        for gate in spec.spec.gates.approvals.iter().filter(|gate| asking.contains(&gate.name.as_str())) {
            let since = *self.asked.entry(gate.name.clone()).or_insert(turn.now);
            for (person, after, verdict) in self.answers(gate) {
                let due = since + SignedDuration::from(after);
                let mark = (gate.name.clone(), person.clone());
                if self.answered.contains(&mark) {
                    continue;
                }
                if due > turn.now {
                    next = earliest(next, due);
                    continue;
                }
                self.answered.push(mark);
                // Made-up people are in the groups that are asked for; what is refused counts for nothing, as for real.
                let _ = decide(turn, &self.key, &person, &gate.from.groups, &revision, verdict, Some(&gate.name));
            }
        }
        earliest_of(next, self.resume(turn, &spec, &status, &revision))
    }

    /// The Decisions of the files, bound to what is rehearsed.
    fn decide_as_written(&mut self, turn: &mut Turn<'_>, revision: &str) {
        for mut decision in std::mem::take(&mut self.decisions) {
            let written = text(&decision["spec"]["revision"]).to_owned();
            if written != revision {
                let text = format!(
                    "{} is about revision {written}: it is taken to be about {revision}, the one that is rehearsed",
                    title(&decision)
                );
                self.log.lock().tell(turn.now, BeatKind::Person, text);
            }
            decision["spec"]["revision"] = revision.into();
            let by = &decision["spec"]["by"];
            let groups: Vec<&str> = list(&by["groups"]).iter().map(text).collect();
            let caller = Caller::new(User::new(text(&by["username"]), &groups));
            if let Err(refusal) = turn.server.create(&caller, Kind::Decision, &self.key.namespace, decision.clone()) {
                let text = format!("{} is refused: {}", title(&decision), refusal.message);
                self.log.lock().tell(turn.now, BeatKind::Person, text);
            }
        }
    }

    /// Who answers at a gate, when, and how.
    fn answers(&self, gate: &ApprovalGate) -> Vec<(String, lockkeeper_api::scalar::Duration, Verdict)> {
        let named: Vec<_> = self.people.approvals.iter().filter(|approval| approval.gate == gate.name).collect();
        if !named.is_empty() {
            let answers = named.into_iter().flat_map(|approval| {
                let verdict = if approval.reject { Verdict::Reject } else { Verdict::Approve };
                approval.by.iter().map(move |person| (person.clone(), approval.after, verdict))
            });
            return answers.collect();
        }
        match self.people.otherwise {
            Otherwise::Nobody => Vec::new(),
            Otherwise::Yes => {
                approvers(gate).into_iter().map(|person| (person, self.people.after, Verdict::Approve)).collect()
            }
        }
    }

    /// Somebody ends a pause without duration.
    fn resume(
        &mut self,
        turn: &mut Turn<'_>,
        release: &Release,
        status: &ReleaseStatus,
        revision: &str,
    ) -> Option<Timestamp> {
        let step = status.step.as_ref().filter(|_| status.phase == Phase::Paused)?;
        let Strategy::Canary(canary) = &release.spec.strategy;
        let Some(Step::Pause(pause)) = canary.steps.get(step.index as usize) else { return None };
        let endless = pause.duration.is_none() && status.hold.is_none() && status.gates.is_empty();
        if !endless || self.people.otherwise == Otherwise::Nobody || self.resumed == Some(step.index) {
            return None;
        }
        let mark = format!("{STEP}{}", step.index);
        let since = *self.asked.entry(mark).or_insert(turn.now);
        let due = since + SignedDuration::from(self.people.after);
        if due > turn.now {
            return Some(due);
        }
        self.resumed = Some(step.index);
        let _ = decide(turn, &self.key, "on-call", &[], revision, Verdict::Resume, None);
        None
    }
}

impl Actor for Director {
    fn watches(&self) -> &'static [Kind] {
        &Kind::ALL
    }

    fn reaction(&self) -> (u64, u64) {
        (1, 1)
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let look = self.account(turn);
        let planned = self.tasks(turn);
        let answer = self.answer(turn);
        [look, planned, answer].into_iter().flatten().min()
    }
}

/// As many people as a gate needs, those first whom it names.
pub fn approvers(gate: &ApprovalGate) -> Vec<String> {
    let group = gate.from.groups.first().map_or("approver", String::as_str);
    let made_up = (1..).map(|number| format!("{group}-{number}"));
    // Where only users are named, nobody else may.
    let others = made_up.take(if gate.from.groups.is_empty() && !gate.from.users.is_empty() { 0 } else { 16 });
    gate.from.users.iter().cloned().chain(others).take(usize::from(gate.required)).collect()
}

/// Creates a Decision in the name of its author.
///
/// # Errors
/// What the API server says.
pub fn decide(
    turn: &mut Turn<'_>,
    release: &Key,
    person: &str,
    groups: &[String],
    revision: &str,
    verdict: Verdict,
    gate: Option<&str>,
) -> Result<(), Status> {
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let caller = Caller::new(User::new(person, &groups));
    let mut spec = json!({"release": release.name, "revision": revision, "verdict": verdict,
        "by": {"username": person, "groups": groups}});
    if let Some(gate) = gate {
        spec["gate"] = gate.into();
    }
    if verdict == Verdict::Override {
        spec["reason"] = "rehearsal".into();
    }
    let decision = json!({"metadata": {"generateName": format!("{}-", release.name)}, "spec": spec});
    turn.server.create(&caller, Kind::Decision, &release.namespace, decision).map(drop)
}

fn earliest(one: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(one.map_or(other, |one| one.min(other)))
}

fn earliest_of(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// The new version's part of a workload's requests, as data planes send them now; none without a Service.
fn share(objects: &Snapshot, in_force: &BTreeMap<Key, Vec<Value>>, work: &Work, images: &[String]) -> Option<f64> {
    let (stable, canary) = work.services.as_ref()?;
    let part = |service: &str| {
        let service = objects.get(&Key::new(Kind::Service, work.namespace(), service))?;
        let pods = objects.within(Kind::Pod, work.namespace());
        let selected =
            pods.filter(|pod| serves(pod) && selects_plain(&service["spec"]["selector"], &pod["metadata"]["labels"]));
        let (all, new) =
            selected.fold((0u32, 0u32), |(all, new), pod| (all + 1, new + u32::from(is_new(&pod["spec"], images))));
        (all > 0).then(|| f64::from(new) / f64::from(all))
    };
    if !work.routed() {
        return part(stable);
    }
    let rules = work
        .routes
        .iter()
        .filter_map(|route| in_force.get(&Key::new(Kind::HTTPRoute, work.namespace(), route.as_str()))?.first());
    let shares = rules.flat_map(list).filter_map(|rule| {
        let backends = list(&rule["backendRefs"]).iter().filter_map(|backend| {
            let service = text(&backend["name"]);
            let ours = service == stable || service == canary;
            ours.then(|| (backend["weight"].as_f64().unwrap_or(1.0), part(service).unwrap_or_default()))
        });
        let (total, new) =
            backends.fold((0.0, 0.0), |(total, new), (weight, part)| (total + weight, new + weight * part));
        (total > 0.0).then(|| new / total)
    });
    shares.reduce(f64::max)
}

/// A gateway that can be stopped for a while.
pub struct Stoppable {
    /// The gateway.
    pub gateway: Gateway,
    /// Whether it is stopped.
    pub stopped: Arc<AtomicBool>,
}

impl Actor for Stoppable {
    fn watches(&self) -> &'static [Kind] {
        self.gateway.watches()
    }

    fn reaction(&self) -> (u64, u64) {
        self.gateway.reaction()
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        if self.stopped.load(Relaxed) {
            // Somebody may start it again without any object changing.
            return Some(turn.now + Duration::from_millis(500));
        }
        self.gateway.step(turn)
    }
}

/// The name of an object, for sentences.
pub fn title(object: &Value) -> String {
    format!("{} {}", text(&object["kind"]), name(object))
}
