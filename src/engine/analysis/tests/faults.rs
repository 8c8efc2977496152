//! What a policy may hold, and what is said of one that cannot work.

use lockkeeper_api::{RollbackPolicy, RollbackPolicySpec};

use super::{at, plan, spec};
use crate::analysis::{Facts, PolicyPlan, Side, due};

#[test]
fn every_fault_names_the_check_and_the_mend() {
    let cases = [
        ("an empty query", "query: ''\nmax: 1", "query is empty: give a PromQL query"),
        (
            "an unknown placeholder",
            "query: 'up{a=\"{{ candidate.pod }}\"}'\nmax: 1",
            "unknown placeholder candidate.pod: there are namespace",
        ),
        ("a whole side", "query: 'up{a=\"{{ candidate }}\"}'\nmax: 1", "unknown placeholder candidate: there are"),
        ("open braces", "query: 'up{{ namespace'\nmax: 1", "query cannot be read"),
        ("a filter", "query: 'up{{ namespace|upper }}'\nmax: 1", "query cannot be read"),
        ("a loop", "query: '{% for a in b %}{% endfor %}'\nmax: 1", "only placeholders in double braces"),
        ("what depends on the text", "query: 'up{{ version[0] }}'\nmax: 1", "query"),
        ("what only a text breaks", "query: 'up{{ version and 1 + version }}'\nmax: 1", "query cannot be read"),
        ("no bounds", "interval: 5s", "give min, max or condition"),
        ("bounds the wrong way round", "min: 2\nmax: 1", "min 2 is above max 1"),
        ("a bound that is no number", "max: .nan", "max is NaN: give a finite number"),
        ("an endless bound", "min: -.inf", "min is -inf: give a finite number"),
        ("bounds and condition", "max: 1\ncondition: value < 1.0", "either min and/or max, or condition"),
        ("no CEL", "condition: 'value <'", "condition is no CEL expression"),
        ("a number as condition", "condition: value + 1.0", "condition is not true or false"),
        (
            "a condition that is a number at times",
            "condition: 'value > 100.0 ? 1 : true'",
            "condition is not true or false",
        ),
        ("another name", "condition: value < limit", "unknown name limit: there is only value"),
        ("no value", "condition: 'true'", "condition does not look at value"),
        ("an unknown function", "condition: 'abs(value) < 1.0'", "condition cannot be evaluated"),
        ("a text", "condition: 'value < \"1\"'", "condition cannot be evaluated"),
        ("an integer in a sum", "condition: 'value * 100 < 5.0'", "write numbers like 100.0"),
        ("always a division by zero", "condition: '1 / 0 < int(value)'", "condition cannot be evaluated"),
        ("loops in loops", "condition: '[1, 2].all(a, [1, 2].all(b, value < 1.0))'", "condition has a loop"),
        ("no interval", "max: 1\ninterval: 0s", "interval is 0s: give at least 1s"),
        ("samples of none", "max: 1\nminimumSamples: {query: up, atLeast: 0}", "atLeast is 0: give a number above 0"),
        ("samples without number", "max: 1\nminimumSamples: {query: up, atLeast: .nan}", "atLeast is NaN"),
        (
            "samples with a bad query",
            "max: 1\nminimumSamples: {query: '{{ pods }}', atLeast: 1}",
            "minimumSamples.query has unknown placeholder pods",
        ),
    ];
    for (name, check, wanted) in cases {
        let faults = PolicyPlan::parse("slo", &spec(check)).expect_err(name);
        assert!(
            faults.iter().any(|fault| fault.starts_with("check error-rate: ") && fault.contains(wanted)),
            "{name}: {faults:?}"
        );
    }
}

#[test]
fn all_faults_are_listed_not_only_the_first() {
    let spec = serde_saphyr::from_str(
        "checks: [{name: a, query: '', min: 2, max: 1, interval: 0s}, {name: a, query: up, condition: value}]",
    )
    .unwrap();
    let faults = PolicyPlan::parse("slo", &spec).unwrap_err();
    assert_eq!(faults.len(), 5, "{faults:?}");
    let none: RollbackPolicySpec = serde_saphyr::from_str("checks: []").unwrap();
    assert_eq!(PolicyPlan::parse("slo", &none).unwrap_err(), ["checks is empty: add a check"]);
}

#[test]
fn hostile_conditions_are_refused_without_exhausting_a_small_stack() {
    let hostile = [
        "(".repeat(1024),
        "[".repeat(1024),
        "-".repeat(1024),
        "!".repeat(1024),
        format!("{}value", "!".repeat(1019)),
        format!("{}true", "value<1.0?true:".repeat(68)),
        format!("value{}", ".a".repeat(509)),
        format!("value{}", "[0]".repeat(339)),
        "value < ".repeat(2000),
        "{\"a\":".repeat(200),
    ];
    for source in hostile {
        let parsed = on_small_stack(move || {
            PolicyPlan::parse("slo", &{
                let mut spec = spec("max: 1");
                spec.checks[0].max = None;
                spec.checks[0].condition = Some(source);
                spec
            })
            .is_err()
        });
        assert!(parsed);
    }
    // A long one that is good stays good.
    let long = format!("value < 1.0{}", " || value<1.0".repeat(77));
    assert!(on_small_stack(move || plan(&format!("condition: {long}")).checks.len() == 1));
    let sum = format!("value{} < 1e12", "+1.0".repeat(250));
    assert!(on_small_stack(move || plan(&format!("condition: {sum}")).checks.len() == 1));
}

/// Runs on the stack that a worker thread has.
fn on_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap()
}

#[test]
fn the_sample_policy_can_work() {
    let sample: RollbackPolicy =
        serde_saphyr::from_str(include_str!("../../../../config/samples/rollback-policy.yaml")).unwrap();
    let policy = PolicyPlan::parse("checkout-slo", &sample.spec).unwrap();
    let facts = Facts {
        namespace: "shop".into(),
        candidate: Side { pods: "checkout-abc-.*".into(), ..Side::default() },
        ..Facts::default()
    };
    let (requests, _) = due(&policy, &[], &facts, at(0), at(60));
    assert_eq!(requests.len(), 2);
    assert!(
        requests.iter().all(|request| request.query.contains(r#"{namespace="shop",pod=~"checkout-abc-.*""#)),
        "{requests:?}"
    );
    assert!(requests.iter().all(|request| request.samples.is_some()));
}
