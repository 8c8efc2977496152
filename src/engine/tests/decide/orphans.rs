//! Deployments whose Release is gone.

use std::collections::BTreeMap;

use lockkeeper_api::names::{PAUSED_BY, RELEASE};
use lockkeeper_engine::{
    orphan::{Remedy, remedy},
    template_digest, version_digest,
    world::{Authorship, DeploymentView, ReplicaSetView, Role},
    write::Request,
};
use serde_json::{Value, json};

fn template() -> Value {
    json!({"spec": {"containers": [{"name": "app", "image": "web:2"}]}})
}

fn deployment(paused: bool, by_us: bool) -> DeploymentView {
    let mut marks = BTreeMap::from([(RELEASE.to_owned(), "shop".to_owned())]);
    if by_us {
        marks.insert(PAUSED_BY.into(), "lockkeeper".into());
    }
    DeploymentView {
        name: "web".into(),
        uid: "u".into(),
        resource_version: "5".into(),
        current: true,
        deleting: false,
        replicas: 1,
        paused,
        recreate: false,
        min_ready_seconds: 0,
        marks,
        selector: json!({}).into(),
        template: template().into(),
        digest: template_digest(&template()),
        status_replicas: 1,
        overdue: false,
        updated: 1,
        available: 1,
        authorship: Authorship::default(),
    }
}

fn replica_set(version: &str, existing: u32) -> ReplicaSetView {
    ReplicaSetView { controlled: true, version: version.into(), existing, ..ReplicaSetView::default() }
}

#[test]
fn only_what_is_proven_goes_on_by_itself() {
    let (held, own) = (deployment(true, true), version_digest(&template()));
    let (runs, other, idle) = (replica_set(&own, 2), replica_set("another", 1), replica_set("another", 0));
    let foreign = ReplicaSetView { controlled: false, ..replica_set(&own, 2) };
    let candidate = ReplicaSetView { role: Some(Role::Candidate), ..replica_set("another", 1) };
    for (replica_sets, pinned, expected) in [
        (vec![], false, Remedy::Await),
        (vec![foreign.clone()], false, Remedy::Await),
        (vec![runs.clone()], false, Remedy::GiveBack),
        (vec![runs.clone(), idle.clone()], false, Remedy::GiveBack),
        (vec![runs.clone(), other.clone()], false, Remedy::LeavePaused),
        (vec![other.clone()], false, Remedy::LeavePaused),
        // Nothing runs: nothing says that the template ever did.
        (vec![idle], false, Remedy::LeavePaused),
        (vec![runs.clone(), candidate], false, Remedy::InFlight),
        (vec![runs.clone()], true, Remedy::InFlight),
    ] {
        assert_eq!(remedy(&held, &replica_sets, pinned), expected, "{replica_sets:#?} {pinned}");
    }
    for free in [deployment(false, true), deployment(true, false), deployment(false, false)] {
        assert_eq!(remedy(&free, std::slice::from_ref(&other), false), Remedy::GiveBack, "{free:?}");
    }
}

#[test]
fn our_marks_go_and_only_our_own_pause_with_them() {
    let written = |remedy: Remedy, deployment: &DeploymentView| {
        let write = remedy.write("shop", deployment)?;
        assert_eq!((write.name.as_str(), write.purpose.as_str()), ("web", "leave: Release shop is gone"));
        let Request::Strategic(patch) = write.request else { panic!("{write:?}") };
        let gone = |key: &str| patch["metadata"]["annotations"].get(key) == Some(&Value::Null);
        Some((gone(RELEASE), gone(PAUSED_BY), patch["spec"].get("paused").cloned()))
    };
    let held = deployment(true, true);
    assert_eq!(written(Remedy::GiveBack, &held), Some((true, true, Some(Value::Null))));
    assert_eq!(written(Remedy::GiveBack, &deployment(true, false)), Some((true, false, None)));
    assert_eq!(written(Remedy::LeavePaused, &held), Some((true, true, None)));
    assert_eq!(written(Remedy::Await, &held), None);
    assert_eq!(written(Remedy::InFlight, &held), None);
}

#[test]
fn people_are_told_what_to_do() {
    for (remedy, reason, warning, part) in [
        (Remedy::GiveBack, "GivenBack", false, "Release shop is gone: new versions roll out natively again"),
        (Remedy::LeavePaused, "StaysPaused", true, "kubectl rollout resume deployment/web"),
        (Remedy::Await, "ReleaseMissing", true, "create the Release"),
        (Remedy::InFlight, "ReleaseMissing", true, "the README's section Without the operator"),
    ] {
        let event = remedy.event("shop", "web");
        assert_eq!((event.reason.as_str(), event.warning), (reason, warning));
        assert!(event.note.contains(part), "{}", event.note);
    }
}
