//! What a measurement counts as.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    release::{CheckOutcome, CheckStatus},
    rollback_policy::NoData,
};

use super::{CheckPlan, Measurement, PolicyPlan, Reading, Success, whole};

/// Longest message, in characters: providers may be talkative.
const MESSAGE_MAX: usize = 300;

/// Counts each measurement that is newer than the last one counted, exactly once.
///
/// Afterwards `checks` has one entry for each check of the policy, and entries of checks that the policy no longer has are gone;
/// those of other policies stay. The caller starts with no entries for a new candidate and drops an earlier one's measurements.
pub fn fold(policy: &PolicyPlan, checks: &mut Vec<CheckStatus>, measurements: &BTreeMap<String, Measurement>) {
    let prefix = format!("{}/", policy.name);
    checks.retain(|status| {
        !status.name.starts_with(&prefix) || policy.checks.iter().any(|check| check.name == status.name)
    });
    for check in &policy.checks {
        let index = match checks.iter().position(|status| status.name == check.name) {
            Some(index) => index,
            None => {
                checks.push(pending(&check.name));
                checks.len() - 1
            }
        };
        let status = &mut checks[index];
        if let Some(measurement) = measurements.get(&check.name) {
            let taken = whole(measurement.taken);
            if status.last_measured.as_ref().is_none_or(|last| taken > whole(last.0)) {
                count(check, status, measurement);
                status.last_measured = Some(Time(taken));
            }
        }
    }
}

fn pending(name: &str) -> CheckStatus {
    CheckStatus {
        name: name.to_owned(),
        outcome: CheckOutcome::Pending,
        value: None,
        successes: 0,
        failures: 0,
        errors: 0,
        message: None,
        last_measured: None,
    }
}

/// What one measurement says: outcome and why it is not a success.
enum Finding {
    Success,
    Failure(String),
    Error(String),
    NoData(String),
}

fn count(check: &CheckPlan, status: &mut CheckStatus, measurement: &Measurement) {
    let (outcome, message) = match find(check, measurement) {
        Finding::Success => {
            status.successes = status.successes.saturating_add(1);
            (CheckOutcome::Success, None)
        }
        Finding::Failure(message) => {
            status.failures = status.failures.saturating_add(1);
            (CheckOutcome::Failure, Some(message))
        }
        Finding::Error(message) => (CheckOutcome::Error, Some(message)),
        Finding::NoData(message) => (CheckOutcome::NoData, Some(message)),
    };
    status.errors = if outcome == CheckOutcome::Error { status.errors.saturating_add(1) } else { 0 };
    status.outcome = outcome;
    status.message = message.map(|message| message.chars().take(MESSAGE_MAX).collect());
    status.value = match measurement.reading {
        Reading::Value(value) => Some(plain(value).to_string()),
        Reading::NoData(_) | Reading::Error(_) => None,
    };
}

fn find(check: &CheckPlan, measurement: &Measurement) -> Finding {
    let short = &check.short;
    if let Reading::Error(why) = &measurement.reading {
        return Finding::Error(format!("{short} could not be measured: {why}"));
    }
    if let Some(minimum) = &check.samples {
        // Too few samples say nothing, whatever `noData` makes of an answer without data.
        match &measurement.samples {
            Some(Reading::Value(samples)) if *samples >= minimum.at_least && samples.is_finite() => {}
            Some(Reading::Value(samples)) if samples.is_finite() => {
                return Finding::NoData(format!("{short} has {samples} samples, needs {}", minimum.at_least));
            }
            Some(Reading::Value(samples)) => {
                return Finding::NoData(format!("{short} has no number of samples: the answer is {samples}"));
            }
            Some(Reading::NoData(why)) => return Finding::NoData(format!("{short} has no number of samples: {why}")),
            Some(Reading::Error(why)) => {
                return Finding::Error(format!("samples of {short} could not be counted: {why}"));
            }
            None => return Finding::NoData(format!("{short} has no number of samples: it was not asked for")),
        }
    }
    match &measurement.reading {
        Reading::Value(value) if value.is_finite() => judge(check, *value),
        Reading::Value(value) => without_data(check, &format!("the answer is {value}")),
        Reading::NoData(why) => without_data(check, why),
        Reading::Error(why) => Finding::Error(format!("{short} could not be measured: {why}")),
    }
}

fn without_data(check: &CheckPlan, why: &str) -> Finding {
    let message = format!("{} has no data: {why}", check.short);
    match check.no_data {
        NoData::Wait => Finding::NoData(message),
        NoData::Fail => Finding::Failure(message),
        NoData::Pass => Finding::Success,
    }
}

/// A number without the noise that binary fractions have behind their twelfth digit.
fn plain(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

/// Judges a finite value.
fn judge(check: &CheckPlan, value: f64) -> Finding {
    let short = &check.short;
    let shown = plain(value);
    match &check.success {
        Success::Bounds { min: Some(min), .. } if value < *min => {
            Finding::Failure(format!("{short} is {shown}, below min {min}"))
        }
        Success::Bounds { max: Some(max), .. } if value > *max => {
            Finding::Failure(format!("{short} is {shown}, above max {max}"))
        }
        Success::Bounds { .. } => Finding::Success,
        Success::Condition(condition) => match condition.holds(value) {
            Ok(true) => Finding::Success,
            Ok(false) => Finding::Failure(format!("{short} is {shown}, condition {condition} is false")),
            Err(why) => Finding::Error(format!("{short} is {shown}, but {why}")),
        },
    }
}
