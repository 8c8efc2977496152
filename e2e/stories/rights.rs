//! Rights that no request shows: admission plugins ask for them.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use lockkeeper_e2e::rights::{Grant, granted};
use lockkeeper_e2e::{SYSTEM_NAMESPACE, User, wait};
use serde_json::{Value, json};

use crate::harness::{ACCOUNT, ASKED_BY_ADMISSION, LIMIT, Story};

/// A ReplicaSet is given to its Deployment in one write, with the owner reference that the Deployment's own have. Where the
/// API server asks who may do that, as ours does, it is refused without the right on `deployments/finalizers`.
pub async fn owner_references(story: &Story<'_>) -> Result<()> {
    story.app(1).await?;
    let deployment = story.api::<Deployment>().get("web").await?;
    let [asked] = ASKED_BY_ADMISSION;
    let admin = story.cluster().client(User::Admin);
    let operators: Vec<Grant> = granted(&admin, SYSTEM_NAMESPACE, ACCOUNT).await?.own.into_iter().collect();
    let without: Vec<Grant> =
        operators.iter().filter(|grant| grant.right.resource != asked.resource).cloned().collect();
    ensure!(without.len() + 1 == operators.len(), "the operator has not exactly one right on {}", asked.resource);

    // An account with the operator's rights in this namespace, but for that one.
    let role = story.api::<Role>().create(&PostParams::default(), &role(&without)).await?;
    let robot = story.cluster().service_account(&story.namespace, "robot").await?;
    let account = format!("--serviceaccount={}:robot", story.namespace);
    story.kubectl(User::Admin, &["create", "rolebinding", "robot", "--role=robot", &account]).await?;
    let sets: Api<ReplicaSet> = Api::namespaced(story.cluster().client_of(&robot).await?, &story.namespace);
    let candidate = candidate(&deployment)?;
    wait::answer("the binding to be in force", LIMIT, async || {
        Ok(sets.create(&PostParams::default(), &candidate).await?)
    })
    .await?;
    let attach = async || {
        let labels = json!({"app": "web", "pod-template-hash": "abc"});
        let patch = json!({"metadata": {"labels": labels, "ownerReferences": owner(&deployment, true)}});
        sets.patch("web-abc", &PatchParams::default(), &Patch::Merge(&patch)).await
    };
    let told = attach().await.err().context("it was admitted without the right")?.to_string();
    let why = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on";
    ensure!(told.contains(why), "{told}");

    let whole = Role { rules: self::role(&operators).rules, ..role };
    story.api::<Role>().replace("robot", &PostParams::default(), &whole).await?;
    let attached = wait::answer("the right to be in force", LIMIT, async || Ok(attach().await?)).await?;
    ensure!(json!(attached.owner_references()) == owner(&deployment, true), "{:?}", attached.owner_references());
    Ok(())
}

/// The part of these rights that holds in every namespace.
fn role(grants: &[Grant]) -> Role {
    let everywhere = grants.iter().filter(|grant| grant.namespace.is_none());
    let metadata = ObjectMeta { name: Some("robot".to_owned()), ..ObjectMeta::default() };
    Role { metadata, rules: Some(everywhere.map(PolicyRule::from).collect()) }
}

/// A ReplicaSet that the Deployment ignores.
fn candidate(deployment: &Deployment) -> Result<ReplicaSet> {
    let mut template = json!(deployment.spec.as_ref().context("the Deployment has no spec")?.template);
    template["metadata"]["labels"]["pod-template-hash"] = "abc".into();
    template["spec"]["containers"][0]["image"] = "demo:2.0.0".into();
    let selector = json!({"matchLabels": template["metadata"]["labels"]});
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "web-abc", "ownerReferences": owner(deployment, false)},
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }))?)
}

/// As the Deployment controller writes it, if it is the controller.
fn owner(deployment: &Deployment, controller: bool) -> Value {
    json!([{
        "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name_any(), "uid": deployment.uid(),
        "controller": controller, "blockOwnerDeletion": controller,
    }])
}
