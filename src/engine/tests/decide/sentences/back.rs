//! The way back, and everything that leads to it.

use lockkeeper_api::{
    names::{HOLD, PAUSED_BY},
    release::{GoingBackCause, Phase},
};
use lockkeeper_engine::write::Kind;
use serde_json::{Value, json};

use super::{asked, at_10_percent, at_rest, baking, expect, running, share, version};
use crate::{
    fixture::{POLICY, Work, lab, policy, route, service},
    happening::Happening,
    lab::{Answer, Lab},
};

fn deployment(lab: &Lab) -> &Value {
    lab.cluster.get(Kind::Deployment, "web").unwrap()
}

fn cause(lab: &Lab) -> Option<GoingBackCause> {
    lab.status().going_back.as_ref().map(|going| going.cause)
}

#[test]
fn a_failing_check_goes_back_at_once_and_names_its_number() {
    let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
    lab.answer = Answer::Bad;
    lab.run(2);
    expect(&lab, Phase::RolledBack, "errors is 1, above max 0.5");
    assert_eq!((cause(&lab), share(&lab), version(&lab)), (Some(GoingBackCause::CheckFailed), 0, Some("1")));
}

#[test]
fn failures_within_the_limit_are_tolerated() {
    let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
    lab.policies.insert(POLICY.into(), policy(json!({"failureLimit": 2, "interval": "60s"}), json!({})));
    lab.answer = Answer::Bad;
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/4");
    lab.run(2);
    expect(&lab, Phase::RolledBack, "3 failures, limit 2");
}

#[test]
fn the_traffic_leaves_before_the_candidate_is_scaled_down() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(lockkeeper_api::decision::Verdict::Abort, None, "olga");
    lab.run(2);
    let at = |what: &str| {
        lab.log.iter().rposition(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}\n{}", lab.tail()))
    };
    assert!(at("give back the route") < at("scale to 0"), "{}", lab.tail());
    assert!(at("scale to 0") < at("delete candidate"));
    assert_eq!(running(&lab), ["1"]);
}

#[test]
fn a_crash_loop_goes_back_without_a_policy() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Version("4-crash"));
    lab.run(2);
    expect(&lab, Phase::RolledBack, "crashes again and again");
    assert_eq!((cause(&lab), share(&lab)), (Some(GoingBackCause::CrashLoop), 0));
}

#[test]
fn pods_that_never_get_ready_go_back_at_the_deadline() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({"progressDeadline": "5m"}));
    lab.happen(&Happening::Version("5-never"));
    lab.run(4);
    expect(&lab, Phase::Progressing, "");
    lab.run(3);
    expect(&lab, Phase::RolledBack, "no progress within 5m");
    assert_eq!(cause(&lab), Some(GoingBackCause::ProgressDeadlineExceeded));
}

#[test]
fn the_deadline_counts_no_pauses_and_no_gates() {
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"progressDeadline": "5m"}));
    lab.run(120);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn a_new_revision_mid_way_supersedes_the_old_one_and_asks_the_gates_again() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    lab.happen(&Happening::Approve("gate", "ann"));
    lab.run(1);
    assert_eq!(share(&lab), 10);
    lab.happen(&Happening::Version("3"));
    lab.run(2);
    expect(&lab, Phase::Waiting, "version 3 waits: gate gate is closed: 0 of 1 approvals");
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1"]));
    assert!(lab.status().blocked.is_empty(), "what is superseded has not failed");
}

#[test]
fn a_return_to_the_stable_version_ends_the_release_at_once() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Version("1"));
    lab.run(2);
    expect(&lab, Phase::Stable, "version 1 runs");
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1"]));
    assert!(lab.status().blocked.is_empty());
    assert_ne!(deployment(&lab)["spec"]["paused"], true);
}

#[test]
fn while_waiting_a_return_to_the_stable_version_ends_it_too() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({"suspend": true}));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Waiting, "gate suspend is closed");
    assert_eq!(deployment(&lab)["spec"]["paused"], true);
    lab.happen(&Happening::Version("1"));
    lab.run(1);
    expect(&lab, Phase::Stable, "version 1 runs");
    assert_ne!(deployment(&lab)["spec"]["paused"], true);
}

#[test]
fn a_failure_during_the_bake_swaps_back_at_full_scale() {
    let mut lab = baking();
    lab.answer = Answer::Bad;
    lab.run(3);
    expect(&lab, Phase::RolledBack, "above max 0.5");
    assert_eq!((version(&lab), running(&lab)), (Some("1"), vec!["1"]), "{}", lab.tail());
}

#[test]
fn after_promotion_the_return_to_the_version_before_is_a_rollback_without_gates() {
    let mut lab = asked(json!([{"setWeight": 10}]), json!({}));
    lab.run(5);
    assert_eq!(version(&lab), Some("2"));
    lab.happen(&Happening::Freeze(true));
    lab.happen(&Happening::Version("1"));
    lab.run(3);
    expect(&lab, Phase::Stable, "version 1 runs");
    let set: Vec<_> = lab.log.iter().filter(|line| line.contains("detach")).collect();
    assert_eq!(set.len(), 3, "the history is borrowed, and the swap goes in order: {set:?}");
    // Git brings the version that was left.
    lab.happen(&Happening::Freeze(false));
    lab.happen(&Happening::Version("2"));
    lab.run(30);
    expect(&lab, Phase::RolledBack, "decide Retry");
    assert_eq!((version(&lab), share(&lab), running(&lab)), (Some("1"), 0, vec!["1"]));
}

#[test]
fn a_blocked_version_stays_blocked_however_often_git_brings_it() {
    let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
    lab.answer = Answer::Bad;
    lab.run(2);
    lab.answer = Answer::Good;
    for tag in ["1", "2", "1", "2"] {
        lab.happen(&Happening::Version(tag));
        lab.run(5);
        assert_eq!((version(&lab), share(&lab), running(&lab)), (Some("1"), 0, vec!["1"]), "{tag}\n{}", lab.tail());
    }
    expect(&lab, Phase::RolledBack, "decide Retry");
}

#[test]
fn where_the_deployment_carries_the_version_it_stays_paused_with_the_unwanted_template() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(lockkeeper_api::decision::Verdict::Abort, None, "olga");
    lab.run(5);
    assert_eq!(deployment(&lab)["spec"]["paused"], true);
    assert!(deployment(&lab)["metadata"]["annotations"][HOLD].is_string());
}

#[test]
fn where_the_release_carries_the_version_the_images_are_put_back() {
    let work = Work { images: true, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(1);
    assert_eq!(share(&lab), 10);
    lab.decide(lockkeeper_api::decision::Verdict::Abort, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Aborted, "decide Retry");
    assert_eq!(deployment(&lab)["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example.com/web:1");
    assert_ne!(deployment(&lab)["spec"]["paused"], true);
}

#[test]
fn a_foreign_write_of_an_older_image_is_put_back_and_is_no_rollback() {
    let work = Work { images: true, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(1);
    lab.happen(&Happening::RestoreImage("web"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!(share(&lab), 10);
    assert_eq!(deployment(&lab)["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example.com/web:2");
}

#[test]
fn gradual_goes_back_in_parts() {
    let mut lab = asked(json!([{"setWeight": 90}, {"pause": {}}]), json!({"rollbackPolicy": POLICY}));
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({"rollback": {"gradual": {"by": 30, "every": "60s"}}})));
    lab.answer = Answer::Bad;
    let mut shares = Vec::new();
    for _ in 0..5 {
        lab.run(1);
        shares.push(share(&lab));
    }
    assert!(
        shares.is_sorted_by(|a, b| a >= b) && shares.contains(&60) && shares.contains(&30),
        "{shares:?}\n{}",
        lab.tail()
    );
    expect(&lab, Phase::RolledBack, "above max");
}

#[test]
fn the_candidate_is_kept_for_a_look_as_long_as_the_policy_says() {
    let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({"rollback": {"keepCandidate": "20m"}})));
    lab.answer = Answer::Bad;
    lab.run(10);
    expect(&lab, Phase::RolledBack, "");
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1", "2"]));
    lab.run(15);
    assert_eq!(running(&lab), ["1"]);
}

#[test]
fn a_deleted_release_brings_traffic_back_and_rolls_out_no_unproven_template() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::DeleteRelease);
    lab.run(5);
    assert!(lab.release().is_none(), "the finalizer is gone\n{}", lab.tail());
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1"]));
    assert_eq!(deployment(&lab)["spec"]["paused"], true, "it holds the unproven template");
    let marks = &deployment(&lab)["metadata"]["annotations"];
    assert!(marks[HOLD].is_null() && marks[PAUSED_BY].is_null(), "{marks}");
    assert_eq!(lab.cluster.get(Kind::HTTPRoute, "web").unwrap()["spec"], route("web")["spec"]);
    assert_eq!(lab.cluster.get(Kind::Service, "web").unwrap()["spec"], service("web")["spec"]);
}

#[test]
fn a_stable_replica_set_that_somebody_deletes_is_made_again() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::DeleteStable("web"));
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!((share(&lab), running(&lab)), (10, vec!["1", "2"]), "{}", lab.tail());
}

#[test]
fn a_deployment_that_is_deleted_gives_back_route_and_services() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::DeleteDeployment("web"));
    lab.run(2);
    expect(&lab, Phase::Invalid, "Deployment web does not exist: create it");
    assert_eq!(lab.cluster.get(Kind::HTTPRoute, "web").unwrap()["spec"], route("web")["spec"]);
    assert_eq!(lab.cluster.get(Kind::Service, "web").unwrap()["spec"], service("web")["spec"]);
}

#[test]
fn both_workloads_go_back_when_one_fails() {
    let works = [Work { images: true, ..Work::web() }, Work { name: "api", images: true, ..Work::web() }];
    let mut lab = lab(&works, json!([{"setWeight": 50}, {"pause": {}}]), json!({"progressDeadline": "3m"}));
    lab.run(1);
    crate::happening::spec(&mut lab, |spec| {
        spec["workloads"][0]["images"]["app"] = crate::fixture::image("web", "2").into();
        spec["workloads"][1]["images"]["app"] = crate::fixture::image("api", "2-never").into();
    });
    lab.run(2);
    assert_eq!(share(&lab), 50);
    lab.run(5);
    expect(&lab, Phase::RolledBack, "no progress");
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1"]));
}

#[test]
fn a_release_deleted_before_its_start_or_after_its_end_leaves_no_hold() {
    let waiting = || {
        let mut lab = at_rest(json!([{"setWeight": 10}]), json!({"suspend": true}));
        lab.happen(&Happening::Version("2"));
        lab.run(1);
        expect(&lab, Phase::Waiting, "gate suspend is closed");
        lab
    };
    let aborted = || {
        let mut lab = at_10_percent(json!({}));
        lab.decide(lockkeeper_api::decision::Verdict::Abort, None, "olga");
        lab.run(5);
        expect(&lab, Phase::Aborted, "decide Retry");
        lab
    };
    for mut lab in [waiting(), aborted()] {
        lab.happen(&Happening::DeleteRelease);
        lab.run(5);
        assert!(lab.release().is_none(), "{}", lab.tail());
        let marks = &deployment(&lab)["metadata"]["annotations"];
        assert!(marks[HOLD].is_null() && marks[PAUSED_BY].is_null(), "nobody could resume it: {marks}\n{}", lab.tail());
        assert_eq!(deployment(&lab)["spec"]["paused"], true, "it holds the unproven template");
        assert_eq!(lab.cluster.of(Kind::ControllerRevision).count(), 0);
    }
}

#[test]
fn a_candidate_that_loses_its_pods_loses_its_weight_until_they_are_back() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::Version("2-slow"));
    lab.run(3);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!(share(&lab), 10);
    lab.happen(&Happening::Fail("web"));
    lab.run(1);
    assert_eq!(share(&lab), 0, "{}", lab.tail());
    lab.run(3);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!(share(&lab), 10);
}

#[test]
fn a_stable_replica_set_that_is_deleted_while_the_deployment_is_paused_at_rest_is_made_again() {
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({}));
    lab.setting.paused_at_rest = true;
    lab.run(1);
    assert_eq!(deployment(&lab)["spec"]["paused"], true);
    lab.happen(&Happening::DeleteStable("web"));
    lab.run(5);
    expect(&lab, Phase::Stable, "version 1 runs");
    assert_eq!(running(&lab), ["1"], "{}", lab.tail());
}
