//! Checks that cannot fail, or too late, or that have too little to look at.

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{
    RollbackPolicySpec,
    release::{CheckOutcome, Step},
    rollback_policy::{Check, NoData, OnFailure},
    scalar::Duration,
};
use lockkeeper_engine::analysis::{self, Measurement, PolicyPlan, Reading};

use super::Warning;
use crate::rehearse::{
    Case,
    form::{Asked, Form, Subject, classify},
    outline::{Course, course},
    scenario::BAD_ERROR_RATE,
};

/// Whether a value of a check (`policy/check`) is a success, by the engine's own judgement.
pub fn succeeds(case: &Case, check: &str, value: f64) -> bool {
    outcome(case, check, value) == Some(CheckOutcome::Success)
}

fn outcome(case: &Case, check: &str, value: f64) -> Option<CheckOutcome> {
    let (policy, _) = check.split_once('/')?;
    let plan = PolicyPlan::parse(policy, case.policies.get(policy)?).ok()?;
    let reading = Reading::Value(value);
    let samples = Some(Reading::Value(f64::MAX));
    let measurement = Measurement { taken: Timestamp::UNIX_EPOCH, reading, samples };
    let mut checks = Vec::new();
    analysis::fold(&plan, &mut checks, &[(check.to_owned(), measurement)].into());
    checks.into_iter().find(|status| status.name == check).map(|status| status.outcome)
}

/// What a check shows of a version of this error rate that gets this part of the traffic; none where it shows something else.
fn shows(asked: &Asked, rate: f64, weight: u8) -> Option<f64> {
    let seen = match asked.subject {
        Subject::Candidate => rate,
        Subject::Everybody => rate * f64::from(weight) / 100.0,
        Subject::Stable => 0.0,
    };
    let scaled = |value: f64, percent: bool| if percent { 100.0 * value } else { value };
    match asked.form {
        Form::ErrorRatio { percent } => Some(scaled(seen, percent)),
        Form::SuccessRatio { percent } => Some(scaled(1.0 - seen, percent)),
        Form::Latency { .. } | Form::Requests | Form::RequestRate | Form::Failures | Form::FailureRate => None,
    }
}

/// When a policy would find an error rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// Never: no check that can roll back or pause fails.
    Never,
    /// So long after the first traffic, at this weight.
    After {
        /// The check.
        check: String,
        /// How long.
        time: SignedDuration,
        /// The new version's part of the traffic by then, in percent.
        weight: u8,
        /// Whether it is promoted by then.
        promoted: bool,
    },
    /// The queries are of no form that is recognised.
    Unknown,
}

/// When the policies of a Release would find an error rate from the first traffic on, if nobody is waited for.
pub fn detection(case: &Case, rate: f64, load: Option<f64>, at: Timestamp) -> Detection {
    let alone = Case { windows: Vec::new(), ..case.clone() };
    let course = course(&alone, at);
    let (mut best, mut unknown) = (Detection::Never, false);
    for (policy, spec, since) in armed(case, &course) {
        for check in spec.checks.iter().filter(|check| check.on_failure != OnFailure::Notify) {
            let Some(asked) = classify(&check.query) else {
                unknown = true;
                continue;
            };
            let name = format!("{policy}/{}", check.name);
            let Some(found) = find(case, check, &name, &asked, rate, load, &course, since) else { continue };
            best = earlier(best, found);
        }
    }
    if best == Detection::Never && unknown { Detection::Unknown } else { best }
}

fn earlier(one: Detection, other: Detection) -> Detection {
    match (&one, &other) {
        (Detection::After { time, .. }, Detection::After { time: other_time, .. }) if time <= other_time => one,
        (_, _) => other,
    }
}

/// The policies in force, each from when on: the armed one from the first traffic, others from their analysis step.
fn armed<'a>(case: &'a Case, course: &Course) -> Vec<(&'a str, &'a RollbackPolicySpec, Timestamp)> {
    let Some(exposed) = exposed(course) else { return Vec::new() };
    let mut found: Vec<_> = case.armed().map(|(name, spec)| (name, spec, exposed)).into_iter().collect();
    for (step, stage) in case.plan.steps.iter().zip(&course.stages) {
        if let Step::Analysis(analysis) = step
            && let Some((name, spec)) = case.policies.get_key_value(&analysis.policy)
            && !found.iter().any(|(known, ..)| known == name)
        {
            found.push((name, spec, stage.at));
        }
    }
    found
}

/// When the first step with traffic begins.
fn exposed(course: &Course) -> Option<Timestamp> {
    course.stages.iter().find(|stage| stage.weight > 0).map(|stage| stage.at)
}

/// When one check is a verdict.
#[expect(clippy::too_many_arguments, reason = "what a measurement depends on")]
fn find(
    case: &Case,
    check: &Check,
    name: &str,
    asked: &Asked,
    rate: f64,
    load: Option<f64>,
    course: &Course,
    since: Timestamp,
) -> Option<Detection> {
    let exposed = exposed(course)?;
    let promoted = course.promoted?;
    let end = course.over?;
    let mut failures = 0;
    let mut at = since + SignedDuration::from(check.initial_delay);
    // While it fails it keeps the version from being promoted, and is measured until its limit is reached.
    let (mut last_failed, mut held) = (false, false);
    while at <= end || last_failed {
        let after = at > promoted && !held;
        let weight = if after { 100 } else { weight(course, at) };
        let seen = shows(asked, rate, weight)?;
        last_failed = has_samples(check, load, weight) && outcome(case, name, seen) == Some(CheckOutcome::Failure);
        failures += u32::from(last_failed);
        if failures > check.failure_limit {
            let time = at.duration_since(exposed);
            return Some(Detection::After { check: name.into(), time, weight, promoted: after });
        }
        held = if at <= promoted { last_failed } else { held && last_failed };
        at += SignedDuration::from(check.interval).max(SignedDuration::from_secs(1));
    }
    None
}

/// The weight of the step that it is at, or of the last one.
fn weight(course: &Course, at: Timestamp) -> u8 {
    course.stages.iter().rev().find(|stage| stage.at <= at).map_or(0, |stage| stage.weight)
}

/// Requests per second that a check needs for its samples at a weight; none where it needs none, or that cannot be told.
fn load_needed(check: &Check, weight: u8) -> Option<f64> {
    let minimum = check.minimum_samples.as_ref()?;
    let asked = classify(&minimum.query)?;
    let part = match asked.subject {
        Subject::Candidate => f64::from(weight) / 100.0,
        Subject::Stable => 1.0 - f64::from(weight) / 100.0,
        Subject::Everybody => 1.0,
    };
    match asked.form {
        Form::Requests => Some(minimum.at_least / (part * asked.range.as_secs_f64())),
        Form::RequestRate => Some(minimum.at_least / part),
        Form::ErrorRatio { .. }
        | Form::SuccessRatio { .. }
        | Form::Latency { .. }
        | Form::Failures
        | Form::FailureRate => None,
    }
}

fn has_samples(check: &Check, load: Option<f64>, weight: u8) -> bool {
    load.zip(load_needed(check, weight)).is_none_or(|(load, needed)| load >= needed)
}

/// All warnings about checks.
pub fn warnings(case: &Case, load: Option<f64>, at: Timestamp) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if case.release.spec.rollback_policy.is_none() {
        warnings.push(Warning::new(
            "no-policy",
            "no rollbackPolicy: only crash loops, the progress deadline and people send it back, whatever its requests get",
        ));
    }
    for (policy, spec) in &case.policies {
        for check in &spec.checks {
            warnings.extend(of_check(case, policy, check, load));
        }
        if spec.checks.iter().all(|check| check.on_failure == OnFailure::Notify) {
            warnings.push(Warning::new(
                "only-notifies",
                format!("no check of policy {policy} stops a release: each has onFailure: Notify; leave it out of one"),
            ));
        }
    }
    if case.armed().is_some_and(|(_, spec)| spec.bake.is_zero()) {
        warnings.push(Warning::new(
            "no-bake",
            "the policy has no bake: what goes wrong after promotion is not noticed, and the old pods are gone",
        ));
    }
    warnings.extend(undetected(case, load, at));
    warnings
}

fn of_check(case: &Case, policy: &str, check: &Check, load: Option<f64>) -> Vec<Warning> {
    let name = format!("{policy}/{}", check.name);
    let mut warnings = Vec::new();
    let asked = classify(&check.query);
    let own = asked.filter(|asked| asked.subject != Subject::Stable);
    if let Some((worst, best)) = own.and_then(|asked| Some((shows(&asked, 1.0, 100)?, shows(&asked, 0.0, 100)?))) {
        warnings.extend(bounds(&name, (worst, succeeds(case, &name, worst)), (best, succeeds(case, &name, best))));
    }
    if asked.is_some_and(|asked| asked.subject == Subject::Stable) {
        warnings.push(Warning::new(
            "looks-at-stable",
            format!("check {name} looks at the stable version only: use {{{{ candidate.pods }}}} in its query"),
        ));
    }
    if let Some(asked) = asked.filter(|asked| asked.subject == Subject::Everybody)
        && let Some(first) = first_weight(case)
        && let Some(seen) = shows(&asked, BAD_ERROR_RATE, first)
    {
        warnings.push(Warning::new(
            "looks-at-everybody",
            format!(
                "check {name} looks at all pods together: at {first} % of the traffic a version with {} % errors shows as {}; use \
                 {{{{ candidate.pods }}}} in its query",
                100.0 * BAD_ERROR_RATE,
                plain(seen)
            ),
        ));
    }
    if check.no_data == NoData::Pass {
        warnings.push(Warning::new(
            "no-data-passes",
            format!(
                "check {name} takes no data for a success: a metric that is renamed or not scraped lets everything pass"
            ),
        ));
    }
    if let (Some(first), Some(load)) = (first_weight(case), load)
        && let Some(needed) = load_needed(check, first).filter(|needed| *needed > load)
    {
        warnings.push(Warning::new(
            "too-few-samples",
            format!(
                "check {name} has no data at {first} % of the traffic: its samples need {} requests a second, and there are {}; lower \
                 atLeast, or begin with more traffic",
                needed.ceil(),
                plain(load)
            ),
        ));
    }
    warnings
}

/// What the bounds of a check make of the worst version and of the best.
fn bounds(name: &str, worst: (f64, bool), best: (f64, bool)) -> Option<Warning> {
    let (code, fault) = match (worst, best) {
        ((_, false), (_, true)) => return None,
        ((worst, true), (best, false)) => (
            "bounds-reversed",
            format!(
                "has its bounds the wrong way round: of a version whose requests all fail it shows {worst}, which is a success, and of \
                 one without any error {best}, which is a failure; swap min and max"
            ),
        ),
        ((worst, true), _) => (
            "cannot-fail",
            format!(
                "cannot fail: of a version whose requests all fail it shows {worst}, which is a success; correct its bounds"
            ),
        ),
        (_, (best, false)) => (
            "cannot-succeed",
            format!(
                "cannot succeed: of a version without any error it shows {best}, which is a failure; correct its bounds"
            ),
        ),
    };
    Some(Warning::new(code, format!("check {name} {fault}")))
}

/// An error rate that is not found, or too late.
fn undetected(case: &Case, load: Option<f64>, at: Timestamp) -> Option<Warning> {
    case.armed().or_else(|| case.policies.iter().next().map(|(name, spec)| (name.as_str(), spec)))?;
    let percent = 100.0 * BAD_ERROR_RATE;
    let after = |time: SignedDuration| Duration::from_secs(u64::try_from(time.as_secs()).unwrap_or_default());
    match detection(case, BAD_ERROR_RATE, load, at) {
        Detection::Never => Some(Warning::new(
            "undetected",
            format!(
                "a version with {percent} % errors would be promoted: no check fails, or none has data in time; lower max, or give \
                 the steps more time"
            ),
        )),
        Detection::After { check, time, promoted: true, .. } => Some(Warning::new(
            "detected-late",
            format!(
                "a version with {percent} % errors would be found only after its promotion, {} after its first traffic by check {check} \
                 (initialDelay + failureLimit × interval): shorten these, or give the steps more time",
                after(time)
            ),
        )),
        Detection::After { check, time, weight: weight @ 51.., .. } => Some(Warning::new(
            "detected-wide",
            format!(
                "a version with {percent} % errors would get {weight} % of the traffic before check {check} finds it, {} after the first \
                 traffic: pause longer at a low weight, or shorten initialDelay, interval or failureLimit",
                after(time)
            ),
        )),
        Detection::After { .. } => None,
        Detection::Unknown => Some(Warning::new(
            "detection-unknown",
            format!(
                "whether a version with {percent} % errors would be found cannot be told: the queries are of no form that is recognised; \
                 play it with values of your own (lockkeeper simulate --metrics or --scenario)"
            ),
        )),
    }
}

/// The first weight with traffic.
fn first_weight(case: &Case) -> Option<u8> {
    case.plan.steps.iter().find_map(|step| match step {
        Step::SetWeight(weight) if *weight > 0 => Some(*weight),
        Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Pause(_) | Step::Analysis(_) | Step::Approval(_) => None,
    })
}

/// A number without the noise of binary fractions.
fn plain(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}
