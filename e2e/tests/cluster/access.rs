//! Users, what the API server records of them, and what it is able to do.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicy;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use lockkeeper_e2e::{AuditFilter, Cluster, OperatorCommand, OperatorProcess, User, wait};

use super::fixture::LIMIT;

pub async fn people(cluster: &Cluster) -> Result<()> {
    let since = Timestamp::now();
    for user in User::ALL {
        let who = cluster.kubectl(user, ["auth", "whoami", "-o", "jsonpath={.status.userInfo}"]).await?;
        let who: serde_json::Value = serde_json::from_str(&who)?;
        ensure!(who["username"] == user.name(), "{who}");
        let groups = who["groups"].as_array().context("no groups")?;
        let expected: Vec<&str> = user.group().into_iter().chain(["system:authenticated"]).collect();
        ensure!(groups.iter().map(|group| group.as_str().unwrap_or_default()).eq(expected), "{who}");
    }
    let refused = cluster.kubectl(User::Mallory, ["delete", "namespace", "kube-system"]).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("mallory\" cannot delete resource \"namespaces\"")));
    let filter =
        AuditFilter { user: Some("mallory".to_owned()), since: Some(since), writes: true, ..AuditFilter::default() };
    let entries = cluster.audit_log()?.read(&filter)?;
    let deletion = entries.iter().find(|entry| entry.verb == "delete").context("the audit log has no deletion")?;
    let object = deletion.object_ref.as_ref().context("no object")?;
    ensure!(deletion.code() == Some(403) && object.name.as_deref() == Some("kube-system"), "{deletion:?}");
    Ok(())
}

pub async fn service_account(cluster: &Cluster) -> Result<()> {
    cluster.create_namespace("robots").await?;
    let kubeconfig = cluster.service_account("robots", "git-sync").await?;
    let arguments = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    let who = cluster.kubectl_with_input(&kubeconfig, arguments, "").await?;
    ensure!(who == "system:serviceaccount:robots:git-sync", "{who}");
    let client = cluster.client_of(&kubeconfig).await?;
    let refused = Api::<ConfigMap>::namespaced(client, "robots").list(&ListParams::default()).await;
    ensure!(matches!(refused, Err(kube::Error::Api(status)) if status.is_forbidden()));
    Ok(())
}

/// Signals that are blocked in a process are blocked in its children.
pub async fn child(cluster: &Cluster) -> Result<()> {
    let command = OperatorCommand {
        name: "child".to_owned(),
        binary: "sleep".into(),
        arguments: vec!["1000".to_owned()],
        environment: Vec::new(),
        logs: cluster.logs().to_owned(),
    };
    let status = OperatorProcess::start(&command)?.terminate(LIMIT).await?;
    ensure!(status.signal() == Some(15), "{status}");
    Ok(())
}

const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: stamp}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: stamped}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  mutations:
  - patchType: JSONPatch
    jsonPatch: {expression: '[JSONPatch{op: "add", path: "/data", value: {"by": request.userInfo.username}}]'}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: stamp}
spec: {policyName: stamp}
"#;

pub async fn mutating_policy(cluster: &Cluster) -> Result<()> {
    cluster.create_namespace("stamped").await?;
    cluster.apply(POLICY).await?;
    let maps = Api::<ConfigMap>::namespaced(cluster.client(User::Admin), "stamped");
    // The API server learns of policies by watch, a moment later.
    let deadline = tokio::time::Instant::now() + LIMIT;
    for number in 0.. {
        let map = ConfigMap { metadata: named(&format!("try-{number}")), ..ConfigMap::default() };
        let created = maps.create(&kube::api::PostParams::default(), &map).await?;
        if created.data.is_some_and(|data| data.get("by").is_some_and(|by| by == "admin")) {
            break;
        }
        ensure!(tokio::time::Instant::now() < deadline, "the policy is not in force");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn named(name: &str) -> kube::core::ObjectMeta {
    kube::core::ObjectMeta { name: Some(name.to_owned()), ..Default::default() }
}

pub async fn no_mutating_policies(cluster: &Cluster) -> Result<()> {
    let policies = Api::<MutatingAdmissionPolicy>::all(cluster.client(User::Admin));
    let listed = policies.list(&ListParams::default()).await;
    ensure!(matches!(listed, Err(kube::Error::Api(status)) if status.is_not_found()), "the kind is served");
    let refused = cluster.apply(POLICY).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("does not know")));
    cluster.create_namespace("older").await
}

pub async fn waiting(cluster: &Cluster) -> Result<()> {
    cluster.create_namespace("waiting").await?;
    let maps = Api::<ConfigMap>::namespaced(cluster.client(User::Admin), "waiting");
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: later, namespace: waiting}, data: {colour: green}}";
    let appears = wait::object(&maps, "later", "appear", LIMIT, |map| map.is_some());
    let (seen, applied) = tokio::join!(appears, cluster.apply(map));
    applied?;
    ensure!(seen?.is_some());
    let mut message = String::new();
    // How long the first look takes, nobody knows.
    for seconds in [1, 10, 60] {
        let failed = wait::object(&maps, "later", "be red", Duration::from_secs(seconds), |map| {
            map.and_then(|map| map.data.as_ref()?.get("colour").cloned()) == Some("red".to_owned())
        });
        message = failed.await.err().context("it is green")?.to_string();
        if !message.contains("does not exist") {
            break;
        }
    }
    ensure!(message.contains("for later") && message.contains("be red") && message.contains("green"), "{message}");
    Ok(())
}
