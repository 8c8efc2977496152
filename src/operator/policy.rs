//! Keeps the status of RollbackPolicies current.

use std::{sync::Arc, time::Instant};

use lockkeeper_api::rollback_policy::RollbackPolicyStatus;
use lockkeeper_engine::analysis::PolicyPlan;
use serde_json::json;
use tracing::debug;

use crate::{
    act::Refusal,
    cache::{Key, Resource, touched},
    context::Context,
    publish,
    window::ready,
};

/// Looks at a policy once.
pub async fn reconcile(context: Arc<Context>, key: Key) {
    let Some(policy) = context.cache.read().policies.get(&key).cloned() else { return };
    let started = Instant::now();
    let now = context.clock.now();
    let faults = PolicyPlan::parse(&key.name, &policy.spec).err().unwrap_or_default();
    let before = policy.status.clone().unwrap_or_default();
    let status = RollbackPolicyStatus {
        observed_generation: policy.metadata.generation,
        used_by: used_by(&context, &key),
        checks: before.checks,
        conditions: vec![ready(Some(&before.conditions), policy.metadata.generation, &faults, now)],
    };
    if policy.status.as_ref() == Some(&status) {
        return;
    }
    let version = policy.metadata.resource_version.as_deref();
    let written = publish::write(&context, Resource::RollbackPolicy, &key, version, json!(status)).await;
    context.metrics.reconciled("policy", started.elapsed(), written.as_ref().map(|_| ()).map_err(Refusal::category));
    if let Err(refusal) = written {
        debug!(policy = %key, %refusal, "failed to publish");
        context.policies.add_at(key, tokio::time::Instant::now() + crate::backoff::LONGEST / 30);
    }
}

fn used_by(context: &Context, key: &Key) -> u32 {
    let state = context.cache.read();
    let uses = state.releases.within(&key.namespace);
    let count = uses.filter(|(_, release)| touched::policies(release).any(|name| name == key.name)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
