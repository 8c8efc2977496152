//! From a status to its series.

use lockkeeper_api::{
    ReleaseStatus,
    release::{CheckOutcome, GateKind, GateState, GoingBackCause, Phase},
};

use crate::{
    cache::Key,
    metrics::{CheckSample, GateSample, ReleaseSample},
};

/// What a status says in numbers.
pub fn of(key: &Key, status: &ReleaseStatus) -> ReleaseSample {
    let weight = status.weight.unwrap_or_default();
    ReleaseSample {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        version: status.version.clone().unwrap_or_default(),
        phase: phase(status.phase),
        step: status.step.as_ref().map_or(0, |step| (step.index + 1).min(step.total)),
        steps: status.step.as_ref().map_or(0, |step| step.total),
        weight_desired: f64::from(weight.desired) / 100.0,
        weight_confirmed: f64::from(weight.confirmed) / 100.0,
        gates: status
            .gates
            .iter()
            .map(|gate| GateSample {
                name: gate.name.clone(),
                kind: gate_kind(gate.kind),
                state: gate_state(gate.state),
            })
            .collect(),
        checks: status
            .checks
            .iter()
            .map(|check| CheckSample {
                name: check.name.clone(),
                outcome: outcome(check.outcome),
                value: check.value.as_deref().and_then(|value| value.parse().ok()),
            })
            .collect(),
    }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Stable => "Stable",
        Phase::Waiting => "Waiting",
        Phase::Progressing => "Progressing",
        Phase::Paused => "Paused",
        Phase::Promoting => "Promoting",
        Phase::Baking => "Baking",
        Phase::RollingBack => "RollingBack",
        Phase::RolledBack => "RolledBack",
        Phase::Aborted => "Aborted",
        Phase::Rejected => "Rejected",
        Phase::Invalid => "Invalid",
    }
}

const fn gate_kind(kind: GateKind) -> &'static str {
    match kind {
        GateKind::Suspend => "Suspend",
        GateKind::Validity => "Validity",
        GateKind::Windows => "Windows",
        GateKind::Approval => "Approval",
    }
}

const fn gate_state(state: GateState) -> &'static str {
    match state {
        GateState::Open => "Open",
        GateState::Closed => "Closed",
    }
}

const fn outcome(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Pending => "Pending",
        CheckOutcome::Success => "Success",
        CheckOutcome::Failure => "Failure",
        CheckOutcome::Error => "Error",
        CheckOutcome::NoData => "NoData",
    }
}

/// The word for a cause.
pub const fn cause(cause: GoingBackCause) -> &'static str {
    match cause {
        GoingBackCause::CheckFailed => "CheckFailed",
        GoingBackCause::Inconclusive => "Inconclusive",
        GoingBackCause::CrashLoop => "CrashLoop",
        GoingBackCause::Unavailable => "Unavailable",
        GoingBackCause::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
        GoingBackCause::WindowClosed => "WindowClosed",
        GoingBackCause::Aborted => "Aborted",
        GoingBackCause::RollbackRequested => "RollbackRequested",
        GoingBackCause::ReturnedToEarlierVersion => "ReturnedToEarlierVersion",
        GoingBackCause::Withdrawn => "Withdrawn",
        GoingBackCause::Superseded => "Superseded",
        GoingBackCause::Deleted => "Deleted",
    }
}
