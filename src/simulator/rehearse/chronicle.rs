//! What happens to a Release, told from its status alone.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use lockkeeper_api::{
    decision::Verdict,
    release::{CheckOutcome, CheckStatus, GateState, GateStatus, Phase, ReleaseStatus},
};
use parking_lot::Mutex;
use serde_json::Value;

use super::{outcome::BeatKind, scenario::Moment};
use crate::api::{Change, Key, Observer, Snapshot};

/// What has happened so far.
#[derive(Debug, Default)]
pub struct Log {
    /// When the new version was asked for.
    pub asked: Option<Timestamp>,
    /// What happened, in order.
    pub beats: Vec<(Timestamp, BeatKind, String)>,
    /// By gate, when it was closed: from and until, if it has opened.
    pub closed: BTreeMap<String, Vec<(Timestamp, Option<Timestamp>)>>,
    /// When the Release's status last said something new.
    pub changed: Option<Timestamp>,
    /// Moments from which times count.
    pub moments: BTreeMap<Moment, Timestamp>,
    /// Its last status.
    pub status: ReleaseStatus,
    /// When going back was decided, and when all traffic was back.
    pub back: Option<(Timestamp, Option<Timestamp>)>,
}

/// A log that several write.
pub type SharedLog = Arc<Mutex<Log>>;

impl Log {
    /// Adds what has happened.
    pub fn tell(&mut self, at: Timestamp, kind: BeatKind, text: impl Into<String>) {
        self.beats.push((at, kind, text.into()));
    }

    /// Whether this was what was said of phase or step last.
    fn said(&self, text: &str) -> bool {
        let mut last = self.beats.iter().rev();
        let last = last.find(|(_, kind, _)| matches!(kind, BeatKind::Phase | BeatKind::Step));
        last.is_some_and(|(_, _, said)| said == text)
    }

    /// A moment has come, unless it had already.
    pub fn moment(&mut self, moment: Moment, at: Timestamp) {
        self.moments.entry(moment).or_insert(at);
    }

    /// Takes a new status in.
    fn follow(&mut self, at: Timestamp, next: ReleaseStatus) {
        let last = std::mem::replace(&mut self.status, next.clone());
        if self.asked.is_none() {
            return;
        }
        if (last.phase, &last.message, &last.step) != (next.phase, &next.message, &next.step) {
            self.changed = Some(at);
        }
        let decided = next.decisions.iter().filter(|d| !last.decisions.iter().any(|other| other.uid == d.uid));
        for decision in decided {
            let gate = decision.gate.as_ref().map(|gate| format!(" gate {gate}")).unwrap_or_default();
            let text = format!("{} {}{gate}", decision.by, verb(decision.verdict));
            let refused = decision.refused.as_ref().map(|why| format!(": counts for nothing, {why}"));
            self.tell(at, BeatKind::Person, text + &refused.unwrap_or_default());
        }
        let leaves = matches!(
            next.phase,
            Phase::RollingBack | Phase::RolledBack | Phase::Aborted | Phase::Rejected | Phase::Invalid
        );
        self.gates(at, &last.gates, &next.gates, leaves);
        self.checks(at, &last.checks, &next.checks);
        self.course(at, &last, &next);
    }

    /// Phases, steps, traffic, going back.
    fn course(&mut self, at: Timestamp, last: &ReleaseStatus, next: &ReleaseStatus) {
        let confirmed = |status: &ReleaseStatus| status.weight.map_or(0, |weight| weight.confirmed);
        if confirmed(last) != confirmed(next) && next.going_back.is_none() && next.candidate.is_some() {
            self.tell(at, BeatKind::Traffic, format!("{} % of the traffic is confirmed", confirmed(next)));
        }
        if let Some(going) = &next.going_back
            && last.going_back.as_ref().map(|last| &last.started) != Some(&going.started)
        {
            self.back = Some((at, None));
            self.tell(at, BeatKind::Back, format!("goes back from {} %: {}", going.weight, going.message));
        }
        let finished = |status: &ReleaseStatus| status.going_back.as_ref().and_then(|going| going.finished.clone());
        if finished(last).is_none()
            && finished(next).is_some()
            && let Some((_, over)) = &mut self.back
        {
            *over = Some(at);
            self.tell(at, BeatKind::Back, "all traffic is back at the stable version");
        }
        if let Some(hold) = &next.hold
            && last.hold.as_ref().map(|last| &last.message) != Some(&hold.message)
        {
            self.tell(at, BeatKind::Phase, format!("held: {}", hold.message));
        }
        let stepped = self.stepped(at, last, next);
        if last.phase == next.phase {
            return;
        }
        match next.phase {
            Phase::Progressing | Phase::Paused => {
                self.moment(Moment::Started, at);
                // What gates say has been told, and what the step is.
                let told =
                    stepped || next.hold.is_some() || next.gates.iter().any(|gate| gate.state == GateState::Closed);
                if next.phase == Phase::Paused && !told && !self.said(&next.message) {
                    self.tell(at, BeatKind::Phase, next.message.clone());
                }
            }
            Phase::Promoting => self.tell(at, BeatKind::Phase, next.message.clone()),
            Phase::Baking => {
                self.moment(Moment::Promoted, at);
                self.tell(at, BeatKind::Phase, next.message.clone());
            }
            Phase::Stable => {
                self.moment(Moment::Promoted, at);
                self.tell(at, BeatKind::End, next.message.clone());
            }
            Phase::RolledBack | Phase::Aborted | Phase::Rejected | Phase::Invalid => {
                self.tell(at, BeatKind::End, next.message.clone());
            }
            // Its gates tell why it waits, and going back has been told.
            Phase::Waiting | Phase::RollingBack => {}
        }
    }

    /// Whether another step has begun, which is told.
    fn stepped(&mut self, at: Timestamp, last: &ReleaseStatus, next: &ReleaseStatus) -> bool {
        let Some(step) = &next.step else { return false };
        let steps = matches!(next.phase, Phase::Progressing | Phase::Paused);
        if !steps || last.step.as_ref().map(|step| step.index) == Some(step.index) {
            return false;
        }
        let [was, desired] = [last, next].map(|status| status.weight.map_or(0, |weight| weight.desired));
        let text = match next.phase == Phase::Paused {
            true => next.message.clone(),
            false if was == desired => format!("step {}", step.position),
            false => format!("step {}: to {desired} % of the traffic", step.position),
        };
        self.tell(at, BeatKind::Step, text);
        true
    }

    fn gates(&mut self, at: Timestamp, last: &[GateStatus], next: &[GateStatus], leaves: bool) {
        let closed = |gates: &[GateStatus], name: &str| {
            gates.iter().any(|gate| gate.name == name && gate.state == GateState::Closed)
        };
        for gate in next {
            if gate.state == GateState::Closed && !closed(last, &gate.name) {
                self.closed.entry(gate.name.clone()).or_default().push((at, None));
                self.tell(at, BeatKind::Gate, format!("gate {} is closed: {}", gate.name, gate.message));
            }
        }
        for gate in last.iter().filter(|gate| gate.state == GateState::Closed && !closed(next, &gate.name)) {
            if let Some((_, until)) = self.closed.get_mut(&gate.name).and_then(|spans| spans.last_mut()) {
                *until = Some(at);
            }
            // On the way back nobody asks any more, which opens nothing.
            if !leaves {
                let message =
                    next.iter().find(|other| other.name == gate.name).map(|gate| format!(": {}", gate.message));
                self.tell(at, BeatKind::Gate, format!("gate {} is open{}", gate.name, message.unwrap_or_default()));
            }
        }
    }

    fn checks(&mut self, at: Timestamp, last: &[CheckStatus], next: &[CheckStatus]) {
        for check in next {
            let before = last.iter().find(|other| other.name == check.name);
            let same = before.is_some_and(|before| before.outcome == check.outcome);
            let why = check.message.as_deref().unwrap_or("no reason given");
            let text = match check.outcome {
                CheckOutcome::Success if !same => {
                    let value = check.value.as_ref().map(|value| format!(" ({value})")).unwrap_or_default();
                    format!("{} succeeds{value}", check.name)
                }
                CheckOutcome::Failure
                    if is_worth_telling(before.map_or(0, |before| before.failures), check.failures) =>
                {
                    format!("{} fails, {} so far: {why}", check.name, check.failures)
                }
                CheckOutcome::Error if !same => format!("{} gets no answer: {why}", check.name),
                CheckOutcome::NoData if !same => format!("{} waits: {why}", check.name),
                CheckOutcome::Pending
                | CheckOutcome::Success
                | CheckOutcome::Failure
                | CheckOutcome::Error
                | CheckOutcome::NoData => continue,
            };
            self.tell(at, BeatKind::Check, text);
        }
    }
}

/// The first few failures one by one, then fewer and fewer.
const fn is_worth_telling(before: u32, now: u32) -> bool {
    now != before && (now <= 5 || now.is_power_of_two())
}

const fn verb(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approves",
        Verdict::Reject => "rejects",
        Verdict::Promote => "promotes",
        Verdict::Skip => "skips the step",
        Verdict::Pause => "pauses",
        Verdict::Resume => "resumes",
        Verdict::Retry => "lets it start again",
        Verdict::Abort => "aborts",
        Verdict::Rollback => "rolls back",
        Verdict::Override => "overrides",
    }
}

/// Writes the log of one Release.
#[derive(Debug)]
pub struct Chronicle {
    /// The Release.
    pub release: Key,
    /// Where it is written.
    pub log: SharedLog,
}

impl Observer for Chronicle {
    fn changed(&mut self, change: &Change, _: &Snapshot, _: &Snapshot) {
        if change.key != self.release || change.gone {
            return;
        }
        self.log.lock().follow(change.at, status(&change.object));
    }
}

/// The status of a Release; what cannot be read is as if it were not there.
pub fn status(release: &Value) -> ReleaseStatus {
    serde_json::from_value(release["status"].clone()).unwrap_or_default()
}
