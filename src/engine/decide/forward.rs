//! On the way forward: gates, steps, promotion and bake.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    deployment_window::Exposure,
    release::{
        CheckOutcome, GateKind, GateState, GoingBackCause, Hold, OnClose, Phase, RevisionStatus, Step, StepStatus,
    },
    rollback_policy::{OnFailure, OnInconclusive},
};

use super::{Doing, Joined, Run, Turn, Waits, clock, earliest};
use crate::{
    analysis::{self, PolicyPlan},
    converge::{self, Keep, Round},
    gate::{self, Question},
    plan::Target,
};

/// Why a release does not go on, and when that may change by itself.
struct Stop {
    message: String,
    waits: Waits,
    wake: Option<Timestamp>,
}

impl<'a> Run<'a> {
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
            self.enter_step(0);
            self.event("ReleaseStarted", false, format!("version {} starts", candidate.version));
            return Turn::Again;
        }
        let mut doing = self.at_gates(&format!("version {}", candidate.version));
        // Held meanwhile, so that nobody's resume passes the gates.
        let stable = self.next.stable.as_ref();
        let joined = self.each(|scene, part| match stable.and_then(|stable| stable.workloads.get(part)) {
            Some(live) if scene.work.images.is_empty() => {
                let saved = scene.replica_set(&live.hash).and_then(|rs| scene.save(rs));
                Round::write(scene.hold_at(&live.hash).into_iter().chain(saved))
            }
            Some(_) | None => Round::default(),
        });
        doing.writes = joined.writes;
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

    fn hold_by(&mut self, reason: &str, message: String) {
        self.event("Paused", true, message.clone());
        self.next.hold = Some(Hold { reason: reason.into(), message, since: Time(self.now) });
    }

    pub(super) fn enter_step(&mut self, index: usize) {
        let total = self.plan.steps.len();
        let target = Target::at(&self.plan.steps, index);
        let before = self.next.weight.unwrap_or_default().desired;
        self.next.step = Some(StepStatus {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            total: u32::try_from(total).unwrap_or(u32::MAX),
            position: format!("{}/{total}", (index + 1).min(total)),
            started: Time(self.now),
            waiting: Some(Time(self.now)),
            digest: self.plan.steps_digest(index),
            ended: false,
        });
        self.weight(target.weight, None);
        if target.weight > before && index < total {
            self.event("WeightIncreased", false, format!("step {}/{total}: weight {}", index + 1, target.weight));
        }
    }

    /// The analysis step that is running, with the time at which it began.
    pub(super) fn analysis(&self) -> Option<(&'a PolicyPlan, Timestamp)> {
        let step = self.next.step.as_ref()?;
        match self.plan.steps.get(step.index as usize)? {
            Step::Analysis(analysis) => Some((self.plan.analyses.get(&analysis.policy)?, step.started.0)),
            Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Pause(_) | Step::Approval(_) => None,
        }
    }

    pub(super) fn stepping(&mut self) -> Turn {
        let (Some(stable), Some(candidate), Some(step)) =
            (self.next.stable.clone(), self.next.candidate.clone(), self.next.step.clone())
        else {
            self.enter(Phase::Stable);
            return Turn::Again;
        };
        if let Some(turn) = self.turn_back() {
            return turn;
        }
        let index = step.index as usize;
        if self.pause_or_resume() {
            self.resumed(index);
        }
        if let Some(command) = self.take(&[Verdict::Promote]) {
            self.event("PromotionForced", false, format!("on to promotion through all gates {}", command.signed()));
            self.next.hold = None;
            let turn = self.promote();
            self.end_step();
            return turn;
        }
        if let Some(command) = self.take(&[Verdict::Reject]) {
            self.hold_by(
                "Rejected",
                format!("gate {} was rejected {}", command.gate.clone().unwrap_or_default(), command.signed()),
            );
        }
        if self.plan.steps.len() <= index || self.plan.steps_digest(index) != step.digest {
            self.event("StepsChanged", false, "the steps have changed: they start over");
            self.enter_step(0);
            return Turn::Again;
        }
        if let Some(command) = self.take(&[Verdict::Skip]) {
            self.event("StepSkipped", false, format!("step {} skipped {}", step.position, command.signed()));
            self.end_step();
        }
        if let Some(turn) = self.marked() {
            return turn;
        }
        let target = Target::at(&self.plan.steps, index);
        let grows = target.weight > self.next.weight.unwrap_or_default().confirmed;
        let gates = if grows { self.ask(Exposure::Increase, None) } else { Vec::new() };
        let shut = !gate::open(&gates) || (grows && self.next.hold.is_some());
        let joined = self.each(|scene, part| match (stable.workloads.get(part), candidate.workloads.get(part)) {
            (Some(old), Some(new)) => converge::split(scene, old, new, &target, shut),
            (None, _) | (_, None) => Round::broken("workloads were added mid-way: abort, and release again"),
        });
        if !self.faults.is_empty() {
            return self.faulty(joined);
        }
        if let Some(message) = self.unavailable(&candidate, joined.served) {
            return self.go_back(GoingBackCause::Unavailable, message);
        }
        if shut {
            self.next.gates = gates;
            return self.halted(joined);
        }
        if !joined.served {
            self.enter(Phase::Progressing);
            return self.progressing(joined, &target);
        }
        self.weight(target.weight, Some(target.weight));
        if let Some(step) = &mut self.next.step {
            step.waiting = None;
        }
        if self.world.workloads.iter().filter_map(|view| view.deployment.as_ref()).all(|d| d.replicas == 0) {
            // There is nothing to canary: handed over at once.
            return self.advance(self.plan.steps.len().saturating_sub(1));
        }
        match self.step_over(index) {
            None => self.advance(index),
            Some(stop) => self.stop(stop),
        }
    }

    /// The step's scale and weight are on their way.
    fn progressing(&mut self, joined: Joined, target: &Target) -> Turn {
        let position = self.next.step.as_ref().map(|s| s.position.clone()).unwrap_or_default();
        let waiting = self.next.step.as_mut().map(|step| step.waiting.get_or_insert(Time(self.now)).0);
        let deadline = waiting.and_then(|since| since.checked_add(self.plan.progress_deadline).ok());
        let (why, mends) = joined.pending().unwrap_or_else(|| (String::new(), true));
        if deadline.is_some_and(|deadline| deadline <= self.now) || !mends {
            let (cause, why) = if mends {
                let deadline = self.plan.progress_deadline;
                (GoingBackCause::ProgressDeadlineExceeded, format!("no progress within {deadline:#}: {why}"))
            } else {
                (GoingBackCause::ProgressDeadlineExceeded, why)
            };
            return self.go_back(cause, why);
        }
        // What exactly is waited for changes by the second; the status says what for, the log the rest.
        let by = deadline.map(|deadline| format!(", or back at {}", clock(deadline))).unwrap_or_default();
        let message = format!("step {position}: bringing the candidate to {} % of the traffic{by}", target.weight);
        let wake = earliest(joined.wake, deadline);
        Turn::Now(Doing { writes: joined.writes, message, waits: Waits::Machines, wake, progress: true })
    }

    /// Something that the release needs has gone wrong mid-way: exposure stays until it is mended.
    fn faulty(&mut self, joined: Joined) -> Turn {
        self.next.gates = self.ask(Exposure::Increase, None);
        self.halted(joined)
    }

    /// Exposure may not grow to what the step asks for: it stays.
    fn halted(&mut self, joined: Joined) -> Turn {
        let position = self.next.step.as_ref().map(|s| s.position.clone()).unwrap_or_default();
        self.enter(Phase::Paused);
        if let Some(step) = &mut self.next.step {
            step.waiting = None;
        }
        let doing = self.at_gates(&format!("step {position}"));
        Turn::Now(Doing { writes: joined.writes, wake: earliest(joined.wake, doing.wake), ..doing })
    }

    /// Resume ends a pause without duration, and lets an analysis begin anew.
    fn resumed(&mut self, index: usize) {
        match self.plan.steps.get(index) {
            Some(Step::Pause(pause)) if pause.duration.is_none() => self.end_step(),
            Some(Step::Analysis(_)) => {
                if let Some(step) = &mut self.next.step {
                    step.started = Time(self.now);
                }
            }
            Some(Step::Pause(_) | Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Approval(_)) | None => {}
        }
    }

    /// A person has ended the current step.
    fn end_step(&mut self) {
        if let Some(step) = &mut self.next.step {
            step.ended = true;
        }
    }

    /// The finalizer comes before the first effect.
    pub(super) fn marked(&self) -> Option<Turn> {
        let message = "marking the Release as in flight".into();
        let finalizer = self.finalizer(true)?;
        Some(Turn::Now(Doing { writes: vec![finalizer], message, waits: Waits::Machines, ..Doing::default() }))
    }

    /// Why the version under test is to be left: its pods have been missing for longer than the policy allows. `complete` says that
    /// it has all that it is asked to have.
    fn unavailable(&mut self, tested: &RevisionStatus, complete: bool) -> Option<String> {
        let lacking = self.world.workloads.iter().zip(&tested.workloads).find_map(|(view, part)| {
            let own = view.replica_sets.iter().find(|rs| rs.hash == part.hash)?;
            let counts = || format!("{} of {} pods of {} are available", own.available, own.replicas, own.name);
            (own.available < own.replicas).then(counts)
        });
        // A step that is still starting its pods has lost none.
        let starting = self.next.step.as_ref().is_some_and(|step| step.waiting.as_ref() == Some(&step.started));
        let Some(lacking) = lacking.filter(|_| !complete && !starting) else {
            self.next.unavailable_since = None;
            return None;
        };
        let since = self.next.unavailable_since.get_or_insert(Time(self.now)).0;
        let limit = self.plan.policy.as_ref()?.workload.unavailable_for?;
        let until = since.checked_add(SignedDuration::from(limit)).unwrap_or(Timestamp::MAX);
        self.wake = earliest(self.wake, Some(until));
        (until <= self.now).then(|| format!("{lacking} for more than {limit}"))
    }

    /// Waits inside or behind a step.
    fn stop(&mut self, stop: Stop) -> Turn {
        self.enter(if stop.waits == Waits::Machines { Phase::Progressing } else { Phase::Paused });
        Turn::Now(Doing { message: stop.message, waits: stop.waits, wake: stop.wake, ..Doing::default() })
    }

    /// The stop that a hold makes, if there is one.
    fn on_hold(&self) -> Option<Stop> {
        let hold = self.next.hold.as_ref()?;
        let message = format!("{}; Resume goes on, Abort goes back", hold.message);
        Some(Stop { message, waits: Waits::Decision, wake: None })
    }

    /// What keeps the release at a step whose weight is confirmed.
    fn step_over(&mut self, index: usize) -> Option<Stop> {
        if let Some(stop) = self.on_hold() {
            return Some(stop);
        }
        let position = self.next.step.as_ref().map(|s| s.position.clone()).unwrap_or_default();
        let started = self.next.step.as_ref().map_or(self.now, |step| step.started.0);
        let after = |duration: lockkeeper_api::scalar::Duration| {
            started.checked_add(SignedDuration::from(duration)).unwrap_or(Timestamp::MAX)
        };
        let waits = Waits::Decision;
        if self.next.step.as_ref().is_some_and(|step| step.ended) {
            return None;
        }
        match self.plan.steps.get(index)? {
            Step::SetWeight(_) | Step::SetCanaryScale(_) => None,
            Step::Pause(pause) => match pause.duration.map(after) {
                Some(until) if until <= self.now => None,
                Some(until) => Some(Stop {
                    message: format!("step {position}: pause until {}", clock(until)),
                    waits,
                    wake: Some(until),
                }),
                None => {
                    let message = format!("step {position}: pause without duration; a Decision Resume goes on");
                    Some(Stop { message, waits, wake: None })
                }
            },
            Step::Approval(step) => {
                let name = step.name.as_str();
                self.next.gates = self.ask(Exposure::Increase, Some(name));
                let gate = self.next.gates.iter().find(|gate| gate.kind == GateKind::Approval && gate.name == name);
                match gate {
                    Some(gate) if gate.state == GateState::Open => None,
                    Some(_) | None => Some(self.closed(&position)),
                }
            }
            Step::Analysis(step) => {
                let until = after(step.duration);
                let Some(policy) = self.plan.analyses.get(&step.policy) else { return Some(self.closed(&position)) };
                if until > self.now {
                    let message = format!("step {position}: analysis by {} until {}", step.policy, clock(until));
                    return Some(Stop { message, waits, wake: Some(until) });
                }
                self.concluded(policy, started, true)
            }
        }
    }

    /// What a policy says at the end of an analysis, or before promotion.
    fn concluded(&mut self, policy: &'a PolicyPlan, since: Timestamp, over: bool) -> Option<Stop> {
        let without = match analysis::conclude(policy, &self.next.checks, since, self.now) {
            analysis::Verdict::NoDataYet(names) => names.join(", "),
            // Failures and errors have been dealt with before this.
            analysis::Verdict::Fine | analysis::Verdict::Failed { .. } | analysis::Verdict::Inconclusive { .. } => {
                return None;
            }
        };
        let message = format!("no data from {without}: no data is never success");
        if over {
            self.hold_by("Inconclusive", message);
            return self.on_hold();
        }
        Some(Stop { message, waits: Waits::Decision, wake: None })
    }

    fn closed(&self, position: &str) -> Stop {
        let doing = self.at_gates(&format!("step {position}"));
        Stop { message: doing.message, waits: doing.waits, wake: doing.wake }
    }

    /// On to the next step, if the gates before it are open.
    fn advance(&mut self, index: usize) -> Turn {
        let next = index + 1;
        let promotion = next >= self.plan.steps.len();
        let (before, after) = (Target::at(&self.plan.steps, index), Target::at(&self.plan.steps, next));
        let grows = after.weight > before.weight || after.scale != before.scale;
        if promotion || grows {
            self.next.gates = self.ask(if promotion { Exposure::Promotion } else { Exposure::Increase }, None);
        } else {
            self.next.gates.clear();
        }
        let position = self.next.step.as_ref().map(|s| s.position.clone()).unwrap_or_default();
        if !gate::open(&self.next.gates) || self.next.hold.is_some() {
            let stop = self.closed(&position);
            return self.stop(stop);
        }
        if !promotion {
            self.enter_step(next);
            return Turn::Again;
        }
        if let (Some(policy), Some(exposed)) = (self.plan.policy.as_ref(), self.next.exposed.clone())
            && let Some(stop) = self.concluded(policy, exposed.0, false)
        {
            return self.stop(stop);
        }
        self.promote()
    }

    fn promote(&mut self) -> Turn {
        self.enter(Phase::Promoting);
        self.enter_step(self.plan.steps.len());
        Turn::Again
    }

    /// Anything that ends the way forward: a command, another version asked for, a verdict.
    fn turn_back(&mut self) -> Option<Turn> {
        if let Some(command) = self.take(&[Verdict::Abort]) {
            return Some(self.go_back(GoingBackCause::Aborted, format!("aborted {}", command.signed())));
        }
        let (wanted, candidate, stable) =
            (self.wanted.clone()?, self.next.candidate.clone()?, self.next.stable.clone()?);
        if wanted.is(&stable) || wanted.workloads.iter().zip(&stable.workloads).all(|(w, s)| w.digest == s.digest) {
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

    pub(super) fn promoting(&mut self) -> Turn {
        let Some(candidate) = self.next.candidate.clone() else { return self.promoted() };
        if let Some(turn) = self.turn_back() {
            return turn;
        }
        let Some(stable) = self.next.stable.clone() else { return Turn::Again };
        if let Some(turn) = self.marked().or_else(|| self.shut_again()) {
            return turn;
        }
        let joined = self.each(|scene, part| match candidate.workloads.get(part) {
            Some(live) => converge::settle(scene, live, stable.workloads.get(part), Keep::Full, 0),
            None => Round::broken("workloads were added mid-way: abort, and release again"),
        });
        if let Some(message) = self.unavailable(&candidate, joined.served) {
            return self.go_back(GoingBackCause::Unavailable, message);
        }
        if !joined.served {
            let target = Target::at(&self.plan.steps, usize::MAX);
            let turn = self.progressing(joined, &target);
            if let Turn::Now(mut doing) = turn {
                doing.message = format!("version {} takes the stable version's place", candidate.version);
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
        let stable = self.next.stable.iter().flat_map(|stable| &stable.workloads);
        let begun = self.world.workloads.iter().zip(stable).any(|(view, part)| {
            // The handover goes through: half of it would be worse than either end.
            !view.replica_sets.iter().any(|rs| rs.hash == part.hash && rs.controlled)
        });
        if forced
            || begun
            || self.next.weight.unwrap_or_default().confirmed >= 100
            || gate::open(&self.ask(Exposure::Promotion, None))
        {
            return None;
        }
        let last = self.plan.steps.len().checked_sub(1)?;
        self.enter(Phase::Paused);
        self.enter_step(last);
        self.end_step();
        Some(Turn::Again)
    }

    /// Promoted without a bake: only clearing up is left.
    fn promoted(&mut self) -> Turn {
        let doing = self.settle_previous(Keep::Gone);
        if doing.progress {
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
        let until = self.next.bake_until.as_ref().map_or(self.now, |t| t.0);
        // Another version asked for ends the bake: there can be only one beside the stable one.
        let over = until <= self.now || asked;
        let mut doing = self.settle_previous(if over { Keep::Gone } else { Keep::Full });
        if over && !doing.progress {
            return self.succeed();
        }
        if !over && !doing.progress {
            doing.message = format!("promoted; baking until {}", clock(until));
            doing.waits = Waits::Nothing;
        }
        doing.wake = earliest(doing.wake, (!over).then_some(until));
        Turn::Now(doing)
    }

    /// A verdict during the bake goes back to the version before.
    fn bake_failed(&mut self) -> Option<Turn> {
        let previous = self.next.previous.clone()?;
        let crash = self.world.workloads.iter().find_map(|view| view.crash.clone());
        if let Some(crash) = crash
            && self.plan.policy.as_ref().map(|p| p.workload.crash_loops).unwrap_or_default() == OnFailure::Rollback
        {
            let message = format!("container {} of pod {} crashes again and again", crash.container, crash.pod);
            self.leave_stable(previous, GoingBackCause::CrashLoop, message);
            return Some(Turn::Again);
        }
        if let Some(tested) = self.next.stable.clone()
            && let Some(message) = self.unavailable(&tested, false)
        {
            self.leave_stable(previous, GoingBackCause::Unavailable, message);
            return Some(Turn::Again);
        }
        for (policy, _) in self.armed() {
            if let analysis::Verdict::Failed { follows: OnFailure::Rollback, message, .. } =
                analysis::verdict(policy, &self.next.checks)
            {
                self.leave_stable(previous, GoingBackCause::CheckFailed, message);
                return Some(Turn::Again);
            }
        }
        None
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
        let progress = !joined.done();
        let message = joined.pending().map(|(message, _)| message).filter(|m| !m.is_empty());
        Doing {
            message: message.unwrap_or_else(|| "clearing up after promotion".into()),
            waits: Waits::Machines,
            wake: joined.wake,
            writes: joined.writes,
            progress,
        }
    }
}
