//! Keeps the status of DeploymentWindows current.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::deployment_window::DeploymentWindowStatus;
use lockkeeper_engine::window::{ReleaseFacts, State, WindowView};
use serde_json::json;
use tracing::debug;

use crate::{
    act::{Actor, Refusal},
    cache::{Key, Resource, WindowEntry},
    condition::{Verdict, ready},
    context::Context,
    publish,
};

/// Looks at a window once, and again when it changes by itself.
pub async fn reconcile(context: Arc<Context>, key: Key) {
    if !context.speaks_of(&key) {
        return;
    }
    let Some(window) = context.cache.read().windows.get(&key).cloned() else {
        return context.told.forget(Resource::DeploymentWindow, &key);
    };
    let started = Instant::now();
    let now = context.clock.now();
    let state = window.view.at(&context.setting.operator_namespace, now);
    let status = status(&context, &window, state.as_ref(), now);
    if let Some(until) = state.and_then(|state| state.holds_until) {
        context.windows.add_at(key.clone(), context.clock.instant(until));
    }
    if window.status.as_ref() == Some(&status) {
        return;
    }
    let version = window.resource_version.as_deref();
    let actor = Actor { resource: Resource::DeploymentWindow, key: &key, phase: None };
    let written = publish::tell(&context, actor, version, json!(status)).await;
    context.metrics.reconciled("window", started.elapsed(), written.as_ref().map(|_| ()).map_err(Refusal::category));
    match written {
        Ok(again) => {
            context.backoff.reset(&(Resource::DeploymentWindow, key.clone()));
            again.into_iter().for_each(|again| context.windows.add_at(key.clone(), again));
        }
        Err(refusal) => {
            debug!(window = %key, %refusal, "failed to publish");
            let delay = context.backoff.failed(&(Resource::DeploymentWindow, key.clone()));
            context.windows.add_at(key, tokio::time::Instant::now() + delay);
        }
    }
}

fn selected(context: &Context, window: &WindowView) -> u32 {
    let state = context.cache.read();
    let none = BTreeMap::new();
    let selected = |key: &Key, labels: Option<&BTreeMap<String, String>>| {
        let facts = ReleaseFacts {
            namespace: &key.namespace,
            labels: labels.unwrap_or(&none),
            namespace_labels: state.namespaces.get(&Key::new("", &key.namespace)).unwrap_or(&none),
        };
        window.selects(&facts, &context.setting.operator_namespace)
    };
    let count = state.releases.all().filter(|(key, release)| selected(key, release.metadata.labels.as_ref())).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn status(context: &Context, window: &WindowEntry, state: Option<&State>, now: Timestamp) -> DeploymentWindowStatus {
    let faults = window.view.faults(&context.setting.operator_namespace);
    let before = window.status.as_ref().map_or(&[][..], |status| &status.conditions);
    DeploymentWindowStatus {
        observed_generation: window.generation,
        active: state.is_some_and(|state| state.active),
        next_start: state.and_then(|state| state.next_start).map(Time),
        next_end: state.and_then(|state| state.next_end).map(Time),
        releases: selected(context, &window.view),
        conditions: vec![ready(before, window.generation, Verdict::of(&faults), now)],
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use http_body_util::BodyExt;
    use kube::{Client, api::DynamicObject, client::Body};
    use parking_lot::Mutex;

    use super::*;
    use crate::{
        context::{Clock, Parts},
        fixture::{PLATFORM, parts},
    };

    /// How often an operator that handles these namespaces writes the status of a window of the platform's that it has just seen.
    async fn written(namespaces: &str) -> usize {
        let written = Arc::new(AtomicUsize::new(0));
        let window = json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "DeploymentWindow",
            "metadata": {"name": "freeze", "namespace": PLATFORM, "uid": "u", "resourceVersion": "1"},
            "spec": {
                "action": "Freeze",
                "schedule": {"from": "2001-01-01T00:00:00", "until": "2001-01-02T00:00:00", "timeZone": "UTC"},
            },
        });
        let (count, answer) = (written.clone(), window.to_string().into_bytes());
        let server = tower::service_fn(move |request: http::Request<Body>| {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                assert!(body.windows(7).any(|part| part == b"/status"));
                Ok::<_, Infallible>(http::Response::new(Body::from(answer)))
            }
        });
        let own = parts(Client::new(server, "shop"));
        let context = Context::new(Parts { namespaces: namespaces.parse().unwrap(), ..own });
        let window: DynamicObject = serde_json::from_value(window).unwrap();
        context.cache.put(Resource::DeploymentWindow, window, context.clock.now()).unwrap();
        reconcile(context, Key::new(PLATFORM, "freeze")).await;
        written.load(Ordering::SeqCst)
    }

    /// Two processes that both believe to lead, and whose clocks are an hour apart: how often they write the same window's status in so many
    /// seconds.
    async fn written_by_two(seconds: u64) -> usize {
        let window = json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "DeploymentWindow",
            "metadata": {"name": "freeze", "namespace": "shop", "uid": "u"},
            "spec": {
                "action": "Freeze",
                "schedule": {"from": "2026-06-03T10:30:00", "until": "2026-06-04T00:00:00", "timeZone": "UTC"},
            },
        });
        let stored = Arc::new(Mutex::new((0_usize, window)));
        let began = tokio::time::Instant::now();
        let processes = ["2026-06-03T10:00:00Z", "2026-06-03T11:00:00Z"].map(|time| {
            let stored = stored.clone();
            let server = tower::service_fn(move |request: http::Request<Body>| {
                let stored = stored.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let patch: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    let (writes, window) = &mut *stored.lock();
                    *writes += 1;
                    window["status"] = patch[1]["value"].clone();
                    window["metadata"]["resourceVersion"] = json!((*writes + 1).to_string());
                    Ok::<_, Infallible>(http::Response::new(Body::from(window.to_string().into_bytes())))
                }
            });
            let epoch: Timestamp = time.parse().unwrap();
            let clock = Clock::new(move || epoch + began.elapsed());
            Context::new(Parts { clock, ..parts(Client::new(server, "shop")) })
        });
        stored.lock().1["metadata"]["resourceVersion"] = json!("1");
        for _ in 0..seconds * 10 {
            for process in &processes {
                let window: DynamicObject = serde_json::from_value(stored.lock().1.clone()).unwrap();
                process.cache.put(Resource::DeploymentWindow, window, process.clock.now()).unwrap();
                reconcile(process.clone(), Key::new("shop", "freeze")).await;
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        stored.lock().0
    }

    #[tokio::test(start_paused = true)]
    async fn two_processes_whose_clocks_differ_do_not_replace_each_others_words_again_and_again() {
        let (minute, ten) = (written_by_two(60).await, written_by_two(600).await);
        assert!(minute > 2 && minute <= 2 + 2 * 6, "{minute}");
        assert!(ten <= 2 + 2 * 9, "{ten}");
    }

    #[tokio::test]
    async fn of_several_operators_only_one_that_handles_the_windows_namespace_speaks_of_it() {
        assert_eq!(written("shop").await, 0);
        assert_eq!(written("shop,lockkeeper-system").await, 1);
        assert_eq!(written("*").await, 1);
    }
}
