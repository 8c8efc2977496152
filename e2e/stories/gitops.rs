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

use anyhow::{Result, anyhow};
use harness::{Evidence, Stage, Story};
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

async fn told(stage: &Stage, name: &str, tell: impl AsyncFnOnce(&Story<'_>) -> Result<()>) -> Result<()> {
    let story = Story::begin(stage, name).await?;
    match tell(&story).await {
        Ok(()) => Ok(()),
        Err(error) => Err(anyhow!("{error:#}\n{}", harness::shown(&story).await)),
    }
}

fn stories(policies: MutatingPolicies) -> Vec<Test<Stage>> {
    macro_rules! stories {
        ($($module:ident :: $story:ident),* $(,)?) => {
            vec![$(Test::new(
                concat!("gitops::", stringify!($module), "::", stringify!($story)),
                async |stage: &Stage| told(stage, concat!(stringify!($module), "-", stringify!($story)), $module::$story).await,
            )),*]
        };
    }
    match policies {
        MutatingPolicies::Served => stories![
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
            before_136::flux_keeps_the_pin,
            before_136::argocd_keeps_pin_and_weights,
            before_136::paused_at_rest,
        ],
    }
}
