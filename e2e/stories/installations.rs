//! The product comes, changes and goes: stories about installing it, on a cluster that has nothing of it.
//!
//! The admission policies are the cluster's, so one story at a time.

#[allow(dead_code, unused_imports, reason = "shared with the stories, which use more of it")]
mod harness;

mod chart;

use std::process::ExitCode;

use harness::{Stage, stories};
use lockkeeper_e2e::{MutatingPolicies, Suite, Test};

fn main() -> ExitCode {
    Suite::main(1, |suite| {
        for policies in MutatingPolicies::possible() {
            suite.run_in_turn(Stage::bare(*policies), installations(*policies))?;
        }
        Ok(())
    })
}

fn installations(policies: MutatingPolicies) -> Vec<Test<Stage>> {
    match policies {
        MutatingPolicies::Served => stories![
            chart::installed,
            chart::in_another_namespace,
            chart::some_namespaces_only,
            chart::by_kustomize,
            chart::upgraded_in_flight,
            chart::uninstalled_at_rest,
            chart::uninstalled_midway,
            chart::left_for_good,
            chart::kinds_deleted_midway,
            chart::without_the_operator,
        ],
        MutatingPolicies::Absent => stories![chart::installed_before_1_36, chart::left_before_1_36],
    }
}
