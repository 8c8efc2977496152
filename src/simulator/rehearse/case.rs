//! One Release with all that the engine looks at before anything runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::SignedDuration;
use lockkeeper_api::{
    DeploymentWindowSpec, Release, RollbackPolicySpec,
    release::{Step, Strategy},
};
use lockkeeper_engine::{
    analysis::PolicyPlan,
    plan::{Plan, Policies, Setting},
    sharing::{Caller, Located},
    window::{ReleaseFacts, WindowView},
};
use serde_json::Value;

use super::Manifest;
use crate::{
    api::{
        Kind,
        object::{name, namespace},
    },
    run::PLATFORM,
};

/// How long data planes may take after a gateway has accepted a route, as the operator's default has it.
pub const SETTLE: SignedDuration = SignedDuration::from_secs(2);

/// One Release, parsed, with policies and windows.
#[derive(Clone, Debug)]
pub struct Case {
    /// The Release as it is written.
    pub release: Release,
    /// The engine's plan of it.
    pub plan: Plan,
    /// The policies that it names and may use, by name.
    pub policies: BTreeMap<String, RollbackPolicySpec>,
    /// Where each of them is, by name.
    pub homes: BTreeMap<String, String>,
    /// The windows of its namespace and of the platform's.
    pub windows: Vec<WindowView>,
    /// Labels of its namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Replicas of each workload's Deployment, where it is among the files.
    pub replicas: Vec<Option<u32>>,
    /// What cannot be read although its schema admits it.
    pub faults: Vec<String>,
}

impl Case {
    /// All Releases of the files, by namespace and name.
    pub fn all(manifest: &Manifest) -> Vec<Self> {
        let mut cases: Vec<Self> =
            manifest.of(Kind::Release).filter_map(|release| Self::of(manifest, release).ok()).collect();
        cases.sort_by_key(Self::title);
        cases
    }

    /// One Release of the files.
    ///
    /// # Errors
    /// If it cannot be read although its schema admits it.
    fn of(manifest: &Manifest, release: &Value) -> Result<Self, serde_json::Error> {
        let home = namespace(release);
        let parsed: Release = serde_json::from_value(release.clone())?;
        let namespace_labels = labels(manifest, home);
        let mut faults = Vec::new();
        let (mut policies, mut homes, mut found) = (BTreeMap::new(), BTreeMap::new(), Policies::new());
        for called in policy_names(&parsed) {
            let Some(policy) = [home, PLATFORM].iter().find_map(|at| manifest.find(Kind::RollbackPolicy, at, called))
            else {
                continue;
            };
            match serde_json::from_value::<RollbackPolicySpec>(policy["spec"].clone()) {
                Ok(spec) => {
                    let located = Located { namespace: namespace(policy), name: called, spec: &spec };
                    let refusal = located.refusal(&Caller { namespace: home, labels: &namespace_labels });
                    homes.insert(called.to_owned(), namespace(policy).to_owned());
                    if refusal.is_none() {
                        policies.insert(called.to_owned(), spec.clone());
                    }
                    let parsed = PolicyPlan::parse(called, &spec).map(Arc::new);
                    found.insert(called.to_owned(), refusal.map_or(Ok(parsed), Err));
                }
                Err(error) => faults.push(format!("RollbackPolicy {called}: {error}")),
            }
        }
        let mut windows = Vec::new();
        for window in manifest.of(Kind::DeploymentWindow) {
            if namespace(window) != home && namespace(window) != PLATFORM {
                continue;
            }
            match serde_json::from_value::<DeploymentWindowSpec>(window["spec"].clone()) {
                Ok(spec) => windows.push(WindowView::new(namespace(window), name(window), spec)),
                Err(error) => faults.push(format!("DeploymentWindow {}: {error}", name(window))),
            }
        }
        let plan = Plan::parse(&parsed, &found, setting());
        let replicas = plan.workloads.iter().map(|workload| {
            let deployment = manifest.find(Kind::Deployment, home, &workload.deployment)?;
            u32::try_from(deployment["spec"]["replicas"].as_u64().unwrap_or(1)).ok()
        });
        let replicas = replicas.collect();
        Ok(Self { release: parsed, plan, policies, homes, windows, namespace_labels, replicas, faults })
    }

    /// `shop/checkout`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.plan.namespace, self.plan.name)
    }

    /// What windows want to know of it.
    pub fn facts(&self) -> ReleaseFacts<'_> {
        ReleaseFacts {
            namespace: &self.plan.namespace,
            labels: &self.plan.labels,
            namespace_labels: &self.namespace_labels,
        }
    }

    /// The windows that are about it.
    pub fn windows_of_it(&self) -> impl Iterator<Item = &WindowView> {
        self.windows.iter().filter(|window| window.selects(&self.facts(), PLATFORM))
    }

    /// The policy that is armed throughout, as it is written.
    pub fn armed(&self) -> Option<(&str, &RollbackPolicySpec)> {
        let name = self.release.spec.rollback_policy.as_deref()?;
        Some((name, self.policies.get(name)?))
    }
}

/// What the installation decides, as it is by default.
fn setting() -> Setting {
    Setting {
        operator_namespace: PLATFORM.into(),
        settle: SETTLE,
        paused_at_rest: false,
        approving_service_accounts: Vec::new(),
    }
}

/// Labels of a namespace: those in the files, and the one that Kubernetes adds.
pub fn labels(manifest: &Manifest, home: &str) -> BTreeMap<String, String> {
    let written = manifest.find(Kind::Namespace, "", home);
    let written = written.and_then(|namespace| namespace["metadata"]["labels"].as_object()).into_iter().flatten();
    let own = [("kubernetes.io/metadata.name".to_owned(), home.to_owned())];
    written.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).chain(own).collect()
}

/// The policies that a Release names.
pub fn policy_names(release: &Release) -> BTreeSet<&str> {
    let Strategy::Canary(canary) = &release.spec.strategy;
    let steps = canary.steps.iter().filter_map(|step| match step {
        Step::Analysis(analysis) => Some(analysis.policy.as_str()),
        Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Pause(_) | Step::Approval(_) => None,
    });
    release.spec.rollback_policy.as_deref().into_iter().chain(steps).collect()
}
