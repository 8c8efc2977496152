//! Label selectors with the semantics of Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether the selector selects an object with these labels; an empty selector selects everything.
///
/// # Errors
/// Says what is wrong with the selector, whatever the labels are.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> Result<bool, String> {
    let mut all = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    // Every requirement is read even when one does not match, so that a fault shows at once and not with some later
    // label.
    for requirement in selector.match_expressions.iter().flatten() {
        all &= meets(requirement, labels)?;
    }
    Ok(all)
}

fn meets(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> Result<bool, String> {
    let LabelSelectorRequirement { key, operator, values } = requirement;
    let values = values.as_deref().unwrap_or_default();
    let value = labels.get(key);
    if key.is_empty() {
        return Err("a requirement of the selector has no key: name a label".into());
    }
    match (operator.as_str(), values.is_empty()) {
        ("In", false) => Ok(value.is_some_and(|value| values.contains(value))),
        ("NotIn", false) => Ok(value.is_none_or(|value| !values.contains(value))),
        ("Exists", true) => Ok(value.is_some()),
        ("DoesNotExist", true) => Ok(value.is_none()),
        ("In" | "NotIn", true) => Err(format!("operator {operator} of label {key} needs values: list at least one")),
        ("Exists" | "DoesNotExist", false) => {
            Err(format!("operator {operator} of label {key} takes no values: leave them out"))
        }
        _ => Err(format!("operator {operator:?} of label {key} is unknown: use In, NotIn, Exists or DoesNotExist")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(yaml: &str) -> LabelSelector {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn selectors_select_as_in_kubernetes() {
        let labels = BTreeMap::from([("tier".into(), "critical".into()), ("team".into(), "shop".into())]);
        for (yaml, expected) in [
            ("{}", true),
            ("matchLabels: {tier: critical}", true),
            ("matchLabels: {tier: critical, team: pay}", false),
            ("matchLabels: {zone: eu}", false),
            ("matchExpressions: [{key: tier, operator: In, values: [low, critical]}]", true),
            ("matchExpressions: [{key: tier, operator: In, values: [low]}]", false),
            ("matchExpressions: [{key: zone, operator: In, values: [eu]}]", false),
            ("matchExpressions: [{key: tier, operator: NotIn, values: [critical]}]", false),
            ("matchExpressions: [{key: tier, operator: NotIn, values: [low]}]", true),
            ("matchExpressions: [{key: zone, operator: NotIn, values: [eu]}]", true),
            ("matchExpressions: [{key: tier, operator: Exists}]", true),
            ("matchExpressions: [{key: zone, operator: Exists}]", false),
            ("matchExpressions: [{key: tier, operator: DoesNotExist}]", false),
            ("matchExpressions: [{key: zone, operator: DoesNotExist, values: []}]", true),
            ("{matchLabels: {tier: critical}, matchExpressions: [{key: team, operator: In, values: [pay]}]}", false),
        ] {
            assert_eq!(matches(&selector(yaml), &labels), Ok(expected), "{yaml}");
        }
    }

    #[test]
    fn a_faulty_selector_is_an_error_that_names_the_mend_even_if_another_part_does_not_match() {
        for (yaml, mend) in [
            ("matchExpressions: [{key: tier, operator: In}]", "at least one"),
            ("matchExpressions: [{key: tier, operator: NotIn, values: []}]", "at least one"),
            ("matchExpressions: [{key: tier, operator: Exists, values: [x]}]", "leave them out"),
            ("matchExpressions: [{key: tier, operator: in, values: [x]}]", "use In, NotIn"),
            ("matchExpressions: [{key: '', operator: Exists}]", "name a label"),
            (
                "{matchLabels: {no: match}, matchExpressions: [{key: tier, operator: Gt, values: ['1']}]}",
                "use In, NotIn",
            ),
        ] {
            let error = matches(&selector(yaml), &BTreeMap::new()).unwrap_err();
            assert!(error.contains(mend), "{yaml}: {error}");
        }
    }
}
