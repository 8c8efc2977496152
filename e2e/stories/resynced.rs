//! A Git sync applies the user's manifests every 5 s during a whole release, and afterwards.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{Phase, ReleaseStatus};
use lockkeeper_e2e::User;
use tokio::time::interval;

use crate::harness::{App, Story, none_failed};

const SPEC: &str = "
workloads:
- ref: {kind: Deployment, name: web}
  IMAGES
  service: web
  routes: [{kind: HTTPRoute, name: web}]
strategy:
  canary:
    steps: [{setWeight: 20}, {pause: {duration: 8s}}, {setWeight: 60}, {pause: {duration: 8s}}, {setWeight: 100}]
";

const PERIOD: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// Server-side apply that takes fields from others, as Flux does.
    ServerSide,
    /// `kubectl apply`, as Argo CD does by default.
    ClientSide,
}

impl Sync {
    async fn once(self, app: &App<'_>, version: &str) -> Result<()> {
        match self {
            Sync::ServerSide => app.sync(version).await,
            Sync::ClientSide => app.sync_client_side(version).await,
        }
    }

    /// Ends only when a sync is refused.
    async fn always(self, app: &App<'_>, version: &str, syncs: &AtomicU32) -> Result<Infallible> {
        let mut ticks = interval(PERIOD);
        loop {
            ticks.tick().await;
            self.once(app, version).await?;
            syncs.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The release goes on as if nobody else wrote, and its version runs on when the sync goes on after it.
async fn released_despite(story: &Story<'_>, sync: Sync, images: &str, in_git: &str) -> Result<()> {
    let app = story.app(3).await?;
    sync.once(&app, "1.0.0").await?;
    app.available().await?;
    let before = app.specs().await?.with_version("2.0.0");
    if images.is_empty() {
        story.release(&SPEC.replace("IMAGES", "")).await?;
        story.await_rest("1.0.0").await?;
    }
    let (exposure, traffic) = (app.exposure().await?, app.traffic());
    let syncs = AtomicU32::new(0);
    let released = async {
        if !images.is_empty() {
            story.release(&SPEC.replace("IMAGES", images)).await?;
        }
        story
            .await_status("be promoted", |status| {
                status.phase == Phase::Stable && status.stable.as_ref().is_some_and(|stable| stable.version == "2.0.0")
            })
            .await?;
        let during = syncs.load(Ordering::Relaxed);
        ensure!(during >= 3, "there were only {during} syncs during the release");
        let pods = app.pods("2.0.0").await?;
        two_more(&syncs).await;
        Ok(pods)
    };
    let pods = tokio::select! {
        refused = sync.always(&app, in_git, &syncs) => match refused? {},
        pods = released => pods?,
    };
    story.await_rest("2.0.0").await?;
    app.given_back("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    ensure!(exposure.never_above_the_step()? == 100, "the release did not go through its steps");
    ensure!(app.pods("2.0.0").await? == pods, "the sync has changed the pods of the new version");
    ensure!(app.pods("1.0.0").await?.is_empty(), "pods of the old version run");
    app.at_rest(&before).await
}

/// Waits until two more syncs have begun, of which the first is whole.
async fn two_more(syncs: &AtomicU32) {
    let until = syncs.load(Ordering::Relaxed) + 2;
    let mut ticks = interval(Duration::from_millis(200));
    while syncs.load(Ordering::Relaxed) < until {
        ticks.tick().await;
    }
}

/// Aborted while Git goes on to ask for the version: traffic goes back and stays back, until Git asks for the old one.
async fn aborted_despite(story: &Story<'_>, sync: Sync) -> Result<()> {
    let app = story.app(3).await?;
    sync.once(&app, "1.0.0").await?;
    app.available().await?;
    let (before, pods) = (app.specs().await?, app.pods("1.0.0").await?);
    story.release(&SPEC.replace("IMAGES", "").replace("duration: 8s", "")).await?;
    story.await_rest("1.0.0").await?;
    let (exposure, traffic) = (app.exposure().await?, app.traffic());
    let syncs = AtomicU32::new(0);
    let aborted = async {
        story.await_confirmed(20).await?;
        two_more(&syncs).await;
        story.decide(User::Alice, Verdict::Abort, None).await?;
        let over = |status: &ReleaseStatus| status.phase == Phase::Aborted && status.message.contains("Retry");
        story.await_status("have gone back", over).await?;
        two_more(&syncs).await;
        story.await_status("stay back", over).await
    };
    tokio::select! {
        refused = sync.always(&app, "2.0.0", &syncs) => match refused? {},
        aborted = aborted => drop(aborted?),
    }
    ensure!(app.paused().await?, "the Deployment rolls the aborted version out by itself");
    ensure!(app.pods("2.0.0").await?.is_empty(), "pods of the aborted version run");
    sync.once(&app, "1.0.0").await?;
    story.await_rest("1.0.0").await?;
    app.given_back("1.0.0").await?;
    none_failed(&traffic.stop().await)?;
    ensure!(exposure.never_above_the_step()? == 20, "the release did not go as told");
    ensure!(app.pods("1.0.0").await? == pods, "pods of the stable version have changed");
    app.at_rest(&before).await
}

const IMAGES: &str = "images: {app: \"demo:2.0.0\"}";

/// The Release carries the version, and Git still has the old image.
pub async fn images_server_side(story: &Story<'_>) -> Result<()> {
    released_despite(story, Sync::ServerSide, IMAGES, "1.0.0").await
}

/// The same with client-side apply.
pub async fn images_client_side(story: &Story<'_>) -> Result<()> {
    released_despite(story, Sync::ClientSide, IMAGES, "1.0.0").await
}

/// Git carries the version.
pub async fn deployment_server_side(story: &Story<'_>) -> Result<()> {
    released_despite(story, Sync::ServerSide, "", "2.0.0").await
}

/// The same with client-side apply.
pub async fn deployment_client_side(story: &Story<'_>) -> Result<()> {
    released_despite(story, Sync::ClientSide, "", "2.0.0").await
}

pub async fn aborted_server_side(story: &Story<'_>) -> Result<()> {
    aborted_despite(story, Sync::ServerSide).await
}

pub async fn aborted_client_side(story: &Story<'_>) -> Result<()> {
    aborted_despite(story, Sync::ClientSide).await
}
