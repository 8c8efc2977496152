//! The operator's own code brings out a version, and takes one back.

use std::{error::Error, time::Duration};

use lockkeeper_simulator::{
    api::{Caller, Key, Kind, Part, Snapshot, User},
    run::{Plot, Sim, shop},
    world::{Script, Turn, When},
};
use serde_json::{Value, json};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn plot(seed: u64) -> Plot {
    let steps = json!([{"setWeight": 10}, {"pause": {"duration": "30s"}}, {"setWeight": 50}, {"pause": {"duration": "1m"}}, {"setWeight": 100}]);
    let objects = vec![shop::deployment("1.0.0", 4), shop::service(), shop::route(), shop::policy(), shop::release(steps)];
    Plot { objects, lines: true, ..Plot::new(seed) }
}

fn release(objects: &Snapshot) -> &Value {
    objects.get(&Key::new(Kind::Release, shop::NAMESPACE, shop::NAME)).map_or(&Value::Null, |release| release.value())
}

fn at(objects: &Snapshot, phase: &str, version: &str) -> bool {
    let status = &release(objects)["status"];
    let part = if phase == "Stable" { "stable" } else { "candidate" };
    status["phase"] == phase && status[part]["version"] == version
}

fn ask_for(tag: &'static str) -> impl FnOnce(&mut Turn<'_>) + Send {
    move |turn| {
        let key = Key::new(Kind::Deployment, shop::NAMESPACE, shop::NAME);
        let dora = Caller::new(User::new("dora", &[]));
        let changed = turn.server.update(&dora, &key, Part::Main, |deployment| {
            let mut deployment = deployment.clone();
            deployment["spec"]["template"]["spec"]["containers"][0]["image"] = shop::image(tag).into();
            Ok(deployment)
        });
        assert!(changed.is_ok(), "{changed:?}");
    }
}

async fn play(sim: &mut Sim) -> Result<u64> {
    sim.start()?;
    let limit = Duration::from_secs(3600);
    sim.until("1.0.0 stable", limit, |objects| at(objects, "Stable", "1.0.0")).await?;
    sim.until("2.0.0 stable", limit, |objects| at(objects, "Stable", "2.0.0")).await?;
    sim.until("3.0.0 back", limit, |objects| release(objects)["status"]["phase"] == "RolledBack").await?;
    sim.pass(Duration::from_secs(3600)).await?;
    let digest = sim.shared.trace().digest();
    Ok(digest)
}

#[test]
fn a_good_version_is_promoted_and_a_bad_one_goes_back() {
    let mut plot = plot(1);
    let script = Script::default()
        .then(When::Once(Box::new(|objects| at(objects, "Stable", "1.0.0"))), ask_for("2.0.0"))
        .then(When::Once(Box::new(|objects| at(objects, "Stable", "2.0.0"))), ask_for("3.0.0-errors10"));
    plot.actors.push(Box::new(script));
    let started = std::time::Instant::now();
    let result = Sim::play(plot, async |sim: &mut Sim| {
        let result = play(sim).await;
        for line in sim.shared.trace().lines() {
            println!("{line}");
        }
        println!("{}", release(sim.shared.lock().store().objects())["status"]);
        result
    });
    println!("{:?}", started.elapsed());
    assert!(result.is_ok(), "{result:?}");
}
