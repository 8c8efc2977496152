//! Gates: asked before every increase, never before a decrease.

use lockkeeper_api::{decision::Verdict, release::Phase};
use lockkeeper_engine::write::Kind;
use serde_json::{Value, json};

use super::{asked, at_10_percent, at_rest, closed_gates, expect, refused, share, version};
use crate::{
    fixture::POLICY,
    happening::{Happening, spec},
    lab::{Answer, Lab},
};

fn approve(lab: &mut Lab, by: &str) {
    lab.decide(Verdict::Approve, Some("gate"), by);
    lab.run(1);
}

fn set_gates(lab: &mut Lab, gates: Value) {
    spec(lab, |spec| spec["gates"] = gates);
    lab.run(1);
}

#[test]
fn approvals_are_of_distinct_people() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 2}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    approve(&mut lab, "ann");
    approve(&mut lab, "ann");
    expect(&lab, Phase::Waiting, "1 of 2 approvals (by ann)");
    assert!(refused(&lab).is_some_and(|why| why.contains("ann has approved gate already")));
    approve(&mut lab, "bob");
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn a_release_that_waits_is_told_before_it_starts() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    let told = |lab: &Lab, reason: &str| lab.events.iter().any(|event| event.reason == reason);
    assert!(told(&lab, "ReleaseRequested") && !told(&lab, "ReleaseStarted"));
    approve(&mut lab, "ann");
    assert!(told(&lab, "ReleaseStarted"));
}

#[test]
fn an_approval_that_is_older_than_the_release_was_for_another_of_its_name() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    lab.decide(Verdict::Approve, Some("gate"), "ann");
    if let Some(approval) = lab.decisions.last_mut() {
        approval.created -= jiff::SignedDuration::from_hours(24);
    }
    lab.run(1);
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    approve(&mut lab, "ann");
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn under_a_hold_gates_of_before_are_not_told_any_more() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Freeze(true));
    lab.decide(Verdict::Resume, None, "olga");
    lab.run(1);
    assert_eq!(closed_gates(&lab), ["windows"]);
    lab.decide(Verdict::Pause, None, "olga");
    lab.run(1);
    lab.happen(&Happening::Freeze(false));
    lab.happen(&Happening::RestoreRoute("web"));
    lab.round();
    assert!(closed_gates(&lab).is_empty(), "{:?}\n{}", lab.status().gates, lab.tail());
}

#[test]
fn an_approval_of_somebody_else_counts_for_nothing() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1, "from": {"users": ["ann"]}}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    approve(&mut lab, "bob");
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    assert!(refused(&lab).is_some_and(|why| why.contains("bob is not among those who may approve gate")));
}

#[test]
fn the_requester_is_excluded_where_the_gate_says_so() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1, "excludeRequester": true}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    // The policies have recorded dora as the author of the new template.
    approve(&mut lab, "dora");
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    approve(&mut lab, "ann");
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn whoever_asked_for_a_version_may_reject_it() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1, "excludeRequester": true}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    approve(&mut lab, "dora");
    assert!(refused(&lab).is_some_and(|why| why.contains("dora asked for this version")), "{:?}", refused(&lab));
    lab.decide(Verdict::Reject, Some("gate"), "dora");
    lab.run(1);
    assert_eq!(refused(&lab), None);
    expect(&lab, Phase::Rejected, "rejected by dora");
}

#[test]
fn an_approval_expires_before_it_is_used() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 2, "expiresAfter": "1h"}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    approve(&mut lab, "ann");
    lab.run(90);
    expect(&lab, Phase::Waiting, "0 of 2 approvals");
    approve(&mut lab, "bob");
    expect(&lab, Phase::Waiting, "1 of 2 approvals (by bob)");
}

#[test]
fn an_approval_before_promotion_is_asked_for_after_the_last_step() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Promotion", "required": 1}]});
    let mut lab = asked(json!([{"setWeight": 10}]), json!({"gates": gates}));
    expect(&lab, Phase::Paused, "gate gate is closed");
    assert_eq!(share(&lab), 10);
    approve(&mut lab, "ann");
    lab.run(1);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn a_running_release_keeps_the_stricter_of_old_and_new_gates() {
    let gate = |required: u8| json!({"approvals": [{"name": "gate", "before": "Promotion", "required": required}]});
    for (then, now, needed) in
        [(gate(2), gate(1), 2), (gate(1), gate(2), 2), (gate(2), json!({}), 2), (json!({}), gate(1), 1)]
    {
        let mut lab = asked(json!([{"setWeight": 10}, {"pause": {"duration": "10m"}}]), json!({"gates": then}));
        set_gates(&mut lab, now.clone());
        lab.run(15);
        for (index, by) in ["ann", "bob"].into_iter().enumerate().take(needed) {
            expect(&lab, Phase::Paused, &format!("{index} of {needed} approvals"));
            approve(&mut lab, by);
        }
        lab.run(2);
        assert_eq!(lab.phase(), Phase::Stable, "{then} {now}\n{}", lab.tail());
    }
}

#[test]
fn a_release_that_has_not_started_goes_by_the_new_gates_alone() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 2}]});
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    expect(&lab, Phase::Waiting, "0 of 2 approvals");
    set_gates(&mut lab, json!({}));
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn the_stricter_of_two_answers_to_a_closing_window_counts() {
    for (then, now, phase) in [("Rollback", "Continue", Phase::RolledBack), ("Continue", "Pause", Phase::Paused)] {
        let mut lab = at_10_percent(json!({"gates": {"windows": {"onClose": then}}}));
        set_gates(&mut lab, json!({"windows": {"onClose": now}}));
        lab.happen(&Happening::Freeze(true));
        lab.decide(Verdict::Skip, None, "olga");
        lab.run(2);
        assert_eq!(lab.phase(), phase, "{then} {now}\n{}", lab.tail());
        assert!(share(&lab) <= 10);
    }
}

#[test]
fn a_window_that_closes_mid_way_pauses_continues_or_goes_back() {
    for (on_close, phase, weight) in
        [("Pause", Phase::Paused, 10), ("Continue", Phase::Paused, 50), ("Rollback", Phase::RolledBack, 0)]
    {
        let mut lab = at_10_percent(json!({"gates": {"windows": {"onClose": on_close}}}));
        lab.happen(&Happening::Freeze(true));
        lab.run(1);
        lab.decide(Verdict::Resume, None, "olga");
        lab.run(2);
        assert_eq!((lab.phase(), share(&lab)), (phase, weight), "{on_close}\n{}", lab.tail());
    }
}

#[test]
fn a_gate_that_closes_while_pods_start_keeps_the_weight_where_it_is() {
    for (close, open) in [
        (Happening::Freeze(true), Happening::Freeze(false)),
        (Happening::Suspend(true), Happening::Suspend(false)),
        (Happening::Decide(Verdict::Pause), Happening::Decide(Verdict::Resume)),
    ] {
        let mut lab = at_rest(json!([{"setWeight": 50}, {"pause": {}}]), json!({}));
        lab.happen(&Happening::Version("2-slow"));
        lab.run(1);
        expect(&lab, Phase::Progressing, "bringing the candidate to 50 %");
        lab.happen(&close);
        lab.run(60);
        assert_eq!((lab.phase(), share(&lab)), (Phase::Paused, 0), "{close:?}\n{}", lab.tail());
        lab.happen(&open);
        lab.run(2);
        assert_eq!((lab.phase(), share(&lab)), (Phase::Paused, 50), "{open:?}\n{}", lab.tail());
    }
}

#[test]
fn a_candidate_that_is_made_again_behind_a_closed_gate_has_no_pods_until_it_opens() {
    let mut lab = at_rest(json!([{"setWeight": 50}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::Version("2-slow"));
    lab.run(1);
    let candidate = format!("web-{}", lab.status().candidate.as_ref().unwrap().workloads[0].hash);
    let pods = |lab: &Lab| lab.cluster.get(Kind::ReplicaSet, &candidate).unwrap()["spec"]["replicas"].clone();
    let asked = pods(&lab);
    assert_ne!(asked, json!(0), "it comes with its pods");
    lab.happen(&Happening::Freeze(true));
    lab.cluster.delete(Kind::ReplicaSet, &candidate);
    lab.run(2);
    assert_eq!(pods(&lab), json!(0), "{}", lab.tail());
    lab.happen(&Happening::Freeze(false));
    lab.run(1);
    assert_eq!(pods(&lab), asked, "{}", lab.tail());
}

#[test]
fn other_steps_do_not_raise_the_weight_past_a_closed_gate() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Suspend(true));
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 80}), json!({"pause": {}})]));
    lab.run(5);
    expect(&lab, Phase::Paused, "gate suspend is closed");
    assert_eq!(share(&lab), 10);
}

#[test]
fn a_window_that_covers_only_increases_stops_the_first_one() {
    let window = json!({"action": "Freeze", "covers": ["Increase"], "schedule": {
        "from": "2026-01-01T00:00:00", "until": "2027-12-31T00:00:00", "timeZone": "UTC"}});
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    let window =
        lockkeeper_engine::window::WindowView::new("team", "increase", serde_json::from_value(window).unwrap());
    lab.windows.push(window);
    lab.happen(&Happening::Version("2"));
    lab.run(5);
    assert_eq!(share(&lab), 0, "{}", lab.tail());
    assert_eq!(closed_gates(&lab), ["windows"]);
}

#[test]
fn going_back_asks_no_gate() {
    type Way = (&'static str, fn(&mut Lab), Phase);
    let closed = |lab: &mut Lab| {
        lab.happen(&Happening::Freeze(true));
        lab.happen(&Happening::Suspend(true));
        lab.happen(&Happening::Decide(Verdict::Pause));
        lab.run(1);
    };
    let ways: [Way; 5] = [
        ("abort", |lab| lab.decide(Verdict::Abort, None, "olga"), Phase::Aborted),
        ("withdraw", |lab| _ = lab.happen(&Happening::Version("1")), Phase::Stable),
        ("failing check", |lab| lab.answer = Answer::Bad, Phase::RolledBack),
        ("supersede", |lab| _ = lab.happen(&Happening::Version("3")), Phase::Waiting),
        (
            "lower weight",
            |lab| _ = lab.happen(&Happening::Steps(vec![json!({"setWeight": 0}), json!({"pause": {}})])),
            Phase::Paused,
        ),
    ];
    for (name, go_back, phase) in ways {
        let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
        closed(&mut lab);
        assert_eq!(share(&lab), 10);
        go_back(&mut lab);
        lab.run(2);
        assert_eq!((lab.phase(), share(&lab), version(&lab)), (phase, 0, Some("1")), "{name}\n{}", lab.tail());
    }
}
