//! Pods of the operator's image run, as far as the stories rely on it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use lockkeeper_e2e::{Cluster, OPERATOR_IMAGE, User, wait};
use serde_json::{Value, json};

use super::fixture::LIMIT;

/// A pod's spec with these arguments, confined as Pod Security asks.
fn pod_spec(arguments: &[&str], restart: &str) -> Value {
    json!({
        "restartPolicy": restart,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "main", "image": format!("{OPERATOR_IMAGE}:test"), "args": arguments,
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
        }],
    })
}

async fn create(cluster: &Cluster, namespace: &str, object: Value) -> Result<()> {
    let arguments = ["create", "-n", namespace, "-f", "-"];
    cluster.kubectl_with_input(&cluster.kubeconfig(User::Admin), arguments, &object.to_string()).await.map(drop)
}

fn container(pod: Option<&Pod>) -> Option<&ContainerStatus> {
    pod?.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// The exit code of a Job's pod is the Job's fate.
pub async fn jobs(cluster: &Cluster) -> Result<()> {
    let namespace = "node-jobs";
    cluster.create_namespace(namespace).await?;
    let jobs = Api::<Job>::namespaced(cluster.client(User::Admin), namespace);
    let pods = Api::<Pod>::namespaced(cluster.client(User::Admin), namespace);
    for (name, arguments, kind, code) in
        [("good", &["crds"][..], "Complete", 0), ("bad", &["no-such-command"], "Failed", 2)]
    {
        let spec = json!({"backoffLimit": 0, "template": {"spec": pod_spec(arguments, "Never")}});
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec});
        create(cluster, namespace, job).await?;
        wait::object(&jobs, name, &format!("be {kind}"), LIMIT, |job| {
            let conditions = job.and_then(|job| job.status.as_ref()).and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|c| c.type_ == kind && c.status == "True"))
        })
        .await?;
        let found = pods.list(&kube::api::ListParams::default().labels(&format!("job-name={name}"))).await?;
        let status = container(found.items.first()).context("the Job has no pod")?;
        let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref()).context("it has not ended")?;
        ensure!(ended.exit_code == code, "{name} ended with {}", ended.exit_code);
        let log = std::fs::read_to_string(
            cluster.logs().join(format!("{}.log", kube::ResourceExt::name_any(&found.items[0]))),
        )?;
        ensure!(log.contains("lockkeeper.dev") || code != 0, "the log of {name} is {log}");
    }
    Ok(())
}

/// What a kubelet or Pod Security would not start does not run, and the pod says why.
pub async fn unconfined(cluster: &Cluster) -> Result<()> {
    let namespace = "node-unconfined";
    cluster.create_namespace(namespace).await?;
    let mut spec = pod_spec(&["crds"], "Never");
    spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = json!(false);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loose"}, "spec": spec});
    create(cluster, namespace, pod).await?;
    let pods = Api::<Pod>::namespaced(cluster.client(User::Admin), namespace);
    wait::object(&pods, "loose", "be refused", LIMIT, |pod| {
        let waiting = container(pod).and_then(|status| status.state.as_ref()?.waiting.as_ref());
        waiting.is_some_and(|waiting| {
            waiting.reason.as_deref() == Some("CreateContainerConfigError")
                && waiting.message.as_ref().is_some_and(|message| message.contains("readOnlyRootFilesystem"))
        })
    })
    .await?;
    Ok(())
}

/// What ends is started again, with a count; what is deleted is gone.
pub async fn restarts(cluster: &Cluster) -> Result<()> {
    let namespace = "node-restarts";
    cluster.create_namespace(namespace).await?;
    let spec = pod_spec(&["operator", "--lease-duration=1s"], "Always");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "wrong"}, "spec": spec});
    create(cluster, namespace, pod).await?;
    let pods = Api::<Pod>::namespaced(cluster.client(User::Admin), namespace);
    wait::object(&pods, "wrong", "be in a crash loop", LIMIT, |pod| {
        container(pod).is_some_and(|status| {
            let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
            let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            status.restart_count >= 1
                && waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
                && last.is_some_and(|last| last.exit_code == 2)
        })
    })
    .await?;
    cluster.kubectl(User::Admin, ["delete", "pod", "wrong", "-n", namespace, "--wait=false"]).await?;
    wait::object(&pods, "wrong", "be gone", LIMIT, |pod| pod.is_none()).await?;
    Ok(())
}
