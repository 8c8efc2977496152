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
    let Some(window) = context.cache.read().windows.get(&key).cloned() else { return };
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
    let written = publish::write(&context, actor, version, json!(status)).await;
    context.metrics.reconciled("window", started.elapsed(), written.as_ref().map(|_| ()).map_err(Refusal::category));
    if let Err(refusal) = written {
        debug!(window = %key, %refusal, "failed to publish");
        let delay = context.backoff.failed(&(Resource::DeploymentWindow, key.clone()));
        context.windows.add_at(key, tokio::time::Instant::now() + delay);
        return;
    }
    context.backoff.reset(&(Resource::DeploymentWindow, key));
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
    };

    use http_body_util::BodyExt;
    use kube::{Client, api::DynamicObject, client::Body};

    use super::*;
    use crate::{
        context::Parts,
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

    #[tokio::test]
    async fn of_several_operators_only_one_that_handles_the_windows_namespace_speaks_of_it() {
        assert_eq!(written("shop").await, 0);
        assert_eq!(written("shop,lockkeeper-system").await, 1);
        assert_eq!(written("*").await, 1);
    }
}
