//! The version that runs, while another one waits at its gates, for days if need be.

use lockkeeper_api::{
    names::{POD_TEMPLATE_HASH, ROLE},
    release::Phase,
};
use lockkeeper_engine::write::Kind;
use serde_json::{Value, json};

use super::{asked, at_10_percent, expect, running, share};
use crate::{happening::Happening, lab::Lab};

fn waits() -> Lab {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({"gates": gates}));
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    lab
}

/// The ReplicaSet of a candidate as another release has made it, which somebody brings back.
fn from_a_backup() -> Value {
    let lab = at_10_percent(json!({}));
    let (_, set) =
        lab.cluster.of(Kind::ReplicaSet).find(|(_, set)| set["metadata"]["labels"][ROLE] == "candidate").unwrap();
    let mut set = set.clone();
    set["spec"]["replicas"] = 2.into();
    set
}

#[test]
fn a_stable_version_that_somebody_deletes_is_made_again() {
    let mut lab = waits();
    lab.happen(&Happening::DeleteStable("web"));
    lab.run(2);
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    assert_eq!((running(&lab), share(&lab)), (vec!["1"], 0), "{}", lab.tail());
    lab.decide(lockkeeper_api::decision::Verdict::Approve, Some("gate"), "ann");
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!((running(&lab), share(&lab)), (vec!["1", "2"], 10), "{}", lab.tail());
}

#[test]
fn pods_of_a_version_that_has_passed_no_gate_get_no_traffic_and_go() {
    let mut lab = waits();
    lab.cluster.create(Kind::ReplicaSet, from_a_backup());
    while lab.round() {}
    let pinned = &lab.cluster.get(Kind::Service, "web").unwrap()["spec"]["selector"][POD_TEMPLATE_HASH];
    let stable = &lab.status().stable.as_ref().unwrap().workloads[0].hash;
    assert_eq!(pinned, stable, "{}", lab.tail());
    lab.run(2);
    expect(&lab, Phase::Waiting, "0 of 1 approvals");
    assert_eq!((running(&lab), share(&lab)), (vec!["1"], 0), "{}", lab.tail());
    lab.decide(lockkeeper_api::decision::Verdict::Approve, Some("gate"), "ann");
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!((running(&lab), share(&lab)), (vec!["1", "2"], 10), "{}", lab.tail());
}
