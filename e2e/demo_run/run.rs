//! One release: watched from outside, by the Release's status, the route, the pods and what users got.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use futures::{Stream, StreamExt, pin_mut};
use jiff::Timestamp;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use lockkeeper_api::release::{GateKind, GateState, Phase, Release, ReleaseStatus};
use lockkeeper_e2e::Traffic;
use tokio::time::{Duration, Instant, interval, sleep_until};

use crate::report::{Measured, Outcome};
use crate::shop::{LIMIT, NAME, Shop};
use crate::view::View;

/// A share of fewer requests says little.
const SHARE_REQUESTS: u64 = 100;

/// What has been seen of a release so far.
struct Sighting {
    begun: Timestamp,
    /// The last confirmed weight, and since when it stands.
    weight: Option<(u8, Timestamp)>,
    max_weight_error: f64,
    /// Whether the route has had a weight for the new version, and since when it has none any more.
    exposed: bool,
    route_back: Option<Timestamp>,
    /// Since when the Release says that all traffic is back.
    back: Option<Timestamp>,
    /// Pods of the new version as promotion began.
    promoted: Option<BTreeMap<String, i32>>,
    approved: bool,
}

/// Asks for a version and follows it to its end, approving when it is asked for.
pub async fn release(shop: &Shop<'_>, traffic: &Traffic, version: &str, tag: &str) -> Result<Measured> {
    let stable_before = shop.stable_pods().await?;
    let mut seen = Sighting {
        begun: Timestamp::now(),
        weight: None,
        max_weight_error: 0.0,
        exposed: false,
        route_back: None,
        back: None,
        promoted: None,
        approved: false,
    };
    shop.ask_for(version, tag).await?;
    let releases = watch_object(shop.releases(), NAME).default_backoff().filter_map(async |seen| seen.ok().flatten());
    let routes = watch_object(shop.routes(), NAME).default_backoff().filter_map(async |seen| seen.ok().flatten());
    let outcome = follow(shop, traffic, (version, tag), &mut seen, releases, routes).await?;
    let ended = Timestamp::now();
    let totals = traffic.between(seen.begun, ended);
    let first_bad =
        totals.failures.iter().filter(|failure| failure.version.as_deref() == Some(tag)).map(|f| f.sent).min();
    let to_rollback = first_bad.zip(seen.route_back).map(|(bad, back)| seconds(bad, back));
    let pods_now = shop.stable_pods().await?;
    let pods_then = match outcome {
        Outcome::Succeeded => seen.promoted.context("promotion was not seen")?,
        Outcome::RolledBack => stable_before,
    };
    let kept = pods_then.iter().filter(|(uid, restarts)| pods_now.get(*uid) == Some(restarts)).count();
    Ok(Measured {
        version: version.to_owned(),
        outcome,
        duration_seconds: seconds(seen.begun, ended),
        requests: totals.requests,
        failed_requests: totals.failed(),
        failed_requests_after_rollback: seen.back.map_or(0, |back| traffic.between(back, ended).failed()),
        seconds_to_rollback: to_rollback.filter(|_| outcome == Outcome::RolledBack),
        pods_restarted: (pods_then.len().max(pods_now.len()) - kept) as u64,
        max_weight_error_percent: seen.max_weight_error,
    })
}

async fn follow(
    shop: &Shop<'_>,
    traffic: &Traffic,
    (version, tag): (&str, &str),
    seen: &mut Sighting,
    releases: impl Stream<Item = Release>,
    routes: impl Stream<Item = DynamicObject>,
) -> Result<Outcome> {
    pin_mut!(releases, routes);
    let (mut seconds, deadline) = (interval(Duration::from_secs(1)), Instant::now() + LIMIT);
    let (mut view, mut last) = (View::new(version), ReleaseStatus::default());
    loop {
        tokio::select! {
            Some(release) = releases.next() => {
                let current = release.status.as_ref().filter(|s| s.observed_generation == release.metadata.generation);
                let Some(status) = current else { continue };
                last = status.clone();
                seen.status(shop, traffic, tag, status).await?;
                // With the finalizer, everything of the user's has been given back.
                let at_rest = release.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
                if at_rest && let Some(outcome) = outcome(status, version)? {
                    view.show(&last, &traffic.between(seen.begun, Timestamp::now()));
                    return Ok(outcome);
                }
            }
            Some(route) = routes.next() => seen.route(&route),
            _ = seconds.tick() => view.show(&last, &traffic.between(seen.begun, Timestamp::now())),
            () = sleep_until(deadline) => bail!(
                "{version} came to no end within {} s: {} ({})", LIMIT.as_secs(), last.phase, last.message
            ),
        }
    }
}

/// How it has ended, if it has.
fn outcome(status: &ReleaseStatus, version: &str) -> Result<Option<Outcome>> {
    match status.phase {
        Phase::Stable => {
            let promoted = status.stable.as_ref().is_some_and(|stable| stable.version == version);
            Ok(promoted.then_some(Outcome::Succeeded))
        }
        Phase::RolledBack => Ok(Some(Outcome::RolledBack)),
        Phase::Aborted | Phase::Rejected | Phase::Invalid => bail!("{version} is {}: {}", status.phase, status.message),
        Phase::Waiting | Phase::Progressing | Phase::Paused | Phase::Promoting | Phase::Baking | Phase::RollingBack => {
            Ok(None)
        }
    }
}

impl Sighting {
    async fn status(&mut self, shop: &Shop<'_>, traffic: &Traffic, tag: &str, status: &ReleaseStatus) -> Result<()> {
        let now = Timestamp::now();
        let standing = status.weight.filter(|weight| weight.desired == weight.confirmed).map(|weight| weight.confirmed);
        if self.weight.map(|(weight, _)| weight) != standing {
            if let Some((weight, since)) = self.weight {
                let totals = traffic.between(since, now);
                if totals.requests >= SHARE_REQUESTS {
                    let error = (totals.share_percent(tag) - f64::from(weight)).abs();
                    self.max_weight_error = self.max_weight_error.max(error);
                }
            }
            self.weight = standing.map(|weight| (weight, now));
        }
        if status.phase == Phase::Promoting && self.promoted.is_none() {
            self.promoted = Some(shop.pods(tag).await?);
        }
        if self.back.is_none() && status.going_back.as_ref().is_some_and(|back| back.finished.is_some()) {
            self.back = Some(now);
        }
        let asked = status.gates.iter().any(|gate| gate.kind == GateKind::Approval && gate.state == GateState::Closed);
        if asked && !self.approved && status.phase == Phase::Paused {
            self.approved = true;
            shop.approve("go-wide").await?;
        }
        Ok(())
    }

    fn route(&mut self, route: &DynamicObject) {
        let backends = route.data["spec"]["rules"][0]["backendRefs"].as_array().map_or(&[][..], Vec::as_slice);
        let canary = backends.iter().filter(|backend| backend["name"] != NAME);
        let weight: i64 = canary.map(|backend| backend["weight"].as_i64().unwrap_or(1)).sum();
        if weight > 0 {
            self.exposed = true;
            self.route_back = None;
        } else if self.exposed && self.route_back.is_none() {
            self.route_back = Some(Timestamp::now());
        }
    }
}

fn seconds(from: Timestamp, until: Timestamp) -> f64 {
    until.duration_since(from).as_secs_f64()
}
