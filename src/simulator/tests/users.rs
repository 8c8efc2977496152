//! Others act while a release runs: autoscalers, Git syncs, people, a second operator. Nothing breaks, and the end is a defined one.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::Duration;

use common::{Result, STEPS, at, plot, release};
use lockkeeper_simulator::{
    api::{Call, Disposition, Kind, Snapshot, Status, Verb},
    run::{Leads, Sim, many, shop},
    world::{Act, Script, When, people},
};
use serde_json::json;

/// At 10 %, the weight confirmed.
fn exposed(objects: &Snapshot) -> bool {
    release(objects)["status"]["weight"]["confirmed"] == 10
}

/// Plays 2.0.0 for some seeds, while somebody does this once it has traffic; it ends as `holds` says, and no promise is broken.
fn check(act: impl Fn() -> Act + Sync, holds: impl Fn(&Snapshot) -> bool + Sync) {
    let failures = many(0..4, 2, |seed| {
        let mut plot = plot(seed, STEPS);
        plot.actors.push(Box::new(Script::default().then(When::Once(Box::new(exposed)), act())));
        let played = Sim::play(plot, async |sim: &mut Sim| {
            sim.start()?;
            let limit = Duration::from_secs(1200);
            sim.until("exposed", limit, exposed).await?;
            let ended = sim.until("as it should end", limit, &holds).await;
            let violations = sim.report.violations();
            let told = || sim.shared.trace().lines().join("\n");
            assert!(violations.is_empty(), "{violations:#?}\n{}", told());
            assert!(
                ended.is_ok(),
                "{ended:?}\n{}\n{:#}",
                told(),
                release(sim.shared.lock().store().objects())["status"]
            );
            Ok(())
        });
        played.map_err(|error| error.to_string())
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

fn promoted(objects: &Snapshot) -> bool {
    at(objects, "Stable", "2.0.0")
}

#[test]
fn an_autoscaler_changes_the_scale() {
    check(
        || people::scale(&shop::key(Kind::Deployment), 7),
        |objects| {
            let deployment = objects.get(&shop::key(Kind::Deployment)).unwrap();
            promoted(objects) && deployment["status"]["availableReplicas"] == 7
        },
    );
}

#[test]
fn a_sync_writes_the_route_as_it_is_in_git() {
    check(|| people::sync(shop::route()), promoted);
}

#[test]
fn a_sync_writes_the_service_as_it_is_in_git() {
    check(|| people::sync(shop::service()), promoted);
}

#[test]
fn somebody_resumes_the_deployment() {
    check(
        || {
            people::change("dora", &shop::key(Kind::Deployment), |deployment| {
                deployment["spec"]["paused"] = json!(false)
            })
        },
        promoted,
    );
}

#[test]
fn a_sync_brings_the_stable_version_back() {
    check(
        || people::set_image("dora", &shop::key(Kind::Deployment), &shop::image("1.0.0")),
        |objects| at(objects, "Stable", "1.0.0") && release(objects)["metadata"]["finalizers"].is_null(),
    );
}

#[test]
fn a_person_aborts() {
    check(
        || people::decide("olga", &shop::key(Kind::Release), "Abort", None),
        |objects| release(objects)["status"]["phase"] == "Aborted",
    );
}

#[test]
fn the_release_is_deleted() {
    check(
        || people::delete("dora", &shop::key(Kind::Release)),
        |objects| {
            let service = objects.get(&shop::key(Kind::Service)).unwrap();
            objects.get(&shop::key(Kind::Release)).is_none() && service["spec"]["selector"] == json!({"app": "web"})
        },
    );
}

/// Found by random plots: the ReplicaSet that was left had just been given back, with the Deployment's own template, and was taken for one
/// that the Deployment had restarted; the Service was unpinned while its pods still ran.
#[test]
fn a_version_left_after_its_handover_gets_no_request_while_its_pods_end() -> Result {
    for seed in 0..8 {
        let mut plot = plot(seed, STEPS);
        // The Deployment controls it, and the Service is pinned to it.
        let taken_over = |objects: &Snapshot| {
            let status = &release(objects)["status"];
            let pin = &objects.get(&shop::key(Kind::Service)).unwrap()["spec"]["selector"]["pod-template-hash"];
            status["phase"] == "Promoting" && *pin == status["candidate"]["workloads"][0]["hash"]
        };
        let abort = people::decide("olga", &shop::key(Kind::Release), "Abort", None);
        plot.actors.push(Box::new(Script::default().then(When::Once(Box::new(taken_over)), abort)));
        Sim::play(plot, async |sim: &mut Sim| {
            sim.start()?;
            let back = |objects: &Snapshot| release(objects)["status"]["phase"] == "Aborted";
            sim.until("aborted", Duration::from_secs(1200), back).await?;
            sim.pass(Duration::from_secs(60)).await?;
            assert_eq!(sim.report.violations(), [], "seed {seed}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_second_operator_takes_over_when_the_leader_dies() -> Result {
    Sim::play(plot(5, STEPS), async |sim: &mut Sim| {
        let clock = sim.shared.clock().clone();
        let first = sim.start_as(Leads::Elected("first".into()), clock.clone())?;
        sim.start_as(Leads::Elected("second".into()), clock)?;
        let limit = Duration::from_secs(1200);
        sim.until("exposed", limit, exposed).await?;
        sim.kill(first);
        sim.until("promoted", limit, promoted).await?;
        assert_eq!(sim.report.violations(), []);
        Ok(())
    })
}

#[test]
fn two_operators_that_both_believe_they_lead_do_not_act_twice() -> Result {
    Sim::play(plot(6, STEPS), async |sim: &mut Sim| {
        sim.start()?;
        sim.start()?;
        sim.until("promoted", Duration::from_secs(1200), promoted).await?;
        assert_eq!(sim.report.violations(), []);
        let told = sim.shared.trace().events().iter().filter(|event| event.reason == "Promoted").count();
        assert_eq!(told, 1, "published once");
        Ok(())
    })
}

/// Lists work, and watches of everything but Releases: what its cache knows of those stays as it was at the start.
fn without_news_of_releases(call: &Call, _: u64, _: u64) -> Disposition {
    if matches!(call.verb, Verb::Watch { .. }) && call.key.kind == Kind::Release {
        return Disposition::Refuse(Status::new(503, "ServiceUnavailable", "simulated"), None);
    }
    Disposition::Pass
}

/// Two processes, of which the second knows nothing newer of the Release than that 1.0.0 was stable; it would unpin and delete what the
/// other one has made.
async fn with_an_old_release(sim: &mut Sim, leads: [Leads; 2]) -> Result {
    let limit = Duration::from_secs(1200);
    let clock = sim.shared.clock().clone();
    let [first, second] = leads;
    let first = sim.start_as(first, clock.clone())?;
    sim.until("stable", limit, |objects| at(objects, "Stable", "1.0.0")).await?;
    sim.next_fault(without_news_of_releases);
    sim.start_as(second, clock)?;
    sim.until("exposed", limit, exposed).await?;
    sim.kill(first);
    // More than a Lease lasts, and shorter than the pause of the step.
    sim.pass(Duration::from_secs(25)).await?;
    assert!(exposed(sim.shared.lock().store().objects()), "nothing has happened to it");
    sim.calm();
    sim.until("promoted", limit, promoted).await?;
    sim.pass(Duration::from_secs(60)).await?;
    assert_eq!(sim.report.violations(), []);
    Ok(())
}

#[test]
fn a_new_leader_whose_release_is_old_writes_nothing() -> Result {
    let elected = |name: &str| Leads::Elected(name.into());
    for leads in [[elected("first"), elected("second")], [Leads::Always, Leads::Always]] {
        Sim::play(plot(7, STEPS), async |sim: &mut Sim| with_an_old_release(sim, leads).await)?;
    }
    Ok(())
}
