//! Requests: none lost, each seen by the gateway, shares as asked for.

use std::time::Duration;

use anyhow::{Result, ensure};
use lockkeeper_e2e::{Cluster, Connections, Load, Totals};

use super::fixture::{App, during, until, until_lately};

const CANARY: &str = "2.0.0";

fn none_failed(totals: &Totals) -> Result<()> {
    ensure!(totals.failed() == 0, "{} of {} requests failed: {:?}", totals.failed(), totals.requests, totals.failures);
    Ok(())
}

/// The gateway's own record has these requests, no more and no fewer.
fn as_the_gateway_says(app: &App<'_>, totals: &Totals) -> Result<()> {
    let logged = app.cluster.access_log()?.read(&app.host)?;
    let count = logged.iter().filter(|entry| entry.request_path == "/").count() as u64;
    ensure!(count == totals.requests, "{} requests were sent, the gateway logged {count}", totals.requests);
    Ok(())
}

pub async fn weights(cluster: &Cluster) -> Result<()> {
    let app = App::install(cluster, "weights", CANARY).await?;
    app.available("canary").await?;
    let traffic = app.traffic(&Load::new(&app.host, 85));
    for weight in [10_u8, 50, 100] {
        let distance = |totals: &Totals| (totals.share_percent(CANARY) - f64::from(weight)).abs();
        app.set_weight(weight).await?;
        // Accepted is not yet in force.
        until_lately(&traffic, "follow the weight", |totals| distance(totals) < 8.0).await?;
        let totals = during(&traffic, Duration::from_secs(2)).await;
        ensure!(distance(&totals) < 5.0, "weight {weight}, but {} % of the answers", totals.share_percent(CANARY));
    }
    app.set_weight(0).await?;
    let totals = traffic.stop().await;
    none_failed(&totals)?;
    as_the_gateway_says(&app, &totals)
}

pub async fn rolling_update(cluster: &Cluster) -> Result<()> {
    let app = App::install(cluster, "rolling", CANARY).await?;
    let traffic = app.traffic(&Load::new(&app.host, 85));
    app.set_image("web", "demo:1.1.0").await?;
    app.available("web").await?;
    // The last old pods go on answering for a while.
    let totals = until(&traffic, "come from the new version", |t| t.by_version.get("1.1.0") > Some(&200)).await?;
    ensure!(totals.by_version.contains_key("1.0.0"), "{totals:?}");
    let totals = traffic.stop().await;
    none_failed(&totals)?;
    as_the_gateway_says(&app, &totals)
}

pub async fn kept_alive(cluster: &Cluster) -> Result<()> {
    let app = App::install(cluster, "kept-alive", CANARY).await?;
    let load = Load { connections: Connections::KeptAlive, ..Load::new(&app.host, 85) };
    let traffic = app.traffic(&load);
    until(&traffic, "reach all four pods", |totals| totals.by_pod.len() == 4).await?;
    cluster.kubectl(lockkeeper_e2e::User::Admin, ["-n", app.namespace, "rollout", "restart", "deployment/web"]).await?;
    app.available("web").await?;
    until(&traffic, "reach four pods more", |totals| totals.by_pod.len() == 8).await?;
    let totals = traffic.stop().await;
    none_failed(&totals)?;
    as_the_gateway_says(&app, &totals)
}
