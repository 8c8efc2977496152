//! What follows from the checks' counts.

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{
    release::{CheckOutcome, CheckStatus},
    rollback_policy::OnFailure,
};

use super::{CheckPlan, PolicyPlan, status_of, whole};

/// How much later than two intervals a measurement may be and still be recent: time for a slow provider.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// What the checks of a policy say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against going on.
    Fine,
    /// These checks, by `<policy>/<check>`, have no data that counts yet.
    NoDataYet(Vec<String>),
    /// A check failed more often than its limit.
    Failed {
        /// `<policy>/<check>`.
        check: String,
        /// What follows. Notify only if nothing else speaks against going on: it stops nothing.
        follows: OnFailure,
        /// Why, in one sentence.
        message: String,
    },
    /// A check could not be measured more often in a row than its limit.
    Inconclusive {
        /// `<policy>/<check>`.
        check: String,
        /// Why, in one sentence.
        message: String,
    },
}

/// What the checks say while exposure stays or grows: the worst first.
///
/// Failed with Rollback, Failed with Pause, Inconclusive, NoDataYet, Failed with Notify, Fine. Checks with Notify count only in
/// the last but one. One success is enough to have data: see [`conclude`] for the end of a step.
pub fn verdict(policy: &PolicyPlan, checks: &[CheckStatus]) -> Verdict {
    judge(policy, checks, |_, status| match status.outcome {
        CheckOutcome::Success | CheckOutcome::Failure => true,
        CheckOutcome::Pending | CheckOutcome::NoData | CheckOutcome::Error => false,
    })
}

/// What the checks say at the end of an analysis step and at promotion.
///
/// As [`verdict`], but the last measurement of every check that is not Notify must be a success, taken after `since` (when the
/// candidate first had traffic) and at most two intervals and 30 seconds ago; otherwise the check is in NoDataYet, which the
/// caller makes inconclusive when the step has no time left. A last measurement that failed within its limit waits too.
pub fn conclude(policy: &PolicyPlan, checks: &[CheckStatus], since: Timestamp, now: Timestamp) -> Verdict {
    judge(policy, checks, |check, status| {
        let recent = status.last_measured.as_ref().is_some_and(|last| {
            let limit = SignedDuration::from(check.interval) * 2 + GRACE;
            // A measurement of the future is one by another clock: within the same limit it counts.
            last.0 >= whole(since) && now.duration_since(last.0).abs() <= limit
        });
        status.outcome == CheckOutcome::Success && recent
    })
}

/// Goes through the kinds of trouble, the worst first.
fn judge(policy: &PolicyPlan, checks: &[CheckStatus], settled: impl Fn(&CheckPlan, &CheckStatus) -> bool) -> Verdict {
    let failed = |follows: OnFailure| {
        policy.checks.iter().filter(move |check| check.on_failure == follows).find_map(|check| failure(check, checks))
    };
    let blocking = || policy.checks.iter().filter(|check| check.on_failure != OnFailure::Notify);
    let inconclusive = || blocking().find_map(|check| inconclusive(check, checks));
    let waiting = || {
        let names: Vec<String> = blocking()
            .filter(|check| !status_of(checks, &check.name).is_some_and(|status| settled(check, status)))
            .map(|check| check.name.clone())
            .collect();
        (!names.is_empty()).then_some(Verdict::NoDataYet(names))
    };
    failed(OnFailure::Rollback)
        .or_else(|| failed(OnFailure::Pause))
        .or_else(inconclusive)
        .or_else(waiting)
        .or_else(|| failed(OnFailure::Notify))
        .unwrap_or(Verdict::Fine)
}

fn failure(check: &CheckPlan, checks: &[CheckStatus]) -> Option<Verdict> {
    let status = status_of(checks, &check.name).filter(|status| status.failures > check.failure_limit)?;
    let counts = format!("({} {}, limit {})", status.failures, plural("failure", status.failures), check.failure_limit);
    let message = match (&status.message, status.outcome) {
        (Some(message), CheckOutcome::Failure) => format!("{message} {counts}"),
        (Some(_) | None, _) => format!("{} failed too often {counts}", check.short),
    };
    Some(Verdict::Failed { check: check.name.clone(), follows: check.on_failure, message })
}

fn inconclusive(check: &CheckPlan, checks: &[CheckStatus]) -> Option<Verdict> {
    let status = status_of(checks, &check.name).filter(|status| status.errors > check.consecutive_error_limit)?;
    let why = status.message.clone().unwrap_or_else(|| format!("{} could not be measured", check.short));
    let counts = format!(
        "({} {} in a row, limit {})",
        status.errors,
        plural("error", status.errors),
        check.consecutive_error_limit
    );
    Some(Verdict::Inconclusive { check: check.name.clone(), message: format!("{why} {counts}") })
}

fn plural(word: &str, count: u32) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Whether outcomes or counts of failures and errors differ, so that a status write is worth it; values, times and successes
/// alone are not.
pub fn meaningful(old: &[CheckStatus], new: &[CheckStatus]) -> bool {
    let essence = |status: &CheckStatus| (status.name.clone(), status.outcome, status.failures, status.errors);
    !old.iter().map(essence).eq(new.iter().map(essence))
}
