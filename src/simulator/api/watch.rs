//! Watches as streaming bodies.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use futures::{Stream, stream};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Change, Key, Link, Object, Selector, Server, Shared, Status, news::Listener};

/// What a watch is about.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// Kind, namespace (empty: all), name (empty: all).
    pub key: Key,
    pub selector: Selector,
}

impl Scope {
    /// Whether an object is in it.
    pub fn covers(&self, key: &Key, object: &Value) -> bool {
        (self.key.namespace.is_empty() || self.key.namespace == key.namespace)
            && (self.key.name.is_empty() || self.key.name == key.name)
            && self.selector.matches(object)
    }

    /// The objects that are in it now.
    pub fn list<'a>(&'a self, server: &'a Server) -> impl Iterator<Item = &'a std::sync::Arc<Object>> {
        let objects = server.store().objects().named(self.key.kind);
        objects.filter(|(key, object)| self.covers(key, object)).map(|(_, object)| object)
    }

    /// An event as this watch tells it, if it does: an object that leaves the selection is gone for it, and one that enters is new.
    fn event(&self, change: &Change) -> Option<Bytes> {
        let before = change.before.as_ref().filter(|before| self.covers(&change.key, before));
        let now = Some(&change.object).filter(|object| !change.gone && self.covers(&change.key, object));
        match (before, now) {
            (None, Some(object)) => Some(line("ADDED", &object.json())),
            (Some(_), Some(object)) => Some(line("MODIFIED", &object.json())),
            (Some(_), None) if change.gone => Some(line("DELETED", &change.object.json())),
            (Some(before), None) => {
                let mut left = before.value().clone();
                left["metadata"]["resourceVersion"] = change.version.to_string().into();
                Some(line("DELETED", left.to_string().as_bytes()))
            }
            (None, None) => None,
        }
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// A watch that goes on.
struct Watching {
    shared: Shared,
    link: Link,
    scope: Scope,
    at: u64,
    until: Instant,
    changed: Listener,
    ready: VecDeque<Bytes>,
    over: bool,
}

/// The events after a resource version, or, without one, everything that there is and then its changes.
pub(super) fn events(
    shared: Shared,
    link: Link,
    scope: Scope,
    from: Option<u64>,
    time: Duration,
    initial: bool,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let (changed, version, expired, mut ready) = {
        let server = shared.lock();
        let mut ready = VecDeque::new();
        let expired = from.and_then(|from| server.store().since(scope.key.kind, from).err());
        if from.is_none() {
            ready.extend(scope.list(&server).map(|object| line("ADDED", &object.json())));
        }
        ready.extend(expired.as_ref().map(gone));
        (server.store().subscribe_to(scope.key.kind), server.store().version(), expired.is_some(), ready)
    };
    if initial {
        ready.push_back(bookmark(&scope, version, true));
    }
    let until = Instant::now() + time;
    let at = from.unwrap_or(version);
    let watching = Watching { shared, link, scope, at, until, changed, ready, over: expired };
    stream::unfold(watching, |mut watching| async move {
        watching.next().await.map(|bytes| (Ok(Frame::data(bytes)), watching))
    })
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            self.gather();
            if self.ready.is_empty() {
                tokio::select! {
                    biased;
                    () = self.changed.changed() => {}
                    () = sleep_until(self.until) => {
                        self.over = true;
                        self.ready.push_back(bookmark(&self.scope, self.at, false));
                    }
                }
            } else {
                sleep(self.link.news()).await;
                self.link.passes().await;
            }
        }
    }

    /// Takes what has happened since.
    fn gather(&mut self) {
        self.changed.catch_up();
        let server = self.shared.lock();
        match server.store().since(self.scope.key.kind, self.at) {
            Ok(changes) => {
                let mut all = Vec::new();
                for change in changes {
                    self.at = change.version;
                    all.extend_from_slice(&self.scope.event(change).unwrap_or_default());
                }
                if !all.is_empty() {
                    self.ready.push_back(all.into());
                }
            }
            Err(expired) => {
                self.over = true;
                self.ready.push_back(gone(&expired));
            }
        }
    }
}

/// How a watch tells that its version is forgotten: the request itself is answered with 200.
fn gone(expired: &Status) -> Bytes {
    line("ERROR", expired.body().to_string().as_bytes())
}

fn bookmark(scope: &Scope, version: u64, initial: bool) -> Bytes {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if initial {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object =
        json!({"kind": scope.key.kind.served().kind, "apiVersion": scope.key.kind.api_version(), "metadata": metadata});
    line("BOOKMARK", object.to_string().as_bytes())
}
