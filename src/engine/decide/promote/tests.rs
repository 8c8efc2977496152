//! What stops a promotion, and what ends a bake.

use std::sync::Arc;

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
