//! The operator's own code brings out a version, and takes one back.

mod common;

use common::{STEPS, end_state, play, plot};
use lockkeeper_simulator::run::Sim;

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
