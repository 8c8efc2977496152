//! What ends the way forward: people, another version asked for, windows, checks and pods.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    deployment_window::Exposure,
    release::{GateKind, GateState, GoingBackCause, OnClose, Phase, RevisionStatus},
    rollback_policy::{OnFailure, OnInconclusive},
};

use super::{Run, Turn, earliest};
use crate::{analysis, gate};

impl Run<'_> {
    /// Anything that ends the way forward: a command, another version asked for, a verdict.
    pub(super) fn turn_back(&mut self) -> Option<Turn> {
        if let Some(command) = self.take(&[Verdict::Abort]) {
            return Some(self.go_back(GoingBackCause::Aborted, format!("aborted {}", command.signed())));
        }
        let (wanted, candidate, stable) =
            (self.wanted.clone()?, self.next.candidate.clone()?, self.next.stable.clone()?);
        if wanted.is(&stable) {
            return Some(self.go_back(GoingBackCause::Withdrawn, "the stable version is asked for again".into()));
        }
        if !wanted.is(&candidate) {
            let message = format!("version {} is asked for instead", wanted.version);
            return Some(self.go_back(GoingBackCause::Superseded, message));
        }
        if gate::on_close(self.plan, &self.next) == OnClose::Rollback && self.next.phase != Phase::Promoting {
            let gates = self.ask(Exposure::Increase, None);
            if let Some(closed) = gates.iter().find(|g| g.kind == GateKind::Windows && g.state == GateState::Closed) {
                return Some(self.go_back(GoingBackCause::WindowClosed, closed.message.clone()));
            }
        }
        self.judged()
    }

    /// What checks and pods say.
    fn judged(&mut self) -> Option<Turn> {
        let crash = self.world.workloads.iter().find_map(|view| view.crash.clone());
        let follows = self.plan.policy.as_ref().map(|p| p.workload.crash_loops).unwrap_or_default();
        if let Some(crash) = crash {
            let message = format!(
                "container {} of pod {} crashes again and again ({} restarts)",
                crash.container, crash.pod, crash.restarts
            );
            match follows {
                OnFailure::Rollback => return Some(self.go_back(GoingBackCause::CrashLoop, message)),
                OnFailure::Pause if self.next.hold.is_none() => self.hold_by("CrashLoop", message),
                OnFailure::Pause | OnFailure::Notify => {}
            }
        }
        for (policy, _) in self.armed() {
            match analysis::verdict(policy, &self.next.checks) {
                analysis::Verdict::Failed { follows: OnFailure::Rollback, message, .. } => {
                    return Some(self.go_back(GoingBackCause::CheckFailed, message));
                }
                analysis::Verdict::Failed { follows: OnFailure::Pause, message, .. } if self.next.hold.is_none() => {
                    self.hold_by("CheckFailed", message);
                }
                analysis::Verdict::Inconclusive { message, .. } => match policy.on_inconclusive {
                    OnInconclusive::Rollback => return Some(self.go_back(GoingBackCause::Inconclusive, message)),
                    OnInconclusive::Pause if self.next.hold.is_none() => self.hold_by("Inconclusive", message),
                    OnInconclusive::Pause => {}
                },
                analysis::Verdict::Failed { .. } | analysis::Verdict::Fine | analysis::Verdict::NoDataYet(_) => {}
            }
        }
        None
    }

    /// Why the version under test is to be left: its pods have been missing for longer than the policy allows. `complete` says that
    /// it has all that it is asked to have.
    pub(super) fn unavailable(&mut self, tested: &RevisionStatus, complete: bool) -> Option<String> {
        let lacking = self.world.workloads.iter().zip(&tested.workloads).find_map(|(view, part)| {
            let own = view.replica_sets.iter().find(|rs| rs.hash == part.hash)?;
            let counts = || format!("{} of {} pods of {} are available", own.available, own.replicas, own.name);
            (own.available < own.replicas).then(|| (counts(), own.available == 0))
        });
        // A step that is still starting its pods has lost none.
        let starting = self.next.step.as_ref().is_some_and(|step| step.waiting.as_ref() == Some(&step.started));
        let Some((lacking, none)) = lacking.filter(|_| !complete && !starting) else {
            self.next.unavailable_since = None;
            return None;
        };
        let since = self.next.unavailable_since.get_or_insert(Time(self.now)).0;
        let limit = self.plan.policy.as_ref().and_then(|policy| policy.workload.unavailable_for);
        // What has been promoted without a pod, and gets none, has no other deadline.
        let deadline = || (none && self.next.candidate.is_none()).then_some(self.plan.progress_deadline);
        let limit = limit.map(SignedDuration::from).or_else(deadline)?;
        let until = since.checked_add(limit).unwrap_or(Timestamp::MAX);
        self.wake = earliest(self.wake, Some(until));
        (until <= self.now).then(|| format!("{lacking} for more than {limit:#}"))
    }
}
