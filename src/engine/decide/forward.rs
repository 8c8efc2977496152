//! On the way forward, step by step.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    deployment_window::Exposure,
    release::{GateKind, GateState, GoingBackCause, Phase, Step, StepStatus},
    rollback_policy::OnInconclusive,
};

use super::{Doing, Joined, Run, Turn, Waits, clock, earliest};
use crate::{
    analysis::{self, PolicyPlan},
    converge::{self, Round},
    gate,
    plan::Target,
};

/// Whether a step is over.
enum Standing {
    Over,
    Stopped(Stop),
    /// An analysis has ended without a verdict, for this reason; and what the policy wants then.
    Inconclusive(String, OnInconclusive),
}

/// Why a release does not go on, and when that may change by itself.
struct Stop {
    message: String,
    waits: Waits,
    wake: Option<Timestamp>,
}

impl<'a> Run<'a> {
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
        if target.weight > before && index < total && !self.is_empty() {
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
        if let Some(turn) = self.commanded(index, &step).or_else(|| self.emptied_or_filled()) {
            return turn;
        }
        let target = Target::at(&self.plan.steps, index);
        let (message, _) = self.bringing(&target);
        if let Some(turn) = self.marked(message) {
            return turn;
        }
        let grows = target.weight > self.next.weight.unwrap_or_default().confirmed;
        let gates = if grows { self.ask(Exposure::Increase, None) } else { Vec::new() };
        let shut = !gate::open(&gates) || (grows && self.next.hold.is_some());
        let returning = self.is_returning(&stable, &candidate);
        let mut joined = self.each(|scene, part| match (stable.workloads.get(part), candidate.workloads.get(part)) {
            (Some(old), Some(new)) => converge::split(scene, old, new, &target, shut || returning),
            (None, _) | (_, None) => Round::broken("workloads were added mid-way: abort, and release again"),
        });
        if returning {
            joined.await_pods("waiting for pods of the stable version".into());
        }
        self.exposed(&joined);
        if !self.faults.is_empty() {
            return self.faulty(joined);
        }
        if let Some(message) = self.unavailable(&candidate, joined.served) {
            return self.go_back(GoingBackCause::Unavailable, message);
        }
        // Under a hold nobody waits for pods, and no deadline runs.
        if shut || (!joined.served && self.next.hold.is_some()) {
            self.next.gates = gates;
            return self.halted(joined);
        }
        if !joined.served {
            self.enter(Phase::Progressing);
            return self.progressing(joined, &target);
        }
        self.brought(index, &target);
        match self.served(index) {
            // What the step does not need goes only if the step stays.
            Turn::Now(doing) => Turn::Now(Doing { writes: joined.writes, ..doing }),
            Turn::Again => Turn::Again,
        }
    }

    /// On from a step that has what it asks for, or what keeps the release there.
    fn served(&mut self, index: usize) -> Turn {
        match self.step_over(index) {
            Standing::Over => self.advance(index),
            Standing::Stopped(stop) => self.stop(stop),
            Standing::Inconclusive(message, OnInconclusive::Rollback) => {
                self.go_back(GoingBackCause::Inconclusive, message)
            }
            Standing::Inconclusive(message, OnInconclusive::Pause) => {
                self.hold_by("Inconclusive", message);
                self.on_hold().map_or(Turn::Again, |stop| self.stop(stop))
            }
        }
    }

    /// What people ask of a release that steps; and changed steps, which start over.
    fn commanded(&mut self, index: usize, step: &StepStatus) -> Option<Turn> {
        if self.pause_or_resume() {
            self.resumed(index);
        }
        if let Some(command) = self.take(&[Verdict::Promote]) {
            self.event("PromotionForced", false, format!("on to promotion through all gates {}", command.signed()));
            self.next.hold = None;
            let turn = self.promote();
            self.end_step();
            return Some(turn);
        }
        if let Some(command) = self.take(&[Verdict::Reject]) {
            self.hold_by(
                "Rejected",
                format!("gate {} was rejected {}", command.gate.clone().unwrap_or_default(), command.signed()),
            );
        }
        if self.plan.steps_digest(index) != step.digest {
            return Some(self.start_over("the steps have changed: they start over"));
        }
        if let Some(command) = self.take(&[Verdict::Skip]) {
            self.event("StepSkipped", false, format!("step {} skipped {}", step.position, command.signed()));
            self.end_step();
        }
        None
    }

    pub(super) fn start_over(&mut self, why: &str) -> Turn {
        self.event("StepsChanged", false, why);
        self.enter_step(0);
        Turn::Again
    }

    /// From now on, if the candidate has its first traffic, checks say something about it.
    pub(super) fn exposed(&mut self, joined: &Joined) {
        if joined.exposed && self.next.exposed.is_none() {
            self.next.exposed = Some(Time(self.now));
        }
    }

    /// What the step brings about, and until when; then the progress deadline has passed.
    fn bringing(&mut self, target: &Target) -> (String, Option<Timestamp>) {
        let position = self.next.step.as_ref().map(|s| s.position.clone()).unwrap_or_default();
        let waiting = self.next.step.as_mut().map(|step| step.waiting.get_or_insert(Time(self.now)).0);
        let deadline = waiting.and_then(|since| since.checked_add(self.plan.progress_deadline).ok());
        let by = deadline.map(|deadline| format!(", or back at {}", clock(deadline))).unwrap_or_default();
        (format!("step {position}: bringing the candidate to {} % of the traffic{by}", target.weight), deadline)
    }

    /// The candidate has what the step asks for.
    fn brought(&mut self, index: usize, target: &Target) {
        let empty = self.is_empty();
        let again = !empty && self.next.weight.unwrap_or_default().confirmed < target.weight;
        // Without pods it has nothing, and asks its gates again when there are some.
        self.weight(target.weight, Some(if empty { 0 } else { target.weight }));
        let timed = matches!(self.plan.steps.get(index), Some(Step::Pause(_) | Step::Analysis(_)));
        if let Some(step) = &mut self.next.step {
            step.waiting = None;
            if again && timed {
                // The time in which there was nothing to look at does not count.
                step.started = Time(self.now);
            }
        }
    }

    /// The step's scale and weight are on their way.
    pub(super) fn progressing(&mut self, joined: Joined, target: &Target) -> Turn {
        // What exactly is waited for changes by the second; the status says what for, the log the rest.
        let (message, deadline) = self.bringing(target);
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
        let wake = earliest(joined.wake, deadline);
        Turn::Now(Doing { writes: joined.writes, message, waits: Waits::Machines, wake })
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
    pub(super) fn end_step(&mut self) {
        if let Some(step) = &mut self.next.step {
            step.ended = true;
        }
    }

    /// The finalizer comes before the first effect.
    pub(super) fn marked(&self, message: String) -> Option<Turn> {
        let finalizer = self.finalizer(true)?;
        Some(Turn::Now(Doing { writes: vec![finalizer], message, waits: Waits::Machines, ..Doing::default() }))
    }

    /// Waits inside or behind a step.
    fn stop(&mut self, stop: Stop) -> Turn {
        self.enter(Phase::Paused);
        Turn::Now(Doing { message: stop.message, waits: stop.waits, wake: stop.wake, ..Doing::default() })
    }

    /// The stop that a hold makes, if there is one.
    fn on_hold(&self) -> Option<Stop> {
        let hold = self.next.hold.as_ref()?;
        let message = format!("{}; Resume goes on, Abort goes back", hold.message);
        Some(Stop { message, waits: Waits::Decision, wake: None })
    }

    /// What keeps the release at a step whose weight is confirmed.
    fn step_over(&mut self, index: usize) -> Standing {
        if let Some(stop) = self.on_hold() {
            return Standing::Stopped(stop);
        }
        let Some(step) = self.next.step.clone().filter(|step| !step.ended) else { return Standing::Over };
        if self.is_empty() && !self.is_untried() {
            // What was being tried is not handed over because nobody can see any more how it does.
            let message =
                format!("step {}: scaled to 0; it goes on when there are pods, Promote hands over", step.position);
            return Standing::Stopped(Stop { message, waits: Waits::Decision, wake: None });
        }
        let StepStatus { position, started, .. } = step;
        let skipped = self.is_untried();
        let after = |duration: lockkeeper_api::scalar::Duration| {
            started.0.checked_add(SignedDuration::from(duration)).unwrap_or(Timestamp::MAX)
        };
        let stopped = |message: String, wake: Option<Timestamp>| {
            Standing::Stopped(Stop { message, waits: Waits::Decision, wake })
        };
        match self.plan.steps.get(index) {
            None | Some(Step::SetWeight(_) | Step::SetCanaryScale(_)) => Standing::Over,
            // There is nothing to canary: handed over at once, but for the people who are to be asked.
            Some(Step::Analysis(_)) if skipped => Standing::Over,
            Some(Step::Pause(pause)) => match pause.duration.map(after) {
                Some(_) if skipped => Standing::Over,
                Some(until) if until <= self.now => Standing::Over,
                Some(until) => stopped(format!("step {position}: pause until {}", clock(until)), Some(until)),
                None => stopped(format!("step {position}: pause without duration; a Decision Resume goes on"), None),
            },
            Some(Step::Approval(step)) => {
                let name = step.name.as_str();
                self.next.gates = self.ask(Exposure::Increase, Some(name));
                let gate = self.next.gates.iter().find(|gate| gate.kind == GateKind::Approval && gate.name == name);
                match gate {
                    Some(gate) if gate.state == GateState::Open => Standing::Over,
                    Some(_) | None => Standing::Stopped(self.closed(&position)),
                }
            }
            Some(Step::Analysis(step)) => {
                let until = after(step.duration);
                let Some(policy) = self.plan.analyses.get(&step.policy) else {
                    return Standing::Stopped(self.closed(&position));
                };
                if until > self.now {
                    let message = format!("step {position}: analysis by {} until {}", step.policy, clock(until));
                    return stopped(message, Some(until));
                }
                match self.without_data(policy, started.0) {
                    Some(message) => Standing::Inconclusive(message, policy.on_inconclusive),
                    None => Standing::Over,
                }
            }
        }
    }

    /// Which checks have no data that counts, at the end of an analysis or before promotion.
    fn without_data(&self, policy: &PolicyPlan, since: Timestamp) -> Option<String> {
        match analysis::conclude(policy, &self.next.checks, since, self.now) {
            analysis::Verdict::NoDataYet(names) => {
                Some(format!("no data from {}: no data is never success", names.join(", ")))
            }
            // Failures and errors have been dealt with before this.
            analysis::Verdict::Fine | analysis::Verdict::Failed { .. } | analysis::Verdict::Inconclusive { .. } => None,
        }
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
        if !gate::open(&self.next.gates) {
            let stop = self.closed(&position);
            return self.stop(stop);
        }
        if !promotion {
            self.enter_step(next);
            return Turn::Again;
        }
        if let Some(policy) = self.plan.policy.as_ref().filter(|_| !self.is_untried()) {
            let since = self.next.exposed.as_ref().map_or(self.now, |exposed| exposed.0);
            if let Some(message) = self.without_data(policy, since) {
                let message = format!("{message}; a Decision Promote goes on without");
                return self.stop(Stop { message, waits: Waits::Decision, wake: None });
            }
        }
        self.promote()
    }

    fn promote(&mut self) -> Turn {
        self.enter(Phase::Promoting);
        self.enter_step(self.plan.steps.len());
        Turn::Again
    }
}
