//! What follows from all answers so far.

use lockkeeper_api::rollback_policy::OnFailure;

use super::{CHECK, at, error, extend, no_data, plan, run, two, value};
use crate::analysis::{Verdict, conclude, verdict};

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
