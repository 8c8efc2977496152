use lockkeeper_api::{RollbackPolicySpec, release::WorkloadRevision};
use serde_json::json;

use super::*;
use crate::{condition::ready, measure::Answer};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn plan() -> PolicyPlan {
    let spec: RollbackPolicySpec = serde_json::from_value(json!({"checks": [
        {"name": "errors", "query": "e{pod=~\"{{ candidate.pods }}\"}", "max": 0.01},
        {"name": "passes", "query": "p", "min": 1, "noData": "Pass"},
    ]}))
    .unwrap();
    PolicyPlan::parse("slo", &spec).unwrap()
}

fn subject() -> Subject {
    let workloads =
        vec![WorkloadRevision { name: "web".into(), hash: "5d8f".into(), digest: "d".into(), uid: "u".into() }];
    let stable = RevisionStatus {
        revision: "r1".into(),
        version: "1.0.0".into(),
        workloads,
        since: Time(at(0)),
        requested_by: None,
    };
    Subject { release: Key::new("team", "shop"), stable }
}

fn measurement(second: i64, reading: Reading) -> Measurement {
    Measurement { taken: at(second), reading, samples: None }
}

fn answers(errors: Reading, trouble: Option<Trouble>) -> Answers {
    let answer = |reading, trouble| Answer { measurement: measurement(10, reading), trouble };
    [("slo/errors".into(), answer(errors, trouble)), ("slo/passes".into(), answer(Reading::Value(2.0), None))].into()
}

fn published(checks: Vec<PolicyCheckStatus>, verdict: Verdict) -> RollbackPolicyStatus {
    let conditions = vec![ready(&[], Some(1), verdict, at(10))];
    RollbackPolicyStatus { observed_generation: Some(1), used_by: 1, checks, conditions }
}

fn none() -> Reading {
    Reading::NoData("no series matched".into())
}

#[test]
fn a_value_out_of_bounds_is_a_result_and_no_fault_of_the_policy() {
    let answers = answers(Reading::Value(0.5), None);
    let (checks, verdict) = judge(&plan(), &answers, Some(&subject()), &BTreeMap::new());
    assert_eq!((checks[0].outcome, checks[0].value.as_deref()), (CheckOutcome::Failure, Some("0.5")));
    assert_eq!((checks[1].outcome, checks[1].measured.0), (CheckOutcome::Success, at(10)));
    assert!(
        verdict.ready && verdict.message.contains("1.0.0") && verdict.message.contains("Release team/shop"),
        "{verdict:?}"
    );
}

#[test]
fn a_query_that_is_refused_makes_the_policy_invalid_and_a_provider_that_is_down_unreachable() {
    for (trouble, reason) in [
        (Some(Trouble::Lasting), "Invalid"),
        (Some(Trouble::Passing), "Unreachable"),
        // The value came, but the condition could not be evaluated.
        (None, "Invalid"),
    ] {
        let answers = answers(Reading::Error("http://prometheus:9090 says no".into()), trouble);
        let (checks, verdict) = judge(&plan(), &answers, Some(&subject()), &BTreeMap::new());
        assert_eq!(checks[0].outcome, CheckOutcome::Error);
        assert_eq!((verdict.ready, verdict.reason), (false, reason));
        assert!(verdict.message.contains("errors could not be measured"), "{verdict:?}");
    }
}

#[test]
fn without_a_release_no_data_is_no_fault_and_says_why_whatever_the_policy_takes_it_for() {
    let mut answers = answers(none(), None);
    answers.get_mut("slo/passes").unwrap().measurement.reading = none();
    let (checks, verdict) = judge(&plan(), &answers, None, &BTreeMap::new());
    for check in checks {
        assert_eq!(check.outcome, CheckOutcome::NoData);
        assert!(check.message.unwrap().contains("no Release"));
    }
    assert_eq!((verdict.ready, verdict.reason), (true, NO_RELEASE));
}

#[test]
fn placeholders_stand_for_the_stable_version_or_for_what_matches_nothing() {
    let facts = Subject::facts(Some(&subject()), "shop");
    assert_eq!(facts.candidate.pods, "web-5d8f-[a-z0-9]+");
    assert_eq!((facts.candidate.clone(), facts.version.as_str()), (facts.stable, "1.0.0"));
    let facts = Subject::facts(None, "shop");
    for text in [facts.release, facts.version, facts.candidate.pods, facts.candidate.version, facts.stable.revision] {
        assert_eq!(text, NOTHING);
    }
}

#[test]
fn queries_are_asked_again_only_for_another_generation_new_checks_pods_or_an_answer_that_was_none() {
    let plan = plan();
    let status = |subject: Option<&Subject>, reading, trouble| {
        let (checks, verdict) = judge(&plan, &answers(reading, trouble), subject, &BTreeMap::new());
        published(checks, verdict)
    };
    let good = status(Some(&subject()), Reading::Value(0.0), None);
    assert_eq!(Published::of(&good, &plan, Some(1), true), Some(Published { measured: at(10), ready: true }));
    // The Release is gone; the result was a result.
    assert_eq!(Published::of(&good, &plan, Some(1), false), Some(Published { measured: at(10), ready: true }));
    assert_eq!(Published::of(&good, &plan, Some(2), true), None);
    let fewer = RollbackPolicyStatus { checks: good.checks[..1].to_vec(), ..good.clone() };
    assert_eq!(Published::of(&fewer, &plan, Some(1), true), None);
    let nothing = status(None, none(), None);
    assert_eq!(Published::of(&nothing, &plan, Some(1), false), Some(Published { measured: at(10), ready: true }));
    assert_eq!(Published::of(&nothing, &plan, Some(1), true), None);
    let down = status(Some(&subject()), Reading::Error("down".into()), Some(Trouble::Passing));
    assert_eq!(Published::of(&down, &plan, Some(1), true), Some(Published { measured: at(10), ready: false }));
    assert_eq!(Published::of(&RollbackPolicyStatus::default(), &plan, Some(1), true), None);
}

#[test]
fn what_releases_measure_later_is_taken_over_and_their_errors_are_not() {
    let (checks, verdict) = judge(&plan(), &answers(Reading::Value(0.0), None), Some(&subject()), &BTreeMap::new());
    let before = published(checks, verdict);
    let follow = |second, reading| {
        let measured = [("slo/errors".to_owned(), measurement(second, reading))].into();
        let (checks, verdict) = follow(&plan(), &before, &measured);
        published(checks, verdict)
    };
    let worse = follow(70, Reading::Value(0.5));
    assert_eq!((worse.checks[0].outcome, worse.checks[0].measured.0), (CheckOutcome::Failure, at(70)));
    assert_eq!(worse.checks[1], before.checks[1]);
    assert_eq!(follow(70, Reading::Error("down".into())).checks, before.checks);
    assert_eq!(follow(9, Reading::Value(0.5)).checks, before.checks);

    assert!(meaningful(&before, &worse), "another outcome");
    assert!(!meaningful(&before, &follow(70, Reading::Value(0.001))), "only another number");
    assert!(meaningful(&before, &follow(610, Reading::Value(0.001))), "a number that is ten minutes newer");
    assert_eq!(worse.conditions, before.conditions);
}

#[test]
fn a_trial_that_fails_again_writes_nothing() {
    let failing = |second| {
        let mut answers = answers(Reading::Error("down".into()), Some(Trouble::Passing));
        answers.get_mut("slo/errors").unwrap().measurement.taken = at(second);
        let (checks, verdict) = judge(&plan(), &answers, Some(&subject()), &BTreeMap::new());
        published(checks, verdict)
    };
    assert!(!meaningful(&failing(10), &failing(3600)));
}
