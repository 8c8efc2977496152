//! The smallest gateway: it accepts each route as soon as it hears of it, and routes nothing.
//!
//! Traefik, which the other suites use, works on all routes of a cluster at each change of one. With hundreds of routes that are
//! changed at once, its time would be measured rather than the operator's.

use anyhow::Result;
use futures::StreamExt;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use lockkeeper_e2e::{Cluster, User};
use serde_json::json;

use crate::fleet::http_routes;

/// Name of its Gateway, in namespace `gateway`.
pub const GATEWAY: &str = "bench";
const CONTROLLER: &str = "lockkeeper.dev/bench";
/// Statuses that are written at once.
const WRITES_AT_ONCE: usize = 48;

/// Starts it; it ends with this program.
///
/// # Errors
/// If the cluster refuses its Gateway.
pub async fn start(cluster: &Cluster) -> Result<()> {
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": GATEWAY},
        "spec": {"controllerName": CONTROLLER},
    });
    let listener = json!({
        "name": "http", "port": 8000, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}},
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": GATEWAY, "namespace": "gateway"},
        "spec": {"gatewayClassName": GATEWAY, "listeners": [listener]},
    });
    cluster.apply(&class.to_string()).await?;
    cluster.apply(&gateway.to_string()).await?;
    let client = cluster.client(User::Admin);
    tokio::spawn(async move {
        let routes: Api<DynamicObject> = Api::all_with(client.clone(), &http_routes());
        let events = watcher(routes, watcher::Config::default()).default_backoff();
        events
            .for_each_concurrent(WRITES_AT_ONCE, async |event| {
                // A broken watch starts again by itself, and tells of every route anew.
                let Ok(Event::Apply(route) | Event::InitApply(route)) = event else { return };
                if let Err(error) = accept(&client, &route).await {
                    eprintln!("cannot accept route {}: {error:#}", route.name_any());
                }
            })
            .await;
    });
    Ok(())
}

async fn accept(client: &Client, route: &DynamicObject) -> Result<()> {
    let generation = route.metadata.generation;
    let accepted = &route.data["status"]["parents"][0]["conditions"][0]["observedGeneration"];
    if accepted.as_i64() == generation {
        return Ok(());
    }
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": generation,
            "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    };
    let parent = json!({
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": GATEWAY, "namespace": "gateway"},
        "controllerName": CONTROLLER,
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    });
    let routes: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &route.namespace().unwrap_or_default(), &http_routes());
    let patch = Patch::Merge(json!({"status": {"parents": [parent]}}));
    routes.patch_status(&route.name_any(), &PatchParams::default(), &patch).await?;
    Ok(())
}
