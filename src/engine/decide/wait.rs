//! Waiting: at gates before Start, and under a hold.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    deployment_window::Exposure,
    release::{CheckOutcome, GateKind, GateState, Hold, Phase, RevisionStatus, WithoutPods, WorkloadRevision},
};

use super::{Doing, Run, Turn, Waits, earliest};
use crate::{
    converge::{Keep, Round, Scene, settle},
    gate::{self, Question},
};

impl Run<'_> {
    pub(super) fn ask(&self, exposure: Exposure, step_gate: Option<&str>) -> Vec<lockkeeper_api::release::GateStatus> {
        gate::ask(&Question {
            plan: self.plan,
            world: self.world,
            status: &self.next,
            faults: &self.faults,
            exposure,
            step_gate,
            now: self.now,
        })
    }

    pub(super) fn waiting(&mut self) -> Turn {
        let (Some(wanted), Some(candidate)) = (self.wanted.clone(), self.next.candidate.clone()) else {
            self.enter(Phase::Stable);
            return Turn::Again;
        };
        if let Some(turn) = self.passed_by() {
            return turn;
        }
        if !wanted.is(&candidate) {
            self.clear_attempt();
            self.enter(Phase::Stable);
            return Turn::Again;
        }
        if self.refused(&candidate) {
            return Turn::Again;
        }
        self.pause_or_resume();
        self.next.gates = self.ask(Exposure::Start, None);
        if gate::open(&self.next.gates) && self.next.hold.is_none() {
            self.next.gates_at_start = Some(self.plan.gates.clone());
            self.enter(Phase::Progressing);
            // Where nobody had to wait, what was requested and what starts is one thing.
            self.events.retain(|event| event.reason != "ReleaseRequested");
            let mut note = format!("version {} ({}) starts", candidate.version, candidate.revision);
            if self.is_empty() {
                self.next.without_pods = Some(WithoutPods::FromTheStart);
                note +=
                    " without pods: there is nothing to try, and pauses with a duration and analyses are passed over";
            }
            self.event("ReleaseStarted", false, note);
            self.enter_step(0);
            return Turn::Again;
        }
        let mut doing = self.at_gates(&format!("version {}", candidate.version));
        let stable = self.next.stable.as_ref();
        let joined = self.each(|scene, part| match stable.and_then(|stable| stable.workloads.get(part)) {
            Some(live) => uphold(scene, live, candidate.workloads.get(part)),
            None => Round::default(),
        });
        doing.wake = earliest(doing.wake, joined.wake);
        if let Some((hindrance, false)) = joined.pending() {
            doing.message += &format!("; {hindrance}");
            doing.waits = Waits::Mending;
        }
        // The finalizer comes before the first effect; what the gates wait for stays the same.
        doing.writes = match self.finalizer(true) {
            Some(finalizer) if !joined.writes.is_empty() => vec![finalizer],
            Some(_) | None => joined.writes,
        };
        Turn::Now(doing)
    }

    /// Ends a release that has not started, if somebody wants that.
    pub(super) fn refused(&mut self, candidate: &RevisionStatus) -> bool {
        let Some(command) = self.take(&[Verdict::Reject, Verdict::Abort]) else { return false };
        let rejected = command.verdict == Verdict::Reject;
        let (phase, word) = if rejected { (Phase::Rejected, "rejected") } else { (Phase::Aborted, "aborted") };
        let message = format!("version {} was {word} {}", candidate.version, command.signed());
        self.block(candidate, phase, &message);
        self.event(if rejected { "Rejected" } else { "Aborted" }, true, message);
        self.next.gates.clear();
        self.next.hold = None;
        self.enter(phase);
        true
    }

    /// Waits at closed gates, or under a hold.
    pub(super) fn at_gates(&self, what: &str) -> Doing {
        let closed = self.next.gates.iter().filter(|gate| gate.state == GateState::Closed);
        let gates = closed.map(|gate| format!("gate {} is closed: {}", gate.name, gate.message));
        let hold = self.next.hold.iter().map(|hold| hold.message.clone());
        let reasons: Vec<_> = hold.chain(gates).collect();
        let wake = self.next.gates.iter().filter_map(|gate| gate.next_change.as_ref().map(|t| t.0)).min();
        let faulty = self.next.gates.iter().any(|g| g.kind == GateKind::Validity && g.state == GateState::Closed);
        let waits = if faulty { Waits::Mending } else { Waits::Decision };
        Doing { message: format!("{what} waits: {}", reasons.join("; ")), waits, wake, ..Doing::default() }
    }

    pub(super) fn pause_or_resume(&mut self) -> bool {
        let mut resumed = false;
        while let Some(command) = self.take(&[Verdict::Pause, Verdict::Resume]) {
            if command.verdict == Verdict::Pause {
                self.hold_by("PausedByPerson", format!("paused {}", command.signed()));
            } else {
                resumed = true;
                self.event("Resumed", false, format!("resumed {}", command.signed()));
                self.next.hold = None;
                for check in self.next.checks.iter_mut().filter(|c| c.outcome != CheckOutcome::Success) {
                    (check.failures, check.errors, check.outcome) = (0, 0, CheckOutcome::Pending);
                }
            }
        }
        resumed
    }

    pub(super) fn hold_by(&mut self, reason: &str, message: String) {
        self.event("Paused", true, message.clone());
        self.next.hold = Some(Hold { reason: reason.into(), message, since: Time(self.now) });
    }
}

/// One round for a version that runs while another one waits: held, so that nobody's resume passes the gates, and saved. Where others have
/// taken its ReplicaSet away, or brought pods of another version behind its Services, it is settled again.
fn uphold(scene: &Scene<'_>, live: &WorkloadRevision, candidate: Option<&WorkloadRevision>) -> Round {
    // Where the Release carries the version, the Deployment does not know of another one before that starts.
    let held = if scene.work.images.is_empty() { scene.hold_at(&live.hash) } else { Vec::new() };
    match scene.replica_set(&live.hash).filter(|running| scene.stray(running).is_none()) {
        Some(running) => Round::write(held.into_iter().chain(scene.save_live(running))),
        None if held.is_empty() => settle(scene, live, candidate, Keep::Gone, 0),
        None => Round::write(held),
    }
}
