//! Syncs by Argo CD and Flux, in their own code and with the files of `config/gitops`, while releases run.
//!
//! Told on two clusters, as `stories` are: one with mutating admission policies and one without.

#[allow(dead_code, unused_imports, reason = "shared with the stories, which use more of it")]
mod harness;

#[path = "gitops/before_136.rs"]
mod before_136;
#[path = "gitops/rules.rs"]
mod rules;
#[path = "gitops/sync.rs"]
mod sync;
#[path = "gitops/valid.rs"]
mod valid;
#[path = "gitops/version.rs"]
mod version;

use std::process::ExitCode;

use harness::{Evidence, Stage, stories};
use lockkeeper_e2e::{GitOpsTools, MutatingPolicies, Suite, Test};

fn main() -> ExitCode {
    // While there is still a network: inside there is none.
    if let Err(error) = GitOpsTools::install() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    Suite::main(6, |suite| {
        for policies in MutatingPolicies::possible() {
            suite.run(Stage::set(*policies, Evidence::default()), stories(*policies))?;
        }
        Ok(())
    })
}

fn stories(policies: MutatingPolicies) -> Vec<Test<Stage>> {
    match policies {
        MutatingPolicies::Served => stories![
            "gitops::";
            valid::examples,
            rules::policy,
            rules::window,
            version::in_release_flux,
            version::in_release_argocd,
            version::in_release_by_template,
            version::in_both,
            version::in_deployment_flux,
        ],
        MutatingPolicies::Absent => stories![
            "gitops::";
            before_136::flux_keeps_the_pin,
            before_136::argocd_keeps_pin_and_weights,
            before_136::paused_at_rest,
        ],
    }
}
