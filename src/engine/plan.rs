//! What the user wants, parsed: the raw resource never passes beyond.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{
    Release,
    names::{FINALIZER, REQUESTED_BY},
    release::{CanaryScale, Gates, Step, Strategy, Workload},
    scalar::Duration,
};
use serde_json::json;

use crate::{
    analysis::{ParsedPolicy, PolicyPlan},
    digest::digest,
    traffic::Backends,
};

/// What the installation decides, not the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The operator's own namespace: its windows are the platform's.
    pub operator_namespace: String,
    /// How long the data plane may take after a gateway has accepted a route.
    pub settle: SignedDuration,
    /// Whether managed Deployments stay paused at rest, because no admission policy pauses them.
    pub paused_at_rest: bool,
    /// User names of service accounts whose Decisions count.
    pub approving_service_accounts: Vec<String>,
}

/// The RollbackPolicies that a Release names, by name: each that there is, or why this Release cannot use it.
pub type Policies = BTreeMap<String, Result<ParsedPolicy, String>>;

/// A Release, parsed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Namespace of the Release.
    pub namespace: String,
    /// Name of the Release.
    pub name: String,
    /// UID of the Release.
    pub uid: String,
    /// When it was created, in whole seconds: what was decided before was about another of its name.
    pub created: Option<Timestamp>,
    /// Its resource version.
    pub resource_version: String,
    /// Its generation.
    pub generation: Option<i64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Who wrote its version, as the API server says.
    pub requested_by: Option<String>,
    /// The version's name, where the user gives one.
    pub version: Option<String>,
    /// The workloads.
    pub workloads: Vec<WorkloadPlan>,
    /// The steps.
    pub steps: Vec<Step>,
    /// The gates of the spec.
    pub gates: Gates,
    /// The policy that is armed throughout.
    pub policy: Option<Arc<PolicyPlan>>,
    /// The policies of analysis steps, by name.
    pub analyses: BTreeMap<String, Arc<PolicyPlan>>,
    /// How long pods and traffic may be waited for.
    pub progress_deadline: SignedDuration,
    /// `spec.suspend`.
    pub suspend: bool,
    /// What the installation decides.
    pub setting: Setting,
    /// What makes the spec unable to work, apart from the world.
    pub faults: Vec<String>,
}

/// One workload of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadPlan {
    /// Name of the Deployment.
    pub deployment: String,
    /// Images by container, where the Release carries the version.
    pub images: BTreeMap<String, String>,
    /// The Services, if the workload has traffic.
    pub services: Option<Services>,
    /// Names of the HTTPRoutes.
    pub routes: Vec<String>,
    /// Further Services to pin.
    pub pins: Vec<String>,
}

/// The Services of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// The stable one.
    pub stable: String,
    /// The candidate's.
    pub canary: String,
}

impl Services {
    /// As backends of a route.
    pub fn backends(&self) -> Backends<'_> {
        Backends { stable: &self.stable, canary: &self.canary }
    }
}

impl WorkloadPlan {
    fn parse(workload: &Workload) -> Self {
        let services = workload.service.as_ref().map(|stable| Services {
            stable: stable.clone(),
            canary: workload.canary_service.clone().unwrap_or_else(|| format!("{stable}-canary")),
        });
        Self {
            deployment: workload.target.name.clone(),
            images: workload.images.iter().map(|(name, image)| (name.clone(), image.0.clone())).collect(),
            services,
            routes: workload.routes.iter().map(|route| route.name.clone()).collect(),
            pins: workload.pin.clone(),
        }
    }

    /// Whether a route carries the weights; otherwise the number of replicas approximates them.
    pub fn routed(&self) -> bool {
        !self.routes.is_empty()
    }
}

impl Plan {
    /// Parses a Release with the policies it names.
    pub fn parse(release: &Release, policies: &Policies, setting: Setting) -> Self {
        let metadata = &release.metadata;
        let spec = &release.spec;
        let Strategy::Canary(canary) = &spec.strategy;
        let mut faults = Vec::new();
        let mut policy = |name: &str, field: &str| {
            let found = match policies.get(name) {
                Some(Ok(parsed)) => parsed.clone().map_err(|found| {
                    found.into_iter().map(|fault| format!("RollbackPolicy {name}: {fault}")).collect()
                }),
                Some(Err(refusal)) => Err(vec![format!("{field}: {refusal}")]),
                None => Err(vec![format!(
                    "{field}: RollbackPolicy {name} does not exist in this namespace or in {}: create it",
                    setting.operator_namespace
                )]),
            };
            found.map_err(|found| faults.extend(found)).ok()
        };
        let armed = spec.rollback_policy.as_deref().and_then(|name| policy(name, "rollbackPolicy"));
        let mut analyses = BTreeMap::new();
        for (index, step) in canary.steps.iter().enumerate() {
            if let Step::Analysis(step) = step
                && !analyses.contains_key(&step.policy)
                && let Some(plan) = policy(&step.policy, &format!("steps[{index}].analysis"))
            {
                analyses.insert(step.policy.clone(), plan);
            }
        }
        faults.extend(approval_faults(&canary.steps, &spec.gates));
        faults.sort();
        faults.dedup();
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            generation: metadata.generation,
            labels: metadata.labels.clone().unwrap_or_default(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            requested_by: metadata.annotations.as_ref().and_then(|a| a.get(REQUESTED_BY)).cloned(),
            version: spec.version.clone(),
            workloads: spec.workloads.iter().map(WorkloadPlan::parse).collect(),
            steps: canary.steps.clone(),
            gates: spec.gates.clone(),
            policy: armed,
            analyses,
            progress_deadline: spec.progress_deadline.into(),
            suspend: spec.suspend,
            setting,
            faults,
        }
    }

    /// Whether the Release carries our finalizer.
    pub fn has_finalizer(&self) -> bool {
        self.finalizers.iter().any(|name| name == FINALIZER)
    }

    /// Digest of the steps up to and including this one.
    pub fn steps_digest(&self, index: usize) -> String {
        digest(&json!(self.steps.iter().take(index + 1).collect::<Vec<_>>()))
    }

    /// How long the policy stays armed after promotion.
    pub fn bake(&self) -> Duration {
        self.policy.as_ref().map_or(Duration::default(), |policy| policy.bake)
    }
}

/// What a step asks for: the last weight and scale up to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The candidate's share of the traffic, in percent.
    pub weight: u8,
    /// The candidate's scale.
    pub scale: CanaryScale,
}

impl Target {
    /// What the steps up to and including `index` ask for; an index behind the last step asks for everything.
    pub fn at(steps: &[Step], index: usize) -> Self {
        let matching = CanaryScale::MatchTrafficWeight(lockkeeper_api::scalar::True);
        if index >= steps.len() {
            return Self { weight: 100, scale: matching };
        }
        let mut target = Self { weight: 0, scale: matching };
        for step in &steps[..=index] {
            match step {
                Step::SetWeight(weight) => target.weight = *weight,
                Step::SetCanaryScale(scale) => target.scale = scale.clone(),
                Step::Pause(_) | Step::Analysis(_) | Step::Approval(_) => {}
            }
        }
        target
    }

    /// How many pods the candidate needs beside a workload of this many replicas.
    pub fn replicas(&self, of: u32, routed: bool) -> u32 {
        if of == 0 {
            return 0;
        }
        let share = |percent: u8| u32::try_from((u64::from(of) * u64::from(percent)).div_ceil(100)).unwrap_or(of);
        match self.scale {
            CanaryScale::Replicas(number) => number,
            CanaryScale::Weight(percent) => share(percent),
            CanaryScale::MatchTrafficWeight(_) if self.weight == 0 => 0,
            CanaryScale::MatchTrafficWeight(_) if routed || self.weight == 100 => share(self.weight),
            // Traffic by pod count: c / (c + of) is the share, at least one pod, at most as many as the stable version has.
            CanaryScale::MatchTrafficWeight(_) => {
                let (of, weight) = (u64::from(of), u64::from(self.weight));
                u32::try_from((of * weight / (100 - weight)).clamp(1, of.max(1))).unwrap_or(1)
            }
        }
    }
}

/// Steps that wait for no gate, and gates that no step asks for.
fn approval_faults(steps: &[Step], gates: &Gates) -> Vec<String> {
    let mut faults = Vec::new();
    let mut asked = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Step::Approval(step) = step else { continue };
        asked.push(step.name.as_str());
        if !gates.approvals.iter().any(|gate| gate.name == step.name) {
            faults.push(format!("steps[{index}].approval: no gate {} in gates.approvals: add it there", step.name));
        }
    }
    for gate in &gates.approvals {
        if gate.before.is_none() && !asked.contains(&gate.name.as_str()) {
            faults.push(format!(
                "gates.approvals: {} is never asked for: give it before, or an approval step",
                gate.name
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests;
