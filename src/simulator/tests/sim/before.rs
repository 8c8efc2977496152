//! What was before a seed begins, where that is the same for many: played once, without any weather.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lockkeeper_simulator::{
    api::Backup,
    run::{Plot, Sim},
};
use parking_lot::Mutex;
use serde_json::Value;

use crate::common::at;

/// How long 1.0.0 has run when a seed begins.
const BEFORE: Duration = Duration::from_secs(120);

/// All that has been played, by the objects with which it began, and when it ended.
static PLAYED: Mutex<BTreeMap<String, Arc<Backup>>> = Mutex::new(BTreeMap::new());

/// A plot that begins with 1.0.0 at rest. Windows come when it begins.
pub fn runs(plot: &mut Plot) {
    let (windows, objects): (Vec<Value>, Vec<Value>) =
        plot.objects.drain(..).partition(|object| object["kind"] == "DeploymentWindow");
    plot.objects = windows;
    let which = format!("{} {}", plot.begins, Value::from(objects.clone()));
    let known = PLAYED.lock().get(&which).cloned();
    let backup = known.unwrap_or_else(|| {
        let backup = Arc::new(play(Plot { begins: plot.begins - BEFORE, objects, ..Plot::new(0) }));
        PLAYED.lock().entry(which).or_insert(backup).clone()
    });
    plot.backup = Some(backup);
}

fn play(plot: Plot) -> Backup {
    let end = plot.begins + BEFORE;
    let played = Sim::play(plot, async |sim: &mut Sim| {
        sim.start()?;
        sim.until("1.0.0 stable", BEFORE, |objects| at(objects, "Stable", "1.0.0")).await?;
        sim.pass(end.duration_since(sim.now()).unsigned_abs()).await?;
        Ok(sim.shared.lock().back_up())
    });
    played.unwrap()
}
