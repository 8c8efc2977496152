//! What a release does, a sentence a test.

mod again;
mod away;
mod back;
mod capacity;
mod conditions;
mod contests;
mod decisions;
mod empty;
mod first;
mod forward;
mod gates;
mod gitops;
mod leaving;
mod missing;
mod policies;
mod recreated;
mod steps;
mod versions;
mod waiting;

use lockkeeper_api::release::{GateState, Phase};
use lockkeeper_engine::{traffic, write::Kind};
use serde_json::{Value, json};

use crate::{
    fixture::{self, POLICY, Work, policy},
    happening::Happening,
    lab::Lab,
};

/// Version 1 of `web` runs, and a Release with these steps and further fields watches over it.
fn at_rest(steps: Value, rest: Value) -> Lab {
    let mut lab = fixture::lab(&[Work::web()], steps, rest);
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({"bake": "10m"})));
    lab.run(1);
    expect(&lab, Phase::Stable, "version 1 runs");
    lab
}

/// Version 2 is asked for, and a minute has passed.
fn asked(steps: Value, rest: Value) -> Lab {
    let mut lab = at_rest(steps, rest);
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    lab
}

/// At 10 % of the traffic, behind which a pause waits for a person.
fn at_10_percent(rest: Value) -> Lab {
    let lab = asked(json!([{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]), rest);
    expect(&lab, Phase::Paused, "step 2/4: pause without duration");
    assert_eq!(share(&lab), 10, "{}", lab.tail());
    lab
}

/// Version 2 has just taken over, and bakes for ten minutes.
fn baking() -> Lab {
    let mut lab = asked(json!([{"setWeight": 100}]), json!({"rollbackPolicy": POLICY}));
    lab.run(2);
    expect(&lab, Phase::Baking, "promoted; baking until");
    lab
}

#[track_caller]
fn expect(lab: &Lab, phase: Phase, message: &str) {
    let status = lab.status();
    assert_eq!(status.phase, phase, "{}\n{}", status.message, lab.tail());
    assert!(status.message.contains(message), "{:?} does not say {message:?}\n{}", status.message, lab.tail());
}

/// The candidate's share by the route, in percent.
fn share(lab: &Lab) -> u8 {
    let rules = &lab.cluster.get(Kind::HTTPRoute, "web").unwrap()["spec"]["rules"];
    traffic::seen(rules, traffic::Backends { stable: "web", canary: "web-canary" }).most
}

/// Which versions have pods, by their tags.
fn running(lab: &Lab) -> Vec<&str> {
    let mut tags: Vec<_> = lab.cluster.pods.values().filter_map(|pod| pod.image.rsplit(':').next()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn closed_gates(lab: &Lab) -> Vec<&str> {
    let closed = lab.status().gates.iter().filter(|gate| gate.state == GateState::Closed);
    closed.map(|gate| gate.name.as_str()).collect()
}

fn version(lab: &Lab) -> Option<&str> {
    lab.status().stable.as_ref().map(|stable| stable.version.as_str())
}

/// Why the last Decision counts for nothing, if so.
fn refused(lab: &Lab) -> Option<&str> {
    lab.status().decisions.last().and_then(|decision| decision.refused.as_deref())
}
