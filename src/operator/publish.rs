//! The one writer of status: of Releases, windows and policies.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use json_patch::{AddOperation, PatchOperation, jsonptr::PointerBuf};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use lockkeeper_api::{Release, ReleaseStatus, names::FIELD_MANAGER};
use lockkeeper_engine::write::Kind;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::debug;

use crate::{
    act::{Actor, Refusal, learn, permit, unchanged},
    backoff,
    cache::{Key, Object, Resource},
    context::Context,
    jump,
};

/// Statuses of which only parts that are not worth a write have changed: values and times of measurements.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Key, Remembered>>);

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
        let published = published(release);
        let (mut status, by) = match self.0.lock().get(key) {
            Some(remembered)
                if Some(&remembered.uid) == release.metadata.uid.as_ref() && remembered.published == *published =>
            {
                (remembered.current.clone(), remembered.jumped)
            }
            Some(_) | None => (published.into_owned(), jumped),
        };
        if jumped != by {
            jump::shift(&mut status, jumped - by);
        }
        jump::begun(&mut status, now);
        status
    }

    /// Keeps a status that was not worth a write.
    pub fn keep(&self, key: &Key, release: &Release, current: &ReleaseStatus, jumped: SignedDuration) {
        let published = published(release);
        if *current == *published {
            self.forget(key);
        } else {
            let (published, current) = (published.into_owned(), current.clone());
            let uid = release.metadata.uid.clone().unwrap_or_default();
            self.0.lock().insert(key.clone(), Remembered { uid, published, current, jumped });
        }
    }

    /// The clock jumps, and had jumped `before` so far: what is published now is by that clock.
    pub fn jumped<'a>(&self, releases: impl Iterator<Item = (&'a Key, &'a Arc<Release>)>, before: SignedDuration) {
        let mut all = self.0.lock();
        for (key, release) in releases {
            let (published, uid) = (release.status.clone().unwrap_or_default(), release.metadata.uid.clone());
            let own = |held: &Remembered| Some(&held.uid) == uid.as_ref() && held.published == published;
            if !all.get(key).is_some_and(own) {
                let (uid, current) = (uid.unwrap_or_default(), published.clone());
                all.insert(key.clone(), Remembered { uid, published, current, jumped: before });
            }
        }
    }

    /// The clock has jumped, from `jumped`, while the status was on its way that is published now.
    fn overtaken(&self, key: &Key, release: &Release, jumped: SignedDuration) {
        let (uid, published) = (release.metadata.uid.clone().unwrap_or_default(), published(release).into_owned());
        let current = published.clone();
        self.0.lock().insert(key.clone(), Remembered { uid, published, current, jumped });
    }

    /// Forgets a Release.
    pub fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    /// Forgets all: another process has acted since.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

fn published(release: &Release) -> Cow<'_, ReleaseStatus> {
    release.status.as_ref().map_or_else(Cow::default, Cow::Borrowed)
}

/// Releases of which this process knows that it sees them as they are.
///
/// A write carries the resource version of the object that it changes, and not that of the Release that it was decided on. So somebody whose
/// Release is old and whose Services are not could unpin one, or give weight to a version that has gone back since. Whoever leads proves
/// once that a Release is current, by a request that the API server refuses otherwise; from then on nobody else changes its status as
/// long as this process leads. Each publication is such a request; where none is due, an empty one is made. Without an election
/// nothing keeps others out, and each round of writes needs its own.
///
/// So it is with the other objects that a write rests on: one that this process has written or proven while it leads, nobody else changes
/// but users.
#[derive(Debug, Default)]
pub struct Proofs(Mutex<HashMap<Key, Proven>>);

#[derive(Debug)]
struct Proven {
    term: u64,
    /// Beside the Release.
    objects: BTreeSet<(Kind, String)>,
}

impl Proofs {
    /// Whether a Release is known to be current since this process leads.
    pub fn hold(&self, key: &Key, term: Option<u64>) -> bool {
        term.is_some_and(|term| self.0.lock().get(key).is_some_and(|proven| proven.term == term))
    }

    pub(crate) fn note(&self, key: &Key, term: Option<u64>) {
        let Some(term) = term else { return };
        let mut all = self.0.lock();
        if all.get(key).is_none_or(|proven| proven.term != term) {
            all.insert(key.clone(), Proven { term, objects: BTreeSet::new() });
        }
    }

    /// Whether one of a Release's objects is known to be current since this process leads.
    pub fn holds(&self, release: &Key, term: Option<u64>, kind: Kind, name: &str) -> bool {
        let all = self.0.lock();
        let proven = all.get(release).filter(|proven| Some(proven.term) == term);
        proven.is_some_and(|proven| proven.objects.contains(&(kind, name.to_owned())))
    }

    /// One of a Release's objects is current.
    pub fn note_object(&self, release: &Key, term: Option<u64>, kind: Kind, name: &str) {
        if let Some(proven) = self.0.lock().get_mut(release).filter(|proven| Some(proven.term) == term) {
            proven.objects.insert((kind, name.to_owned()));
        }
    }

    /// A Release has come to rest: its objects are of no interest until the next one.
    pub fn rest(&self, release: &Key) {
        if let Some(proven) = self.0.lock().get_mut(release) {
            proven.objects.clear();
        }
    }

    /// Forgets a Release.
    pub fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

/// Proves that nobody has changed the Release since it was read, unless that is known. Nothing is stored, and no watch tells of it.
///
/// # Errors
/// When the Release has changed, or the API server refuses.
pub async fn prove(context: &Context, actor: Actor<'_>, release: &Release) -> Result<(), Refusal> {
    let key = actor.key;
    let term = context.leadership.term();
    if context.proofs.hold(key, term) {
        return Ok(());
    }
    send(context, actor, vec![unchanged(release.metadata.resource_version.as_deref())]).await?;
    debug!(release = %key, "it is as it was read");
    context.proofs.note(key, term);
    Ok(())
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
    let term = context.leadership.term();
    let version = write(context, actor, release.metadata.resource_version.as_deref(), json!(status)).await?;
    context.proofs.note(key, term);
    context.memory.forget(key);
    if context.jumped() != jumped {
        // As the API server has answered, unless somebody has changed it again.
        let answered = context.cache.read().releases.get(key).cloned();
        let answered = answered.filter(|release| release.metadata.resource_version == version);
        answered.into_iter().for_each(|release| context.memory.overtaken(key, &release, jumped));
    }
    Ok(version.unwrap_or_default())
}

/// What this process has told last of each window and policy.
///
/// Two processes may both believe to lead and see different things: by another clock, or by caches that are behind. Each would replace what
/// the other tells as fast as watches bring it. So what somebody has replaced is told again only after a pause, which grows.
#[derive(Debug, Default)]
pub struct Told(Mutex<HashMap<(Resource, Key), Telling>>);

#[derive(Debug)]
struct Telling {
    status: Value,
    /// How often it was told again.
    replaced: u32,
    /// When it may be told again, since it was found replaced.
    again: Option<Instant>,
}

impl Told {
    /// Until when this is not to be told; none if it may be told now.
    fn put_off(&self, object: &(Resource, Key), status: &Value) -> Option<Instant> {
        let mut told = self.0.lock();
        let before = told.get_mut(object).filter(|before| before.status == *status)?;
        let pause = backoff::delay(before.replaced.saturating_add(1), 1.0);
        let again = *before.again.get_or_insert_with(|| Instant::now() + pause);
        (again > Instant::now()).then_some(again)
    }

    fn note(&self, object: (Resource, Key), status: Value) {
        let mut told = self.0.lock();
        let replaced =
            told.get(&object).filter(|before| before.status == status).map_or(0, |before| before.replaced + 1);
        told.insert(object, Telling { status, replaced, again: None });
    }

    /// Forgets an object.
    pub fn forget(&self, resource: Resource, key: &Key) {
        self.0.lock().remove(&(resource, key.clone()));
    }

    /// Forgets all: another process has acted since.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

/// Tells the status of a window or a policy, if nobody has changed that since it was read. Gives the time at which to look again, if it is
/// put off.
///
/// # Errors
/// When the object has changed, or the API server refuses.
pub async fn tell(
    context: &Context,
    actor: Actor<'_>,
    resource_version: Option<&str>,
    status: Value,
) -> Result<Option<Instant>, Refusal> {
    let object = (actor.resource, actor.key.clone());
    if let Some(again) = context.told.put_off(&object, &status) {
        return Ok(Some(again));
    }
    write(context, actor, resource_version, status.clone()).await?;
    context.told.note(object, status);
    Ok(None)
}

/// Replaces the status of one of our own objects, if nobody has changed it since it was read. Gives its resource version then.
async fn write(
    context: &Context,
    actor: Actor<'_>,
    resource_version: Option<&str>,
    status: Value,
) -> Result<Option<String>, Refusal> {
    // A merge would keep what is not there any more; this replaces it as a whole.
    let status = PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(["status"]), value: status });
    send(context, actor, vec![unchanged(resource_version), status]).await
}

async fn send(context: &Context, actor: Actor<'_>, patch: Vec<PatchOperation>) -> Result<Option<String>, Refusal> {
    let Actor { resource, key, .. } = actor;
    permit(context, actor, resource, &key.name)?;
    let api: Api<Object> = Api::namespaced_with(context.client.clone(), &key.namespace, &resource.api());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Json::<()>(json_patch::Patch(patch));
    let Object(answer) =
        api.patch_status(&key.name, &params, &patch).await.map_err(|error| Refusal::of(error, resource, key))?;
    let version = answer.metadata.resource_version.clone();
    learn(context, resource, answer);
    Ok(version)
}
