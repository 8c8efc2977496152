//! On the way back: never blocked by a gate, and traffic leaves before capacity goes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::release::{GoingBack, GoingBackCause, Phase, RevisionStatus};

use super::{Doing, Run, Turn, Waits, earliest};
use crate::{
    converge::{self, Keep, Round, dismantle},
    write::{self, Kind, Seen},
};

impl Run<'_> {
    /// Turns round: the candidate is left, the stable version takes everything.
    pub(super) fn go_back(&mut self, cause: GoingBackCause, message: String) -> Turn {
        if let Some(candidate) = self.next.candidate.clone() {
            self.leave(&candidate, cause, message);
        }
        Turn::Again
    }

    /// Leaves the stable version for an earlier one, which is the stable one from now on.
    pub(super) fn leave_stable(&mut self, target: RevisionStatus, cause: GoingBackCause, message: String) {
        let Some(left) = self.next.stable.take() else { return };
        self.clear_attempt();
        self.next.stable = Some(RevisionStatus { since: Time(self.now), ..target });
        self.next.previous = None;
        self.next.candidate = Some(left.clone());
        self.weight(100, Some(100));
        self.leave(&left, cause, message);
    }

    fn leave(&mut self, left: &RevisionStatus, cause: GoingBackCause, message: String) {
        let policy = self.plan.policy.as_ref();
        let keep = policy.filter(|_| Self::is_gradual(cause)).map(|policy| policy.rollback.keep_candidate);
        self.next.going_back = Some(GoingBack {
            cause,
            message: message.clone(),
            from: left.revision.clone(),
            started: Time(self.now),
            finished: None,
            keep_candidate: keep.unwrap_or_default(),
            weight: self.next.weight.unwrap_or_default().desired,
        });
        if let Some(phase) = ends_in(cause) {
            self.block(left, phase, &format!("version {}: {message}", left.version));
        }
        self.next.gates.clear();
        self.next.hold = None;
        self.next.step = None;
        self.next.unavailable_since = None;
        self.next.without_pods = None;
        self.enter(Phase::RollingBack);
        self.event("RollingBack", true, format!("from version {}: {message}", left.version));
    }

    pub(super) fn going_back(&mut self) -> Turn {
        let (Some(going), Some(stable)) = (self.next.going_back.clone(), self.next.stable.clone()) else {
            self.enter(Phase::Stable);
            return Turn::Again;
        };
        let message = format!("back to version {}: {}", stable.version, going.message);
        if let Some(turn) = self.marked(message.clone()) {
            return turn;
        }
        let left = self.next.candidate.clone();
        let (share, next) = self.share(&going);
        let ended = ends_in(going.cause);
        let keep = if ended.is_some() { Keep::AsItIs } else { Keep::Gone };
        let joined = self.each(|scene, part| match stable.workloads.get(part) {
            Some(live) => {
                let other = left.as_ref().and_then(|left| left.workloads.get(part));
                let mut round = converge::settle(scene, live, other, keep, share);
                // Should somebody have deleted what was saved when it began.
                round.writes.extend(scene.replica_set(&live.hash).and_then(|live| scene.save_live(live)));
                round
            }
            None => Round::default(),
        });
        if joined.served {
            self.weight(share, Some(share));
        } else {
            self.weight(share, None);
        }
        let served = joined.served && share == 0;
        if served && (ended.is_some() || joined.done()) {
            return self.arrived(&going, ended);
        }
        let wake = earliest(joined.wake, next);
        let (message, waits) = match joined.pending() {
            Some((why, false)) => (format!("{message}; {why}"), Waits::Mending),
            Some((_, true)) | None => (message, Waits::Machines),
        };
        Turn::Now(Doing { writes: joined.writes, message, waits, wake })
    }

    /// All traffic is back.
    fn arrived(&mut self, going: &GoingBack, ended: Option<Phase>) -> Turn {
        if let Some(going) = &mut self.next.going_back {
            going.finished = Some(Time(self.now));
        }
        self.next.exposed = None;
        let reason = if going.cause == GoingBackCause::Aborted { "Aborted" } else { "RolledBack" };
        match ended {
            Some(phase) => {
                self.event(reason, true, going.message.clone());
                self.enter(phase);
            }
            None => {
                self.event("Withdrawn", false, going.message.clone());
                self.clear_attempt();
                self.enter(Phase::Stable);
            }
        }
        Turn::Again
    }

    /// The part of the traffic that the version left may still have, and when that becomes less.
    fn share(&self, going: &GoingBack) -> (u8, Option<jiff::Timestamp>) {
        let gradual = self.plan.policy.as_ref().and_then(|policy| policy.rollback.gradual.as_ref());
        let Some(gradual) = gradual.filter(|_| Self::is_gradual(going.cause)) else { return (0, None) };
        let every = i64::try_from(gradual.every.as_secs()).unwrap_or(i64::MAX).max(1);
        let passed = (self.now.as_second() - going.started.0.as_second()).max(0) / every;
        let gone = (passed + 1).saturating_mul(i64::from(gradual.by));
        let share = u8::try_from((i64::from(going.weight) - gone).max(0)).unwrap_or(0);
        let next =
            going.started.0.checked_add(jiff::SignedDuration::from_secs((passed + 1).saturating_mul(every))).ok();
        (share, next.filter(|_| share > 0))
    }

    /// How traffic and pods of the version left are treated, as the policy says.
    fn is_gradual(cause: GoingBackCause) -> bool {
        match cause {
            GoingBackCause::CheckFailed
            | GoingBackCause::Inconclusive
            | GoingBackCause::CrashLoop
            | GoingBackCause::Unavailable
            | GoingBackCause::WindowClosed => true,
            GoingBackCause::ProgressDeadlineExceeded
            | GoingBackCause::Aborted
            | GoingBackCause::RollbackRequested
            | GoingBackCause::ReturnedToEarlierVersion
            | GoingBackCause::Withdrawn
            | GoingBackCause::Superseded
            | GoingBackCause::Deleted => false,
        }
    }

    /// A Deployment is gone, or another of its name has taken its place.
    pub(super) fn lost(&mut self) -> Option<Turn> {
        let stable = self.next.stable.clone()?;
        let lost = |index: usize| {
            let deployment = self.world.workloads.get(index).and_then(|view| view.deployment.as_ref());
            let known = stable.workloads.get(index);
            deployment.is_none_or(|d| known.is_some_and(|known| known.uid != d.uid))
        };
        let indexes: Vec<_> = (0..self.plan.workloads.len()).filter(|index| lost(*index)).collect();
        if indexes.is_empty() && stable.workloads.len() == self.plan.workloads.len() {
            return None;
        }
        let mut doing = Doing { waits: Waits::Machines, ..Doing::default() };
        for index in &indexes {
            let (Some(work), Some(view)) = (self.plan.workloads.get(*index), self.world.workloads.get(*index)) else {
                continue;
            };
            let gone = view.deployment.as_ref().map(Seen::deployment);
            let gone = gone.unwrap_or_else(|| Seen::absent(Kind::Deployment, &work.deployment));
            // Whoever has just started may have heard of neither, and would bring both versions behind one Service.
            doing.writes.extend(dismantle(work, view).into_iter().map(|write| write.resting_on([gone.clone()])));
            self.rests_on.push(gone);
        }
        let left = self.next.candidate.clone();
        let joined = self.each(|scene, part| match stable.workloads.get(part) {
            Some(live) if !indexes.contains(&part) => {
                let other = left.as_ref().and_then(|left| left.workloads.get(part));
                converge::settle(scene, live, other, Keep::Gone, 0)
            }
            Some(_) | None => Round::default(),
        });
        let done = joined.done() && doing.writes.is_empty();
        doing.writes.extend(joined.writes);
        doing.wake = joined.wake;
        if !done {
            doing.message = "a workload is gone: giving back its routes and Services".into();
            return Some(Turn::Now(doing));
        }
        let names: Vec<_> =
            indexes.iter().filter_map(|index| self.plan.workloads.get(*index)).map(|w| w.deployment.clone()).collect();
        self.event("WorkloadGone", true, format!("Deployment {} is gone", names.join(", ")));
        self.clear_attempt();
        self.next.stable = None;
        self.next.previous = None;
        self.next.going_back = None;
        self.enter(Phase::Invalid);
        Some(Turn::Again)
    }

    /// Nothing of the stable version runs, and it cannot be made again: somebody has deleted its ReplicaSet before its template was saved, and our
    /// pause keeps another template from being rolled out. That one is a first version then, with its gates.
    pub(super) fn bereft(&mut self) -> Option<Turn> {
        let (note, gone) = self.gone_for_good()?;
        // Whoever has just started may have heard of neither.
        self.rests_on.extend(gone);
        self.event("StableGone", true, note);
        self.clear_attempt();
        (self.next.stable, self.next.previous, self.next.going_back) = (None, None, None);
        self.enter(Phase::Invalid);
        Some(Turn::Again)
    }

    /// What is not there any more of a stable version that cannot be made again, and how people are told.
    fn gone_for_good(&self) -> Option<(String, Vec<Seen>)> {
        let stable = self.next.stable.as_ref()?;
        let mut gone = Vec::new();
        let mut note = None;
        for (view, part) in self.world.workloads.iter().zip(&stable.workloads) {
            let deployment = view.deployment.as_ref().filter(|d| d.version_digest() != part.digest);
            let Some(deployment) = deployment else { continue };
            let known = view.replica_sets.iter().any(|rs| rs.hash == part.hash || rs.existing > 0)
                || view.saved.iter().any(|saved| saved.hash == part.hash);
            if known || !deployment.is_kept() || !deployment.paused {
                return None;
            }
            let name = format!("{}-{}", deployment.name, part.hash);
            let saved = write::saved_name(&deployment.name, &part.hash);
            let cause = format!("ReplicaSet {name} is gone, and its template was not saved");
            note = Some(format!("version {} cannot be made again: {cause}", stable.version));
            gone.extend([Seen::absent(Kind::ReplicaSet, name), Seen::absent(Kind::ControllerRevision, saved)]);
        }
        Some((note?, gone))
    }

    /// The Release is being deleted: traffic goes back, and no unproven template is rolled out.
    pub(super) fn deleting(&mut self) -> Option<Turn> {
        // Without a stable version there is nothing to go back to.
        let turns = self.next.candidate.is_some() && self.next.stable.is_some() && self.in_flight();
        if turns && self.next.phase != Phase::RollingBack {
            return Some(self.go_back(GoingBackCause::Deleted, "the Release is being deleted".into()));
        }
        if self.in_flight() && self.next.phase == Phase::RollingBack {
            return None;
        }
        if let Some(turn) = self.passed_by() {
            return Some(turn);
        }
        let stable = self.next.stable.clone();
        let left = self.next.candidate.clone().or_else(|| self.next.previous.clone());
        let joined = self.each(|scene, part| match stable.as_ref().and_then(|s| s.workloads.get(part)) {
            Some(live) => {
                let other = left.as_ref().and_then(|left| left.workloads.get(part));
                converge::settle(scene, live, other, Keep::Gone, 0)
            }
            None => converge::clear_away(scene),
        });
        let message = "the Release is being deleted: giving back what it used".to_owned();
        let mut doing = Doing { message, waits: Waits::Machines, wake: joined.wake, ..Doing::default() };
        let done = joined.done();
        doing.writes = joined.writes;
        if done {
            doing.writes.extend(self.finalizer(false));
        }
        Some(Turn::Now(doing))
    }
}

/// The phase in which a release ends that went back for this cause; none if it goes on with another version.
pub(crate) fn ends_in(cause: GoingBackCause) -> Option<Phase> {
    match cause {
        GoingBackCause::CheckFailed
        | GoingBackCause::Inconclusive
        | GoingBackCause::CrashLoop
        | GoingBackCause::Unavailable
        | GoingBackCause::ProgressDeadlineExceeded
        | GoingBackCause::WindowClosed
        | GoingBackCause::RollbackRequested
        | GoingBackCause::ReturnedToEarlierVersion => Some(Phase::RolledBack),
        GoingBackCause::Aborted => Some(Phase::Aborted),
        GoingBackCause::Withdrawn | GoingBackCause::Superseded | GoingBackCause::Deleted => None,
    }
}

#[cfg(test)]
mod tests;
