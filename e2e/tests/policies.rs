//! Whether the admission policies and roles of the chart do what they promise, on real API servers with and without
//! mutating policies.

mod policies {
    pub mod decisions;
    pub mod fixture;
    pub mod mutating;
    pub mod operator;
    pub mod people;
    pub mod validating;
}

use std::process::ExitCode;

use anyhow::Result;
use lockkeeper_e2e::{Cluster, MutatingPolicies, Options, Suite, Test};
use lockkeeper_operator::policies::PolicyMode;

use policies::{decisions, fixture, mutating, operator, people, validating};

fn main() -> ExitCode {
    // Each test has its own namespace.
    Suite::main(8, |suite| {
        for mutating_policies in MutatingPolicies::possible() {
            let mode = match mutating_policies {
                MutatingPolicies::Served => PolicyMode::Mutating,
                MutatingPolicies::Absent => PolicyMode::Validating,
            };
            suite.run(installed(*mutating_policies, mode), tests(mode))?;
        }
        Ok(())
    })
}

/// A cluster with the kinds, roles and policies of this mode.
async fn installed(mutating_policies: MutatingPolicies, mode: PolicyMode) -> Result<Cluster> {
    let options = Options { mutating_policies, prometheus: false, ..Options::default() };
    let cluster = Cluster::start(options).await?;
    fixture::install(&cluster, mode).await?;
    Ok(cluster)
}

fn tests(mode: PolicyMode) -> Vec<Test<Cluster>> {
    let mut tests = vec![
        Test::new(
            "a Decision is admitted only from its author, with the verb, and never from a robot",
            decisions::authors,
        ),
        Test::new("each verdict needs its own verb", decisions::verbs),
        Test::new("gates, strategy and rollbackPolicy change only with the verb govern", decisions::govern),
        Test::new("each role of people shows what has happened to a release", decisions::described),
        Test::new("each role of people allows what it is for, and nothing else", people::roles),
        Test::new("what the operator must never be able to do, it cannot", operator::rights),
        Test::new("the operator's own writes pass every policy", operator::unaffected),
    ];
    match mode {
        PolicyMode::Mutating => tests.extend([
            Test::new(
                "what the API server returns of each policy is intact, and a missing binding is noticed",
                operator::guarded_mutating,
            ),
            Test::new("a new image pauses the deployment and records its author", mutating::new_image),
            Test::new("a new deployment waits for its gates", mutating::created),
            Test::new("a rollout restart passes at rest and waits while held", mutating::restart),
            Test::new("a held deployment stays held, whoever writes it", mutating::held),
            Test::new("a template that waits for the operator stays paused too", mutating::waiting),
            Test::new("a person's own pause is not taken for ours", mutating::own_pause),
            Test::new("nobody forges an author, of a deployment or of a release", mutating::forged),
            Test::new("leaving a release at rest needs the verb govern", mutating::leave),
            Test::new("a pinned service stays pinned, and nobody else pins one", mutating::pinned),
        ]),
        PolicyMode::Validating => tests.extend([
            Test::new(
                "what the API server returns of each policy is intact, and a missing binding is noticed",
                operator::guarded_validating,
            ),
            Test::new("a held deployment is not unpaused or unmarked, and the way out is named", validating::held),
            Test::new("nobody forges an author", validating::forged),
            Test::new("a pinned service is written by whoever may, a Git sync above all", validating::services),
        ]),
    }
    tests.into_iter().map(|test| test.of_kind(&format!("{mode:?}"))).collect()
}
