//! What the mutating policies put right.

use anyhow::{Result, ensure};
use lockkeeper_e2e::{Cluster, User};

use super::fixture::{APP, Place, Seen, refused};

const WEB: &str = "deployment/web";

fn deployment(yaml: &str) -> &str {
    yaml.split("---").next().unwrap_or_default()
}

fn marks(seen: &Seen) -> [Option<&str>; 4] {
    ["release", "hold", "paused-by", "requested-by"].map(|name| seen.annotation(name))
}

const HELD: [Option<&str>; 4] = [Some("web"), Some("r1"), Some("lockkeeper"), Some("erin")];

pub async fn new_image(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "image").await?;
    ensure!(marks(&place.get(WEB).await?) == [Some("web"), None, None, None]);
    place.kubectl(User::Erin, &["scale", WEB, "--replicas=2"]).await?;
    place.patch(User::Erin, WEB, r#"{"metadata":{"labels":{"a":"b"}}}"#).await?;
    let seen = place.get(WEB).await?;
    ensure!(!seen.paused() && marks(&seen) == [Some("web"), None, None, None], "{}", seen.0);
    place.kubectl(User::Erin, &["set", "image", WEB, "app=demo:2.0.0"]).await?;
    let seen = place.get(WEB).await?;
    ensure!(seen.paused() && marks(&seen) == [Some("web"), None, Some("lockkeeper"), Some("erin")], "{}", seen.0);
    ensure!(seen.0["spec"]["template"]["spec"]["containers"][0]["image"] == "demo:2.0.0", "{}", seen.0);
    Ok(())
}

pub async fn created(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "created").await?;
    let new = deployment(APP).replace("name: web", "name: new");
    let copied = new.replace(
        "{lockkeeper.dev/release: web}",
        "{lockkeeper.dev/release: web, lockkeeper.dev/hold: r0, lockkeeper.dev/requested-by: carol}",
    );
    for yaml in [new.clone(), copied] {
        place.sync(User::Erin, &yaml).await?;
        let seen = place.get("deployment/new").await?;
        ensure!(seen.paused() && marks(&seen) == [Some("web"), None, Some("lockkeeper"), Some("erin")], "{}", seen.0);
        place.kubectl(User::Erin, &["delete", "deployment/new"]).await?;
    }
    place.sync(User::Erin, &new.replace("  annotations: {lockkeeper.dev/release: web}\n", "")).await?;
    let seen = place.get("deployment/new").await?;
    ensure!(!seen.paused() && marks(&seen) == [None; 4], "{}", seen.0);
    Ok(())
}

pub async fn restart(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "restart").await?;
    place.kubectl(User::Erin, &["rollout", "restart", WEB]).await?;
    let seen = place.get(WEB).await?;
    ensure!(!seen.paused() && marks(&seen) == [Some("web"), None, None, None], "{}", seen.0);
    place.hold().await?;
    let restart = r#"{"spec":{"paused":false,"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-01-01T00:00:00Z"}}}}}"#;
    place.patch(User::Mallory, WEB, restart).await?;
    let seen = place.get(WEB).await?;
    ensure!(seen.paused() && marks(&seen) == HELD, "{}", seen.0);
    Ok(())
}

pub async fn held(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "held").await?;
    place.hold().await?;
    place.kubectl(User::Mallory, &["rollout", "resume", WEB]).await?;
    let seen = place.get(WEB).await?;
    ensure!(seen.paused() && marks(&seen) == HELD, "resume: {}", seen.0);
    place.sync(User::Mallory, &deployment(APP).replace("  replicas: 1", "  replicas: 1\n  paused: false")).await?;
    let seen = place.get(WEB).await?;
    ensure!(seen.paused() && marks(&seen) == HELD, "forced apply: {}", seen.0);
    for patch in [
        r#"{"metadata":{"annotations":null},"spec":{"paused":null}}"#,
        r#"{"metadata":{"annotations":{"lockkeeper.dev/release":"other","lockkeeper.dev/hold":"r9","lockkeeper.dev/paused-by":null,"lockkeeper.dev/requested-by":"carol"}}}"#,
    ] {
        // Bob holds the verb govern: while a release runs, that is no way out either.
        for user in [User::Mallory, User::Bob] {
            place.patch(user, WEB, patch).await?;
            let seen = place.get(WEB).await?;
            ensure!(seen.paused() && marks(&seen) == HELD, "{patch}: {}", seen.0);
        }
    }
    let mut manifest = place.get(WEB).await?.0;
    manifest["metadata"]["annotations"] = serde_json::json!({});
    manifest["spec"]["paused"] = false.into();
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "demo:9.0.0".into();
    place.run(cluster.kubeconfig(User::Mallory), &["replace", "-f", "-"], &manifest.to_string()).await?;
    let seen = place.get(WEB).await?;
    let by_mallory = [HELD[0], HELD[1], HELD[2], Some("mallory")];
    ensure!(seen.paused() && marks(&seen) == by_mallory, "replace: {}", seen.0);
    place.kubectl(User::Mallory, &["scale", WEB, "--replicas=3"]).await?;
    ensure!(place.get(WEB).await?.0["spec"]["replicas"] == 3);
    Ok(())
}

pub async fn waiting(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "waiting").await?;
    place.kubectl(User::Erin, &["set", "image", WEB, "app=demo:2.0.0"]).await?;
    place.kubectl(User::Mallory, &["rollout", "resume", WEB]).await?;
    let seen = place.get(WEB).await?;
    ensure!(seen.paused() && marks(&seen) == [Some("web"), None, Some("lockkeeper"), Some("erin")], "{}", seen.0);
    Ok(())
}

pub async fn own_pause(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "pause").await?;
    place.kubectl(User::Erin, &["rollout", "pause", WEB]).await?;
    place.kubectl(User::Erin, &["set", "image", WEB, "app=demo:2.0.0"]).await?;
    let seen = place.get(WEB).await?;
    ensure!(seen.paused() && marks(&seen) == [Some("web"), None, None, Some("erin")], "{}", seen.0);
    // Held now. Whoever takes the pause back leaves it to us.
    place.mark(WEB, r#"{"metadata":{"annotations":{"lockkeeper.dev/hold":"r1"}}}"#).await?;
    place.kubectl(User::Erin, &["label", WEB, "a=b"]).await?;
    ensure!(place.get(WEB).await?.annotation("paused-by").is_none());
    place.kubectl(User::Erin, &["rollout", "resume", WEB]).await?;
    let seen = place.get(WEB).await?;
    ensure!(seen.paused() && marks(&seen) == HELD, "{}", seen.0);
    Ok(())
}

pub async fn forged(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "forged").await?;
    let forge = r#"{"metadata":{"annotations":{"lockkeeper.dev/requested-by":"carol","lockkeeper.dev/hold":"r9"}}}"#;
    place.patch(User::Mallory, WEB, forge).await?;
    ensure!(marks(&place.get(WEB).await?) == [Some("web"), None, None, None]);
    refused(place.patch(User::Mallory, "release/web", forge).await, &["cannot patch resource \"releases\""])?;
    place.patch(User::Erin, "release/web", forge).await?;
    let release = "release/web";
    ensure!(place.get(release).await?.annotation("requested-by").is_none());
    place.patch(User::Erin, release, r#"{"spec":{"suspend":true}}"#).await?;
    ensure!(place.get(release).await?.annotation("requested-by").is_none());
    let image = r#"{"metadata":{"annotations":{"lockkeeper.dev/requested-by":"carol"}},"spec":{"workloads":[{"ref":{"kind":"Deployment","name":"web"},"images":{"app":"demo:2.0.0"}}]}}"#;
    place.patch(User::Erin, release, image).await?;
    ensure!(place.get(release).await?.annotation("requested-by") == Some("erin"));
    place.patch(User::Bob, release, r#"{"metadata":{"annotations":null},"spec":{"suspend":false}}"#).await?;
    ensure!(place.get(release).await?.annotation("requested-by") == Some("erin"));
    place.patch(User::Bob, release, r#"{"spec":{"version":"2.0.0"}}"#).await?;
    ensure!(place.get(release).await?.annotation("requested-by") == Some("bob"));
    let second = APP
        .split("---")
        .nth(2)
        .unwrap_or_default()
        .replace("{name: web}", "{name: two, annotations: {lockkeeper.dev/requested-by: carol}}");
    place.sync(User::Bob, &second).await?;
    ensure!(place.get("release/two").await?.annotation("requested-by") == Some("bob"));
    Ok(())
}

pub async fn leave(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "leave").await?;
    let leave = r#"{"metadata":{"annotations":{"lockkeeper.dev/release":null}}}"#;
    place.patch(User::Mallory, WEB, leave).await?;
    ensure!(place.get(WEB).await?.annotation("release") == Some("web"));
    place.patch(User::Bob, WEB, leave).await?;
    ensure!(place.get(WEB).await?.annotation("release").is_none());
    Ok(())
}

pub async fn pinned(cluster: &Cluster) -> Result<()> {
    let place = Place::install(cluster, "pinned").await?;
    let service = "service/web";
    let selector = |seen: &Seen| seen.0["spec"]["selector"].clone();
    let unpinned = serde_json::json!({"app": "web"});
    place.patch(User::Mallory, service, r#"{"metadata":{"annotations":{"lockkeeper.dev/pin":"abc"}},"spec":{"selector":{"pod-template-hash":"abc"}}}"#).await?;
    let seen = place.get(service).await?;
    ensure!(selector(&seen) == unpinned && seen.annotation("pin").is_none(), "{}", seen.0);
    place.mark(service, r#"{"metadata":{"annotations":{"lockkeeper.dev/pin":"abc"}},"spec":{"selector":{"pod-template-hash":"abc"}}}"#).await?;
    let pinned = serde_json::json!({"app": "web", "pod-template-hash": "abc"});
    place.sync(User::Erin, APP.split("---").nth(1).unwrap_or_default()).await?;
    let seen = place.get(service).await?;
    ensure!(selector(&seen) == pinned && seen.annotation("pin") == Some("abc"), "{}", seen.0);
    place.patch(User::Erin, service, r#"{"metadata":{"annotations":null},"spec":{"selector":null}}"#).await?;
    let seen = place.get(service).await?;
    let bare = serde_json::json!({"pod-template-hash": "abc"});
    ensure!(selector(&seen) == bare && seen.annotation("pin") == Some("abc"), "{}", seen.0);
    place
        .mark(
            service,
            r#"{"metadata":{"annotations":null},"spec":{"selector":{"app":"web","pod-template-hash":null}}}"#,
        )
        .await?;
    let seen = place.get(service).await?;
    ensure!(selector(&seen) == unpinned && seen.annotation("pin").is_none(), "{}", seen.0);
    Ok(())
}
