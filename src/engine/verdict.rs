//! Decisions: each counts once, for its revision, and what it did stays counted.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    DecisionSpec,
    decision::{Subject, Verdict},
    release::{CountedDecision, GateState, Phase, ReleaseStatus, Step},
};

use crate::{
    gate,
    plan::Plan,
    world::{DecisionView, Guard, World},
};

/// The most Decisions that a status remembers.
const COUNTED_MAX: usize = 128;
/// The most of them that were counted for earlier attempts.
const SPENT_MAX: usize = 32;

/// A Decision that asks for something beyond being counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What is asked for.
    pub verdict: Verdict,
    /// The revision that it is about.
    pub revision: String,
    /// The gate, for Reject.
    pub gate: Option<String>,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

impl Command {
    /// `by alice (too slow)`.
    pub fn signed(&self) -> String {
        match &self.reason {
            Some(reason) => format!("by {} ({reason})", self.by),
            None => format!("by {}", self.by),
        }
    }
}

/// Counts the Decisions that are new, and returns what they ask for, in the order in which they were made.
pub fn count(plan: &Plan, world: &World, status: &mut ReleaseStatus) -> Vec<Command> {
    forget(world, status);
    if !matches!(world.guard, Guard::Intact) {
        return Vec::new();
    }
    let mut new: Vec<&DecisionView> = world.decisions.iter().filter(|d| concerns(status, &d.spec)).collect();
    new.retain(|d| plan.created.is_none_or(|created| d.created >= created));
    new.retain(|d| !status.decisions.iter().any(|counted| counted.uid == d.uid));
    new.retain(|d| forgotten_until(status).is_none_or(|until| d.created > until.0));
    new.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let room = COUNTED_MAX.saturating_sub(status.decisions.len());
    let mut commands = Vec::new();
    for (index, decision) in new.into_iter().enumerate() {
        // Going back is never blocked, not by many Decisions either.
        if index >= room && !matches!(decision.spec.verdict, Verdict::Abort | Verdict::Rollback) {
            continue;
        }
        let mut counted = counted(decision);
        counted.refused = refusal(plan, status, &decision.spec, &counted);
        if counted.refused.is_none() {
            let spec = &decision.spec;
            commands.push(Command {
                verdict: spec.verdict,
                revision: spec.revision.clone(),
                gate: spec.gate.clone(),
                by: spec.by.username.clone(),
                reason: spec.reason.clone(),
            });
        }
        status.decisions.push(counted);
    }
    commands
}

/// Marks what was counted so far as belonging to an earlier attempt.
pub fn spend(status: &mut ReleaseStatus) {
    for decision in &mut status.decisions {
        decision.spent = true;
    }
}

/// An earlier attempt's Decision that is deleted cannot come back, so it need not be remembered.
fn forget(world: &World, status: &mut ReleaseStatus) {
    status.decisions.retain(|counted| !counted.spent || world.decisions.iter().any(|d| d.uid == counted.uid));
    let spent = status.decisions.iter().filter(|d| d.spent).count();
    let mut surplus = spent.saturating_sub(SPENT_MAX);
    status.decisions.retain(|counted| {
        let drop = counted.spent && surplus > 0;
        surplus -= usize::from(drop);
        !drop
    });
}

/// What is not newer than this was spent, too, if it is not remembered: where as many are remembered as can be, older ones have been forgotten.
fn forgotten_until(status: &ReleaseStatus) -> Option<&Time> {
    let spent = || status.decisions.iter().filter(|decision| decision.spent);
    spent().map(|decision| &decision.at).min().filter(|_| spent().count() >= SPENT_MAX)
}

/// Whether a Decision is about the revision that its verdict acts on.
fn concerns(status: &ReleaseStatus, spec: &DecisionSpec) -> bool {
    let is = |revision: Option<&String>| revision == Some(&spec.revision);
    match spec.verdict.subject() {
        Subject::Candidate => is(status.candidate.as_ref().map(|c| &c.revision)),
        Subject::Stable => is(status.stable.as_ref().map(|s| &s.revision)),
        Subject::Blocked => status.blocked.iter().any(|b| b.revision == spec.revision && !b.retried),
    }
}

fn counted(decision: &DecisionView) -> CountedDecision {
    let spec = &decision.spec;
    let until = (spec.verdict == Verdict::Override).then(|| {
        let after = SignedDuration::from(spec.expires_after.unwrap_or(DecisionSpec::OVERRIDE_DEFAULT));
        Time(decision.created.checked_add(after).unwrap_or(Timestamp::MAX))
    });
    CountedDecision {
        uid: decision.uid.clone(),
        name: decision.name.clone(),
        verdict: spec.verdict,
        gate: spec.gate.clone(),
        by: spec.by.username.clone(),
        groups: spec.by.groups.clone(),
        at: Time(decision.created),
        until,
        spent: false,
        refused: None,
    }
}

/// Why a Decision counts for nothing, if so.
fn refusal(plan: &Plan, status: &ReleaseStatus, spec: &DecisionSpec, counted: &CountedDecision) -> Option<String> {
    let user = &spec.by.username;
    if user.starts_with("system:serviceaccount:") && !plan.setting.approving_service_accounts.contains(user) {
        return Some(format!("{user} is a service account: only people decide"));
    }
    let phase = status.phase;
    let when = |phases: &[Phase], what: &str| {
        (!phases.contains(&phase)).then(|| format!("the release was {phase}: {:?} is for {what}", spec.verdict))
    };
    let stepping = [Phase::Progressing, Phase::Paused];
    let before_promotion = [Phase::Waiting, Phase::Progressing, Phase::Paused];
    match spec.verdict {
        Verdict::Approve | Verdict::Reject => {
            let name = spec.gate.as_deref().unwrap_or_default();
            let gates = gate::approvals_in_force(plan, status);
            let Some(gate) = gates.into_iter().find(|gate| gate.name == name) else {
                return Some(format!("no approval gate {name}"));
            };
            // Who asked for a version may reject it, though not approve it.
            let author = if spec.verdict == Verdict::Approve {
                gate::refusal(plan, status, gate, counted)
            } else {
                gate::stranger(gate, counted)
            };
            let again = (spec.verdict == Verdict::Approve && gate.expires_after.is_none())
                .then(|| repeated(status, name, user))
                .flatten();
            when(&before_promotion, "a release before promotion").or(author).or(again)
        }
        Verdict::Override => {
            let name = spec.gate.as_deref().unwrap_or_default();
            match status.gates.iter().find(|gate| gate.name == name) {
                Some(gate) if gate.state == GateState::Closed => None,
                Some(_) => Some(format!("gate {name} was not closed")),
                None => Some(format!("no gate {name} was asked")),
            }
        }
        Verdict::Promote => when(&stepping, "a release that steps"),
        Verdict::Skip => when(&stepping, "a release that steps").or_else(|| {
            let step = status.step.as_ref().and_then(|step| plan.steps.get(step.index as usize));
            matches!(step, Some(Step::Approval(_))).then(|| "Skip never ends an approval step: approve its gate".into())
        }),
        Verdict::Pause | Verdict::Resume => when(&before_promotion, "a release before promotion"),
        Verdict::Retry => when(&[Phase::RolledBack, Phase::Aborted, Phase::Rejected], "a release that went back"),
        Verdict::Abort => {
            when(&[Phase::Waiting, Phase::Progressing, Phase::Paused, Phase::Promoting], "a release on its way")
        }
        // Promoted, and only clearing up.
        Verdict::Rollback if phase == Phase::Promoting && status.candidate.is_none() => None,
        Verdict::Rollback => when(&[Phase::Stable, Phase::Baking], "a version that was promoted"),
    }
}

/// Why an approval adds nothing: the same person has given it.
fn repeated(status: &ReleaseStatus, gate: &str, user: &str) -> Option<String> {
    let mut given =
        status.decisions.iter().filter(|d| d.refused.is_none() && !d.spent && d.verdict == Verdict::Approve);
    let same = given.any(|decision| decision.by == user && decision.gate.as_deref() == Some(gate));
    same.then(|| format!("{user} has approved {gate} already"))
}
