//! The operator's own code brings out a version, and takes one back.

mod common;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use common::{STEPS, ask_for, at, end_state, play, plot};
use lockkeeper_simulator::{
    api::Kind,
    run::{Plot, Sim},
    world::{Script, When},
};

#[test]
fn a_good_version_is_promoted_and_a_bad_one_goes_back() {
    let started = std::time::Instant::now();
    let state = Sim::play(plot(1, STEPS), async |sim: &mut Sim| {
        play(sim).await?;
        if std::env::var_os("LOCKKEEPER_TRACE").is_some() {
            println!("{}", sim.shared.trace().lines().join("\n"));
        }
        Ok(end_state(sim))
    });
    println!("{:?} {state:#?}", started.elapsed());
    assert_eq!(
        state.unwrap()["Release"].to_string(),
        r#"["RolledBack",["2.0.0","3.0.0-errors10"],["lockkeeper.dev/handback"]]"#
    );
}

#[test]
fn a_run_that_begins_with_anothers_backup_changes_nothing_of_it_and_goes_on() {
    let hour = Duration::from_secs(3600);
    let alone = |plot: Plot| Plot { actors: Vec::new(), ..plot };
    let backup = Sim::play(alone(plot(1, STEPS)), async |sim: &mut Sim| {
        sim.start()?;
        sim.until("1.0.0 stable", hour, |objects| at(objects, "Stable", "1.0.0")).await?;
        sim.pass(hour).await?;
        Ok(sim.shared.lock().back_up())
    });
    let plot = plot(2, STEPS);
    let script = Script::default().then(When::At(hour), ask_for("2.0.0"));
    let begins = plot.begins + hour * 2;
    let backup = Some(Arc::new(backup.expect("a release comes to rest")));
    let plot = Plot { begins, backup, objects: Vec::new(), actors: vec![Box::new(script)], ..plot };
    let violations = Sim::play(plot, async |sim: &mut Sim| {
        let (before, pods) = {
            let server = sim.shared.lock();
            assert!(
                server.store().since(Kind::Pod, server.store().version() - 1).is_err(),
                "what led there is forgotten"
            );
            (server.store().version(), server.store().objects().of(Kind::Pod).count())
        };
        assert_eq!(pods, 4);
        sim.start()?;
        sim.pass(hour / 2).await?;
        assert_eq!(sim.shared.lock().store().version(), before, "kubelets, gateway and controllers find all as it is");
        sim.until("2.0.0 stable", hour, |objects| at(objects, "Stable", "2.0.0")).await?;
        let server = sim.shared.lock();
        let uids: BTreeSet<&str> = server.store().objects().all().map(|(_, object)| object.uid()).collect();
        assert_eq!(uids.len(), server.store().objects().all().count(), "no UID is given twice");
        Ok(sim.report.violations())
    });
    assert_eq!(violations.expect("it goes on"), []);
}
