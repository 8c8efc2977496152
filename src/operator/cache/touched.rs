//! Who should look at a change.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_api::{
    Release,
    names::RELEASE,
    release::{Step, Strategy},
};

use super::{Key, Resource, State};

/// What has to be looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Releases.
    pub releases: BTreeSet<Key>,
    /// Windows.
    pub windows: BTreeSet<Key>,
    /// RollbackPolicies.
    pub policies: BTreeSet<Key>,
    /// Deployments that a Release may have left.
    pub deployments: BTreeSet<Key>,
    /// What other objects see of a Release, so that a change of only its status does not wake them.
    facts: Option<Facts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    labels: BTreeMap<String, String>,
    policies: BTreeSet<Key>,
    deployments: BTreeSet<Key>,
    /// Whether there is a stable version, about whose pods a policy can ask.
    stable: bool,
}

impl Touched {
    /// Who looks at an object as it is held now.
    pub(super) fn by(state: &State, resource: Resource, key: &Key, operator_namespace: &str) -> Self {
        let mut touched = Self::default();
        let users = |resource, name: &str| state.users.of(resource, &Key::new(&key.namespace, name));
        let all = |namespace: &str| -> BTreeSet<Key> {
            if namespace == operator_namespace {
                state.releases.all().map(|(key, _)| key.clone()).collect()
            } else {
                state.releases.within(namespace).map(|(key, _)| key.clone()).collect()
            }
        };
        match resource {
            Resource::Release => {
                touched.releases.insert(key.clone());
                if let Some(release) = state.releases.get(key) {
                    let policies = policies(release).flat_map(|name| meant(name, &key.namespace, operator_namespace));
                    touched.facts = Some(Facts {
                        labels: release.metadata.labels.clone().unwrap_or_default(),
                        policies: policies.collect(),
                        deployments: workloads(release).map(|name| Key::new(&key.namespace, name)).collect(),
                        stable: release.status.as_ref().is_some_and(|status| status.stable.is_some()),
                    });
                }
                for namespace in BTreeSet::from([operator_namespace, &key.namespace]) {
                    touched.windows.extend(state.windows.within(namespace).map(|(key, _)| key.clone()));
                }
            }
            Resource::DeploymentWindow => {
                touched.windows.insert(key.clone());
                touched.releases = all(&key.namespace);
            }
            Resource::RollbackPolicy => {
                // The platform's policy of the same name is meant no more, or again.
                touched.policies.extend(meant(&key.name, &key.namespace, operator_namespace));
                touched.releases = users(resource, &key.name);
            }
            Resource::Decision => {
                let release = state.decisions.get(key).map(|decision| Key::new(&key.namespace, &decision.spec.release));
                touched.releases.extend(release);
            }
            Resource::Deployment => {
                touched.releases = users(resource, &key.name);
                touched.deployments.extend(left_by(state, key).map(|_| key.clone()));
            }
            Resource::Service | Resource::HTTPRoute => {
                touched.releases = users(resource, &key.name);
            }
            Resource::ReplicaSet => {
                let owner = state.replica_sets.get(key).and_then(|entry| entry.deployment.as_deref());
                touched.releases = owner.map(|name| users(Resource::Deployment, name)).unwrap_or_default();
            }
            Resource::ControllerRevision => {
                let owner = state.saved.get(key).and_then(|entry| entry.deployment.as_deref());
                touched.releases = owner.map(|name| users(Resource::Deployment, name)).unwrap_or_default();
            }
            Resource::EndpointSlice => {
                let service = state.slices.get(key).and_then(|slice| slice.service.as_deref());
                touched.releases = service.map(|name| users(Resource::Service, name)).unwrap_or_default();
            }
            Resource::Namespace => {
                touched.releases = state.releases.within(&key.name).map(|(key, _)| key.clone()).collect();
                touched.windows = state.windows.within(operator_namespace).map(|(key, _)| key.clone()).collect();
                let named = state.releases.within(&key.name).flat_map(|(_, release)| policies(release));
                touched.policies = named.map(|name| Key::new(operator_namespace, name)).collect();
            }
            Resource::ValidatingAdmissionPolicy
            | Resource::ValidatingAdmissionPolicyBinding
            | Resource::MutatingAdmissionPolicy
            | Resource::MutatingAdmissionPolicyBinding => {
                touched.releases = state.releases.all().map(|(key, _)| key.clone()).collect();
            }
        }
        touched
    }

    /// Who looks at a Release that could never be read and is gone now: the Deployments that name it.
    pub(super) fn left(state: &State, release: &Key) -> Self {
        let named = state.deployments.within(&release.namespace);
        let named = named.filter(|(_, entry)| entry.marks.get(RELEASE) == Some(&release.name));
        Self { deployments: named.map(|(key, _)| key.clone()).collect(), ..Self::default() }
    }

    /// Who looks at either of two states of an object.
    pub(super) fn merge(mut self, after: Self) -> Self {
        self.releases.extend(after.releases);
        if self.facts == after.facts && self.facts.is_some() {
            self.windows.clear();
        } else {
            self.windows.extend(after.windows);
            for facts in self.facts.take().into_iter().chain(after.facts) {
                self.policies.extend(facts.policies);
                // Whoever is still managed finds nothing to do.
                self.deployments.extend(facts.deployments);
            }
        }
        self.policies.extend(after.policies);
        self.deployments.extend(after.deployments);
        self.facts = None;
        self
    }
}

/// Which Releases name an object; for a policy, also one that they would mean if there were none nearer.
#[derive(Debug, Default)]
pub(super) struct Users(BTreeMap<(Resource, Key), Vec<Key>>);

impl Users {
    pub(super) fn of(&self, resource: Resource, key: &Key) -> BTreeSet<Key> {
        self.0.get(&(resource, key.clone())).into_iter().flatten().cloned().collect()
    }

    /// A Release is now `after`, and was `before`.
    pub(super) fn replace(
        &mut self,
        key: &Key,
        before: Option<&Release>,
        after: Option<&Release>,
        operator_namespace: &str,
    ) {
        let named = |release: Option<&Release>| {
            release.map(|release| named(key, release, operator_namespace)).unwrap_or_default()
        };
        let (before, after) = (named(before), named(after));
        for object in before.difference(&after) {
            if let Some(users) = self.0.get_mut(object) {
                users.retain(|user| user != key);
                if users.is_empty() {
                    self.0.remove(object);
                }
            }
        }
        for object in after.difference(&before) {
            // Most objects have one user.
            self.0.entry(object.clone()).or_insert_with(|| Vec::with_capacity(1)).push(key.clone());
        }
    }
}

fn named(key: &Key, release: &Release, operator_namespace: &str) -> BTreeSet<(Resource, Key)> {
    let at = |resource, name: &str| (resource, Key::new(&key.namespace, name));
    let policies = policies(release).flat_map(|name| meant(name, &key.namespace, operator_namespace));
    let mut named: BTreeSet<_> = policies.map(|policy| (Resource::RollbackPolicy, policy)).collect();
    for workload in &release.spec.workloads {
        named.insert(at(Resource::Deployment, &workload.target.name));
        if let Some(stable) = &workload.service {
            let canary = workload.canary_service.clone().unwrap_or_else(|| format!("{stable}-canary"));
            named.extend([at(Resource::Service, stable), at(Resource::Service, &canary)]);
        }
        named.extend(workload.pin.iter().map(|name| at(Resource::Service, name)));
        named.extend(workload.routes.iter().map(|route| at(Resource::HTTPRoute, &route.name)));
    }
    named
}

/// The Release that a Deployment names although it does not manage it: it is gone, or has let go of the Deployment. One that cannot
/// be read is still there.
pub fn left_by<'a>(state: &'a State, deployment: &Key) -> Option<&'a str> {
    let view = state.deployments.get(deployment)?;
    let name = view.marks.get(RELEASE).filter(|_| !view.deleting)?;
    let release = Key::new(&deployment.namespace, name);
    let managed = match state.releases.get(&release) {
        Some(release) => workloads(release).any(|workload| workload == deployment.name),
        None => state.unreadable.contains_key(&(Resource::Release, release)),
    };
    (!managed).then_some(name)
}

/// Names of the Deployments that a Release manages.
fn workloads(release: &Release) -> impl Iterator<Item = &str> {
    release.spec.workloads.iter().map(|workload| workload.target.name.as_str())
}

/// The policies that a Release of this namespace may mean by a name: its own namespace's, else the platform's.
pub(super) fn meant(name: &str, namespace: &str, operator_namespace: &str) -> [Key; 2] {
    [namespace, operator_namespace].map(|namespace| Key::new(namespace, name))
}

/// Names of the policies that a Release uses.
pub fn policies(release: &Release) -> impl Iterator<Item = &str> {
    let Strategy::Canary(canary) = &release.spec.strategy;
    let analyses = canary.steps.iter().filter_map(|step| match step {
        Step::Analysis(step) => Some(step.policy.as_str()),
        Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Pause(_) | Step::Approval(_) => None,
    });
    release.spec.rollback_policy.as_deref().into_iter().chain(analyses)
}
