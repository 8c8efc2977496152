//! Deployments without pods: there is nothing to try, and nobody to be served.

use lockkeeper_api::release::{Phase, RevisionStatus, WithoutPods};

use super::{Run, Turn};

impl Run<'_> {
    /// Whether no Deployment asks for any pod.
    pub(super) fn is_empty(&self) -> bool {
        self.world
            .workloads
            .iter()
            .filter_map(|view| view.deployment.as_ref())
            .all(|deployment| deployment.replicas == 0)
    }

    /// Whether nothing can be tried, and nothing could be since the release began.
    pub(super) fn is_untried(&self) -> bool {
        self.is_empty() && self.next.without_pods == Some(WithoutPods::FromTheStart)
    }

    /// Notes that pods have gone. Those that have come where there were none have the steps before them that were passed over.
    pub(super) fn emptied_or_filled(&mut self) -> Option<Turn> {
        match (self.is_empty(), self.next.without_pods) {
            (true, None) => self.next.without_pods = Some(WithoutPods::MidWay),
            (false, Some(WithoutPods::FromTheStart)) => {
                self.next.without_pods = None;
                // What a person has ended or promoted is not tried after all.
                let forced = self.next.step.as_ref().is_some_and(|step| step.ended);
                let passed = self.next.step.as_ref().is_some_and(|step| step.index > 0);
                if passed && !forced && !self.is_handing_over() {
                    self.enter(Phase::Progressing);
                    return Some(self.start_over("there are pods now: the steps start over"));
                }
            }
            (true, Some(_)) | (false, None | Some(WithoutPods::MidWay)) => {}
        }
        None
    }

    /// Whether pods come back after a scale to 0, and the stable version has none yet: a candidate that is there first would have all of
    /// the traffic.
    pub(super) fn is_returning(&mut self, stable: &RevisionStatus, candidate: &RevisionStatus) -> bool {
        let lost = self.next.exposed.is_some() && self.next.weight.unwrap_or_default().confirmed == 0;
        let emptied = lost || self.next.without_pods == Some(WithoutPods::MidWay);
        let returning = emptied && self.comes_back(stable, candidate);
        if !returning && !self.is_empty() {
            self.next.without_pods = None;
        }
        returning
    }

    fn comes_back(&self, stable: &RevisionStatus, candidate: &RevisionStatus) -> bool {
        let parts = self.world.workloads.iter().zip(stable.workloads.iter().zip(&candidate.workloads));
        parts.into_iter().any(|(view, (old, new))| {
            let find = |hash: &str| view.replica_sets.iter().find(|rs| rs.hash == hash);
            view.deployment.as_ref().is_some_and(|deployment| deployment.replicas > 0)
                && find(&old.hash).is_some_and(|old| old.available == 0)
                && find(&new.hash).is_none_or(|new| new.replicas == 0)
        })
    }
}

#[cfg(test)]
mod tests;
