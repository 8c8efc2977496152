//! Keeps the status of RollbackPolicies current, so that a policy can be trusted before it is needed.
//!
//! When a policy appears or changes, each of its queries is asked once, about the stable version of a Release that uses it;
//! while the provider does not answer, again with growing pauses; afterwards not at all. What releases measure anyway is
//! taken over, at most once a minute.

mod judge;
mod trial;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::Timestamp;
use lockkeeper_api::{Release, rollback_policy::RollbackPolicyStatus};
use lockkeeper_engine::{
    analysis::{Measurement, PolicyPlan, Reading},
    sharing::Located,
};
use serde_json::json;
use tracing::debug;

pub use self::trial::Trials;
use self::{
    judge::{Published, Subject},
    trial::{Times, Tried},
};
use crate::{
    act::{Actor, Refusal},
    cache::{Key, PolicyEntry, Resource},
    condition::{Verdict, ready},
    context::Context,
    publish,
};

/// Looks at a policy once.
pub async fn reconcile(context: Arc<Context>, key: Key) {
    if !context.speaks_of(&key) {
        return;
    }
    let Some(entry) = context.cache.read().policies.get(&key).cloned() else {
        context.trials.forget(&key);
        context.told.forget(Resource::RollbackPolicy, &key);
        return context.backoff.reset(&(Resource::RollbackPolicy, key));
    };
    let started = Instant::now();
    let Some(status) = status(&context, &key, &entry) else { return };
    let policy = &entry.policy;
    if policy.status.as_ref().is_some_and(|before| !judge::meaningful(before, &status)) {
        return;
    }
    let version = policy.metadata.resource_version.as_deref();
    let actor = Actor { resource: Resource::RollbackPolicy, key: &key, phase: None };
    let written = publish::tell(&context, actor, version, json!(status)).await;
    context.metrics.reconciled("policy", started.elapsed(), written.as_ref().map(|_| ()).map_err(Refusal::category));
    let failed = (Resource::RollbackPolicy, key.clone());
    match written {
        Ok(again) => again.into_iter().for_each(|again| context.policies.add_at(key.clone(), again)),
        Err(refusal) => {
            debug!(policy = %key, %refusal, "failed to publish");
            context.policies.add_at(key, tokio::time::Instant::now() + context.backoff.failed(&failed));
        }
    }
}

/// The status as it is to be; none while the queries are being asked, which wakes us when it is done.
fn status(context: &Arc<Context>, key: &Key, entry: &PolicyEntry) -> Option<RollbackPolicyStatus> {
    let policy = &entry.policy;
    let before = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    let operator_namespace = &context.setting.operator_namespace;
    let users = context.cache.read().users(key, operator_namespace);
    let located = Located { namespace: &key.namespace, name: &key.name, spec: &policy.spec };
    let misplaced = located.misplaced(operator_namespace);
    let parsed = match (entry.plan.clone(), misplaced) {
        (Ok(_), Some(misplaced)) => Err(vec![misplaced]),
        (Err(faults), misplaced) => Err(faults.into_iter().chain(misplaced).collect()),
        (parsed, None) => parsed,
    };
    let (checks, verdict) = match parsed {
        Err(faults) => {
            context.trials.forget(key);
            (Vec::new(), Verdict::of(&faults))
        }
        Ok(plan) => {
            let subject = Subject::among(&users);
            let measured = measured(context, &plan, &users);
            let times = Times {
                generation,
                published: Published::of(&before, &plan, generation, subject.is_some()),
                failed: failed(&measured),
            };
            let repeat =
                |again: Option<_>| again.into_iter().for_each(|again| context.policies.add_at(key.clone(), again));
            match context.trials.look(context, key, &plan, subject.as_ref(), times) {
                Tried::UnderWay => return None,
                Tried::Before { again } => {
                    repeat(again);
                    judge::follow(&plan, &before, &measured)
                }
                Tried::Now { answers, about, again } => {
                    repeat(again);
                    judge::judge(&plan, &answers, about.as_ref(), &measured)
                }
            }
        }
    };
    Some(RollbackPolicyStatus {
        observed_generation: generation,
        used_by: u32::try_from(users.len()).unwrap_or(u32::MAX),
        checks,
        conditions: vec![ready(&before.conditions, generation, verdict, context.clock.now())],
    })
}

/// The latest measurement of each check by a release that is under way.
fn measured(context: &Context, plan: &PolicyPlan, users: &[(Key, Arc<Release>)]) -> BTreeMap<String, Measurement> {
    let mut latest: BTreeMap<String, Measurement> = BTreeMap::new();
    let jumped = context.jumped();
    for (name, measurement) in users.iter().flat_map(|(release, _)| context.measures.of(release, jumped)) {
        let ours = plan.checks.iter().any(|check| check.name == name);
        if ours && latest.get(&name).is_none_or(|held| held.taken < measurement.taken) {
            latest.insert(name, measurement);
        }
    }
    latest
}

/// When a release last could not measure a check.
fn failed(measured: &BTreeMap<String, Measurement>) -> Option<Timestamp> {
    let failed = measured.values().filter(|measurement| matches!(measurement.reading, Reading::Error(_)));
    failed.map(|measurement| measurement.taken).max()
}

#[cfg(test)]
mod tests;
