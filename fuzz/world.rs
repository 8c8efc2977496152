//! Whole situations: a Release, its status and all that stands around it, as they may be found.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{Release, ReleaseStatus, RollbackPolicySpec};
use lockkeeper_engine::{
    analysis::PolicyPlan,
    plan::{Plan, Setting},
    world::World,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Situation {
    release: Release,
    #[serde(default)]
    policies: BTreeMap<String, RollbackPolicySpec>,
    world: World,
    now: Timestamp,
}

/// A situation: it has one answer, and the status that is published can be read again and leads to the same.
pub fn decide(data: &[u8]) {
    let Ok(situation) = serde_json::from_slice::<Situation>(data) else { return };
    let Situation { release, policies, world, now } = situation;
    let setting = Setting {
        operator_namespace: "platform".into(),
        settle: SignedDuration::from_secs(2),
        paused_at_rest: false,
        approving_service_accounts: Vec::new(),
    };
    let parsed = |name: &str, spec| PolicyPlan::parse(name, spec).map(Arc::new);
    let policies = policies.iter().map(|(name, spec)| (name.clone(), Ok(parsed(name, spec)))).collect();
    let plan = Plan::parse(&release, &policies, setting);
    // The operator gathers one view for each workload.
    if world.workloads.len() != plan.workloads.len() {
        return;
    }
    let status = release.status.clone().unwrap_or_default();
    let outcome = lockkeeper_engine::decide(&plan, &world, &status, now);
    assert_eq!(outcome, lockkeeper_engine::decide(&plan, &world, &status, now));
    let written = serde_json::to_value(&outcome.status).unwrap();
    let read: ReleaseStatus = serde_json::from_value(written.clone()).expect("a status that we write can be read");
    assert_eq!(serde_json::to_value(&read).unwrap(), written);
    assert!(!outcome.status.message.is_empty(), "people are told what it does");
}
