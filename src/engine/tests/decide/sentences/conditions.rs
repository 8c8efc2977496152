//! The table of conditions, and what `kubectl get` and `describe` say: what it waits for, and until when.

use lockkeeper_api::{decision::Verdict, release::Phase};
use serde_json::json;

use super::{asked, at_10_percent, at_rest, baking, expect};
use crate::{
    happening::{Happening, spec},
    lab::Lab,
};

/// Ready, Reconciling, Stalled, and Ready's reason.
#[track_caller]
fn check(lab: &Lab, phase: Phase, table: (&str, &str, &str), reason: &str) {
    expect(lab, phase, "");
    let status = lab.status();
    let condition = |kind: &str| status.conditions.iter().find(|c| c.type_ == kind).unwrap();
    let of = |kind: &str| condition(kind).status.as_str();
    assert_eq!((of("Ready"), of("Reconciling"), of("Stalled")), table, "{phase}: {}", status.message);
    assert_eq!(condition("Ready").reason, reason);
    assert!(!status.message.is_empty());
    for condition in &status.conditions {
        assert!(!condition.message.is_empty(), "{condition:?}");
    }
}

fn has(lab: &Lab, kind: &str) -> Option<bool> {
    lab.status().conditions.iter().find(|c| c.type_ == kind).map(|c| c.status == "True")
}

#[test]
fn at_rest_it_is_ready() {
    check(&at_rest(json!([{"setWeight": 10}]), json!({})), Phase::Stable, ("True", "False", "False"), "Stable");
}

#[test]
fn baking_it_is_ready_and_says_until_when() {
    let lab = baking();
    check(&lab, Phase::Baking, ("True", "False", "False"), "Baking");
    let status = lab.status();
    assert_eq!(status.next_transition_time, status.bake_until);
    assert!(status.bake_until.is_some());
}

#[test]
fn waiting_for_people_it_is_ready_with_reason_waiting() {
    let gates =
        json!({"approvals": [{"name": "board", "before": "Start", "required": 2, "from": {"groups": ["team"]}}]});
    let lab = asked(json!([{"setWeight": 10}]), json!({"gates": gates}));
    check(&lab, Phase::Waiting, ("True", "False", "False"), "Waiting");
    expect(&lab, Phase::Waiting, "gate board is closed: 0 of 2 approvals, from group team");
    assert_eq!(lab.status().next_transition_time, None, "nobody knows when people decide");
}

#[test]
fn behind_a_window_it_is_ready_and_says_until_when() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Freeze(true));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    check(&lab, Phase::Waiting, ("True", "False", "False"), "Waiting");
    expect(&lab, Phase::Waiting, "closed by freeze team/freeze until 2027-12-31T00:00 UTC");
    let next = lab.status().next_transition_time.as_ref().map(|time| time.0);
    assert_eq!(next, Some("2027-12-31T00:00:00Z".parse().unwrap()));
    assert_eq!(lab.outcome.wake, next);
}

#[test]
fn behind_a_window_its_first_status_says_until_when() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Freeze(true));
    lab.happen(&Happening::Version("2"));
    while lab.phase() != Phase::Waiting {
        assert!(lab.round(), "{}", lab.tail());
    }
    // A later status that differs in that alone is not worth a write.
    assert!(lab.status().next_transition_time.is_some(), "{}", lab.status().message);
}

#[test]
fn in_a_pause_it_is_ready_and_says_until_when() {
    let lab = asked(json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}]), json!({}));
    check(&lab, Phase::Paused, ("True", "False", "False"), "Waiting");
    let status = lab.status();
    let until = status.next_transition_time.as_ref().unwrap().0;
    let started = status.step.as_ref().unwrap().started.0;
    assert_eq!(until.as_second(), started.as_second() + 300);
    assert_eq!(status.step.as_ref().unwrap().position, "2/2");
}

#[test]
fn on_the_way_it_is_reconciling() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Version("2-slow"));
    lab.run(1);
    check(&lab, Phase::Progressing, ("False", "True", "False"), "Progressing");
    let mut lab = at_rest(json!([{"setWeight": 0}]), json!({}));
    lab.happen(&Happening::Version("2-slow"));
    lab.run(1);
    check(&lab, Phase::Promoting, ("False", "True", "False"), "Promoting");
}

#[test]
fn on_the_way_back_it_is_reconciling() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    lab.round();
    check(&lab, Phase::RollingBack, ("False", "True", "False"), "RollingBack");
    assert_eq!((has(&lab, "RolledBack"), has(&lab, "Restored")), (Some(true), Some(false)));
}

#[test]
fn gone_back_it_is_stalled_until_somebody_acts() {
    let mut lab = asked(json!([{"setWeight": 10}]), json!({"progressDeadline": "2m"}));
    lab.happen(&Happening::Version("5-never"));
    lab.run(10);
    check(&lab, Phase::RolledBack, ("False", "False", "True"), "RolledBack");
    assert_eq!((has(&lab, "RolledBack"), has(&lab, "Restored")), (Some(true), Some(true)));
    expect(&lab, Phase::RolledBack, "change the spec, go back to the stable version, or decide Retry");
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(1);
    check(&lab, Phase::Aborted, ("False", "False", "True"), "Aborted");
}

#[test]
fn rejected_it_is_stalled() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = asked(json!([{"setWeight": 10}]), json!({"gates": gates}));
    lab.decide(Verdict::Reject, Some("gate"), "olga");
    lab.run(1);
    check(&lab, Phase::Rejected, ("False", "False", "True"), "Rejected");
}

#[test]
fn invalid_it_is_stalled_with_all_faults_and_touches_nothing() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    spec(&mut lab, |spec| {
        spec["rollbackPolicy"] = "missing".into();
        spec["workloads"][0]["pin"] = json!(["nowhere"]);
    });
    let writes = lab.log.len();
    lab.run(1);
    check(&lab, Phase::Invalid, ("False", "False", "True"), "Invalid");
    for fault in ["RollbackPolicy missing does not exist", "Service nowhere does not exist: create it"] {
        expect(&lab, Phase::Invalid, fault);
    }
    let since = lab.status().since.clone();
    lab.run(60);
    assert_eq!(lab.log.len(), writes + 1, "one status and nothing more\n{}", lab.tail());
    assert_eq!(lab.status().since, since);
}

#[test]
fn a_deployment_that_must_not_run_two_versions_is_invalid() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.cluster.update(lockkeeper_engine::write::Kind::Deployment, "web", |deployment| {
        deployment["spec"]["strategy"] = json!({"type": "Recreate"})
    });
    lab.run(1);
    check(&lab, Phase::Invalid, ("False", "False", "True"), "Invalid");
    expect(&lab, Phase::Invalid, "use RollingUpdate");
}

#[test]
fn a_mended_release_is_valid_again() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::DeleteRoute("web"));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    check(&lab, Phase::Invalid, ("False", "False", "True"), "Invalid");
    lab.happen(&Happening::Apply("web"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn a_condition_keeps_its_time_while_it_does_not_change() {
    let mut lab = at_10_percent(json!({}));
    let time = |lab: &Lab, kind: &str| {
        lab.status().conditions.iter().find(|c| c.type_ == kind).unwrap().last_transition_time.clone()
    };
    let (ready, stalled) = (time(&lab, "Ready"), time(&lab, "Stalled"));
    lab.run(10).decide(Verdict::Abort, None, "olga");
    lab.run(1);
    assert_ne!(time(&lab, "Stalled"), stalled);
    assert_ne!(time(&lab, "Ready"), ready);
    let ready = time(&lab, "Ready");
    lab.run(60);
    assert_eq!(time(&lab, "Ready"), ready);
}
