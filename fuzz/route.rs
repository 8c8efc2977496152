//! Rules of routes, whatever users have written.

use lockkeeper_engine::traffic::{Backends, edit, fault, seen};
use serde_json::{Value, json};

const WEB: Backends<'_> = Backends { stable: "web", canary: "web-canary" };

/// The rules of a route, as JSON: any share is set exactly, and taken back without a trace.
pub fn route(data: &[u8]) {
    let Ok(rules) = serde_json::from_slice::<Value>(data) else { return };
    let before = seen(&rules, WEB);
    assert!(before.most <= 100);
    let refused = fault(&rules, WEB);
    assert!(refused.as_ref().is_none_or(|fault| !fault.is_empty()));
    let rest = set(&rules, None);
    assert!(edit(&rest, WEB, None).is_empty(), "at rest there is nothing to do: {rest}");
    // A rule that names the candidate's Service alone is the user's own.
    let foreign = rules.as_array().into_iter().flatten().any(|rule| names(rule, "web-canary") && !names(rule, "web"));
    for share in [0, 1, 50, 99, 100] {
        let edited = set(&rules, Some(share));
        if refused.is_none() {
            assert!(edit(&edited, WEB, Some(share)).is_empty(), "set twice: {edited}");
        }
        if refused.is_none() && !foreign {
            assert!(seen(&edited, WEB).most <= share, "{share} % of {rules} is {edited}");
            assert_eq!(weights_written(&set(&edited, None)), weights_written(&rest), "{share} % of {rules}");
        }
    }
}

fn set(rules: &Value, share: Option<u8>) -> Value {
    let mut rules = rules.clone();
    for (index, backends) in edit(&rules, WEB, share) {
        rules[index]["backendRefs"] = backends;
    }
    rules
}

fn names(rule: &Value, service: &str) -> bool {
    rule["backendRefs"].as_array().into_iter().flatten().any(|backend| backend["name"] == service)
}

/// With the weights that stand for none written out.
fn weights_written(rules: &Value) -> Value {
    let mut rules = rules.clone();
    for rule in rules.as_array_mut().into_iter().flatten() {
        for backend in rule.get_mut("backendRefs").and_then(Value::as_array_mut).into_iter().flatten() {
            if backend.is_object() && backend["weight"].as_u64().is_none() {
                backend["weight"] = json!(1);
            }
        }
    }
    rules
}
