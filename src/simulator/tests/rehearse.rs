//! The samples are played.

use lockkeeper_simulator::rehearse::{Case, Manifest, Recording, Scenario, play};

#[test]
fn thin() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/samples");
    let files: Vec<(String, String)> = ["gateway", "rollback-policy", "windows"]
        .map(|name| (name.to_owned(), std::fs::read_to_string(format!("{dir}/{name}.yaml")).unwrap()))
        .into();
    let manifest = Manifest::read(&files, "default").unwrap();
    let scenario = Scenario::default();
    for case in Case::all(&manifest) {
        for played in scenario.versions_played() {
            let started = std::time::Instant::now();
            let rehearsal = play(
                &manifest,
                &case,
                &scenario,
                &Recording::default(),
                &played,
                "2026-11-24T10:00:00Z".parse().unwrap(),
            )
            .unwrap();
            println!("--- {} {} {:?}", rehearsal.release, rehearsal.version, rehearsal.end);
            for beat in &rehearsal.timeline {
                println!("{:>10.1} {:?} {}", beat.after, beat.kind, beat.text);
            }
            println!("{:?} {:?}", rehearsal.loss, started.elapsed());
        }
    }
}
