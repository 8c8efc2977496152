//! What gateways say of a route.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use lockkeeper_engine::world::RouteView;
use serde_json::Value;

use super::view::{Compact, authorship, text};

/// An HTTPRoute; `view.rules` is null.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    /// What is kept.
    pub view: RouteView,
    /// The rules.
    pub rules: Compact,
    generation: Option<i64>,
}

/// An HTTPRoute as seen at `now`. What was seen before tells since when this generation is accepted; of one that is seen for the first time, as by a
/// process that has just started, when its status was last written: it has not been accepted later than that.
pub fn route(object: &DynamicObject, before: Option<&RouteEntry>, now: Timestamp) -> RouteEntry {
    let metadata = &object.metadata;
    let generation = metadata.generation;
    let verdict = verdict(&object.data, metadata.namespace.as_deref().unwrap_or_default(), generation);
    let since = match before {
        Some(before) => before.view.accepted.filter(|_| before.generation == generation),
        None => reported(metadata).filter(|at| *at < now),
    };
    RouteEntry {
        generation,
        rules: Compact::new(&object.data["spec"]["rules"]),
        view: RouteView {
            name: text(&metadata.name),
            resource_version: text(&metadata.resource_version),
            deleting: metadata.deletion_timestamp.is_some(),
            rules: Value::Null,
            accepted: matches!(verdict, Verdict::Accepted).then(|| since.unwrap_or(now)),
            complaint: match verdict {
                Verdict::Accepted | Verdict::Outstanding => None,
                Verdict::Refused(complaint) => Some(complaint),
            },
            authorship: authorship(metadata, "/f:spec/f:rules", before.map(|b| &b.view.authorship), now),
        },
    }
}

/// After which time, in whole seconds as the API server notes it, nobody has written the status.
fn reported(metadata: &ObjectMeta) -> Option<Timestamp> {
    let entries = metadata.managed_fields.iter().flatten();
    let written = entries.filter(|entry| entry.subresource.as_deref() == Some("status"));
    let last = written.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()?;
    last.checked_add(SignedDuration::from_secs(1)).ok()
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Accepted,
    Outstanding,
    Refused(String),
}

/// What all parents together say of this generation: a refusal weighs more than one that is outstanding.
fn verdict(data: &Value, namespace: &str, generation: Option<i64>) -> Verdict {
    let wanted = list(&data["spec"]["parentRefs"]);
    let said = list(&data["status"]["parents"]);
    let mut outstanding = wanted.is_empty();
    for parent in wanted {
        let reports: Vec<_> = said
            .iter()
            .filter(|report| identity(&report["parentRef"], namespace) == identity(parent, namespace))
            .collect();
        outstanding |= reports.is_empty();
        for report in reports {
            match judge(report, generation) {
                Verdict::Accepted => {}
                Verdict::Outstanding => outstanding = true,
                refused @ Verdict::Refused(_) => return refused,
            }
        }
    }
    if outstanding { Verdict::Outstanding } else { Verdict::Accepted }
}

fn judge(report: &Value, generation: Option<i64>) -> Verdict {
    let current = |kind: &str| {
        list(&report["conditions"]).iter().find(|condition| {
            condition["type"] == kind
                && condition["observedGeneration"].as_i64().unwrap_or_default() >= generation.unwrap_or_default()
        })
    };
    let (accepted, resolved) = (current("Accepted"), current("ResolvedRefs"));
    for condition in [accepted, resolved].into_iter().flatten() {
        if condition["status"] == "False" {
            let part = |field: &str| condition[field].as_str().unwrap_or("unknown").to_owned();
            let parent = report["parentRef"]["name"].as_str().unwrap_or("a parent");
            return Verdict::Refused(format!("{parent} says {}={}: {}", part("type"), part("status"), part("reason")));
        }
    }
    if accepted.is_some_and(|condition| condition["status"] == "True") {
        Verdict::Accepted
    } else {
        Verdict::Outstanding
    }
}

/// What tells one parentRef from another, with the defaults of the Gateway API.
fn identity<'a>(parent: &'a Value, namespace: &'a str) -> [Option<String>; 6] {
    let field = |name: &str, default: &str| Some(parent[name].as_str().unwrap_or(default).to_owned());
    [
        field("group", "gateway.networking.k8s.io"),
        field("kind", "Gateway"),
        field("namespace", namespace),
        field("name", ""),
        field("sectionName", ""),
        parent["port"].as_u64().map(|port| port.to_string()),
    ]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(generation: i64, conditions: &[(&str, &str, i64)]) -> DynamicObject {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, seen)| json!({"type": kind, "status": status, "observedGeneration": seen, "reason": "R"}))
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "generation": generation},
            "spec": {"parentRefs": [{"name": "gw"}], "rules": []},
            "status": {"parents": [{
                "parentRef": {"name": "gw", "namespace": "shop", "kind": "Gateway"}, "conditions": conditions,
            }]},
        }))
        .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_is_accepted_since_it_was_first_seen_accepted_in_this_generation() {
        let first = route(&object(1, &[("Accepted", "True", 1)]), None, at(1));
        assert_eq!(first.view.accepted, Some(at(1)));
        let again = route(&object(1, &[("Accepted", "True", 1), ("ResolvedRefs", "True", 1)]), Some(&first), at(5));
        assert_eq!(again.view.accepted, Some(at(1)));
        let edited = route(&object(2, &[("Accepted", "True", 1)]), Some(&again), at(6));
        assert_eq!(edited.view.accepted, None);
        let seen = route(&object(2, &[("Accepted", "True", 2)]), Some(&edited), at(7));
        assert_eq!(seen.view.accepted, Some(at(7)));
    }

    #[test]
    fn whoever_sees_it_for_the_first_time_knows_when_its_status_was_last_written() {
        let mut told = object(1, &[("Accepted", "True", 1)]);
        told.metadata.managed_fields = serde_json::from_value(json!([
            {"manager": "gateway", "subresource": "status", "time": "1970-01-01T00:00:10Z"},
            {"manager": "people", "time": "1970-01-01T00:00:20Z"},
        ]))
        .unwrap();
        assert_eq!(route(&told, None, at(30)).view.accepted, Some(at(11)));
        assert_eq!(route(&told, None, at(5)).view.accepted, Some(at(5)), "its clock may be behind");
        let mut refused = object(1, &[("Accepted", "False", 1)]);
        refused.metadata.managed_fields.clone_from(&told.metadata.managed_fields);
        let refused = route(&refused, None, at(30));
        assert_eq!(refused.view.accepted, None);
        assert_eq!(route(&told, Some(&refused), at(31)).view.accepted, Some(at(31)), "seen to be accepted since");
    }

    #[test]
    fn unresolved_references_are_no_acceptance_and_are_named() {
        let refused = route(&object(1, &[("Accepted", "True", 1), ("ResolvedRefs", "False", 1)]), None, at(1));
        assert_eq!(refused.view.accepted, None);
        assert_eq!(refused.view.complaint.as_deref(), Some("gw says ResolvedRefs=False: R"));
    }

    #[test]
    fn a_parent_that_says_nothing_has_not_accepted() {
        let mut silent = object(1, &[("Accepted", "True", 1)]);
        silent.data["spec"]["parentRefs"] = json!([{"name": "gw"}, {"name": "other"}]);
        assert_eq!(route(&silent, None, at(1)).view.accepted, None);
        let mut section = object(1, &[("Accepted", "True", 1)]);
        section.data["spec"]["parentRefs"] = json!([{"name": "gw", "sectionName": "https"}]);
        assert_eq!(route(&section, None, at(1)).view.accepted, None);
    }
}
