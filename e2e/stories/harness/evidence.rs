//! What all stories together show about the operator's rights.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lockkeeper_e2e::rights::{self, AskedByAdmission, Grant, Uses};
use lockkeeper_e2e::{AuditFilter, Cluster, MutatingPolicies, SYSTEM_NAMESPACE, User};
use parking_lot::Mutex;

/// Name of the operator's account.
pub const ACCOUNT: &str = "lockkeeper";
/// How the operator names itself to the API server.
const USER_AGENT: &str = "lockkeeper-operator/";
/// Of every object that we install.
const OURS: &str = "app.kubernetes.io/part-of=lockkeeper";

/// Rights that no request shows.
pub const ASKED_BY_ADMISSION: [AskedByAdmission; 1] = [AskedByAdmission {
    group: "apps",
    resource: "deployments/finalizers",
    verb: "update",
    shown_by: "rights::owner_references",
}];

/// Gathered as each cluster's stories end.
#[derive(Clone, Default)]
pub struct Evidence(Arc<Mutex<Gathered>>);

#[derive(Default)]
struct Gathered {
    granted: BTreeSet<Grant>,
    built_in: BTreeSet<Grant>,
    uses: Uses,
    faults: BTreeSet<String>,
    mutating_policies: bool,
}

impl Evidence {
    /// Reads the audit log and the roles of a cluster whose stories are over; a cluster without an audit log shows nothing.
    pub async fn gather(&self, cluster: &Cluster, policies: MutatingPolicies) -> Result<()> {
        let Ok(log) = cluster.audit_log() else { return Ok(()) };
        let admin = cluster.client(User::Admin);
        let granted = rights::granted(&admin, SYSTEM_NAMESPACE, ACCOUNT).await?;
        let entries = log.read(&AuditFilter { user_agent: Some(USER_AGENT.to_owned()), ..AuditFilter::default() })?;
        let too_wide = too_wide(cluster).await?;
        let account = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{ACCOUNT}");
        let others = entries.iter().map(|entry| entry.user()).filter(|user| *user != account);
        let others = others.map(|user| format!("an operator ran as {user} instead of {account}"));
        let mut gathered = self.0.lock();
        gathered.faults.extend(others.chain(too_wide));
        gathered.granted.extend(granted.own);
        gathered.built_in.extend(granted.built_in);
        gathered.mutating_policies |= policies == MutatingPolicies::Served;
        rights::add(&mut gathered.uses, rights::uses(&entries));
        Ok(())
    }

    /// The rights that the operator has are exactly those that it has used, on all clusters together.
    pub fn used_are_granted(&self) -> Result<()> {
        let mut gathered = self.0.lock();
        let Gathered { granted, built_in, uses, faults, mutating_policies } = &mut *gathered;
        ensure!(!uses.is_empty(), "the audit logs show no request of {USER_AGENT}");
        // No API server here knows them.
        granted.retain(|grant| *mutating_policies || !grant.right.resource.starts_with("mutatingadmissionpolic"));
        println!("{}", rights::table(granted, &ASKED_BY_ADMISSION, uses));
        faults.extend(rights::difference(granted, built_in, &ASKED_BY_ADMISSION, uses).faults());
        let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
        ensure!(faults.is_empty(), "used and granted differ:\n{}", faults.join("\n"));
        println!("used = granted: {} rights", granted.len());
        Ok(())
    }
}

/// What is wider than any role of ours may be, also of the roles for people.
async fn too_wide(cluster: &Cluster) -> Result<Vec<String>> {
    let admin = cluster.client(User::Admin);
    let ours = ListParams::default().labels(OURS);
    let of_cluster = Api::<ClusterRole>::all(admin.clone()).list(&ours).await?.into_iter();
    let of_cluster = of_cluster.map(|role| (role.name_any(), role.rules));
    let of_namespaces = Api::<Role>::all(admin).list(&ours).await?.into_iter();
    let roles: Vec<_> = of_cluster.chain(of_namespaces.map(|role| (role.name_any(), role.rules))).collect();
    ensure!(!roles.is_empty(), "there is no role with the label {OURS}");
    let faults = roles.iter().flat_map(|(name, rules)| {
        let faults = rules.iter().flatten().flat_map(rights::too_wide);
        faults.map(move |fault| format!("role {name} has {fault}"))
    });
    Ok(faults.collect())
}
