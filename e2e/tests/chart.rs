//! The chart with the real Helm: what values render to, what is refused, that it is the same as `config/default`, and that API
//! servers with and without mutating policies accept it. What an installation does is told by `stories/chart`.

mod chart {
    pub mod accepted;
    pub mod monitoring;
    pub mod rendered;
    pub mod rights;
    pub mod same;
    pub mod values;
}

use std::process::ExitCode;

use anyhow::Result;
use lockkeeper_e2e::{Cluster, MutatingPolicies, Options, Suite, Test};

use chart::{accepted, monitoring, rights, same, values};

fn main() -> ExitCode {
    Suite::main(4, |suite| {
        for mode in MutatingPolicies::possible() {
            suite.run(started(*mode), tests(*mode))?;
        }
        Ok(())
    })
}

async fn started(mutating_policies: MutatingPolicies) -> Result<Cluster> {
    Cluster::start(Options { mutating_policies, prometheus: false, ..Options::default() }).await
}

fn tests(mode: MutatingPolicies) -> Vec<Test<Cluster>> {
    match mode {
        MutatingPolicies::Served => vec![
            Test::new("helm lint finds nothing", values::lint),
            Test::new("unknown and wrong values are refused by their name", values::refused),
            Test::new("each flag of the operator can be set, or is the pod's own", values::flags),
            Test::new("values reach the pods", values::pods),
            Test::new("the network policy lets through what values name", values::network),
            Test::new("the notes say what to do next, and warn", values::notes),
            Test::new("the operator's rights are those of the source, also in some namespaces only", rights::operator),
            Test::new("only what values say becomes part of the built-in roles", rights::people),
            Test::new("policies exempt the operator of this installation", rights::policies),
            Test::new("without Helm it is the same", same::as_kustomize),
            Test::new("without a cluster each object is rendered once, and no hook", same::each_once),
            Test::new("kinds are kept, and can be left out", same::kinds),
            Test::new("alerts are the plain file's, and Prometheus reads them", monitoring::alerts),
            Test::new("an API server with mutating policies accepts it", accepted::mutating),
        ],
        MutatingPolicies::Absent => {
            vec![Test::new("an API server without mutating policies accepts it", accepted::validating)]
        }
    }
}
