//! What a RollbackPolicy says of pods, of a bake, and of windows that close.

use lockkeeper_api::release::{GoingBackCause, Phase};
use lockkeeper_engine::write::Kind;
use serde_json::{Value, json};

use super::{asked, at_10_percent, baking, expect, share, version};
use crate::{
    fixture::{POLICY, Work, lab, policy},
    happening::Happening,
    lab::{Answer, Lab, NAME},
};

/// All pods of this version get unready, for as long as nobody heals them.
fn hurt(lab: &mut Lab, tag: &str) {
    for pod in lab.cluster.pods.values_mut().filter(|pod| pod.image.ends_with(&format!(":{tag}"))) {
        (pod.image, pod.ready) = (format!("{}-never", pod.image), None);
    }
}

fn heal(lab: &mut Lab) {
    for pod in lab.cluster.pods.values_mut() {
        pod.image = pod.image.trim_end_matches("-never").to_owned();
    }
}

fn cause(lab: &Lab) -> Option<GoingBackCause> {
    lab.status().going_back.as_ref().map(|going| going.cause)
}

fn set_policy(lab: &mut Lab, rest: Value) {
    lab.policies.insert(POLICY.into(), policy(json!({}), rest));
}

#[test]
fn pods_that_stay_away_for_longer_than_allowed_send_the_release_back() {
    let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
    set_policy(&mut lab, json!({"workload": {"unavailableFor": "2m"}}));
    hurt(&mut lab, "2");
    lab.run(1);
    assert_eq!((cause(&lab), share(&lab)), (None, 0), "no weight without ready pods\n{}", lab.tail());
    lab.run(3);
    expect(&lab, Phase::RolledBack, "for more than 2m");
    assert_eq!(cause(&lab), Some(GoingBackCause::Unavailable));
}

#[test]
fn pods_that_come_back_in_time_do_not() {
    let mut lab = at_10_percent(json!({"rollbackPolicy": POLICY}));
    set_policy(&mut lab, json!({"workload": {"unavailableFor": "2m"}}));
    for _ in 0..3 {
        hurt(&mut lab, "2");
        lab.run(1);
        heal(&mut lab);
        lab.run(1);
    }
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!((cause(&lab), lab.status().unavailable_since.is_some()), (None, false));
}

#[test]
fn a_bake_takes_no_longer_than_its_policy_says_whatever_clock_has_written_its_end() {
    let mut lab = baking();
    let tomorrow = (lab.now() + jiff::SignedDuration::from_hours(24)).to_string();
    lab.cluster.update(Kind::Release, NAME, |release| release["status"]["bakeUntil"] = tomorrow.into());
    lab.run(9);
    expect(&lab, Phase::Baking, "promoted; baking until");
    lab.run(2);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn pods_that_stay_away_in_the_bake_bring_the_version_before_back() {
    let mut lab = baking();
    set_policy(&mut lab, json!({"bake": "10m", "workload": {"unavailableFor": "2m"}}));
    hurt(&mut lab, "2");
    lab.run(4);
    expect(&lab, Phase::RolledBack, "for more than 2m");
    assert_eq!(version(&lab), Some("1"));
}

#[test]
fn a_bake_without_answers_goes_back_only_where_the_policy_says_so() {
    for (on_inconclusive, stable) in [("Pause", "2"), ("Rollback", "1")] {
        let mut lab = baking();
        set_policy(&mut lab, json!({"bake": "10m", "onInconclusive": on_inconclusive}));
        lab.answer = Answer::Error;
        lab.run(6);
        assert_eq!(version(&lab), Some(stable), "{on_inconclusive}\n{}", lab.tail());
    }
}

#[test]
fn a_crash_loop_holds_where_the_policy_says_pause() {
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"rollbackPolicy": POLICY}));
    set_policy(&mut lab, json!({"workload": {"crashLoops": "Pause"}}));
    for pod in lab.cluster.pods.values_mut().filter(|pod| pod.image.ends_with(":2")) {
        pod.image = format!("{}-crash", pod.image);
        pod.ready = None;
    }
    lab.run(3);
    expect(&lab, Phase::Paused, "crashes again and again");
    assert_eq!(cause(&lab), None);
}

#[test]
fn a_window_that_closes_midway_sends_the_release_back_where_the_gate_says_so() {
    let mut lab = at_10_percent(json!({"gates": {"windows": {"onClose": "Rollback"}}}));
    lab.happen(&Happening::Freeze(true));
    lab.run(1);
    assert_eq!((cause(&lab), share(&lab)), (Some(GoingBackCause::WindowClosed), 0), "{}", lab.tail());
}

#[test]
fn what_was_promoted_without_a_pod_and_gets_none_goes_back_at_the_progress_deadline() {
    let mut lab =
        lab(&[Work { replicas: 0, ..Work::web() }], json!([{"setWeight": 10}]), json!({"rollbackPolicy": POLICY}));
    set_policy(&mut lab, json!({"bake": "3m"}));
    lab.run(1).happen(&Happening::Version("2-never"));
    lab.run(2);
    expect(&lab, Phase::Baking, "promoted; baking until");
    lab.happen(&Happening::Scale("web", 2));
    lab.run(9);
    expect(&lab, Phase::Baking, "clearing up after promotion");
    lab.run(3);
    expect(&lab, Phase::RolledBack, "for more than 10m");
    assert_eq!((cause(&lab), version(&lab)), (Some(GoingBackCause::Unavailable), Some("1")), "{}", lab.tail());
}
