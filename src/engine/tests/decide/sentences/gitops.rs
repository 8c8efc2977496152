//! What GitOps tools are shown: a Release in every phase and in the situations that they tell apart.
//!
//! The file is read by the test of the health checks in `config/gitops`, which runs them in the tools' own code. So a changed
//! condition is seen here first, and then there.

use std::{env, fs};

use lockkeeper_api::{decision::Verdict, release::Phase};
use serde_json::{Map, Value, json};

use super::{asked, at_10_percent, at_rest, baking};
use crate::{
    fixture::{Work, lab},
    happening::{Happening, spec},
    lab::{Answer, Lab, NAME},
};
use lockkeeper_engine::write::Kind;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/gitops/releases.json");

/// Must name every phase: the match says which one is new.
fn phases() -> [Phase; 11] {
    match Phase::Stable {
        Phase::Stable
        | Phase::Waiting
        | Phase::Progressing
        | Phase::Paused
        | Phase::Promoting
        | Phase::Baking
        | Phase::RollingBack
        | Phase::RolledBack
        | Phase::Aborted
        | Phase::Rejected
        | Phase::Invalid => [
            Phase::Stable,
            Phase::Waiting,
            Phase::Progressing,
            Phase::Paused,
            Phase::Promoting,
            Phase::Baking,
            Phase::RollingBack,
            Phase::RolledBack,
            Phase::Aborted,
            Phase::Rejected,
            Phase::Invalid,
        ],
    }
}

fn gated() -> Value {
    json!({"gates": {"approvals": [{"name": "gate", "before": "Start", "required": 1}]}})
}

fn ten() -> Value {
    json!([{"setWeight": 10}])
}

/// As asked, and then what happens.
fn after(mut lab: Lab, what: impl FnOnce(&mut Lab)) -> Lab {
    what(&mut lab);
    lab
}

fn situations() -> Vec<(&'static str, Lab)> {
    let slow = |steps: Value| {
        after(at_rest(steps, json!({})), |lab| {
            lab.happen(&Happening::Version("2-slow"));
            lab.run(1);
        })
    };
    vec![
        ("not seen yet", lab(&[Work::web()], ten(), json!({}))),
        ("at rest", at_rest(ten(), json!({}))),
        (
            "changed and not seen yet",
            after(at_rest(ten(), json!({})), |lab| spec(lab, |spec| spec["suspend"] = true.into())),
        ),
        ("waiting for approval", asked(ten(), gated())),
        (
            "waiting for a window",
            after(at_rest(ten(), json!({})), |lab| {
                lab.happen(&Happening::Freeze(true));
                lab.happen(&Happening::Version("2"));
                lab.run(1);
            }),
        ),
        (
            "paused until a fault is mended",
            after(at_10_percent(json!({})), |lab| {
                spec(lab, |spec| spec["rollbackPolicy"] = "missing".into());
                lab.run(1);
            }),
        ),
        ("progressing", slow(ten())),
        ("paused", at_10_percent(json!({}))),
        (
            "paused without data",
            after(at_10_percent(json!({"rollbackPolicy": super::POLICY})), |lab| {
                lab.answer = Answer::Error;
                lab.run(10);
            }),
        ),
        ("promoting", slow(json!([{"setWeight": 0}]))),
        ("baking", baking()),
        (
            "rolling back",
            after(at_10_percent(json!({})), |lab| {
                lab.decide(Verdict::Abort, None, "olga");
                lab.round();
            }),
        ),
        (
            "rolled back",
            after(at_rest(ten(), json!({"progressDeadline": "2m"})), |lab| {
                lab.happen(&Happening::Version("5-never"));
                lab.run(10);
            }),
        ),
        (
            "aborted",
            after(at_10_percent(json!({})), |lab| {
                lab.decide(Verdict::Abort, None, "olga");
                lab.run(1);
            }),
        ),
        (
            "rejected",
            after(asked(ten(), gated()), |lab| {
                lab.decide(Verdict::Reject, Some("gate"), "olga");
                lab.run(1);
            }),
        ),
        (
            "invalid",
            after(at_rest(ten(), json!({})), |lab| {
                spec(lab, |spec| spec["rollbackPolicy"] = "missing".into());
                lab.run(1);
            }),
        ),
    ]
}

/// What the tools read of it.
fn shown(lab: &Lab) -> Value {
    let object = lab.cluster.get(Kind::Release, NAME).unwrap();
    let of = |part: &str, keys: &[&str]| -> Map<String, Value> {
        let found = keys.iter().filter_map(|key| Some(((*key).to_owned(), object[part].get(*key)?.clone())));
        found.collect()
    };
    let mut shown = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
        "metadata": of("metadata", &["name", "namespace", "generation"]),
    });
    if object.get("status").is_some() {
        shown["status"] = of("status", &["observedGeneration", "phase", "message", "conditions"]).into();
    }
    shown
}

#[test]
fn tools_are_shown_every_phase() {
    let releases: Map<String, Value> =
        situations().iter().map(|(situation, lab)| ((*situation).to_owned(), shown(lab))).collect();
    for phase in phases() {
        let phase = phase.to_string();
        assert!(releases.values().any(|release| release["status"]["phase"] == *phase), "no situation is {phase}");
    }
    let text = format!("{}\n", serde_json::to_string_pretty(&releases).unwrap());
    if env::var_os("UPDATE_SHOWN").is_some() {
        fs::write(FILE, &text).unwrap();
    }
    let told = fs::read_to_string(FILE).unwrap_or_default();
    assert_eq!(text, told, "what tools are shown has changed: see e2e/gitops/README.md");
}
