//! The product comes, changes and goes: from the chart and by kustomize, with releases at rest and in flight.

mod helm;
mod install;
mod leave;
mod uninstall;
mod upgrade;

use helm::{Chart, Values, chart};
pub use install::{by_kustomize, in_another_namespace, installed, installed_before_1_36, some_namespaces_only};
pub use leave::{kinds_deleted_midway, left_before_1_36, left_for_good, without_the_operator};
pub use uninstall::{uninstalled_at_rest, uninstalled_midway};
pub use upgrade::upgraded_in_flight;

use anyhow::{Context, Result};

use lockkeeper_e2e::Traffic;

use crate::harness::{App, Specs, Story, none_failed, with_images, without_images};

/// Two steps with a pause between them that somebody has to end.
const STEPS: &str = "{setWeight: 40}, {pause: {}}, {setWeight: 80}";

/// Version 2.0.0 under traffic at 40 %.
struct Midway<'a> {
    app: App<'a>,
    /// As it was before.
    before: Specs,
    traffic: Traffic,
}

async fn midway<'a>(story: &'a Story<'_>) -> Result<Midway<'a>> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&with_images("2.0.0", STEPS)).await?;
    story.await_confirmed(40).await?;
    Ok(Midway { app, before, traffic })
}

/// The Deployment was given version 2.0.0, and that was promoted under traffic.
async fn updated<'a>(story: &'a Story<'_>) -> Result<App<'a>> {
    let app = story.app(3).await?;
    let traffic = app.traffic();
    story.release(&without_images("{setWeight: 40}")).await?;
    story.await_rest("1.0.0").await?;
    app.set_version("2.0.0").await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    Ok(app)
}

/// The commands of a chapter of the README, each block one script, about this story's application instead of that of the tour.
fn commands(story: &Story<'_>, chapter: &str) -> Result<Vec<String>> {
    let readme = include_str!("../../README.md");
    let (_, text) = readme.split_once(&format!("\n## {chapter}\n")).with_context(|| format!("no chapter {chapter}"))?;
    let text = text.split("\n## ").next().unwrap_or(text);
    let blocks = text.split("\n```").skip(1).step_by(2);
    Ok(blocks
        .map(|block| {
            block
                .replace("registry.example.com/checkout-web:2.4.0", "demo:VERSION")
                .replace("checkout-web", "web")
                .replace("-n shop", &format!("-n {}", story.namespace))
        })
        .collect())
}
