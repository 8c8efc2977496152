//! The product in a cluster: kinds, roles, admission policies, and operators as processes.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::Condition;
use tokio::time::sleep;

use crate::{Cluster, MutatingPolicies, OperatorCommand, OperatorProcess, User, wait};

/// The operator's own namespace.
pub const SYSTEM_NAMESPACE: &str = "lockkeeper-system";

/// For a kind, a policy or an operator to be ready, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Kinds, roles and policies, installed from the files that chart and kustomize install.
#[derive(Debug)]
pub struct Installation {
    binary: PathBuf,
    kubeconfig: PathBuf,
}

/// A running operator and where it tells about itself.
#[derive(Debug)]
pub struct Operator {
    /// The process.
    pub process: OperatorProcess,
    /// Where it listens, as `http://host:port`.
    pub url: String,
}

impl Installation {
    /// Installs everything but the operator's process, and returns when the policies are in force.
    ///
    /// # Errors
    /// If the operator has not been built, or the cluster refuses something.
    pub async fn install(cluster: &Cluster, mutating_policies: MutatingPolicies) -> Result<Installation> {
        let binary = binary()?;
        let crds: Api<CustomResourceDefinition> = Api::all(cluster.client(User::Admin));
        for crd in lockkeeper_api::crds() {
            let name = crd.metadata.name.as_deref().context("a CRD has no name")?;
            cluster.apply(&serde_json::to_string(&crd)?).await?;
            let established = is_crd_established();
            wait::object(&crds, name, "be established", LIMIT, |crd| established.matches_object(crd)).await?;
        }
        apply_directory(cluster, "rbac").await?;
        apply_directory(cluster, "policies/common").await?;
        apply_directory(
            cluster,
            match mutating_policies {
                MutatingPolicies::Served => "policies/mutating",
                MutatingPolicies::Absent => "policies/validating",
            },
        )
        .await?;
        let kubeconfig = cluster.service_account(SYSTEM_NAMESPACE, "lockkeeper").await?;
        policies_are_in_force(cluster, mutating_policies).await?;
        Ok(Installation { binary, kubeconfig })
    }

    /// The program `lockkeeper`.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts an operator of this name, which is also that of its log, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready, with the last lines of its log.
    pub async fn operator(&self, cluster: &Cluster, name: &str, arguments: &[&str]) -> Result<Operator> {
        let mut operator = self.start(cluster, name, arguments)?;
        operator.process.ready(&format!("{}/readyz", operator.url), LIMIT).await?;
        Ok(operator)
    }

    /// Starts an operator and returns at once.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, cluster: &Cluster, name: &str, arguments: &[&str]) -> Result<Operator> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let own = [
            "operator".to_owned(),
            format!("--namespace={SYSTEM_NAMESPACE}"),
            format!("--listen={address}"),
            // Prometheus is a process beside us.
            "--allow-addresses=127.0.0.0/8".to_owned(),
        ];
        // Where it was left out of the cluster, the arguments may name another source.
        let prometheus = cluster.prometheus_url().ok().map(|url| format!("--prometheus-url={url}"));
        let own = own.into_iter().chain(prometheus);
        let process = OperatorProcess::start(&OperatorCommand {
            name: name.to_owned(),
            binary: self.binary.clone(),
            arguments: own.chain(arguments.iter().map(|argument| (*argument).to_owned())).collect(),
            environment: vec![("KUBECONFIG".to_owned(), self.kubeconfig.display().to_string())],
            logs: cluster.logs().to_owned(),
        })?;
        Ok(Operator { process, url: format!("http://{address}") })
    }
}

/// Beside this program, where `cargo build` puts it; or the one that `LOCKKEEPER_BINARY` names.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("LOCKKEEPER_BINARY").filter(|path| !path.is_empty()) {
        return Ok(given.into());
    }
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let found = program.ancestors().skip(1).take(2).map(|directory| directory.join("lockkeeper"));
    match found.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("the operator has not been built: cargo build -p lockkeeper, or set LOCKKEEPER_BINARY"),
    }
}

/// Applies the files of a directory below the chart's `files/`; namespaces first, because the other objects live in them.
async fn apply_directory(cluster: &Cluster, directory: &str) -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/lockkeeper/files").join(directory);
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("kustomization.yaml"));
    files.sort_by_key(|path| (!path.ends_with("namespace.yaml"), path.clone()));
    for file in files {
        let yaml = fs::read_to_string(&file)?;
        cluster.apply(&yaml).await.with_context(|| format!("{}", file.display()))?;
    }
    Ok(())
}

/// Waits until the policies are in force. They have no status that says so: they can only be tried.
///
/// # Errors
/// If they are not within a minute.
pub async fn policies_are_in_force(cluster: &Cluster, mutating_policies: MutatingPolicies) -> Result<()> {
    let foreign = r#"{"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Decision",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"release": "probe", "revision": "r", "verdict": "Abort", "by": {"username": "somebody-else"}}}"#;
    until(cluster, "lockkeeper-decision", foreign, |answer| answer.is_err()).await?;
    let forged = r#"{"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
        "metadata": {"name": "probe", "namespace": "default", "annotations": {"lockkeeper.dev/requested-by": "forged"}},
        "spec": {"workloads": [{"ref": {"kind": "Deployment", "name": "probe"}}],
                 "strategy": {"canary": {"steps": [{"setWeight": 50}]}}}}"#;
    until(cluster, "lockkeeper-author", forged, |answer| match mutating_policies {
        MutatingPolicies::Served => answer.as_ref().is_ok_and(|text| !text.contains("forged")),
        MutatingPolicies::Absent => answer.is_err(),
    })
    .await
}

async fn until(cluster: &Cluster, what: &str, object: &str, done: impl Fn(&Result<String>) -> bool) -> Result<()> {
    let admin = cluster.kubeconfig(User::Admin);
    let deadline = Instant::now() + LIMIT;
    loop {
        let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let answer = cluster.kubectl_with_input(&admin, arguments, object).await;
        if done(&answer) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "waited for policy {what} to come into force; last answer: {answer:?}");
        sleep(ASK_AGAIN).await;
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
