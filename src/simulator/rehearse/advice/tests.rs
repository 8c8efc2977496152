//! Each warning as its sentence, and that it is not there where it does not belong.

use serde_json::{Value, json};

use super::*;
use crate::rehearse::{Manifest, outline};

const MONDAY: &str = "2026-11-23T20:00:00Z";

fn at() -> Timestamp {
    MONDAY.parse().unwrap()
}

const ERRORS: &str =
    r#"sum(rate(r{pod=~"{{ candidate.pods }}",code=~"5.."}[1m])) / sum(rate(r{pod=~"{{ candidate.pods }}"}[1m]))"#;

fn policy() -> Value {
    json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": "slo", "namespace": "shop"},
        "spec": {
            "checks": [{"name": "errors", "query": ERRORS, "max": 0.01, "interval": "15s", "failureLimit": 2}],
            "bake": "10m",
        },
    })
}

fn release() -> Value {
    json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "workloads": [{"ref": {"kind": "Deployment", "name": "web"}, "service": "web", "routes": [{"kind": "HTTPRoute", "name": "web"}]}],
            "strategy": {"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "5m"}}, {"setWeight": 100}]}},
            "rollbackPolicy": "slo",
        },
    })
}

fn window(duration: &str) -> Value {
    json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "DeploymentWindow", "metadata": {"name": "hours", "namespace": "shop"},
        "spec": {"action": "Allow", "schedule": {"cron": "0 9 * * 2", "timeZone": "Europe/Berlin", "duration": duration}},
    })
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": {}},
    })
}

fn manifest(objects: &[Value]) -> Manifest {
    let text: Vec<String> = objects.iter().map(Value::to_string).collect();
    Manifest::read(&[("f.yaml".into(), text.join("\n---\n"))], "default").unwrap()
}

fn warnings(objects: &[Value], load: Option<f64>) -> Vec<Warning> {
    let manifest = manifest(objects);
    let cases = Case::all(&manifest);
    assert_eq!(cases.len(), 1);
    assert!(cases[0].plan.faults.is_empty(), "{:?}", cases[0].plan.faults);
    of_case(&cases[0], load, at())
}

/// With this warning and no other, in this sentence.
fn check(objects: &[Value], code: &str, sentence: &str) {
    let found = warnings(objects, Some(100.0));
    let expected = Warning { code: found.first().map_or("", |first| first.code), text: sentence.into() };
    assert_eq!(found, [expected]);
    assert_eq!(found[0].code, code);
}

fn with(mut object: Value, place: &str, value: Value) -> Value {
    let (parent, field) = place.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

const CHECK: &str = "/spec/checks/0";

#[test]
fn a_sound_plan_has_no_warning() {
    assert_eq!(warnings(&[release(), policy(), deployment(), window("8h")], Some(100.0)), []);
    assert_eq!(warnings(&[release(), policy(), deployment()], None), []);
}

#[test]
fn a_check_that_cannot_fail_is_named_with_the_value_that_it_would_show() {
    let found = warnings(&[release(), with(policy(), &format!("{CHECK}/max"), json!(1.0))], None);
    assert_eq!(found[0].code, "cannot-fail");
    assert_eq!(
        found[0].text,
        "check slo/errors cannot fail: of a version whose requests all fail it shows 1, which is a success; correct its bounds"
    );
    assert_eq!(found[1].code, "undetected");
    let percent = format!("100 * {ERRORS}");
    let policy = with(with(policy(), &format!("{CHECK}/query"), json!(percent)), &format!("{CHECK}/max"), json!(100));
    assert_eq!(warnings(&[release(), policy], None)[0].code, "cannot-fail");
}

#[test]
fn a_check_that_cannot_succeed_is_named() {
    check(
        &[release(), with(policy(), &format!("{CHECK}/max"), json!(-1))],
        "cannot-succeed",
        "check slo/errors cannot succeed: of a version without any error it shows 0, which is a failure; correct its bounds",
    );
    let min = with(policy(), &format!("{CHECK}/min"), json!(0.9));
    let mut min = min;
    min.pointer_mut(CHECK).unwrap().as_object_mut().unwrap().remove("max");
    assert_eq!(warnings(&[release(), min], None)[0].code, "bounds-reversed");
}

#[test]
fn a_policy_that_does_not_see_five_percent_of_errors_is_called_out() {
    check(
        &[release(), with(policy(), &format!("{CHECK}/max"), json!(0.06))],
        "undetected",
        "a version with 5 % errors would be promoted: no check fails, or none has data in time; lower max, or give the steps more time",
    );
}

#[test]
fn a_limit_that_takes_longer_than_the_step_is_called_out() {
    let slow = with(policy(), &format!("{CHECK}/failureLimit"), json!(30));
    check(
        &[release(), slow],
        "detected-wide",
        "a version with 5 % errors would get 100 % of the traffic before check slo/errors finds it, 7m30s after the first traffic: \
         pause longer at a low weight, or shorten initialDelay, interval or failureLimit",
    );
    let steps = json!([{"setWeight": 60}, {"pause": {"duration": "5m"}}]);
    check(
        &[with(release(), "/spec/strategy/canary/steps", steps), policy()],
        "detected-wide",
        "a version with 5 % errors would get 60 % of the traffic before check slo/errors finds it, 30s after the first traffic: \
         pause longer at a low weight, or shorten initialDelay, interval or failureLimit",
    );
}

#[test]
fn a_check_of_all_pods_together_is_told_what_it_would_see() {
    let query = r#"sum(rate(r{code=~"5.."}[1m])) / sum(rate(r[1m]))"#;
    let found = warnings(&[release(), with(policy(), &format!("{CHECK}/query"), json!(query))], None);
    assert_eq!(
        found[0].text,
        "check slo/errors looks at all pods together: at 5 % of the traffic a version with 5 % errors shows as 0.0025; use \
         {{ candidate.pods }} in its query"
    );
    assert_eq!(found[1].code, "detected-late");
}

#[test]
fn too_few_samples_are_told_by_the_requests_that_they_need() {
    let minimum = json!({"query": r#"sum(increase(r{pod=~"{{ candidate.pods }}"}[1m]))"#, "atLeast": 100});
    let policy = with(policy(), &format!("{CHECK}/minimumSamples"), minimum);
    let found = warnings(&[release(), policy.clone()], Some(20.0));
    assert_eq!(
        found[0].text,
        "check slo/errors has no data at 5 % of the traffic: its samples need 34 requests a second, and there are 20; lower atLeast, or \
         begin with more traffic"
    );
    assert_eq!(warnings(&[release(), policy], Some(34.0)), []);
}

#[test]
fn what_passes_or_only_notifies_or_is_not_watched_is_named() {
    let found = warnings(&[release(), with(policy(), &format!("{CHECK}/noData"), json!("Pass"))], None);
    assert_eq!(found[0].code, "no-data-passes");
    let found = warnings(&[release(), with(policy(), &format!("{CHECK}/onFailure"), json!("Notify"))], None);
    assert_eq!(found.iter().map(|warning| warning.code).collect::<Vec<_>>(), ["only-notifies", "undetected"]);
    let found = warnings(&[release(), with(policy(), "/spec/bake", json!("0s")), deployment()], None);
    assert_eq!(found.iter().map(|warning| warning.code).collect::<Vec<_>>(), ["no-bake", "rollback-needs-pods"]);
    assert_eq!(
        found[1].text,
        "going back from web after promotion would need 4 more pods, started first: without a bake the old ones are gone at once; give \
         the policy a bake"
    );
    let found = warnings(&[with(release(), "/spec/rollbackPolicy", Value::Null)], None);
    assert_eq!(found[0].code, "no-policy");
}

#[test]
fn a_form_that_is_not_recognised_is_not_judged() {
    let unknown = with(policy(), &format!("{CHECK}/query"), json!("queue_depth"));
    assert_eq!(warnings(&[release(), unknown], None)[0].code, "detection-unknown");
}

#[test]
fn a_window_shorter_than_the_steps_is_named_unless_it_covers_the_start_only() {
    let steps = json!([{"setWeight": 5}, {"pause": {"duration": "2h"}}, {"setWeight": 100}]);
    let long = with(release(), "/spec/strategy/canary/steps", steps);
    check(
        &[long.clone(), policy(), window("1h")],
        "window-too-short",
        "window shop/hours is open for 1h, and the steps take 2h6s at least: it waits for the next one with part of the traffic on the \
         new version; make it longer, or the steps shorter",
    );
    let start_only = with(window("1h"), "/spec/covers", json!(["Start"]));
    assert_eq!(warnings(&[long, policy(), start_only], None), []);
}

#[test]
fn approvals_that_expire_before_a_window_opens_are_named() {
    let gates = json!({"approvals": [{"name": "board", "before": "Start", "expiresAfter": "2h"}]});
    check(
        &[with(release(), "/spec/gates", gates), policy(), window("8h")],
        "approval-expires",
        "approvals of gate board count for 2h, and no window opens before Tue 2026-11-24 09:00 Europe/Berlin: given now, they have to \
         be given again",
    );
}

#[test]
fn approvals_that_nobody_may_give_are_named() {
    let gates = |users: Value| {
        json!({"requester": "alice", "approvals": [
            {"name": "board", "before": "Start", "required": 2, "from": {"users": users}, "excludeRequester": true},
        ]})
    };
    let found = warnings(&[with(release(), "/spec/gates", gates(json!(["alice", "bob"]))), policy()], None);
    assert_eq!(
        found.iter().map(|warning| warning.text.as_str()).collect::<Vec<_>>(),
        [
            "gate board names alice, who asks for the version and whose approval does not count (excludeRequester)",
            "gate board can never open: it needs 2 people and only 1 may approve; name more in from, or lower required",
        ]
    );
    assert_eq!(warnings(&[with(release(), "/spec/gates", gates(json!(["carol", "bob"]))), policy()], None), []);
}

#[test]
fn too_few_pods_and_coarse_weights_are_named() {
    let steps = json!([{"setCanaryScale": {"replicas": 1}}, {"setWeight": 50}, {"pause": {"duration": "5m"}}]);
    check(
        &[with(release(), "/spec/strategy/canary/steps", steps), policy(), deployment()],
        "too-few-pods",
        "step 2 sends 50 % of the traffic of web to 1 pod, where the stable version has 2 for as much: raise setCanaryScale",
    );
    check(
        &[with(release(), "/spec/workloads/0/routes", json!([])), policy(), deployment()],
        "weight-is-coarse",
        "step 1 asks for 5 % of the traffic of web, which has no route: 1 of 5 pods is 20 %; add a route, or more replicas",
    );
}

#[test]
fn a_window_about_no_release_is_named() {
    let elsewhere = with(window("1h"), "/spec/releaseSelector", json!({"matchLabels": {"tier": "critical"}}));
    let manifest = manifest(&[release(), policy(), elsewhere]);
    let idle = outline::idle_windows(&manifest, &Case::all(&manifest));
    assert_eq!(idle.iter().map(|warning| warning.code).collect::<Vec<_>>(), ["window-selects-nothing"]);
    assert!(idle[0].text.starts_with("window shop/hours is about none of these Releases"), "{idle:?}");
}
