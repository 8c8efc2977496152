//! What stops a promotion, and what ends a bake.

use std::sync::Arc;

use jiff::SignedDuration;
use lockkeeper_api::{
    RollbackPolicySpec,
    names::FINALIZER,
    release::{GoingBackCause, Phase},
};
use serde_json::json;

use crate::{
    analysis::PolicyPlan,
    converge::tests::moment::{Moment, second, stepping, version},
    world::{CrashView, Role},
};

/// The phase after a gate has closed, while the candidate's share is confirmed to be so much.
fn shut(confirmed: u8, ended: bool, change: impl FnOnce(&mut Moment)) -> Phase {
    let promoting = Moment::beside(true).with(|m| {
        m.plan.suspend = true;
        m.plan.finalizers = vec![FINALIZER.into()];
        change(m);
    });
    let mut status = stepping(&promoting, 0);
    (status["phase"], status["weight"]["confirmed"]) = ("Promoting".into(), confirmed.into());
    status["step"]["ended"] = ended.into();
    promoting.decided(&status, &[]).status.phase
}

#[test]
fn a_gate_that_closes_stops_a_promotion_until_the_candidate_has_everything_or_a_person_has_ended_the_steps() {
    assert_eq!(shut(50, false, |_| {}), Phase::Paused);
    assert_eq!(shut(99, false, |_| {}), Phase::Paused);
    assert_eq!(shut(100, false, |_| {}), Phase::Promoting);
    assert_eq!(shut(50, true, |_| {}), Phase::Promoting);
    assert_eq!(shut(50, false, |m| m.plan.suspend = false), Phase::Promoting);
    // Half of a handover would be worse than either end.
    assert_eq!(shut(50, false, |m| m.role("a", Some(Role::Previous))), Phase::Promoting);
}

#[test]
fn a_crash_loop_in_the_bake_goes_back_unless_the_policy_says_otherwise() {
    let after = |follows: Option<&str>| {
        let policy = json!({
            "checks": [{"name": "errors", "query": "errors", "max": 0.5, "interval": "30s"}], "bake": "10m",
            "workload": follows.map_or(json!({}), |follows| json!({"crashLoops": follows})),
        });
        let policy: RollbackPolicySpec = serde_json::from_value(policy).unwrap();
        let baking = Moment::at_rest().with(|m| {
            m.plan.policy = PolicyPlan::parse("slo", &policy).ok().map(Arc::new);
            m.add("b", Some(Role::Previous), 4);
            m.pin("a");
            m.view.crash =
                Some(CrashView { hash: "a".into(), pod: "web-a-1".into(), container: "app".into(), restarts: 3 });
        });
        let status = json!({
            "phase": "Baking", "since": second(0).to_string(), "stable": version("a"), "previous": version("b"),
            "bakeUntil": second(200).to_string(),
        });
        let outcome = baking.decided(&status, &[]);
        (outcome.status.phase, outcome.status.going_back.map(|going| (going.cause, going.message)))
    };
    let message = "container app of pod web-a-1 crashes again and again".to_owned();
    let back = (Phase::RollingBack, Some((GoingBackCause::CrashLoop, message)));
    assert_eq!(after(None), back);
    assert_eq!(after(Some("Rollback")), back);
    assert_eq!(after(Some("Pause")), (Phase::Baking, None));
}

/// The phase of a bake in which `a` has lost pods since this second, and when it is looked at again.
fn lost(since: i64, unavailable_for: Option<&str>, change: impl FnOnce(&mut Moment)) -> (Phase, Option<i64>) {
    let limit = unavailable_for.map_or(json!({}), |limit| json!({"unavailableFor": limit}));
    let policy = json!({
        "checks": [{"name": "errors", "query": "errors", "max": 0.5, "interval": "30s"}], "bake": "60m", "workload": limit,
    });
    let policy: RollbackPolicySpec = serde_json::from_value(policy).unwrap();
    let baking = Moment::at_rest().with(|m| {
        m.plan.policy = PolicyPlan::parse("slo", &policy).ok().map(Arc::new);
        m.add("b", Some(Role::Previous), 4);
        m.pin("b");
        m.set("a").available = 0;
        change(m);
    });
    let status = json!({
        "phase": "Baking", "since": second(0).to_string(), "stable": version("a"), "previous": version("b"),
        "bakeUntil": second(3000).to_string(), "unavailableSince": second(since).to_string(),
    });
    let outcome = baking.decided(&status, &[]);
    (outcome.status.phase, outcome.wake.map(|wake| wake.as_second() - second(0).as_second()))
}

#[test]
fn a_promoted_version_without_any_pod_goes_back_after_the_progress_deadline() {
    assert_eq!(lost(-500, None, |_| {}).0, Phase::RollingBack);
    assert_eq!(lost(-499, None, |_| {}), (Phase::Baking, Some(101)));
    assert_eq!(
        lost(-500, None, |m| m.plan.progress_deadline = SignedDuration::from_mins(11)),
        (Phase::Baking, Some(160))
    );
    // One pod is one that serves; what the policy says of those that are lacking comes first.
    assert_eq!(lost(-500, None, |m| m.set("a").available = 1), (Phase::Baking, Some(3000)));
    assert_eq!(lost(70, Some("30s"), |m| m.set("a").available = 1).0, Phase::RollingBack);
    assert_eq!(lost(71, Some("30s"), |_| {}), (Phase::Baking, Some(101)));
    // Back to a version whose pods cannot be made is no way.
    assert_eq!(lost(-500, None, |m| m.view.replica_sets.retain(|set| set.hash == "a")).0, Phase::Baking);
}
