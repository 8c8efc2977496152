//! The one place where the cluster is changed, apart from status, events and the Lease.

use kube::{
    Api, Error,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use lockkeeper_api::{names::FIELD_MANAGER, release::Phase};
use lockkeeper_engine::write::{Kind, Request, Write};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::{
    cache::{Key, Object, Resource},
    context::Context,
    throttle::Delayed,
};

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The world is not as it was when the write was decided on; a newer state is on its way to the cache.
    #[error("the object has changed meanwhile")]
    Stale,
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
    /// What an error of the API server means for a write that was guarded.
    pub fn of(error: Error) -> Self {
        match &error {
            Error::Api(status) if is_stale(status) => Self::Stale,
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
            Self::Stale => "Conflict",
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

/// Does the writes in their order, and stops at the first that fails. What the API server answers is known to the cache at
/// once.
///
/// # Errors
/// The write that failed, and why.
pub async fn act(context: &Context, actor: Actor<'_>, writes: &[Write]) -> Result<Done, (Write, Refusal)> {
    let mut all = Done::Nothing;
    for write in writes {
        all = all.max(one(context, actor, write).await.map_err(|refusal| (write.clone(), refusal))?);
    }
    Ok(all)
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
    let result = match &write.request {
        Request::Create(object) => {
            create(&Api::namespaced_with(context.client.clone(), namespace, &resource.api()), object).await
        }
        Request::Merge(patch) => api.patch(name, &params, &Patch::Merge(patch)).await.map(Some),
        Request::Strategic(patch) => api.patch(name, &params, &Patch::Strategic(patch)).await.map(Some),
        Request::Json(patch) => {
            let patch = serde_json::from_value(patch.clone()).map_err(Error::SerdeError).map_err(Refusal::of)?;
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
                        context.cache.bury(resource, &Key::new(namespace, name), uid);
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
            Ok(if unknown { Done::Unknown } else { Done::Known })
        }
        Err(error) => {
            debug!(kind = ?write.kind, name, purpose = write.purpose, %error, "not written");
            Err(Refusal::of(error))
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
    match context.cache.learn(resource, object, context.steady()) {
        Ok(touched) => context.touch(touched),
        Err(unreadable) => debug!(?unreadable, "the answer to a write cannot be read"),
    }
}

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
