use std::collections::BTreeMap;

use jiff::Timestamp;
use lockkeeper_api::{
    RollbackPolicy, RollbackPolicySpec,
    release::{CheckOutcome, CheckStatus},
    rollback_policy::OnFailure,
};
use proptest::prelude::*;

use super::{Facts, Measurement, PolicyPlan, Reading, Side, Verdict, conclude, due, fold, meaningful, verdict};

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

#[test]
fn every_fault_names_the_check_and_the_mend() {
    let cases = [
        ("an empty query", "query: ''\nmax: 1", "query is empty: give a PromQL query"),
        (
            "an unknown placeholder",
            "query: 'up{a=\"{{ candidate.pod }}\"}'\nmax: 1",
            "unknown placeholder candidate.pod: there are namespace",
        ),
        ("a whole side", "query: 'up{a=\"{{ candidate }}\"}'\nmax: 1", "unknown placeholder candidate: there are"),
        ("open braces", "query: 'up{{ namespace'\nmax: 1", "query cannot be read"),
        ("a filter", "query: 'up{{ namespace|upper }}'\nmax: 1", "query cannot be read"),
        ("a loop", "query: '{% for a in b %}{% endfor %}'\nmax: 1", "only placeholders in double braces"),
        ("what depends on the text", "query: 'up{{ version[0] }}'\nmax: 1", "query"),
        ("no bounds", "interval: 5s", "give min, max or condition"),
        ("bounds the wrong way round", "min: 2\nmax: 1", "min 2 is above max 1"),
        ("a bound that is no number", "max: .nan", "max is NaN: give a finite number"),
        ("an endless bound", "min: -.inf", "min is -inf: give a finite number"),
        ("bounds and condition", "max: 1\ncondition: value < 1.0", "either min and/or max, or condition"),
        ("no CEL", "condition: 'value <'", "condition is no CEL expression"),
        ("a number as condition", "condition: value + 1.0", "condition is not true or false"),
        (
            "a condition that is a number at times",
            "condition: 'value > 100.0 ? 1 : true'",
            "condition is not true or false",
        ),
        ("another name", "condition: value < limit", "unknown name limit: there is only value"),
        ("no value", "condition: 'true'", "condition does not look at value"),
        ("an unknown function", "condition: 'abs(value) < 1.0'", "condition cannot be evaluated"),
        ("a text", "condition: 'value < \"1\"'", "condition cannot be evaluated"),
        ("an integer in a sum", "condition: 'value * 100 < 5.0'", "write numbers like 100.0"),
        ("always a division by zero", "condition: '1 / 0 < int(value)'", "condition cannot be evaluated"),
        ("loops in loops", "condition: '[1, 2].all(a, [1, 2].all(b, value < 1.0))'", "condition has a loop"),
        ("no interval", "max: 1\ninterval: 0s", "interval is 0s: give at least 1s"),
        ("samples of none", "max: 1\nminimumSamples: {query: up, atLeast: 0}", "atLeast is 0: give a number above 0"),
        ("samples without number", "max: 1\nminimumSamples: {query: up, atLeast: .nan}", "atLeast is NaN"),
        (
            "samples with a bad query",
            "max: 1\nminimumSamples: {query: '{{ pods }}', atLeast: 1}",
            "minimumSamples.query has unknown placeholder pods",
        ),
    ];
    for (name, check, wanted) in cases {
        let faults = PolicyPlan::parse("slo", &spec(check)).expect_err(name);
        assert!(
            faults.iter().any(|fault| fault.starts_with("check error-rate: ") && fault.contains(wanted)),
            "{name}: {faults:?}"
        );
    }
}

#[test]
fn all_faults_are_listed_not_only_the_first() {
    let spec = serde_saphyr::from_str(
        "checks: [{name: a, query: '', min: 2, max: 1, interval: 0s}, {name: a, query: up, condition: value}]",
    )
    .unwrap();
    let faults = PolicyPlan::parse("slo", &spec).unwrap_err();
    assert_eq!(faults.len(), 5, "{faults:?}");
    let none: RollbackPolicySpec = serde_saphyr::from_str("checks: []").unwrap();
    assert_eq!(PolicyPlan::parse("slo", &none).unwrap_err(), ["checks is empty: add a check"]);
}

#[test]
fn hostile_conditions_are_refused_without_exhausting_a_small_stack() {
    let hostile = [
        "(".repeat(1024),
        "[".repeat(1024),
        "-".repeat(1024),
        "!".repeat(1024),
        format!("{}value", "!".repeat(1019)),
        format!("{}true", "value<1.0?true:".repeat(68)),
        format!("value{}", ".a".repeat(509)),
        format!("value{}", "[0]".repeat(339)),
        "value < ".repeat(2000),
        "{\"a\":".repeat(200),
    ];
    for source in hostile {
        let parsed = on_small_stack(move || {
            PolicyPlan::parse("slo", &{
                let mut spec = spec("max: 1");
                spec.checks[0].max = None;
                spec.checks[0].condition = Some(source);
                spec
            })
            .is_err()
        });
        assert!(parsed);
    }
    // A long one that is good stays good.
    let long = format!("value < 1.0{}", " || value<1.0".repeat(77));
    assert!(on_small_stack(move || plan(&format!("condition: {long}")).checks.len() == 1));
    let sum = format!("value{} < 1e12", "+1.0".repeat(250));
    assert!(on_small_stack(move || plan(&format!("condition: {sum}")).checks.len() == 1));
}

/// Runs on the stack that a worker thread has.
fn on_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap()
}

#[test]
fn the_sample_policy_can_work() {
    let sample: RollbackPolicy =
        serde_saphyr::from_str(include_str!("../../../config/samples/rollback-policy.yaml")).unwrap();
    let policy = PolicyPlan::parse("checkout-slo", &sample.spec).unwrap();
    let facts = Facts {
        namespace: "shop".into(),
        candidate: Side { pods: "checkout-abc-.*".into(), ..Side::default() },
        ..Facts::default()
    };
    let (requests, _) = due(&policy, &[], &facts, at(0), at(60));
    assert_eq!(requests.len(), 2);
    assert!(
        requests.iter().all(|request| request.query.contains(r#"{namespace="shop",pod=~"checkout-abc-.*""#)),
        "{requests:?}"
    );
    assert!(requests.iter().all(|request| request.samples.is_some()));
}

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
fn one_failure_more_than_the_limit_is_a_verdict_and_stays_one() {
    let policy = plan("max: 0.01\nfailureLimit: 2");
    let mut readings = vec![value(0.2), value(0.0), value(0.3), value(0.0)];
    assert_eq!(verdict(&policy, &run(&policy, CHECK, readings.clone())), Verdict::Fine);
    readings.push(value(0.104));
    let message = "error-rate is 0.104, above max 0.01 (3 failures, limit 2)".to_owned();
    let failed = |message| Verdict::Failed { check: CHECK.into(), follows: OnFailure::Rollback, message };
    assert_eq!(verdict(&policy, &run(&policy, CHECK, readings.clone())), failed(message));
    readings.push(value(0.0));
    let message = "error-rate failed too often (3 failures, limit 2)".to_owned();
    assert_eq!(verdict(&policy, &run(&policy, CHECK, readings)), failed(message));
}

#[test]
fn only_errors_in_a_row_are_inconclusive() {
    let policy = plan("max: 1\nconsecutiveErrorLimit: 1");
    for (name, readings, inconclusive) in [
        ("as many as tolerated", vec![error()], false),
        ("one more", vec![value(0.0), error(), error()], true),
        ("a value between", vec![error(), value(0.0), error()], false),
        ("an answer without data between", vec![error(), no_data(), error()], false),
        ("an answer afterwards", vec![error(), error(), value(0.0)], false),
    ] {
        let found = verdict(&policy, &run(&policy, CHECK, readings));
        assert_eq!(matches!(found, Verdict::Inconclusive { .. }), inconclusive, "{name}: {found:?}");
    }
    let Verdict::Inconclusive { message, .. } = verdict(&policy, &run(&policy, CHECK, [error(), error()])) else {
        panic!()
    };
    assert_eq!(message, "error-rate could not be measured: connection refused (2 errors in a row, limit 1)");
}

#[test]
fn the_worst_comes_first() {
    let bad = || vec![value(9.0)];
    let broken = || vec![error(); 5];
    let kind = |verdict: Verdict| match verdict {
        Verdict::Fine => "fine".to_owned(),
        Verdict::NoDataYet(names) => format!("no data {}", names.join(" ")),
        Verdict::Failed { check, follows, .. } => format!("{follows:?} {check}"),
        Verdict::Inconclusive { check, .. } => format!("inconclusive {check}"),
    };
    for (name, first, a, second, b, wanted) in [
        ("Rollback before Pause", "Pause", bad(), "Rollback", bad(), "Rollback slo/b"),
        ("Pause before Notify", "Notify", bad(), "Pause", bad(), "Pause slo/b"),
        ("Rollback before inconclusive", "Rollback", broken(), "Rollback", bad(), "Rollback slo/b"),
        ("Pause before inconclusive", "Rollback", broken(), "Pause", bad(), "Pause slo/b"),
        ("inconclusive before Notify", "Notify", bad(), "Rollback", broken(), "inconclusive slo/b"),
        ("inconclusive before no data", "Rollback", vec![], "Rollback", broken(), "inconclusive slo/b"),
        ("no data before Notify", "Notify", bad(), "Rollback", vec![], "no data slo/b"),
        ("Notify only if nothing else", "Notify", bad(), "Rollback", vec![value(0.0)], "Notify slo/a"),
        ("Notify without data stops nothing", "Notify", vec![], "Rollback", vec![value(0.0)], "fine"),
        ("Notify that cannot be asked stops nothing", "Notify", broken(), "Rollback", vec![value(0.0)], "fine"),
        ("all without data are named", "Rollback", vec![], "Pause", vec![no_data()], "no data slo/a slo/b"),
    ] {
        let policy = two(&format!("max: 1, onFailure: {first}"), &format!("max: 1, onFailure: {second}"));
        let mut checks = run(&policy, "slo/a", a);
        extend(&policy, &mut checks, "slo/b", b);
        assert_eq!(kind(verdict(&policy, &checks)), wanted, "{name}");
    }
}

#[test]
fn a_step_ends_well_only_with_a_recent_success_of_every_check() {
    let policy = plan("max: 1\ninterval: 10s\nfailureLimit: 9");
    let waits = Verdict::NoDataYet(vec![CHECK.into()]);
    for (name, readings, since, now, wanted) in [
        ("a recent success", vec![value(0.0)], 0, 50, Verdict::Fine),
        ("a success of another clock, a little ahead", vec![value(0.0)], 0, -50, Verdict::Fine),
        ("a success too old", vec![value(0.0)], 0, 51, waits.clone()),
        ("a success far in the future", vec![value(0.0)], 0, -51, waits.clone()),
        ("a success before the exposure", vec![value(0.0)], 1, 10, waits.clone()),
        ("never measured", vec![], 0, 10, waits.clone()),
        ("a success, then no data", vec![value(0.0), no_data()], 0, 40, waits.clone()),
        ("a success, then an error", vec![value(0.0), error()], 0, 40, waits.clone()),
        ("a success, then a failure within the limit", vec![value(0.0), value(2.0)], 0, 40, waits.clone()),
        ("a failure within the limit, then a success", vec![value(2.0), value(0.0)], 0, 40, Verdict::Fine),
    ] {
        assert_eq!(conclude(&policy, &run(&policy, CHECK, readings), at(since), at(now)), wanted, "{name}");
    }
    let notify = plan("max: 1\nonFailure: Notify");
    assert_eq!(conclude(&notify, &[], at(0), at(0)), Verdict::Fine, "Notify is never waited for");
    let failing = run(&notify, CHECK, [value(9.0)]);
    assert!(matches!(conclude(&notify, &failing, at(0), at(0)), Verdict::Failed { follows: OnFailure::Notify, .. }));
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

/// Any answer.
fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        any::<f64>().prop_map(Reading::Value),
        (0.0..2.0f64).prop_map(Reading::Value),
        Just(no_data()),
        Just(error())
    ]
}

/// An answer that says nothing.
fn empty_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        Just(no_data()),
        Just(error()),
        prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Reading::Value)
    ]
}

proptest! {
    #[test]
    fn nothing_but_absent_data_never_concludes_fine(readings in prop::collection::vec(empty_reading(), 0..40), limit in 0u32..50) {
        let policy = plan(&format!("max: 1\nconsecutiveErrorLimit: {limit}"));
        let checks = run(&policy, CHECK, readings.clone());
        let now = at(30 * readings.len() as i64);
        prop_assert_ne!(conclude(&policy, &checks, at(0), now), Verdict::Fine);
        prop_assert_ne!(verdict(&policy, &checks), Verdict::Fine);
    }

    #[test]
    fn a_step_that_ends_without_data_never_concludes_fine(
        before in prop::collection::vec(any_reading(), 0..20),
        last in empty_reading(),
    ) {
        let policy = plan("max: 1\nfailureLimit: 1000\nconsecutiveErrorLimit: 1000");
        let now = at(30 * before.len() as i64);
        let checks = run(&policy, CHECK, before.into_iter().chain([last]));
        prop_assert_eq!(conclude(&policy, &checks, at(0), now), Verdict::NoDataYet(vec![CHECK.to_owned()]));
    }

    #[test]
    fn failures_beyond_the_limit_always_fail(readings in prop::collection::vec(any_reading(), 0..40), limit in 0u32..10) {
        let policy = plan(&format!("max: 1\nfailureLimit: {limit}"));
        let failures = readings.iter().filter(|reading| matches!(reading, Reading::Value(v) if v.is_finite() && *v > 1.0)).count();
        let checks = run(&policy, CHECK, readings.clone());
        let beyond = failures > limit as usize;
        prop_assert_eq!(matches!(verdict(&policy, &checks), Verdict::Failed { .. }), beyond);
        let now = at(30 * readings.len() as i64);
        prop_assert_eq!(matches!(conclude(&policy, &checks, at(0), now), Verdict::Failed { .. }), beyond);
    }

    #[test]
    fn folding_the_same_measurements_twice_changes_nothing(readings in prop::collection::vec((0i64..100, any_reading()), 0..20)) {
        let policy = plan("max: 1");
        let mut once = Vec::new();
        let mut twice = Vec::new();
        for (second, reading) in readings {
            let measurements = BTreeMap::from([(CHECK.to_owned(), taken(second, reading))]);
            fold(&policy, &mut once, &measurements);
            fold(&policy, &mut twice, &measurements);
            fold(&policy, &mut twice, &measurements);
        }
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn no_text_leaves_its_quotes(version in any::<String>()) {
        for quote in ['"', '\'', '`'] {
            let policy = plan(&format!("query: |-\n  a{quote}{{{{ version }}}}{quote}b\nmax: 1"));
            let (requests, _) = due(&policy, &[], &Facts { version: version.clone(), ..Facts::default() }, at(0), at(0));
            let inner = requests[0].query.strip_prefix(&format!("a{quote}")).and_then(|rest| rest.strip_suffix(&format!("{quote}b"))).unwrap();
            let mut escaped = false;
            for character in inner.chars() {
                prop_assert!(character != '\n' && (character != quote || escaped), "{}", inner);
                escaped = character == '\\' && !escaped;
            }
            prop_assert!(!escaped, "{}", inner);
        }
    }

    #[test]
    fn no_condition_crashes(source in "[value0-9.<>=!&|?:+*/%() -]{0,60}") {
        let mut spec = spec("max: 1");
        spec.checks[0].max = None;
        spec.checks[0].condition = Some(source);
        if let Ok(policy) = PolicyPlan::parse("slo", &spec) {
            run(&policy, CHECK, [value(0.3)]);
        }
    }
}
