//! The candidate takes the stable version's place, and is watched for a while.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    deployment_window::Exposure,
    release::{GoingBackCause, Phase, RevisionStatus},
    rollback_policy::{OnFailure, OnInconclusive},
};

use super::{Doing, Run, Turn, Waits, clock, earliest};
use crate::{
    analysis,
    converge::{self, Keep, Round},
    gate,
    plan::Target,
};

impl Run<'_> {
    pub(super) fn promoting(&mut self) -> Turn {
        let Some(candidate) = self.next.candidate.clone() else { return self.promoted() };
        if let Some(turn) = self.turn_back() {
            return turn;
        }
        let Some(stable) = self.next.stable.clone() else { return Turn::Again };
        let message = format!("version {} takes the stable version's place", candidate.version);
        let again = |run: &mut Self| run.emptied_or_filled().or_else(|| run.shut_again());
        if let Some(turn) = self.marked(message.clone()).or_else(|| again(self)) {
            return turn;
        }
        let joined = self.each(|scene, part| match candidate.workloads.get(part) {
            Some(live) => {
                let old = stable.workloads.get(part);
                match old.filter(|old| scene.is_unborn(live, old)) {
                    // Promoted before there was anything to promote: first what the steps would have made.
                    Some(old) => converge::split(scene, old, live, &Target::at(&self.plan.steps, 0), true),
                    None => converge::settle(scene, live, old, Keep::Full, 0),
                }
            }
            None => Round::broken("workloads were added mid-way: abort, and release again"),
        });
        self.exposed(&joined);
        if let Some(message) = self.unavailable(&candidate, joined.served) {
            return self.go_back(GoingBackCause::Unavailable, message);
        }
        if !joined.served {
            let target = Target::at(&self.plan.steps, usize::MAX);
            let turn = self.progressing(joined, &target);
            if let Turn::Now(mut doing) = turn {
                doing.message = message;
                return Turn::Now(doing);
            }
            return turn;
        }
        self.weight(100, Some(100));
        self.event("Promoted", false, format!("version {} has taken over", candidate.version));
        let bake = self.plan.bake();
        self.next.previous = self.next.stable.take();
        self.next.stable = Some(RevisionStatus { since: Time(self.now), ..candidate });
        self.next.candidate = None;
        self.next.without_pods = None;
        self.next.gates.clear();
        self.next.step = None;
        let revision = self.next.stable.as_ref().map(|stable| stable.revision.clone());
        self.next.blocked.retain(|blocked| Some(&blocked.revision) != revision.as_ref());
        if !bake.is_zero() {
            self.next.bake_until = self.now.checked_add(SignedDuration::from(bake)).ok().map(Time);
            self.enter(Phase::Baking);
        }
        Turn::Again
    }

    /// A gate has closed before the candidate had everything: back to the last step, which asks again. What a person has
    /// promoted is not asked.
    fn shut_again(&mut self) -> Option<Turn> {
        let forced = self.next.step.as_ref().is_some_and(|step| step.ended);
        if forced
            || self.is_handing_over()
            || self.next.weight.unwrap_or_default().confirmed >= 100
            || gate::open(&self.ask(Exposure::Promotion, None))
        {
            return None;
        }
        let last = self.plan.steps.len().checked_sub(1)?;
        self.enter(Phase::Paused);
        if self.next.step.as_ref().is_some_and(|step| self.plan.steps_digest(step.index as usize) != step.digest) {
            return Some(self.start_over("the steps have changed: they start over"));
        }
        self.enter_step(last);
        self.end_step();
        Some(Turn::Again)
    }

    /// Whether the stable version has been let go somewhere. Then the handover goes through: half of it would be worse than either end.
    pub(super) fn is_handing_over(&self) -> bool {
        let stable = self.next.stable.iter().flat_map(|stable| &stable.workloads);
        self.world
            .workloads
            .iter()
            .zip(stable)
            .any(|(view, part)| !view.replica_sets.iter().any(|rs| rs.hash == part.hash && rs.controlled))
    }

    /// Promoted without a bake: only clearing up is left.
    fn promoted(&mut self) -> Turn {
        if let Some(command) = self.take(&[Verdict::Rollback]) {
            return self.roll_back_to_previous(&command.signed());
        }
        if let Some(turn) = self.lost_its_pods() {
            return turn;
        }
        let doing = self.settle_previous(Keep::Gone);
        if doing.is_under_way() {
            return Turn::Now(doing);
        }
        self.succeed()
    }

    fn succeed(&mut self) -> Turn {
        let version = self.next.stable.as_ref().map(|s| s.version.clone()).unwrap_or_default();
        self.clear_attempt();
        self.next.going_back = None;
        self.event("Succeeded", false, format!("version {version} is the stable version"));
        self.enter(Phase::Stable);
        Turn::Again
    }

    pub(super) fn baking(&mut self) -> Turn {
        if let Some(command) = self.take(&[Verdict::Rollback]) {
            return self.roll_back_to_previous(&command.signed());
        }
        if let Some(verdict) = self.bake_failed() {
            return verdict;
        }
        let asked = self.wanted.as_ref().zip(self.next.stable.as_ref()).is_some_and(|(w, s)| !w.is(s));
        if asked && self.next.previous.as_ref().zip(self.wanted.as_ref()).is_some_and(|(p, w)| w.is(p)) {
            let message = "the spec returned to the version before".to_owned();
            if let Some(previous) = self.next.previous.clone() {
                self.leave_stable(previous, GoingBackCause::ReturnedToEarlierVersion, message);
                return Turn::Again;
            }
        }
        // A clock that was put back, or a policy that was changed, makes no bake longer than the policy says.
        let longest = self.plan.policy.as_ref().and_then(|p| self.now.checked_add(SignedDuration::from(p.bake)).ok());
        let until = self.next.bake_until.as_ref().map_or(self.now, |t| t.0.min(longest.unwrap_or(t.0)));
        self.next.bake_until = Some(Time(until));
        // Another version asked for ends the bake: there can be only one beside the stable one.
        let over = until <= self.now || asked;
        let mut doing = self.settle_previous(if over { Keep::Gone } else { Keep::Full });
        if over && !doing.is_under_way() {
            return self.succeed();
        }
        if !over {
            doing.message = format!("promoted; baking until {}", clock(until));
            doing.waits = Waits::Nothing;
        }
        doing.wake = earliest(doing.wake, (!over).then_some(until));
        Turn::Now(doing)
    }

    /// A verdict during the bake goes back to the version before.
    fn bake_failed(&mut self) -> Option<Turn> {
        let previous = self.next.previous.clone().filter(|previous| self.restorable(previous))?;
        let crash = self.world.workloads.iter().find_map(|view| view.crash.clone());
        if let Some(crash) = crash
            && self.plan.policy.as_ref().map(|p| p.workload.crash_loops).unwrap_or_default() == OnFailure::Rollback
        {
            let message = format!("container {} of pod {} crashes again and again", crash.container, crash.pod);
            self.leave_stable(previous, GoingBackCause::CrashLoop, message);
            return Some(Turn::Again);
        }
        if let Some(turn) = self.lost_its_pods() {
            return Some(turn);
        }
        for (policy, _) in self.armed() {
            let (cause, message) = match analysis::verdict(policy, &self.next.checks) {
                analysis::Verdict::Failed { follows: OnFailure::Rollback, message, .. } => {
                    (GoingBackCause::CheckFailed, message)
                }
                analysis::Verdict::Inconclusive { message, .. }
                    if policy.on_inconclusive == OnInconclusive::Rollback =>
                {
                    (GoingBackCause::Inconclusive, message)
                }
                // Nothing is left that a pause could hold.
                analysis::Verdict::Failed { .. }
                | analysis::Verdict::Inconclusive { .. }
                | analysis::Verdict::NoDataYet(_)
                | analysis::Verdict::Fine => continue,
            };
            self.leave_stable(previous, cause, message);
            return Some(Turn::Again);
        }
        None
    }

    /// The promoted version has been without its pods for too long: back to the one before.
    fn lost_its_pods(&mut self) -> Option<Turn> {
        let previous = self.next.previous.clone().filter(|previous| self.restorable(previous))?;
        let promoted = self.next.stable.clone()?;
        let message = self.unavailable(&promoted, false)?;
        self.leave_stable(previous, GoingBackCause::Unavailable, message);
        Some(Turn::Again)
    }

    fn settle_previous(&self, keep: Keep) -> Doing {
        let Some(stable) = &self.next.stable else { return Doing::default() };
        let joined = self.each(|scene, part| match stable.workloads.get(part) {
            Some(live) => {
                let previous = self.next.previous.as_ref().and_then(|p| p.workloads.get(part));
                converge::settle(scene, live, previous, keep, 0)
            }
            None => Round::default(),
        });
        let waits = if joined.done() { Waits::Nothing } else { Waits::Machines };
        Doing { message: "clearing up after promotion".into(), waits, wake: joined.wake, writes: joined.writes }
    }
}

#[cfg(test)]
mod tests;
