//! Whether the admission policies and roles below `config/` do what they promise, on real API servers with and without
//! mutating policies.

mod policies {
    pub mod decisions;
    pub mod fixture;
    pub mod mutating;
    pub mod operator;
    pub mod validating;
}

use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use lockkeeper_e2e::{Cluster, MutatingPolicies, Options, reexec_in_network_namespace};
use lockkeeper_operator::policies::PolicyMode;
use tokio::runtime::Runtime;

use policies::{decisions, fixture, mutating, operator, validating};

fn main() {
    reexec_in_network_namespace();
    if let Err(error) = run() {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let mut arguments = Arguments::from_args();
    // Each test has its own namespace.
    arguments.test_threads.get_or_insert(8);
    let runtime = Runtime::new()?;
    let served = on_a_cluster(&runtime, &arguments, PolicyMode::Mutating)?;
    let absent = on_a_cluster(&runtime, &arguments, PolicyMode::Validating)?;
    if served.has_failed() {
        served.exit();
    }
    absent.exit()
}

fn on_a_cluster(runtime: &Runtime, arguments: &Arguments, mode: PolicyMode) -> Result<Conclusion> {
    if arguments.list {
        return Ok(libtest_mimic::run(arguments, tests(None, mode)));
    }
    let mutating_policies = match mode {
        PolicyMode::Mutating => MutatingPolicies::Served,
        PolicyMode::Validating => MutatingPolicies::Absent,
    };
    let options = Options { mutating_policies, prometheus: false, ..Options::default() };
    let cluster = runtime.block_on(Cluster::start(options))?;
    runtime.block_on(fixture::install(&cluster, mode))?;
    let cluster = Arc::new(cluster);
    let conclusion = libtest_mimic::run(arguments, tests(Some((runtime, &cluster)), mode));
    if conclusion.has_failed() {
        cluster.keep_logs();
    }
    runtime.block_on(Arc::into_inner(cluster).map_or_else(|| unreachable!("no test runs any more"), Cluster::stop))?;
    Ok(conclusion)
}

fn tests(place: Option<(&Runtime, &Arc<Cluster>)>, mode: PolicyMode) -> Vec<Trial> {
    let place = place.map(|(runtime, cluster)| (runtime.handle().clone(), cluster.clone()));
    macro_rules! trial {
        ($name:literal, $test:path) => {{
            let place = place.clone();
            Trial::test($name, move || match place {
                Some((handle, cluster)) => {
                    handle.block_on($test(&cluster)).map_err(|error| Failed::from(format!("{error:#}")))
                }
                None => Ok(()),
            })
            .with_kind(format!("{mode:?}"))
        }};
    }
    let mut tests = vec![
        trial!(
            "a Decision is admitted only from its author, with the verb, and never from a robot",
            decisions::authors
        ),
        trial!("each verdict needs its own verb", decisions::verbs),
        trial!("gates, strategy and rollbackPolicy change only with the verb govern", decisions::govern),
        trial!("each role of people shows what has happened to a release", decisions::described),
        trial!("the operator may do what it needs and nothing else", operator::rights),
        trial!("the operator's own writes pass every policy", operator::unaffected),
    ];
    match mode {
        PolicyMode::Mutating => tests.extend([
            trial!(
                "what the API server returns of each policy is intact, and a missing binding is noticed",
                operator::guarded_mutating
            ),
            trial!("a new image pauses the deployment and records its author", mutating::new_image),
            trial!("a new deployment waits for its gates", mutating::created),
            trial!("a rollout restart passes at rest and waits while held", mutating::restart),
            trial!("a held deployment stays held, whoever writes it", mutating::held),
            trial!("a template that waits for the operator stays paused too", mutating::waiting),
            trial!("a person's own pause is not taken for ours", mutating::own_pause),
            trial!("nobody forges an author, of a deployment or of a release", mutating::forged),
            trial!("leaving a release at rest needs the verb govern", mutating::leave),
            trial!("a pinned service stays pinned, and nobody else pins one", mutating::pinned),
        ]),
        PolicyMode::Validating => tests.extend([
            trial!(
                "what the API server returns of each policy is intact, and a missing binding is noticed",
                operator::guarded_validating
            ),
            trial!("a held deployment is not unpaused or unmarked, and the way out is named", validating::held),
            trial!("nobody forges an author", validating::forged),
            trial!("a pinned service is written by whoever may, a Git sync above all", validating::services),
        ]),
    }
    tests
}
