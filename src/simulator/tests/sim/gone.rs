//! What is deleted comes again with the same name: by Git, or by somebody who replaces it by force.

use std::{sync::Arc, time::Duration};

use lockkeeper_simulator::{
    api::{
        Caller, Key, Kind, Preconditions, Snapshot, User,
        object::{list, name, text},
    },
    run::shop,
    world::{Script, Turn, When},
};
use parking_lot::Mutex;
use serde_json::Value;

/// How many kinds of things come again.
pub const RECREATED: u8 = 9;

/// The Release.
pub const RELEASE: u8 = 4;

/// What the operator makes again by itself: ReplicaSets of the stable version and of the candidate, the canary's Service.
pub const MADE_AGAIN: [u8; 3] = [5, 6, 8];

/// Which object is meant, at the moment at which it is deleted.
fn meant(which: u8, objects: &Snapshot) -> Key {
    let status = &objects.get(&shop::key(Kind::Release)).map_or(&Value::Null, |release| release.value())["status"];
    let set = |part: &str| {
        let hash = text(&status[part]["workloads"][0]["hash"]);
        Key::new(Kind::ReplicaSet, shop::NAMESPACE, format!("{}-{hash}", shop::NAME))
    };
    match which {
        0 | 1 => shop::key(Kind::Deployment),
        2 => shop::key(Kind::Service),
        3 => shop::key(Kind::HTTPRoute),
        RELEASE => shop::key(Kind::Release),
        5 => set("stable"),
        6 => set("candidate"),
        7 => Key::new(Kind::RollbackPolicy, shop::NAMESPACE, "slo"),
        _ => Key::new(Kind::Service, shop::NAMESPACE, format!("{}-canary", shop::NAME)),
    }
}

/// As it comes again: from Git, where it is there; otherwise what it was, without what the API server gives. Nobody makes the canary's Service
/// but the operator.
fn again(which: u8, was: &Value, git: &[Value]) -> Option<Value> {
    let same = |object: &&Value| object["kind"] == was["kind"] && name(object) == name(was);
    let mut object = match git.iter().find(same) {
        Some(object) => object.clone(),
        None if was["kind"] == "ReplicaSet" => was.clone(),
        None => return None,
    };
    if which == 1 {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = shop::image("2.0.0").into();
    }
    let metadata = object["metadata"].as_object_mut()?;
    metadata
        .retain(|field, _| ["name", "namespace", "labels", "annotations", "ownerReferences"].contains(&field.as_str()));
    object.as_object_mut()?.remove("status");
    Some(object)
}

/// Deletes it after a time, for good.
pub fn take(after: Duration, which: u8) -> Script {
    Script::default().then(When::After(after), move |turn: &mut Turn<'_>| {
        let key = meant(which, turn.server.store().objects());
        let _ = turn.server.delete(&Caller::new(User::new("dora", &[])), &key, &Preconditions::default(), None);
    })
}

/// Deletes it after a time; when it is gone, it is away for a while, and comes again.
pub fn recreate(after: Duration, away: Duration, which: u8, git: &[Value]) -> Script {
    let found: Arc<Mutex<Option<(Key, Value)>>> = Arc::default();
    let caller = Caller::new(User::new("dora", &[]));
    let (delete, gone, come) = (found.clone(), found.clone(), found);
    let (deleter, git) = (caller.clone(), git.to_vec());
    Script::default()
        .then(When::After(after), move |turn: &mut Turn<'_>| {
            let key = meant(which, turn.server.store().objects());
            let Ok(object) = turn.server.get(&key) else { return };
            *delete.lock() = Some((key.clone(), object.value().clone()));
            let _ = turn.server.delete(&deleter, &key, &Preconditions::default(), None);
        })
        .then(
            When::Once(Box::new(move |objects| gone.lock().as_ref().is_none_or(|(key, _)| objects.get(key).is_none()))),
            |_: &mut Turn<'_>| {},
        )
        .then(When::After(away), move |turn: &mut Turn<'_>| {
            let Some((key, was)) = come.lock().take() else { return };
            let Some(object) = again(which, &was, &git) else { return };
            debug_assert!(list(&object["metadata"]["finalizers"]).is_empty());
            let _ = turn.server.create(&caller, key.kind, &key.namespace, object);
        })
}
