//! What gates, checks and measurements say of single steps.

use lockkeeper_api::{decision::Verdict, release::Phase};
use lockkeeper_engine::window::WindowView;
use serde_json::json;

use super::{POLICY, asked, at_10_percent, at_rest, baking, closed_gates, expect, running, share, version};
use crate::{
    fixture::{Work, lab, policy},
    happening::{Happening, spec},
    lab::{Answer, Lab},
};

fn always_open(lab: &mut Lab) {
    let window = json!({"action": "Allow", "schedule": {
        "from": "2026-01-01T00:00:00", "until": "2027-12-31T00:00:00", "timeZone": "UTC"}});
    lab.windows.push(WindowView::new("team", "business-hours", serde_json::from_value(window).unwrap()));
}

#[test]
fn an_approval_gate_may_be_called_like_another_gate() {
    let gates = json!({"gates": {"approvals": [{"name": "windows", "required": 1}]}});
    let steps = json!([{"setWeight": 10}, {"approval": {"name": "windows"}}, {"setWeight": 50}, {"pause": {}}]);
    let mut lab = at_rest(steps, gates);
    always_open(&mut lab);
    lab.happen(&Happening::Version("2"));
    lab.run(2);
    expect(&lab, Phase::Paused, "0 of 1 approvals");
    assert_eq!(share(&lab), 10);
}

#[test]
fn less_weight_asks_no_gate_and_more_pods_do() {
    let steps = json!([{"setWeight": 50}, {"pause": {}}, {"setWeight": 10}, {"pause": {}}]);
    let mut lab = asked(steps, json!({}));
    lab.happen(&Happening::Freeze(true));
    lab.decide(Verdict::Resume, None, "olga");
    lab.run(2);
    expect(&lab, Phase::Paused, "step 4/4");
    assert_eq!((share(&lab), closed_gates(&lab).len()), (10, 0));
    let steps =
        json!([{"setCanaryScale": {"replicas": 1}}, {"pause": {}}, {"setCanaryScale": {"replicas": 3}}, {"pause": {}}]);
    let mut lab = asked(steps, json!({}));
    lab.happen(&Happening::Freeze(true));
    lab.decide(Verdict::Resume, None, "olga");
    lab.run(2);
    expect(&lab, Phase::Paused, "gate windows is closed");
    assert_eq!(lab.cluster.pods.values().filter(|pod| pod.image.ends_with(":2")).count(), 1, "{}", lab.tail());
}

#[test]
fn only_a_window_that_closes_sends_a_release_back() {
    let mut lab =
        at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": {"windows": {"onClose": "Rollback"}}}));
    always_open(&mut lab);
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    spec(&mut lab, |spec| spec["suspend"] = true.into());
    lab.decide(Verdict::Resume, None, "olga");
    lab.run(2);
    expect(&lab, Phase::Paused, "gate suspend is closed");
    assert_eq!(lab.status().going_back, None);
}

#[test]
fn a_gate_says_in_a_word_why_it_is_closed() {
    let reason =
        |lab: &Lab| lab.status().gates.iter().find(|gate| gate.name == "windows").map(|gate| gate.reason.clone());
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Freeze(true));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    assert_eq!(reason(&lab).as_deref(), Some("Frozen"));
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    let window = json!({"action": "Allow", "schedule": {
        "from": "2027-01-01T00:00:00", "until": "2027-12-31T00:00:00", "timeZone": "UTC"}});
    lab.windows.push(WindowView::new("team", "next-year", serde_json::from_value(window).unwrap()));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    assert_eq!(reason(&lab).as_deref(), Some("OutsideWindow"));
}

#[test]
fn checks_are_about_the_pods_of_the_version_on_its_way_and_told_by_each_failure_once() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({"rollbackPolicy": POLICY}));
    let query =
        "errors{ns=\"{{ namespace }}\",v=\"{{ version }}\",pod=~\"{{ candidate.pods }}\",not=~\"{{ stable.pods }}\"}";
    lab.policies
        .insert(POLICY.into(), policy(json!({"query": query, "failureLimit": 3, "interval": "60s"}), json!({})));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    let asked = lab.asked["slo/errors"].clone();
    assert!(asked.contains("ns=\"team\"") && asked.contains("v=\"2\""), "{asked}");
    let hash = |revision: &lockkeeper_api::release::RevisionStatus| revision.workloads[0].hash.clone();
    let (new, old) = (hash(lab.status().candidate.as_ref().unwrap()), hash(lab.status().stable.as_ref().unwrap()));
    let (own, other) = asked.split_once("not=").unwrap();
    assert!(own.contains(&new) && !own.contains(&old) && other.contains(&old) && !other.contains(&new), "{asked}");
    let told = |lab: &Lab| lab.events.iter().filter(|event| event.reason == "CheckFailed").count();
    assert_eq!(told(&lab), 0);
    lab.answer = Answer::Bad;
    lab.run(3);
    let failures = lab.status().checks[0].failures as usize;
    assert!((2..=3).contains(&failures) && told(&lab) == failures, "{failures} {:?}", lab.events);
    assert!(lab.events.iter().any(|event| event.note.contains("errors is 1, above max 0.5")));
    lab.answer = Answer::Good;
    lab.run(2);
    assert_eq!(told(&lab), failures);
}

#[test]
fn in_a_bake_checks_are_about_the_promoted_version_against_the_one_before() {
    let mut lab = baking();
    lab.policies.insert(
        POLICY.into(),
        policy(
            json!({"query": "e{{ '{' }}p=~\"{{ candidate.pods }}\",q=~\"{{ stable.pods }}\"}"}),
            json!({"bake": "10m"}),
        ),
    );
    lab.run(2);
    let hash = |revision: &lockkeeper_api::release::RevisionStatus| revision.workloads[0].hash.clone();
    let (new, old) = (hash(lab.status().stable.as_ref().unwrap()), hash(lab.status().previous.as_ref().unwrap()));
    let asked = &lab.asked["slo/errors"];
    let (own, other) = asked.split_once("q=~").unwrap();
    assert!(own.contains(&new) && other.contains(&old), "{asked}");
}

#[test]
fn one_policy_that_is_armed_twice_measures_once() {
    let steps = json!([{"setWeight": 10}, {"analysis": {"policy": POLICY, "duration": "5m"}}, {"pause": {}}]);
    let lab = asked(steps, json!({"rollbackPolicy": POLICY}));
    let names: Vec<_> = lab.status().checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["slo/errors"]);
    let steps = json!([{"setWeight": 10}, {"analysis": {"policy": "other", "duration": "5m"}}, {"pause": {}}]);
    let mut lab = crate::fixture::lab(&[Work::web()], steps, json!({"rollbackPolicy": POLICY}));
    for name in [POLICY, "other"] {
        lab.policies.insert(name.into(), policy(json!({}), json!({})));
    }
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(2);
    let names: Vec<_> = lab.status().checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["slo/errors", "other/errors"]);
}

#[test]
fn back_at_the_stable_version_nothing_is_left_of_what_was_tried() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(2);
    assert!(lab.status().candidate.is_some());
    lab.happen(&Happening::Version("1"));
    lab.run(2);
    expect(&lab, Phase::Stable, "version 1 runs");
    let status = lab.status();
    assert_eq!((&status.candidate, &status.weight, &status.step), (&None, &None, &None));
    assert_eq!((running(&lab), version(&lab)), (vec!["1"], Some("1")));
}

#[test]
fn pods_that_are_missing_while_a_step_starts_are_no_loss() {
    let work = Work { min_ready: 150, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 10}, {"pause": {}}]), json!({"rollbackPolicy": POLICY}));
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({"workload": {"unavailableFor": "1m"}})));
    lab.run(5).happen(&Happening::Version("2"));
    lab.run(5);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!(lab.status().unavailable_since, None);
}
