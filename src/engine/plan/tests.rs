//! What steps ask for.

use lockkeeper_api::{
    release::{CanaryScale, Gates, Step},
    scalar::True,
};
use serde_json::{Value, json};

use super::{Target, approval_faults};

fn replicas(weight: u8, scale: CanaryScale, of: u32, routed: bool) -> u32 {
    Target { weight, scale }.replicas(of, routed)
}

#[test]
fn a_routed_candidate_has_its_share_of_pods_rounded_up() {
    let matching = || CanaryScale::MatchTrafficWeight(True);
    for (weight, of, expected) in
        [(0, 10, 0), (1, 10, 1), (10, 10, 1), (11, 10, 2), (50, 3, 2), (100, 7, 7), (50, 0, 0)]
    {
        assert_eq!(replicas(weight, matching(), of, true), expected, "{weight} % of {of}");
    }
    assert_eq!(replicas(5, CanaryScale::Weight(30), 10, true), 3);
    assert_eq!(replicas(5, CanaryScale::Replicas(4), 10, true), 4);
    assert_eq!(replicas(5, CanaryScale::Replicas(4), 0, true), 0);
}

#[test]
fn without_a_route_the_share_is_one_of_pods() {
    let matching = || CanaryScale::MatchTrafficWeight(True);
    // c / (c + 10) is at most the share, but for the first pod; never more pods than the stable version has.
    for (weight, expected) in [(0, 0), (1, 1), (10, 1), (20, 2), (50, 10), (75, 10), (99, 10), (100, 10)] {
        assert_eq!(replicas(weight, matching(), 10, false), expected, "{weight} %");
    }
}

#[test]
fn approval_steps_and_gates_belong_together() {
    let faults = |steps: Value, approvals: Value| {
        let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
        let gates: Gates = serde_json::from_value(json!({"approvals": approvals})).unwrap();
        approval_faults(&steps, &gates)
    };
    let step = || json!([{"setWeight": 5}, {"approval": {"name": "qa"}}]);
    assert!(faults(step(), json!([{"name": "qa"}])).is_empty());
    assert!(faults(json!([{"setWeight": 5}]), json!([{"name": "qa", "before": "Start"}])).is_empty());
    let missing = faults(step(), json!([{"name": "board", "before": "Start"}]));
    assert_eq!(missing, ["steps[1].approval: no gate qa in gates.approvals: add it there"]);
    let unasked = faults(step(), json!([{"name": "qa"}, {"name": "board"}]));
    assert_eq!(unasked, ["gates.approvals: board is never asked for: give it before, or an approval step"]);
}
