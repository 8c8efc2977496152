//! Deployments whose Release is gone: our marks go too, or the admission policy would hold their next version for ever, with nobody
//! there to go on.
//!
//! A Release with something in flight cannot be deleted before it has given everything back; one at rest can, at once.
//! What it leaves is cleared here, also what was left while no operator ran.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use lockkeeper_api::names::POD_TEMPLATE_HASH;
use lockkeeper_engine::{
    orphan::{Remedy, remedy},
    world::{DeploymentView, ReplicaSetView},
    write::Write,
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    act::{self, Actor, Refusal},
    cache::{Key, Resource, touched},
    context::Context,
    observe,
};

/// How long a Release may be missing: one that is replaced, or comes in the same sync as its Deployment, is there by then.
const GRACE: Duration = Duration::from_secs(10);

/// Since when Deployments have been without a Release, and what people have been told.
#[derive(Debug, Default)]
pub struct Orphans(Mutex<BTreeMap<Key, Seen>>);

#[derive(Clone, Debug)]
struct Seen {
    uid: String,
    since: Instant,
    told: Option<Remedy>,
}

impl Orphans {
    fn since(&self, key: &Key, uid: &str) -> Instant {
        let mut all = self.0.lock();
        let fresh = || Seen { uid: uid.to_owned(), since: Instant::now(), told: None };
        let seen = all.entry(key.clone()).or_insert_with(fresh);
        if seen.uid != uid {
            *seen = fresh();
        }
        seen.since
    }

    /// Whether people have not been told this yet.
    fn tell(&self, key: &Key, remedy: Remedy) -> bool {
        self.0.lock().get_mut(key).is_some_and(|seen| seen.told.replace(remedy) != Some(remedy))
    }

    fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

/// Looks at a Deployment once.
pub async fn reconcile(context: Arc<Context>, key: Key) {
    if !context.leadership.is_leader() {
        return;
    }
    let object = (Resource::Deployment, key.clone());
    let Some(Orphan { release, deployment, replica_sets, pinned }) = orphan(&context, &key) else {
        context.orphans.forget(&key);
        return context.backoff.reset(&object);
    };
    let due = context.orphans.since(&key, &deployment.uid) + GRACE;
    if Instant::now() < due {
        return context.deployments.add_at(key, due);
    }
    let remedy = remedy(&deployment, &replica_sets, pinned);
    let actor = Actor { resource: Resource::Deployment, key: &key, phase: None };
    let writes: Vec<Write> = remedy.write(&release, &deployment).into_iter().collect();
    let acted = async {
        if !writes.is_empty() {
            prove_gone(&context, Key::new(&key.namespace, &release)).await?;
        }
        act::act(&context, actor, &writes, |_| true).await.map_err(|(_, refusal)| refusal)
    };
    match acted.await {
        Ok(_) => {
            context.backoff.reset(&object);
            if context.orphans.tell(&key, remedy) {
                info!(deployment = %key, release, ?remedy, "a Deployment without its Release");
                context.events.send(reference(&key, &deployment), remedy.event(&release, &key.name));
            }
        }
        Err(Refusal::NotLeading) => {}
        Err(refusal) => {
            if let Refusal::Refused { .. } = &refusal {
                warn!(deployment = %key, release, %refusal, "failed to clear what a Release has left");
            }
            context.deployments.add_at(key, Instant::now() + context.backoff.failed(&object));
        }
    }
}

/// Asks the API server whether it has no such Release either: a watch may be late, and what is cleared here is what holds a version that
/// nobody has proven.
///
/// # Errors
/// When the Release is there, which the cache knows from now on, or the API server does not say.
async fn prove_gone(context: &Context, release: Key) -> Result<(), Refusal> {
    let resource = Resource::Release;
    if act::look_again(context, resource, &release).await? {
        return Err(Refusal::Stale { resource, key: release });
    }
    Ok(())
}

struct Orphan {
    release: String,
    deployment: DeploymentView,
    replica_sets: Vec<ReplicaSetView>,
    pinned: bool,
}

fn orphan(context: &Context, key: &Key) -> Option<Orphan> {
    let state = context.cache.read();
    let release = touched::left_by(&state, key)?.to_owned();
    let deployment = state.deployments.get(key)?.clone();
    let replica_sets = observe::replica_sets(&state, &Key::new(&key.namespace, &release), key, Some(&deployment.uid));
    let template = deployment.template.glance();
    let pinned = state.services.within(&key.namespace).any(|(_, service)| {
        let mut own = service.selector.iter().filter(|(label, _)| *label != POD_TEMPLATE_HASH);
        service.pin.is_some() && own.all(|(label, value)| template.is_labelled(label, value))
    });
    Some(Orphan { release, deployment, replica_sets, pinned })
}

fn reference(key: &Key, deployment: &DeploymentView) -> ObjectReference {
    let api = Resource::Deployment.api();
    ObjectReference {
        api_version: Some(api.api_version),
        kind: Some(api.kind),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(deployment.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests;
