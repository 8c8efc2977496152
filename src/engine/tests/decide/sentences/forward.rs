//! The way forward: steps, promotion, bake.

use lockkeeper_api::{
    decision::Verdict,
    release::{CheckOutcome, Phase},
};
use lockkeeper_engine::write::{Kind, Request};
use serde_json::json;

use super::{asked, at_rest, baking, expect, running, share, version};
use crate::{
    fixture::{POLICY, Work, lab, policy, route, service},
    happening::Happening,
    lab::Answer,
};

#[test]
fn a_release_goes_step_by_step_to_the_end_and_leaves_nothing_behind() {
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}, {"setWeight": 50}]), json!({}));
    expect(&lab, Phase::Paused, "step 2/3: pause until");
    assert_eq!((share(&lab), running(&lab)), (10, vec!["1", "2"]));
    lab.run(10);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert_eq!((version(&lab), running(&lab)), (Some("2"), vec!["2"]));
    let phases: Vec<_> = lab.events.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(
        phases,
        ["StableFound", "ReleaseStarted", "WeightIncreased", "WeightIncreased", "Promoted", "Succeeded"]
    );
    let release = lab.release().unwrap();
    assert_eq!(release.metadata.finalizers, None);
    assert_eq!(lab.cluster.get(Kind::HTTPRoute, "web").unwrap()["spec"], route("web")["spec"]);
    assert_eq!(lab.cluster.get(Kind::Service, "web").unwrap()["spec"], service("web")["spec"]);
    assert_eq!(lab.cluster.get(Kind::Service, "web-canary"), None);
}

#[test]
fn the_status_is_published_before_the_first_write_of_a_phase() {
    let lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    let at = |what: &str| {
        lab.log.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {}", lab.tail()))
    };
    assert!(at("status Progressing step 1/2") < at("add finalizer"));
    assert!(at("add finalizer") < at("create candidate"));
    assert!(at("pin to") < at("create candidate"), "a pod must not get ready behind an unpinned Service");
    assert!(at("create candidate") < at("set weight 10"));
    assert!(!lab.log.iter().any(|line| line.contains("scale to")), "it comes with its pods: {}", lab.tail());
}

#[test]
fn a_step_waits_for_min_ready_seconds() {
    let work = Work { min_ready: 20, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    let until = lab.now() + jiff::SignedDuration::from_secs(15);
    lab.run_until(until);
    expect(&lab, Phase::Progressing, "bringing the candidate to 10 %");
    assert_eq!(share(&lab), 0, "{}", lab.tail());
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!(share(&lab), 10);
}

#[test]
fn traffic_moves_before_the_deployment_changes_hands_and_the_old_one_is_let_go_first() {
    let lab = asked(json!([{"setWeight": 10}]), json!({}));
    let purposes = [
        "set weight 10",
        "scale to 2",
        "set weight 100",
        "detach as previous",
        "give to the Deployment",
        "give back the route",
        "delete canary Service",
        "unpin",
    ];
    let found: Vec<_> = purposes.iter().map(|what| lab.log.iter().position(|line| line.contains(what))).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}\n{}", lab.tail());
}

#[test]
fn every_write_but_a_creation_carries_the_version_it_was_decided_on() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Version("2"));
    let mut seen = 0;
    for _ in 0..200 {
        lab.round();
        for write in &lab.outcome.writes {
            let guarded = match &write.request {
                Request::Create(_) => true,
                Request::Merge(patch) | Request::Strategic(patch) => patch["metadata"]["resourceVersion"].is_string(),
                Request::Json(operations) => {
                    operations[0]["op"] == "test" && operations[0]["path"] == "/metadata/resourceVersion"
                }
                Request::Delete { resource_version, .. } => !resource_version.is_empty(),
            };
            assert!(guarded, "{write:?}");
            seen += 1;
        }
        lab.pass();
        lab.cluster.now += jiff::SignedDuration::from_secs(1);
        lab.pass();
    }
    expect(&lab, Phase::Stable, "version 2 runs");
    assert!(seen > 10, "{seen}");
}

#[test]
fn set_canary_scale_holds_until_the_next_one() {
    let steps =
        json!([{"setCanaryScale": {"replicas": 3}}, {"pause": {"duration": "1m"}}, {"setWeight": 10}, {"pause": {}}]);
    let mut lab = asked(steps, json!({}));
    lab.run(5);
    expect(&lab, Phase::Paused, "step 4/4");
    let candidates = lab.cluster.pods.values().filter(|pod| pod.image.ends_with(":2")).count();
    assert_eq!((share(&lab), candidates), (10, 3), "{}", lab.tail());
}

#[test]
fn two_workloads_step_together_and_the_slower_one_sets_the_pace() {
    let works = [Work::web(), Work { name: "api", min_ready: 60, ..Work::web() }];
    let mut lab = lab(&works, json!([{"setWeight": 10}, {"setWeight": 50}, {"pause": {}}]), json!({}));
    lab.run(5).happen(&Happening::Version("2"));
    let until = lab.now() + jiff::SignedDuration::from_secs(50);
    lab.run_until(until);
    expect(&lab, Phase::Progressing, "step 1/3");
    assert_eq!(share(&lab), 10);
    lab.run(10);
    expect(&lab, Phase::Paused, "step 3/3");
    assert_eq!(share(&lab), 50);
}

#[test]
fn without_routes_replicas_stand_for_the_weight() {
    let work = Work { routed: false, replicas: 4, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 20}, {"pause": {}}]), json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    let behind = &lab.cluster.endpoints["web"];
    assert_eq!(behind.len(), 5, "four of version 1 and one of version 2: {behind:?}");
}

#[test]
fn an_analysis_ends_with_a_recent_success_of_every_check() {
    let mut lab =
        asked(json!([{"setWeight": 10}, {"analysis": {"policy": POLICY, "duration": "5m"}}, {"pause": {}}]), json!({}));
    expect(&lab, Phase::Paused, "step 2/3: analysis by slo until");
    lab.run(6);
    expect(&lab, Phase::Paused, "step 3/3");
    assert_eq!(lab.status().checks[0].outcome, CheckOutcome::Success);
}

#[test]
fn no_data_never_promotes() {
    for answer in [Answer::NoData, Answer::Error, Answer::Silence] {
        let mut lab = at_rest(json!([{"setWeight": 10}]), json!({"rollbackPolicy": POLICY}));
        lab.answer = answer;
        lab.happen(&Happening::Version("2"));
        lab.run(40);
        assert_eq!(
            (version(&lab), lab.phase(), share(&lab)),
            (Some("1"), Phase::Paused, 10),
            "{answer:?}\n{}",
            lab.tail()
        );
    }
}

#[test]
fn data_that_stops_coming_does_not_promote() {
    let mut lab =
        at_rest(json!([{"setWeight": 10}, {"pause": {"duration": "10m"}}]), json!({"rollbackPolicy": POLICY}));
    lab.happen(&Happening::Version("2"));
    lab.run(5);
    assert_eq!(lab.status().checks[0].outcome, CheckOutcome::Success);
    lab.answer = Answer::Silence;
    lab.run(60);
    expect(&lab, Phase::Paused, "no data from slo/errors: no data is never success");
}

#[test]
fn an_analysis_without_data_is_inconclusive_and_the_policy_says_what_follows() {
    for (follows, phase) in [("Pause", Phase::Paused), ("Rollback", Phase::RolledBack)] {
        let steps = json!([{"setWeight": 10}, {"analysis": {"policy": POLICY, "duration": "2m"}}, {"pause": {}}]);
        let mut lab = at_rest(steps, json!({}));
        lab.policies.insert(POLICY.into(), policy(json!({}), json!({"onInconclusive": follows})));
        lab.answer = Answer::NoData;
        lab.happen(&Happening::Version("2"));
        lab.run(10);
        assert_eq!(lab.phase(), phase, "{follows}\n{}", lab.tail());
        assert!(lab.status().message.contains("no data"), "{}", lab.status().message);
    }
}

#[test]
fn the_bake_keeps_the_version_before_running_until_its_end() {
    let mut lab = baking();
    assert_eq!((version(&lab), running(&lab), share(&lab)), (Some("2"), vec!["1", "2"], 0));
    lab.run(15);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert_eq!(running(&lab), ["2"]);
}

#[test]
fn another_version_asked_for_ends_the_bake() {
    let mut lab = baking();
    lab.happen(&Happening::Version("3"));
    lab.run(2);
    expect(&lab, Phase::Baking, "promoted");
    assert_eq!((version(&lab), running(&lab)), (Some("3"), vec!["2", "3"]));
}

#[test]
fn steps_that_change_start_over() {
    let mut lab = asked(json!([{"setWeight": 50}, {"pause": {}}]), json!({}));
    assert_eq!(share(&lab), 50);
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 5}), json!({"pause": {}})]));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!(share(&lab), 5);
}

#[test]
fn steps_that_end_before_the_current_one_start_over_and_ask_for_what_they_now_say() {
    let steps = json!([{"setWeight": 10}, {"pause": {"duration": "1m"}}, {"setWeight": 50}, {"pause": {}}]);
    let gates = json!({"gates": {"approvals": [{"name": "gate", "before": "Promotion", "required": 1}]}});
    let mut lab = asked(steps, gates);
    lab.run(2);
    expect(&lab, Phase::Paused, "step 4/4");
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 10}), json!({"pause": {"duration": "3m"}})]));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2: pause until");
    assert_eq!((share(&lab), running(&lab)), (10, vec!["1", "2"]), "{}", lab.tail());
    lab.run(5);
    expect(&lab, Phase::Paused, "step 2/2 waits: gate gate is closed");
    // The step is over; what is cut off behind it changes nothing.
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 10})]));
    lab.run(5);
    expect(&lab, Phase::Paused, "step 1/1 waits: gate gate is closed");
    assert_eq!(version(&lab), Some("1"));
    lab.decide(Verdict::Approve, Some("gate"), "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn steps_that_are_shortened_kill_no_pod_that_the_next_one_needs() {
    let work = Work { replicas: 4, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 75}, {"pause": {}}]), json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(1);
    let before: Vec<_> =
        lab.cluster.pods.iter().filter(|(_, pod)| pod.image.ends_with(":2")).map(|(name, _)| name.clone()).collect();
    assert_eq!(before.len(), 3);
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 25})]));
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert!(before.iter().all(|pod| lab.cluster.pods.contains_key(pod)), "{}", lab.tail());
    // Where a step stays, what it does not need goes.
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 75}), json!({"pause": {}})]));
    lab.happen(&Happening::Version("3"));
    lab.run(1);
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 25}), json!({"pause": {}})]));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!(lab.cluster.pods.values().filter(|pod| pod.image.ends_with(":3")).count(), 1, "{}", lab.tail());
}

#[test]
fn steps_that_change_while_a_gate_has_stopped_the_promotion_start_over() {
    let work = Work { min_ready: 60, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 10}, {"pause": {"duration": "1m"}}]), json!({}));
    lab.run(2).happen(&Happening::Version("2"));
    let until = lab.now() + jiff::SignedDuration::from_secs(140);
    lab.run_until(until);
    expect(&lab, Phase::Promoting, "takes the stable version's place");
    lab.happen(&Happening::Suspend(true));
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 10}), json!({"pause": {}}), json!({"setWeight": 60})]));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/3: pause without duration");
    lab.happen(&Happening::Suspend(false));
    lab.run(10);
    expect(&lab, Phase::Paused, "step 2/3: pause without duration");
    assert_eq!((version(&lab), share(&lab)), (Some("1"), 10));
}

#[test]
fn steps_that_change_behind_the_current_one_change_nothing_now() {
    let mut lab = asked(json!([{"setWeight": 50}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::Steps(vec![
        json!({"setWeight": 50}),
        json!({"pause": {}}),
        json!({"setWeight": 80}),
        json!({"pause": {}}),
    ]));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/");
    assert_eq!(share(&lab), 50);
}

#[test]
fn a_history_of_versions_stays_as_it_is_while_the_deployment_changes_hands() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    // Controllers act between any two writes: a paused one without an active ReplicaSet scales up the newest that it has.
    lab.interleaved = true;
    for tag in ["2", "3", "4", "5"] {
        lab.happen(&Happening::Version(tag));
        lab.run(3);
        assert_eq!((lab.phase(), running(&lab)), (Phase::Stable, vec![tag]), "{}", lab.tail());
    }
    assert_eq!(lab.cluster.of(Kind::ReplicaSet).count(), 5, "every version is in the history");
    let started = |tag: &str| lab.log.iter().filter(|line| line.contains("scale to") && line.contains(tag)).count();
    assert_eq!(started("web-k8ac02a5e3"), 0, "version 1 never runs again\n{}", lab.tail());
}
