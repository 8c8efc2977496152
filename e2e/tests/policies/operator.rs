//! The operator's own rights and writes.

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use lockkeeper_e2e::{Cluster, User};
use lockkeeper_operator::policies::{Guard, PolicyMode, guard, render};

use super::fixture::{OPERATOR, Place, settings};

pub async fn guarded_mutating(cluster: &Cluster) -> Result<()> {
    let kinds = [
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    guarded(cluster, PolicyMode::Mutating, &kinds).await
}

pub async fn guarded_validating(cluster: &Cluster) -> Result<()> {
    let kinds = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    guarded(cluster, PolicyMode::Validating, &kinds).await
}

async fn guarded(cluster: &Cluster, mode: PolicyMode, kinds: &[&str]) -> Result<()> {
    // With the operator's own token: this also shows that it may read them.
    let client = cluster.client_of(&cluster.service_account("lockkeeper-system", "lockkeeper").await?).await?;
    let mut live = Vec::new();
    for kind in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        live.extend(api.list(&ListParams::default().labels("app.kubernetes.io/part-of=lockkeeper")).await?);
    }
    let expected = render(&settings(mode))?;
    ensure!(live.len() == expected.len(), "{} objects instead of {}", live.len(), expected.len());
    ensure!(guard(&live, &expected) == Guard::Intact, "{:?}", guard(&live, &expected));
    // Type checking by the API server finds what no request has met yet.
    for policy in &live {
        let warnings = &policy.data["status"]["typeChecking"]["expressionWarnings"];
        ensure!(warnings.is_null(), "{:?}: {warnings}", policy.metadata.name);
    }
    let dropped = live.pop().and_then(|object| object.metadata.name).context("no object")?;
    let Guard::Broken(reason) = guard(&live, &expected) else { anyhow::bail!("the lack of {dropped} went unnoticed") };
    ensure!(reason.contains(&format!("ValidatingAdmissionPolicyBinding {dropped} is missing")), "{reason}");
    Ok(())
}

pub async fn rights(cluster: &Cluster) -> Result<()> {
    let may = |verb: &'static str, what: &'static str| async move {
        let arguments = ["auth", "can-i", verb, what, "-n", "lockkeeper-system", "--as", OPERATOR];
        // `can-i` says no by its exit code.
        cluster.kubectl(User::Admin, arguments).await.is_ok_and(|answer| answer.trim() == "yes")
    };
    for (verb, what) in [
        ("patch", "deployments.apps"),
        ("delete", "replicasets.apps"),
        ("create", "controllerrevisions.apps"),
        ("patch", "releases.lockkeeper.dev/status"),
        ("patch", "rollbackpolicies.lockkeeper.dev/status"),
        ("watch", "decisions.lockkeeper.dev"),
        ("create", "events.events.k8s.io"),
        ("create", "leases.coordination.k8s.io"),
        ("patch", "leases.coordination.k8s.io/lockkeeper-operator"),
        ("watch", "validatingadmissionpolicybindings.admissionregistration.k8s.io"),
    ] {
        ensure!(may(verb, what).await, "the operator may not {verb} {what}");
    }
    for (verb, what) in [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "deployments.apps"),
        ("delete", "deployments.apps"),
        ("delete", "pods"),
        ("create", "decisions.lockkeeper.dev"),
        ("govern", "releases.lockkeeper.dev"),
        ("delete", "releases.lockkeeper.dev"),
        ("patch", "leases.coordination.k8s.io/other"),
        ("list", "customresourcedefinitions.apiextensions.k8s.io"),
        ("delete", "validatingadmissionpolicies.admissionregistration.k8s.io"),
    ] {
        ensure!(!may(verb, what).await, "the operator may {verb} {what}");
    }
    Ok(())
}

/// One release's writes, with the rights of the role and nothing more.
pub async fn unaffected(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "unaffected").await?;
    let operator = place.operator().await?;
    let patch = async |object: &str, patch: &str| -> Result<()> {
        // kubectl reads before it patches, which the operator may not do for every kind: a raw API call does not.
        let client = cluster.client_of(&operator).await?;
        let (group, kind, name) = match object {
            "deployment" => ("apps/v1", "Deployment", "web"),
            "service" => ("v1", "Service", "web"),
            _ => ("lockkeeper.dev/v1alpha1", "Release", "web"),
        };
        let (group, version) = group.rsplit_once('/').unwrap_or(("", group));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api = Api::<DynamicObject>::namespaced_with(client, place.namespace, &resource);
        let patch: serde_json::Value = serde_json::from_str(patch)?;
        api.patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await?;
        Ok(())
    };
    patch("deployment", r#"{"metadata":{"annotations":{"lockkeeper.dev/hold":"r1","lockkeeper.dev/paused-by":"lockkeeper"}},"spec":{"paused":true}}"#).await?;
    patch(
        "service",
        r#"{"metadata":{"annotations":{"lockkeeper.dev/pin":"abc"}},"spec":{"selector":{"pod-template-hash":"abc"}}}"#,
    )
    .await?;
    patch("release", r#"{"metadata":{"finalizers":["lockkeeper.dev/handback"]}}"#).await?;
    let deployment = place.get("deployment/web").await?;
    ensure!(deployment.paused() && deployment.annotation("hold") == Some("r1"), "{}", deployment.0);
    ensure!(place.get("service/web").await?.0["spec"]["selector"]["pod-template-hash"] == "abc");
    patch("deployment", r#"{"metadata":{"annotations":{"lockkeeper.dev/hold":null,"lockkeeper.dev/paused-by":null}},"spec":{"paused":null,"template":{"spec":{"terminationGracePeriodSeconds":5}}}}"#).await?;
    patch(
        "service",
        r#"{"metadata":{"annotations":{"lockkeeper.dev/pin":null}},"spec":{"selector":{"pod-template-hash":null}}}"#,
    )
    .await?;
    patch("release", r#"{"metadata":{"finalizers":null}}"#).await?;
    let deployment = place.get("deployment/web").await?;
    ensure!(!deployment.paused() && deployment.annotation("hold").is_none(), "{}", deployment.0);
    ensure!(deployment.annotation("requested-by").is_none(), "{}", deployment.0);
    ensure!(place.get("service/web").await?.0["spec"]["selector"]["pod-template-hash"].is_null());
    Ok(())
}
