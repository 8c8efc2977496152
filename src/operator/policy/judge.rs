//! What the answers to a policy's queries say of the policy. Pure: no request, no clock.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    Release,
    release::{CheckOutcome, RevisionStatus},
    rollback_policy::{PolicyCheckStatus, RollbackPolicyStatus},
};
use lockkeeper_engine::analysis::{self, Facts, Measurement, NOTHING, PolicyPlan, Reading, Side};

use super::trial::Answers;
use crate::{cache::Key, condition::Verdict, measure::Trouble};

/// A result of the same outcome is published again after this time: people want to see a number that is not too old.
const REFRESHED_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Reasons of the condition Ready; the last two are those of [`Verdict::of`], too.
const NO_RELEASE: &str = "NoRelease";
const UNREACHABLE: &str = "Unreachable";
const VALID: &str = "Valid";
const INVALID: &str = "Invalid";

/// The Release whose stable version a query is tried on: at rest there is no candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    release: Key,
    stable: RevisionStatus,
}

impl Subject {
    /// The first by name that has a stable version.
    pub fn among(users: &[(Key, Arc<Release>)]) -> Option<Self> {
        users.iter().find_map(|(key, release)| {
            let stable = release.status.as_ref()?.stable.clone()?;
            Some(Self { release: key.clone(), stable })
        })
    }

    /// What placeholders stand for: on both sides the stable version, or what matches nothing.
    pub fn facts(subject: Option<&Self>, namespace: &str) -> Facts {
        let nothing = || NOTHING.to_owned();
        let side = subject.map_or_else(
            || Side { pods: nothing(), version: nothing(), revision: nothing() },
            |subject| Side::of(&subject.stable),
        );
        Facts {
            namespace: subject.map_or(namespace, |subject| &subject.release.namespace).to_owned(),
            release: subject.map_or_else(nothing, |subject| subject.release.name.clone()),
            version: side.version.clone(),
            candidate: side.clone(),
            stable: side,
        }
    }
}

/// What a published status that is about a policy as it is now goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// When its latest answer was measured, in whole seconds.
    pub measured: Timestamp,
    /// Whether it says that the policy can be trusted. If not, it does not hold for a process that has not asked yet: what the provider could
    /// not answer to the last one, it may answer to this one.
    pub ready: bool,
}

impl Published {
    /// What is published about this generation; none if that is nothing, or not all. A status without any pods that a query could be about
    /// is nothing, once there are some.
    pub fn of(
        before: &RollbackPolicyStatus,
        plan: &PolicyPlan,
        generation: Option<i64>,
        with_pods: bool,
    ) -> Option<Self> {
        let ready = before.conditions.iter().find(|condition| condition.type_ == "Ready")?;
        let fits = before.observed_generation == generation && (ready.reason != NO_RELEASE || !with_pods);
        let all = plan.checks.iter().all(|check| before.checks.iter().any(|status| status.name == check.short));
        let measured = before.checks.iter().map(|check| check.measured.0).max().filter(|_| fits && all)?;
        Some(Self { measured, ready: ready.status == "True" })
    }
}

/// What a trial and, where they are newer, the measurements of releases say.
pub fn judge(
    plan: &PolicyPlan,
    answers: &Answers,
    subject: Option<&Subject>,
    measured: &BTreeMap<String, Measurement>,
) -> (Vec<PolicyCheckStatus>, Verdict) {
    let tried = answers.iter().map(|(name, answer)| (name.clone(), answer.measurement.clone())).collect();
    let mut checks = statuses(plan, &tried);
    if subject.is_none() {
        for check in checks.iter_mut().filter(|check| is_empty(plan, check, &tried)) {
            check.outcome = CheckOutcome::NoData;
            let message = format!(
                "{}: no Release with a stable version uses this policy yet, so there was nothing to match",
                check.name
            );
            check.message = Some(message);
        }
    }
    let verdict = verdict(plan, &checks, answers, subject);
    (newer(plan, checks, measured), verdict)
}

/// What is published, and, where they are newer, the measurements of releases.
pub fn follow(
    plan: &PolicyPlan,
    before: &RollbackPolicyStatus,
    measured: &BTreeMap<String, Measurement>,
) -> (Vec<PolicyCheckStatus>, Verdict) {
    let ready = before.conditions.iter().find(|condition| condition.type_ == "Ready");
    let told = ready.map_or("", |ready| ready.reason.as_str());
    let reason = [NO_RELEASE, UNREACHABLE, INVALID].into_iter().find(|reason| *reason == told).unwrap_or(VALID);
    let message = ready.map(|ready| ready.message.clone()).unwrap_or_default();
    let ready = ready.is_none_or(|ready| ready.status == "True");
    (newer(plan, before.checks.clone(), measured), Verdict { ready, reason, message })
}

/// Whether a status is worth a write: another outcome, or a number that people would take for older than it is.
pub fn meaningful(before: &RollbackPolicyStatus, after: &RollbackPolicyStatus) -> bool {
    let strip = |status: &RollbackPolicyStatus| {
        let mut status = status.clone();
        for check in &mut status.checks {
            (check.value, check.message, check.measured) = (None, None, Time(Timestamp::UNIX_EPOCH));
        }
        status
    };
    let old = |(before, after): (&PolicyCheckStatus, &PolicyCheckStatus)| {
        after.measured.0.duration_since(before.measured.0) >= REFRESHED_AFTER
    };
    // A trial that failed again tells nothing new, however long it has been trying.
    let answered = |(_, after): &(&PolicyCheckStatus, &PolicyCheckStatus)| after.outcome != CheckOutcome::Error;
    strip(before) != strip(after) || before.checks.iter().zip(&after.checks).filter(answered).any(old)
}

/// What each measurement counts as, in the order of the policy. Checks without a measurement are left out.
fn statuses(plan: &PolicyPlan, measured: &BTreeMap<String, Measurement>) -> Vec<PolicyCheckStatus> {
    let mut checks = Vec::new();
    analysis::fold(plan, &mut checks, measured);
    let told = plan.checks.iter().filter_map(|check| {
        let status = checks.iter().find(|status| status.name == check.name)?;
        Some(PolicyCheckStatus {
            name: check.short.clone(),
            outcome: status.outcome,
            value: status.value.clone(),
            message: status.message.clone(),
            measured: status.last_measured.clone()?,
        })
    });
    told.collect()
}

/// The same with those that releases have measured since. An error of theirs says less than a trial of our own, which follows.
fn newer(
    plan: &PolicyPlan,
    mut checks: Vec<PolicyCheckStatus>,
    measured: &BTreeMap<String, Measurement>,
) -> Vec<PolicyCheckStatus> {
    for status in statuses(plan, measured).into_iter().filter(|status| status.outcome != CheckOutcome::Error) {
        if let Some(held) = checks.iter_mut().find(|held| held.name == status.name)
            // In whole seconds, as they are published: nobody must find both newer than the other.
            && held.measured.0.as_second() < status.measured.0.as_second()
        {
            *held = status;
        }
    }
    checks
}

/// Whether a check had no data, whatever the policy takes that for.
fn is_empty(plan: &PolicyPlan, check: &PolicyCheckStatus, tried: &BTreeMap<String, Measurement>) -> bool {
    let plan = plan.checks.iter().find(|plan| plan.short == check.name);
    let measurement = plan.and_then(|plan| tried.get(&plan.name));
    measurement.is_some_and(|measurement| {
        let no_data = |reading: &Reading| matches!(reading, Reading::NoData(_));
        no_data(&measurement.reading) || (check.outcome == CheckOutcome::NoData && measurement.samples.is_some())
    })
}

/// Whether the policy can be trusted: every query was answered, and every answer understood.
fn verdict(plan: &PolicyPlan, checks: &[PolicyCheckStatus], answers: &Answers, subject: Option<&Subject>) -> Verdict {
    let failed: Vec<_> = checks.iter().filter(|check| check.outcome == CheckOutcome::Error).collect();
    if failed.is_empty() {
        return match subject {
            Some(Subject { release, stable }) => Verdict {
                ready: true,
                reason: VALID,
                message: format!("no faults; tried on version {} of Release {release}", stable.version),
            },
            None => Verdict {
                ready: true,
                reason: NO_RELEASE,
                message: "no faults; no Release with a stable version uses it yet, so no query could match anything"
                    .into(),
            },
        };
    }
    let trouble = |check: &PolicyCheckStatus| {
        let plan = plan.checks.iter().find(|plan| plan.short == check.name)?;
        answers.get(&plan.name)?.trouble
    };
    // Without trouble it is the condition that failed on the value.
    let passing = failed.iter().all(|check| trouble(check) == Some(Trouble::Passing));
    let reason = if passing { UNREACHABLE } else { INVALID };
    let messages = failed.iter().map(|check| check.message.clone().unwrap_or_else(|| format!("{} failed", check.name)));
    Verdict { ready: false, reason, message: messages.collect::<Vec<_>>().join("; ") }
}

#[cfg(test)]
mod tests;
