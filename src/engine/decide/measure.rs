//! What is measured now, and about which version.

use jiff::Timestamp;
use lockkeeper_api::release::{Phase, RevisionStatus};

use super::{Event, Run};
use crate::analysis::{self, Facts, NOTHING, PolicyPlan, Side};

impl<'a> Run<'a> {
    /// The policies whose checks are armed now, each with the time from which it counts.
    pub(super) fn armed(&self) -> Vec<(&'a PolicyPlan, Timestamp)> {
        let in_flight = match self.next.phase {
            Phase::Progressing | Phase::Paused | Phase::Promoting | Phase::Baking => true,
            Phase::Stable
            | Phase::Waiting
            | Phase::RollingBack
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Rejected
            | Phase::Invalid => false,
        };
        let mut armed = Vec::new();
        // Scaled to 0 there is nothing to measure; and nothing counts until there is.
        if !in_flight || self.is_empty() {
            return armed;
        }
        let exposed = self.next.exposed.as_ref().map(|t| t.0);
        armed.extend(self.plan.policy.as_deref().zip(exposed));
        if let Some((policy, started)) = self.analysis()
            && armed.iter().all(|(armed, _)| armed.name != policy.name)
        {
            armed.push((policy, exposed.map_or(started, |exposed| started.max(exposed))));
        }
        armed
    }

    /// Folds the measurements that are new into the checks.
    pub(super) fn measured(&mut self) {
        let policies = self.armed();
        for (policy, _) in policies {
            let before = self.next.checks.clone();
            analysis::fold(policy, &mut self.next.checks, &self.world.measurements);
            for check in &self.next.checks {
                let old = before.iter().find(|old| old.name == check.name).map_or(0, |old| old.failures);
                if check.failures > old {
                    let note = check.message.clone().unwrap_or_else(|| format!("{} failed", check.name));
                    self.events.push(Event { reason: "CheckFailed".into(), warning: true, note });
                }
            }
        }
    }

    /// What placeholders in queries stand for.
    pub(super) fn facts(&self) -> Facts {
        let side = |revision: Option<&RevisionStatus>| {
            revision.map_or_else(|| Side { pods: NOTHING.to_owned(), ..Side::default() }, Side::of)
        };
        // After promotion the checks go on for the same version, against the one before.
        let (candidate, stable) = match &self.next.candidate {
            Some(candidate) => (Some(candidate), self.next.stable.as_ref()),
            None => (self.next.stable.as_ref(), self.next.previous.as_ref()),
        };
        Facts {
            namespace: self.plan.namespace.clone(),
            release: self.plan.name.clone(),
            version: candidate.map(|c| c.version.clone()).unwrap_or_default(),
            candidate: side(candidate),
            stable: side(stable),
        }
    }

    /// The pod-template-hashes whose pods matter now.
    pub(super) fn watched(&self) -> Vec<String> {
        let revision = match self.next.phase {
            Phase::Progressing | Phase::Paused | Phase::Promoting => self.next.candidate.as_ref(),
            Phase::Baking => self.next.stable.as_ref(),
            Phase::Stable
            | Phase::Waiting
            | Phase::RollingBack
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Rejected
            | Phase::Invalid => None,
        };
        revision.into_iter().flat_map(|r| r.workloads.iter().map(|w| w.hash.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
