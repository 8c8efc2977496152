//! Promises over any answers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{CHECK, at, error, no_data, plan, run, spec, taken, value};
use crate::analysis::{Facts, PolicyPlan, Reading, Verdict, conclude, due, fold, verdict};

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
