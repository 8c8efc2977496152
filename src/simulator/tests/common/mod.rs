//! A plot that several tests play: 1.0.0 runs, 2.0.0 is good, 3.0.0 fails one request in ten.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part; helpers of tests are tests")]

use std::{collections::BTreeMap, error::Error, time::Duration};

use lockkeeper_simulator::{
    api::{Kind, Snapshot},
    run::{Plot, Sim, shop},
    world::{Act, Script, When, people},
};
use serde_json::{Value, json};

/// A run is a great many small pieces of JSON.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Steps with pauses.
pub const STEPS: &str = r#"[{"setWeight": 10}, {"pause": {"duration": "30s"}}, {"setWeight": 50}, {"setWeight": 100}]"#;

pub fn plot(seed: u64, steps: &str) -> Plot {
    let steps = serde_json::from_str(steps).unwrap();
    let objects =
        vec![shop::deployment("1.0.0", 4), shop::service(), shop::route(), shop::policy(), shop::release(steps)];
    let script = Script::default()
        .then(When::Once(Box::new(|objects| at(objects, "Stable", "1.0.0"))), ask_for("2.0.0"))
        .then(When::Once(Box::new(|objects| at(objects, "Stable", "2.0.0"))), ask_for("3.0.0-errors10"));
    Plot { objects, lines: true, actors: vec![Box::new(script)], ..Plot::new(seed) }
}

pub async fn play(sim: &mut Sim) -> Result {
    sim.start()?;
    let limit = Duration::from_secs(3600);
    sim.until("1.0.0 stable", limit, |objects| at(objects, "Stable", "1.0.0")).await?;
    sim.until("2.0.0 stable", limit, |objects| at(objects, "Stable", "2.0.0")).await?;
    sim.until("3.0.0 back", limit, |objects| release(objects)["status"]["phase"] == "RolledBack").await?;
    sim.pass(Duration::from_secs(600)).await?;
    let violations = sim.report.violations();
    assert!(violations.is_empty(), "{violations:#?}\n{}", sim.shared.trace().lines().join("\n"));
    Ok(())
}

pub fn release(objects: &Snapshot) -> &Value {
    objects.get(&shop::key(Kind::Release)).map_or(&Value::Null, |release| release.value())
}

pub fn at(objects: &Snapshot, phase: &str, version: &str) -> bool {
    let status = &release(objects)["status"];
    let part = if phase == "Stable" { "stable" } else { "candidate" };
    status["phase"] == phase && status[part]["version"] == version
}

pub fn ask_for(tag: &str) -> Act {
    people::set_image("dora", &shop::key(Kind::Deployment), &shop::image(tag))
}

/// What users have in the end: specs, and the parts of the status that do not depend on time.
pub fn end_state(sim: &Sim) -> BTreeMap<String, Value> {
    let server = sim.shared.lock();
    let objects = server.store().objects();
    let of = |kind| objects.within(kind, shop::NAMESPACE);
    let users = [Kind::Deployment, Kind::Service, Kind::HTTPRoute, Kind::ReplicaSet, Kind::ControllerRevision];
    let mut state: BTreeMap<String, Value> = users
        .into_iter()
        .flat_map(|kind| of(kind).map(move |object| (kind, object)))
        .map(|(kind, object)| {
            let metadata = &object["metadata"];
            let kept = json!({
                "labels": metadata["labels"], "finalizers": metadata["finalizers"], "spec": object["spec"],
                "marks": metadata["annotations"].as_object().into_iter().flatten()
                    .filter(|(key, _)| key.starts_with("lockkeeper.dev/")).collect::<BTreeMap<_, _>>(),
            });
            (format!("{kind:?} {}", metadata["name"]), kept)
        })
        .collect();
    let release = release(objects);
    let status = &release["status"];
    let parts = ["stable", "candidate"].map(|part| status[part]["version"].clone());
    state.insert("Release".into(), json!([status["phase"], parts, release["metadata"]["finalizers"]]));
    state
}
