use jiff::Timestamp;
use lockkeeper_api::names::{HOLD, PAUSED_BY, RELEASE};
use lockkeeper_engine::{world::Role, write::Request};
use serde_json::{Value, json};

use super::*;
use crate::cache::view;

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

/// A Deployment that Release `web` managed, of this template.
fn deployment(image: &str, paused_by: Option<&str>) -> DeploymentView {
    let mut annotations = json!({RELEASE: "web", HOLD: "r1"});
    if let Some(by) = paused_by {
        annotations[PAUSED_BY] = by.into();
    }
    let object = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "annotations": annotations},
        "spec": {"replicas": 2, "paused": true, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
    }));
    let entry = view::deployment(&object.unwrap(), None, Timestamp::UNIX_EPOCH);
    DeploymentView { template: entry.template.value(), ..entry.view }
}

fn replica_set(image: &str, replicas: u32, role: Option<Role>) -> ReplicaSetView {
    let mut labels = json!({"app": "web", "pod-template-hash": image});
    if let Some(role) = role {
        labels["lockkeeper.dev/role"] = role.as_str().into();
    }
    let object = serde_json::from_value(json!({
        "metadata": {"name": format!("web-{image}"), "namespace": "shop", "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"pod-template-hash": image}}, "template": template(image)},
        "status": {"replicas": replicas},
    }));
    ReplicaSetView { controlled: role.is_none(), ..view::replica_set(&object.unwrap(), None).view }
}

fn check(deployment: &DeploymentView, replica_sets: &[ReplicaSetView], expected: Remedy) {
    assert_eq!(remedy(deployment, replica_sets, false), expected, "{deployment:?} with {replica_sets:?}");
}

#[test]
fn what_runs_is_given_back_and_what_has_never_run_stays_paused() {
    let held = deployment("one", Some("lockkeeper"));
    let (runs, history) = (replica_set("one", 2, None), replica_set("zero", 0, None));
    check(&held, &[runs.clone(), history.clone()], Remedy::GiveBack);
    check(&held, &[replica_set("zero", 2, None)], Remedy::LeavePaused);
    // A rollout that stopped half-way, and a Deployment that is scaled to 0: what would run is not what has been running.
    check(&held, &[runs.clone(), replica_set("zero", 1, None)], Remedy::LeavePaused);
    check(&held, &[replica_set("one", 0, None), history], Remedy::LeavePaused);
}

#[test]
fn a_restart_is_no_new_version() {
    let mut held = deployment("one", Some("lockkeeper"));
    held.template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
    check(&held, &[replica_set("one", 2, None)], Remedy::GiveBack);
}

#[test]
fn one_that_has_never_run_waits_for_its_release() {
    check(&deployment("one", Some("lockkeeper")), &[], Remedy::Await);
}

#[test]
fn nothing_is_touched_while_parts_of_a_release_are_left() {
    let held = deployment("two", Some("lockkeeper"));
    for role in [Role::Candidate, Role::Previous, Role::History] {
        check(&held, &[replica_set("one", 2, None), replica_set("two", 1, Some(role))], Remedy::InFlight);
    }
    assert_eq!(remedy(&held, &[replica_set("two", 2, None)], true), Remedy::InFlight);
    for remedy in [Remedy::Await, Remedy::InFlight] {
        assert_eq!(remedy.write("web", &held), None);
    }
}

fn patch(remedy: Remedy, deployment: &DeploymentView) -> Value {
    match remedy.write("web", deployment).unwrap().request {
        Request::Strategic(patch) => patch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn our_marks_go_and_our_pause_only_where_it_is_proven_and_ours() {
    let given_back = patch(Remedy::GiveBack, &deployment("one", Some("lockkeeper")));
    let gone = json!({RELEASE: null, HOLD: null, PAUSED_BY: null});
    assert_eq!(given_back["metadata"], json!({"resourceVersion": "7", "annotations": gone}));
    assert_eq!(given_back["spec"], json!({"paused": null}));

    let left = patch(Remedy::LeavePaused, &deployment("two", Some("lockkeeper")));
    assert_eq!((&left["metadata"]["annotations"], &left["spec"]), (&gone, &Value::Null));

    // A person has paused it: a person resumes it.
    let theirs = deployment("two", None);
    check(&theirs, &[replica_set("one", 2, None)], Remedy::GiveBack);
    assert_eq!(patch(Remedy::GiveBack, &theirs)["spec"], Value::Null);
}
