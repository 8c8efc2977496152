//! What is left on the way back, and around a Deployment that is gone.

use std::sync::Arc;

use lockkeeper_api::{RollbackPolicySpec, names::FINALIZER, release::Phase};
use serde_json::json;

use crate::{
    Outcome,
    analysis::PolicyPlan,
    converge::tests::moment::{Moment, second, service, stepping, version, written},
};

#[test]
fn another_deployment_of_the_same_name_is_not_measured_by_the_version_before() {
    let other = Moment::at_rest().with(|m| {
        m.deployment().uid = "another".into();
        m.wants("c");
        m.add("c", None, 4);
        m.view.replica_sets.retain(|set| set.hash == "c");
    });
    let status = json!({"phase": "Stable", "since": second(0).to_string(), "stable": version("a")});
    let outcome = other.decided(&status, &[]);
    assert_eq!(outcome.status.message, "version c runs");
    assert!(outcome.events.iter().any(|event| event.note == "Deployment web is gone"), "{:?}", outcome.events);
}

#[test]
fn a_deletion_has_no_date_and_is_looked_at_again_when_the_data_plane_has_had_its_time() {
    let held = Moment::at_rest().with(|m| {
        m.plan.deleting = true;
        m.plan.finalizers = vec![FINALIZER.into()];
    });
    let status = json!({"phase": "Stable", "since": second(0).to_string(), "stable": version("a")});
    let waits = held.with(|m| {
        m.view.services.insert("web-canary".into(), service("web-canary", Some("b")));
        m.service("web-canary").deleting = true;
        m.accepted(Some(96));
    });
    let outcome = waits.decided(&status, &[]);
    assert_eq!(outcome.status.message, "the Release is being deleted: giving back what it used");
    assert_eq!((written(&outcome), outcome.wake), (vec![], Some(second(101))));
    assert_eq!((outcome.status.phase, outcome.status.next_transition_time), (Phase::Stable, None));
    assert_eq!(written(&held.decided(&status, &[])), ["web: give back"]);
    let free = held.with(|m| m.deployment().marks.clear());
    assert_eq!(written(&free.decided(&status, &[])), ["shop: remove finalizer"]);
}

#[test]
fn what_runs_is_saved_again_on_the_way_back() {
    let back = |change: fn(&mut Moment)| {
        let moment = Moment::beside(true).with(|m| m.plan.finalizers = vec![FINALIZER.into()]).with(change);
        let mut status = stepping(&moment, 0);
        let (cause, from, started) = ("CheckFailed", version("b")["revision"].clone(), second(40).to_string());
        let going = json!({"cause": cause, "message": "bad", "from": from, "started": started, "keepCandidate": "0s", "weight": 50});
        (status["phase"], status["goingBack"]) = ("RollingBack".into(), going);
        written(&moment.decided(&status, &[]))
    };
    assert_eq!(back(|_| {}), ["web: give back the route"]);
    let saved = "web-a-stable: save stable template";
    assert_eq!(back(|m| m.view.saved.clear()), ["web: give back the route", saved]);
    assert_eq!(back(|m| m.view.saved[0].hash = "b".into()), ["web: give back the route", saved]);
    // A Deployment that goes back to its own template makes it again by itself, and so does one whose images the Release carries.
    for makes_it_again in [
        |m: &mut Moment| m.wants("a"),
        |m: &mut Moment| m.plan.deleting = true,
        |m: &mut Moment| m.plan.workloads[0].images = [("app".to_owned(), "web:b".to_owned())].into(),
    ] {
        let moment = |m: &mut Moment| m.view.saved.clear();
        let both = Moment::beside(true).with(moment).with(makes_it_again);
        assert!(both.scene().save_live(&both.view.replica_sets[0]).is_none());
    }
}

/// Going back by 30 % a minute for a minute, from this weight.
fn gradual(weight: u8) -> Outcome {
    let policy = json!({
        "checks": [{"name": "errors", "query": "errors", "max": 0.5, "interval": "30s"}],
        "rollback": {"gradual": {"by": 30, "every": "60s"}},
    });
    let policy: RollbackPolicySpec = serde_json::from_value(policy).unwrap();
    let moment = Moment::beside(true).with(|m| {
        m.plan.finalizers = vec![FINALIZER.into()];
        m.plan.policy = PolicyPlan::parse("slo", &policy).ok().map(Arc::new);
    });
    let going = json!({
        "cause": "CheckFailed", "message": "bad", "from": version("b")["revision"], "started": second(40).to_string(),
        "keepCandidate": "0s", "weight": weight,
    });
    let mut status = stepping(&moment, 0);
    (status["phase"], status["goingBack"]) = ("RollingBack".into(), going);
    moment.decided(&status, &[])
}

#[test]
fn the_next_part_is_waited_for_while_there_is_one() {
    let part = gradual(90);
    assert_eq!((written(&part), part.wake), (vec!["web: set weight 30".to_owned()], Some(second(160))));
    let last = gradual(60);
    assert_eq!((written(&last), last.wake), (vec!["web: give back the route".to_owned()], None));
}
