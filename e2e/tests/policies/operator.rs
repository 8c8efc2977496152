//! The operator's own rights and writes.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use lockkeeper_e2e::{Cluster, User};
use lockkeeper_operator::policies::{Guard, PolicyMode, guard, render};

use super::fixture::{OPERATOR, Place, settings};

pub async fn guarded_mutating(cluster: &Cluster) -> Result<()> {
    guarded(cluster, PolicyMode::Mutating).await
}

pub async fn guarded_validating(cluster: &Cluster) -> Result<()> {
    guarded(cluster, PolicyMode::Validating).await
}

/// The policies and bindings as the API server returns them, in lists, to the operator: this also shows that it may read them.
pub async fn live(cluster: &Cluster, mode: PolicyMode) -> Result<Vec<DynamicObject>> {
    let validating = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    let mutating = ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"];
    let kinds = match mode {
        PolicyMode::Mutating => [&mutating[..], &validating[..]].concat(),
        PolicyMode::Validating => validating.to_vec(),
    };
    let client = cluster.client_of(&cluster.service_account("lockkeeper-system", "lockkeeper").await?).await?;
    let mut live = Vec::new();
    for kind in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        live.extend(api.list(&ListParams::default().labels("app.kubernetes.io/part-of=lockkeeper")).await?);
    }
    Ok(live)
}

async fn guarded(cluster: &Cluster, mode: PolicyMode) -> Result<()> {
    let mut live = live(cluster, mode).await?;
    let expected = render(&settings(mode)?)?;
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

/// What is asked: the verb, the API group, the resource with a subresource, or with another namespace than the operator's own,
/// and the name of an object, or any.
type Right = (&'static str, &'static str, &'static str, &'static str);

/// That what it may do is what it needs, the stories show; this is what it must never get.
pub async fn rights(cluster: &Cluster) -> Result<()> {
    let needed: [Right; 3] = [
        ("patch", "apps", "deployments", ""),
        // Of an operator that handles a share, whose name has a suffix; and of --lease-name.
        ("patch", "coordination.k8s.io", "leases", "lockkeeper-operator-0a1b2c3d"),
        ("watch", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", ""),
    ];
    let denied: [Right; 17] = [
        ("get", "", "secrets", "any"),
        ("list", "", "secrets", ""),
        ("create", "", "pods/exec", ""),
        ("delete", "", "pods", ""),
        ("create", "apps", "deployments", ""),
        ("update", "apps", "deployments", ""),
        ("delete", "apps", "deployments", ""),
        ("create", "lockkeeper.dev", "decisions", ""),
        ("patch", "lockkeeper.dev", "decisions", ""),
        ("patch", "lockkeeper.dev", "rollbackpolicies", ""),
        ("govern", "lockkeeper.dev", "releases", ""),
        ("delete", "lockkeeper.dev", "releases", ""),
        ("delete", "coordination.k8s.io", "leases", "lockkeeper-operator"),
        ("list", "coordination.k8s.io", "leases@kube-system", ""),
        ("list", "apiextensions.k8s.io", "customresourcedefinitions", ""),
        ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicies", ""),
        ("patch", "rbac.authorization.k8s.io", "clusterroles", ""),
    ];
    let may = async |(verb, group, resource, name): Right| {
        let (resource, namespace) = resource.split_once('@').unwrap_or((resource, "lockkeeper-system"));
        may(cluster, Question { user: OPERATOR, namespace, group, resource, verb, name }).await
    };
    for right in needed {
        ensure!(may(right).await?, "the operator may not {right:?}");
    }
    for right in denied {
        ensure!(!may(right).await?, "the operator may {right:?}");
    }
    Ok(())
}

/// Whether a user may do something; a subresource follows the resource after a slash, and an empty name stands for any.
pub struct Question<'a> {
    pub user: &'a str,
    pub namespace: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub verb: &'a str,
    pub name: &'a str,
}

/// As the API server's own authorizer sees it.
pub async fn may(cluster: &Cluster, question: Question<'_>) -> Result<bool> {
    let Question { user, namespace, group, resource, verb, name } = question;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: some(user),
            resource_attributes: Some(ResourceAttributes {
                namespace: some(namespace),
                verb: some(verb),
                group: some(group),
                resource: some(resource),
                subresource: some(subresource),
                name: some(name),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::all(cluster.client(User::Admin)).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
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
