//! Deployments without pods: from the beginning, and scaled to 0 mid-way.

use jiff::SignedDuration;
use lockkeeper_api::{decision::Verdict, release::Phase};
use lockkeeper_engine::write::Kind;
use serde_json::json;

use super::{asked, at_10_percent, at_rest, baking, expect, running, share, version};
use crate::{
    fixture::{POLICY, Work, image, lab, policy},
    happening::{Happening, spec},
    lab::{Answer, Lab},
};

#[test]
fn a_deployment_without_replicas_is_handed_over_at_once_and_people_are_told_that_nothing_was_tried() {
    for routed in [true, false] {
        let work = Work { replicas: 0, routed, ..Work::web() };
        let steps = json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}, {"analysis": {"policy": POLICY, "duration": "5m"}}]);
        let mut lab = lab(&[work], steps, json!({}));
        lab.policies.insert(POLICY.into(), policy(json!({}), json!({})));
        lab.run(1).happen(&Happening::Version("2"));
        lab.run(3);
        expect(&lab, Phase::Stable, "version 2 runs");
        assert!(running(&lab).is_empty());
        let started = lab.events.iter().filter(|event| event.reason == "ReleaseStarted");
        let told: Vec<_> = started.map(|event| event.note.as_str()).collect();
        assert!(told.iter().any(|note| note.contains("starts without pods: there is nothing to try")), "{told:?}");
    }
}

#[test]
fn without_replicas_the_people_who_are_to_be_asked_still_are() {
    let steps = json!([
        {"setWeight": 10}, {"pause": {"duration": "5m"}}, {"approval": {"name": "gate"}}, {"setWeight": 50}, {"pause": {}}
    ]);
    let gates = json!({"gates": {"approvals": [{"name": "gate", "required": 1}]}});
    let mut lab = lab(&[Work { replicas: 0, ..Work::web() }], steps, gates);
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(5);
    expect(&lab, Phase::Paused, "0 of 1 approvals");
    assert!(!lab.events.iter().any(|event| event.reason == "WeightIncreased"));
    lab.decide(Verdict::Approve, Some("gate"), "olga");
    lab.run(5);
    expect(&lab, Phase::Paused, "step 5/5: pause without duration; a Decision Resume goes on");
    lab.decide(Verdict::Resume, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn steps_that_were_passed_over_without_pods_are_taken_when_there_are_some() {
    let steps =
        json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}, {"setWeight": 50}, {"approval": {"name": "gate"}}]);
    let gates = json!({"gates": {"approvals": [{"name": "gate", "required": 1}]}});
    let mut lab = lab(&[Work { replicas: 0, ..Work::web() }], steps, gates);
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(5);
    expect(&lab, Phase::Paused, "step 4/4");
    lab.happen(&Happening::Scale("web", 4));
    lab.run(3);
    expect(&lab, Phase::Paused, "step 2/4: pause until");
    assert_eq!(share(&lab), 10, "{}", lab.tail());
}

#[test]
fn scaled_to_nothing_before_its_first_traffic_nothing_is_passed_over() {
    let steps =
        json!([{"pause": {"duration": "5m"}}, {"setWeight": 10}, {"analysis": {"policy": POLICY, "duration": "5m"}}]);
    let mut lab = at_rest(steps, json!({"rollbackPolicy": POLICY}));
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({})));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 1/3: pause until");
    lab.happen(&Happening::Scale("web", 0));
    lab.run(30);
    expect(&lab, Phase::Paused, "step 1/3: scaled to 0; it goes on when there are pods");
    lab.answer = Answer::Bad;
    lab.happen(&Happening::Scale("web", 4));
    lab.run(15);
    expect(&lab, Phase::RolledBack, "version 2");
    assert_eq!(version(&lab), Some("1"), "{}", lab.tail());
}

#[test]
fn scaled_to_nothing_mid_way_it_waits_for_pods_and_goes_on_where_it_was() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Scale("web", 0));
    lab.decide(Verdict::Resume, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Paused, "scaled to 0; it goes on when there are pods");
    assert!(running(&lab).is_empty(), "{}", lab.tail());
    // It was at 10 % before; now it begins from nothing, and asks its gates again.
    assert_eq!(lab.status().weight.map(|weight| weight.confirmed), Some(0));
    lab.happen(&Happening::Scale("web", 3));
    lab.run(5);
    expect(&lab, Phase::Paused, "step 4/4");
    assert_eq!((share(&lab), running(&lab)), (50, vec!["1", "2"]));
    lab.happen(&Happening::Scale("web", 0));
    lab.run(5);
    lab.decide(Verdict::Promote, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn scaled_to_nothing_and_back_while_a_gate_is_closed_only_the_stable_version_runs() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Scale("web", 0));
    spec(&mut lab, |spec| spec["suspend"] = json!(true));
    lab.run(3);
    assert!(running(&lab).is_empty(), "{}", lab.tail());
    lab.happen(&Happening::Scale("web", 4));
    lab.run(5);
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1"]), "{}", lab.tail());
    spec(&mut lab, |spec| spec["suspend"] = json!(false));
    lab.run(5);
    assert!(share(&lab) >= 10, "{}", lab.tail());
}

#[test]
fn what_a_pause_has_left_counts_from_when_there_are_pods_again() {
    let mut lab =
        asked(json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}, {"setWeight": 50}, {"pause": {}}]), json!({}));
    expect(&lab, Phase::Paused, "step 2/4: pause until");
    lab.happen(&Happening::Scale("web", 0));
    lab.run(30);
    expect(&lab, Phase::Paused, "step 2/4: scaled to 0");
    lab.happen(&Happening::Scale("web", 3));
    lab.run(4);
    expect(&lab, Phase::Paused, "step 2/4: pause until");
    assert_eq!((share(&lab), running(&lab)), (10, vec!["1", "2"]));
    lab.run(2);
    expect(&lab, Phase::Paused, "step 4/4");
}

#[test]
fn an_analysis_begins_anew_when_there_are_pods_again_and_what_nobody_served_is_no_failure() {
    let steps = json!([{"setWeight": 10}, {"analysis": {"policy": POLICY, "duration": "5m"}}, {"pause": {}}]);
    let mut lab = at_rest(steps, json!({"rollbackPolicy": POLICY}));
    lab.policies.insert(POLICY.into(), policy(json!({"noData": "Fail"}), json!({})));
    lab.happen(&Happening::Version("2"));
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/3: analysis by slo until");
    lab.happen(&Happening::Scale("web", 0));
    lab.answer = Answer::NoData;
    lab.run(30);
    expect(&lab, Phase::Paused, "step 2/3: scaled to 0");
    lab.answer = Answer::Good;
    lab.happen(&Happening::Scale("web", 3));
    lab.run(4);
    expect(&lab, Phase::Paused, "step 2/3: analysis by slo until");
    lab.run(2);
    expect(&lab, Phase::Paused, "step 3/3");
}

#[test]
fn when_pods_come_back_the_stable_version_comes_first() {
    let work = Work { min_ready: 20, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/2");
    lab.happen(&Happening::Scale("web", 0));
    lab.run(1);
    lab.happen(&Happening::Scale("web", 4));
    let until = lab.now() + SignedDuration::from_secs(15);
    lab.run_until(until);
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1"]), "{}", lab.tail());
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/2: pause without duration");
    assert_eq!((share(&lab), running(&lab)), (10, vec!["1", "2"]));
}

#[test]
fn a_stable_version_that_does_not_come_back_is_told_of_in_time() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Scale("web", 0));
    lab.run(1);
    let hash = lab.status().stable.as_ref().unwrap().workloads[0].hash.clone();
    lab.cluster.update(Kind::ReplicaSet, &format!("web-{hash}"), |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = image("web", "1-never").into();
    });
    lab.happen(&Happening::Scale("web", 4));
    lab.run(15);
    expect(&lab, Phase::RolledBack, "waiting for pods of the stable version");
    assert_eq!(version(&lab), Some("1"));
}

#[test]
fn promoted_while_nothing_was_asked_for_traffic_goes_over_when_there_are_enough_pods() {
    let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
    lab.happen(&Happening::Scale("web", 0));
    lab.decide(Verdict::Promote, None, "olga");
    // Controllers are slow: the stable version still has its pods when the Deployment lets it go.
    while lab.round() {}
    while lab.pass() {}
    assert_eq!(running(&lab), ["1"]);
    lab.happen(&Happening::Scale("web", 4));
    lab.run(5);
    expect(&lab, Phase::Baking, "promoted; baking until");
    assert_eq!((version(&lab), running(&lab), share(&lab)), (Some("2"), vec!["1", "2"], 0), "{}", lab.tail());
    let hash = lab.status().stable.as_ref().unwrap().workloads[0].hash.clone();
    let after = |what: String| lab.log.iter().rposition(|line| line.contains(&what)).expect(&what);
    let order = ["set weight 0".to_owned(), "set weight 100".into(), format!("Service web: pin to {hash}")].map(after);
    assert!(order.is_sorted(), "{order:?}\n{}", lab.tail());
}

/// Version 2 was promoted, and went back while it was baking; it lies in the history, and is what the Deployment's template says.
fn gone_back() -> Lab {
    let mut lab = baking();
    lab.answer = Answer::Bad;
    lab.run(15);
    expect(&lab, Phase::RolledBack, "version 2");
    assert_eq!(running(&lab), ["1"], "{}", lab.tail());
    lab
}

#[test]
fn scaled_to_nothing_and_back_the_version_that_has_gone_back_gets_no_pod() {
    let mut lab = gone_back();
    lab.happen(&Happening::Scale("web", 0));
    lab.run(2);
    expect(&lab, Phase::RolledBack, "version 2");
    assert!(running(&lab).is_empty(), "{}", lab.tail());
    let quiet = lab.writes;
    lab.run(2);
    assert_eq!(lab.writes, quiet, "{}", lab.tail());
    lab.happen(&Happening::Scale("web", 4));
    while lab.pass() {
        assert!(!running(&lab).contains(&"2"), "{}", lab.tail());
    }
    lab.run(2);
    assert_eq!(running(&lab), ["1"], "{}", lab.tail());
    // And then the history is the Deployment's again.
    let sets = lab.cluster.of(Kind::ReplicaSet).map(|(_, set)| &set["metadata"]["labels"]);
    assert!(sets.into_iter().all(|labels| labels["lockkeeper.dev/role"].is_null()), "{}", lab.tail());
}

#[test]
fn scaled_to_nothing_and_back_at_a_closed_gate_only_the_stable_version_gets_pods() {
    let mut lab = gone_back();
    spec(&mut lab, |spec| spec["suspend"] = json!(true));
    lab.happen(&Happening::Version("3"));
    lab.run(2);
    expect(&lab, Phase::Waiting, "spec.suspend is true");
    lab.happen(&Happening::Scale("web", 0));
    lab.run(2);
    lab.happen(&Happening::Scale("web", 4));
    while lab.pass() {
        assert!(!running(&lab).contains(&"2"), "{}", lab.tail());
    }
    lab.run(2);
    assert_eq!(running(&lab), ["1"], "{}", lab.tail());
}
