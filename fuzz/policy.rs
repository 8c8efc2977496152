//! Conditions and queries of checks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockkeeper_api::{RollbackPolicySpec, release::CheckOutcome};
use lockkeeper_engine::analysis::{Facts, Measurement, PLACEHOLDERS, PolicyPlan, Reading, Side, due, fold};
use serde_json::{Value, json};

/// A CEL expression: what is accepted is evaluated within bounds, always to the same, and never to success without a number.
pub fn condition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(policy) = plan(json!({"name": "c", "query": "q", "condition": text})) else { return };
    for value in [0.0, -0.0, 0.01, 1.0, -1.0, 1e308, -1e308, f64::MIN_POSITIVE] {
        assert_eq!(outcome(&policy, Reading::Value(value)), outcome(&policy, Reading::Value(value)), "{text:?}");
    }
    for nothing in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_ne!(outcome(&policy, Reading::Value(nothing)), CheckOutcome::Success, "{text:?} of {nothing}");
    }
}

fn outcome(policy: &PolicyPlan, reading: Reading) -> CheckOutcome {
    let measurement = Measurement { taken: Timestamp::UNIX_EPOCH, reading, samples: None };
    let mut checks = Vec::new();
    fold(policy, &mut checks, &BTreeMap::from([("p/c".to_owned(), measurement)]));
    checks[0].outcome
}

/// A query: what is accepted can be filled in whatever the facts are, and facts cannot leave their quotes.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(policy) = plan(json!({"name": "c", "query": text, "max": 1})) else { return };
    const PLAIN: &str = "fffactfff";
    // As PromQL writes the other one within quotes.
    let (hostile, quoted) = ("\\\"'`\n\r{}}{{ x }}", "\\\\\\\"\\x27\\x60\\n\\r{}}{{ x }}");
    let [plain, strange] = [PLAIN, hostile].map(|fact| filled(&policy, fact));
    filled(&policy, "");
    if !text.contains(PLAIN) && placeholders_only(text) {
        assert_eq!(plain.replace(PLAIN, quoted), strange, "{text:?}");
    }
}

/// Whether there is nothing but names in braces: an expression may cut a fact into pieces.
fn placeholders_only(text: &str) -> bool {
    text.split("{{").skip(1).all(|rest| {
        let inner = rest.split("}}").next().unwrap_or_default();
        PLACEHOLDERS.contains(&inner.trim_matches('-').trim())
    })
}

fn filled(policy: &PolicyPlan, fact: &str) -> String {
    let text = || fact.to_owned();
    let side = || Side { pods: text(), version: text(), revision: text() };
    let facts = Facts { namespace: text(), release: text(), version: text(), candidate: side(), stable: side() };
    let (requests, next) = due(policy, &[], &facts, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    assert!(next > Some(Timestamp::UNIX_EPOCH));
    assert_eq!(requests.len(), 1, "a query that was accepted cannot be filled in with {fact:?}");
    requests.into_iter().next().unwrap().query
}

fn plan(check: Value) -> Option<PolicyPlan> {
    let spec: RollbackPolicySpec = serde_json::from_value(json!({"checks": [check]})).unwrap();
    match PolicyPlan::parse("p", &spec) {
        Ok(plan) => Some(plan),
        Err(faults) => {
            assert!(faults.iter().all(|fault| fault.starts_with("check c: ") && fault.len() > 20), "{faults:?}");
            None
        }
    }
}
