//! One question to the gates.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{
    Release, ReleaseStatus,
    deployment_window::Exposure,
    release::{ApprovalGate, CountedDecision, GateState},
};
use serde_json::{Value, json};

use super::{Question, ask, refusal, requester, stranger};
use crate::{
    plan::{Plan, Setting},
    world::World,
};

const NOW: &str = "2026-06-03T10:00:00Z";

fn plan(gates: Value) -> Plan {
    let release: Release = serde_json::from_value(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release", "metadata": {"name": "shop", "namespace": "team"},
        "spec": {
            "workloads": [{"ref": {"kind": "Deployment", "name": "web"}}],
            "strategy": {"canary": {"steps": [{"setWeight": 10}]}}, "gates": gates,
        },
    }))
    .unwrap();
    let setting = Setting {
        operator_namespace: "platform".into(),
        settle: SignedDuration::from_secs(2),
        paused_at_rest: false,
        approving_service_accounts: Vec::new(),
    };
    Plan::parse(&release, &BTreeMap::new(), setting)
}

/// A status with these Decisions, of a version that this user has asked for.
fn status(decisions: Value, requested_by: Option<&str>) -> ReleaseStatus {
    let candidate =
        json!({"revision": "r2", "version": "2", "workloads": [], "since": NOW, "requestedBy": requested_by});
    ReleaseStatus {
        candidate: Some(serde_json::from_value(candidate).unwrap()),
        decisions: serde_json::from_value(decisions).unwrap(),
        ..ReleaseStatus::default()
    }
}

fn decision(verdict: &str, gate: &str, by: &str) -> Value {
    json!({"uid": format!("{verdict}-{by}"), "name": by, "verdict": verdict, "gate": gate, "by": by, "groups": [format!("{by}s")], "at": NOW})
}

/// The gates before the start as `name reason`.
fn asked(gates: Value, status: &ReleaseStatus, faults: &[String]) -> Vec<String> {
    let (plan, world, now) = (plan(gates), World::default(), NOW.parse::<Timestamp>().unwrap());
    let question =
        Question { plan: &plan, world: &world, status, faults, exposure: Exposure::Start, step_gate: None, now };
    ask(&question).iter().map(|gate| format!("{} {}", gate.name, gate.reason)).collect()
}

fn approval(name: &str, required: u8, rest: Value) -> Value {
    let mut gate = json!({"name": name, "before": "Start", "required": required});
    gate.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    gate
}

#[test]
fn each_gate_is_asked_and_two_approvals_of_one_person_are_one() {
    let gates = json!({"approvals": [approval("one", 1, json!({})), approval("two", 2, json!({}))]});
    let mut decisions = json!([decision("Approve", "one", "ann"), decision("Approve", "two", "ann")]);
    let ann_again = decision("Approve", "two", "ann");
    decisions.as_array_mut().unwrap().push(ann_again);
    assert_eq!(asked(gates.clone(), &status(decisions.clone(), None), &[]), ["two ApprovalNeeded", "one Approved"]);
    decisions.as_array_mut().unwrap().push(decision("Approve", "two", "bob"));
    assert_eq!(asked(gates, &status(decisions, None), &[]), ["two Approved", "one Approved"]);
}

#[test]
fn of_two_definitions_of_a_gate_the_closed_one_counts() {
    let strict = approval("gate", 2, json!({}));
    let other = approval("gate", 1, json!({"from": {"users": ["olga"]}}));
    let mut status = status(json!([decision("Approve", "gate", "ann"), decision("Approve", "gate", "bob")]), None);
    assert_eq!(asked(json!({"approvals": [strict.clone()]}), &status, &[]), ["gate Approved"]);
    status.gates_at_start = Some(serde_json::from_value(json!({"approvals": [other]})).unwrap());
    assert_eq!(asked(json!({"approvals": [strict]}), &status, &[]), ["gate ApprovalNeeded"]);
}

#[test]
fn an_override_passes_a_gate_while_it_lasts_and_never_what_cannot_work() {
    let gates = json!({"approvals": [approval("gate", 1, json!({}))]});
    let with = |gate: &str, until: &str| {
        let mut one = decision("Override", gate, "olga");
        one["until"] = until.into();
        status(json!([one]), None)
    };
    let (later, now) = ("2026-06-03T10:00:01Z", NOW);
    assert_eq!(asked(gates.clone(), &with("gate", later), &[]), ["gate Overridden"]);
    assert_eq!(asked(gates.clone(), &with("gate", now), &[]), ["gate ApprovalNeeded"]);
    assert_eq!(asked(gates.clone(), &with("other", later), &[]), ["gate ApprovalNeeded"]);
    assert_eq!(asked(json!({}), &with("validity", later), &["no".to_owned()]), ["validity Invalid"]);
    // What is open anyway is not passed by anybody.
    let mut approved = with("gate", later);
    approved.decisions.push(serde_json::from_value(decision("Approve", "gate", "ann")).unwrap());
    assert_eq!(asked(gates, &approved, &[]), ["gate Approved"]);
}

#[test]
fn a_machine_asked_for_nothing_but_the_person_behind_it() {
    let (nobody, named) = (plan(json!({})), plan(json!({"requester": "olga"})));
    let by = |user| status(json!([]), user);
    assert_eq!(requester(&nobody, &by(None)), None);
    assert_eq!(requester(&nobody, &by(Some("system:serviceaccount:ci:deployer"))), None);
    assert_eq!(requester(&named, &by(Some("system:serviceaccount:ci:deployer"))), Some("olga"));
    assert_eq!(requester(&named, &by(Some("ann"))), Some("ann"));
}

#[test]
fn who_may_approve() {
    let gate = |rest: Value| -> ApprovalGate { serde_json::from_value(approval("gate", 1, rest)).unwrap() };
    let by = |who: &str| -> CountedDecision { serde_json::from_value(decision("Approve", "gate", who)).unwrap() };
    let anybody = gate(json!({}));
    let some = gate(json!({"from": {"users": ["ann"], "groups": ["bobs"]}}));
    assert_eq!(stranger(&anybody, &by("carl")), None);
    assert_eq!(stranger(&some, &by("ann")), None);
    assert_eq!(stranger(&some, &by("bob")), None);
    let refused = stranger(&some, &by("carl")).unwrap();
    assert_eq!(refused, "carl is not among those who may approve gate, from group bobs or ann");

    let excluding = gate(json!({"excludeRequester": true}));
    let (plan, machine) = (plan(json!({"requester": "olga"})), "system:serviceaccount:ci:deployer");
    let status = status(json!([]), Some(machine));
    for asked in ["olga", machine] {
        assert!(
            refusal(&plan, &status, &excluding, &by(asked)).is_some_and(|why| why.contains("asked for this version"))
        );
        assert_eq!(refusal(&plan, &status, &anybody, &by(asked)), None);
    }
    assert_eq!(refusal(&plan, &status, &excluding, &by("ann")), None);
}

#[test]
fn a_gate_keeps_the_time_since_when_it_is_as_it_is() {
    let (plan, world, now) = (
        plan(json!({"approvals": [approval("gate", 1, json!({}))]})),
        World::default(),
        NOW.parse::<Timestamp>().unwrap(),
    );
    let mut status = status(json!([]), None);
    let mut at = |now| {
        let question = Question {
            plan: &plan,
            world: &world,
            status: &status,
            faults: &[],
            exposure: Exposure::Start,
            step_gate: None,
            now,
        };
        let gates = ask(&question);
        status.gates = gates.clone();
        gates[0].clone()
    };
    assert_eq!(at(now).since.0, now);
    let later = at(now + SignedDuration::from_secs(9));
    assert_eq!((later.since.0, later.state), (now, GateState::Closed));
}
