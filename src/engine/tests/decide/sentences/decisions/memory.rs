//! What is remembered of Decisions, and for how long.

use lockkeeper_api::{decision::Verdict::*, release::Phase};
use serde_json::json;

use super::{decided, waiting};
use crate::{
    happening::{Happening, spec},
    lab::Lab,
    sentences::{asked, at_10_percent, at_rest, expect, refused, version},
};

fn spent(lab: &Lab) -> usize {
    lab.status().decisions.iter().filter(|decision| decision.spent).count()
}

#[test]
fn an_approval_never_counts_for_a_later_attempt_however_many_decisions_came_between() {
    let mut lab = waiting();
    let revision = lab.status().candidate.as_ref().unwrap().revision.clone();
    decided(&mut lab, Approve);
    decided(&mut lab, Abort);
    lab.happen(&Happening::Version("3"));
    lab.run(1);
    for turn in 0..50 {
        lab.decide(if turn % 2 == 0 { Pause } else { Resume }, None, "olga");
    }
    lab.run(1);
    decided(&mut lab, Abort);
    expect(&lab, Phase::Aborted, "aborted by olga");
    decided(&mut lab, Retry);
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    assert_eq!(spent(&lab), lab.status().decisions.len(), "nothing counts again");
    decided(&mut lab, Abort);
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    lab.decide_on(&revision, Retry, None, "olga");
    lab.run(1);
    assert_eq!(spent(&lab), 32, "as many as are remembered");
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    decided(&mut lab, Approve);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn what_was_spent_is_remembered_while_it_is_there_and_what_still_counts_anyway() {
    let mut lab = waiting();
    decided(&mut lab, Approve);
    lab.decisions.clear();
    lab.run(1);
    assert_eq!(lab.status().decisions.len(), 1, "it counts, though somebody has deleted it");
    decided(&mut lab, Abort);
    assert_eq!(lab.status().decisions.len(), 2);
    lab.happen(&Happening::Version("3"));
    lab.run(1);
    assert_eq!(spent(&lab), 1, "the Abort, which is still there\n{:?}", lab.status().decisions);
}

#[test]
fn only_what_was_blocked_can_be_retried_and_once() {
    let mut lab = at_10_percent(json!({}));
    decided(&mut lab, Abort);
    lab.decide_on("0123456789", Retry, None, "olga");
    lab.run(1);
    expect(&lab, Phase::Aborted, "decide Retry");
    let revision = lab.status().blocked[0].revision.clone();
    lab.decide_on(&revision, Retry, None, "olga");
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/4");
    let counted = lab.status().decisions.len();
    lab.decide_on(&revision, Retry, None, "pete");
    lab.run(1);
    assert_eq!(lab.status().decisions.len(), counted, "there is nothing to retry\n{:?}", lab.status().decisions);
}

#[test]
fn a_rollback_is_for_a_version_that_was_promoted() {
    let mut lab = at_10_percent(json!({}));
    decided(&mut lab, Rollback);
    expect(&lab, Phase::Paused, "step 2/4");
    assert!(refused(&lab).is_some_and(|why| why.contains("Rollback is for a version that was promoted")));
    let mut lab = at_rest(json!([{"setWeight": 0}]), json!({}));
    lab.happen(&Happening::Version("2-slow"));
    lab.run(1);
    expect(&lab, Phase::Promoting, "takes the stable version's place");
    decided(&mut lab, Rollback);
    assert!(refused(&lab).is_some(), "it has not been promoted yet");
}

#[test]
fn a_rollback_while_the_promotion_is_cleared_up_goes_back() {
    let mut turned = 0;
    for writes in 0..25 {
        let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
        lab.happen(&Happening::Version("2"));
        lab.script = [(lab.writes + writes, Happening::Decide(Rollback))].into();
        lab.run(5);
        let at = lab.log.iter().position(|line| line.contains("<- Decide(Rollback)")).unwrap();
        if lab.log[..at]
            .iter()
            .rev()
            .find(|line| line.contains(" status "))
            .unwrap()
            .contains("clearing up after promotion")
        {
            expect(&lab, Phase::RolledBack, "rolled back to version 1 by olga");
            assert_eq!(version(&lab), Some("1"));
            turned += 1;
        }
    }
    assert!(turned > 0, "it is never caught clearing up");
}

#[test]
fn what_is_not_closed_needs_no_override() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates, "suspend": true}));
    decided(&mut lab, Approve);
    expect(&lab, Phase::Waiting, "gate suspend is closed");
    decided(&mut lab, Override);
    assert!(refused(&lab).is_some_and(|why| why.contains("gate gate was not closed")), "{:?}", refused(&lab));
    lab.decide(Override, Some("change"), "olga");
    lab.run(1);
    assert!(refused(&lab).is_some_and(|why| why.contains("no gate change was asked")), "{:?}", refused(&lab));
}

#[test]
fn an_approval_that_expires_may_be_renewed_and_a_rejection_repeated() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 2, "expiresAfter": "1h"}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    for _ in 0..2 {
        decided(&mut lab, Approve);
        assert_eq!(refused(&lab), None);
        lab.run(30);
    }
    // The first one is over by now.
    lab.run(15);
    expect(&lab, Phase::Waiting, "1 of 2 approvals (by olga)");
    let steps = json!([{"setWeight": 10}, {"approval": {"name": "gate"}}]);
    let mut lab = asked(steps, json!({"gates": {"approvals": [{"name": "gate", "required": 2}]}}));
    decided(&mut lab, Approve);
    decided(&mut lab, Reject);
    assert_eq!(refused(&lab), None, "whoever has approved may think better of it");
    expect(&lab, Phase::Paused, "rejected by olga");
}

#[test]
fn one_person_may_approve_several_gates() {
    let gates = json!({"approvals": [
        {"name": "gate", "before": "Start", "required": 1}, {"name": "board", "before": "Start", "required": 1}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    lab.decide(Approve, Some("board"), "olga");
    lab.run(1);
    expect(&lab, Phase::Waiting, "gate gate is closed: 0 of 1 approvals");
    lab.decide(Approve, Some("gate"), "pete");
    lab.decide(Approve, Some("gate"), "olga");
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    assert!(lab.status().decisions.iter().all(|decision| decision.refused.is_none()), "{:?}", lab.status().decisions);
}

#[test]
fn resume_ends_no_timed_pause() {
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}, {"setWeight": 50}]), json!({}));
    decided(&mut lab, Resume);
    expect(&lab, Phase::Paused, "step 2/3: pause until");
    lab.run(6);
    assert_ne!(lab.phase(), Phase::Paused, "{}", lab.tail());
}

#[test]
fn whoever_has_approved_in_vain_may_approve_again() {
    let mut lab = waiting();
    decided(&mut lab, Approve);
    decided(&mut lab, Abort);
    decided(&mut lab, Retry);
    decided(&mut lab, Approve);
    expect(&lab, Phase::Paused, "step 2/2");
    let gate = |users: &[&str]| json!({"approvals": [{"name": "gate", "before": "Start", "required": 1, "from": {"users": users}}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gate(&["ann"])}));
    decided(&mut lab, Approve);
    assert!(refused(&lab).is_some());
    spec(&mut lab, |spec| spec["gates"] = gate(&["olga"]));
    decided(&mut lab, Approve);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn a_release_that_cannot_work_is_not_rolled_back() {
    let mut lab = asked(json!([{"setWeight": 10}]), json!({}));
    lab.run(5);
    assert_eq!(version(&lab), Some("2"));
    spec(&mut lab, |spec| spec["rollbackPolicy"] = "missing".into());
    lab.run(1);
    expect(&lab, Phase::Invalid, "RollbackPolicy missing does not exist");
    decided(&mut lab, Rollback);
    assert!(refused(&lab).is_some_and(|why| why.contains("for a version that was promoted")), "{:?}", refused(&lab));
    assert_eq!(version(&lab), Some("2"));
}
