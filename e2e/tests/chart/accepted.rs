//! Server-side dry runs: what is rendered passes validation, defaults and CEL of a real API server.

use anyhow::{Context, Result, ensure};
use lockkeeper_e2e::{Cluster, User};

use super::rendered::chart;

/// Kinds of other products are left out: the API server does not know them.
const VALUES: [&[&str]; 3] = [
    &[],
    &[
        "prometheusUrl=http://prometheus.monitoring:9090",
        "networkPolicy.apiServer.cidrs={10.0.0.1/32}",
        "networkPolicy.ingressFrom[0].namespaceSelector.matchLabels.name=monitoring",
        "networkPolicy.egress[0].ports[0].port=4000",
        "approvingServiceAccounts={robots:approver}",
        "roles.aggregate.edit=true",
        "roles.aggregate.admin=true",
        "podDisruptionBudget.maxUnavailable=50%",
        "tolerations[0].key=infra",
        "tolerations[0].operator=Exists",
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=infra",
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists",
        "topologySpreadConstraints[0].maxSkew=1",
        "topologySpreadConstraints[0].topologyKey=kubernetes.io/hostname",
        "topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
        "topologySpreadConstraints[0].labelSelector.matchLabels.app\\.kubernetes\\.io/component=operator",
        "listen.port=9000",
    ],
    &["watchNamespaces={shop,bank}", "serviceAccount.name=releases", "leaderElection.enabled=false", "replicas=1"],
];

/// Renders for this very API server, so the mode is what it can do, and lets it say what it thinks.
async fn accepted(cluster: &Cluster, hold: &str) -> Result<()> {
    for (number, settings) in VALUES.into_iter().enumerate() {
        let namespace = format!("dry-run-{number}");
        cluster.create_namespace(&namespace).await?;
        // Nothing may be admitted that the nodes would refuse.
        let restricted = ["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"];
        cluster.kubectl(User::Admin, restricted).await?;
        let chart = chart();
        let mut arguments = vec!["template", "lockkeeper", &chart, "--namespace", &namespace, "--validate"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        let text = cluster.helm(&arguments).await.with_context(|| format!("{settings:?}"))?;
        ensure!(text.contains(&format!("- --deployment-hold={hold}\n")), "not {hold}: the API server was not asked");
        for namespace in ["shop", "bank"] {
            // Those that values name; a second time is no matter.
            let _ = cluster.create_namespace(namespace).await;
        }
        let admin = cluster.kubeconfig(User::Admin);
        let dry =
            ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-"];
        cluster.kubectl_with_input(&admin, dry, &text).await.with_context(|| format!("{settings:?}"))?;
    }
    Ok(())
}

pub async fn mutating(cluster: &Cluster) -> Result<()> {
    accepted(cluster, "Policy").await
}

pub async fn validating(cluster: &Cluster) -> Result<()> {
    accepted(cluster, "PausedAtRest").await
}
