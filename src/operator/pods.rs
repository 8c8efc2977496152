//! Pods of candidates, watched only while a release is in flight: they tell of crash loops.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use lockkeeper_api::names::POD_TEMPLATE_HASH;
use lockkeeper_engine::world::CrashView;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tracing::debug;

use crate::{cache::Key, context::Context};

/// Restarts of a container that is not ready which count as a crash loop even while it is being started anew.
const RESTARTS_MIN: i32 = 3;

/// Watches of pods, by Release and pod-template-hash.
#[derive(Debug, Default)]
pub struct Pods(Mutex<BTreeMap<(Key, String), Watch>>);

#[derive(Debug)]
struct Watch {
    task: JoinHandle<()>,
    crashes: BTreeMap<String, CrashView>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pods {
    /// Watches exactly these pods for a Release.
    pub fn watch(&self, context: &Arc<Context>, release: &Key, hashes: &[String]) {
        let wanted: BTreeSet<&String> = hashes.iter().collect();
        let mut watches = self.0.lock();
        watches.retain(|(key, hash), _| key != release || wanted.contains(hash));
        for hash in wanted {
            watches.entry((release.clone(), hash.clone())).or_insert_with(|| {
                let task = tokio::spawn(follow(context.clone(), release.clone(), hash.clone()));
                Watch { task, crashes: BTreeMap::new() }
            });
        }
    }

    /// A crash loop among the pods of this hash, the first by name.
    pub fn crash(&self, release: &Key, hash: &str) -> Option<CrashView> {
        let watches = self.0.lock();
        watches.get(&(release.clone(), hash.to_owned()))?.crashes.values().next().cloned()
    }

    /// Takes what a pod shows. Says whether that is news.
    fn set(&self, at: &(Key, String), pod: &str, crash: Option<CrashView>) -> bool {
        let mut watches = self.0.lock();
        let Some(watch) = watches.get_mut(at) else { return false };
        match crash {
            Some(crash) => watch.crashes.insert(pod.into(), crash.clone()) != Some(crash),
            None => watch.crashes.remove(pod).is_some(),
        }
    }

    /// A list has been read as a whole. Says whether a pod that crashed is not in it.
    fn keep_only(&self, at: &(Key, String), listed: &BTreeSet<String>) -> bool {
        let mut watches = self.0.lock();
        let Some(watch) = watches.get_mut(at) else { return false };
        let before = watch.crashes.len();
        watch.crashes.retain(|pod, _| listed.contains(pod));
        watch.crashes.len() < before
    }
}

async fn follow(context: Arc<Context>, release: Key, hash: String) {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &release.namespace);
    let config = watcher::Config::default().labels(&format!("{POD_TEMPLATE_HASH}={hash}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let at = (release.clone(), hash.clone());
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
        let news = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                false
            }
            Ok(watcher::Event::InitApply(pod)) => {
                listed.insert(name(&pod));
                context.pods.set(&at, &name(&pod), crash(&pod, &hash))
            }
            Ok(watcher::Event::InitDone) => context.pods.keep_only(&at, &listed),
            Ok(watcher::Event::Apply(pod)) => context.pods.set(&at, &name(&pod), crash(&pod, &hash)),
            Ok(watcher::Event::Delete(pod)) => context.pods.set(&at, &name(&pod), None),
            Err(error) => {
                debug!(%release, hash, %error, "the watch of pods failed and is tried again");
                false
            }
        };
        if news {
            // It may be what takes traffic away.
            context.releases.add_first(release.clone());
        }
    }
}

/// What a pod shows of a crash loop.
fn crash(pod: &Pod, hash: &str) -> Option<CrashView> {
    let status = pod.status.as_ref()?;
    let statuses = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let looping = statuses.into_iter().find(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        let backing_off = waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
        backing_off || (container.restart_count >= RESTARTS_MIN && !container.ready)
    })?;
    Some(CrashView {
        hash: hash.into(),
        pod: pod.metadata.name.clone()?,
        container: looping.name.clone(),
        restarts: u32::try_from(looping.restart_count).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(container: Value, crashes: bool) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-abc-x1"}, "status": {"containerStatuses": [container]},
        }))
        .unwrap();
        assert_eq!(crash(&pod, "abc").is_some(), crashes, "{pod:?}");
    }

    #[test]
    fn a_crash_loop_is_a_back_off_or_restarts_without_getting_ready() {
        let container = |restarts: u32, ready: bool, state: Value| json!({"name": "app", "image": "a", "imageID": "", "restartCount": restarts, "ready": ready, "state": state});
        check(container(1, false, json!({"waiting": {"reason": "CrashLoopBackOff"}})), true);
        check(container(3, false, json!({"running": {}})), true);
        check(container(3, true, json!({"running": {}})), false);
        check(container(0, false, json!({"waiting": {"reason": "ContainerCreating"}})), false);
        check(container(2, false, json!({"terminated": {"exitCode": 1}})), false);
    }
}
