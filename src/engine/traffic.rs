//! Weights in a route: the stable Service keeps its place and gains a sibling for the candidate.
//!
//! A rule's weights are scaled by [`SCALE`] while the sibling is there, so that the candidate's share is a share of the
//! stable backend's own weight, the ratio to foreign backends stays, and the user's weights can be read back exactly:
//!
//! ```text
//! at rest      [ web 1 ]              [ web 3, legacy 1 ]
//! at 10 %      [ web 90, canary 10 ]  [ web 270, canary 30, legacy 100 ]
//! ```

use std::borrow::Cow;

use serde_json::{Value, json};

/// By what a rule's weights are multiplied while a candidate is in it: one percent of the stable backend's weight is then
/// a whole number.
pub const SCALE: u64 = 100;

/// The greatest weight that Gateway API allows.
pub const WEIGHT_MAX: u64 = 1_000_000;

/// A number that no gateway takes is read as this, which leaves room for what is reckoned with it.
const READ_MAX: u64 = u32::MAX as u64;

/// The backends that a workload's routes use.
#[derive(Clone, Copy, Debug)]
pub struct Backends<'a> {
    /// The stable Service.
    pub stable: &'a str,
    /// The candidate's Service.
    pub canary: &'a str,
}

/// What a route sends where, over all of its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Rules that send anything to the stable Service or the candidate's.
    pub rules: usize,
    /// The largest share of the candidate in any rule, in percent, rounded up.
    pub most: u8,
}

/// Reads the candidate's share from a route's rules.
pub fn seen(rules: &Value, backends: Backends<'_>) -> Seen {
    let mut seen = Seen { rules: 0, most: 0 };
    for refs in rule_backends(rules) {
        let stable: u64 = refs.iter().filter(|r| is_service(r, backends.stable)).map(weight).sum();
        let canaries: Vec<_> = refs.iter().filter(|r| is_service(r, backends.canary)).collect();
        let uses_stable = refs.iter().any(|r| is_service(r, backends.stable));
        if !uses_stable && canaries.is_empty() {
            continue;
        }
        seen.rules += 1;
        let canary: u64 = canaries.into_iter().map(weight).sum();
        let total = (stable + canary).max(1);
        seen.most = seen.most.max(percent((canary * 100).div_ceil(total)));
    }
    seen
}

/// The backends of each rule that must change so that the candidate has `share` percent, or, with none, is gone.
pub fn edit(rules: &Value, backends: Backends<'_>, share: Option<u8>) -> Vec<(usize, Value)> {
    let all = rules.as_array().into_iter().flatten().enumerate();
    all.filter_map(|(index, rule)| {
        let refs = rule["backendRefs"].as_array()?;
        let wanted = edit_rule(refs, backends, share)?;
        let differs = *wanted != **refs;
        differs.then(|| (index, Value::Array(wanted.into_owned())))
    })
    .collect()
}

fn edit_rule<'a>(refs: &'a [Value], backends: Backends<'_>, share: Option<u8>) -> Option<Cow<'a, [Value]>> {
    if !refs.iter().any(|r| is_service(r, backends.stable)) {
        return None;
    }
    let own = at_rest(refs, backends);
    let Some(share) = share else { return Some(own) };
    let share = u64::from(share.min(100));
    let mut edited = Vec::with_capacity(own.len() + 1);
    for backend in own.into_owned() {
        let weight = weight(&backend);
        if !is_service(&backend, backends.stable) {
            edited.push(with_weight(backend, weight * SCALE));
            continue;
        }
        let mut sibling = backend.clone();
        sibling["name"] = backends.canary.into();
        edited.push(with_weight(backend, weight * (SCALE - share)));
        edited.push(with_weight(sibling, weight * share));
    }
    Some(Cow::Owned(edited))
}

/// The rule as its owner wrote it: without the sibling, and with the weights read back.
fn at_rest<'a>(refs: &'a [Value], backends: Backends<'_>) -> Cow<'a, [Value]> {
    if !refs.iter().any(|r| is_service(r, backends.canary)) {
        return Cow::Borrowed(refs);
    }
    read_back(refs, backends).into_iter().map(|(backend, weight)| with_weight(backend.clone(), weight)).collect()
}

/// The backends of a rule with a sibling, without it, and the weights that their owner gave them.
fn read_back<'a>(refs: &'a [Value], backends: Backends<'_>) -> Vec<(&'a Value, u64)> {
    let mut own: Vec<(&Value, u64)> = Vec::with_capacity(refs.len());
    for backend in refs {
        if !is_service(backend, backends.canary) {
            own.push((backend, weight(backend)));
            continue;
        }
        // A sibling stands right behind its stable backend and holds the other part of its weight.
        if let Some((_, own)) = own.last_mut().filter(|(last, _)| is_service(last, backends.stable)) {
            *own = (*own + weight(backend)).min(READ_MAX);
        }
    }
    own.iter_mut().for_each(|(_, weight)| *weight /= SCALE);
    own
}

/// The greatest weight of the owner's in a rule.
fn largest(refs: &[Value], backends: Backends<'_>) -> Option<u64> {
    if refs.iter().any(|r| is_service(r, backends.canary)) {
        read_back(refs, backends).into_iter().map(|(_, weight)| weight).max()
    } else {
        refs.iter().map(weight).max()
    }
}

/// Why a route cannot carry a candidate, if so.
pub fn fault(rules: &Value, backends: Backends<'_>) -> Option<String> {
    let seen = seen(rules, backends);
    if seen.rules == 0 {
        return Some(format!(
            "sends nothing to Service {}: name that Service in a rule's backendRefs",
            backends.stable
        ));
    }
    let own = rule_backends(rules).filter(|refs| refs.iter().any(|r| is_service(r, backends.stable)));
    let largest = own.filter_map(|refs| largest(refs, backends)).max().unwrap_or(0);
    (largest * SCALE > WEIGHT_MAX).then(|| {
        format!("has a backend of weight {largest}: weights up to {} leave room for percents", WEIGHT_MAX / SCALE)
    })
}

fn rule_backends(rules: &Value) -> impl Iterator<Item = &Vec<Value>> {
    rules.as_array().into_iter().flatten().filter_map(|rule| rule["backendRefs"].as_array())
}

/// Whether a backend is this Service in the route's own namespace.
fn is_service(backend: &Value, name: &str) -> bool {
    backend["name"] == name
        && backend["kind"].as_str().is_none_or(|kind| kind == "Service")
        && backend["group"].as_str().is_none_or(str::is_empty)
        && backend["namespace"].is_null()
}

fn weight(backend: &Value) -> u64 {
    backend["weight"].as_u64().unwrap_or(1).min(READ_MAX)
}

fn with_weight(mut backend: Value, weight: u64) -> Value {
    backend["weight"] = json!(weight);
    backend
}

fn percent(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEB: Backends<'_> = Backends { stable: "web", canary: "web-canary" };

    fn rules(backends: Value) -> Value {
        json!([{"matches": [{"path": {"value": "/"}}], "backendRefs": backends}])
    }

    fn set(rules: &Value, share: Option<u8>) -> Value {
        let mut rules = rules.clone();
        for (index, backends) in edit(&rules, WEB, share) {
            rules[index]["backendRefs"] = backends;
        }
        rules
    }

    #[track_caller]
    fn check(before: Value, share: u8, after: Value) {
        let before = rules(before);
        let edited = set(&before, Some(share));
        assert_eq!(edited, rules(after));
        assert_eq!(set(&edited, None), before, "at rest the route is what the user wrote");
    }

    #[test]
    fn the_only_backend_shares_its_weight_in_percent() {
        check(
            json!([{"name": "web", "port": 80, "weight": 1}]),
            10,
            json!([{"name": "web", "port": 80, "weight": 90}, {"name": "web-canary", "port": 80, "weight": 10}]),
        );
    }

    #[test]
    fn foreign_backends_keep_their_ratio() {
        check(
            json!([{"name": "legacy", "weight": 1}, {"name": "web", "weight": 3}]),
            50,
            json!([{"name": "legacy", "weight": 100}, {"name": "web", "weight": 150}, {"name": "web-canary", "weight": 150}]),
        );
    }

    #[test]
    fn the_same_service_twice_gets_a_sibling_each_with_its_own_filters() {
        check(
            json!([{"name": "web", "port": 80, "weight": 1}, {"name": "web", "port": 81, "weight": 2, "filters": [{"type": "X"}]}]),
            25,
            json!([
                {"name": "web", "port": 80, "weight": 75}, {"name": "web-canary", "port": 80, "weight": 25},
                {"name": "web", "port": 81, "weight": 150, "filters": [{"type": "X"}]},
                {"name": "web-canary", "port": 81, "weight": 50, "filters": [{"type": "X"}]},
            ]),
        );
    }

    #[test]
    fn rules_and_services_that_are_not_ours_stay_untouched() {
        for foreign in [
            json!([{"name": "other", "weight": 1}]),
            json!([{"name": "web", "namespace": "elsewhere", "weight": 1}]),
            json!([{"name": "web", "group": "example.com", "kind": "Backend", "weight": 1}]),
        ] {
            assert!(edit(&rules(foreign.clone()), WEB, Some(50)).is_empty(), "{foreign}");
        }
    }

    #[test]
    fn a_backend_that_says_that_it_is_a_service_is_one() {
        check(
            json!([{"group": "", "kind": "Service", "name": "web", "weight": 2}]),
            50,
            json!([
                {"group": "", "kind": "Service", "name": "web", "weight": 100},
                {"group": "", "kind": "Service", "name": "web-canary", "weight": 100},
            ]),
        );
        assert!(edit(&rules(json!([{"kind": "Backend", "name": "web"}])), WEB, Some(50)).is_empty());
    }

    #[test]
    fn a_reverted_route_is_seen_as_zero_and_edited_again() {
        let own = rules(json!([{"name": "web", "weight": 1}]));
        assert_eq!(seen(&own, WEB), Seen { rules: 1, most: 0 });
        assert_eq!(seen(&set(&own, Some(30)), WEB), Seen { rules: 1, most: 30 });
    }

    #[test]
    fn a_weight_without_room_for_percents_is_a_fault() {
        assert!(fault(&rules(json!([{"name": "web", "weight": 10_001}])), WEB).is_some());
        assert_eq!(fault(&rules(json!([{"name": "web", "weight": 10_000}])), WEB), None);
    }

    #[test]
    fn a_weight_that_no_gateway_takes_is_a_fault_too() {
        let rules = rules(json!([{"name": "web", "weight": u64::MAX}, {"name": "web", "weight": u64::MAX}]));
        assert!(fault(&rules, WEB).is_some());
        assert_eq!(seen(&set(&rules, Some(50)), WEB).most, 50);
    }

    proptest! {
        #[test]
        fn any_route_comes_back_to_what_it_was(
            backends in prop::collection::vec((prop::sample::select(vec!["web", "a", "b"]), 0u64..10_000), 1..5),
            shares in prop::collection::vec(0u8..=100, 1..5),
        ) {
            let refs: Vec<_> = backends.iter().map(|(name, weight)| json!({"name": name, "weight": weight})).collect();
            let before = rules(refs.into());
            let mut edited = before.clone();
            for share in &shares {
                edited = set(&edited, Some(*share));
                let seen = seen(&edited, WEB);
                prop_assert!(seen.most <= *share);
            }
            prop_assert_eq!(set(&edited, None), before);
        }
    }
}
