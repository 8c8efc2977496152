//! What no role of ours may contain, whoever it is for.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Verbs by which whoever has them gives themselves more rights.
const ESCALATING: [&str; 3] = ["bind", "escalate", "impersonate"];

/// A sentence for each part of a rule that is wider than any of our roles may be: a wildcard; a Secret without its name, or
/// more of it than `get`; a verb that gives rights; a command in a pod.
pub fn too_wide(rule: &PolicyRule) -> Vec<String> {
    let mut faults = Vec::new();
    let wildcards = [
        ("apiGroups", rule.api_groups.as_deref()),
        ("resources", rule.resources.as_deref()),
        ("verbs", Some(rule.verbs.as_slice())),
        ("resourceNames", rule.resource_names.as_deref()),
        ("nonResourceURLs", rule.non_resource_urls.as_deref()),
    ];
    for (what, values) in wildcards {
        let wild = values.unwrap_or_default().iter().filter(|value| value.contains('*'));
        faults.extend(wild.map(|value| format!("a wildcard in {what}: {value}")));
    }
    let groups = rule.api_groups.as_deref().unwrap_or_default();
    let core = groups.iter().any(|group| group.is_empty() || group == "*");
    let resources = rule.resources.as_deref().unwrap_or_default();
    if core && resources.iter().any(|resource| resource == "secrets") {
        if rule.resource_names.as_deref().unwrap_or_default().is_empty() {
            faults.push("Secrets without a name".to_owned());
        }
        let more = rule.verbs.iter().filter(|verb| *verb != "get");
        faults.extend(more.map(|verb| format!("{verb} on Secrets: get by name is all that is needed")));
    }
    let into_pods = ["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"];
    let into = resources.iter().filter(|resource| core && into_pods.contains(&resource.as_str()));
    faults.extend(into.map(|resource| format!("a way into pods: {resource}")));
    let escalating = rule.verbs.iter().filter(|verb| ESCALATING.contains(&verb.as_str()));
    faults.extend(escalating.map(|verb| format!("a verb that gives rights: {verb}")));
    faults
}
