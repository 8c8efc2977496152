//! What the API server's bindings grant an account.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::ListParams;
use kube::core::ObjectMeta;
use kube::{Api, Client, ResourceExt};

use super::{Grant, grants};

/// Label of the bindings that every API server makes for itself.
const BUILT_IN: &str = "kubernetes.io/bootstrapping";

/// What an account may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Bound to the account, or by anybody but Kubernetes to a group that it is in.
    pub own: BTreeSet<Grant>,
    /// Bound by Kubernetes to groups such as everybody who is authenticated.
    pub built_in: BTreeSet<Grant>,
}

/// All that is bound to the service account and to its groups, now.
///
/// # Errors
/// If the client may not list roles and bindings, or a role that is bound does not exist.
pub async fn granted(client: &Client, namespace: &str, account: &str) -> Result<Granted> {
    let all = ListParams::default();
    let cluster_roles = Api::<ClusterRole>::all(client.clone()).list(&all).await?;
    let roles = Api::<Role>::all(client.clone()).list(&all).await?;
    let by_name = cluster_roles.iter().map(|role| ((None, role.name_any()), role.rules.clone().unwrap_or_default()));
    let in_namespaces =
        roles.iter().map(|role| ((role.namespace(), role.name_any()), role.rules.clone().unwrap_or_default()));
    let rules: BTreeMap<(Option<String>, String), Vec<PolicyRule>> = by_name.chain(in_namespaces).collect();

    let mut granted = Granted::default();
    let mut add = |subjects: Option<&Vec<Subject>>, reference: &RoleRef, metadata: &ObjectMeta| {
        if !subjects.into_iter().flatten().any(|subject| is_about(subject, namespace, account)) {
            return Ok(());
        }
        let place = metadata.namespace.clone();
        let home = place.clone().filter(|_| reference.kind == "Role");
        let Some(rules) = rules.get(&(home, reference.name.clone())) else {
            bail!("{} {} is bound to {account}, and does not exist", reference.kind, reference.name);
        };
        let built_in = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(BUILT_IN));
        let of = if built_in { &mut granted.built_in } else { &mut granted.own };
        of.extend(grants(rules, place.as_deref()));
        Ok(())
    };
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&all).await? {
        add(binding.subjects.as_ref(), &binding.role_ref, &binding.metadata)?;
    }
    for binding in Api::<RoleBinding>::all(client.clone()).list(&all).await? {
        add(binding.subjects.as_ref(), &binding.role_ref, &binding.metadata)?;
    }
    Ok(granted)
}

/// Whether a subject is the account, or a group that it is in.
fn is_about(subject: &Subject, namespace: &str, account: &str) -> bool {
    let groups = ["system:authenticated", "system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
    match subject.kind.as_str() {
        "ServiceAccount" => subject.name == account && subject.namespace.as_deref() == Some(namespace),
        "User" => subject.name == format!("system:serviceaccount:{namespace}:{account}"),
        "Group" => groups.contains(&subject.name.as_str()),
        _ => false,
    }
}
