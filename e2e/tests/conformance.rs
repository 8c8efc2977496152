//! Whether the simulator's model of a cluster does what a real control plane does.
//!
//! Each scenario is written once, as requests of a `kube::Client`, and played in both worlds: in the model, on a virtual clock, and on
//! the local cluster, with the operator's process. After each act both come to rest, and answers and states have to be equal.

#[path = "crds/changes.rs"]
mod bad_objects;
mod conformance {
    pub mod difference;
    pub mod names;
    pub mod play;
    pub mod scenarios;
    pub mod state;
    pub mod world;
}

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use lockkeeper_e2e::{MutatingPolicies, Suite, Test};
use lockkeeper_simulator::run::{Plot, Sim};

use conformance::play::{Play, Step};
use conformance::world::{Model, Real, Stage, World};
use conformance::{difference, names, play, scenarios, state, world};

fn main() -> ExitCode {
    // They wait most of the time.
    Suite::main(32, |suite| {
        let tests = scenarios::all().into_iter();
        // The model has the policies of Kubernetes 1.36.
        match MutatingPolicies::possible().contains(&MutatingPolicies::Served) {
            true => suite.run(Stage::set(), tests.collect()),
            false => suite.run(Stage::set(), tests.map(|test| test.skipped("the model is of 1.36")).collect()),
        }
    })
}

/// Whether the operator acts in a scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Acts,
    IsNotThere,
}

/// The scenario of this name, in both worlds, in a namespace of this name.
fn conforms(
    name: &'static str,
    operator: Operator,
    scenario: impl AsyncFn(&mut Play<'_>) -> Result<()> + Clone + Send + 'static,
) -> Test<Stage> {
    Test::new(name, async move |stage: &Stage| {
        let namespace = name.replace("::", "-").replace('_', "-");
        let expected = {
            let (scenario, namespace) = (scenario.clone(), namespace.clone());
            // The model has a runtime of its own.
            let model = thread::spawn(move || in_model(&namespace, operator, scenario));
            model.join().map_err(|_| anyhow!("the model has panicked"))??
        };
        let mut play = Play::begin(World::Real(Real::new(stage, &expected)), &namespace).await?;
        scenario(&mut play).await.context("in the real world")?;
        match difference::between(&expected, &play.end()) {
            None => Ok(()),
            Some(difference) => bail!("the model and the real control plane differ:\n{difference}"),
        }
    })
}

fn in_model(
    namespace: &str,
    operator: Operator,
    scenario: impl AsyncFn(&mut Play<'_>) -> Result<()>,
) -> Result<Vec<Step>> {
    let plot = Plot { truth: Arc::new(world::answer), gateways: Some(vec!["gw".into()]), ..Plot::new(1) };
    let played = Sim::play(plot, async |sim: &mut Sim| {
        if operator == Operator::Acts {
            sim.start()?;
        }
        let mut play = Play::begin(World::Model(Model(sim)), namespace).await?;
        scenario(&mut play).await?;
        Ok(play.end())
    });
    played.map_err(|error| anyhow!("in the model: {error:#}"))
}
