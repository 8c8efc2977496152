//! How the way back and a deletion go: at once, or in the parts that the policy says, and told as what they are.

use jiff::SignedDuration;
use lockkeeper_api::{
    decision::Verdict,
    release::{GoingBackCause, Phase},
};
use lockkeeper_engine::write::Kind;
use serde_json::json;

use super::{asked, at_10_percent, at_rest, baking, expect, running, share, version};
use crate::{
    fixture::{POLICY, Work, lab, policy, route, service},
    happening::Happening,
    lab::{Answer, Lab},
};

fn later(lab: &mut Lab, seconds: i64) -> &mut Lab {
    let until = lab.now() + SignedDuration::from_secs(seconds);
    lab.run_until(until);
    lab.cluster.now = until;
    lab
}

/// At 90 %, with a policy that goes back by 30 % each minute.
fn gradual() -> Lab {
    let mut lab = asked(json!([{"setWeight": 90}, {"pause": {}}]), json!({"rollbackPolicy": POLICY}));
    let rollback = json!({"gradual": {"by": 30, "every": "60s"}, "keepCandidate": "10m"});
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({"rollback": rollback})));
    assert_eq!(share(&lab), 90);
    lab
}

#[test]
fn gradual_takes_the_first_part_at_once_and_the_others_in_their_time() {
    let mut lab = gradual();
    lab.answer = Answer::Bad;
    while lab.phase() != Phase::RollingBack {
        later(&mut lab, 1);
    }
    let mut shares = vec![share(&lab)];
    for seconds in [58, 2, 58, 2] {
        shares.push(share(later(&mut lab, seconds)));
    }
    assert_eq!(shares, [60, 60, 30, 30, 0], "{}", lab.tail());
    later(&mut lab, 10);
    expect(&lab, Phase::RolledBack, "above max");
    assert_eq!(running(&lab), ["1", "2"], "kept for a look");
}

#[test]
fn what_people_ask_for_goes_back_at_once_whatever_the_policy_says() {
    let mut lab = gradual();
    lab.decide(Verdict::Abort, None, "olga");
    while lab.round() {}
    assert_eq!(share(&lab), 0, "{}", lab.tail());
    lab.run(1);
    expect(&lab, Phase::Aborted, "aborted by olga");
    assert_eq!(running(&lab), ["1"], "nothing is kept");
}

#[test]
fn the_way_back_is_told_by_what_has_led_to_it() {
    let told = |lab: &Lab| lab.events.last().map(|event| (event.reason.clone(), event.warning));
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(2);
    assert_eq!(told(&lab), Some(("Aborted".into(), true)));
    let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
    lab.answer = Answer::Bad;
    lab.run(2);
    assert_eq!(told(&lab), Some(("RolledBack".into(), true)));
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Version("1"));
    lab.run(2);
    assert_eq!(told(&lab), Some(("Withdrawn".into(), false)));
}

#[test]
fn the_version_before_is_the_stable_one_since_it_is_again() {
    let mut lab = baking();
    lab.run(3);
    lab.decide(Verdict::Rollback, None, "olga");
    let now = lab.now().as_second();
    lab.run(2);
    expect(&lab, Phase::RolledBack, "rolled back to version 1 by olga");
    let stable = lab.status().stable.as_ref().unwrap();
    assert_eq!((stable.version.as_str(), stable.since.0.as_second()), ("1", now));
}

#[test]
fn a_deletion_says_what_it_does_and_is_reconciling_until_it_is_done() {
    for work in [Work::web(), Work { images: true, ..Work::web() }] {
        let mut lab = lab(&[work], json!([{"setWeight": 100}]), json!({"rollbackPolicy": POLICY}));
        lab.policies.insert(POLICY.into(), policy(json!({}), json!({"bake": "10m"})));
        lab.run(1).happen(&Happening::Version("2"));
        lab.run(2);
        expect(&lab, Phase::Baking, "promoted; baking until");
        lab.happen(&Happening::DeleteRelease);
        lab.round();
        expect(&lab, Phase::Baking, "the Release is being deleted: giving back what it used");
        assert_eq!(lab.status().next_transition_time, None, "nobody knows how long machines take");
        lab.run(2);
        assert!(lab.release().is_none(), "{}", lab.tail());
        assert_eq!(running(&lab), ["2"]);
        assert_eq!(lab.cluster.get(Kind::HTTPRoute, "web").unwrap()["spec"], route("web")["spec"]);
        assert_eq!(lab.cluster.get(Kind::Service, "web").unwrap()["spec"], service("web")["spec"]);
    }
}

#[test]
fn a_release_may_be_deleted_before_any_write() {
    for writes in (0..30).step_by(2) {
        let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
        lab.happen(&Happening::Version("2"));
        lab.script = [(lab.writes + writes, Happening::DeleteRelease)].into();
        lab.run(5);
        assert!(lab.release().is_none(), "{writes}\n{}", lab.tail());
        assert_eq!(running(&lab).len(), 1, "{writes}\n{}", lab.tail());
        assert_eq!(lab.cluster.get(Kind::HTTPRoute, "web").unwrap()["spec"], route("web")["spec"]);
        assert_eq!(lab.cluster.get(Kind::Service, "web").unwrap()["spec"], service("web")["spec"]);
        assert_eq!(lab.cluster.of(Kind::ControllerRevision).count(), 0);
    }
}

#[test]
fn another_deployment_of_the_same_name_begins_anew() {
    let works = [Work::web(), Work { name: "api", ..Work::web() }];
    let mut lab = lab(&works, json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    lab.happen(&Happening::DeleteDeployment("web"));
    lab.pass();
    lab.happen(&Happening::Apply("web"));
    let from = lab.log.len();
    lab.run(3);
    assert!(lab.events.iter().any(|event| event.reason == "WorkloadGone" && event.note == "Deployment web is gone"));
    let new = lab.cluster.get(Kind::Deployment, "web").unwrap();
    assert_ne!(new["spec"]["paused"], true, "{}", lab.log[from..].join("\n"));
    let stable = lab.status().stable.as_ref().unwrap();
    assert_eq!(new["metadata"]["uid"], stable.workloads[0].uid.as_str());
}

#[test]
fn a_release_that_is_deleted_on_its_way_goes_back_for_that_reason() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::DeleteRelease);
    lab.round();
    expect(&lab, Phase::RollingBack, "the Release is being deleted");
    assert_eq!(lab.status().going_back.as_ref().map(|going| going.cause), Some(GoingBackCause::Deleted));
    assert!(lab.status().blocked.is_empty(), "the version has not failed");
    lab.run(2);
    assert!(lab.release().is_none(), "{}", lab.tail());
}

#[test]
fn a_deletion_without_a_service_to_go_to_gives_back_the_route() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::DeleteService("web"));
    lab.happen(&Happening::DeleteRelease);
    lab.run(2);
    assert!(lab.release().is_none(), "{}", lab.tail());
    assert_eq!(lab.cluster.get(Kind::HTTPRoute, "web").unwrap()["spec"], route("web")["spec"]);
    assert_eq!(running(&lab), ["1"]);
}

#[test]
fn without_a_service_to_go_to_the_candidate_keeps_its_traffic_until_there_is_one() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::DeleteService("web"));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(2);
    expect(&lab, Phase::RollingBack, "aborted by olga");
    assert_eq!((share(&lab), running(&lab)), (10, vec!["1", "2"]), "{}", lab.tail());
    lab.happen(&Happening::Apply("web"));
    lab.run(2);
    expect(&lab, Phase::Aborted, "aborted by olga");
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1"]), "{}", lab.tail());
}

#[test]
fn when_one_of_two_deployments_is_deleted_the_other_goes_back_and_both_give_back_what_they_used() {
    let works = [Work::web(), Work { name: "api", ..Work::web() }];
    for gone in ["web", "api"] {
        let mut lab = lab(&works, json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
        lab.run(1).happen(&Happening::Version("2"));
        lab.run(1);
        expect(&lab, Phase::Paused, "step 2/2");
        lab.happen(&Happening::DeleteDeployment(gone));
        lab.round();
        expect(&lab, Phase::Paused, "a workload is gone: giving back its routes and Services");
        let until = lab.now() + SignedDuration::from_millis(1500);
        lab.run_until(until);
        assert!(lab.outcome.wake.is_some(), "the other's data plane settles\n{}", lab.tail());
        assert_eq!(lab.status().next_transition_time, None, "and that is no date for people");
        lab.run(2);
        expect(&lab, Phase::Invalid, &format!("Deployment {gone} does not exist: create it"));
        for name in ["web", "api"] {
            assert_eq!(lab.cluster.get(Kind::HTTPRoute, name).unwrap()["spec"], route(name)["spec"], "{name}");
            assert_eq!(lab.cluster.get(Kind::Service, name).unwrap()["spec"], service(name)["spec"], "{name}");
            assert!(lab.cluster.get(Kind::Service, &format!("{name}-canary")).is_none(), "{name}\n{}", lab.tail());
        }
        assert_eq!(running(&lab), ["1"], "{}", lab.tail());
        let told = lab.events.iter().rfind(|event| event.reason == "WorkloadGone").unwrap();
        assert_eq!(told.note, format!("Deployment {gone} is gone"));
    }
}

#[test]
fn what_a_resumed_deployment_has_started_besides_goes_away() {
    let mut lab = at_10_percent(json!({}));
    lab.cluster.guarded = false;
    lab.happen(&Happening::Version("3"));
    lab.happen(&Happening::Unpause("web"));
    lab.pass();
    lab.happen(&Happening::Version("2"));
    lab.cluster.update(Kind::Deployment, "web", |web| web["spec"]["paused"] = true.into());
    lab.cluster.guarded = true;
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!((share(&lab), running(&lab), version(&lab)), (10, vec!["1", "2"], Some("1")), "{}", lab.tail());
    lab.decide(Verdict::Promote, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert_eq!(lab.cluster.of(Kind::ReplicaSet).count(), 2, "what was never stable is no history\n{}", lab.tail());
}

#[test]
fn a_pin_that_somebody_takes_off_by_halves_is_put_back() {
    for (what, pointer) in [("selector", "/spec/selector"), ("mark", "/metadata/annotations")] {
        let mut lab = at_10_percent(json!({}));
        let before = lab.cluster.get(Kind::Service, "web").unwrap().clone();
        lab.cluster.update(Kind::Service, "web", |web| {
            web.pointer_mut(pointer).unwrap().as_object_mut().unwrap().retain(|key, _| key == "app");
        });
        lab.round();
        let after = lab.cluster.get(Kind::Service, "web").unwrap();
        assert_eq!((&after["spec"], after.pointer(pointer)), (&before["spec"], before.pointer(pointer)), "{what}");
    }
}

#[test]
fn what_an_admission_policy_makes_of_the_candidate_is_told() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::Version("2"));
    while lab.phase() != Phase::Progressing || lab.log.iter().all(|line| !line.contains("create candidate")) {
        lab.pass();
        lab.round();
    }
    let name = format!("web-{}", lab.status().candidate.as_ref().unwrap().workloads[0].hash);
    lab.cluster.update(Kind::ReplicaSet, &name, |set| {
        set["spec"]["template"]["spec"]["securityContext"] = json!({"runAsNonRoot": true});
    });
    lab.run(2);
    expect(&lab, Phase::RolledBack, "an admission policy changes ReplicaSets; exempt it");
    assert_eq!(running(&lab), ["1"]);
}

#[test]
fn without_routes_checks_begin_with_the_candidates_first_pod() {
    let work = Work { routed: false, replicas: 4, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 25}, {"pause": {}}]), json!({"rollbackPolicy": POLICY}));
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({})));
    lab.run(1).happen(&Happening::Version("2-slow"));
    lab.run(1);
    expect(&lab, Phase::Progressing, "bringing the candidate to 25 %");
    assert_eq!((lab.status().exposed.clone(), lab.status().checks.len()), (None, 0), "{}", lab.tail());
    lab.run(1);
    assert!(lab.status().exposed.is_some() && !lab.status().checks.is_empty(), "{}", lab.tail());
}
