//! The checkers see what an operator must not do: each sentence is one write in its name that breaks one promise.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::Duration;

use common::{STEPS, plot, release};
use lockkeeper_simulator::{
    api::{Caller, Key, Kind, Part, Patch, Snapshot, User},
    run::{Sim, shop},
    world::{Act, Script, Turn, When},
};
use serde_json::{Value, json};

/// At 10 %, the weight confirmed, in the pause.
fn pausing(objects: &Snapshot) -> bool {
    let status = &release(objects)["status"];
    status["step"]["index"] == 1 && status["weight"]["confirmed"] == 10
}

fn hash(turn: &Turn<'_>, part: &str) -> String {
    let release = turn.server.get(&shop::key(Kind::Release)).unwrap();
    release["status"][part]["workloads"][0]["hash"].as_str().unwrap().to_owned()
}

/// A write in the operator's name.
fn write(turn: &mut Turn<'_>, kind: Kind, name: &str, patch: Value) {
    let caller = Caller { manager: "lockkeeper".into(), ..Caller::new(User::operator()) };
    let key = Key::new(kind, shop::NAMESPACE, name);
    turn.server.patch(&caller, &key, Part::Main, &Patch::Merge(patch)).unwrap();
}

fn weigh(turn: &mut Turn<'_>, canary: u8) {
    let backends = json!([{"name": "web", "port": 80, "weight": 100 - canary}, {"name": "web-canary", "port": 80, "weight": canary}]);
    write(turn, Kind::HTTPRoute, "web", json!({"spec": {"rules": [{"backendRefs": backends}]}}));
}

/// What is broken within a second of it.
fn broken_by(act: impl FnOnce(&mut Turn<'_>) + Send + 'static) -> Vec<&'static str> {
    let mut plot = plot(3, STEPS);
    let act: Act = Box::new(act);
    plot.actors.push(Box::new(Script::default().then(When::Once(Box::new(pausing)), act)));
    Sim::play(plot, async |sim: &mut Sim| {
        sim.start()?;
        sim.until("pausing", Duration::from_secs(600), pausing).await?;
        let before = sim.report.violations();
        assert!(before.is_empty(), "{before:#?}");
        sim.pass(Duration::from_secs(1)).await?;
        Ok(sim.report.violations().into_iter().map(|violation| violation.promise).collect())
    })
    .unwrap()
}

#[test]
fn a_weight_beyond_the_step_breaks_s1() {
    assert!(broken_by(|turn| weigh(turn, 11)).contains(&"S1"));
    assert_eq!(broken_by(|turn| weigh(turn, 10)), [""; 0]);
}

#[test]
fn scaling_away_what_serves_breaks_s2() {
    let broken = broken_by(|turn| {
        let stable = hash(turn, "stable");
        write(turn, Kind::ReplicaSet, &format!("web-{stable}"), json!({"spec": {"replicas": 0}}));
    });
    // The Deployment's controller puts it back before a pod has gone.
    assert_eq!(broken, ["S2"]);
}

#[test]
fn scaling_the_deployment_down_breaks_s7() {
    let broken = broken_by(|turn| write(turn, Kind::Deployment, "web", json!({"spec": {"replicas": 2}})));
    assert!(broken.contains(&"S7"), "{broken:?}");
}

#[test]
fn aiming_a_service_elsewhere_under_traffic_breaks_s2() {
    let broken = broken_by(|turn| {
        let candidate = hash(turn, "candidate");
        write(turn, Kind::Service, "web", json!({"spec": {"selector": {"pod-template-hash": candidate}}}));
    });
    assert!(broken.contains(&"S2"), "{broken:?}");
    assert!(broken.contains(&"S1"), "{broken:?}");
}

#[test]
fn weight_while_suspended_breaks_s5() {
    let broken = broken_by(|turn| {
        let olga = Caller::new(User::new("olga", &[]));
        let suspended = json!({"spec": {"suspend": true, "strategy": {"canary": {"steps": [{"setWeight": 10}, {"setWeight": 50}]}}}});
        let at = turn.now;
        // Long enough ago for the operator to know.
        turn.server.now = at - Duration::from_secs(5);
        turn.server.patch(&olga, &shop::key(Kind::Release), Part::Main, &Patch::Merge(suspended)).unwrap();
        turn.server.now = at;
        weigh(turn, 50);
    });
    assert!(broken.contains(&"S5"), "{broken:?}");
}

#[test]
fn adopting_the_candidate_beside_the_stable_version_breaks_s8() {
    let broken = broken_by(|turn| {
        let candidate = format!("web-{}", hash(turn, "candidate"));
        let deployment = turn.server.get(&shop::key(Kind::Deployment)).unwrap();
        let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": deployment["metadata"]["uid"], "controller": true});
        write(
            turn,
            Kind::ReplicaSet,
            &candidate,
            json!({"metadata": {"labels": {"app": "web"}, "ownerReferences": [owner]}}),
        );
    });
    assert!(broken.contains(&"S8"), "{broken:?}");
}
