//! Two Deployments as one release.

use anyhow::{Result, ensure};
use lockkeeper_api::release::{GoingBackCause, Phase};

use crate::harness::{Story, none_failed};

fn spec(web: &str, api: &str) -> String {
    format!(
        "
version: v2
workloads:
- ref: {{kind: Deployment, name: web}}
  images: {{app: \"demo:{web}\"}}
  service: web
  routes: [{{kind: HTTPRoute, name: web}}]
- ref: {{kind: Deployment, name: api}}
  images: {{app: \"demo:{api}\"}}
  service: api
  routes: [{{kind: HTTPRoute, name: api}}]
strategy: {{canary: {{steps: [{{setWeight: 20}}, {{setWeight: 50}}, {{pause: {{duration: 20s}}}}]}}}}
"
    )
}

pub async fn both_promoted(story: &Story<'_>) -> Result<()> {
    let (web, api) = (story.app(2).await?, story.app_named("api", 3).await?);
    let (web_before, api_before) = (web.specs().await?, api.specs().await?);
    let traffic = [web.traffic(), api.traffic()];
    story.release(&spec("2.0.0", "2.0.0")).await?;
    story.await_rest("v2").await?;
    for traffic in traffic {
        none_failed(&traffic.stop().await)?;
    }
    web.at_rest(&web_before.with_version("2.0.0")).await?;
    api.at_rest(&api_before.with_version("2.0.0")).await
}

/// One crashes when both have half of the traffic: both go back.
pub async fn one_fails(story: &Story<'_>) -> Result<()> {
    let (web, api) = (story.app(2).await?, story.app_named("api", 3).await?);
    let (web_before, api_before) = (web.specs().await?, api.specs().await?);
    let traffic = web.traffic();
    story.release(&spec("2.0.0", "2.0.0-crashafter15s")).await?;
    let status = story.await_phase(Phase::RolledBack).await?;
    let cause = status.going_back.map(|back| back.cause);
    ensure!(cause == Some(GoingBackCause::CrashLoop), "it went back for {cause:?}");
    story.await_given_back().await?;
    // The other one's pods crash: that is no fault of the release.
    none_failed(&traffic.stop().await)?;
    web.at_rest(&web_before).await?;
    api.at_rest(&api_before).await
}
