//! What the real cluster tells of its objects, by one watch a kind for all scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use futures::{StreamExt, pin_mut};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use lockkeeper_simulator::api::object::{name, namespace};
use lockkeeper_simulator::api::{Key, Kind};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::kinds;

/// What is there, and who is to be told of it.
#[derive(Default)]
struct Seen {
    objects: BTreeMap<Key, Value>,
    /// ReplicaSets that there ever were: others tell of them when they are long gone.
    sets: BTreeMap<Key, Value>,
    /// By namespace.
    changed: BTreeMap<String, watch::Sender<()>>,
}

type Shared = Arc<Mutex<Seen>>;

/// All objects of the kinds that are compared.
pub struct Mirror {
    seen: Shared,
    /// They end with it.
    _watches: JoinSet<()>,
}

impl Mirror {
    /// Begins to watch.
    pub fn start(client: &Client) -> Mirror {
        let seen = Shared::default();
        let mut watches = JoinSet::new();
        for kind in kinds() {
            watches.spawn(follow(client.clone(), kind, seen.clone()));
        }
        Mirror { seen, _watches: watches }
    }

    /// Tells of changes in a namespace.
    pub fn subscribe(&self, namespace: &str) -> watch::Receiver<()> {
        self.seen.lock().changed.entry(namespace.to_owned()).or_default().subscribe()
    }

    pub fn within(&self, namespace: &str) -> Vec<(Kind, Value)> {
        within(&self.seen.lock().objects, namespace)
    }

    /// The ReplicaSets that there are, or were.
    pub fn sets(&self, namespace: &str) -> Vec<(Kind, Value)> {
        within(&self.seen.lock().sets, namespace)
    }
}

fn within(objects: &BTreeMap<Key, Value>, namespace: &str) -> Vec<(Kind, Value)> {
    let within = objects.iter().filter(|(key, _)| key.namespace == namespace);
    within.map(|(key, object)| (key.kind, object.clone())).collect()
}

impl Seen {
    fn put(&mut self, kind: Kind, object: DynamicObject) {
        let object = serde_json::to_value(object).unwrap_or_default();
        self.tell(namespace(&object));
        let key = Key::new(kind, namespace(&object), name(&object));
        if kind == Kind::ReplicaSet {
            self.sets.insert(key.clone(), object.clone());
        }
        self.objects.insert(key, object);
    }

    fn remove(&mut self, key: &Key) {
        self.tell(&key.namespace);
        self.objects.remove(key);
    }

    fn tell(&self, namespace: &str) {
        if let Some(changed) = self.changed.get(namespace) {
            changed.send_replace(());
        }
    }
}

fn api(client: Client, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    let served = kind.served();
    let resource = ApiResource {
        group: served.group.into(),
        version: served.version.into(),
        api_version: kind.api_version(),
        kind: served.kind.into(),
        plural: served.plural.into(),
    };
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    }
}

/// What is stored of a namespace now, of these kinds.
pub async fn stored(
    client: &Client,
    namespace: &str,
    kinds: impl IntoIterator<Item = Kind>,
) -> Result<Vec<(Kind, Value)>> {
    let list = async |kind| {
        let list = api(client.clone(), kind, Some(namespace)).list(&ListParams::default()).await?;
        let objects = list.items.into_iter().map(|object| Ok((kind, serde_json::to_value(object)?)));
        objects.collect::<Result<Vec<_>>>()
    };
    let lists = try_join_all(kinds.into_iter().map(list)).await?;
    Ok(lists.into_iter().flatten().collect())
}

async fn follow(client: Client, kind: Kind, seen: Shared) {
    let stream = watcher(api(client, kind, None), watcher::Config::default()).default_backoff();
    pin_mut!(stream);
    // Those of the list that it began with, or begins anew with.
    let mut listed = BTreeSet::new();
    while let Some(event) = stream.next().await {
        let key = |object: &DynamicObject| {
            let metadata = &object.metadata;
            Key::new(kind, metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
        };
        let mut seen = seen.lock();
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(key(&object));
                seen.put(kind, object);
            }
            Ok(Event::InitDone) => {
                let gone = seen.objects.keys().filter(|key| key.kind == kind && !listed.contains(*key));
                let gone: Vec<Key> = gone.cloned().collect();
                gone.iter().for_each(|key| seen.remove(key));
            }
            Ok(Event::Apply(object)) => seen.put(kind, object),
            Ok(Event::Delete(object)) => seen.remove(&key(&object)),
            // A broken watch begins anew by itself.
            Err(_) => {}
        }
    }
}
