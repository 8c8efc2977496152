//! Roles and policies, as installations other than the default one have them.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::DynamicObject;
use lockkeeper_e2e::Cluster;
use lockkeeper_operator::policies::{Guard, PolicyMode, PolicySettings, guard, render};

use super::rendered::{Rendered, directory};

const OF_THE_CLUSTER: [&str; 5] = [
    "namespaces",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
];

/// The rules of a role, each as text.
fn rules(role: &DynamicObject) -> BTreeSet<String> {
    role.data["rules"].as_array().into_iter().flatten().map(ToString::to_string).collect()
}

fn of_the_cluster(rule: &str) -> bool {
    OF_THE_CLUSTER.iter().any(|resource| rule.contains(&format!("\"{resource}\"")))
}

pub async fn operator(cluster: &Cluster) -> Result<()> {
    let source = fs::read_to_string(directory("charts/lockkeeper/files/rbac/operator.yaml"))?;
    let source: Vec<DynamicObject> = serde_saphyr::from_multiple(&source)?;
    let source = source.iter().find(|object| object.name_any() == "lockkeeper-operator").context("no ClusterRole")?;
    let everywhere = Rendered::of(cluster, &[]).await?;
    ensure!(rules(everywhere.one("ClusterRole", "lockkeeper-operator")?) == rules(source), "the rules differ");

    let some =
        Rendered::within(cluster, "platform", &["watchNamespaces={shop,bank}", "serviceAccount.name=sa"]).await?;
    let wide = rules(some.one("ClusterRole", "lockkeeper-operator")?);
    ensure!(wide.iter().all(|rule| of_the_cluster(rule)), "cluster-wide: {wide:?}");
    let narrow: BTreeSet<String> = rules(source).difference(&wide).cloned().collect();
    ensure!(!narrow.iter().any(|rule| of_the_cluster(rule)), "in namespaces these rules are void: {narrow:?}");
    for namespace in ["shop", "bank", "platform"] {
        let of = |kind: &'static str| {
            some.all(kind).find(move |object| {
                object.name_any() == "lockkeeper-operator" && object.namespace().as_deref() == Some(namespace)
            })
        };
        ensure!(rules(of("Role").context("no Role")?) == narrow, "the rules in {namespace} differ");
        let subject = &of("RoleBinding").context("no RoleBinding")?.data["subjects"][0];
        ensure!(subject["name"] == "sa" && subject["namespace"] == "platform", "{namespace} is bound to {subject}");
    }
    let none =
        Rendered::of(cluster, &["rbac.create=false", "roles.create=false", "serviceAccount.create=false"]).await?;
    let kinds = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"];
    ensure!(kinds.iter().all(|kind| none.all(kind).next().is_none()), "roles are rendered all the same");
    Ok(())
}

pub async fn people(cluster: &Cluster) -> Result<()> {
    let aggregated = async |settings: &[&str]| -> Result<BTreeSet<String>> {
        let rendered = Rendered::of(cluster, settings).await?;
        let roles = rendered.all("ClusterRole");
        let labels = roles.flat_map(|role| role.labels().iter().map(move |label| (role.name_any(), label)));
        let to = |(role, (label, value)): (String, (&String, &String))| {
            let to = label.strip_prefix("rbac.authorization.k8s.io/aggregate-to-")?;
            (value == "true").then(|| format!("{role} in {to}"))
        };
        Ok(labels.filter_map(to).collect())
    };
    for (settings, expected) in [
        (&[][..], &["lockkeeper-viewer in view"][..]),
        (&["roles.aggregate.view=false"], &[]),
        (
            &["roles.aggregate.edit=true", "roles.aggregate.admin=true"],
            &["lockkeeper-governor in admin", "lockkeeper-releaser in edit", "lockkeeper-viewer in view"],
        ),
    ] {
        let found = aggregated(settings).await?;
        ensure!(found.iter().map(String::as_str).eq(expected.iter().copied()), "{settings:?}: {found:?}");
    }
    Ok(())
}

/// By the operator's own measure.
pub async fn policies(cluster: &Cluster) -> Result<()> {
    for (mode, name) in [(PolicyMode::Mutating, "Mutating"), (PolicyMode::Validating, "Validating")] {
        let settings = [
            format!("policies.mode={name}"),
            "serviceAccount.name=releases".to_owned(),
            "approvingServiceAccounts={robots:approver,ci:bot}".to_owned(),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let rendered = Rendered::within(cluster, "platform", &settings).await?;
        let expected = render(&PolicySettings {
            operator_user: "system:serviceaccount:platform:releases".to_owned(),
            approving_service_accounts: vec!["robots:approver".parse()?, "ci:bot".parse()?],
            mode,
        })?;
        let found = guard(&rendered.0, &expected);
        ensure!(found == Guard::Intact, "{name}: {found:?}");
        let policies = rendered.0.iter().filter(|object| {
            object.types.as_ref().is_some_and(|types| types.api_version.starts_with("admissionregistration"))
        });
        ensure!(policies.count() == expected.len(), "{name}: there are policies of the other mode");
    }
    let none = Rendered::of(cluster, &["policies.mode=None"]).await?;
    ensure!(none.all("ValidatingAdmissionPolicy").next().is_none(), "policies are rendered all the same");
    Ok(())
}
