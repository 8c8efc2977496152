//! Nothing is on its way: at rest, or after going back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    names::HOLD,
    release::{BlockedRevision, GoingBackCause, Phase, RevisionStatus},
};

use super::{Doing, Run, Turn, Waits, earliest};
use crate::{
    converge::{Keep, Round, settle},
    revision::Wanted,
    verdict::Command,
    write::Write,
};

impl Run<'_> {
    pub(super) fn idle(&mut self) -> Turn {
        let Some(wanted) = self.wanted.clone() else { return Turn::Now(self.invalid()) };
        let Some(stable) = self.next.stable.clone() else { return self.first(&wanted) };
        if let Some(turn) = self.passed_by() {
            return turn;
        }
        if let Some(command) = self.take(&[Verdict::Retry]) {
            self.unblock(&command);
            return Turn::Again;
        }
        if let Some(command) = self.take(&[Verdict::Rollback]) {
            return self.roll_back_to_previous(&command.signed());
        }
        let same = wanted.workloads.iter().zip(&stable.workloads).all(|(w, s)| w.digest == s.digest);
        if same {
            return self.at_rest();
        }
        if let Some(blocked) = self.blocked(&wanted) {
            self.enter(blocked.phase);
            return Turn::Now(self.stay_back(&blocked.message));
        }
        let faulty = !self.faults.is_empty();
        if faulty && self.next.candidate.is_none() {
            return Turn::Now(self.invalid());
        }
        // What the last attempt has left is cleared before another one begins, or is refused.
        if self.next.phase == Phase::Invalid && !faulty {
            self.enter(Phase::Stable);
        }
        let left = self.clear(Keep::Gone);
        if !left.writes.is_empty() || left.is_under_way() {
            return Turn::Now(left);
        }
        if faulty {
            return Turn::Now(self.invalid());
        }
        if self.is_earlier(&wanted) {
            return self.return_to(&wanted);
        }
        self.begin(&wanted);
        Turn::Again
    }

    /// Lets a blocked version start again, with gates and steps.
    pub(super) fn unblock(&mut self, command: &Command) {
        let Some(blocked) = self.next.blocked.iter_mut().find(|blocked| blocked.revision == command.revision) else {
            return;
        };
        blocked.retried = true;
        let note = format!("version {} may start again, {}", blocked.version, command.signed());
        self.event("Retried", false, note);
    }

    /// Why the version asked for may not start, if so.
    pub(super) fn blocked(&self, wanted: &Wanted) -> Option<BlockedRevision> {
        self.next.blocked.iter().find(|blocked| blocked.revision == wanted.revision && !blocked.retried).cloned()
    }

    /// Takes a version as the candidate.
    fn begin(&mut self, wanted: &Wanted) {
        self.clear_attempt();
        self.next.going_back = None;
        self.next.candidate = Some(self.revision(wanted));
        self.enter(Phase::Waiting);
        self.event("ReleaseRequested", false, format!("version {} ({})", wanted.version, wanted.revision));
    }

    pub(super) fn revision(&self, wanted: &Wanted) -> RevisionStatus {
        RevisionStatus {
            revision: wanted.revision.clone(),
            version: wanted.version.clone(),
            workloads: wanted.workloads.clone(),
            since: Time(self.now),
            requested_by: wanted.requested_by.clone(),
        }
    }

    /// The stable version is the one asked for.
    fn at_rest(&mut self) -> Turn {
        if let Some(doing) = self.native_restart() {
            self.enter(Phase::Stable);
            return Turn::Now(doing);
        }
        if !self.faults.is_empty() && self.next.candidate.is_none() {
            return Turn::Now(self.invalid());
        }
        self.enter(Phase::Stable);
        let mut doing = self.clear(Keep::Gone);
        if doing.writes.is_empty() && !doing.is_under_way() && self.next.candidate.is_some() {
            self.clear_attempt();
            return Turn::Again;
        }
        if !doing.is_under_way() {
            let version = self.next.stable.as_ref().map(|s| s.version.clone()).unwrap_or_default();
            doing.message = format!("version {version} runs");
        }
        Turn::Now(doing)
    }

    /// The wanted version is blocked: the stable one runs.
    fn stay_back(&mut self, message: &str) -> Doing {
        let going = self.next.going_back.clone();
        let kept = going
            .as_ref()
            .and_then(|g| g.finished.as_ref()?.0.checked_add(jiff::SignedDuration::from(g.keep_candidate)).ok());
        let keep = if kept.is_some_and(|until| until > self.now) { Keep::AsItIs } else { Keep::Gone };
        let mut doing = self.clear(keep);
        if doing.writes.is_empty() && self.holds() {
            doing.writes = self.finalizer(true).map_or_else(|| self.saves(), |finalizer| vec![finalizer]);
        }
        // Why it went back is what people look for, also while it clears up; what hinders that, too.
        let hindrance = if doing.waits == Waits::Mending { format!("; {}", doing.message) } else { String::new() };
        let mend = "change the spec, go back to the stable version, or decide Retry";
        doing.message = format!("{message}{hindrance}; {mend}");
        doing.waits = Waits::Mending;
        if keep == Keep::AsItIs {
            doing.wake = earliest(doing.wake, kept);
        }
        doing
    }

    /// Clears what a release has left, down to the finalizer.
    fn clear(&self, keep: Keep) -> Doing {
        let Some(stable) = self.next.stable.as_ref() else { return Doing::default() };
        let others = [self.next.candidate.as_ref(), self.next.previous.as_ref()];
        let joined = self.each(|scene, index| {
            let Some(live) = stable.workloads.get(index) else { return Round::default() };
            let parts = others.iter().flatten().filter_map(|other| other.workloads.get(index));
            let parts = || parts.clone().filter(|part| part.hash != live.hash);
            let left = |part: &&_| scene.is_left(part);
            settle(scene, live, parts().find(left).or_else(|| parts().next()), keep, 0)
        });
        let mut doing = Doing { wake: joined.wake, ..Doing::default() };
        if let Some((message, waits)) = joined.pending() {
            doing.message = message;
            doing.waits = if waits { Waits::Machines } else { Waits::Mending };
        }
        let done = joined.done();
        doing.writes = joined.writes;
        if !doing.writes.is_empty() && doing.message.is_empty() {
            doing.message = "clearing up".into();
            doing.waits = Waits::Machines;
        } else if done && keep == Keep::Gone && !self.holds() {
            doing.writes.extend(self.finalizer(false));
            doing.message = "nothing is left of the last release".into();
        }
        doing
    }

    /// Saves the templates of what runs, as long as the version that went back is asked for.
    fn saves(&self) -> Vec<Write> {
        let stable = self.next.stable.as_ref();
        let joined = self.each(|scene, part| {
            let live = stable.and_then(|stable| scene.replica_set(&stable.workloads.get(part)?.hash));
            Round::write(live.and_then(|live| scene.save_live(live)))
        });
        joined.writes
    }

    /// Whether a Deployment is held: then the Release is not free to go.
    fn holds(&self) -> bool {
        let mut deployments = self.world.workloads.iter().filter_map(|view| view.deployment.as_ref());
        deployments.any(|deployment| deployment.marks.contains_key(HOLD))
    }

    /// Whether every workload that changes goes to a version that its Deployment has in its history, and that was not left
    /// for good reason: that one may start again, but like any other.
    fn is_earlier(&self, wanted: &Wanted) -> bool {
        let Some(stable) = &self.next.stable else { return false };
        if self.next.blocked.iter().any(|blocked| blocked.revision == wanted.revision) {
            return false;
        }
        let parts = wanted.workloads.iter().zip(&stable.workloads).zip(&self.world.workloads);
        parts
            .into_iter()
            .filter(|((w, s), _)| w.digest != s.digest)
            .all(|((w, _), view)| view.replica_sets.iter().any(|rs| rs.controlled && rs.version == w.digest))
    }

    /// The spec returns to an earlier version after promotion: a rollback, without gates.
    fn return_to(&mut self, wanted: &Wanted) -> Turn {
        let target = self.revision(wanted);
        let message = format!("the spec returned to version {}", wanted.version);
        self.leave_stable(target, GoingBackCause::ReturnedToEarlierVersion, message);
        Turn::Again
    }

    /// Whether a version's pods can be made again.
    pub(super) fn restorable(&self, revision: &RevisionStatus) -> bool {
        self.world.workloads.iter().zip(&revision.workloads).all(|(view, part)| {
            view.replica_sets.iter().any(|rs| rs.hash == part.hash && !rs.deleting)
                || view.saved.iter().any(|saved| saved.hash == part.hash)
        })
    }

    /// A person wants the version before the stable one.
    pub(super) fn roll_back_to_previous(&mut self, signed: &str) -> Turn {
        let Some(previous) = self.next.previous.clone() else {
            self.event("RollbackRefused", true, "there is no version before the stable one");
            return Turn::Again;
        };
        if !self.restorable(&previous) {
            let mend = "ask for it in the spec";
            let note = format!("version {} is not in the history of its Deployment any more: {mend}", previous.version);
            let decisions = self.next.decisions.iter_mut().rev();
            if let Some(decision) = decisions.into_iter().find(|decision| decision.verdict == Verdict::Rollback) {
                decision.refused = Some(note.clone());
            }
            self.event("RollbackRefused", true, note);
            return Turn::Again;
        }
        let message = format!("rolled back to version {} {signed}", previous.version);
        self.leave_stable(previous, GoingBackCause::RollbackRequested, message);
        Turn::Again
    }

    /// The spec cannot work: all faults, nothing touched.
    pub(super) fn invalid(&mut self) -> Doing {
        self.enter(Phase::Invalid);
        Doing { message: self.faults.join("; "), waits: Waits::Mending, ..Doing::default() }
    }
}

#[cfg(test)]
mod tests;
