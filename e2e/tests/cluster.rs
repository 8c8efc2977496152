//! Whether the local cluster is what the stories take it for: each test looks at one thing that they rely on.

mod cluster {
    pub mod access;
    pub mod behaviour;
    pub mod fixture;
    pub mod prometheus;
    pub mod traffic;
}

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use lockkeeper_e2e::{Cluster, MutatingPolicies, Options, reexec_in_network_namespace};
use tokio::runtime::Runtime;

use cluster::{access, behaviour, prometheus, traffic};

fn main() {
    reexec_in_network_namespace();
    if let Err(error) = run() {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let mut arguments = Arguments::from_args();
    // Each test has its own namespace and waits most of the time.
    arguments.test_threads.get_or_insert(8);
    if arguments.list {
        libtest_mimic::run(&arguments, tests(None)).exit();
    }
    let runtime = Runtime::new()?;
    let begun = Instant::now();
    let cluster = Arc::new(runtime.block_on(Cluster::start(Options::default()))?);
    println!("the cluster started in {:.1} s", begun.elapsed().as_secs_f64());
    let conclusion = libtest_mimic::run(&arguments, tests(Some((&runtime, &cluster))));
    if conclusion.has_failed() {
        cluster.keep_logs();
    }
    runtime.block_on(Arc::into_inner(cluster).map_or_else(|| unreachable!("no test runs any more"), Cluster::stop))?;
    if conclusion.has_failed() {
        conclusion.exit();
    }
    runtime.block_on(an_older_api_server())
}

fn tests(place: Option<(&Runtime, &Arc<Cluster>)>) -> Vec<Trial> {
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
        }};
    }
    vec![
        trial!("no request is lost while weights change, and the shares are those of the route", traffic::weights),
        trial!("no request is lost while a deployment rolls natively", traffic::rolling_update),
        trial!("connections that are kept alive survive the end of a pod", traffic::kept_alive),
        trial!("a tag's error share is exact, in the answers as in Prometheus", behaviour::errors),
        trial!("Prometheus' answers are what the adapter takes them for", prometheus::answers),
        trial!("a version may go bad later", behaviour::goes_bad_later),
        trial!("a pod that is never ready gets no traffic", behaviour::never_ready),
        trial!("a pod that starts slowly is ready late", behaviour::slow_start),
        trial!("a crashing pod is in a crash loop, at once or later", behaviour::crash),
        trial!("people are who their token says, and the audit log tells who was refused", access::people),
        trial!("a service account works with the token it is given", access::service_account),
        trial!("a mutating admission policy is in force", access::mutating_policy),
        trial!("a child of the test may be asked to end", access::child),
        trial!("an applied object may be waited for by watch, and a wait that fails says what it saw", access::waiting),
    ]
}

/// After the other one has stopped: this also shows that a process may start one cluster after another.
async fn an_older_api_server() -> Result<()> {
    let options = Options { mutating_policies: MutatingPolicies::Absent, prometheus: false, ..Options::default() };
    let cluster = Cluster::start(options).await?;
    access::no_mutating_policies(&cluster).await?;
    println!("an API server without mutating policies: ok");
    cluster.stop().await
}
