//! Pods that behave as their tags say.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use lockkeeper_e2e::{Behaviour, Cluster, Load, http_get, wait};
use serde_json::{Value, json};

use super::fixture::{App, LIMIT, until};

pub async fn errors(cluster: &Cluster) -> Result<()> {
    let version = "3.0.0-errors10";
    let app = App::install(cluster, "errors", version).await?;
    app.available("canary").await?;
    app.set_weight(100).await?;
    let traffic = app.traffic(&Load::new(&app.host, 85));
    until(&traffic, "reach the canary 300 times", |t| t.by_version.get(version) >= Some(&300)).await?;
    let totals = traffic.stop().await;
    ensure!(totals.failures.iter().all(|failure| failure.version.as_deref() == Some(version)), "{:?}", totals.failures);
    for pod in cluster.demo()?.counts(app.namespace).iter().filter(|pod| pod.version == version) {
        ensure!(pod.errors == pod.requests / 10, "{pod:?}");
    }
    let expected = totals.by_version[version];
    let query = "sum by (namespace, version) (http_requests_total{namespace=\"errors\",pod=~\"canary-.*\"} \
                 * on (namespace, pod) group_left (version) build_info)";
    let seen = scraped(cluster, query, expected as f64).await?;
    ensure!(seen["metric"] == json!({"namespace": "errors", "version": version}), "{seen}");
    let failed = "sum(http_requests_total{namespace=\"errors\",code=\"500\",pod=~\"canary-.*\"})";
    scraped(cluster, failed, totals.failed() as f64).await?;
    Ok(())
}

/// Waits until Prometheus has this value, which it learns with its next scrape.
async fn scraped(cluster: &Cluster, query: &str, value: f64) -> Result<Value> {
    let url = format!("{}/api/v1/query?query={}", cluster.prometheus_url()?, escaped(query));
    wait::answer(&format!("{query} to be {value}"), LIMIT, async || {
        let mut answer: Value = serde_json::from_slice(&http_get(&url).await?.body)?;
        let result = answer.pointer_mut("/data/result/0").map(Value::take).unwrap_or_default();
        let seen = result["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
        ensure!(seen == Some(value), "it is {result}");
        Ok(result)
    })
    .await
}

fn escaped(query: &str) -> String {
    query
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

pub async fn goes_bad_later(cluster: &Cluster) -> Result<()> {
    let app = App::install(cluster, "bad-later", "2.0.0").await?;
    let traffic = app.traffic(&Load::new(&app.host, 50));
    let good = until(&traffic, "be answered", |totals| totals.requests > 50).await?;
    ensure!(good.failed() == 0, "{:?}", good.failures);
    let all_fail = Behaviour { errors: 10_000, latency: Duration::from_millis(100) };
    cluster.demo()?.change_behaviour(app.namespace, "1.0.0", all_fail);
    let bad = until(&traffic, "fail", |totals| totals.failed() > 50).await?;
    ensure!(bad.failures.iter().all(|failure| failure.took >= all_fail.latency), "{:?}", bad.failures);
    app.scale("web", 5).await?;
    app.available("web").await?;
    until(&traffic, "reach the fifth pod", |totals| totals.by_pod.len() == 5).await?;
    let mut pods = cluster.demo()?.counts(app.namespace);
    pods.retain(|pod| pod.version == "1.0.0");
    ensure!(pods.len() == 5 && pods.iter().all(|pod| pod.errors > 0), "{pods:?}");
    drop(traffic);
    Ok(())
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

fn running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

pub async fn never_ready(cluster: &Cluster) -> Result<()> {
    let app = App::install(cluster, "never-ready", "3.0.0-neverready").await?;
    wait::list(&app.pods(), "app=canary", "run", LIMIT, |pods| pods.len() == 2 && pods.iter().all(running)).await?;
    app.set_weight(50).await?;
    let traffic = app.traffic(&Load::new(&app.host, 50));
    // A backend without ready pods answers 503, by the gateway.
    until(&traffic, "be refused by the gateway", |totals| totals.by_status.get(&503) > Some(&20)).await?;
    let totals = traffic.stop().await;
    ensure!(!totals.by_version.contains_key("3.0.0-neverready"), "{totals:?}");
    let pods = app.pods().list(&ListParams::default().labels("app=canary")).await?;
    ensure!(pods.iter().all(|pod| !ready(pod)));
    Ok(())
}

pub async fn slow_start(cluster: &Cluster) -> Result<()> {
    let app = App::install(cluster, "slow-start", "3.0.0-slowstart4s").await?;
    let started =
        wait::list(&app.pods(), "app=canary", "run", LIMIT, |pods| pods.len() == 2 && pods.iter().all(running)).await?;
    ensure!(!started.iter().any(ready), "ready from the start");
    let pods = wait::list(&app.pods(), "app=canary", "be ready", LIMIT, |pods| pods.iter().all(ready)).await?;
    for pod in pods {
        let status = pod.status.context("no status")?;
        let since = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "Ready")
            .and_then(|c| c.last_transition_time.clone());
        let (ready, start) = (since.context("no time")?.0, status.start_time.context("no start")?.0);
        // Times are in whole seconds.
        let took = ready.duration_since(start).as_secs();
        ensure!((4..=6).contains(&took), "ready {took} s after the start");
    }
    Ok(())
}

pub async fn addresses(cluster: &Cluster) -> Result<()> {
    let app = App::install(cluster, "addresses", "2.0.0").await?;
    let of = |pods: Vec<Pod>| -> BTreeSet<String> { pods.into_iter().filter_map(|pod| pod.status?.pod_ip).collect() };
    let serve = |pods: &[Pod]| pods.len() == 4 && pods.iter().all(ready);
    let before = of(wait::list(&app.pods(), "app=web", "be ready", LIMIT, serve).await?);
    app.scale("web", 0).await?;
    wait::list(&app.pods(), "app=web", "be gone", LIMIT, <[Pod]>::is_empty).await?;
    app.scale("web", 4).await?;
    let after = of(wait::list(&app.pods(), "app=web", "be ready again", LIMIT, serve).await?);
    ensure!(before.len() == 4 && after.len() == 4 && before.is_disjoint(&after), "{before:?} became {after:?}");
    Ok(())
}

fn restarts(pod: &Pod) -> Option<i32> {
    let container = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let waits = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref() == Some("CrashLoopBackOff");
    waits.then_some(container.restart_count)
}

pub async fn crash(cluster: &Cluster) -> Result<()> {
    let app = App::install(cluster, "crash", "3.0.0-crash").await?;
    let crashed = |pods: &[Pod]| pods.iter().all(|pod| restarts(pod) >= Some(2) && !ready(pod));
    wait::list(&app.pods(), "app=canary", "crash twice", LIMIT, |pods| pods.len() == 2 && crashed(pods)).await?;
    app.set_image("web", "demo:1.1.0-crashafter3s").await?;
    let later = |pods: &[Pod]| pods.iter().any(|pod| restarts(pod) >= Some(1) && !ready(pod));
    wait::list(&app.pods(), "app=web", "crash in the end", LIMIT, later).await?;
    Ok(())
}
