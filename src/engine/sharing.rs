//! Which Releases may use a RollbackPolicy: those of its own namespace and, if it is the platform's, those of the namespaces
//! that it admits.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use lockkeeper_api::RollbackPolicySpec;

use crate::window::selector;

/// Who means an object by its name.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Namespace of the Release.
    pub namespace: &'a str,
    /// Labels of that namespace.
    pub labels: &'a BTreeMap<String, String>,
}

/// A RollbackPolicy, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    /// Namespace of the policy.
    pub namespace: &'a str,
    /// Name of the policy.
    pub name: &'a str,
    /// What it says.
    pub spec: &'a RollbackPolicySpec,
}

impl Located<'_> {
    /// Why the caller may not use the policy, with the mend; none if it may.
    ///
    /// A selector that cannot be read is a fault of the policy ([`crate::analysis::PolicyPlan::parse`] names it), not of the caller.
    pub fn refusal(&self, caller: &Caller<'_>) -> Option<String> {
        let Self { namespace: home, name, spec } = self;
        let namespace = caller.namespace;
        if namespace == *home {
            return None;
        }
        match &spec.allow_namespaces {
            Some(selector) if selector::matches(selector, caller.labels).unwrap_or(true) => None,
            Some(selector) => Some(format!(
                "RollbackPolicy {name} in namespace {home} does not admit namespace {namespace}: label the namespace so \
                 that it matches {}, ask the owner of {home}, or create a policy of that name in {namespace}",
                text(selector)
            )),
            None => Some(format!(
                "RollbackPolicy {name} in namespace {home} does not admit namespace {namespace}, because it has no \
                 allowNamespaces: ask the owner of {home}, or create a policy of that name in {namespace}"
            )),
        }
    }

    /// The fault of a policy that admits other namespaces although nobody there looks for it.
    pub fn misplaced(&self, operator_namespace: &str) -> Option<String> {
        let Self { namespace, name: _, spec } = self;
        (spec.allow_namespaces.is_some() && *namespace != operator_namespace).then(|| {
            format!(
                "allowNamespaces works only in the operator's namespace {operator_namespace}: leave it out, the policy is \
                 for {namespace} only"
            )
        })
    }
}

/// As kubectl writes selectors.
fn text(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let requirements = selector.match_expressions.iter().flatten().map(|requirement| {
        let (key, values) = (&requirement.key, requirement.values.as_deref().unwrap_or_default().join(","));
        match requirement.operator.as_str() {
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            operator => format!("{key} {} ({values})", operator.to_lowercase()),
        }
    });
    labels.chain(requirements).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the platform's policy of this `allowNamespaces` says to namespace `shop`, which has these labels.
    fn refusal(allow: &str, labels: &[(&str, &str)]) -> Option<String> {
        let spec: RollbackPolicySpec =
            serde_saphyr::from_str(&format!("{{checks: [{{name: up, query: up, min: 1}}]{allow}}}")).unwrap();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let policy = Located { namespace: "platform", name: "slo", spec: &spec };
        policy.refusal(&Caller { namespace: "shop", labels: &labels })
    }

    #[test]
    fn a_platform_policy_is_for_nobody_else_until_it_says_so() {
        let told = refusal("", &[("team", "shop")]).unwrap();
        assert!(told.contains("RollbackPolicy slo in namespace platform does not admit namespace shop"), "{told}");
        assert!(told.contains("it has no allowNamespaces: ask the owner of platform"), "{told}");
    }

    #[test]
    fn it_is_for_the_namespaces_that_it_selects_and_tells_others_which_those_are() {
        let allow = ", allowNamespaces: {matchLabels: {tier: critical}, matchExpressions: [{key: zone, operator: In, \
                     values: [a, b]}, {key: old, operator: DoesNotExist}, {key: team, operator: Exists}]}";
        assert_eq!(refusal(allow, &[("tier", "critical"), ("zone", "a"), ("team", "x")]), None);
        let told = refusal(allow, &[("tier", "low")]).unwrap();
        assert!(
            told.contains("label the namespace so that it matches tier=critical,zone in (a,b),!old,team"),
            "{told}"
        );
    }

    #[test]
    fn an_empty_selector_admits_every_namespace() {
        assert_eq!(refusal(", allowNamespaces: {}", &[]), None);
    }

    #[test]
    fn the_namespace_of_the_policy_itself_is_always_admitted_and_elsewhere_the_selector_is_a_fault() {
        let spec: RollbackPolicySpec =
            serde_saphyr::from_str("{checks: [], allowNamespaces: {matchLabels: {no: body}}}").unwrap();
        let labels = BTreeMap::new();
        let at = |namespace| Located { namespace, name: "slo", spec: &spec };
        assert_eq!(at("platform").refusal(&Caller { namespace: "platform", labels: &labels }), None);
        assert_eq!(at("platform").misplaced("platform"), None);
        assert!(at("shop").misplaced("platform").unwrap().contains("only in the operator's namespace platform"));
    }
}
