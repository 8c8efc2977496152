//! How versions are called, told apart and remembered, and what stands on the objects of people.

use lockkeeper_api::{
    decision::Verdict,
    names::{BORROWED, HOLD, RELEASE, REQUESTED_BY, ROLE},
    release::{GateState, Phase},
};
use lockkeeper_engine::{world::World, write::Kind};
use serde_json::{Value, json};

use super::{asked, at_10_percent, at_rest, expect, running, share, version};
use crate::{
    fixture::{Work, image, lab},
    happening::{Happening, spec},
    lab::Lab,
};

fn hold(lab: &Lab) -> Option<&str> {
    lab.cluster.get(Kind::Deployment, "web").unwrap()["metadata"]["annotations"][HOLD].as_str()
}

fn candidate(lab: &Lab) -> (&str, Option<&str>) {
    let candidate = lab.status().candidate.as_ref().unwrap_or_else(|| panic!("{}", lab.tail()));
    (candidate.version.as_str(), candidate.requested_by.as_deref())
}

fn blocked(lab: &Lab) -> Vec<&str> {
    lab.status().blocked.iter().map(|blocked| blocked.version.as_str()).collect()
}

#[test]
fn a_held_deployment_names_the_revision_that_waits() {
    let mut lab = at_10_percent(json!({}));
    let revision = lab.status().candidate.as_ref().unwrap().revision.clone();
    assert_eq!(hold(&lab), Some(revision.as_str()));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(5);
    assert_eq!(hold(&lab), Some(revision.as_str()), "the one that must not start");
    lab.happen(&Happening::Version("3"));
    lab.run(1);
    let next = &lab.status().candidate.as_ref().unwrap().revision;
    assert!(*next != revision && hold(&lab) == Some(next), "{}", lab.tail());
}

#[test]
fn every_version_that_went_back_is_remembered_once() {
    let mut lab = at_10_percent(json!({}));
    for tag in ["2", "3", "2"] {
        lab.happen(&Happening::Version(tag));
        lab.run(1);
        if lab.phase() == Phase::Aborted {
            lab.decide_on(&blocked_revision(&lab, tag), Verdict::Retry, None, "olga");
            lab.run(2);
        }
        lab.decide(Verdict::Abort, None, "olga");
        lab.run(2);
        expect(&lab, Phase::Aborted, "decide Retry");
    }
    assert_eq!(blocked(&lab), ["3", "2"]);
}

#[test]
fn a_version_that_is_promoted_after_all_is_not_remembered_as_one_that_went_back() {
    let mut lab = at_10_percent(json!({}));
    for tag in ["2", "3"] {
        lab.happen(&Happening::Version(tag));
        lab.run(1);
        lab.decide(Verdict::Abort, None, "olga");
        lab.run(2);
    }
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    lab.decide_on(&blocked_revision(&lab, "2"), Verdict::Retry, None, "olga");
    lab.run(2);
    assert_eq!(blocked(&lab), ["2", "3"]);
    lab.decide(Verdict::Promote, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert_eq!(blocked(&lab), ["3"]);
}

fn blocked_revision(lab: &Lab, tag: &str) -> String {
    lab.status().blocked.iter().find(|blocked| blocked.version == tag).unwrap().revision.clone()
}

#[test]
fn a_release_is_called_by_the_first_image_that_changes_and_asked_for_by_whoever_changed_it() {
    let works = [Work::web(), Work { name: "api", ..Work::web() }];
    let change = |lab: &mut Lab, name: &str, tag: &str, by: &str| {
        lab.cluster.update(Kind::Deployment, name, |deployment| {
            deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image(name, tag).into();
            deployment["spec"]["paused"] = true.into();
            deployment["metadata"]["annotations"]["lockkeeper.dev/paused-by"] = "lockkeeper".into();
            deployment["metadata"]["annotations"][REQUESTED_BY] = by.into();
        });
    };
    let steps = json!([{"setWeight": 10}, {"pause": {}}]);
    let mut one = lab(&works, steps.clone(), json!({}));
    one.run(1);
    one.cluster.update(Kind::Deployment, "web", |web| web["metadata"]["annotations"][REQUESTED_BY] = "carl".into());
    change(&mut one, "api", "7", "dora");
    one.run(1);
    assert_eq!(candidate(&one), ("7", Some("dora")), "web has not changed");
    expect(&one, Phase::Paused, "step 2/2");
    let mut both = lab(&works, steps, json!({}));
    both.run(1);
    change(&mut both, "web", "2", "dora");
    change(&mut both, "api", "7", "erik");
    both.run(1);
    assert_eq!(candidate(&both), ("2", Some("dora")));
}

/// A Deployment with a sidecar and an init container.
fn with_sidecar() -> Lab {
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.cluster.update(Kind::Deployment, "web", |deployment| {
        let pod = &mut deployment["spec"]["template"]["spec"];
        pod["containers"] = json!([{"name": "app", "image": image("web", "1")}, {"name": "proxy", "image": "proxy:5"}]);
        pod["initContainers"] = json!([{"name": "schema", "image": "schema:8"}]);
    });
    lab.run(1);
    lab
}

#[test]
fn of_several_containers_the_one_that_changes_names_the_version() {
    for (at, tag) in [("/containers/1/image", "proxy:6"), ("/initContainers/0/image", "schema:9")] {
        let mut lab = with_sidecar();
        assert_eq!(version(&lab), Some("1"));
        lab.cluster.update(Kind::Deployment, "web", |deployment| {
            *deployment["spec"]["template"]["spec"].pointer_mut(at).unwrap() = tag.into();
            deployment["spec"]["paused"] = true.into();
            deployment["metadata"]["annotations"]["lockkeeper.dev/paused-by"] = "lockkeeper".into();
        });
        lab.run(1);
        assert_eq!(candidate(&lab).0, tag.split_once(':').unwrap().1, "{}", lab.tail());
    }
}

#[test]
fn a_change_that_no_image_tells_is_called_by_the_first_image() {
    let mut lab = with_sidecar();
    lab.cluster.update(Kind::Deployment, "web", |deployment| {
        deployment["spec"]["template"]["spec"]["dnsPolicy"] = "Default".into();
        deployment["spec"]["paused"] = true.into();
        deployment["metadata"]["annotations"]["lockkeeper.dev/paused-by"] = "lockkeeper".into();
    });
    lab.run(1);
    assert_eq!(candidate(&lab).0, "1");
}

#[test]
fn init_containers_get_their_images_too_and_nothing_else_changes() {
    let mut lab = with_sidecar();
    spec(&mut lab, |spec| spec["workloads"][0]["images"] = json!({"app": image("web", "2"), "schema": "schema:9"}));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    let pod = &lab.cluster.get(Kind::Deployment, "web").unwrap()["spec"]["template"]["spec"];
    assert_eq!(
        *pod,
        json!({"containers": [{"name": "app", "image": image("web", "2")}, {"name": "proxy", "image": "proxy:5"}],
               "initContainers": [{"name": "schema", "image": "schema:9"}]})
    );
    assert_eq!(share(&lab), 10);
}

#[test]
fn an_image_for_a_container_that_there_is_not_is_a_fault() {
    let mut lab = with_sidecar();
    spec(&mut lab, |spec| spec["workloads"][0]["images"] = json!({"app": image("web", "2"), "sidecar": "x:1"}));
    lab.run(1);
    expect(&lab, Phase::Invalid, "Deployment web has no container sidecar: correct images");
    assert!(!lab.status().message.contains("app:") && !lab.status().message.contains("container app"));
}

#[test]
fn an_overridden_gate_says_by_whom_until_when_and_what_it_would_be() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({"suspend": true}));
    lab.happen(&Happening::Freeze(true));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    let since = |lab: &Lab, name: &str| {
        let gate = lab.status().gates.iter().find(|gate| gate.name == name).unwrap();
        (gate.state, gate.since.0)
    };
    let before = since(&lab, "suspend");
    lab.run(5);
    assert_eq!(since(&lab, "suspend"), before, "it is closed since then");
    lab.decide(Verdict::Override, Some("windows"), "olga");
    lab.run(1);
    // What somebody says of one gate is about no other.
    expect(&lab, Phase::Waiting, "gate suspend is closed");
    assert_eq!(since(&lab, "suspend"), before);
    assert!(since(&lab, "windows").1 > before.1, "it is open since a minute ago");
    let windows = lab.status().gates.iter().find(|gate| gate.name == "windows").unwrap().clone();
    assert_eq!(windows.state, GateState::Open);
    assert!(windows.message.contains("passed by olga until") && windows.message.contains("it would be closed: "));
    let until = windows.next_change.expect("an Override ends").0;
    lab.run_until(until);
    lab.round();
    let windows = lab.status().gates.iter().find(|gate| gate.name == "windows").unwrap();
    assert_eq!(windows.state, GateState::Closed, "{}", windows.message);
}

#[test]
fn an_override_of_an_earlier_attempt_opens_nothing() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::Freeze(true));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    lab.decide(Verdict::Override, Some("windows"), "olga");
    lab.run(1);
    assert_eq!(share(&lab), 10);
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(1);
    lab.decide(Verdict::Retry, None, "olga");
    lab.run(1);
    expect(&lab, Phase::Waiting, "gate windows is closed");
}

#[test]
fn what_was_observed_can_be_recorded_and_replayed() {
    let lab = at_10_percent(json!({"rollbackPolicy": super::POLICY}));
    let release = lab.release().unwrap();
    let world = lab.world(&lab.plan(&release));
    let replayed: World = serde_json::from_value(serde_json::to_value(&world).unwrap()).unwrap();
    assert_eq!(replayed, world);
    assert!(world.workloads[0].replica_sets.iter().all(|set| set.template.is_some()));
}

/// Selectors of expressions look at labels, too: whoever only took the labels of `matchLabels` off would leave it the Deployment's.
#[test]
fn a_selector_of_expressions_lets_go_of_what_changes_hands() {
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({}));
    lab.cluster.update(Kind::Deployment, "web", |deployment| {
        deployment["spec"]["selector"]["matchExpressions"] = json!([{"key": "tier", "operator": "Exists"}]);
        deployment["spec"]["template"]["metadata"]["labels"]["tier"] = "front".into();
    });
    lab.run(1).happen(&Happening::Version("2"));
    while lab.phase() != Phase::Promoting || lab.log.iter().all(|line| !line.contains("detach as previous")) {
        assert!(lab.round() | lab.pass() || lab.now() < "2026-06-03T11:00:00Z".parse().unwrap(), "{}", lab.tail());
        lab.cluster.now += jiff::SignedDuration::from_secs(1);
    }
    let sets: Vec<&Value> = lab.cluster.of(Kind::ReplicaSet).map(|(_, set)| &set["metadata"]["labels"]).collect();
    let previous = sets.iter().find(|labels| labels[ROLE] == "previous").expect("the one that was let go");
    assert_eq!(
        **previous,
        json!({ROLE: "previous", RELEASE: "shop", "pod-template-hash": previous["pod-template-hash"]})
    );
}

#[test]
fn what_is_borrowed_from_the_history_goes_back_into_it_and_what_a_resumed_deployment_started_does_not() {
    let mut lab = asked(json!([{"setWeight": 10}]), json!({}));
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    // Version 1 again, now through the steps: it went back once.
    lab.decide(Verdict::Rollback, None, "olga");
    lab.run(5);
    expect(&lab, Phase::RolledBack, "rolled back to version 1");
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 10}), json!({"pause": {}})]));
    lab.decide(Verdict::Retry, None, "olga");
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/2");
    let marked = |lab: &Lab| -> Vec<String> {
        let sets = lab.cluster.of(Kind::ReplicaSet);
        let borrowed = sets.filter(|(_, set)| set["metadata"]["annotations"][BORROWED].is_string());
        borrowed.map(|(_, set)| set["spec"]["template"]["spec"]["containers"][0]["image"].to_string()).collect()
    };
    assert_eq!(marked(&lab), [format!("{:?}", image("web", "2"))], "{}", lab.tail());
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(5);
    assert_eq!((running(&lab), lab.cluster.of(Kind::ReplicaSet).count(), marked(&lab).len()), (vec!["1"], 2, 0));
}
