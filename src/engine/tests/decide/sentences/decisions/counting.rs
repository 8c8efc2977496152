//! Which Decisions count, and how often.

use lockkeeper_api::{decision::Verdict::*, release::Phase};
use lockkeeper_engine::world::Guard;
use serde_json::json;

use super::{aborted, decided, waiting};
use crate::happening::Happening;
use crate::sentences::{asked, at_10_percent, at_rest, baking, expect, refused};

#[test]
fn a_decision_out_of_its_time_is_refused_with_the_reason() {
    for (mut lab, verdict) in [
        (waiting(), Promote),
        (waiting(), Skip),
        (waiting(), Rollback),
        (at_10_percent(json!({})), Retry),
        (at_10_percent(json!({})), Rollback),
        (baking(), Pause),
        (baking(), Promote),
        (aborted(), Abort),
    ] {
        let before = lab.phase();
        let revision = lab.status().candidate.as_ref().or(lab.status().stable.as_ref()).unwrap().revision.clone();
        lab.decide_on(&revision, verdict, Some("gate"), "olga");
        lab.run(1);
        assert_eq!(lab.phase(), before, "{verdict:?}\n{}", lab.tail());
        let counted =
            lab.status().decisions.iter().find(|decision| decision.verdict == verdict && decision.refused.is_none());
        assert!(verdict == Abort || counted.is_none(), "{verdict:?} counts in {before}");
    }
}

#[test]
fn a_decision_counts_once_and_stays_counted_when_it_is_deleted() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 2}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    for _ in 0..3 {
        decided(&mut lab, Approve);
    }
    expect(&lab, Phase::Waiting, "1 of 2 approvals (by olga)");
    lab.decisions.clear();
    lab.run(1);
    lab.decide(Approve, Some("gate"), "pete");
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn a_decision_for_another_revision_counts_for_nothing() {
    let mut lab = at_10_percent(json!({}));
    lab.decide_on("0123456789", Promote, None, "olga");
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/4");
}

#[test]
fn approvals_of_an_earlier_attempt_do_not_count_again() {
    let mut lab = waiting();
    decided(&mut lab, Approve);
    decided(&mut lab, Abort);
    decided(&mut lab, Retry);
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
}

#[test]
fn no_decision_counts_while_nobody_vouches_for_its_author() {
    let mut lab = waiting();
    lab.guard = Guard::Broken("the policy is missing".into());
    decided(&mut lab, Approve);
    expect(&lab, Phase::Waiting, "no Decision counts: the policy is missing");
    lab.guard = Guard::Intact;
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    lab.guard = Guard::Broken("the policy is missing".into());
    lab.run(1);
    expect(&lab, Phase::Paused, "no Decision counts: the policy is missing");
}

#[test]
fn service_accounts_decide_nothing_unless_a_setting_names_them() {
    let robot = "system:serviceaccount:flux:kustomize";
    let mut lab = waiting();
    lab.decide(Approve, Some("gate"), robot);
    lab.run(1);
    assert!(refused(&lab).is_some_and(|why| why.contains("only people decide")));
    let mut lab = waiting();
    lab.setting.approving_service_accounts.push(robot.into());
    lab.decide(Approve, Some("gate"), robot);
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn a_command_that_comes_with_the_start_is_not_lost() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::Version("2"));
    // Up to the look that writes the finalizer.
    while lab.phase() != Phase::Progressing {
        lab.round();
    }
    lab.decide(Pause, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Paused, "paused by olga");
}

#[test]
fn a_crowd_of_refused_decisions_does_not_keep_an_abort_from_counting() {
    let mut lab = at_10_percent(json!({}));
    for _ in 0..300 {
        lab.decide(Approve, Some("nothing"), "olga");
    }
    lab.run(1);
    decided(&mut lab, Abort);
    expect(&lab, Phase::Aborted, "aborted by olga");
}
