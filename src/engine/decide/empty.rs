//! Deployments without pods: there is nothing to try, and nobody to be served.

use lockkeeper_api::release::RevisionStatus;

use super::Run;

impl Run<'_> {
    /// Whether no Deployment asks for any pod.
    pub(super) fn is_empty(&self) -> bool {
        self.world
            .workloads
            .iter()
            .filter_map(|view| view.deployment.as_ref())
            .all(|deployment| deployment.replicas == 0)
    }

    /// Whether nothing can be tried, and nothing has been: the release began without pods.
    pub(super) fn is_untried(&self) -> bool {
        self.is_empty() && self.next.exposed.is_none()
    }

    /// Whether pods come back after a scale to 0, and the stable version has none yet: a candidate that is there first would have all of
    /// the traffic.
    pub(super) fn is_returning(&self, stable: &RevisionStatus, candidate: &RevisionStatus) -> bool {
        let emptied = self.next.exposed.is_some() && self.next.weight.unwrap_or_default().confirmed == 0;
        let parts = self.world.workloads.iter().zip(stable.workloads.iter().zip(&candidate.workloads));
        emptied
            && parts.into_iter().any(|(view, (old, new))| {
                let find = |hash: &str| view.replica_sets.iter().find(|rs| rs.hash == hash);
                view.deployment.as_ref().is_some_and(|deployment| deployment.replicas > 0)
                    && find(&old.hash).is_some_and(|old| old.available == 0)
                    && find(&new.hash).is_some_and(|new| new.replicas == 0)
            })
    }
}
