//! The product changes its version while releases are on their way.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::{Cluster, User};
use tempfile::TempDir;

use super::{Chart, Midway, STEPS, Values, chart, midway};
use crate::harness::{App, GATE_AND_BAKE, Story, bake, none_failed, with_images};

/// The chart as a package of this version, as a registry has it.
async fn package(cluster: &Cluster, directory: &Path, version: &str) -> Result<PathBuf> {
    let (chart, to) = (chart().display().to_string(), directory.display().to_string());
    let (version, app) = (format!("--version={version}"), format!("--app-version={version}-previous"));
    cluster.helm(["package", &chart, "--destination", &to, &version, &app]).await?;
    let package = directory.read_dir()?.next().context("there is no package")??;
    Ok(package.path())
}

/// Nothing is lost and no request fails, neither by the upgrade nor by the way back from it.
pub async fn upgraded_in_flight(story: &Story<'_>) -> Result<()> {
    let directory = TempDir::new()?;
    let previous = package(story.cluster(), directory.path(), "0.0.9").await?;
    let chart = Chart::prepare(story.cluster(), Values::default()).await?;
    chart.install_from(&previous).await?;
    let images = story.cluster().kubectl(User::Admin, ["get", "pods", "-A", "-o", IMAGES]).await?;
    ensure!(images.contains("lockkeeper:0.0.9-previous"), "the previous version does not run: {images}");

    let (waiting, baking) =
        (Story::begin(story.stage, "chart-waiting").await?, Story::begin(story.stage, "chart-baking").await?);
    let (at_40, held, promoted) = tokio::try_join!(midway(story), gated(&waiting), in_bake(&baking))?;
    let Midway { app: at_40, traffic, .. } = at_40;
    let traffic = [traffic, held.traffic(), promoted.traffic()];
    let exposure = at_40.exposure().await?;

    chart.install().await?;
    unmoved(story, &waiting, &baking).await?;
    exposure.always(40)?;
    chart.rollback().await?;
    unmoved(story, &waiting, &baking).await?;
    exposure.always(40)?;
    chart.install().await?;
    unmoved(story, &waiting, &baking).await?;
    exposure.always(40)?;

    story.decide(User::Alice, Verdict::Resume, None).await?;
    waiting.approved_to(40).await?;
    waiting.decide(User::Alice, Verdict::Abort, None).await?;
    baking.decide(User::Alice, Verdict::Rollback, None).await?;
    let ends = (story.await_rest("2.0.0"), waiting.await_phase(Phase::Aborted), baking.await_phase(Phase::RolledBack));
    tokio::try_join!(ends.0, ends.1, ends.2)?;
    exposure.never_above_the_step()?;
    for traffic in traffic {
        none_failed(&traffic.stop().await)?;
    }
    chart.was_refused_nothing().await
}

const IMAGES: &str = "jsonpath={.items[*].spec.containers[*].image}";

async fn gated<'a>(story: &'a Story<'_>) -> Result<App<'a>> {
    let app = story.app(2).await?;
    story.apply(&bake("1s")).await?;
    story.release(&(with_images("2.0.0", STEPS) + GATE_AND_BAKE)).await?;
    story.await_phase(Phase::Waiting).await?;
    Ok(app)
}

async fn in_bake<'a>(story: &'a Story<'_>) -> Result<App<'a>> {
    let app = story.app(2).await?;
    story.apply(&bake("1h")).await?;
    story.release(&(with_images("2.0.0", "{setWeight: 50}") + "rollbackPolicy: bake\n")).await?;
    story.await_phase(Phase::Baking).await?;
    Ok(app)
}

/// Each is where it was.
async fn unmoved(midway: &Story<'_>, waiting: &Story<'_>, baking: &Story<'_>) -> Result<()> {
    for (story, phase) in [(midway, Phase::Paused), (waiting, Phase::Waiting), (baking, Phase::Baking)] {
        let status = story.status().await?;
        ensure!(status.phase == phase, "{} is {} and not {phase}: {}", story.namespace, status.phase, status.message);
    }
    Ok(())
}
