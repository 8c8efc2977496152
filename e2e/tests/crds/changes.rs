//! Bad objects, each a good one with one thing changed, and the words that the refusal must have.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The JSON pointer, what is put there, and words of the refusal.
pub type Change = (&'static str, Value, &'static [&'static str]);

/// What is said of a text that is no duration.
const DURATION: [&str; 1] = ["write hours, minutes and seconds like 90s, 10m or 1h30m, at most 8784h"];

/// What is said of a text that is no name.
const LABEL: &str = "lower-case letters, digits and dashes, with a letter or digit at both ends";

fn release() -> Value {
    object(
        "Release",
        json!({
            "workloads": [{"ref": {"kind": "Deployment", "name": "web"}, "service": "web", "routes": [{"kind": "HTTPRoute", "name": "web"}]}],
            "strategy": {"canary": {"steps": [{"setWeight": 5}]}},
            "gates": {"approvals": [{"name": "go", "before": "Start"}]},
            "progressDeadline": "10m",
        }),
    )
}

fn policy() -> Value {
    object(
        "RollbackPolicy",
        json!({"checks": [{"name": "errors", "query": "up", "max": 1, "interval": "10s"}], "rollback": {}}),
    )
}

pub fn decision() -> Value {
    object("Decision", json!({"release": "web", "revision": "r", "verdict": "Pause", "by": {"username": "alice"}}))
}

fn window() -> Value {
    object(
        "DeploymentWindow",
        json!({"action": "Allow", "schedule": {"cron": "0 9 * * 2-4", "duration": "8h", "timeZone": "UTC"}}),
    )
}

fn object(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": kind, "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

fn bad_releases() -> Vec<Change> {
    let workload = || json!({"ref": {"kind": "Deployment", "name": "web"}});
    let steps = "/spec/strategy/canary/steps";
    let pause = |duration: &str| (steps, json!([{"pause": {"duration": duration}}]), &DURATION[..]);
    vec![
        pause("5 minutes"),
        pause(""),
        pause("1.5h"),
        pause("500ms"),
        pause("5m1h"),
        pause("8785h"),
        pause("99999999999999999s"),
        (steps, json!([]), &["should have at least 1 items"]),
        (steps, json!([{}]), &["give exactly one of setWeight, setCanaryScale, pause, analysis, approval"]),
        (
            steps,
            json!([{"setWeight": 5, "pause": {}}]),
            &["give exactly one of setWeight, setCanaryScale, pause, analysis, approval"],
        ),
        (steps, json!([{"setHeavy": 5}]), &["unknown field", "setHeavy"]),
        (steps, json!([{"setWeight": 101}]), &["less than or equal to 100"]),
        (steps, json!([{"setWeight": -1}]), &["greater than or equal to 0"]),
        (
            steps,
            json!([{"setCanaryScale": {"weight": 5, "replicas": 1}}]),
            &["exactly one of replicas, weight, matchTrafficWeight"],
        ),
        (steps, json!([{"setCanaryScale": {"matchTrafficWeight": false}}]), &["supported values: \"true\""]),
        (steps, json!([{"setCanaryScale": {}}]), &["exactly one of replicas, weight, matchTrafficWeight"]),
        ("/spec/strategy", json!({}), &["spec.strategy", "give canary"]),
        ("/spec/workloads", json!([]), &["should have at least 1 items"]),
        ("/spec/workloads", json!([workload(), workload()]), &["remove the repeated ref"]),
        ("/spec/workloads/0/ref/kind", json!("StatefulSet"), &["supported values: \"Deployment\""]),
        ("/spec/workloads/0/canaryService", json!("web"), &["canaryService must differ from service"]),
        (
            "/spec/workloads/0",
            json!({"ref": {"kind": "Deployment", "name": "web"}, "routes": [{"kind": "HTTPRoute", "name": "web"}]}),
            &["name the Service that the routes use"],
        ),
        ("/spec/gates/approvals/0/name", json!("windows"), &["choose another name"]),
        ("/spec/gates/approvals/0/required", json!(0), &["greater than or equal to 1"]),
        ("/spec/gates/approvals", json!([{"name": "go"}, {"name": "go"}]), &["distinct names"]),
        ("/spec/progressDeadline", json!("9s"), &["at least 10s"]),
        ("/spec/progressDeadline", json!("ten minutes"), &DURATION[..]),
        (
            steps,
            json!([{"approval": {"name": "og"}}]),
            &["waits for a gate that is not there", "add it to gates.approvals"],
        ),
        (
            "/spec/gates/approvals/0/before",
            Value::Null,
            &["is never asked for", "give it before, or add an approval step"],
        ),
        ("/spec/gates/approvals/0/name", json!("Go"), &["approvals[0].name", LABEL]),
        ("/spec/gates/approvals/0/expiresAfter", json!("1s"), &["at least 1m"]),
        (steps, json!([{"analysis": {"policy": "slo", "duration": "0s"}}]), &["at least 1s"]),
        (steps, json!([{"analysis": {"policy": "SLO", "duration": "1m"}}]), &["analysis.policy", LABEL]),
        ("/spec/rollbackPolicy", json!("my policy"), &["spec.rollbackPolicy", LABEL]),
        ("/spec/workloads/0/ref/name", json!("a..b"), &["ref.name", LABEL, "parts separated by dots"]),
        ("/spec/workloads/0/routes/0/name", json!("-a"), &["routes[0].name", LABEL]),
        ("/spec/workloads/0/routes/0/kind", json!("Ingress"), &["supported values: \"HTTPRoute\""]),
        ("/spec/workloads/0/service", json!("web.shop"), &["service", LABEL]),
        ("/spec/workloads/0/service", json!("s".repeat(57)), &["give canaryService"]),
        ("/spec/workloads/0/pin", json!(["also", "Web"]), &["pin", LABEL]),
        ("/spec/workloads/0/images", json!({"app": "demo: 1"}), &["like app: registry.example.com/shop/app:2.4.0"]),
        ("/spec/workloads/0/images", json!({"App": "demo:1"}), &["like app: registry.example.com/shop/app:2.4.0"]),
        ("/spec/rolbackPolicy", json!("x"), &["unknown field", "rolbackPolicy"]),
    ]
}

fn bad_policies() -> Vec<Change> {
    let check = |name: &str| json!({"name": name, "query": "up", "max": 1});
    vec![
        ("/spec/checks", json!([]), &["should have at least 1 items"]),
        ("/spec/checks", json!([check("a"), check("a")]), &["distinct names"]),
        ("/spec/checks/0/max", Value::Null, &["either min and/or max, or condition"]),
        ("/spec/checks/0/condition", json!("value < 1"), &["either min and/or max, or condition"]),
        ("/spec/checks/0/min", json!(2), &["min must not be above max"]),
        ("/spec/checks/0/name", json!("error rate"), &["checks[0].name", LABEL]),
        ("/spec/checks/0/query", json!(""), &["at least 1 chars"]),
        ("/spec/checks/0/failureLimit", json!(1001), &["less than or equal to 1000"]),
        ("/spec/checks/0/consecutiveErrorLimit", json!(-1), &["greater than or equal to 0"]),
        ("/spec/checks/0/onFailure", json!("Revert"), &["supported values: \"Rollback\", \"Pause\", \"Notify\""]),
        (
            "/spec/allowNamespaces",
            json!({"matchExpressions": [{"key": "team", "operator": "In"}]}),
            &["In and NotIn need values, at least one"],
        ),
        ("/spec/checks/0/initialDelay", json!("soon"), &DURATION[..]),
        ("/spec/workload", json!({"crashLoops": "Ignore"}), &["supported values: \"Rollback\", \"Pause\", \"Notify\""]),
        ("/spec/onInconclusive", json!("Promote"), &["supported values: \"Pause\", \"Rollback\""]),
        ("/spec/bake", json!("1d"), &DURATION[..]),
        ("/spec/checks/0/interval", json!("0s"), &["at least 1s"]),
        ("/spec/checks/0/noData", json!("Ignore"), &["supported values: \"Wait\", \"Fail\", \"Pass\""]),
        ("/spec/checks/0/minimumSamples", json!({"query": "up", "atLeast": 0}), &["above 0"]),
        ("/spec/rollback/gradual", json!({"by": 0, "every": "1s"}), &["greater than or equal to 1"]),
    ]
}

fn bad_decisions() -> Vec<Change> {
    vec![
        ("/spec/verdict", json!("Maybe"), &["supported values"]),
        ("/spec/verdict", json!("Approve"), &["gate names the gate of Approve"]),
        ("/spec/gate", json!("go"), &["left out otherwise"]),
        ("/spec/expiresAfter", json!("1h"), &["belongs to Override only"]),
        ("/spec/release", json!("Web"), &["spec.release", LABEL]),
        ("/spec/revision", json!(""), &["at least 1 chars"]),
        ("/spec/verdict", json!("Override"), &["Override needs a reason"]),
        ("/spec/by/username", json!(""), &["at least 1 chars"]),
    ]
}

fn bad_windows() -> Vec<Change> {
    vec![
        ("/spec/action", json!("Deny"), &["supported values: \"Allow\", \"Freeze\""]),
        ("/spec/schedule/cron", json!("9 * * *"), &["cron has five fields", "like 0 9 * * 2-4"]),
        ("/spec/schedule/timeZone", json!("Berlin"), &["IANA name of a zone, like Europe/Berlin"]),
        ("/spec/schedule/timeZone", json!("Local"), &["IANA name of a zone, like Europe/Berlin"]),
        (
            "/spec/schedule",
            json!({"from": "2026-02-30T00:00:00", "until": "2026-03-01T00:00:00", "timeZone": "UTC"}),
            &["existing local date and time"],
        ),
        (
            "/spec/schedule",
            json!({"from": "2026-03-02T00:00:00", "until": "2026-03-01T00:00:00", "timeZone": "UTC"}),
            &["until must be after from"],
        ),
        (
            "/spec/schedule",
            json!({"start": "2026-03-02T00:00:00", "duration": "1h", "timeZone": "UTC"}),
            &["start and recurrence belong together"],
        ),
        (
            "/spec/schedule",
            json!({"start": "2026-03-02T00:00:00", "recurrence": "weekly", "duration": "1h", "timeZone": "UTC"}),
            &["rule of RFC 5545", "FREQ=WEEKLY;BYDAY=TU,WE,TH"],
        ),
        (
            "/spec/releaseSelector",
            json!({"matchExpressions": [{"key": "tier", "operator": "In"}]}),
            &["In and NotIn need values"],
        ),
        ("/spec/covers", json!([]), &["at least 1 items"]),
        ("/spec/schedule/from", json!("2026-12-20T00:00:00"), &["exactly one form"]),
        ("/spec/schedule/duration", Value::Null, &["duration belongs to"]),
        ("/spec/schedule/duration", json!("30s"), &["at least 1m"]),
        ("/spec/covers", json!(["Start", "Start"]), &["Duplicate value"]),
    ]
}

/// A good object of each kind, and what is changed in it.
pub fn tables() -> [(Value, Vec<Change>); 4] {
    [(release(), bad_releases()), (policy(), bad_policies()), (decision(), bad_decisions()), (window(), bad_windows())]
}

/// With `value` at `pointer`, whose parent exists; `null` removes.
pub fn with(mut object: Value, pointer: &str, value: Value) -> Result<Value> {
    let (parent, key) = pointer.rsplit_once('/').context("no pointer")?;
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) if value.is_null() => drop(fields.remove(key)),
        Some(Value::Object(fields)) => drop(fields.insert(key.into(), value)),
        Some(Value::Array(items)) => *items.get_mut(key.parse::<usize>()?).context("no such item")? = value,
        Some(_) | None => bail!("{parent} is not there"),
    }
    Ok(object)
}
