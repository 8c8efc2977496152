//! Whose pods a query is about.

use std::sync::Arc;

use lockkeeper_api::RollbackPolicySpec;
use serde_json::json;

use crate::{
    analysis::{NOTHING, PolicyPlan},
    converge::tests::moment::{Moment, second, version},
};

/// An empty selector would match the pods of everybody.
#[test]
fn where_there_is_no_version_before_its_placeholder_matches_nothing() {
    let check = json!({"name": "errors", "query": "a{pod=~'{{ candidate.pods }}'} / b{pod=~'{{ stable.pods }}'}", "max": 1, "interval": "30s"});
    let policy: RollbackPolicySpec = serde_json::from_value(json!({"checks": [check], "bake": "10m"})).unwrap();
    let baking = Moment::at_rest().with(|m| {
        m.plan.policy = PolicyPlan::parse("slo", &policy).ok().map(Arc::new);
    });
    let asked = |previous: bool| {
        let mut status = json!({
            "phase": "Baking", "since": second(0).to_string(), "stable": version("a"), "exposed": second(0).to_string(),
            "bakeUntil": second(200).to_string(),
        });
        if previous {
            status["previous"] = version("b");
        }
        baking.decided(&status, &[]).measure.pop().unwrap().query
    };
    assert_eq!(asked(true), "a{pod=~'web-a-[a-z0-9]+'} / b{pod=~'web-b-[a-z0-9]+'}");
    assert_eq!(asked(false), format!("a{{pod=~'web-a-[a-z0-9]+'}} / b{{pod=~'{NOTHING}'}}"));
}
