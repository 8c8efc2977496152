mod faults;
mod limits;
mod measured;
mod properties;
mod verdict;

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockkeeper_api::{RollbackPolicySpec, release::CheckStatus};

use super::{Measurement, PolicyPlan, Reading, fold};

/// The smallest policy with this in its one check, beside name and query.
fn spec(check: &str) -> RollbackPolicySpec {
    let lines: String = check.lines().map(|line| format!("  {line}\n")).collect();
    let query = if check.contains("query:") && !check.contains("minimumSamples") { "" } else { "  query: up\n" };
    serde_saphyr::from_str(&format!("checks:\n- name: error-rate\n{query}{lines}")).unwrap()
}

fn plan(check: &str) -> PolicyPlan {
    PolicyPlan::parse("slo", &spec(check)).unwrap()
}

/// A policy of two checks, each given in flow style.
fn two(first: &str, second: &str) -> PolicyPlan {
    let yaml = format!("checks: [{{name: a, query: up, {first}}}, {{name: b, query: up, {second}}}]");
    PolicyPlan::parse("slo", &serde_saphyr::from_str(&yaml).unwrap()).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn taken(seconds: i64, reading: Reading) -> Measurement {
    Measurement { taken: at(seconds), reading, samples: None }
}

/// Folds the readings of one check, 30 s apart, from second 0.
fn run(policy: &PolicyPlan, check: &str, readings: impl IntoIterator<Item = Reading>) -> Vec<CheckStatus> {
    let mut checks = Vec::new();
    extend(policy, &mut checks, check, readings);
    checks
}

fn extend(
    policy: &PolicyPlan,
    checks: &mut Vec<CheckStatus>,
    check: &str,
    readings: impl IntoIterator<Item = Reading>,
) {
    for (index, reading) in (0..).zip(readings) {
        fold(policy, checks, &BTreeMap::from([(check.to_owned(), taken(index * 30, reading))]));
    }
}

fn value(value: f64) -> Reading {
    Reading::Value(value)
}

fn no_data() -> Reading {
    Reading::NoData("the answer is empty".into())
}

fn error() -> Reading {
    Reading::Error("connection refused".into())
}

const CHECK: &str = "slo/error-rate";
