//! What the checks of a RollbackPolicy say: which are due, what a measurement counts as, and what follows.
//!
//! ```text
//! RollbackPolicySpec -parse-> PolicyPlan -due-> Request -(a provider answers)-> Measurement -fold-> CheckStatus -> Verdict
//! ```
//!
//! No data is never success: only a finite value within its bounds is one, and [`conclude`] wants a recent one of every check
//! that may stop a release. All times are counted in whole seconds, because the status keeps no more: a measurement that
//! was folded before a restart is recognised after it.

mod condition;
mod fold;
mod query;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{
    RollbackPolicySpec,
    release::{CheckStatus, RevisionStatus},
    rollback_policy::{Check, NoData, OnFailure, OnInconclusive, Rollback, WorkloadChecks},
    scalar::Duration,
};
use serde::{Deserialize, Serialize};

use self::{condition::Condition, query::Query};
pub use self::{
    fold::fold,
    query::PLACEHOLDERS,
    verdict::{Verdict, conclude, meaningful, verdict},
};
use crate::window::selector;

/// A RollbackPolicy that can work.
#[derive(Clone, Debug)]
pub struct PolicyPlan {
    /// Name of the policy.
    pub name: String,
    /// The checks, in the order of the spec.
    pub checks: Vec<CheckPlan>,
    /// What the state of the candidate's pods leads to.
    pub workload: WorkloadChecks,
    /// What follows when a check ends without a verdict.
    pub on_inconclusive: OnInconclusive,
    /// How traffic goes back.
    pub rollback: Rollback,
    /// How long the policy stays armed after promotion.
    pub bake: Duration,
}

/// A policy as read once for all who use it, or its faults.
pub type ParsedPolicy = Result<Arc<PolicyPlan>, Vec<String>>;

/// A check that can work.
#[derive(Clone, Debug)]
pub struct CheckPlan {
    /// `<policy>/<check>`: the name in requests, measurements and status.
    pub name: String,
    /// Name of the check within its policy, for sentences.
    pub short: String,
    /// What follows a failure.
    pub on_failure: OnFailure,
    query: Query,
    success: Success,
    samples: Option<Samples>,
    interval: Duration,
    initial_delay: Duration,
    failure_limit: u32,
    consecutive_error_limit: u32,
    no_data: NoData,
}

/// When a value is a success.
#[derive(Clone, Debug)]
enum Success {
    /// Within the bounds, which belong to it.
    Bounds { min: Option<f64>, max: Option<f64> },
    /// When the expression is true.
    Condition(Condition),
}

/// How many samples there must be.
#[derive(Clone, Debug)]
struct Samples {
    query: Query,
    at_least: f64,
}

/// Matches no name, neither as a text nor as a regular expression.
pub const NOTHING: &str = "none^";

/// One version's side in a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// A regular expression (RE2) that matches the names of the pods, already escaped as such.
    pub pods: String,
    /// The version's name for people.
    pub version: String,
    /// The revision.
    pub revision: String,
}

impl Side {
    /// The pods of a revision, and what it is called.
    pub fn of(revision: &RevisionStatus) -> Self {
        let names = revision.workloads.iter().map(|workload| {
            let name = format!("{}-{}", workload.name, workload.hash);
            // Names hold letters, digits, dashes and dots, of which only the dot means anything to RE2.
            name.replace('.', "\\.")
        });
        let names: Vec<_> = names.collect();
        let pods = match names.as_slice() {
            [] => NOTHING.to_owned(),
            [one] => format!("{one}-[a-z0-9]+"),
            several => format!("({})-[a-z0-9]+", several.join("|")),
        };
        Self { pods, version: revision.version.clone(), revision: revision.revision.clone() }
    }
}

/// What the placeholders of a query stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Namespace of the release.
    pub namespace: String,
    /// Name of the release.
    pub release: String,
    /// The version that is on its way.
    pub version: String,
    /// The version that is measured.
    pub candidate: Side,
    /// The version that it is compared with.
    pub stable: Side,
}

/// A measurement that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `<policy>/<check>`.
    pub check: String,
    /// The query, without placeholders.
    pub query: String,
    /// The query for the number of samples, where the check wants to know it.
    pub samples: Option<String>,
}

/// A provider's answer to one query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reading {
    /// A number. One that is not finite counts as no data.
    Value(f64),
    /// An answer without data, and why, as a phrase for people.
    NoData(String),
    /// No answer, and why, as a phrase for people.
    Error(String),
}

/// A provider's answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// When it was asked.
    pub taken: Timestamp,
    /// Answer to the query.
    pub reading: Reading,
    /// Answer to the query for the number of samples; none where it was not asked.
    pub samples: Option<Reading>,
}

impl PolicyPlan {
    /// Reads a policy.
    ///
    /// # Errors
    /// All faults, each of which names the check and how to mend it.
    pub fn parse(name: &str, spec: &RollbackPolicySpec) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        if spec.checks.is_empty() {
            faults.push("checks is empty: add a check".to_owned());
        }
        if let Some(Err(fault)) = spec.allow_namespaces.as_ref().map(|allow| selector::matches(allow, &BTreeMap::new()))
        {
            faults.push(format!("allowNamespaces: {fault}"));
        }
        let mut seen = BTreeSet::new();
        for check in &spec.checks {
            if !seen.insert(check.name.as_str()) {
                faults.push(format!("check {}: the name occurs twice: rename one", check.name));
            }
        }
        let mut checks = Vec::new();
        for check in &spec.checks {
            match CheckPlan::parse(name, check) {
                Ok(plan) => checks.push(plan),
                Err(found) => faults.extend(found.into_iter().map(|fault| format!("check {}: {fault}", check.name))),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            name: name.to_owned(),
            checks,
            workload: spec.workload.clone(),
            on_inconclusive: spec.on_inconclusive,
            rollback: spec.rollback.clone(),
            bake: spec.bake,
        })
    }
}

impl CheckPlan {
    fn parse(policy: &str, check: &Check) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        if check.interval.is_zero() {
            faults.push("interval is 0s: give at least 1s".to_owned());
        }
        let query = Query::parse(&check.query).map_err(|fault| faults.push(format!("query {fault}"))).ok();
        let success = success(check).map_err(|found| faults.extend(found)).ok();
        let samples = match &check.minimum_samples {
            None => None,
            Some(minimum) => {
                if !(minimum.at_least.is_finite() && minimum.at_least > 0.0) {
                    faults.push(format!("minimumSamples.atLeast is {}: give a number above 0", minimum.at_least));
                }
                Query::parse(&minimum.query)
                    .map_err(|fault| faults.push(format!("minimumSamples.query {fault}")))
                    .ok()
                    .map(|query| Samples { query, at_least: minimum.at_least })
            }
        };
        let (Some(query), Some(success), true) = (query, success, faults.is_empty()) else { return Err(faults) };
        Ok(Self {
            name: format!("{policy}/{}", check.name),
            short: check.name.clone(),
            on_failure: check.on_failure,
            query,
            success,
            samples,
            interval: check.interval,
            initial_delay: check.initial_delay,
            failure_limit: check.failure_limit,
            consecutive_error_limit: check.consecutive_error_limit,
            no_data: check.no_data,
        })
    }

    /// When it is due, given that the candidate has had traffic since `since`.
    fn due(&self, status: Option<&CheckStatus>, since: Timestamp) -> Timestamp {
        let first = after(since, self.initial_delay);
        match status.and_then(|status| status.last_measured.as_ref()) {
            Some(last) => first.max(after(whole(last.0), self.interval)),
            None => first,
        }
    }
}

/// Reads when a value is a success.
fn success(check: &Check) -> Result<Success, Vec<String>> {
    let bounds = [("min", check.min), ("max", check.max)];
    match &check.condition {
        Some(condition) if bounds.iter().all(|(_, bound)| bound.is_none()) => {
            Condition::parse(condition).map(Success::Condition).map_err(|fault| vec![format!("condition {fault}")])
        }
        Some(_) => Err(vec!["has bounds and a condition: give either min and/or max, or condition".to_owned()]),
        None => {
            let mut faults: Vec<String> = bounds
                .iter()
                .filter_map(|(name, bound)| {
                    bound
                        .filter(|bound| !bound.is_finite())
                        .map(|bound| format!("{name} is {bound}: give a finite number"))
                })
                .collect();
            match (check.min, check.max) {
                (None, None) => faults.push("says of no value that it is bad: give min, max or condition".to_owned()),
                (Some(min), Some(max)) if min > max => {
                    faults.push(format!("min {min} is above max {max}: no value can succeed"))
                }
                (Some(_), _) | (_, Some(_)) => {}
            }
            if faults.is_empty() { Ok(Success::Bounds { min: check.min, max: check.max }) } else { Err(faults) }
        }
    }
}

/// The measurements that are due now, and when the next one is.
///
/// `since` is when the candidate first had traffic. Those due now count as asked now for the second answer, so that a lost
/// request is asked again after its interval; it is none only for a policy without checks.
pub fn due(
    policy: &PolicyPlan,
    checks: &[CheckStatus],
    facts: &Facts,
    since: Timestamp,
    now: Timestamp,
) -> (Vec<Request>, Option<Timestamp>) {
    let mut requests = Vec::new();
    let mut next: Option<Timestamp> = None;
    for check in &policy.checks {
        let mut at = check.due(status_of(checks, &check.name), since);
        if at <= now {
            // A query that cannot be filled in is never asked, so it has no data and stops the release; `parse` has refused all of
            // them that are known to exist.
            if let (Ok(query), Ok(samples)) =
                (check.query.fill(facts), check.samples.as_ref().map(|samples| samples.query.fill(facts)).transpose())
            {
                requests.push(Request { check: check.name.clone(), query, samples });
            }
            at = after(now, check.interval);
        }
        next = Some(next.map_or(at, |next| next.min(at)));
    }
    (requests, next)
}

/// The status of the check of this name.
fn status_of<'a>(checks: &'a [CheckStatus], name: &str) -> Option<&'a CheckStatus> {
    checks.iter().find(|status| status.name == name)
}

/// A moment later; the end of time where there is none.
fn after(moment: Timestamp, duration: Duration) -> Timestamp {
    moment.saturating_add(SignedDuration::from(duration)).unwrap_or(Timestamp::MAX)
}

/// A moment as the status keeps it: in whole seconds.
fn whole(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}
