//! Which statuses are worth a write: each costs the API server and everybody who watches.

use lockkeeper_api::ReleaseStatus;
use serde_json::{Value, json};

use super::meaningful;

const THEN: &str = "2026-06-03T10:00:00Z";
const LATER: &str = "2026-06-03T10:05:00Z";

fn gate(state: &str, next: &str) -> Value {
    json!({"name": "windows", "kind": "Windows", "state": state, "reason": "Open", "message": "m", "since": THEN, "nextChange": next})
}

/// In the middle of a release.
fn status() -> Value {
    let revision =
        |version: &str| json!({"revision": format!("r{version}"), "version": version, "workloads": [], "since": THEN});
    json!({
        "observedGeneration": 1, "phase": "Paused", "since": THEN, "version": "2", "message": "m", "nextTransitionTime": THEN,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Waiting", "message": "m", "lastTransitionTime": THEN}],
        "stable": revision("1"), "candidate": revision("2"), "previous": revision("0"),
        "step": {"index": 1, "total": 2, "position": "2/2", "started": THEN, "waiting": THEN, "digest": "d"},
        "weight": {"desired": 10, "confirmed": 10}, "exposed": THEN, "unavailableSince": THEN,
        "gates": [gate("Open", THEN)], "gatesAtStart": {}, "checks": [],
        "hold": {"reason": "PausedByPerson", "message": "m", "since": THEN}, "bakeUntil": THEN, "blocked": [], "decisions": [],
    })
}

fn is_worth_a_write(before: &Value, at: &str, value: Value) -> bool {
    let mut after = before.clone();
    *after.pointer_mut(at).unwrap_or_else(|| panic!("{at}")) = value;
    let read = |status: &Value| -> ReleaseStatus { serde_json::from_value(status.clone()).unwrap() };
    assert_ne!(read(before), read(&after), "{at} changes nothing");
    meaningful(&read(before), &read(&after))
}

#[test]
fn whatever_people_can_see_is_worth_a_write() {
    let before = status();
    for (at, value) in [
        ("/observedGeneration", json!(2)),
        ("/phase", json!("Progressing")),
        ("/since", json!(LATER)),
        ("/version", json!("3")),
        ("/message", json!("other")),
        ("/conditions/0/message", json!("other")),
        ("/stable/version", json!("3")),
        ("/candidate/version", json!("3")),
        ("/previous/version", json!("3")),
        ("/step/position", json!("1/2")),
        ("/step/started", json!(LATER)),
        ("/weight/desired", json!(20)),
        ("/unavailableSince", json!(LATER)),
        ("/gates", json!([])),
        ("/gates/0/state", json!("Closed")),
        ("/gates/0/message", json!("other")),
        ("/gatesAtStart", json!({"requester": "dora"})),
        ("/checks", json!([{"name": "slo/errors", "outcome": "Pending"}])),
        ("/hold/message", json!("other")),
        ("/bakeUntil", json!(LATER)),
        ("/blocked", json!([{"revision": "r3", "version": "3", "phase": "Aborted", "message": "m", "since": THEN}])),
        ("/decisions", json!([{"uid": "u", "name": "n", "verdict": "Pause", "by": "olga", "at": THEN}])),
    ] {
        assert!(is_worth_a_write(&before, at, value), "{at}");
    }
}

#[test]
fn what_only_time_changes_is_not() {
    let before = status();
    for (at, value) in [
        ("/nextTransitionTime", json!(LATER)),
        ("/exposed", json!(LATER)),
        ("/step/waiting", json!(LATER)),
        ("/step/waiting", json!(null)),
        ("/weight/confirmed", json!(5)),
        ("/gates/0/nextChange", json!(LATER)),
    ] {
        assert!(!is_worth_a_write(&before, at, value), "{at}");
    }
}

#[test]
fn when_a_closed_gate_may_open_is_news() {
    let mut before = status();
    before["gates"] = json!([gate("Closed", THEN)]);
    assert!(is_worth_a_write(&before, "/gates/0/nextChange", json!(LATER)));
}
