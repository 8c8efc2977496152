//! Conditions: Kubernetes' own type, with the meaning that kstatus gives to Ready, Reconciling and Stalled.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use lockkeeper_api::release::{GateState, GateStatus, Phase, ReleaseStatus, StepStatus};

use crate::{
    analysis,
    contest::{Contest, Field},
    decide::{Waits, ends_in},
    plan::Plan,
    world::World,
};

/// The conditions of a status; times are kept where nothing has changed.
pub fn conditions(
    before: &ReleaseStatus,
    status: &ReleaseStatus,
    plan: &Plan,
    world: &World,
    contests: &[(Field, Contest)],
    waits: Waits,
    now: Timestamp,
) -> Vec<Condition> {
    let (ready, reconciling, stalled) = table(status.phase, waits);
    let reason = reason(status);
    let mut wanted = vec![
        ("Ready", ready, reason.clone(), status.message.clone()),
        ("Reconciling", reconciling, reason.clone(), status.message.clone()),
        ("Stalled", stalled, reason, status.message.clone()),
    ];
    if let Some(going) = status.going_back.as_ref().filter(|going| ends_in(going.cause).is_some()) {
        let cause = format!("{:?}", going.cause);
        let version = status.stable.as_ref().map(|stable| stable.version.as_str()).unwrap_or_default();
        let restored = match going.finished {
            Some(_) => format!("version {version} has all the traffic"),
            None => format!("traffic is on its way to version {version}"),
        };
        wanted.push(("RolledBack", true, cause.clone(), going.message.clone()));
        wanted.push(("Restored", going.finished.is_some(), cause, restored));
    }
    for (field, kind, reason) in [
        (Field::Traffic, "TrafficContested", "RoutesOrServicesChangedBack"),
        (Field::Template, "TemplateContested", "TemplateChangedBack"),
    ] {
        let fights: Vec<_> = contests.iter().filter(|(f, _)| *f == field).map(|(_, c)| c.message.as_str()).collect();
        if !fights.is_empty() {
            wanted.push((kind, true, reason.into(), fights.join("; ")));
        }
    }
    let other: Vec<_> = world.workloads.iter().flat_map(|view| &view.other_services).cloned().collect();
    if !other.is_empty() && plan.workloads.iter().any(|work| work.services.is_some()) {
        let message = format!(
            "Services {} select the same pods and send them traffic by pod count: name them in pin",
            other.join(", ")
        );
        wanted.push(("TrafficShared", true, "OtherServices".into(), message));
    }
    let unrouted: Vec<_> = plan.workloads.iter().filter(|work| !work.routed()).map(|w| w.deployment.as_str()).collect();
    if status.weight.is_some() && !unrouted.is_empty() {
        let message = format!(
            "Deployment {} has no routes: its share of the traffic is approximated by the number of pods",
            unrouted.join(", ")
        );
        wanted.push(("WeightApproximated", true, "NoRoutes".into(), message));
    }
    let dated = wanted.into_iter().map(|(kind, state, reason, message)| {
        let state = if state { "True" } else { "False" };
        let same = before.conditions.iter().find(|c| c.type_ == kind && c.status == state);
        Condition {
            type_: kind.into(),
            status: state.into(),
            reason,
            message,
            observed_generation: plan.generation,
            last_transition_time: same.map_or(Time(now), |same| same.last_transition_time.clone()),
        }
    });
    dated.collect()
}

/// Ready, Reconciling and Stalled by phase.
fn table(phase: Phase, waits: Waits) -> (bool, bool, bool) {
    match phase {
        Phase::Waiting | Phase::Progressing | Phase::Paused | Phase::RollingBack if waits == Waits::Mending => {
            (false, false, true)
        }
        Phase::Stable | Phase::Baking | Phase::Waiting | Phase::Paused => (true, false, false),
        Phase::Progressing | Phase::Promoting | Phase::RollingBack => (false, true, false),
        Phase::RolledBack | Phase::Aborted | Phase::Rejected | Phase::Invalid => (false, false, true),
    }
}

/// One word for where the release is.
fn reason(status: &ReleaseStatus) -> String {
    match status.phase {
        Phase::Waiting | Phase::Paused => "Waiting".into(),
        Phase::Stable
        | Phase::Progressing
        | Phase::Promoting
        | Phase::Baking
        | Phase::RollingBack
        | Phase::RolledBack
        | Phase::Aborted
        | Phase::Rejected
        | Phase::Invalid => status.phase.to_string(),
    }
}

/// Whether a status is worth a write: anything but values and times of measurements, and what follows from them.
pub fn meaningful(before: &ReleaseStatus, after: &ReleaseStatus) -> bool {
    // Every field is named, so that none is forgotten.
    let ReleaseStatus {
        observed_generation,
        phase,
        since,
        version,
        message,
        next_transition_time: _,
        conditions,
        stable,
        candidate,
        previous,
        step,
        weight,
        exposed: _,
        unavailable_since,
        without_pods,
        gates,
        gates_at_start,
        checks,
        hold,
        going_back,
        bake_until,
        blocked,
        decisions,
    } = after;
    let same = (observed_generation, phase, since) == (&before.observed_generation, &before.phase, &before.since)
        && (version, message, conditions) == (&before.version, &before.message, &before.conditions)
        && (stable, candidate, previous) == (&before.stable, &before.candidate, &before.previous)
        && timeless(step.as_ref()) == timeless(before.step.as_ref())
        && weight.map(|weight| weight.desired) == before.weight.map(|weight| weight.desired)
        && (unavailable_since, without_pods) == (&before.unavailable_since, &before.without_pods)
        && gates.len() == before.gates.len()
        && gates.iter().zip(&before.gates).all(|(one, other)| is_same_gate(one, other))
        && (gates_at_start, hold, going_back) == (&before.gates_at_start, &before.hold, &before.going_back)
        && (bake_until, blocked, decisions) == (&before.bake_until, &before.blocked, &before.decisions);
    !same || analysis::meaningful(&before.checks, checks)
}

/// A step without what follows from its time.
fn timeless(step: Option<&StepStatus>) -> Option<StepStatus> {
    step.map(|step| StepStatus { waiting: None, ..step.clone() })
}

/// Whether two gates are the same, whatever the time at which an open one may close.
fn is_same_gate(one: &GateStatus, other: &GateStatus) -> bool {
    let timeless = |gate: &GateStatus| match gate.state {
        GateState::Open => GateStatus { next_change: None, ..gate.clone() },
        GateState::Closed => gate.clone(),
    };
    one == other || timeless(one) == timeless(other)
}

#[cfg(test)]
mod tests;
