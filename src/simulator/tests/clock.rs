//! The operator's clock jumps while a release runs: nothing that was promised depends on it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::Duration;

use common::{STEPS, ask_for, at, plot, release};
use jiff::{SignedDuration, Timestamp};
use lockkeeper_simulator::{
    api::{Kind, Snapshot},
    run::{Plot, Sim, many, shop},
    world::{Act, Script, Turn, When},
};
use serde_json::json;

const HOUR: i64 = 3600;

/// At each of these, in seconds, the clock jumps by so much, each some seconds after the one before.
type Jumps = &'static [i64];

const JUMPS: [Jumps; 5] = [&[HOUR], &[-HOUR], &[HOUR, -HOUR], &[-HOUR, HOUR], &[24 * HOUR, -24 * HOUR]];

/// The `moment`th change of the status of the Release on its way.
fn moments(moment: u64) -> impl Fn(&Snapshot) -> bool {
    let seen = parking_lot::Mutex::new((0, serde_json::Value::Null));
    move |objects| {
        let status = release(objects)["status"].clone();
        let mut seen = seen.lock();
        if status["candidate"].is_object() && seen.1 != status {
            *seen = (seen.0 + 1, status);
        }
        seen.0 > moment
    }
}

fn jumping(seed: u64, version: &'static str, moment: u64, jumps: Jumps) -> Plot {
    let mut plot = Plot { lines: false, ..plot(seed, STEPS) };
    let mut clock = Script::default();
    for (number, by) in jumps.iter().enumerate() {
        let skew = plot.skew.clone();
        let when = match number {
            0 => When::Once(Box::new(moments(moment))),
            _ => When::After(Duration::from_millis(1500)),
        };
        let jump: Act = Box::new(move |turn: &mut Turn<'_>| skew.jump(SignedDuration::from_secs(*by), turn.now));
        clock = clock.then(when, jump);
    }
    let first = When::Once(Box::new(|objects: &Snapshot| at(objects, "Stable", "1.0.0")));
    plot.actors = vec![Box::new(Script::default().then(first, ask_for(version))), Box::new(clock)];
    plot
}

/// Plays a version in spite of jumps at every moment; it ends as it should within this many true seconds.
fn check(version: &'static str, within: u64, ended: fn(&Snapshot) -> bool) {
    let every: u64 = if std::env::var_os("LOCKKEEPER_SIM_ALL").is_some() { 1 } else { 6 };
    let count = JUMPS.len() as u64;
    let failures = many(0..24 * count / every, 2, |number| {
        let (jumps, moment) = (JUMPS[(number % count) as usize], number / count * every);
        let played = Sim::play(jumping(number, version, moment, jumps), async |sim: &mut Sim| {
            sim.start()?;
            let outcome = sim.until("ended", Duration::from_secs(within), ended).await;
            let violations = sim.report.violations();
            let status = release(sim.shared.lock().store().objects())["status"].clone();
            assert!(
                outcome.is_ok() && violations.is_empty(),
                "{jumps:?} at {moment}: {outcome:?} {violations:#?} {status:#}"
            );
            Ok(())
        });
        played.map_err(|error| error.to_string())
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_good_version_comes_out_in_time_whatever_the_clock_says() {
    check("2.0.0", 300, |objects| at(objects, "Stable", "2.0.0"));
}

#[test]
fn a_bad_version_goes_back_in_time_whatever_the_clock_says() {
    check("2.0.0-errors10", 120, |objects| release(objects)["status"]["phase"] == "RolledBack");
}

/// Plays a version around a freeze from half past two, for half an hour, every night in Berlin. It begins at `begins`, and by the calendar on the wall the
/// freeze is from `from` until `until`, if it touches this release at all.
fn check_night(begins: &str, freeze: Option<(&str, &str)>) {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let mut plot = Plot { begins: time(begins), lines: false, ..plot(1, STEPS) };
    plot.objects.push(json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "DeploymentWindow", "metadata": {"name": "night", "namespace": shop::NAMESPACE},
        "spec": {"action": "Freeze", "reason": "nights", "schedule": {
            "start": "2026-01-01T02:30:00", "timeZone": "Europe/Berlin", "duration": "30m", "recurrence": "FREQ=DAILY"}},
    }));
    let first = When::Once(Box::new(|objects: &Snapshot| at(objects, "Stable", "1.0.0")));
    plot.actors = vec![Box::new(Script::default().then(first, ask_for("2.0.0")))];
    Sim::play(plot, async |sim: &mut Sim| {
        sim.start()?;
        sim.until("promoted", Duration::from_secs(2400), |objects| at(objects, "Stable", "2.0.0")).await?;
        assert_eq!(sim.report.violations(), []);
        let server = sim.shared.lock();
        let grows = server.store().history(Kind::Release).iter().filter(|change| {
            let desired =
                |release: &serde_json::Value| release["status"]["weight"]["desired"].as_u64().unwrap_or_default();
            change.before.as_ref().is_some_and(|before| desired(&change.object) > desired(before))
        });
        let grows: Vec<Timestamp> = grows.map(|change| change.at).collect();
        let Some((from, until)) = freeze.map(|(from, until)| (time(from), time(until))) else {
            assert!(server.now < time(begins) + Duration::from_secs(300), "nothing stands in its way: {}", server.now);
            return Ok(());
        };
        assert!(grows.iter().any(|at| *at < from) && grows.iter().any(|at| *at >= until), "{grows:?}");
        assert!(!grows.iter().any(|at| (from..until).contains(at)), "{grows:?}");
        assert!(server.now < until + Duration::from_secs(300), "nothing stands in its way any more: {}", server.now);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_freeze_in_the_hour_that_comes_twice_is_in_force_once() {
    check_night("2026-10-25T00:29:40Z", Some(("2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z")));
    check_night("2026-10-25T01:29:40Z", None);
}

#[test]
fn a_freeze_in_the_hour_that_never_comes_begins_with_the_next() {
    check_night("2027-03-28T00:59:40Z", Some(("2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z")));
}
