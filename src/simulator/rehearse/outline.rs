//! What can be said of a release before anything runs: when it can start, how long it takes at least, which gates stand in the way.

use jiff::{SignedDuration, Timestamp, tz::TimeZoneDatabase};
use lockkeeper_api::{
    deployment_window::Exposure,
    release::{ApprovalGate, ApprovalMoment, OnClose, Step},
    scalar::Duration,
};
use lockkeeper_engine::{
    plan::{Plan, Target},
    window,
};
use serde::Serialize;

use super::{
    Case, Manifest,
    advice::{self, Warning},
    case::SETTLE,
};
use crate::{api::Kind, run::PLATFORM};

/// Changes of windows that are followed to find an opening.
const CHANGES_MAX: usize = 200;

/// What can be said of one Release.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outline {
    /// Namespace and name.
    pub release: String,
    /// The moment that was asked about.
    pub at: Timestamp,
    /// When it could start.
    pub start: Opening,
    /// Its way, if it starts as early as it can, people answer at once and nothing goes wrong.
    pub course: Course,
    /// Which gates stand in the way.
    pub gates: Vec<Gate>,
    /// What keeps it from working.
    pub missing: Vec<String>,
    /// What is likely to surprise.
    pub warnings: Vec<Warning>,
}

/// When windows let exposure grow.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    /// Whether they do at the moment that was asked about.
    pub now: bool,
    /// What the windows say at that moment.
    pub message: String,
    /// From when on they do; none if that is not in sight.
    pub earliest: Option<Timestamp>,
    /// The same by the clocks of the windows' zones.
    pub local: Vec<String>,
}

/// A release's way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Course {
    /// The steps.
    pub stages: Vec<Stage>,
    /// When it would be promoted; none if windows keep it from that for good, or send it back.
    pub promoted: Option<Timestamp>,
    /// When its bake would be over.
    pub over: Option<Timestamp>,
    /// How many seconds there are from its start to its promotion.
    pub seconds: Option<i64>,
    /// How many seconds the bake takes.
    pub bake_seconds: u64,
}

/// A step on the way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The step, from 1.
    pub step: usize,
    /// What it is, in words.
    pub what: String,
    /// When it begins at the earliest.
    pub at: Timestamp,
    /// The new version's part of the traffic during it, in percent.
    pub weight: u8,
    /// Which window it waits for before, if it does.
    pub waits: Option<String>,
}

/// A gate in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// When it is asked.
    pub when: String,
    /// What opens it.
    pub needs: String,
}

/// What can be said of all Releases of the files, at a moment.
pub fn all(manifest: &Manifest, at: Timestamp) -> Vec<Outline> {
    Case::all(manifest).iter().map(|case| of(case, at)).collect()
}

/// What can be said of one Release, at a moment.
pub fn of(case: &Case, at: Timestamp) -> Outline {
    let start = opening(case, Exposure::Start, at);
    let course = course(case, start.earliest.unwrap_or(at));
    let mut missing: Vec<String> = case.plan.faults.iter().chain(&case.faults).cloned().collect();
    if case.plan.suspend {
        missing.push("spec.suspend is true: set it to false, or it never starts".into());
    }
    if start.earliest.is_none() {
        missing.push("no window lets it start within sight: see what the windows say".into());
    }
    let warnings = advice::of_case(case, None, at);
    Outline { release: case.title(), at, start, course, gates: gates(case), missing, warnings }
}

/// When windows let exposure grow, from a moment on.
pub fn opening(case: &Case, exposure: Exposure, at: Timestamp) -> Opening {
    let asks = |at| window::evaluate(&case.windows, &case.facts(), PLATFORM, exposure, at);
    let first = asks(at);
    let (now, message) = (first.open, first.message.clone());
    let mut verdict = first;
    let mut earliest = verdict.open.then_some(at);
    for _ in 0..CHANGES_MAX {
        let Some(next) = verdict.next_change.filter(|_| earliest.is_none()) else { break };
        verdict = asks(next);
        earliest = verdict.open.then_some(next);
    }
    let local = earliest.map(|at| local(case, at)).unwrap_or_default();
    Opening { now, message, earliest, local }
}

/// A moment by the clocks of the windows' zones.
fn local(case: &Case, at: Timestamp) -> Vec<String> {
    let mut zones: Vec<String> =
        case.windows_of_it().map(|window| window.spec().schedule.time_zone().to_owned()).collect();
    zones.sort();
    zones.dedup();
    let shown = zones.iter().filter_map(|name| {
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        Some(format!("{} {name}", at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M")))
    });
    shown.collect()
}

/// Walks through the steps from `start` on, as fast as they allow.
pub fn course(case: &Case, start: Timestamp) -> Course {
    let plan = &case.plan;
    let mut walk = Walk { case, at: start, exposed: None, lost: false };
    let mut stages = Vec::new();
    let mut weight = 0;
    for (index, step) in plan.steps.iter().enumerate() {
        let target = Target::at(&plan.steps, index);
        let waits = (target.weight > weight).then(|| walk.pass(Exposure::Increase)).flatten();
        stages.push(Stage { step: index + 1, what: words(step), at: walk.at, weight: target.weight, waits });
        if target.weight != weight {
            walk.settle(weight == 0);
        }
        weight = target.weight;
        match step {
            Step::Pause(pause) => walk.spend(pause.duration.unwrap_or_default()),
            Step::Analysis(analysis) => walk.spend(analysis.duration),
            Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Approval(_) => {}
        }
    }
    walk.wait_for_checks();
    walk.pass(Exposure::Promotion);
    if weight < 100 {
        walk.settle(weight == 0);
    }
    let bake = plan.bake();
    let promoted = (!walk.lost).then_some(walk.at);
    Course {
        stages,
        promoted,
        over: promoted.map(|at| at + SignedDuration::from(bake)),
        seconds: promoted.map(|at| at.duration_since(start).as_secs()),
        bake_seconds: bake.as_secs(),
    }
}

/// On the way.
struct Walk<'a> {
    case: &'a Case,
    at: Timestamp,
    exposed: Option<Timestamp>,
    /// Windows keep it from going on for good, or send it back.
    lost: bool,
}

impl Walk<'_> {
    fn spend(&mut self, duration: Duration) {
        self.at += SignedDuration::from(duration);
    }

    /// A weight is set and confirmed; before the first traffic endpoints have to be known.
    fn settle(&mut self, first: bool) {
        if first {
            self.at += SETTLE;
            self.exposed = Some(self.at);
        }
        self.at += SETTLE;
    }

    /// Passes the windows. Gives what it waits for.
    fn pass(&mut self, exposure: Exposure) -> Option<String> {
        let on_close = self.case.plan.gates.windows.on_close;
        if on_close == OnClose::Continue {
            return None;
        }
        let opening = opening(self.case, exposure, self.at);
        if opening.now {
            return None;
        }
        match (on_close, opening.earliest) {
            (OnClose::Rollback, _) | (_, None) => self.lost = true,
            (OnClose::Pause | OnClose::Continue, Some(earliest)) => self.at = earliest,
        }
        Some(opening.message)
    }

    /// Before promotion every check of the armed policy has measured once.
    fn wait_for_checks(&mut self) {
        let Some((_, policy)) = self.case.armed() else { return };
        let Some(exposed) = self.exposed else { return };
        let first = policy.checks.iter().map(|check| exposed + SignedDuration::from(check.initial_delay)).max();
        self.at = self.at.max(first.unwrap_or(self.at));
    }
}

/// A step in words.
fn words(step: &Step) -> String {
    match step {
        Step::SetWeight(weight) => format!("{weight} % of the traffic"),
        Step::SetCanaryScale(_) => "another number of pods".into(),
        Step::Pause(pause) => match pause.duration {
            Some(duration) => format!("pause of {duration}"),
            None => "pause until somebody resumes".into(),
        },
        Step::Analysis(analysis) => format!("analysis by {} for {}", analysis.policy, analysis.duration),
        Step::Approval(approval) => format!("approval {}", approval.name),
    }
}

/// Every gate that it will meet.
fn gates(case: &Case) -> Vec<Gate> {
    let Plan { suspend, steps, gates, .. } = &case.plan;
    let mut found = Vec::new();
    if *suspend {
        found.push(gate("suspend", "throughout", "spec.suspend: false"));
    }
    if case.windows_of_it().next().is_some() {
        let when = match gates.windows.on_close {
            OnClose::Continue => "before start only",
            OnClose::Pause => "before start, each increase and promotion; while closed it waits",
            OnClose::Rollback => "before start, each increase and promotion; if one closes it goes back",
        };
        let windows: Vec<String> =
            case.windows_of_it().map(|window| format!("{}/{}", window.namespace(), window.name())).collect();
        found.push(gate("windows", when, &windows.join(", ")));
    }
    for approval in &gates.approvals {
        let mut moments: Vec<String> = steps
            .iter()
            .enumerate()
            .filter(|(_, step)| matches!(step, Step::Approval(step) if step.name == approval.name))
            .map(|(index, _)| format!("at step {}", index + 1))
            .collect();
        match approval.before {
            Some(ApprovalMoment::Start) => moments.insert(0, "before start".into()),
            Some(ApprovalMoment::Promotion) => moments.push("before promotion".into()),
            None => {}
        }
        found.push(gate(&approval.name, &moments.join(", "), &needs(approval)));
    }
    for (index, step) in steps.iter().enumerate() {
        if matches!(step, Step::Pause(pause) if pause.duration.is_none()) {
            found.push(gate("pause", &format!("at step {}", index + 1), "somebody who resumes"));
        }
    }
    found
}

fn gate(name: &str, when: &str, needs: &str) -> Gate {
    Gate { name: name.into(), when: when.into(), needs: needs.into() }
}

/// Who opens an approval gate.
fn needs(gate: &ApprovalGate) -> String {
    let groups = gate.from.groups.iter().map(|group| format!("group {group}"));
    let from: Vec<String> = groups.chain(gate.from.users.iter().cloned()).collect();
    let people = if gate.required == 1 { "1 person".into() } else { format!("{} people", gate.required) };
    let from = if from.is_empty() { " who may approve".into() } else { format!(" of {}", from.join(" or ")) };
    let not = if gate.exclude_requester { ", not who asks for the version" } else { "" };
    let until = gate.expires_after.map(|after| format!(", each valid for {after}")).unwrap_or_default();
    format!("{people}{from}{not}{until}")
}

/// Windows of the files that are about none of the Releases.
pub fn idle_windows(manifest: &Manifest, cases: &[Case]) -> Vec<Warning> {
    let all = manifest.of(Kind::DeploymentWindow);
    let idle = all.filter(|window| {
        let (home, name) = (crate::api::object::namespace(window), crate::api::object::name(window));
        !cases.iter().any(|case| case.windows_of_it().any(|other| (other.namespace(), other.name()) == (home, name)))
    });
    idle.map(advice::idle_window).collect()
}
