//! Others who write what a release writes, again and again.

use lockkeeper_api::release::Phase;
use lockkeeper_engine::world::Undone;
use serde_json::json;

use super::{at_10_percent, at_rest, expect};
use crate::{
    fixture::{Work, lab},
    lab::Lab,
};

/// Six times within ten seconds, each time by one of these field managers.
fn fight(lab: &mut Lab, object: &str, managers: &[&str]) {
    let writes = (0..6).map(|index| Undone {
        at: lab.now() + jiff::SignedDuration::from_secs(index * 2),
        by: managers[index as usize % managers.len()].into(),
    });
    let writes = writes.collect();
    lab.cluster.now += jiff::SignedDuration::from_secs(10);
    lab.undone.insert(object.into(), writes);
    while lab.round() {}
}

/// What a condition that is true says.
fn says<'a>(lab: &'a Lab, kind: &str) -> Option<&'a str> {
    let condition = lab.status().conditions.iter().find(|condition| condition.type_ == kind)?;
    assert_eq!(condition.status, "True");
    Some(&condition.message)
}

#[test]
fn whoever_fights_for_routes_or_services_during_a_release_is_named_until_it_is_over() {
    for object in ["HTTPRoute web", "Service web"] {
        let mut lab = at_10_percent(json!({}));
        fight(&mut lab, object, &["flux", "argocd"]);
        let said = says(&lab, "TrafficContested").unwrap_or_else(|| panic!("{object}\n{}", lab.tail()));
        assert!(said.contains(object) && said.contains("argocd, flux"), "{said}");
        assert_eq!(says(&lab, "TemplateContested"), None);
        lab.run(2);
        assert_eq!(says(&lab, "TrafficContested"), None, "{}", lab.tail());
    }
}

#[test]
fn at_rest_routes_and_services_are_their_owners_business() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    fight(&mut lab, "HTTPRoute web", &["flux"]);
    assert_eq!(says(&lab, "TrafficContested"), None);
}

#[test]
fn images_that_the_release_carries_are_ours_at_rest_too() {
    let mut lab = lab(&[Work { images: true, ..Work::web() }], json!([{"setWeight": 10}]), json!({}));
    lab.run(1);
    fight(&mut lab, "Deployment web", &["flux"]);
    expect(&lab, Phase::Stable, "version 1 runs");
    let said = says(&lab, "TemplateContested").expect("who fights");
    assert!(said.contains("Deployment web") && said.contains("flux"), "{said}");
}

#[test]
fn a_template_that_the_deployment_carries_is_its_owners() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    fight(&mut lab, "Deployment web", &["flux"]);
    assert_eq!(says(&lab, "TemplateContested"), None);
}
