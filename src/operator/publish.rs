//! The one writer of a Release's status.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use lockkeeper_api::{Release, ReleaseStatus, names::FIELD_MANAGER};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    act::{Actor, Refusal, learn, permit},
    cache::{Key, Object, Resource},
    context::Context,
    jump,
};

/// Statuses of which only parts that are not worth a write have changed: values and times of measurements.
#[derive(Debug, Default)]
pub struct Memory(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    by_release: HashMap<Key, Remembered>,
    /// How far the clock had jumped when this process began to act: statuses that are not remembered are by that clock.
    jumped: SignedDuration,
}

#[derive(Debug)]
struct Remembered {
    uid: String,
    published: ReleaseStatus,
    current: ReleaseStatus,
    /// How far the clock by which `current` was decided had jumped.
    jumped: SignedDuration,
}

impl Memory {
    /// The status to go on from: ours, unless somebody else has changed the published one.
    pub fn status(&self, key: &Key, release: &Release, now: Timestamp, jumped: SignedDuration) -> ReleaseStatus {
        let published = release.status.clone().unwrap_or_default();
        let all = self.0.lock();
        let (mut status, by) = match all.by_release.get(key) {
            Some(remembered)
                if Some(&remembered.uid) == release.metadata.uid.as_ref() && remembered.published == published =>
            {
                (remembered.current.clone(), remembered.jumped)
            }
            Some(_) | None => (published, all.jumped),
        };
        if jumped != by {
            jump::shift(&mut status, jumped - by);
        }
        jump::begun(&mut status, now);
        status
    }

    /// Keeps a status that was not worth a write.
    pub fn keep(&self, key: &Key, release: &Release, current: ReleaseStatus, jumped: SignedDuration) {
        let published = release.status.clone().unwrap_or_default();
        let mut all = self.0.lock();
        if current == published && jumped == all.jumped {
            all.by_release.remove(key);
        } else {
            let uid = release.metadata.uid.clone().unwrap_or_default();
            all.by_release.insert(key.clone(), Remembered { uid, published, current, jumped });
        }
    }

    /// Keeps by which clock a status was decided that is published now, as the API server shows it.
    fn publish(&self, key: &Key, answer: &DynamicObject, jumped: SignedDuration) {
        let mut all = self.0.lock();
        all.by_release.remove(key);
        // Nearly always; there is nothing to remember.
        if jumped == all.jumped {
            return;
        }
        // What cannot be read is not in the cache either.
        if let Ok(published) = ReleaseStatus::deserialize(&answer.data["status"]) {
            let (uid, current) = (answer.metadata.uid.clone().unwrap_or_default(), published.clone());
            all.by_release.insert(key.clone(), Remembered { uid, published, current, jumped });
        }
    }

    /// Forgets a Release.
    pub fn forget(&self, key: &Key) {
        self.0.lock().by_release.remove(key);
    }

    /// Forgets all: another process has acted since.
    pub fn clear(&self, jumped: SignedDuration) {
        *self.0.lock() = All { by_release: HashMap::new(), jumped };
    }
}

/// Publishes a status, decided by a clock that had jumped so far, if nobody has changed the Release since it was read. Gives the new
/// resource version.
///
/// # Errors
/// When the Release has changed, or the API server refuses.
pub async fn publish(
    context: &Context,
    key: &Key,
    release: &Release,
    status: &ReleaseStatus,
    jumped: SignedDuration,
) -> Result<String, Refusal> {
    let actor = Actor { resource: Resource::Release, key, phase: Some(status.phase) };
    let object = write(context, actor, release.metadata.resource_version.as_deref(), json!(status)).await?;
    context.memory.publish(key, &object, jumped);
    Ok(object.metadata.resource_version.unwrap_or_default())
}

/// Replaces the status of one of our own objects, if nobody has changed it since it was read.
///
/// # Errors
/// When the object has changed, or the API server refuses.
pub async fn write(
    context: &Context,
    actor: Actor<'_>,
    resource_version: Option<&str>,
    status: Value,
) -> Result<DynamicObject, Refusal> {
    let Actor { resource, key, .. } = actor;
    permit(context, actor, resource, &key.name)?;
    let api: Api<Object> = Api::namespaced_with(context.client.clone(), &key.namespace, &resource.api());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    // A merge would keep what is not there any more; this replaces it as a whole.
    let patch = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version},
        {"op": "add", "path": "/status", "value": status},
    ]);
    let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError).map_err(Refusal::of)?;
    let Object(answer) = api.patch_status(&key.name, &params, &Patch::Json::<()>(patch)).await.map_err(Refusal::of)?;
    learn(context, resource, answer.clone());
    Ok(answer)
}
