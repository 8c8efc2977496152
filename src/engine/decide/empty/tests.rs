//! When pods go and come back, of a release on its way.

use lockkeeper_api::{
    names::FINALIZER,
    release::{Phase, WithoutPods},
};
use serde_json::{Value, json};

use crate::{
    Outcome,
    converge::tests::moment::{Moment, second, stepping, written},
    world::Role,
};

const SCALES: [&str; 1] = ["web-b: scale to 2"];

/// Pods are asked for again, and there are none yet; the step is half of the traffic.
fn returns() -> Moment {
    Moment::beside(true).with(|m| {
        m.pods("b", 0);
        m.set("a").available = 0;
        m.weigh(0);
        m.plan.finalizers = vec![FINALIZER.into()];
        m.plan.steps = serde_json::from_value(json!([{"setWeight": 50}, {"pause": {}}])).unwrap();
    })
}

fn decided(moment: &Moment, change: impl FnOnce(&mut Value)) -> Outcome {
    let mut status = stepping(moment, 0);
    change(&mut status);
    moment.decided(&status, &[])
}

fn emptied(status: &mut Value) {
    status["withoutPods"] = "MidWay".into();
}

#[test]
fn after_a_scale_to_nothing_the_stable_version_has_its_first_pod_before_the_candidate_is_asked_for_any() {
    let waits = decided(&returns(), emptied);
    assert_eq!((written(&waits), waits.status.without_pods), (vec![], Some(WithoutPods::MidWay)));
    let first = returns().with(|m| m.set("a").available = 1);
    let goes = decided(&first, emptied);
    assert_eq!((written(&goes), goes.status.without_pods), (SCALES.map(str::to_owned).to_vec(), None));
    // While nothing is asked for, it stays known.
    let nobody = returns().with(|m| m.deployment().replicas = 0);
    assert_eq!(decided(&nobody, emptied).status.without_pods, Some(WithoutPods::MidWay));
    assert_eq!(decided(&nobody, |_| {}).status.without_pods, Some(WithoutPods::MidWay));
}

#[test]
fn a_candidate_that_had_traffic_and_has_none_is_like_one_that_was_scaled_to_nothing() {
    let exposed = |confirmed: u8| {
        let change = |status: &mut Value| {
            status["exposed"] = second(10).to_string().into();
            status["weight"]["confirmed"] = confirmed.into();
        };
        written(&decided(&returns(), change))
    };
    assert_eq!(exposed(0), [] as [String; 0]);
    assert_eq!(exposed(10), SCALES);
    assert_eq!(written(&decided(&returns(), |_| {})), SCALES, "it never had any");
}

/// A release that began without pods, at this step; there are some now.
fn filled(index: usize, change: impl FnOnce(&mut Moment, &mut Value)) -> Outcome {
    let mut moment = Moment::beside(true).with(|m| {
        m.weigh(0);
        m.plan.finalizers = vec![FINALIZER.into()];
        m.plan.steps = serde_json::from_value(json!([{"setWeight": 50}, {"pause": {}}])).unwrap();
    });
    let mut status = stepping(&moment, index);
    status["withoutPods"] = "FromTheStart".into();
    change(&mut moment, &mut status);
    moment.follow();
    moment.decided(&status, &[])
}

#[test]
fn steps_that_nothing_was_tried_in_start_over_unless_a_person_has_ended_them() {
    let over =
        |outcome: &Outcome| outcome.events.iter().any(|event| event.note == "there are pods now: the steps start over");
    let again = filled(1, |_, _| {});
    assert!(over(&again) && again.status.step.as_ref().is_some_and(|step| step.index == 0), "{again:?}");
    assert_eq!(again.status.without_pods, None);
    let none_passed = filled(0, |_, _| {});
    assert!(!over(&none_passed), "there is nothing to start over");
    let ended = filled(1, |_, status| status["step"]["ended"] = true.into());
    assert!(!over(&ended) && ended.status.step.is_some_and(|step| step.index == 1));
    // What is half handed over goes through.
    let handing_over = filled(1, |m, status| {
        m.role("a", Some(Role::Previous));
        status["phase"] = "Promoting".into();
    });
    assert!(!over(&handing_over) && handing_over.status.phase == Phase::Promoting, "{}", handing_over.status.message);
}
