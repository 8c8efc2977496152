//! Values: what they do, and what is refused.

use anyhow::{Context, Result, bail, ensure};
use lockkeeper_e2e::{Cluster, OPERATOR_IMAGE};
use serde_json::{Value, json};

use super::rendered::{Rendered, chart, template};

/// Every value that becomes an argument, other than its default.
const EVERY_FLAG: [&str; 14] = [
    "prometheusUrl=https://prometheus.monitoring/root",
    "watchNamespaces={shop,bank}",
    "releaseSelector=tier in (critical\\,high)",
    "concurrency=7",
    "approvingServiceAccounts={robots:approver,robots:other}",
    "allowAddresses={127.0.0.0/8,::1/128}",
    "dataPlaneSettle=3s",
    "leaderElection.enabled=false",
    "replicas=1",
    "leaderElection.leaseName=mine",
    "leaderElection.leaseDuration=10s",
    "listen.port=9443",
    "log.format=json",
    "log.level=info\\,lockkeeper_engine=debug",
];
/// Flags that are the pod's own: its namespace and name come by variables.
const OF_THE_POD: [&str; 2] = ["--namespace", "--identity"];

pub async fn lint(cluster: &Cluster) -> Result<()> {
    let chart = chart();
    for settings in [&[][..], &["serviceMonitor.enabled=true", "prometheusRule.enabled=true"], &EVERY_FLAG] {
        let mut arguments = vec!["lint", "--strict", &chart];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        cluster.helm(arguments).await?;
    }
    Ok(())
}

pub async fn refused(cluster: &Cluster) -> Result<()> {
    for (settings, words) in [
        (&["replica=3"][..], &["additional properties 'replica' not allowed"][..]),
        (&["leaderElection.enable=false"], &["at '/leaderElection'", "'enable' not allowed"]),
        (&["replicas=two"], &["at '/replicas'", "want integer"]),
        (&["concurrency=1001"], &["at '/concurrency'", "maximum"]),
        (&["policies.mode=mutating"], &["at '/policies/mode'", "'Auto', 'Mutating', 'Validating', 'None'"]),
        (&["leaderElection.leaseDuration=4"], &["at '/leaderElection/leaseDuration'"]),
        (&["watchNamespaces={Shop}"], &["at '/watchNamespaces/0'"]),
        (&["approvingServiceAccounts={approver}"], &["at '/approvingServiceAccounts/0'"]),
        (&["allowAddresses={127.0.0.1}"], &["at '/allowAddresses/0'"]),
        (&["listen.port=80"], &["at '/listen/port'", "minimum"]),
        (&["image.digest=abc"], &["at '/image/digest'"]),
        (
            &["prometheusUrl=prometheus:9090"],
            &["prometheusUrl is prometheus:9090: write it like http://prometheus.monitoring:9090"],
        ),
        (&["leaderElection.enabled=false"], &["replicas must be 1 where leaderElection.enabled is false"]),
    ] {
        let Err(error) = template(cluster, "lockkeeper-system", settings).await else { bail!("{settings:?} is taken") };
        let text = format!("{error:#}");
        for words in words {
            ensure!(text.contains(words), "{settings:?} is refused, but not with {words:?}: {text}");
        }
    }
    Ok(())
}

pub async fn flags(cluster: &Cluster) -> Result<()> {
    let set = Rendered::of(cluster, &EVERY_FLAG).await?.arguments()?;
    let name = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
    let target = std::env::current_exe()?;
    let binary = target.ancestors().skip(1).map(|directory| directory.join("lockkeeper")).find(|path| path.is_file());
    let binary = binary.context("the operator has not been built: cargo build -p lockkeeper")?;
    let help = std::process::Command::new(binary).args(["operator", "-h"]).output()?;
    let help = String::from_utf8(help.stdout)?;
    let known: Vec<&str> =
        help.split(|c: char| c.is_whitespace() || c == '[' || c == '=').filter(|word| word.starts_with("--")).collect();
    ensure!(known.len() > 10, "this is no help: {help}");
    for flag in known.iter().filter(|flag| !OF_THE_POD.contains(flag) && **flag != "--help") {
        ensure!(set.iter().any(|argument| name(argument) == *flag), "no value sets {flag}: {set:?}");
    }
    for argument in set.iter().skip(1) {
        ensure!(known.contains(&name(argument).as_str()), "the operator has no {argument}");
    }
    for expected in [
        "--prometheus-url=https://prometheus.monitoring/root",
        "--watch-namespaces=shop,bank",
        "--release-selector=tier in (critical,high)",
        "--approving-service-accounts=robots:approver,robots:other",
        "--listen=0.0.0.0:9443",
        "--log-level=info,lockkeeper_engine=debug",
    ] {
        ensure!(set.iter().any(|argument| argument == expected), "{expected} is not among {set:?}");
    }
    // What is not said is left to the operator.
    let defaults = Rendered::of(cluster, &[]).await?.arguments()?;
    let unsaid = ["--prometheus-url", "--watch-namespaces", "--release-selector", "--lease-name", "--listen"];
    for flag in unsaid {
        ensure!(defaults.iter().all(|argument| name(argument) != flag), "{flag} is set by default: {defaults:?}");
    }
    // What is rendered and what the operator expects are one.
    for (mode, hold) in [("Mutating", Some("Policy")), ("Validating", Some("PausedAtRest")), ("None", None)] {
        let arguments = Rendered::of(cluster, &[&format!("policies.mode={mode}")]).await?.arguments()?;
        let said = arguments.iter().find_map(|argument| argument.strip_prefix("--deployment-hold="));
        ensure!(said == hold, "with policies {mode} the operator holds by {said:?}");
    }
    Ok(())
}

pub async fn pods(cluster: &Cluster) -> Result<()> {
    let settings = [
        "image.repository=registry.example.com/lockkeeper",
        "image.tag=1.2.3",
        "imagePullSecrets[0].name=pull",
        "podAnnotations.a=b",
        "podLabels.team=platform",
        "nodeSelector.zone=z1",
        "tolerations[0].key=infra",
        "tolerations[0].operator=Exists",
        "priorityClassName=system-cluster-critical",
        "serviceAccount.name=releases",
        "extraArgs={--log-level=debug}",
        "extraEnv[0].name=HTTPS_PROXY",
        "extraEnv[0].value=http://proxy:3128",
        "resources.limits.memory=1Gi",
        "replicas=3",
    ];
    let digest = format!("image.digest=sha256:{}", "a".repeat(64));
    let all: Vec<&str> = settings.into_iter().chain([digest.as_str()]).collect();
    let rendered = Rendered::of(cluster, &all).await?;
    let spec = &rendered.one("Deployment", "lockkeeper")?.data["spec"];
    let (pod, container) = (&spec["template"]["spec"], &spec["template"]["spec"]["containers"][0]);
    let image = format!("registry.example.com/lockkeeper:1.2.3@sha256:{}", "a".repeat(64));
    for (found, expected) in [
        (&spec["replicas"], json!(3)),
        (&container["image"], json!(image)),
        (&pod["imagePullSecrets"], json!([{"name": "pull"}])),
        (&spec["template"]["metadata"]["annotations"], json!({"a": "b"})),
        (&spec["template"]["metadata"]["labels"]["team"], json!("platform")),
        (&pod["nodeSelector"], json!({"zone": "z1"})),
        (&pod["tolerations"], json!([{"key": "infra", "operator": "Exists"}])),
        (&pod["priorityClassName"], json!("system-cluster-critical")),
        (&pod["serviceAccountName"], json!("releases")),
        (&container["resources"]["limits"]["memory"], json!("1Gi")),
    ] {
        ensure!(*found == expected, "{found} is not {expected}");
    }
    let has = |list: &Value, item: &Value| list.as_array().is_some_and(|items| items.contains(item));
    ensure!(has(&container["args"], &json!("--log-level=debug")), "{}", container["args"]);
    ensure!(
        has(&container["env"], &json!({"name": "HTTPS_PROXY", "value": "http://proxy:3128"})),
        "{}",
        container["env"]
    );
    let defaults = Rendered::of(cluster, &[]).await?;
    let image = &defaults.one("Deployment", "lockkeeper")?.data["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(*image == json!(format!("{OPERATOR_IMAGE}:{}", env!("CARGO_PKG_VERSION"))), "the default image is {image}");
    Ok(())
}

pub async fn network(cluster: &Cluster) -> Result<()> {
    let egress = async |settings: &[&str]| -> Result<String> {
        let rendered = Rendered::of(cluster, settings).await?;
        Ok(rendered.one("NetworkPolicy", "lockkeeper")?.data["spec"].to_string())
    };
    for (settings, words) in [
        (&["prometheusUrl=http://prometheus.monitoring:9090"][..], "\"port\":9090"),
        (&["prometheusUrl=http://prometheus.monitoring"], "\"port\":80,"),
        (&["prometheusUrl=https://[fd00::1]/prom"], "\"port\":443"),
        (&["networkPolicy.apiServer.cidrs={10.0.0.1/32}"], "\"ipBlock\":{\"cidr\":\"10.0.0.1/32\"}"),
        (&["networkPolicy.ingressFrom[0].podSelector.matchLabels.app=prometheus"], "\"from\":[{\"podSelector\""),
        (&["networkPolicy.egress[0].ports[0].port=4000"], "\"port\":4000"),
        (&["listen.port=9000"], "\"port\":9000"),
    ] {
        let found = egress(settings).await?;
        ensure!(found.contains(words), "{settings:?}: {words} is not in {found}");
    }
    let none = Rendered::of(cluster, &["networkPolicy.enabled=false", "podDisruptionBudget.enabled=false"]).await?;
    ensure!(none.all("NetworkPolicy").chain(none.all("PodDisruptionBudget")).next().is_none(), "they are there");
    Ok(())
}

pub async fn notes(cluster: &Cluster) -> Result<()> {
    let notes = async |settings: &[&str]| -> Result<String> {
        let chart = chart();
        let mut arguments = vec!["install", "lockkeeper", &chart, "--dry-run=client", "-n", "lockkeeper-system"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        let text = cluster.helm(arguments).await?;
        Ok(text.split_once("NOTES:").context("there are no notes")?.1.to_owned())
    };
    let bare = notes(&["policies.mode=Validating"]).await?;
    for words in
        ["WARNING: prometheusUrl is empty", "stay paused between releases", "/readyz", "rolebinding", "helm uninstall"]
    {
        ensure!(bare.contains(words), "{words:?} is not in {bare}");
    }
    let full = notes(&["policies.mode=Mutating", "prometheusUrl=http://p.m:9090"]).await?;
    ensure!(!full.contains("WARNING") && !full.contains("stay paused"), "{full}");
    let none = notes(&["policies.mode=None"]).await?;
    ensure!(none.contains("no admission policies"), "{none}");
    Ok(())
}
