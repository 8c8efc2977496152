use serde_json::{Value, json};

use super::*;

/// A Release at its approval step, with this laid over its status.
fn release(status: Value) -> Release {
    let revision = |revision: &str, version: &str| json!({"revision": revision, "version": version, "workloads": [], "since": "2026-01-06T09:00:00Z"});
    let mut whole = json!({
        "phase": "Paused",
        "message": "waits for approval",
        "stable": revision("r1", "1.0.0"),
        "candidate": revision("r2", "2.0.0"),
        "step": {"index": 1, "total": 3, "position": "2/3", "started": "2026-01-06T09:00:00Z", "digest": "d"},
        "gates": [
            {"name": "go-wide", "kind": "Approval", "state": "Closed", "reason": "ApprovalNeeded", "message": "0 of 1", "since": "2026-01-06T09:00:00Z"},
            {"name": "windows", "kind": "Windows", "state": "Open", "reason": "Open", "message": "open", "since": "2026-01-06T09:00:00Z"},
        ],
    });
    for (key, value) in status.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release", "metadata": {"name": "checkout"},
        "spec": {
            "workloads": [{"ref": {"kind": "Deployment", "name": "checkout"}}],
            "strategy": {"canary": {"steps": [{"setWeight": 5}, {"approval": {"name": "go-wide"}}, {"pause": {}}]}},
            "gates": {"approvals": [{"name": "go-wide", "from": {"groups": ["sre"]}}]},
        },
        "status": whole,
    }))
    .unwrap()
}

fn blocked_revision(revision: &str) -> Value {
    json!({"revision": revision, "version": "v", "phase": "RolledBack", "message": "m", "since": "2026-01-06T09:00:00Z"})
}

fn asked(status: Value, verdict: Verdict, gate: Option<&str>) -> Result<String, String> {
    check(&release(status), &Ask { verdict, gate, revision: None }).map(|bound| bound.revision)
}

#[track_caller]
fn bound(status: Value, verdict: Verdict, gate: Option<&str>, revision: &str) {
    assert_eq!(asked(status, verdict, gate).as_deref(), Ok(revision));
}

#[track_caller]
fn refused(status: Value, verdict: Verdict, gate: Option<&str>, words: &str) {
    let text = asked(status, verdict, gate).unwrap_err();
    assert!(text.contains(words), "{words:?} expected in {text:?}");
}

#[test]
fn an_act_about_the_version_on_its_way_is_bound_to_the_candidate() {
    for verdict in [Verdict::Promote, Verdict::Pause, Verdict::Abort] {
        bound(json!({}), verdict, None, "r2");
    }
    for verdict in [Verdict::Approve, Verdict::Reject, Verdict::Override] {
        bound(json!({}), verdict, Some("go-wide"), "r2");
    }
}

#[test]
fn an_unknown_gate_lists_those_that_there_are() {
    refused(json!({}), Verdict::Approve, Some("go"), "choose one of go-wide");
    refused(json!({}), Verdict::Override, Some("go"), "choose one of go-wide");
    refused(json!({"gates": []}), Verdict::Override, Some("go"), "there is none");
}

#[test]
fn an_open_gate_needs_neither_approval_nor_override() {
    let gate = json!({"name": "go-wide", "kind": "Approval", "state": "Open", "reason": "Approved", "message": "1 of 1", "since": "2026-01-06T09:00:00Z"});
    refused(json!({"gates": [gate.clone()]}), Verdict::Approve, Some("go-wide"), "open already");
    bound(json!({"gates": [gate]}), Verdict::Reject, Some("go-wide"), "r2");
    refused(json!({}), Verdict::Override, Some("windows"), "nothing to override");
}

#[test]
fn a_phase_that_does_not_fit_names_the_verb_that_does() {
    refused(json!({"phase": "Baking"}), Verdict::Abort, None, "use rollback");
    refused(json!({}), Verdict::Rollback, None, "use abort");
    refused(json!({"phase": "Waiting"}), Verdict::Promote, None, "open its gates");
    refused(json!({"phase": "Aborted"}), Verdict::Resume, None, "use retry");
    refused(json!({"phase": "Stable"}), Verdict::Pause, None, "checkout is Stable");
}

#[test]
fn skip_does_not_pass_an_approval_step() {
    refused(json!({}), Verdict::Skip, None, "approve gate go-wide");
    bound(
        json!({"step": {"index": 0, "total": 3, "position": "1/3", "started": "2026-01-06T09:00:00Z", "digest": "d"}}),
        Verdict::Skip,
        None,
        "r2",
    );
}

#[test]
fn resume_needs_a_hold_or_a_pause_without_duration() {
    refused(json!({}), Verdict::Resume, None, "waits for approval");
    let hold = json!({"reason": "PausedByPerson", "message": "paused by alice", "since": "2026-01-06T09:00:00Z"});
    bound(json!({"hold": hold.clone()}), Verdict::Resume, None, "r2");
    refused(json!({"hold": hold}), Verdict::Pause, None, "paused by alice");
    let at_pause = json!({"index": 2, "total": 3, "position": "3/3", "started": "2026-01-06T09:00:00Z", "digest": "d"});
    bound(json!({"step": at_pause}), Verdict::Resume, None, "r2");
}

#[test]
fn rollback_is_about_the_stable_version_and_needs_one_before_it() {
    refused(json!({"phase": "Stable"}), Verdict::Rollback, None, "no earlier version");
    let previous = json!({"revision": "r0", "version": "0.9.0", "workloads": [], "since": "2026-01-06T09:00:00Z"});
    bound(json!({"phase": "Stable", "previous": previous}), Verdict::Rollback, None, "r1");
}

#[test]
fn retry_is_about_the_blocked_candidate_or_the_only_blocked_one() {
    let status = |revisions: &[&str]| json!({"phase": "RolledBack", "blocked": revisions.iter().map(|r| blocked_revision(r)).collect::<Vec<_>>()});
    bound(status(&["r0"]), Verdict::Retry, None, "r0");
    bound(status(&["r0", "r2"]), Verdict::Retry, None, "r2");
    refused(status(&["r0", "r9"]), Verdict::Retry, None, "r0 (v), r9 (v)");
    refused(status(&[]), Verdict::Retry, None, "there is none");
    let mut again = status(&["r0"]);
    again["blocked"][0]["retried"] = true.into();
    refused(again, Verdict::Retry, None, "there is none");
}

#[test]
fn a_revision_that_was_not_looked_at_is_not_decided_about() {
    let ask = |revision| Ask { verdict: Verdict::Promote, gate: None, revision: Some(revision) };
    assert!(check(&release(json!({})), &ask("r2")).is_ok());
    assert!(check(&release(json!({})), &ask("r7")).unwrap_err().contains("look again"));
}

#[test]
fn without_a_status_the_operator_is_named() {
    let mut release = release(json!({}));
    release.status = None;
    let ask = Ask { verdict: Verdict::Abort, gate: None, revision: None };
    assert!(check(&release, &ask).unwrap_err().contains("operator"));
}
