//! Windows: too short, closed for good, about nothing; approvals that expire before one opens.

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{
    deployment_window::{Exposure, Schedule, WindowAction},
    release::{ApprovalMoment, OnClose},
    scalar::Duration,
};
use serde_json::Value;

use super::Warning;
use crate::{
    api::object::{name, namespace},
    rehearse::{
        Case,
        outline::{course, opening},
    },
    run::PLATFORM,
};

/// All warnings about windows.
pub fn warnings(case: &Case, at: Timestamp) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for window in case.windows_of_it() {
        let title = format!("{}/{}", window.namespace(), window.name());
        for fault in window.faults(PLATFORM) {
            warnings.push(Warning::new("window-invalid", format!("window {title} counts as closed: {fault}")));
        }
    }
    warnings.extend(too_short(case, at));
    warnings.extend(expiring(case, at));
    warnings
}

/// Allow windows that are shorter than the way through the steps.
fn too_short(case: &Case, at: Timestamp) -> Vec<Warning> {
    let follows = match case.plan.gates.windows.on_close {
        OnClose::Continue => return Vec::new(),
        OnClose::Pause => "it waits for the next one with part of the traffic on the new version",
        OnClose::Rollback => "it goes back each time (onClose: Rollback)",
    };
    let alone = Case { windows: Vec::new(), ..case.clone() };
    let Some(seconds) = course(&alone, at).seconds else { return Vec::new() };
    let allow = case.windows_of_it().filter(|window| {
        window.spec().action == WindowAction::Allow
            && window.spec().covers.iter().any(|covers| *covers != Exposure::Start)
    });
    let short = allow.filter_map(|window| {
        let open = length(&window.spec().schedule, window.at(PLATFORM, at))?;
        let steps = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        (open.as_secs() < seconds).then(|| {
            let open = Duration::from_secs(u64::try_from(open.as_secs()).unwrap_or_default());
            Warning::new(
                "window-too-short",
                format!(
                    "window {}/{} is open for {open}, and the steps take {steps} at least: {follows}; make it longer, or the steps shorter",
                    window.namespace(),
                    window.name()
                ),
            )
        })
    });
    short.collect()
}

/// How long one time of activity lasts.
fn length(schedule: &Schedule, state: Option<lockkeeper_engine::window::State>) -> Option<SignedDuration> {
    match schedule {
        Schedule::Recurring { duration, .. } | Schedule::Cron { duration, .. } => {
            // Occurrences that adjoin are one.
            let seen = state
                .filter(|state| !state.active)
                .and_then(|state| Some(state.next_end?.duration_since(state.next_start?)));
            Some(seen.unwrap_or(SignedDuration::ZERO).max((*duration).into()))
        }
        Schedule::Once { from, until, .. } => {
            let (from, until): (jiff::civil::DateTime, jiff::civil::DateTime) =
                (from.parse().ok()?, until.parse().ok()?);
            Some(from.duration_until(until))
        }
    }
}

/// Approvals that are over before a window opens.
fn expiring(case: &Case, at: Timestamp) -> Vec<Warning> {
    let opening = opening(case, Exposure::Start, at);
    let Some(earliest) = opening.earliest.filter(|_| !opening.now) else { return Vec::new() };
    let waits = earliest.duration_since(at);
    let gates = case.plan.gates.approvals.iter().filter(|gate| gate.before == Some(ApprovalMoment::Start));
    let short = gates.filter_map(|gate| {
        let expires = gate.expires_after.filter(|expires| SignedDuration::from(*expires) < waits)?;
        Some(Warning::new(
            "approval-expires",
            format!(
                "approvals of gate {} count for {expires}, and no window opens before {}: given now, they have to be given again",
                gate.name,
                opening.local.first().cloned().unwrap_or_else(|| earliest.to_string())
            ),
        ))
    });
    short.collect()
}

/// A window that is about none of the Releases.
pub fn idle_window(window: &Value) -> Warning {
    let title = format!("{}/{}", namespace(window), name(window));
    let why = if namespace(window) == PLATFORM {
        "its releaseSelector or namespaceSelector matches none of them: compare it with their labels"
    } else {
        "it is about its own namespace only, and its releaseSelector: compare both with theirs"
    };
    Warning::new("window-selects-nothing", format!("window {title} is about none of these Releases: {why}"))
}
