//! What is just allowed, and what is just too much.

use lockkeeper_api::release::RevisionStatus;
use serde_json::json;

use super::spec;
use crate::analysis::{NOTHING, PolicyPlan, Side};

#[track_caller]
fn allowed(check: &str) {
    let faults = PolicyPlan::parse("slo", &spec(check)).err();
    assert_eq!(faults, None, "{check}");
}

#[track_caller]
fn refused(check: &str, wanted: &str) {
    let faults = PolicyPlan::parse("slo", &spec(check)).unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains(wanted)), "{check}: {faults:?}");
}

fn condition(text: &str) -> String {
    format!("condition: \"{text}\"")
}

#[test]
fn bounds_may_be_equal() {
    allowed("min: 1\nmax: 1");
    allowed("min: 1\nmax: 2");
}

#[test]
fn a_condition_has_1024_bytes_and_16_levels() {
    let padded = |length: usize| condition(&format!("{:length$}", "value < 1.0"));
    allowed(&padded(1024));
    refused(&padded(1025), "longer than 1024 bytes");
    let brackets = |levels: usize| condition(&format!("{}value < 1.0{}", "(".repeat(levels), ")".repeat(levels)));
    allowed(&brackets(16));
    refused(&brackets(17), "nested deeper than 16 levels");
    // Side by side is not within each other.
    allowed(&condition(&["(value < 1.0)"; 20].join(" || ")));
    refused(&condition(&format!("{}true", "value > 1.0 ? false : ".repeat(17))), "nested deeper than 16 levels");
}

#[test]
fn a_loop_is_found_in_a_map_too() {
    refused(&condition("{'a': [1.0].all(x, x < value)}['a']"), "condition has a loop");
    refused(&condition("{[1.0].all(x, x < value): true}[true]"), "condition has a loop");
    allowed(&condition("{'a': value}['a'] < 1.0"));
}

#[test]
fn pods_of_a_version_are_named_by_all_of_its_workloads() {
    let of = |workloads: &[&str]| {
        let workloads: Vec<_> =
            workloads.iter().map(|name| json!({"name": name, "hash": "abc", "digest": "", "uid": ""})).collect();
        let revision =
            json!({"revision": "r", "version": "2", "workloads": workloads, "since": "2026-06-03T10:00:00Z"});
        Side::of(&serde_json::from_value::<RevisionStatus>(revision).unwrap())
    };
    assert_eq!(of(&[]).pods, NOTHING);
    assert_eq!(of(&["web.v1"]).pods, "web\\.v1-abc-[a-z0-9]+");
    let both = of(&["web", "api"]);
    assert_eq!(
        (both.pods.as_str(), both.version.as_str(), both.revision.as_str()),
        ("(web-abc|api-abc)-[a-z0-9]+", "2", "r")
    );
}

#[test]
fn a_query_has_8192_bytes() {
    let query = |length: usize| format!("max: 1\nquery: \"{:length$}\"", "up{pod=~'{{ candidate.pods }}'}");
    allowed(&query(8192));
    refused(&query(8193), "longer than 8192 bytes");
}
