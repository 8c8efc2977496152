//! What is asked and when, and what an answer is in the status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockkeeper_api::release::{CheckOutcome, CheckStatus};

use super::{CHECK, at, error, no_data, plan, run, spec, two, value};
use crate::analysis::{Facts, Measurement, PolicyPlan, Reading, Side, due, fold, meaningful};

#[test]
fn names_cannot_leave_their_quotes() {
    let policy = plan("query: 'up{a=\"{{ version }}\",b=~\"{{ candidate.pods }}\"}'\nmax: 1");
    let cases = [
        (r#"1.0"} or vector(0) #"#, r#"1.0\"} or vector(0) #"#),
        (r"a\", r"a\\"),
        ("a\nb\rc", r"a\nb\rc"),
        ("it's `so`", r"it\x27s \x60so\x60"),
        ("{{ namespace }}", "{{ namespace }}"),
    ];
    for (version, written) in cases {
        let facts = Facts {
            version: version.into(),
            candidate: Side { pods: r"web\.1-.*".into(), ..Side::default() },
            ..Facts::default()
        };
        let (requests, _) = due(&policy, &[], &facts, at(0), at(0));
        assert_eq!(requests[0].query, format!(r#"up{{a="{written}",b=~"web\\.1-.*"}}"#), "{version}");
    }
}

#[test]
fn the_first_is_due_after_the_delay_and_the_next_an_interval_after_the_last() {
    let policy = plan("max: 1\ninterval: 10s\ninitialDelay: 20s");
    let measured = run(&policy, CHECK, [value(0.0), value(0.0)]); // the last one at second 30
    let none: &[CheckStatus] = &[];
    let measured = measured.as_slice();
    let cases = [
        ("before the delay nothing is due", none, 0, 19, false, 20),
        ("at the delay's end it is due", none, 0, 20, true, 30),
        ("within the interval nothing is due", measured, 0, 39, false, 40),
        ("at the interval's end it is due", measured, 0, 40, true, 50),
        ("much later it is due once", measured, 0, 400, true, 410),
        ("a new exposure waits for its own delay", measured, 100, 110, false, 120),
    ];
    for (name, checks, since, now, wanted, next) in cases {
        let (requests, when) = due(&policy, checks, &Facts::default(), at(since), at(now));
        assert_eq!((!requests.is_empty(), when), (wanted, Some(at(next))), "{name}");
    }
    let (_, next) = due(&policy, &[], &Facts::default(), Timestamp::MAX, Timestamp::MAX);
    assert_eq!(next, Some(Timestamp::MAX), "the end of time");
}

#[test]
fn a_measurement_counts_as_what_it_is() {
    let samples = "max: 1\nnoData: Pass\nminimumSamples: {query: up, atLeast: 200}";
    use CheckOutcome::{Error, Failure, NoData, Success};
    let cases = [
        ("within the bounds", "min: 0\nmax: 1", value(0.5), None, Success, ""),
        ("the lower bound belongs to it", "min: 0\nmax: 1", value(0.0), None, Success, ""),
        ("the upper bound belongs to it", "min: 0\nmax: 1", value(1.0), None, Success, ""),
        ("above", "max: 0.01", value(0.104), None, Failure, "error-rate is 0.104, above max 0.01"),
        ("below", "min: 0.99", value(0.5), None, Failure, "error-rate is 0.5, below min 0.99"),
        ("NaN", "max: 1", value(f64::NAN), None, NoData, "error-rate has no data: the answer is NaN"),
        (
            "endless, within min",
            "min: 0",
            value(f64::INFINITY),
            None,
            NoData,
            "error-rate has no data: the answer is inf",
        ),
        (
            "endless, within max",
            "max: 0",
            value(f64::NEG_INFINITY),
            None,
            NoData,
            "error-rate has no data: the answer is -inf",
        ),
        (
            "NaN and Fail",
            "max: 1\nnoData: Fail",
            value(f64::NAN),
            None,
            Failure,
            "error-rate has no data: the answer is NaN",
        ),
        ("no data", "max: 1", no_data(), None, NoData, "error-rate has no data: the answer is empty"),
        (
            "no data and Fail",
            "max: 1\nnoData: Fail",
            no_data(),
            None,
            Failure,
            "error-rate has no data: the answer is empty",
        ),
        ("no data and Pass", "max: 1\nnoData: Pass", no_data(), None, Success, ""),
        (
            "an error is none of these",
            "max: 1\nnoData: Pass",
            error(),
            None,
            Error,
            "error-rate could not be measured: connection refused",
        ),
        ("a true condition", "condition: value < 0.01 || value > 9.0", value(10.0), None, Success, ""),
        (
            "a false condition",
            "condition: value < 0.01",
            value(0.5),
            None,
            Failure,
            "error-rate is 0.5, condition value < 0.01 is false",
        ),
        ("an integer in a condition", "condition: value < 1", value(0.5), None, Success, ""),
        (
            "a NaN condition is not asked",
            "condition: value != 1.0",
            value(f64::NAN),
            None,
            NoData,
            "error-rate has no data: the answer is NaN",
        ),
        (
            "a condition that fails for this number",
            "condition: 10 / int(value) > 1",
            value(0.0),
            None,
            Error,
            "error-rate is 0, but the condition cannot be evaluated: Division by zero",
        ),
        ("enough samples", samples, value(0.5), Some(value(200.0)), Success, ""),
        (
            "too few samples wait, even with Pass",
            samples,
            value(0.5),
            Some(value(199.0)),
            NoData,
            "error-rate has 199 samples, needs 200",
        ),
        (
            "too few samples wait, even with a bad value",
            samples,
            value(5.0),
            Some(value(0.0)),
            NoData,
            "error-rate has 0 samples, needs 200",
        ),
        (
            "no number of samples waits, even with Pass",
            samples,
            no_data(),
            Some(no_data()),
            NoData,
            "error-rate has no number of samples: the answer is empty",
        ),
        (
            "endless samples wait",
            samples,
            value(0.5),
            Some(value(f64::INFINITY)),
            NoData,
            "error-rate has no number of samples: the answer is inf",
        ),
        (
            "samples not asked for wait",
            samples,
            value(0.5),
            None,
            NoData,
            "error-rate has no number of samples: it was not asked for",
        ),
        (
            "samples that fail",
            samples,
            value(0.5),
            Some(error()),
            Error,
            "samples of error-rate could not be counted: connection refused",
        ),
        ("enough samples without value and Pass", samples, no_data(), Some(value(300.0)), Success, ""),
    ];
    for (name, check, reading, samples, outcome, message) in cases {
        let mut checks = Vec::new();
        let measurement = Measurement { taken: at(0), reading, samples };
        fold(&plan(check), &mut checks, &BTreeMap::from([(CHECK.to_owned(), measurement)]));
        let status = &checks[0];
        assert_eq!(status.outcome, outcome, "{name}");
        assert!(status.message.as_deref().unwrap_or_default().starts_with(message), "{name}: {:?}", status.message);
        assert_eq!(status.message.is_none(), message.is_empty(), "{name}");
        let counts = (status.successes, status.failures, status.errors);
        let wanted = (u32::from(outcome == Success), u32::from(outcome == Failure), u32::from(outcome == Error));
        assert_eq!(counts, wanted, "{name}");
    }
}

#[test]
fn the_status_holds_the_checks_of_the_policy_and_leaves_others_alone() {
    let other = PolicyPlan::parse("slo2", &spec("max: 1")).unwrap();
    let mut checks = Vec::new();
    fold(&other, &mut checks, &BTreeMap::new());
    fold(&two("max: 1", "max: 1"), &mut checks, &BTreeMap::new());
    fold(&plan("max: 1"), &mut checks, &BTreeMap::new());
    let names: Vec<&str> = checks.iter().map(|status| status.name.as_str()).collect();
    assert_eq!(names, ["slo2/error-rate", CHECK]);
    assert!(checks.iter().all(|status| status.outcome == CheckOutcome::Pending));
}

#[test]
fn a_measurement_is_recognised_after_the_status_lost_its_fractions() {
    let policy = plan("max: 1");
    let measurement =
        Measurement { taken: "2027-01-01T00:00:00.9Z".parse().unwrap(), reading: value(9.0), samples: None };
    let measurements = BTreeMap::from([(CHECK.to_owned(), measurement)]);
    let mut checks = Vec::new();
    fold(&policy, &mut checks, &measurements);
    let mut reread: Vec<CheckStatus> = serde_json::from_value(serde_json::to_value(&checks).unwrap()).unwrap();
    fold(&policy, &mut reread, &measurements);
    assert_eq!((reread[0].failures, &reread), (1, &checks));
}

#[test]
fn values_and_times_alone_are_not_worth_a_write() {
    let policy = plan("max: 1\nfailureLimit: 9");
    let status = |readings: &[f64]| run(&policy, CHECK, readings.iter().map(|number| value(*number)));
    for (name, old, new, worth) in [
        ("another value", status(&[0.1]), status(&[0.1, 0.2]), false),
        ("the first check", vec![], status(&[0.1]), true),
        ("another outcome", status(&[0.1]), status(&[0.1, 2.0]), true),
        ("one more failure", status(&[2.0]), status(&[2.0, 2.0]), true),
        ("the first error", status(&[0.1]), run(&policy, CHECK, [value(0.1), error()]), true),
        ("one more error", run(&policy, CHECK, [error()]), run(&policy, CHECK, [error(), error()]), true),
    ] {
        assert_eq!(meaningful(&old, &new), worth, "{name}");
    }
}

#[test]
fn a_talkative_provider_is_cut_short() {
    let policy = plan("max: 1");
    let checks = run(&policy, CHECK, [Reading::Error("é".repeat(100_000))]);
    assert_eq!(checks[0].message.as_ref().map(|message| message.chars().count()), Some(300));
}
