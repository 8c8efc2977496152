//! The one place where the cluster is changed, apart from status, events and the Lease.

use json_patch::{PatchOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Error,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use lockkeeper_api::{names::FIELD_MANAGER, release::Phase};
use lockkeeper_engine::write::{Kind, Request, Seen, Write};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::{
    cache::{Key, Object, Resource, Touched, Unreadable},
    context::Context,
    throttle::Delayed,
};

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The world is not as it was when the write was decided on; a newer state is on its way to the cache.
    #[error("the object has changed meanwhile")]
    Stale {
        /// Its kind.
        resource: Resource,
        /// Its namespace and name.
        key: Key,
    },
    /// It took so long that it would not be decided again.
    #[error("it is not what would be decided now")]
    Overtaken,
    /// This process does not act any more.
    #[error("this process does not lead any more")]
    NotLeading,
    /// The same object has been written too often.
    #[error("the same object was written too often lately")]
    Throttled(Delayed),
    /// The API server says no, and people should know.
    #[error("{reason}")]
    Refused {
        /// The API server's word for it.
        reason: String,
        /// All that it said, for the log only.
        #[source]
        source: Box<Error>,
    },
}

impl Refusal {
    /// What an error of the API server means for a guarded write of an object.
    pub fn of(error: Error, resource: Resource, key: &Key) -> Self {
        match &error {
            Error::Api(status) if is_stale(status) => Self::Stale { resource, key: key.clone() },
            Error::Api(status) => {
                let reason =
                    if status.reason.is_empty() { format!("HTTP {}", status.code) } else { status.reason.clone() };
                Self::Refused { reason, source: Box::new(error) }
            }
            _ => Self::Refused { reason: "Unreachable".into(), source: Box::new(error) },
        }
    }

    /// One word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Stale { .. } => "Conflict",
            Self::Overtaken => "Overtaken",
            Self::NotLeading => "NotLeading",
            Self::Throttled(_) => "Throttled",
            Self::Refused { source, .. } => match source.as_ref() {
                Error::Api(status) if status.is_forbidden() => "Forbidden",
                Error::Api(_) => "Refused",
                _ => "Unreachable",
            },
        }
    }
}

/// A conflict, an object that is gone, or a JSON patch whose test of the resource version has failed. A schema's complaint has the
/// same code as the last, but names its causes.
fn is_stale(status: &Status) -> bool {
    let causes = status.details.as_ref().is_some_and(|details| !details.causes.is_empty());
    status.code == 404 || status.code == 409 || (status.code == 422 && !causes)
}

/// For which object writes are done.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace, which is also that of what is written, and its name.
    pub key: &'a Key,
    /// The phase that it is in, where it has one.
    pub phase: Option<Phase>,
}

/// Whether a write may be done now. To be asked before each.
///
/// # Errors
/// When this process does not lead, or the object was written too often.
pub fn permit(context: &Context, actor: Actor<'_>, resource: Resource, name: &str) -> Result<(), Refusal> {
    if !context.leadership.is_leader() {
        return Err(Refusal::NotLeading);
    }
    context.throttle.take(actor, resource, name, Instant::now()).map_err(|delayed| {
        context.metrics.write_throttled(resource.api().plural);
        Refusal::Throttled(delayed)
    })
}

/// Does the writes in their order, and stops at the first that fails, or that is not to be done any more: requests take time, and `still`
/// is asked right before each. What the API server answers is known to the cache at once.
///
/// # Errors
/// The write that failed, and why.
pub async fn act(
    context: &Context,
    actor: Actor<'_>,
    writes: &[Write],
    still: impl Fn(&Write) -> bool,
) -> Result<Done, (Write, Refusal)> {
    let mut all = Done::Nothing;
    let mut known: Vec<(Kind, &str)> = Vec::new();
    for write in writes {
        let refused = |refusal| (write.clone(), refusal);
        for seen in &write.rests_on {
            if known.contains(&(seen.kind, &seen.name)) {
                continue;
            }
            prove(context, actor, seen).await.map_err(refused)?;
            known.push((seen.kind, &seen.name));
        }
        if !still(write) {
            return Err(refused(Refusal::Overtaken));
        }
        all = all.max(one(context, actor, write).await.map_err(refused)?);
        known.push((write.kind, &write.name));
    }
    Ok(all)
}

/// Proves that an object is as it was seen, unless that is known: by a request that stores nothing, and that the API server refuses otherwise.
///
/// # Errors
/// When it is not, or the API server does not say.
pub async fn prove(context: &Context, actor: Actor<'_>, seen: &Seen) -> Result<(), Refusal> {
    let (term, resource) = (context.leadership.term(), Resource::from(seen.kind));
    let key = Key::new(&actor.key.namespace, &seen.name);
    // What is not there may come again at any time, and not as it was.
    let Some(version) = &seen.resource_version else {
        let there = look_again(context, resource, &key).await?;
        return if there { Err(Refusal::Stale { resource, key }) } else { Ok(()) };
    };
    // What this process has written or proven, it has heard of since.
    if context.proofs.holds(actor.key, term, seen.kind, &seen.name) {
        return Ok(());
    }
    permit(context, actor, resource, &seen.name)?;
    let api: Api<Object> = Api::namespaced_with(context.client.clone(), &key.namespace, &resource.api());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Json::<()>(json_patch::Patch(vec![unchanged(Some(version))]));
    let answer = api.patch(&key.name, &params, &patch).await;
    let Object(answer) = answer.map_err(|error| Refusal::of(error, resource, &key))?;
    learn(context, resource, answer);
    context.proofs.note_object(actor.key, term, seen.kind, &seen.name);
    Ok(())
}

/// Asks the API server what an object is like, and whether it is there at all, which the cache knows from now on: a watch that has missed
/// its last change will never tell of it.
///
/// # Errors
/// When the API server does not say.
pub async fn look_again(context: &Context, resource: Resource, key: &Key) -> Result<bool, Refusal> {
    let api: Api<Object> = Api::namespaced_with(context.client.clone(), &key.namespace, &resource.api());
    // A list, and not a get, because the operator has the right to that already.
    let named = ListParams::default().fields(&format!("metadata.name={}", key.name));
    let found = api.list(&named).await.map_err(|error| Refusal::of(error, resource, key))?;
    let there = !found.items.is_empty();
    if !there {
        let metadata = ObjectMeta {
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            resource_version: found.metadata.resource_version,
            ..ObjectMeta::default()
        };
        context.touch(context.cache.remove(resource, &metadata));
    }
    found
        .items
        .into_iter()
        .for_each(|Object(object)| tell(context, context.cache.put(resource, object, context.steady())));
    Ok(there)
}

/// The condition that an object is the one that was read.
pub fn unchanged(resource_version: Option<&str>) -> PatchOperation {
    let path = PointerBuf::from_tokens(["metadata", "resourceVersion"]);
    PatchOperation::Test(TestOperation { path, value: json!(resource_version) })
}

/// What has come of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Done {
    /// There were none.
    Nothing,
    /// The cache knows what has changed: there may be more to do at once.
    Known,
    /// Something that was to be made is there already, and the cache does not know it: to decide again before it does would be in vain.
    Unknown,
}

async fn one(context: &Context, actor: Actor<'_>, write: &Write) -> Result<Done, Refusal> {
    let namespace = actor.key.namespace.as_str();
    let resource = Resource::from(write.kind);
    permit(context, actor, resource, &write.name)?;
    let api: Api<Object> = Api::namespaced_with(context.client.clone(), namespace, &resource.api());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let name = &write.name;
    let key = Key::new(namespace, name);
    let refused = |error| Refusal::of(error, resource, &key);
    let result = match &write.request {
        Request::Create(object) => {
            create(&Api::namespaced_with(context.client.clone(), namespace, &resource.api()), object).await
        }
        Request::Merge(patch) => api.patch(name, &params, &Patch::Merge(patch)).await.map(Some),
        Request::Strategic(patch) => api.patch(name, &params, &Patch::Strategic(patch)).await.map(Some),
        Request::Json(patch) => {
            let patch = serde_json::from_value(patch.clone()).map_err(Error::SerdeError).map_err(refused)?;
            api.patch(name, &params, &Patch::Json::<()>(patch)).await.map(Some)
        }
        Request::Delete { uid, resource_version } => {
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: Some(resource_version.clone()),
                }),
                propagation_policy: Some(PropagationPolicy::Background),
                ..DeleteParams::default()
            };
            let answer = api.delete(name, &params).await;
            answer.map(|answer| answer.left().filter(|object| object.0.metadata.deletion_timestamp.is_some())).inspect(
                |left| {
                    if left.is_none() {
                        context.cache.bury(resource, &key, uid);
                    }
                },
            )
        }
    };
    match result {
        Ok(answer) => {
            info!(kind = ?write.kind, name, purpose = write.purpose, "written");
            let unknown = answer.is_none() && matches!(write.request, Request::Create(_));
            if let Some(object) = answer {
                learn(context, resource, object.0);
            }
            context.proofs.note_object(actor.key, context.leadership.term(), write.kind, name);
            Ok(if unknown { Done::Unknown } else { Done::Known })
        }
        Err(error) => {
            debug!(kind = ?write.kind, name, purpose = write.purpose, %error, "not written");
            Err(refused(error))
        }
    }
}

/// What is there already is what we wanted to make: its name says what it is, and the cache will say the rest.
async fn create(api: &Api<DynamicObject>, object: &Value) -> kube::Result<Option<Object>> {
    let object = serde_json::from_value(object.clone()).map_err(Error::SerdeError)?;
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    match api.create(&params, &object).await {
        Ok(created) => Ok(Some(Object(created))),
        Err(Error::Api(status)) if status.is_already_exists() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The cache knows what the API server has answered before the watch says so.
pub fn learn(context: &Context, resource: Resource, object: DynamicObject) {
    tell(context, context.cache.learn(resource, object, context.steady()));
}

fn tell(context: &Context, kept: Result<Touched, Box<Unreadable>>) {
    match kept {
        Ok(touched) => context.touch(touched),
        Err(unreadable) => debug!(?unreadable, "the answer of the API server cannot be read"),
    }
}

#[cfg(test)]
mod tests;

/// The writes with the resource version that the Release has after its status was published: that the publication was accepted
/// proves that nobody else has changed it since the decision.
pub fn rebase(writes: &mut [Write], before: &str, after: &str) {
    for write in writes.iter_mut().filter(|write| write.kind == Kind::Release) {
        let Request::Merge(patch) = &mut write.request else { continue };
        if patch["metadata"]["resourceVersion"] == before {
            patch["metadata"]["resourceVersion"] = after.into();
        }
    }
}
