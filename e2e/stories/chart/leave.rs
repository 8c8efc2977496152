//! Away from the product: in order, and by hand, as the README says. Its commands are run as they are written there.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, ResourceExt};
use lockkeeper_api::decision::Verdict;
use lockkeeper_e2e::{MutatingPolicies, User, wait};

use super::{Chart, Midway, STEPS, Values, commands, midway};
use crate::harness::{GATE_AND_BAKE, LIMIT, Story, bake, none_failed, with_images, without_images};

/// Everything in flight is given back before the operator goes, and then nothing of the product is left anywhere.
async fn left(story: &Story<'_>, chart: &Chart<'_>) -> Result<()> {
    for script in commands(story, "Uninstall")? {
        story.cluster().bash(&script).await.with_context(|| script.clone())?;
    }
    ensure!(chart.pods().await?.is_empty(), "pods are left");
    let kinds = "crd,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let left = story.cluster().kubectl(User::Admin, ["get", kinds, "-o", "name"]).await?;
    ensure!(!left.contains("lockkeeper"), "this is left:\n{left}");
    let deployment = story.api::<Deployment>().get("web").await?;
    let ours: Vec<_> = deployment.annotations().keys().filter(|name| name.starts_with("lockkeeper.dev/")).collect();
    ensure!(ours.is_empty(), "{ours:?} are left on the Deployment");
    Ok(())
}

pub async fn left_for_good(story: &Story<'_>) -> Result<()> {
    let chart = Chart::prepare(story.cluster(), Values::default()).await?;
    chart.install().await?;
    let Midway { app, before, traffic } = midway(story).await?;
    left(story, &chart).await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before).await?;
    // It is free.
    app.set_version("3.0.0").await?;
    app.available().await
}

pub async fn left_before_1_36(story: &Story<'_>) -> Result<()> {
    let values = Values { policies: MutatingPolicies::Absent, ..Values::default() };
    let chart = Chart::prepare(story.cluster(), values).await?;
    chart.install().await?;
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&without_images("{setWeight: 40}")).await?;
    story.await_rest("1.0.0").await?;
    ensure!(app.paused().await?, "it is not paused at rest");
    left(story, &chart).await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before).await?;
    app.set_version("2.0.0").await?;
    app.available().await
}

/// People end a release by hand, and with the operator: mid-way back to the stable version, and while it bakes on to the new one.
pub async fn without_the_operator(story: &Story<'_>) -> Result<()> {
    let chart = Chart::prepare(story.cluster(), Values::default()).await?;
    let app = story.app(3).await?;
    let before = app.specs().await?;
    for (stable, version) in [("1.0.0", "1.0.0"), ("1.0.0", "2.0.0")] {
        chart.install().await?;
        story.apply(&bake("1h")).await?;
        story.release(&with_images(stable, STEPS)).await?;
        story.await_rest(stable).await?;
        let traffic = app.traffic();
        story.release(&(with_images("2.0.0", STEPS) + GATE_AND_BAKE)).await?;
        story.approved_to(40).await?;
        if version == "2.0.0" {
            story.decide(User::Alice, Verdict::Promote, None).await?;
            story.await_phase(lockkeeper_api::release::Phase::Baking).await?;
        }
        for script in commands(story, "Without the operator")? {
            let script = script.replace("VERSION", version);
            // Those pods are only to go when the new version is bad.
            if version == "2.0.0" && script.contains("kubectl scale replicaset") {
                continue;
            }
            story.cluster().bash(&script).await.with_context(|| script.clone())?;
        }
        none_failed(&traffic.stop().await)?;
        app.available().await?;
        app.at_rest(&before.clone().with_version(version)).await?;
    }
    Ok(())
}

/// The kinds are deleted mid-way while no operator runs: they wait for the Release, until Lockkeeper is back and ends it.
pub async fn kinds_deleted_midway(story: &Story<'_>) -> Result<()> {
    let chart = Chart::prepare(story.cluster(), Values::default()).await?;
    chart.install().await?;
    let Midway { app, before, traffic } = midway(story).await?;
    chart.uninstall().await?;
    let delete =
        "kubectl delete crd {releases,deploymentwindows,rollbackpolicies,decisions}.lockkeeper.dev --wait=false";
    story.cluster().bash(delete).await?;
    // It cannot become what Helm would wait for: the kinds go as soon as the release has ended.
    chart.begin_to_install().await?;
    let kinds = Api::<CustomResourceDefinition>::all(story.cluster().client(User::Admin));
    wait::object(&kinds, "releases.lockkeeper.dev", "be gone", LIMIT, |kind| kind.is_none()).await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before).await?;
    chart.install().await?;
    story.release(&with_images("2.0.0", "{setWeight: 50}")).await?;
    story.await_rest("2.0.0").await.map(drop)
}
