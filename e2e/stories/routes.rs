//! Traffic of every shape: several routes and rules, backends of others, meshes, further Services, none at all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::{Connections, Load, Totals, Traffic, User, wait};
use serde_json::{Value, json};

use crate::harness::{LIMIT, Story, condition, none_failed};

/// NAMESPACE is that of the story. Rules with filters, matches, weights and backends of others.
const SECOND_ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: second, namespace: NAMESPACE}
spec:
  parentRefs: [{name: gw, namespace: gateway}]
  hostnames: [second.NAMESPACE.example.com]
  rules:
  - matches: [{path: {type: PathPrefix, value: /shared}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-story, value: told}]}}]
    backendRefs: [{name: legacy, port: 80, weight: 1}, {name: web, port: 80, weight: 3}]
  - matches: [{path: {type: PathPrefix, value: /foreign}}]
    backendRefs: [{name: legacy, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /own}, method: GET}, {headers: [{name: x-kind, value: own}]}]
    backendRefs: [{name: web, port: 80}]
";

fn spec(workload: &str) -> String {
    format!(
        "
workloads:
- ref: {{kind: Deployment, name: web}}
  images: {{app: \"demo:2.0.0\"}}
  service: web
{workload}
strategy: {{canary: {{steps: [{{setWeight: 40}}, {{pause: {{}}}}]}}}}
"
    )
}

fn routes(story: &Story<'_>) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
    Api::namespaced_with(story.cluster().client(User::Admin), &story.namespace, &kind)
}

async fn route_spec(story: &Story<'_>, name: &str) -> Result<Value> {
    Ok(routes(story).get(name).await?.data["spec"].take())
}

/// So many requests to a path, one after the other as fast as they are answered at this rate.
async fn asked(story: &Story<'_>, host: &str, path: &str, requests: u64) -> Result<Totals> {
    let load =
        Load { path: path.to_owned(), per_second: 100, connections: Connections::KeptAlive, ..Load::new(host, 0) };
    let traffic = Traffic::start(story.cluster().gateway_url(), &load);
    while traffic.snapshot().requests < requests {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let totals = traffic.stop().await;
    none_failed(&totals)?;
    Ok(totals)
}

fn share(totals: &Totals, version: &str, percent: f64) -> Result<()> {
    // Traefik counts anew whenever any route of the cluster changes.
    share_about(totals, version, percent, 5.0)
}

fn share_about(totals: &Totals, version: &str, percent: f64, tolerance: f64) -> Result<()> {
    let found = totals.share_percent(version);
    ensure!(
        (found - percent).abs() <= tolerance,
        "{version} has {found:.1} %, not {percent} %: {:?}",
        totals.by_version
    );
    Ok(())
}

/// Two routes, of which one has rules with filters and with backends of others: each rule splits our share only, the ratio to
/// the others stays, the rest is not touched, and at rest all is as it was written.
pub async fn rules_and_backends_of_others(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let legacy = story.app_named("legacy", 1).await?;
    legacy.set_version("0.9.0").await?;
    legacy.available().await?;
    story.apply(SECOND_ROUTE).await?;
    let host = format!("second.{}.example.com", story.namespace);
    served(story, &host, "/own").await?;
    let before = app.specs().await?;
    let second = route_spec(story, "second").await?;
    let traffic = app.traffic();
    story.release(&spec("  routes: [{kind: HTTPRoute, name: web}, {kind: HTTPRoute, name: second}]")).await?;
    story.await_confirmed(40).await?;

    let mut expected = second.clone();
    let backend =
        |name: &str, weight: u32| json!({"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight});
    expected["rules"][0]["backendRefs"] =
        json!([backend("legacy", 100), backend("web", 180), backend("web-canary", 120)]);
    expected["rules"][2]["backendRefs"] = json!([backend("web", 60), backend("web-canary", 40)]);
    let found = route_spec(story, "second").await?;
    ensure!(found == expected, "the route is {found:#}\nnot {expected:#}");
    let shared = asked(story, &host, "/shared", 400).await?;
    share(&shared, "0.9.0", 25.0)?;
    share(&shared, "1.0.0", 45.0)?;
    share(&shared, "2.0.0", 30.0)?;
    share(&asked(story, &host, "/own", 200).await?, "2.0.0", 40.0)?;
    share(&asked(story, &host, "/foreign", 50).await?, "0.9.0", 100.0)?;
    share(&asked(story, &app.host, "/", 200).await?, "2.0.0", 40.0)?;

    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await?;
    let found = route_spec(story, "second").await?;
    // As text: not even the order of fields has changed.
    let (found, second) = (found.to_string(), second.to_string());
    ensure!(found == second, "at rest the route is {found}\nnot {second}");
    Ok(())
}

async fn served(story: &Story<'_>, host: &str, path: &str) -> Result<()> {
    let load = Load { path: path.to_owned(), per_second: 20, ..Load::new(host, 0) };
    let traffic = Traffic::start(story.cluster().gateway_url(), &load);
    let answered = async {
        while traffic.snapshot().by_version.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, answered).await.with_context(|| format!("nobody answers {host}{path}"))
}

/// A mesh's route has the Service itself as parent. There is no mesh here: its word is played, its traffic is not.
pub async fn mesh(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let mesh = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mesh, namespace: NAMESPACE}
spec:
  parentRefs: [{group: '', kind: Service, name: web, port: 80}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
";
    story.apply(mesh).await?;
    let (before, own) = (app.specs().await?, route_spec(story, "mesh").await?);
    story.release(&spec("  routes: [{kind: HTTPRoute, name: web}, {kind: HTTPRoute, name: mesh}]")).await?;
    // The gateway has accepted its route long before; without the mesh's word there is no weight.
    wait::object(&routes(story), "mesh", "have 40 %", LIMIT, |route| {
        route.is_some_and(|route| route.data["spec"]["rules"][0]["backendRefs"][1]["weight"] == 40)
    })
    .await?;
    wait::object(&routes(story), "web", "be accepted by the gateway", LIMIT, |route| {
        let generation = route.and_then(|route| route.metadata.generation);
        let observed = route.map(|route| &route.data["status"]["parents"][0]["conditions"][0]["observedGeneration"]);
        observed.and_then(Value::as_i64).is_some_and(|observed| Some(observed) == generation)
    })
    .await?;
    let status = story.status().await?;
    ensure!(status.phase == Phase::Progressing, "it is {} although the mesh has said nothing", status.phase);
    ensure!(status.weight.is_some_and(|weight| weight.confirmed == 0), "{:?}", status.weight);
    let mesh = tokio::spawn(play_mesh(routes(story)));
    story.await_confirmed(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    mesh.abort();
    app.at_rest(&before.with_version("2.0.0")).await?;
    let found = route_spec(story, "mesh").await?;
    ensure!(found == own, "at rest the route is {found:#}\nnot {own:#}");
    Ok(())
}

/// Accepts every generation of the route `mesh`.
async fn play_mesh(routes: Api<DynamicObject>) {
    let mut changes = Box::pin(watch_object(routes.clone(), "mesh").default_backoff());
    while let Some(change) = changes.next().await {
        let Ok(Some(route)) = change else { continue };
        let observed = &route.data["status"]["parents"][0]["conditions"][0]["observedGeneration"];
        if observed.as_i64() == route.metadata.generation {
            continue;
        }
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let said = |kind: &str, reason: &str| {
            json!({"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now,
                   "observedGeneration": route.metadata.generation})
        };
        let status = json!({"status": {"parents": [{
            "parentRef": {"group": "", "kind": "Service", "name": "web", "port": 80},
            "controllerName": "example.com/mesh",
            "conditions": [said("Accepted", "Accepted"), said("ResolvedRefs", "ResolvedRefs")],
        }]}});
        let _ = routes.patch_status("mesh", &PatchParams::default(), &Patch::Merge(status)).await;
    }
}

/// A second Service with the same pods is pinned when it is named; one that is not named is spoken of.
pub async fn other_services(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    for name in ["internal", "forgotten"] {
        let service = format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: NAMESPACE}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: NAMESPACE}}
spec:
  parentRefs: [{{name: gw, namespace: gateway}}]
  hostnames: [{name}.NAMESPACE.example.com]
  rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]
"
        );
        story.apply(&service).await?;
        served(story, &host_of(story, name), "/").await?;
    }
    let before = app.specs().await?;
    let load = Load::new(&host_of(story, "internal"), 20);
    let internal = Traffic::start(story.cluster().gateway_url(), &load);
    story.release(&spec("  routes: [{kind: HTTPRoute, name: web}]\n  pin: [internal]")).await?;
    let status = story.await_confirmed(40).await?;
    condition(&status, "TrafficShared", "True")?;
    let warning = status.conditions.iter().find(|c| c.type_ == "TrafficShared").map_or("", |c| c.message.as_str());
    ensure!(warning.contains("forgotten") && !warning.contains("internal"), "{warning}");
    let so_far = internal.snapshot();
    ensure!(
        so_far.share_percent("2.0.0") == 0.0,
        "the candidate is behind the pinned Service: {:?}",
        so_far.by_version
    );
    // The warning is true.
    let forgotten = asked(story, &host_of(story, "forgotten"), "/", 100).await?;
    ensure!(forgotten.share_percent("2.0.0") > 0.0, "{:?}", forgotten.by_version);
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&internal.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await?;
    let services = [
        "get",
        "services",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name}={.spec.selector} {.metadata.annotations}{'\\n'}{end}",
    ];
    let services = story.kubectl(User::Admin, &services).await?;
    ensure!(!services.contains("pod-template-hash"), "a Service is still pinned:\n{services}");
    ensure!(!services.contains("lockkeeper.dev/pin"), "a pin's mark is left:\n{services}");
    Ok(())
}

fn host_of(story: &Story<'_>, name: &str) -> String {
    format!("{name}.{}.example.com", story.namespace)
}

/// Without routes the number of pods stands for the weight, and the status says so.
pub async fn none(story: &Story<'_>) -> Result<()> {
    let app = story.app(4).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&spec("").replace("setWeight: 40", "setWeight: 20")).await?;
    let status = story.await_confirmed(20).await?;
    condition(&status, "WeightApproximated", "True")?;
    let pods = (app.pods("1.0.0").await?.len(), app.pods("2.0.0").await?.len());
    ensure!(pods == (4, 1), "{} old pods and {} new ones run", pods.0, pods.1);
    // The gateway hears of a new pod when it likes, and is not asked.
    share_about(&asked(story, &app.host, "/", 400).await?, "2.0.0", 20.0, 8.0)?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}
