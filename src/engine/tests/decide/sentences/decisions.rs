//! The table of verdicts: effect and when.

mod counting;
mod memory;

use lockkeeper_api::{
    decision::{Verdict, Verdict::*},
    release::Phase,
};
use serde_json::json;

use super::{asked, at_10_percent, at_rest, baking, closed_gates, expect, refused, share, version};
use crate::{
    fixture::POLICY,
    happening::Happening,
    lab::{Answer, Lab},
};

fn decided(lab: &mut Lab, verdict: Verdict) {
    lab.decide(verdict, Some("gate"), "olga");
    lab.run(1);
}

fn waiting() -> Lab {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    expect(&lab, Phase::Waiting, "version 2 waits: gate gate is closed: 0 of 1 approvals");
    lab
}

fn aborted() -> Lab {
    let mut lab = at_10_percent(json!({}));
    decided(&mut lab, Abort);
    expect(&lab, Phase::Aborted, "aborted by olga (because)");
    lab
}

#[test]
fn approve_opens_its_gate() {
    let mut lab = waiting();
    decided(&mut lab, Approve);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn reject_before_the_start_ends_the_release_and_blocks_the_version() {
    let mut lab = waiting();
    decided(&mut lab, Reject);
    expect(&lab, Phase::Rejected, "rejected by olga");
    lab.run(60);
    expect(&lab, Phase::Rejected, "decide Retry");
}

#[test]
fn reject_later_pauses() {
    let gates = json!({"approvals": [{"name": "gate", "required": 1}]});
    let steps = json!([{"setWeight": 10}, {"approval": {"name": "gate"}}, {"setWeight": 50}, {"pause": {}}]);
    let mut lab = asked(steps, json!({"gates": gates}));
    expect(&lab, Phase::Paused, "0 of 1 approvals");
    decided(&mut lab, Reject);
    expect(&lab, Phase::Paused, "rejected");
    lab.run(60);
    assert_eq!(share(&lab), 10);
}

#[test]
fn promote_goes_on_to_promotion_through_all_gates() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Freeze(true));
    decided(&mut lab, Promote);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn skip_ends_the_current_step_and_no_more() {
    let mut lab = at_10_percent(json!({}));
    decided(&mut lab, Skip);
    expect(&lab, Phase::Paused, "step 4/4");
    assert_eq!(share(&lab), 50);
}

#[test]
fn skip_never_passes_a_gate_and_is_not_forgotten_at_it() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Freeze(true));
    decided(&mut lab, Skip);
    expect(&lab, Phase::Paused, "gate windows is closed");
    assert_eq!(share(&lab), 10);
    lab.happen(&Happening::Freeze(false));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 4/4");
}

#[test]
fn skip_never_ends_an_approval_step() {
    let gates = json!({"approvals": [{"name": "gate", "required": 1}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"approval": {"name": "gate"}}]), json!({"gates": gates}));
    decided(&mut lab, Skip);
    assert!(refused(&lab).is_some_and(|why| why.contains("approve its gate")), "{:?}", refused(&lab));
    expect(&lab, Phase::Paused, "0 of 1 approvals");
}

#[test]
fn pause_holds_and_resume_ends_the_hold() {
    let mut lab =
        asked(json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}, {"setWeight": 50}, {"pause": {}}]), json!({}));
    decided(&mut lab, Pause);
    lab.run(60);
    expect(&lab, Phase::Paused, "paused by olga (because); Resume goes on");
    assert_eq!(share(&lab), 10);
    decided(&mut lab, Resume);
    expect(&lab, Phase::Paused, "step 4/4");
}

#[test]
fn resume_ends_a_pause_without_duration_also_behind_a_closed_gate() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Suspend(true));
    decided(&mut lab, Resume);
    expect(&lab, Phase::Paused, "gate suspend is closed");
    lab.happen(&Happening::Suspend(false));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 4/4");
}

#[test]
fn pause_before_the_start_keeps_it_from_starting() {
    let mut lab = waiting();
    decided(&mut lab, Pause);
    decided(&mut lab, Approve);
    expect(&lab, Phase::Waiting, "paused by olga");
    decided(&mut lab, Resume);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn abort_goes_back_now_and_blocks_the_version() {
    let mut lab = aborted();
    assert_eq!((version(&lab), share(&lab)), (Some("1"), 0));
    lab.run(60);
    expect(&lab, Phase::Aborted, "decide Retry");
}

#[test]
fn abort_before_the_start_ends_the_release() {
    let mut lab = waiting();
    decided(&mut lab, Abort);
    expect(&lab, Phase::Aborted, "aborted by olga");
}

#[test]
fn retry_lets_the_blocked_version_start_again_with_its_gates() {
    for mut lab in [aborted(), {
        let mut lab = waiting();
        decided(&mut lab, Reject);
        lab
    }] {
        let gated = lab.phase() == Phase::Rejected;
        decided(&mut lab, Retry);
        if gated {
            expect(&lab, Phase::Waiting, "0 of 1 approvals");
        } else {
            expect(&lab, Phase::Paused, "step 2/4");
        }
    }
}

#[test]
fn retry_of_one_version_frees_no_other() {
    let mut lab = aborted();
    let first = lab.status().blocked[0].revision.clone();
    lab.happen(&Happening::Version("3"));
    lab.run(1);
    decided(&mut lab, Abort);
    expect(&lab, Phase::Aborted, "version 3");
    lab.decide_on(&first, Retry, None, "olga");
    lab.run(1);
    expect(&lab, Phase::Aborted, "version 3");
    assert_eq!(share(&lab), 0);
}

#[test]
fn a_version_that_was_left_after_promotion_goes_by_steps_when_it_is_tried_again() {
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}]), json!({}));
    lab.run(10);
    expect(&lab, Phase::Stable, "version 2 runs");
    decided(&mut lab, Rollback);
    lab.run(2);
    expect(&lab, Phase::RolledBack, "decide Retry");
    decided(&mut lab, Retry);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!((version(&lab), share(&lab)), (Some("1"), 10), "{}", lab.tail());
}

#[test]
fn rollback_goes_back_to_the_version_before_without_gates() {
    for mut lab in [baking(), {
        let mut lab = baking();
        lab.run(15);
        lab
    }] {
        lab.happen(&Happening::Freeze(true));
        lab.happen(&Happening::Suspend(true));
        decided(&mut lab, Rollback);
        expect(&lab, Phase::RolledBack, "rolled back to version 1 by olga");
        assert_eq!(version(&lab), Some("1"));
        lab.run(60);
        expect(&lab, Phase::RolledBack, "decide Retry");
        assert_eq!((version(&lab), super::running(&lab)), (Some("1"), vec!["1"]));
    }
}

#[test]
fn override_passes_the_named_gate_until_it_expires() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = at_rest(
        json!([{"setWeight": 10}, {"pause": {"duration": "2h"}}, {"setWeight": 50}, {"pause": {}}]),
        json!({"gates": gates}),
    );
    lab.happen(&Happening::Freeze(true));
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    assert_eq!(closed_gates(&lab), ["windows", "gate"], "all closed gates are shown");
    decided(&mut lab, Override);
    assert_eq!(closed_gates(&lab), ["windows"]);
    lab.decide(Override, Some("windows"), "olga");
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/4: pause until");
    lab.run(150);
    expect(&lab, Phase::Paused, "gate windows is closed");
    assert_eq!(share(&lab), 10);
}

#[test]
fn override_of_an_open_gate_is_refused() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Override, Some("windows"), "olga");
    lab.run(1);
    assert!(refused(&lab).is_some());
}

#[test]
fn resume_forgives_the_failures_that_led_to_the_hold() {
    let mut lab = at_rest(
        json!([{"setWeight": 10}, {"pause": {"duration": "10m"}}, {"setWeight": 50}, {"pause": {}}]),
        json!({"rollbackPolicy": POLICY}),
    );
    lab.policies.insert(POLICY.into(), crate::fixture::policy(json!({"onFailure": "Pause"}), json!({})));
    lab.answer = Answer::Bad;
    lab.happen(&Happening::Version("2"));
    lab.run(30);
    expect(&lab, Phase::Paused, "errors is 1, above max 0.5");
    assert_eq!(share(&lab), 10, "{}", lab.tail());
    lab.answer = Answer::Good;
    decided(&mut lab, Resume);
    lab.run(15);
    expect(&lab, Phase::Paused, "step 4/4");
}

#[test]
fn promote_before_the_candidate_has_pods_goes_through_too() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::Version("2"));
    while lab.phase() != Phase::Progressing {
        lab.round();
    }
    lab.decide(Promote, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn rollback_counts_while_promotion_is_cleared_up() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Version("2"));
    for _ in 0..500 {
        lab.round();
        if version(&lab) == Some("2") {
            break;
        }
        lab.pass();
        lab.cluster.now += jiff::SignedDuration::from_millis(500);
        lab.pass();
    }
    // Pods that are on their way out already are not those that going back keeps.
    lab.pass();
    lab.decide(Rollback, None, "olga");
    lab.run(5);
    expect(&lab, Phase::RolledBack, "rolled back to version 1 by olga");
}

#[test]
fn rollback_to_a_version_that_is_gone_changes_nothing_and_says_so() {
    let mut lab = asked(json!([{"setWeight": 10}]), json!({}));
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    let previous = lab.status().previous.as_ref().unwrap().workloads[0].hash.clone();
    lab.cluster.delete(lockkeeper_engine::write::Kind::ReplicaSet, &format!("web-{previous}"));
    decided(&mut lab, Rollback);
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert_eq!((version(&lab), super::running(&lab)), (Some("2"), vec!["2"]));
    assert!(lab.events.iter().any(|event| event.reason == "RollbackRefused"));
}
