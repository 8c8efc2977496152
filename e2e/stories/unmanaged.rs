//! A Release goes while nothing is in flight: what is left is an ordinary Deployment.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use lockkeeper_api::Release;
use lockkeeper_e2e::{User, wait};

use crate::harness::{LIMIT, Story, none_failed};

const SPEC: &str = "
workloads:
- ref: {kind: Deployment, name: web}
  service: web
  routes: [{kind: HTTPRoute, name: web}]
strategy: {canary: {steps: [{setWeight: 50}]}}
";

/// Nothing of ours stays on it, and its next version rolls out natively, as if there had never been a Release.
pub async fn release_deleted_at_rest(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.release(SPEC).await?;
    story.await_rest("1.0.0").await?;
    wait::object(&story.api::<Deployment>(), "web", "be managed", LIMIT, |deployment| {
        deployment.is_some_and(|deployment| !marks(deployment).is_empty())
    })
    .await?;
    let traffic = app.traffic();
    story.kubectl(User::Admin, &["delete", "release", "web"]).await?;
    ensure!(story.api::<Release>().get_opt("web").await?.is_none(), "the Release is still there");
    wait::object(&story.api::<Deployment>(), "web", "be nobody's", LIMIT, |deployment| {
        deployment.is_some_and(|deployment| marks(deployment).is_empty())
    })
    .await?;
    app.at_rest(&before).await?;
    app.set_version("2.0.0").await?;
    app.available().await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Our annotations, apart from the name of who asked for the version.
fn marks(deployment: &Deployment) -> Vec<&String> {
    let ours = deployment.annotations().keys().filter(|key| key.starts_with("lockkeeper.dev/"));
    ours.filter(|key| *key != "lockkeeper.dev/requested-by").collect()
}
