//! Which pod has which address, followed by watch.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1 as core;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::PORT;
use super::behaviour::Behaviour;
use super::pod::{Life, Pod, PodCount};

/// How long a pod goes on answering once it has been told to end, as one with a preStop sleep does.
const ENDING_TAKES: Duration = Duration::from_secs(5);
/// How long the news of a pod may take to reach us: a gateway may have heard of it first.
const NEWS_TAKES: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Directory {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    by_uid: HashMap<String, Arc<Pod>>,
    by_address: HashMap<IpAddr, Arc<Pod>>,
    /// By namespace and version.
    changed_behaviour: HashMap<(String, String), Behaviour>,
}

impl Directory {
    /// The pod that listens at this address, if there is one.
    pub async fn listening_at(&self, address: IpAddr) -> Option<Arc<Pod>> {
        timeout(NEWS_TAKES, async {
            loop {
                let changed = self.changed.notified();
                if let Some(pod) = self.known.lock().by_address.get(&address).filter(|pod| pod.life().listens()) {
                    return pod.clone();
                }
                changed.await;
            }
        })
        .await
        .ok()
    }

    /// What Prometheus is to scrape, in the form of its HTTP service discovery.
    pub fn targets(&self) -> Value {
        let known = self.known.lock();
        let scraped = known.by_address.iter().filter(|(_, pod)| pod.scraped && pod.life().listens());
        let target = |(address, pod): (&IpAddr, &Arc<Pod>)| {
            json!({
                "targets": [SocketAddr::new(*address, PORT).to_string()],
                "labels": {"namespace": pod.namespace, "pod": pod.name},
            })
        };
        scraped.map(target).collect()
    }

    pub fn counts(&self, namespace: &str) -> Vec<PodCount> {
        let known = self.known.lock();
        known.by_uid.values().filter(|pod| pod.namespace == namespace).map(|pod| pod.so_far()).collect()
    }

    pub fn change_behaviour(&self, namespace: &str, version: &str, behaviour: Behaviour) {
        let mut known = self.known.lock();
        for pod in known.by_uid.values().filter(|pod| pod.namespace == namespace && pod.version == version) {
            pod.set_behaviour(behaviour);
        }
        known.changed_behaviour.insert((namespace.to_owned(), version.to_owned()), behaviour);
    }

    fn learn(&self, seen: &core::Pod) {
        let (Some(uid), Some(address), Some(life)) = (seen.uid(), address(seen), life(seen)) else { return };
        let mut known = self.known.lock();
        let known = &mut *known;
        let pod = known.by_uid.entry(uid).or_insert_with(|| {
            let pod = Pod::new(seen);
            let key = (pod.namespace.clone(), pod.version.clone());
            if let Some(behaviour) = known.changed_behaviour.get(&key) {
                pod.set_behaviour(*behaviour);
            }
            Arc::new(pod)
        });
        match (pod.life(), life) {
            // The end is counted from its first news, and final.
            (Life::Ending | Life::Ended, _) => return,
            (Life::Serving, Life::Ending) => end(pod.clone()),
            (Life::Crashed, Life::Ending) => drop(pod.life.send_replace(Life::Ended)),
            (Life::Serving | Life::Crashed, Life::Serving | Life::Crashed | Life::Ended) => {
                pod.life.send_replace(life);
            }
        }
        known.by_address.insert(address, pod.clone());
        self.changed.notify_waiters();
    }

    fn forget(&self, uid: &str) {
        let pod = self.known.lock().by_uid.get(uid).cloned();
        if let Some(pod) = pod.filter(|pod| pod.life() == Life::Serving) {
            end(pod);
        }
    }

    /// After a gap in the watch: what is not in the new list has gone meanwhile.
    fn keep_only(&self, listed: &[String]) {
        let gone: Vec<String> = self.known.lock().by_uid.keys().filter(|uid| !listed.contains(uid)).cloned().collect();
        gone.iter().for_each(|uid| self.forget(uid));
    }
}

fn end(pod: Arc<Pod>) {
    pod.life.send_replace(Life::Ending);
    tokio::spawn(async move {
        sleep(ENDING_TAKES).await;
        pod.life.send_replace(Life::Ended);
    });
}

fn address(pod: &core::Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

/// What the pod's status says of its connections; nothing before it runs.
fn life(pod: &core::Pod) -> Option<Life> {
    let status = pod.status.as_ref()?;
    let crashed = status.container_statuses.iter().flatten().any(|container| {
        container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref()) == Some("CrashLoopBackOff")
    });
    if pod.metadata.deletion_timestamp.is_some() {
        Some(Life::Ending)
    } else if status.phase.as_deref() == Some("Running") {
        Some(if crashed { Life::Crashed } else { Life::Serving })
    } else {
        None
    }
}

/// Keeps the directory up to date, for ever.
pub(super) async fn follow(client: Client, directory: Arc<Directory>) {
    let events = watcher(Api::<core::Pod>::all(client), watcher::Config::default()).default_backoff();
    pin_mut!(events);
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.extend(pod.uid());
                directory.learn(&pod);
            }
            Ok(Event::InitDone) => directory.keep_only(&listed),
            Ok(Event::Apply(pod)) => directory.learn(&pod),
            Ok(Event::Delete(pod)) => directory.forget(&pod.uid().unwrap_or_default()),
            // The watch starts again by itself.
            Err(_) => {}
        }
    }
}
