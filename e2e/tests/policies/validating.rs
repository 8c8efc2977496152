//! What is refused where the API server has no mutating policies.

use anyhow::{Result, ensure};
use lockkeeper_e2e::{Cluster, User};
use serde_json::json;

use super::fixture::{APP, Place, refused};

const WEB: &str = "deployment/web";

pub async fn held(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "held").await?;
    let held = ["lockkeeper-hold", "Release web holds this Deployment: leave spec.paused true", "lockkeeper abort web"];
    // At rest, where the operator keeps it paused; then during a release.
    let at_rest = r#"{"metadata":{"annotations":{"lockkeeper.dev/paused-by":"lockkeeper"}},"spec":{"paused":true}}"#;
    place.mark(WEB, at_rest).await?;
    refused(place.kubectl(User::Mallory, &["rollout", "resume", WEB]).await, &held)?;
    place.hold().await?;
    let before = place.get(WEB).await?.0["spec"].clone();
    refused(place.kubectl(User::Mallory, &["rollout", "resume", WEB]).await, &held)?;
    let deployment = APP.split("---").next().unwrap_or_default();
    refused(
        place.sync(User::Mallory, &deployment.replace("  replicas: 1", "  replicas: 1\n  paused: false")).await,
        &held,
    )?;
    for (mark, words) in [
        ("hold", "lockkeeper.dev/hold: only Lockkeeper writes this"),
        ("paused-by", "lockkeeper.dev/paused-by: only Lockkeeper writes this"),
        ("release", "keep the annotation lockkeeper.dev/release"),
    ] {
        let patch = format!(r#"{{"metadata":{{"annotations":{{"lockkeeper.dev/{mark}":null}}}}}}"#);
        refused(place.patch(User::Bob, WEB, &patch).await, &["lockkeeper-hold", words, "lockkeeper abort"])?;
    }
    ensure!(place.get(WEB).await?.0["spec"] == before);
    // What neither unpauses nor unmarks passes: a sync of a new version above all, for it may be the way back.
    place.sync(User::Mallory, &deployment.replace("1.0.0", "2.0.0")).await?;
    place.kubectl(User::Mallory, &["scale", WEB, "--replicas=2"]).await?;
    ensure!(place.get(WEB).await?.paused());
    Ok(())
}

pub async fn forged(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "forged").await?;
    let forge = r#"{"metadata":{"annotations":{"lockkeeper.dev/requested-by":"carol"}}}"#;
    for object in [WEB, "release/web"] {
        let answer = place.patch(User::Erin, object, forge).await;
        refused(answer, &["lockkeeper.dev/requested-by: only Lockkeeper writes this"])?;
    }
    let unmanaged = APP.split("---").next().unwrap_or_default().replace("name: web", "name: new");
    let unmanaged = unmanaged.replace("lockkeeper.dev/release: web", "lockkeeper.dev/requested-by: carol");
    refused(place.sync(User::Erin, &unmanaged).await, &["lockkeeper-hold", "only Lockkeeper writes this"])?;
    place.kubectl(User::Erin, &["set", "image", WEB, "app=demo:2.0.0"]).await?;
    place.patch(User::Erin, "release/web", r#"{"spec":{"version":"2"}}"#).await?;
    let leave = r#"{"metadata":{"annotations":{"lockkeeper.dev/release":null}}}"#;
    refused(place.patch(User::Mallory, WEB, leave).await, &["needs the verb govern on that Release"])?;
    place.patch(User::Bob, WEB, leave).await.map(drop)
}

/// A Git sync of the Service goes through, and so does all else: the operator deals with what it sees.
pub async fn services(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "services").await?;
    let pin =
        r#"{"metadata":{"annotations":{"lockkeeper.dev/pin":"abc"}},"spec":{"selector":{"pod-template-hash":"abc"}}}"#;
    let selector = async || anyhow::Ok(place.get("service/web").await?.0["spec"]["selector"].clone());
    place.mark("service/web", pin).await?;
    ensure!(selector().await? == json!({"app": "web", "pod-template-hash": "abc"}));
    place.sync(User::Erin, APP.split("---").nth(1).unwrap_or_default()).await?;
    place.patch(User::Erin, "service/web", r#"{"spec":{"selector":{"pod-template-hash":null}}}"#).await?;
    ensure!(selector().await? == json!({"app": "web"}));
    Ok(())
}
