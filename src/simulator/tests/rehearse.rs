//! Rehearsals by the operator's own code: how they end, and that what is told beforehand comes true.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Write;

use jiff::Timestamp;
use lockkeeper_simulator::rehearse::{
    Case, Manifest, Recording, Rehearsal, Report, Scenario, Selection,
    advice::{self, Detection},
    scenario::End,
};

const ERRORS: &str =
    r#"sum(rate(r{pod=~"{{ candidate.pods }}",code=~"5.."}[15s])) / sum(rate(r{pod=~"{{ candidate.pods }}"}[15s]))"#;
const STEPS: &str = "[{setWeight: 5}, {pause: {duration: 5m}}, {setWeight: 100}]";

/// A Release `shop/web` and its policy.
fn files(steps: &str, check: &str, more: &str) -> String {
    format!(
        "
apiVersion: lockkeeper.dev/v1alpha1
kind: Release
metadata: {{name: web, namespace: shop}}
spec:
  workloads: [{{ref: {{kind: Deployment, name: web}}, images: {{app: 'web:2'}}, service: web, routes: [{{kind: HTTPRoute, name: web}}]}}]
  strategy: {{canary: {{steps: {steps}}}}}
  rollbackPolicy: slo
---
apiVersion: lockkeeper.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: slo, namespace: shop}}
spec:
  checks: [{{name: errors, max: 0.01, interval: 15s, {check}}}]
  bake: 5m
{more}"
    )
}

fn query(text: &str) -> String {
    format!("query: '{text}'")
}

fn start() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn scenario(spec: &str) -> Scenario {
    Scenario::parse(&format!("apiVersion: lockkeeper.dev/v1alpha1\nkind: Scenario\nspec: {spec}\n")).unwrap()
}

fn manifest(text: &str) -> Manifest {
    Manifest::read(&[("web.yaml".into(), text.into())], "default").unwrap()
}

fn report(text: &str, scenario: &Scenario, recording: &Recording) -> Report {
    let all = Selection { release: None, version: None };
    Report::play(&manifest(text), scenario, recording, start(), &all).unwrap()
}

/// The one version of a scenario.
fn one(text: &str, spec: &str) -> Rehearsal {
    let mut report = report(text, &scenario(spec), &Recording::default());
    report.releases.remove(0).rehearsals.remove(0)
}

fn told(rehearsal: &Rehearsal) -> String {
    let mut told = String::new();
    for beat in &rehearsal.timeline {
        writeln!(told, "{:>7.0} {:?}: {}", beat.after, beat.kind, beat.text).unwrap();
    }
    writeln!(told, "{:?} after {:.0}", rehearsal.end.end, rehearsal.end.ended_after).unwrap();
    told
}

#[test]
fn without_a_scenario_the_good_version_succeeds_and_the_bad_one_goes_back() {
    let report = report(&files(STEPS, &query(ERRORS), ""), &Scenario::default(), &Recording::default());
    let ends: Vec<_> = report.releases[0].rehearsals.iter().map(|r| (r.version.as_str(), r.end.end)).collect();
    assert_eq!(ends, [("good", End::Succeeded), ("bad", End::RolledBack)]);
    assert_eq!(report.exit_code(), 0);
    let bad = &report.releases[0].rehearsals[1];
    // 100 requests a second, 5 % of them, of which 5 % fail, from the first traffic until all is back.
    let expected = 100.0 * 0.05 * 0.05 * bad.end.back_after.unwrap();
    assert!((bad.loss.failed - expected).abs() < 0.5, "{} is not about {expected}", bad.loss.failed);
}

#[test]
fn the_same_files_give_the_same_answer() {
    let play = || report(&files(STEPS, &query(ERRORS), ""), &Scenario::default(), &Recording::default());
    assert_eq!(play(), play());
}

#[test]
fn what_is_told_of_detection_beforehand_comes_true() {
    let everybody = r#"sum(rate(r{code=~"5.."}[15s])) / sum(rate(r[15s]))"#;
    for check in [
        query(ERRORS),
        format!("{}, failureLimit: 2, initialDelay: 1m", query(ERRORS)),
        // Longer than the steps: it is held at 100 %.
        format!("{}, failureLimit: 30", query(ERRORS)),
        // Not seen at 5 %.
        format!("{}, failureLimit: 2", query(everybody)),
        format!("{}, failureLimit: 2", query(everybody)).replace("rate(r[15s])", "rate(r[15s]) * 10"),
    ] {
        let text = files(STEPS, &check, "");
        let case = Case::all(&manifest(&text)).remove(0);
        let told = advice::detection(&case, 0.05, Some(100.0), start());
        let played = one(&text, "{versions: [{name: bad, requests: [{errorRate: 0.05}]}]}");
        match told {
            Detection::After { time, weight, .. } => {
                assert_eq!(played.end.end, End::RolledBack, "{check}");
                let found = played.end.detected_after.unwrap();
                let expected = time.as_secs_f64();
                assert!((found - expected).abs() < 20.0, "{check}: told {expected}, was {found}");
                assert_eq!(played.loss.largest_share.round(), f64::from(weight), "{check}");
            }
            Detection::Never => assert_eq!(played.end.end, End::Succeeded, "{check}"),
            Detection::Unknown => panic!("{check} is recognised"),
        }
    }
}

#[test]
fn a_policy_that_does_not_see_five_percent_of_errors_lets_the_bad_version_through() {
    let text = files(STEPS, &query(ERRORS), "").replace("max: 0.01", "max: 0.06");
    let report = report(&text, &Scenario::default(), &Recording::default());
    assert_eq!(report.exit_code(), 25);
    assert_eq!(report.first_surprise().map(|rehearsal| rehearsal.version.as_str()), Some("bad"));
    assert!(report.releases[0].warnings.iter().any(|warning| warning.code == "undetected"));
}

#[test]
fn an_answer_that_nobody_knows_is_called_out_and_is_no_data() {
    let text = files(STEPS, "query: queue_depth", "");
    let rehearsal = one(&text, "{versions: [{name: good}], people: {otherwise: Nobody}}");
    assert_eq!(rehearsal.end.end, End::Unfinished, "{}", told(&rehearsal));
    let codes: Vec<_> = rehearsal.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["unknown-answer", "unfinished"]);
    assert!(rehearsal.warnings[0].text.contains("checks: {slo/errors:"), "{:?}", rehearsal.warnings);
    let given = one(&text, "{versions: [{name: a}, {name: b}], checks: {errors: {a: 0.02, b: 0.0}}}");
    assert_eq!(given.end.end, End::RolledBack);
}

#[test]
fn recorded_metrics_decide_from_the_first_traffic_on() {
    let text = files(STEPS, "query: queue_depth", "");
    let recording = Recording::parse("0,errors,0.0\n100,errors,0.5\n400,errors,0.0", None).unwrap();
    let mut report = report(&text, &scenario("{versions: [{name: a}]}"), &recording);
    let rehearsal = report.releases.remove(0).rehearsals.remove(0);
    assert_eq!(rehearsal.end.end, End::RolledBack, "{}", told(&rehearsal));
    let since = rehearsal.end.detected_after.unwrap();
    assert!((100.0..120.0).contains(&since), "{since}");
}

#[test]
fn pods_that_crash_or_never_get_ready_send_it_back() {
    let text = files(STEPS, &query(ERRORS), "");
    let crash = one(&text, "{versions: [{name: v, pods: {crashAfter: 30s}}]}");
    assert_eq!(crash.end.end, End::RolledBack);
    assert!(crash.end.message.contains("crashes again and again"), "{}", crash.end.message);
    let never = one(&text, "{versions: [{name: v, pods: {neverReady: true}}]}");
    assert_eq!((never.end.end, never.loss.to_new), (End::RolledBack, 0.0));
    assert!(never.end.message.contains("no progress within 10m"), "{}", never.end.message);
    let slow = one(&text, "{versions: [{name: v, pods: {readyAfter: 2m}}]}");
    assert_eq!(slow.end.end, End::Succeeded);
    assert!(slow.end.exposed_after.unwrap() > 120.0);
}

#[test]
fn metrics_that_are_down_hold_it_and_silent_ones_too() {
    let text = files(STEPS, &format!("{}, consecutiveErrorLimit: 2", query(ERRORS)), "");
    let down = one(&text, "{versions: [{name: v}], people: {otherwise: Nobody}, trouble: [{metricsDown: {at: 1m}}]}");
    assert_eq!(down.end.end, End::Unfinished);
    assert!(down.end.message.contains("does not accept connections"), "{}", down.end.message);
    let silent = one(&text, "{versions: [{name: v}], trouble: [{metricsSilent: {at: 1m, for: 10m}}]}");
    assert_eq!(silent.end.end, End::Succeeded, "{}", told(&silent));
    assert!(silent.end.ended_after > 660.0, "it waited for data: {}", silent.end.ended_after);
}

#[test]
fn a_gateway_that_takes_no_notice_gives_it_no_traffic_and_sends_it_back() {
    let text = files(STEPS, &query(ERRORS), "");
    let mended = one(&text, "{versions: [{name: v}], trouble: [{gatewayStalls: {since: Asked, for: 20m}}]}");
    assert_eq!((mended.end.end, mended.loss.to_new), (End::RolledBack, 0.0), "{}", told(&mended));
    assert!(mended.end.message.contains("waiting for the gateway"), "{}", mended.end.message);
    // Nobody knows whether traffic is back before the gateway says so.
    let never = one(&text, "{versions: [{name: v}], trouble: [{gatewayStalls: {since: Asked}}]}");
    assert_eq!((never.end.end, never.end.back_after), (End::Unfinished, None), "{}", told(&never));
    assert!(never.end.ended_after < 7200.0, "{}", never.end.ended_after);
}

#[test]
fn people_decide_as_the_scenario_says() {
    let gated = "    approvals: [{name: board, before: Start, required: 2, from: {users: [carol, dave, eve]}, excludeRequester: true}]";
    let text =
        files(STEPS, &query(ERRORS), "").replace("  rollbackPolicy", &format!("  gates:\n{gated}\n  rollbackPolicy"));
    let rejects =
        one(&text, "{versions: [{name: v}], people: {approvals: [{gate: board, by: [carol], reject: true}]}}");
    assert_eq!(rejects.end.end, End::Rejected, "{}", told(&rejects));
    let own = one(
        &text,
        "{versions: [{name: v}], requestedBy: carol, people: {approvals: [{gate: board, by: [carol, dave]}]}}",
    );
    assert_eq!(own.end.end, End::Unfinished, "who asks does not count: {}", told(&own));
    let aborts = one(&text, "{versions: [{name: v}], people: {acts: [{verdict: Abort, by: olga, at: 2m}]}}");
    assert_eq!((aborts.end.end, aborts.end.started_after.map(f64::round)), (End::Aborted, Some(300.0)));
    let late = one(&text, "{versions: [{name: v}], people: {acts: [{verdict: Abort, by: olga, since: Promoted}]}}");
    assert!(told(&late).contains("olga wants to Abort, but there is no version"), "{}", told(&late));
}

#[test]
fn decisions_of_the_files_count_for_what_is_rehearsed() {
    let gated = "  gates: {approvals: [{name: board, before: Start}]}";
    let decision = "---
apiVersion: lockkeeper.dev/v1alpha1
kind: Decision
metadata: {name: yes-from-carol, namespace: shop}
spec: {release: web, revision: abc, verdict: Approve, gate: board, by: {username: carol}}
";
    let text =
        files(STEPS, &query(ERRORS), decision).replace("  rollbackPolicy", &format!("{gated}\n  rollbackPolicy"));
    let rehearsal = one(&text, "{versions: [{name: v}], people: {otherwise: Nobody}}");
    assert_eq!(rehearsal.end.end, End::Succeeded, "{}", told(&rehearsal));
    assert!(told(&rehearsal).contains("Decision yes-from-carol is about revision abc"), "{}", told(&rehearsal));
}

#[test]
fn a_git_revert_ends_it_and_syncs_do_not() {
    let text = files(STEPS, &query(ERRORS), "");
    let reverted = one(&text, "{versions: [{name: v}], trouble: [{gitReverts: {at: 2m}}]}");
    assert_eq!(reverted.end.end, End::RolledBack, "{}", told(&reverted));
    let synced = one(&text, "{versions: [{name: v}], trouble: [{gitSyncs: {at: 10s, every: 30s}}]}");
    assert_eq!(synced.end.end, End::Succeeded, "{}", told(&synced));
}

#[test]
fn what_cannot_work_is_invalid_with_the_operators_own_words() {
    let text = files(STEPS, &query(ERRORS), "").replace("rollbackPolicy: slo", "rollbackPolicy: other");
    let rehearsal = one(&text, "{versions: [{name: v}]}");
    assert_eq!(rehearsal.end.end, End::Invalid);
    assert!(rehearsal.end.message.contains("RollbackPolicy other does not exist"), "{}", rehearsal.end.message);
}

#[test]
fn a_killed_operator_goes_on_where_it_was() {
    let text = files(STEPS, &query(ERRORS), "");
    let rehearsal = one(&text, "{versions: [{name: v}], trouble: [{operatorKilled: {at: 1m, for: 10m}}]}");
    assert_eq!(rehearsal.end.end, End::Succeeded, "{}", told(&rehearsal));
    assert!(rehearsal.end.ended_after > 660.0, "{}", rehearsal.end.ended_after);
}

#[test]
fn a_window_that_opens_days_later_is_waited_for_and_expired_approvals_are_given_again() {
    let window = "---
apiVersion: lockkeeper.dev/v1alpha1
kind: DeploymentWindow
metadata: {name: hours, namespace: shop}
spec: {action: Allow, schedule: {cron: '0 9 * * 1', timeZone: Europe/Berlin, duration: 8h}}
";
    let gates = "  gates: {approvals: [{name: board, before: Start, expiresAfter: 24h}]}";
    let text = files(STEPS, &query(ERRORS), window);
    // Without gates of people, nothing is due but the window.
    let alone =
        one(&text.replace("images: {app: 'web:2'}, ", ""), "{versions: [{name: v}], people: {otherwise: Nobody}}");
    let both = one(&text.replace("  rollbackPolicy", &format!("{gates}\n  rollbackPolicy")), "{versions: [{name: v}]}");
    // From Tuesday 11:00 until Monday 9:00.
    let wait = f64::from(6 * 86_400 - 2 * 3600);
    for rehearsal in [&alone, &both] {
        assert_eq!(rehearsal.end.end, End::Succeeded, "{}", told(rehearsal));
        assert!((rehearsal.end.started_after.unwrap() - wait).abs() < 600.0, "{}", told(rehearsal));
    }
    assert!(told(&both).matches("approver-1 approves gate board").count() > 3, "{}", told(&both));
}
