//! The version that runs while its Deployment is held for another one: at gates, for days if need be, or after that went back.

use lockkeeper_api::{
    decision::Verdict,
    names::{HOLD, POD_TEMPLATE_HASH, ROLE},
    release::Phase,
};
use lockkeeper_engine::write::Kind;
use serde_json::{Value, json};

use super::{asked, at_10_percent, expect, running, share};
use crate::{happening::Happening, lab::Lab};

fn waits() -> Lab {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    lab
}

/// Version 1 runs alone until somebody approves of version 2, which then starts.
#[track_caller]
fn waits_and_starts(mut lab: Lab) {
    lab.run(2);
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    assert_eq!((running(&lab), share(&lab)), (vec!["1"], 0), "{}", lab.tail());
    lab.decide(Verdict::Approve, Some("gate"), "ann");
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!((running(&lab), share(&lab)), (vec!["1", "2"], 10), "{}", lab.tail());
}

/// The ReplicaSet of a candidate as another release has made it, which somebody brings back.
fn from_a_backup() -> Value {
    let lab = at_10_percent(json!({}));
    let (_, set) =
        lab.cluster.of(Kind::ReplicaSet).find(|(_, set)| set["metadata"]["labels"][ROLE] == "candidate").unwrap();
    let mut set = set.clone();
    set["spec"]["replicas"] = 2.into();
    set
}

#[test]
fn a_stable_version_that_somebody_deletes_is_made_again() {
    let mut lab = waits();
    lab.happen(&Happening::DeleteStable("web"));
    waits_and_starts(lab);
}

#[test]
fn pods_of_a_version_that_has_passed_no_gate_get_no_traffic_and_go() {
    let mut lab = waits();
    lab.cluster.create(Kind::ReplicaSet, from_a_backup());
    while lab.round() {}
    let pinned = &lab.cluster.get(Kind::Service, "web").unwrap()["spec"]["selector"][POD_TEMPLATE_HASH];
    let stable = &lab.status().stable.as_ref().unwrap().workloads[0].hash;
    assert_eq!(pinned, stable, "{}", lab.tail());
    waits_and_starts(lab);
}

/// Version 2 went back; its template is still the Deployment's.
fn went_back() -> Lab {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Aborted, "aborted by olga");
    lab
}

#[test]
fn what_runs_is_made_again_as_long_as_a_version_that_went_back_is_asked_for() {
    let mut lab = went_back();
    lab.happen(&Happening::DeleteStable("web"));
    lab.run(2);
    expect(&lab, Phase::Aborted, "aborted by olga");
    assert_eq!((running(&lab), share(&lab)), (vec!["1"], 0), "{}", lab.tail());
    // At rest its own controller does.
    lab.happen(&Happening::Version("1"));
    lab.run(5);
    expect(&lab, Phase::Stable, "version 1 runs");
    assert_eq!(lab.cluster.of(Kind::ControllerRevision).count(), 0);
}

#[test]
fn a_version_that_went_back_and_is_asked_for_again_holds_the_deployment_until_the_release_goes() {
    let mut lab = went_back();
    lab.happen(&Happening::Version("1"));
    lab.run(5);
    expect(&lab, Phase::Stable, "version 1 runs");
    assert_eq!(lab.release().unwrap().metadata.finalizers, None);
    lab.happen(&Happening::Version("2"));
    lab.run(2);
    expect(&lab, Phase::Aborted, "aborted by olga");
    lab.happen(&Happening::DeleteStable("web"));
    lab.run(2);
    assert_eq!(running(&lab), ["1"], "{}", lab.tail());
    lab.happen(&Happening::DeleteRelease);
    lab.run(5);
    assert!(lab.release().is_none());
    let deployment = lab.cluster.get(Kind::Deployment, "web").unwrap();
    assert_eq!(deployment["metadata"]["annotations"].get(HOLD), None, "{deployment}");
    assert_eq!(lab.cluster.of(Kind::ControllerRevision).count(), 0);
}

/// Somebody deletes the ReplicaSet of what runs, and what was saved of it.
fn take_all(lab: &mut Lab) {
    let saved: Vec<_> = lab.cluster.of(Kind::ControllerRevision).map(|(name, _)| name.clone()).collect();
    for name in saved {
        lab.cluster.delete(Kind::ControllerRevision, &name);
    }
    lab.happen(&Happening::DeleteStable("web"));
    lab.pass();
}

#[test]
fn where_nothing_is_left_of_what_ran_the_next_version_is_a_first_one_with_its_gates() {
    let mut lab = waits();
    take_all(&mut lab);
    lab.run(2);
    expect(&lab, Phase::Waiting, "the first version waits: gate gate is closed");
    let told = lab.events.iter().find(|event| event.reason == "StableGone").unwrap();
    assert!(told.warning && told.note.starts_with("version 1 cannot be made again: ReplicaSet web-"), "{}", told.note);
    assert_eq!(running(&lab), [] as [&str; 0]);
    lab.decide(Verdict::Approve, Some("gate"), "ann");
    lab.run(3);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert_eq!(running(&lab), ["2"], "{}", lab.tail());
}

#[test]
fn where_nothing_is_left_of_what_ran_a_version_that_went_back_still_waits_for_a_retry() {
    let mut lab = went_back();
    take_all(&mut lab);
    lab.run(2);
    expect(&lab, Phase::Aborted, "change the version, or decide Retry");
    assert_eq!(running(&lab), [] as [&str; 0], "{}", lab.tail());
    lab.happen(&Happening::Version("3"));
    lab.run(3);
    expect(&lab, Phase::Stable, "version 3 runs");
}

#[test]
fn a_release_can_be_deleted_when_nothing_is_left_of_what_ran() {
    let mut lab = went_back();
    take_all(&mut lab);
    lab.happen(&Happening::DeleteRelease);
    lab.run(5);
    assert!(lab.release().is_none(), "{}", lab.tail());
}

#[test]
fn what_an_attempt_has_left_is_cleared_before_a_spec_that_cannot_work_is_told() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    while lab.round() {}
    crate::happening::spec(&mut lab, |spec| spec["rollbackPolicy"] = "nobody".into());
    lab.happen(&Happening::Version("3"));
    lab.run(3);
    expect(&lab, Phase::Invalid, "RollbackPolicy nobody does not exist");
    assert_eq!(running(&lab), ["1"], "{}", lab.tail());
}

#[test]
fn a_replica_set_that_the_deployment_has_made_again_is_the_stable_versions() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Promote, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    let hash = |lab: &Lab| lab.status().stable.as_ref().unwrap().workloads[0].hash.clone();
    let before = hash(&lab);
    // Ours had another name than the one that its controller makes; and before its pods are ready another version is asked for.
    lab.happen(&Happening::DeleteStable("web"));
    lab.pass();
    lab.happen(&Happening::Version("3"));
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/4");
    assert_ne!(hash(&lab), before, "{}", lab.tail());
    assert_eq!((running(&lab), share(&lab)), (vec!["2", "3"], 10), "{}", lab.tail());
}
