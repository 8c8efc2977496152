//! What is not compared, each with the reason.

use lockkeeper_simulator::api::Kind;
use serde_json::Value;

/// Why something may differ between the worlds.
enum Rule {
    /// Whatever it says.
    Always(&'static [&'static str]),
    /// Where it has just this value, written as JSON: the API server's default, which the model does not give.
    Default(&'static [(&'static str, &'static str)]),
}

/// Of which kinds, and what, by the end of its path without the names of list entries.
fn rules(kind: Kind) -> Vec<Rule> {
    let of_kind = match kind {
        Kind::Deployment => vec![
            Rule::Default(DEPLOYMENT),
            // A sentence with the name of a ReplicaSet in it; the reason says the same.
            Rule::Always(&["status.conditions.message"]),
            // Young fields (1.35) that count pods that end; nothing of ours reads them.
            Rule::Always(&["status.terminatingReplicas"]),
        ],
        Kind::ReplicaSet => vec![
            Rule::Default(DEPLOYMENT),
            Rule::Always(&["status.terminatingReplicas"]),
            // How many steps a rolling update takes depends on who is faster. That the status is current is told instead.
            Rule::Always(&["metadata.generation", "status.observedGeneration"]),
        ],
        Kind::Service => vec![
            Rule::Default(SERVICE),
            // Given by the API server out of a range.
            Rule::Always(&["spec.clusterIP", "spec.clusterIPs"]),
        ],
        Kind::HTTPRoute => vec![
            Rule::Default(ROUTE),
            // Which gateway it is, and its words.
            Rule::Always(&["status.parents.controllerName", "status.parents.conditions.message"]),
        ],
        Kind::ControllerRevision => vec![Rule::Default(DEPLOYMENT)],
        Kind::Namespace
        | Kind::Pod
        | Kind::EndpointSlice
        | Kind::Release
        | Kind::DeploymentWindow
        | Kind::RollbackPolicy
        | Kind::Decision
        | Kind::Lease
        | Kind::ValidatingAdmissionPolicy
        | Kind::ValidatingAdmissionPolicyBinding
        | Kind::MutatingAdmissionPolicy
        | Kind::MutatingAdmissionPolicyBinding => vec![],
    };
    // When something happened is not what happened.
    let times = Rule::Always(&["lastTransitionTime", "lastUpdateTime", "renewTime", "acquireTime"]);
    [times].into_iter().chain(of_kind).collect()
}

/// Reasons of a Deployment's condition Progressing that mean the same.
pub const UNDER_WAY: [&str; 3] = ["NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"];

/// Of Deployments, ReplicaSets and copies of their templates.
const DEPLOYMENT: &[(&str, &str)] = &[
    ("spec.replicas", "1"),
    ("spec.revisionHistoryLimit", "10"),
    ("spec.progressDeadlineSeconds", "600"),
    ("spec.strategy.type", "\"RollingUpdate\""),
    ("spec.strategy.rollingUpdate.maxSurge", "\"25%\""),
    ("spec.strategy.rollingUpdate.maxUnavailable", "\"25%\""),
    ("spec.restartPolicy", "\"Always\""),
    ("spec.dnsPolicy", "\"ClusterFirst\""),
    ("spec.schedulerName", "\"default-scheduler\""),
    ("spec.terminationGracePeriodSeconds", "30"),
    ("containers.imagePullPolicy", "\"IfNotPresent\""),
    ("containers.terminationMessagePath", "\"/dev/termination-log\""),
    ("containers.terminationMessagePolicy", "\"File\""),
    ("containers.ports.protocol", "\"TCP\""),
];

const SERVICE: &[(&str, &str)] = &[
    ("spec.type", "\"ClusterIP\""),
    ("spec.sessionAffinity", "\"None\""),
    ("spec.internalTrafficPolicy", "\"Cluster\""),
    ("spec.ipFamilyPolicy", "\"SingleStack\""),
    ("spec.ipFamilies", "\"IPv4\""),
    ("spec.ports.protocol", "\"TCP\""),
];

const ROUTE: &[(&str, &str)] = &[
    ("parentRefs.group", "\"gateway.networking.k8s.io\""),
    ("parentRefs.kind", "\"Gateway\""),
    ("parentRef.group", "\"gateway.networking.k8s.io\""),
    ("parentRef.kind", "\"Gateway\""),
    ("backendRefs.group", "\"\""),
    ("backendRefs.kind", "\"Service\""),
    ("backendRefs.weight", "1"),
    ("matches.path.type", "\"PathPrefix\""),
    ("matches.path.value", "\"/\""),
];

/// Whether this value is not compared.
pub fn excluded(kind: Kind, path: &str, value: &Value) -> bool {
    let path = without_entries(path);
    // Told as one word, see `under_way`.
    if kind == Kind::Deployment && value.as_str().is_some_and(|reason| UNDER_WAY.contains(&reason)) {
        return true;
    }
    let at = |end: &str| path == end || path.ends_with(&format!(".{end}"));
    rules(kind).into_iter().any(|rule| match rule {
        Rule::Always(ends) => ends.iter().any(|end| at(end)),
        Rule::Default(defaults) => {
            let written = value.to_string();
            defaults.iter().any(|(end, default)| at(end) && *default == written)
        }
    })
}

/// `conditions[Ready].status` is `conditions.status`.
fn without_entries(path: &str) -> String {
    let mut depth = 0;
    let outside = path.chars().filter(|character| {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => return depth == 0,
        }
        false
    });
    outside.collect()
}
