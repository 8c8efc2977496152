//! Whether the local cluster is what the stories take it for: each test looks at one thing that they rely on.

mod cluster {
    pub mod access;
    pub mod behaviour;
    pub mod fixture;
    pub mod node;
    pub mod prometheus;
    pub mod traffic;
}

use std::process::ExitCode;

use anyhow::Result;
use lockkeeper_e2e::{Cluster, MutatingPolicies, Options, Suite, Test};

use cluster::{access, behaviour, node, prometheus, traffic};

fn main() -> ExitCode {
    // Each test has its own namespace and waits most of the time; with more of them two cores may not answer all the requests in time.
    Suite::main(3, |suite| {
        for mutating_policies in MutatingPolicies::possible() {
            suite.run(start(*mutating_policies), tests(*mutating_policies))?;
        }
        Ok(())
    })
}

async fn start(mutating_policies: MutatingPolicies) -> Result<Cluster> {
    Cluster::start(Options { mutating_policies, ..Options::default() }).await
}

fn tests(mutating_policies: MutatingPolicies) -> Vec<Test<Cluster>> {
    let policies = match mutating_policies {
        MutatingPolicies::Served => Test::new("a mutating admission policy is in force", access::mutating_policy),
        MutatingPolicies::Absent => {
            Test::new("an older API server has no mutating policies", access::no_mutating_policies)
        }
    };
    // The rest of an emulated one is no other API server.
    if mutating_policies != MutatingPolicies::possible()[0] {
        return vec![policies];
    }
    vec![
        policies,
        Test::new("no request is lost while weights change, and the shares are those of the route", traffic::weights),
        Test::new("no request is lost while a deployment rolls natively", traffic::rolling_update),
        Test::new("connections that are kept alive survive the end of a pod", traffic::kept_alive),
        Test::new("a tag's error share is exact, in the answers as in Prometheus", behaviour::errors),
        Test::new("Prometheus' answers are what the adapter takes them for", prometheus::answers),
        Test::new("a version may go bad later", behaviour::goes_bad_later),
        Test::new("a pod that is never ready gets no traffic", behaviour::never_ready),
        Test::new("a pod that starts slowly is ready late", behaviour::slow_start),
        Test::new("an address of a pod is never another's", behaviour::addresses),
        Test::new("a crashing pod is in a crash loop, at once or later", behaviour::crash),
        Test::new("people are who their token says, and the audit log tells who was refused", access::people),
        Test::new("a service account works with the token it is given", access::service_account),
        Test::new("a Job of the operator's image ends as its process does", node::jobs),
        Test::new("a pod of the operator's image that is not confined does not run", node::unconfined),
        Test::new("a process that ends is started again, and goes with its pod", node::restarts),
        Test::new("a child of the test may be asked to end", access::child),
        Test::new(
            "an applied object may be waited for by watch, and a wait that fails says what it saw",
            access::waiting,
        ),
    ]
}
