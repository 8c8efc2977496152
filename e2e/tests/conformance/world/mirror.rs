//! What the real cluster tells of its objects, by one watch a kind for all scenarios.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use kube::api::{ApiResource, DynamicObject};
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

type Objects = Arc<Mutex<BTreeMap<Key, Value>>>;

/// All objects of the kinds that are compared.
pub struct Mirror {
    objects: Objects,
    changed: watch::Sender<()>,
    /// They end with it.
    _watches: JoinSet<()>,
}

impl Mirror {
    /// Begins to watch, and returns when it has seen everything once.
    pub async fn start(client: &Client) -> Mirror {
        let objects = Objects::default();
        let changed = watch::Sender::new(());
        let mut watches = JoinSet::new();
        for kind in kinds() {
            watches.spawn(follow(client.clone(), kind, objects.clone(), changed.clone()));
        }
        Mirror { objects, changed, _watches: watches }
    }

    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub fn object(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.objects.lock().get(&Key::new(kind, namespace, name)).cloned()
    }

    pub fn within(&self, namespace: &str) -> Vec<(Kind, Value)> {
        let objects = self.objects.lock();
        let within = objects.iter().filter(|(key, _)| key.namespace == namespace);
        within.map(|(key, object)| (key.kind, object.clone())).collect()
    }
}

async fn follow(client: Client, kind: Kind, objects: Objects, changed: watch::Sender<()>) {
    let served = kind.served();
    let resource = ApiResource {
        group: served.group.into(),
        version: served.version.into(),
        api_version: kind.api_version(),
        kind: served.kind.into(),
        plural: served.plural.into(),
    };
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => objects.lock().retain(|key, _| key.kind != kind),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let object = serde_json::to_value(object).unwrap_or_default();
                objects.lock().insert(Key::new(kind, namespace(&object), name(&object)), object);
            }
            Ok(Event::Delete(object)) => {
                let object = serde_json::to_value(object).unwrap_or_default();
                objects.lock().remove(&Key::new(kind, namespace(&object), name(&object)));
            }
            // A broken watch begins anew by itself.
            Ok(Event::InitDone) | Err(_) => {}
        }
        changed.send_replace(());
    }
}
