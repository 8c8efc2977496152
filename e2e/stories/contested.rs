//! Others write what a release writes. Where the Release carries the version, an old image that somebody's write restores is
//! no rollback, and no pod is touched.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{Phase, ReleaseStatus};
use lockkeeper_e2e::{User, wait};

use crate::harness::{App, LIMIT, Story, condition, none_failed, with_images};

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 40}, {pause: {}}")
}

/// Waits until the Deployment has the image of the Release again; it was held all the time.
async fn image_put_back(app: &App<'_>) -> Result<()> {
    ensure!(app.paused().await?, "the old image is not held");
    wait::object(&app.story.api::<Deployment>(), "web", "have the image of the Release", LIMIT, |deployment| {
        let pod = deployment.and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
        pod.is_some_and(|pod| pod.containers.iter().all(|c| c.image.as_deref() == Some("demo:2.0.0")))
    })
    .await?;
    Ok(())
}

/// Waits until the route gives 40 % to the new version again.
async fn route_put_back(app: &App<'_>) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
    let client = app.story.cluster().client(User::Admin);
    let routes: Api<DynamicObject> = Api::namespaced_with(client, &app.story.namespace, &resource);
    wait::object(&routes, "web", "give 40 % to the new version", LIMIT, |route| {
        let backends = route.map(|route| &route.data["spec"]["rules"][0]["backendRefs"]);
        let canary = backends.and_then(|backends| backends.as_array()?.iter().find(|b| b["name"] == "web-canary"));
        canary.is_some_and(|canary| canary["weight"] == 40)
    })
    .await?;
    Ok(())
}

const CONTESTED: [(&str, &str); 2] = [("TemplateContested", "Deployment web"), ("TrafficContested", "HTTPRoute web")];

fn contested(status: &ReleaseStatus) -> usize {
    let conditions = status.conditions.iter().filter(|condition| condition.status == "True");
    conditions.filter(|condition| CONTESTED.iter().any(|(kind, _)| condition.type_ == *kind)).count()
}

/// Being undone five times in a minute is normal; the sixth time the Release names who does it, until that ends.
pub async fn steady_fight(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.release(&spec()).await?;
    story.await_confirmed(40).await?;
    let traffic = app.traffic();
    for _ in 0..5 {
        app.sync("1.0.0").await?;
        image_put_back(&app).await?;
        route_put_back(&app).await?;
    }
    let status = story.await_confirmed(40).await?;
    ensure!(contested(&status) == 0, "five times are a fight: {:?}", status.conditions);
    app.sync("1.0.0").await?;
    let status = story.await_status("tell of the fight", |status| contested(status) == CONTESTED.len()).await?;
    for (kind, object) in CONTESTED {
        let message = status.conditions.iter().find(|condition| condition.type_ == kind).map(|c| c.message.as_str());
        let told = message.is_some_and(|message| message.contains("field manager e2e") && message.contains(object));
        ensure!(told, "{kind} does not tell that e2e writes {object}: {message:?}");
    }
    image_put_back(&app).await?;
    route_put_back(&app).await?;
    story.await_status("forget the fight", |status| contested(status) == 0).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Mid-way: the weight stays, and the release goes on.
pub async fn image_midway(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.release(&spec()).await?;
    story.await_confirmed(40).await?;
    let (stable, candidate) = (app.pods("1.0.0").await?, app.pods("2.0.0").await?);
    let (exposure, traffic) = (app.exposure().await?, app.traffic());
    app.set_version("1.0.0").await?;
    image_put_back(&app).await?;
    app.set_version("0.9.0").await?;
    image_put_back(&app).await?;
    let status = story.await_confirmed(40).await?;
    ensure!(status.blocked.is_empty() && status.going_back.is_none(), "{:?}", status.going_back);
    ensure!(app.pods("1.0.0").await? == stable, "pods of the stable version have changed");
    ensure!(app.pods("2.0.0").await? == candidate, "pods of the new version have changed");
    ensure!(app.pods("0.9.0").await?.is_empty(), "pods of somebody else's version run");
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    exposure.never_above_the_step()?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// At rest: the Release stays Stable, and its Deployment is as it was.
pub async fn image_at_rest(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?.with_version("2.0.0");
    story.release(&spec()).await?;
    story.await_confirmed(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    let rest = story.await_rest("2.0.0").await?;
    let pods = app.pods("2.0.0").await?;
    let traffic = app.traffic();
    // The image before is in the history; the other one nobody knows.
    for version in ["1.0.0", "0.9.0"] {
        app.set_version(version).await?;
        app.given_back("2.0.0").await?;
        let strangers = app.pods(version).await?;
        ensure!(strangers.is_empty(), "pods of {version} have started: {strangers:?}");
    }
    let status = story.await_rest("2.0.0").await?;
    condition(&status, "Ready", "True")?;
    ensure!(status.phase == Phase::Stable && status.since == rest.since, "{:?}, then {:?}", rest.since, status.since);
    ensure!(status.blocked.is_empty(), "{:?}", status.blocked);
    none_failed(&traffic.stop().await)?;
    ensure!(app.pods("2.0.0").await? == pods, "pods have changed");
    app.at_rest(&before).await
}

/// A Git sync that always brings an old image back fights on at rest: that is told too.
pub async fn steady_fight_at_rest(story: &Story<'_>) -> Result<()> {
    let app = story.app(1).await?;
    let before = app.specs().await?.with_version("2.0.0");
    story.release(&spec().replace(", {pause: {}}", "")).await?;
    story.await_rest("2.0.0").await?;
    for _ in 0..6 {
        app.sync("1.0.0").await?;
        app.given_back("2.0.0").await?;
    }
    let status = story.await_status("tell of the fight", |status| contested(status) > 0).await?;
    condition(&status, "TemplateContested", "True")?;
    condition(&status, "TrafficContested", "absent")?;
    condition(&status, "Ready", "True")?;
    ensure!(status.phase == Phase::Stable, "it is {}", status.phase);
    story.await_status("forget the fight", |status| contested(status) == 0).await?;
    app.at_rest(&before).await
}
