//! Watches as streaming bodies.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use futures::{Stream, stream};
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Change, Key, Link, Object, Selector, Server, Shared, Status,
    news::Listener,
    rumour::{Delivery, merge},
};

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

    /// The objects that are in it, as a replica that is so far behind knows them, and the version of that.
    pub fn list(&self, server: &Server, behind: Duration) -> (Vec<Arc<Object>>, u64) {
        let store = server.store();
        if behind.is_zero() {
            let objects = store.objects().named(self.key.kind).filter(|(key, object)| self.covers(key, object));
            return (objects.map(|(_, object)| object.clone()).collect(), store.version());
        }
        let (objects, version) = store.past(self.key.kind, server.now - behind);
        let objects = objects.into_iter().filter(|(key, object)| self.covers(key, object));
        (objects.map(|(_, object)| object).collect(), version)
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

/// The longest that a replica takes to catch up.
const CATCHES_UP: Duration = Duration::from_millis(800);

/// How a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As it should.
    Closed,
    /// The connection breaks.
    Broken,
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
    /// Until when its replica is behind.
    behind: Instant,
    over: Option<End>,
}

/// The events after a resource version, or, without one, everything that there is and then its changes.
pub(super) fn events(
    shared: Shared,
    link: Link,
    scope: Scope,
    from: Option<u64>,
    time: Duration,
    initial: bool,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
    let behind = link.behind();
    let (changed, version, expired, mut ready) = {
        let server = shared.lock();
        let mut ready = VecDeque::new();
        let expired = from.and_then(|from| server.store().since(scope.key.kind, from).err());
        let mut version = server.store().version();
        if from.is_none() {
            let (objects, of) = scope.list(&server, behind);
            ready.extend(objects.iter().map(|object| line("ADDED", &object.json())));
            version = of;
        }
        ready.extend(expired.as_ref().map(gone));
        (server.store().subscribe_to(scope.key.kind), version, expired.is_some(), ready)
    };
    if initial {
        ready.push_back(bookmark(&scope, version, true));
    }
    let until = Instant::now() + time;
    let behind = Instant::now() + behind.min(CATCHES_UP);
    let at = from.unwrap_or(version);
    let over = expired.then_some(End::Closed);
    let watching = Watching { shared, link, scope, at, until, changed, ready, behind, over };
    stream::unfold(watching, |mut watching| async move {
        watching.next().await.map(|bytes| (bytes.map(Frame::data), watching))
    })
}

impl Watching {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(Ok(bytes));
            }
            match self.over {
                Some(End::Closed) => return None,
                Some(End::Broken) => {
                    self.over = Some(End::Closed);
                    return Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset")));
                }
                None => {}
            }
            if self.behind > Instant::now() {
                sleep_until(self.behind).await;
            }
            if let Some((until, forgotten)) = self.link.stalled(self.scope.key.kind) {
                sleep_until(until).await;
                if forgotten {
                    let now = self.shared.lock().store().version();
                    self.over = Some(End::Closed);
                    self.ready.push_back(gone(&Status::expired(self.at, now)));
                    continue;
                }
            }
            self.gather();
            if self.over == Some(End::Broken) {
                continue;
            }
            if self.ready.is_empty() {
                tokio::select! {
                    biased;
                    () = self.changed.changed() => {}
                    () = sleep_until(self.until) => {
                        self.over = Some(End::Closed);
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
            Ok([]) => {}
            Ok(changes @ [.., last]) => {
                let told = |changes: &[Change]| {
                    let lines = changes.iter().filter_map(|change| self.scope.event(change));
                    lines.fold(Vec::new(), |all, line| [all, line.into()].concat())
                };
                let delivery = self.link.delivery();
                let all = match delivery {
                    Delivery::Lost => {
                        self.over = Some(End::Broken);
                        return;
                    }
                    Delivery::Expired => {
                        self.over = Some(End::Closed);
                        let expired = Status::expired(self.at, last.version);
                        self.ready.push_back(gone(&expired));
                        return;
                    }
                    Delivery::Plain => told(changes),
                    Delivery::Twice => told(changes).repeat(2),
                    Delivery::Merged => told(&merge(changes)),
                };
                self.at = last.version;
                if !all.is_empty() {
                    self.ready.push_back(all.into());
                }
            }
            Err(expired) => {
                self.over = Some(End::Closed);
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
    let kind = scope.key.kind;
    let end = if initial { r#""annotations":{"k8s.io/initial-events-end":"true"},"# } else { "" };
    let object = format!(
        r#"{{"apiVersion":"{}","kind":"{}","metadata":{{{end}"creationTimestamp":null,"resourceVersion":"{version}"}}}}"#,
        kind.api_version(),
        kind.served().kind,
    );
    line("BOOKMARK", object.as_bytes())
}
