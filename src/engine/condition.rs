//! Conditions: Kubernetes' own type, with the meaning that kstatus gives to Ready, Reconciling and Stalled.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use lockkeeper_api::release::{GateState, Phase, ReleaseStatus};

use crate::{analysis, decide::Waits, plan::Plan, world::World};

/// The conditions of a status; times are kept where nothing has changed.
pub fn conditions(
    before: &ReleaseStatus,
    status: &ReleaseStatus,
    plan: &Plan,
    world: &World,
    waits: Waits,
    now: Timestamp,
) -> Vec<Condition> {
    let (ready, reconciling, stalled) = table(status.phase, waits);
    let reason = reason(status);
    let went_back = status.phase == Phase::RolledBack || status.going_back.is_some();
    let mut wanted = vec![
        ("Ready", ready, reason.clone(), status.message.clone()),
        ("Reconciling", reconciling, reason.clone(), status.message.clone()),
        ("Stalled", stalled, reason, status.message.clone()),
    ];
    if let (true, Some(going)) = (went_back, &status.going_back) {
        wanted.push(("RolledBack", going.finished.is_some(), format!("{:?}", going.cause), going.message.clone()));
    }
    let other: Vec<_> = world.workloads.iter().flat_map(|view| &view.other_services).cloned().collect();
    if !other.is_empty() && plan.workloads.iter().any(|work| work.services.is_some()) {
        let message = format!("Services {} select the same pods and send them traffic by pod count: name them in pin", other.join(", "));
        wanted.push(("TrafficShared", true, "OtherServices".into(), message));
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
        Phase::Stable | Phase::Baking if waits == Waits::Machines => (true, true, false),
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
    let strip = |status: &ReleaseStatus| {
        let mut status = status.clone();
        status.checks.clear();
        status.exposed = None;
        status.next_transition_time = None;
        if let Some(step) = &mut status.step {
            step.waiting = None;
        }
        if let Some(weight) = &mut status.weight {
            weight.confirmed = 0;
        }
        for gate in status.gates.iter_mut().filter(|gate| gate.state == GateState::Open) {
            gate.next_change = None;
        }
        status
    };
    strip(before) != strip(after) || analysis::meaningful(&before.checks, &after.checks)
}
