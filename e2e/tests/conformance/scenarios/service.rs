//! Endpoints of Services, and what a gateway says of routes.

use anyhow::Result;
use lockkeeper_simulator::api::Kind::{Deployment, HTTPRoute, Service};
use serde_json::json;

use super::objects::{deployment, route, service, version, with};
use crate::play::{Ask, Form, Play};

/// A Service is pinned to a version, to none, and to nothing at all.
pub async fn pinned(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 2)).await?;
    play.create(Service, service("web")).await?;
    play.settle().await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2-neverready"))).await?;
    play.settle().await?;
    let hash = play.hash_of("1").await?;
    for selector in
        [json!({"pod-template-hash": hash}), json!({"pod-template-hash": "nobody"}), json!({"pod-template-hash": null})]
    {
        play.merge(Service, "web", json!({"spec": {"selector": selector}})).await?;
        play.settle().await?;
    }
    play.merge(Service, "web", json!({"spec": {"selector": null}})).await?;
    play.settle().await?;
    play.delete(Service, "web").await?;
    play.settle().await
}

/// Pods come, crash and go.
pub async fn endpoints(play: &mut Play<'_>) -> Result<()> {
    play.create(Service, service("web")).await?;
    play.settle().await?;
    play.create(Deployment, deployment("1-crashafter12s", 2)).await?;
    play.settle().await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    play.settle().await?;
    play.merge(Deployment, "web", json!({"spec": {"replicas": 0}})).await?;
    play.settle().await
}

/// A route with its Service, with another one beside it, and with one that is not there.
pub async fn routed(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 1)).await?;
    play.create(Service, service("web")).await?;
    play.create(HTTPRoute, route("web", &play.namespace)).await?;
    play.settle().await?;
    let split = json!([{"name": "web", "port": 80, "weight": 90}, {"name": "web-canary", "port": 80, "weight": 10}]);
    play.ask(Ask::patch(
        HTTPRoute,
        "web",
        Form::Json,
        json!([
            {"op": "test", "path": "/spec/rules/0/backendRefs/0/name", "value": "web"},
            {"op": "replace", "path": "/spec/rules/0/backendRefs", "value": split},
        ]),
    ))
    .await?;
    play.settle().await?;
    play.create(Service, service("web-canary")).await?;
    play.settle().await?;
    play.merge(HTTPRoute, "web", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    play.settle().await?;
    play.delete(Service, "web-canary").await?;
    play.settle().await?;
    play.delete(HTTPRoute, "web").await?;
    play.settle().await
}

/// A route that names no gateway is nobody's.
pub async fn without_gateway(play: &mut Play<'_>) -> Result<()> {
    play.create(
        HTTPRoute,
        json!({"metadata": {"name": "web"}, "spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}}),
    )
    .await?;
    play.settle().await
}

/// Ports by name, by their own number, and several of them; addresses of pods that are not ready.
pub async fn ports(play: &mut Play<'_>) -> Result<()> {
    let named = json!([{"containerPort": 8080, "name": "http"}, {"containerPort": 9090, "name": "admin"}]);
    let web = with(deployment("1", 2), "/spec/template/spec/containers/0/ports", named);
    play.create(Deployment, web).await?;
    let ports = |ports: serde_json::Value| with(service("web"), "/spec/ports", ports);
    play.create(
        Service,
        ports(json!([
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "admin", "port": 90, "targetPort": 9090},
            {"name": "same", "port": 8080, "targetPort": 8080},
            {"name": "nobody", "port": 70, "targetPort": "nobody"},
        ])),
    )
    .await?;
    play.settle().await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2-neverready"))).await?;
    play.settle().await?;
    play.merge(Service, "web", json!({"spec": {"publishNotReadyAddresses": true}})).await?;
    play.settle().await?;
    play.merge(Deployment, "web", json!({"spec": {"replicas": 0}})).await?;
    play.settle().await
}

/// A route whose Gateway is not there; then one that is, both, and the first alone again.
pub async fn nobodys(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 1)).await?;
    play.create(Service, service("web")).await?;
    let [there, not_there] = ["gw", "nobody"].map(|name| json!({"name": name, "namespace": "gateway"}));
    let named = with(route("web", &play.namespace), "/spec/parentRefs", json!([not_there]));
    play.create(HTTPRoute, named).await?;
    play.settle().await?;
    for parents in [json!([there]), json!([there, not_there]), json!([not_there])] {
        play.merge(HTTPRoute, "web", json!({"spec": {"parentRefs": parents}})).await?;
        play.settle().await?;
    }
    Ok(())
}

/// Several rules; a backend that another rule has, too; weights of nothing.
pub async fn rules(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 1)).await?;
    play.create(Service, service("web")).await?;
    let rules = json!([
        {"matches": [{"path": {"type": "PathPrefix", "value": "/a"}}], "backendRefs": [{"name": "web", "port": 80, "weight": 0}]},
        {"backendRefs": [{"name": "web", "port": 80}, {"name": "nobody", "port": 80, "weight": 0}]},
    ]);
    play.create(HTTPRoute, with(route("web", &play.namespace), "/spec/rules", rules)).await?;
    play.settle().await?;
    let test = json!({"op": "test", "path": "/spec/rules/1/backendRefs/1/name", "value": "nobody"});
    play.ask(Ask::patch(
        HTTPRoute,
        "web",
        Form::Json,
        json!([test, {"op": "remove", "path": "/spec/rules/1/backendRefs/1"}]),
    ))
    .await?;
    play.settle().await
}
