//! What others delete and make again with the same name, while caches are behind.

use lockkeeper_api::{decision::Verdict, release::Phase};
use lockkeeper_engine::write::{Kind, Request, Write};
use serde_json::json;

use super::{asked, at_10_percent, expect, share};
use crate::lab::Lab;

#[test]
fn a_stable_service_whose_endpoints_are_not_known_yet_leaves_nothing_to_the_candidate() {
    let mut lab = at_10_percent(json!({}));
    lab.cluster.unheard.insert("web".into());
    lab.run(2);
    assert_eq!(share(&lab), 10, "{}", lab.tail());
    lab.cluster.unheard.clear();
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/4: pause without duration");
}

#[test]
fn a_candidate_whose_endpoints_are_not_known_yet_keeps_no_traffic() {
    let mut lab = at_10_percent(json!({}));
    lab.cluster.unheard.insert("web-canary".into());
    lab.run(1);
    assert_eq!(share(&lab), 0, "{}", lab.tail());
    lab.cluster.unheard.clear();
    lab.run(2);
    assert_eq!(share(&lab), 10, "{}", lab.tail());
}

/// The objects that a write rests on.
fn rests_on(write: &Write) -> Vec<(Kind, &str)> {
    write.rests_on.iter().map(|seen| (seen.kind, seen.name.as_str())).collect()
}

/// The write for this purpose.
fn done<'a>(lab: &'a Lab, purpose: &str) -> &'a Write {
    let found = lab.done.iter().rfind(|write| write.purpose == purpose);
    found.unwrap_or_else(|| panic!("{purpose:?} was not written\n{}", lab.tail()))
}

const TRAFFIC: [(Kind, &str); 2] = [(Kind::HTTPRoute, "web"), (Kind::Service, "web")];

#[test]
fn what_takes_a_candidate_away_rests_on_all_that_could_send_it_traffic() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Aborted, "version 2");
    assert_eq!(rests_on(done(&lab, "delete canary Service")), TRAFFIC[..1]);
    assert_eq!(rests_on(done(&lab, "scale to 0")), TRAFFIC);
}

#[test]
fn what_hands_over_rests_on_the_version_that_is_left_and_a_service_changes_over_by_the_routes() {
    let mut lab = asked(json!([{"setWeight": 10}]), json!({}));
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    let hash = |part: usize| {
        let status = lab.status();
        let revision = [&status.stable, &status.previous][part].as_ref().unwrap();
        revision.workloads[0].hash.clone()
    };
    let (new, old) = (format!("web-{}", hash(0)), format!("web-{}", hash(1)));
    let handover = lab.done.iter().find(|write| write.name == new && write.purpose == "give to the Deployment");
    assert_eq!(rests_on(handover.unwrap()), [(Kind::ReplicaSet, old.as_str())]);
    let pin = done(&lab, &format!("pin to {}", hash(0)));
    assert_eq!(rests_on(pin), [TRAFFIC[0], (Kind::ReplicaSet, new.as_str())]);
    let retired = lab.done.iter().find(|write| write.name == old && write.purpose == "give to the Deployment");
    assert_eq!(rests_on(retired.unwrap()), TRAFFIC);
}

#[test]
fn what_went_back_is_given_to_a_deployment_with_its_template_only_beside_the_version_that_was_seen_to_run() {
    let mut lab = asked(json!([{"setWeight": 10}]), json!({}));
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    let live = |lab: &Lab| format!("web-{}", lab.status().stable.as_ref().unwrap().workloads[0].hash);
    let left = live(&lab);
    lab.decide(Verdict::Rollback, None, "olga");
    lab.run(30);
    let retired = lab.done.iter().rfind(|write| write.name == left && write.purpose == "give to the Deployment");
    let live = live(&lab);
    assert_ne!(live, left, "{}", lab.tail());
    assert_eq!(rests_on(retired.unwrap()), [TRAFFIC[0], TRAFFIC[1], (Kind::ReplicaSet, live.as_str())]);
}

#[test]
fn a_share_that_grows_rests_on_the_service_whose_endpoints_were_seen_and_one_that_falls_on_nothing() {
    let mut lab = at_10_percent(json!({}));
    assert_eq!(rests_on(done(&lab, "set weight 10")), [(Kind::Service, "web-canary")]);
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(5);
    assert_eq!(rests_on(done(&lab, "give back the route")), []);
}

#[test]
fn what_a_write_rests_on_is_told_as_it_was_seen() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(5);
    let write = done(&lab, "delete canary Service");
    assert!(matches!(write.request, Request::Delete { .. }));
    let seen = &write.rests_on[0];
    let route = lab.cluster.get(Kind::HTTPRoute, "web").unwrap();
    assert_eq!(route["metadata"]["resourceVersion"].as_str(), seen.resource_version.as_deref());
}

#[test]
fn a_stable_version_that_is_gone_is_proven_to_be_before_another_is_given_to_the_deployment() {
    let mut lab = at_10_percent(json!({}));
    let stable = lab.status().stable.as_ref().unwrap().workloads[0].hash.clone();
    lab.cluster.delete(Kind::ReplicaSet, &format!("web-{stable}"));
    lab.decide(Verdict::Promote, None, "olga");
    while lab.round() {}
    let handover = done(&lab, "give to the Deployment");
    let gone = handover.rests_on.iter().find(|seen| seen.name == format!("web-{stable}"));
    assert_eq!(gone.map(|seen| seen.resource_version.as_deref()), Some(None), "{handover:?}");
}
