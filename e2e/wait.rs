//! Waiting for what the API server says, by watch.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures::{StreamExt, pin_mut};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::traffic::Load;

const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until the object named `name` (none while it does not exist) is as `condition` wants it, and returns it.
///
/// `what` completes the sentence "waited 60 s for web to ..." of the error.
///
/// # Errors
/// After `within`, with the object as it was seen last.
pub async fn object<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    within: Duration,
    condition: impl Fn(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    let mut last = None;
    let found = timeout(within, async {
        let stream = watch_object(api.clone(), name).default_backoff();
        pin_mut!(stream);
        while let Some(object) = stream.next().await {
            // A broken watch starts again by itself.
            let Ok(object) = object else { continue };
            last = object;
            if condition(last.as_ref()) {
                return;
            }
        }
    })
    .await;
    if found.is_err() {
        let kind = api.resource_url();
        let seen = last.as_ref().map_or_else(|| "it does not exist".to_owned(), shown);
        bail!("waited {} s for {name} ({kind}) to {what}; last seen: {seen}", within.as_secs());
    }
    Ok(last)
}

/// Waits until the objects with these labels (all, if empty) are together as `condition` wants them, and returns them.
///
/// # Errors
/// After `within`, with the names of the objects as they were seen last.
pub async fn list<K>(
    api: &Api<K>,
    labels: &str,
    what: &str,
    within: Duration,
    condition: impl Fn(&[K]) -> bool,
) -> Result<Vec<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut last = Vec::new();
    let found = timeout(within, async {
        let stream = watcher(api.clone(), watcher::Config::default().labels(labels)).default_backoff();
        pin_mut!(stream);
        let mut objects = BTreeMap::new();
        let key = |object: &K| (object.meta().namespace.clone(), object.meta().name.clone());
        while let Some(event) = stream.next().await {
            let complete = match event {
                Ok(Event::Init) => {
                    objects.clear();
                    false
                }
                Ok(Event::InitApply(object)) => {
                    objects.insert(key(&object), object);
                    false
                }
                Ok(Event::Apply(object)) => {
                    objects.insert(key(&object), object);
                    true
                }
                Ok(Event::Delete(object)) => {
                    objects.remove(&key(&object));
                    true
                }
                Ok(Event::InitDone) => true,
                // A broken watch starts again by itself.
                Err(_) => false,
            };
            last = objects.values().cloned().collect();
            if complete && condition(&last) {
                return;
            }
        }
    })
    .await;
    if found.is_err() {
        let kind = api.resource_url();
        let names: Vec<&str> = last.iter().filter_map(|object| object.meta().name.as_deref()).collect();
        bail!("waited {} s for {kind} ({labels}) to {what}; last seen: {names:?}", within.as_secs());
    }
    Ok(last)
}

/// Asks again and again until the answer is no error, and returns it: for what has no watch.
///
/// `what` completes the sentence "waited 60 s for ..." of the error.
///
/// # Errors
/// After `within`, with the last error.
pub async fn answer<T>(what: &str, within: Duration, ask: impl AsyncFn() -> Result<T>) -> Result<T> {
    let mut last = anyhow!("there is no answer");
    let found = timeout(within, async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => last = error,
            }
            sleep(ASK_AGAIN).await;
        }
    })
    .await;
    found.map_err(|_| anyhow!("waited {} s for {what}: {last:#}", within.as_secs()))
}

fn shown(object: &impl Serialize) -> String {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(metadata) = value.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value.to_string()
}

/// Waits until the gateway has an answer of a pod for this host: a route is accepted before it is in force.
///
/// Asks for `/healthz`, which pods don't count but the access log has.
///
/// # Errors
/// After `within`, with the last answer.
pub async fn served(gateway: &str, host: &str, within: Duration) -> Result<()> {
    let client = crate::traffic::Client::new(gateway, &Load { path: "/healthz".to_owned(), ..Load::new(host, 1) });
    let mut last = String::new();
    let found = timeout(within, async {
        loop {
            match client.request().await {
                Ok(answer) if answer.from.is_some() => return,
                Ok(answer) => last = format!("status {} of the gateway itself", answer.status),
                Err(error) => last = format!("{error:#}"),
            }
            // What the gateway serves can only be asked again.
            sleep(ASK_AGAIN).await;
        }
    })
    .await;
    if found.is_err() {
        bail!("waited {} s for {host} to be served; last seen: {last}", within.as_secs());
    }
    Ok(())
}
