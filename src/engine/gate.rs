//! Gates: what must be open before exposure may grow. Each is a named pure function that says open or closed, a reason
//! and a sentence; all closed ones are shown, not only the first.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    deployment_window::Exposure,
    release::{ApprovalGate, ApprovalMoment, CountedDecision, GateKind, GateState, GateStatus, OnClose, ReleaseStatus},
};

use crate::{
    decide::clock,
    plan::Plan,
    window::{self, ReleaseFacts},
    world::World,
};

/// What the gates are asked about.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The world.
    pub world: &'a World,
    /// The status so far.
    pub status: &'a ReleaseStatus,
    /// Everything that makes the Release unable to work.
    pub faults: &'a [String],
    /// What would grow.
    pub exposure: Exposure,
    /// The gate that an `approval` step asks for.
    pub step_gate: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

struct Answer {
    name: String,
    kind: GateKind,
    state: GateState,
    reason: &'static str,
    message: String,
    next_change: Option<Timestamp>,
}

impl Answer {
    fn new(name: &str, kind: GateKind, open: bool, reason: &'static str, message: impl Into<String>) -> Self {
        let state = if open { GateState::Open } else { GateState::Closed };
        Self { name: name.into(), kind, state, reason, message: message.into(), next_change: None }
    }
}

/// Asks all gates, in order: suspend, validity, windows, approvals.
pub fn ask(question: &Question<'_>) -> Vec<GateStatus> {
    let answers =
        suspend(question).into_iter().chain(validity(question)).chain(windows(question)).chain(approvals(question));
    answers.map(|answer| overridden(question, answer)).map(|answer| dated(question, answer)).collect()
}

/// Whether none is closed.
pub fn open(gates: &[GateStatus]) -> bool {
    gates.iter().all(|gate| gate.state == GateState::Open)
}

/// What happens when a window closes mid-way: the stricter of then and now.
pub fn on_close(plan: &Plan, status: &ReleaseStatus) -> OnClose {
    let then = status.gates_at_start.as_ref().map_or(OnClose::Continue, |gates| gates.windows.on_close);
    plan.gates.windows.on_close.max(then)
}

fn suspend(question: &Question<'_>) -> Option<Answer> {
    let message = "spec.suspend is true: set it to false to go on";
    question.plan.suspend.then(|| Answer::new("suspend", GateKind::Suspend, false, "Suspended", message))
}

fn validity(question: &Question<'_>) -> Option<Answer> {
    (!question.faults.is_empty())
        .then(|| Answer::new("validity", GateKind::Validity, false, "Invalid", question.faults.join("; ")))
}

fn windows(question: &Question<'_>) -> Option<Answer> {
    let started = question.exposure != Exposure::Start;
    if question.world.windows.is_empty() || (started && on_close(question.plan, question.status) == OnClose::Continue) {
        return None;
    }
    let release = ReleaseFacts {
        namespace: &question.plan.namespace,
        labels: &question.plan.labels,
        namespace_labels: &question.world.namespace_labels,
    };
    let operator = &question.plan.setting.operator_namespace;
    let verdict = window::evaluate(&question.world.windows, &release, operator, question.exposure, question.now);
    let mut answer = Answer::new("windows", GateKind::Windows, verdict.open, verdict.reason.as_str(), verdict.message);
    answer.next_change = verdict.next_change;
    Some(answer)
}

/// The approval gates in force: those of the spec and, once started, those of the start that differ.
pub fn approvals_in_force<'a>(plan: &'a Plan, status: &'a ReleaseStatus) -> Vec<&'a ApprovalGate> {
    let then = status.gates_at_start.iter().flat_map(|gates| &gates.approvals);
    let differing = then.filter(|gate| !plan.gates.approvals.contains(gate));
    plan.gates.approvals.iter().chain(differing).collect()
}

fn approvals(question: &Question<'_>) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    let mut gates = approvals_in_force(question.plan, question.status);
    // Two definitions of one gate, the start's and the spec's: the stricter counts, and speaks.
    gates.sort_by_key(|gate| Reverse(gate.required));
    for gate in gates {
        let by_moment = match gate.before {
            Some(ApprovalMoment::Start) => question.exposure == Exposure::Start,
            Some(ApprovalMoment::Promotion) => question.exposure == Exposure::Promotion,
            None => false,
        };
        if !by_moment && question.step_gate != Some(gate.name.as_str()) {
            continue;
        }
        let answer = approval(question, gate);
        match answers.iter_mut().find(|other| other.name == answer.name) {
            Some(other) if other.state == GateState::Open => *other = answer,
            Some(_) => {}
            None => answers.push(answer),
        }
    }
    answers
}

fn approval(question: &Question<'_>, gate: &ApprovalGate) -> Answer {
    let counted = |verdict| move |d: &&CountedDecision| d.verdict == verdict && d.gate.as_deref() == Some(&gate.name);
    let valid = question.status.decisions.iter().filter(|d| d.refused.is_none() && !d.spent);
    let name = gate.name.as_str();
    if let Some(rejected) = valid.clone().find(counted(Verdict::Reject)) {
        return Answer::new(name, GateKind::Approval, false, "Rejected", format!("rejected by {}", rejected.by));
    }
    if gate.exclude_requester && requester(question.plan, question.status).is_none() {
        let message = "nobody knows who asked for this version: name the person in spec.gates.requester";
        return Answer::new(name, GateKind::Approval, false, "RequesterUnknown", message);
    }
    let mut people: Vec<&str> = Vec::new();
    let mut expiry: Option<Timestamp> = None;
    for decision in valid.filter(counted(Verdict::Approve)) {
        if people.contains(&decision.by.as_str()) || refusal(question.plan, question.status, gate, decision).is_some() {
            continue;
        }
        if let Some(after) = gate.expires_after {
            let until = decision.at.0.checked_add(jiff::SignedDuration::from(after)).unwrap_or(Timestamp::MAX);
            if until <= question.now {
                continue;
            }
            expiry = Some(expiry.map_or(until, |earliest| earliest.min(until)));
        }
        people.push(&decision.by);
    }
    let required = usize::from(gate.required);
    let by = if people.is_empty() { String::new() } else { format!(" (by {})", people.join(", ")) };
    let message = format!("{} of {required} approvals{by}{}", people.len(), whose(gate));
    let enough = people.len() >= required;
    let reason = if enough { "Approved" } else { "ApprovalNeeded" };
    let mut answer = Answer::new(name, GateKind::Approval, enough, reason, message);
    answer.next_change = expiry;
    answer
}

fn whose(gate: &ApprovalGate) -> String {
    let groups = gate.from.groups.iter().map(|group| format!("group {group}"));
    let all: Vec<_> = groups.chain(gate.from.users.iter().cloned()).collect();
    if all.is_empty() { String::new() } else { format!(", from {}", all.join(" or ")) }
}

/// The person who asked for the version: the one named in the spec, else the recorded author, unless that is a machine.
pub fn requester<'a>(plan: &'a Plan, status: &'a ReleaseStatus) -> Option<&'a str> {
    let recorded = status.candidate.as_ref().and_then(|c| c.requested_by.as_deref());
    recorded.filter(|user| !user.starts_with("system:")).or(plan.gates.requester.as_deref())
}

/// Why this author has no say at this gate, if so.
pub fn stranger(gate: &ApprovalGate, decision: &CountedDecision) -> Option<String> {
    let from = &gate.from;
    let named = from.is_anybody()
        || from.users.contains(&decision.by)
        || from.groups.iter().any(|group| decision.groups.contains(group));
    (!named).then(|| format!("{} is not among those who may approve {}{}", decision.by, gate.name, whose(gate)))
}

/// Why an approval of this gate by this author does not count, if so.
pub fn refusal(plan: &Plan, status: &ReleaseStatus, gate: &ApprovalGate, decision: &CountedDecision) -> Option<String> {
    let recorded = status.candidate.as_ref().and_then(|c| c.requested_by.as_deref());
    let asked = requester(plan, status) == Some(&decision.by) || recorded == Some(decision.by.as_str());
    let own = (gate.exclude_requester && asked)
        .then(|| format!("{} asked for this version, and {} excludes the requester", decision.by, gate.name));
    stranger(gate, decision).or(own)
}

/// Opens a closed gate that a valid Override names; nothing passes a Release that cannot work.
fn overridden(question: &Question<'_>, answer: Answer) -> Answer {
    if answer.state == GateState::Open || answer.kind == GateKind::Validity {
        return answer;
    }
    let valid = question.status.decisions.iter().filter(|d| d.refused.is_none() && !d.spent);
    let overrides = valid.filter(|d| d.verdict == Verdict::Override && d.gate.as_deref() == Some(&answer.name));
    let latest = overrides.filter_map(|d| Some((d.until.as_ref()?.0, d))).max_by_key(|(until, _)| *until);
    match latest.filter(|(until, _)| *until > question.now) {
        Some((until, decision)) => Answer {
            next_change: Some(until),
            ..Answer::new(
                &answer.name,
                answer.kind,
                true,
                "Overridden",
                format!("passed by {} until {}; it would be closed: {}", decision.by, clock(until), answer.message),
            )
        },
        None => answer,
    }
}

fn dated(question: &Question<'_>, answer: Answer) -> GateStatus {
    let before = question.status.gates.iter().find(|gate| gate.name == answer.name && gate.state == answer.state);
    GateStatus {
        since: before.map_or(Time(question.now), |gate| gate.since.clone()),
        name: answer.name,
        kind: answer.kind,
        state: answer.state,
        reason: answer.reason.into(),
        message: answer.message,
        next_change: answer.next_change.map(Time),
    }
}

#[cfg(test)]
mod tests;
