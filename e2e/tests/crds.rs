//! Whether a real API server takes the custom resource definitions and the samples, and refuses what is wrong with the mend.

mod crds {
    pub mod bad;
    pub mod changes;
}

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::DynamicObject;
use kube::{Api, ResourceExt};
use lockkeeper_e2e::{Cluster, Options, Suite, Test, User, wait};

/// For the API server to serve a kind.
const LIMIT: Duration = Duration::from_secs(60);
/// The kinds, by plural name.
const KINDS: [&str; 4] = ["releases", "deploymentwindows", "rollbackpolicies", "decisions"];

fn main() -> ExitCode {
    let tests = vec![
        Test::new("every definition is structural and its kind is served", structural),
        Test::new("kubectl explain tells units, defaults and limits", explained),
        Test::new("plain kubectl apply takes every definition without a warning", plain_apply),
        Test::new("every sample is taken without a warning", samples),
        Test::new("what is wrong is refused with the mend", crds::bad::refused),
    ];
    Suite::main(4, |suite| suite.run(installed(), tests))
}

/// A cluster with the kinds and a namespace `shop`.
async fn installed() -> Result<Cluster> {
    let cluster = Cluster::start(Options { prometheus: false, ..Options::default() }).await?;
    install(&cluster).await?;
    cluster.create_namespace("shop").await?;
    Ok(cluster)
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Objects of a directory of the repository, by file, in the order of their names.
fn yaml(directory: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(repository(directory))?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = entries.collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("kustomization.yaml"));
    paths.sort();
    ensure!(!paths.is_empty(), "{directory} has no YAML");
    Ok(paths)
}

async fn install(cluster: &Cluster) -> Result<()> {
    for path in yaml("charts/lockkeeper/files/crds")? {
        let text = fs::read_to_string(&path)?;
        cluster.apply(&text).await.with_context(|| format!("the API server refuses {}", path.display()))?;
    }
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client(User::Admin));
    for kind in KINDS {
        wait::object(&api, &format!("{kind}.lockkeeper.dev"), "be established", LIMIT, |crd| {
            crd.is_some_and(|crd| condition(crd, "Established").is_some_and(|status| status == "True"))
        })
        .await?;
    }
    Ok(())
}

fn condition<'a>(crd: &'a CustomResourceDefinition, kind: &str) -> Option<&'a str> {
    let conditions = crd.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

async fn structural(cluster: &Cluster) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client(User::Admin));
    for kind in KINDS {
        let crd = api.get(&format!("{kind}.lockkeeper.dev")).await?;
        ensure!(
            condition(&crd, "NonStructuralSchema").is_none_or(|status| status == "False"),
            "{kind}: not structural"
        );
        cluster.kubectl(User::Admin, ["get", kind, "-n", "shop"]).await?;
    }
    Ok(())
}

async fn explained(cluster: &Cluster) -> Result<()> {
    // Told as one line: where it is broken depends on the width.
    let explain = async |field: &str| {
        let text = cluster.kubectl(User::Admin, ["explain", field]).await?;
        anyhow::Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    // What it reads is published a moment after a kind is established.
    let spec = wait::answer("kubectl explain to know releases", LIMIT, async || explain("release.spec").await).await?;
    for words in ["progressDeadline", "Default 10m", "workloads", "-required-", "suspend"] {
        ensure!(spec.contains(words), "{words} is missing in:\n{spec}");
    }
    let step = explain("release.spec.strategy.canary.steps").await?;
    for words in ["setWeight", "in percent; 0 to 100", "setCanaryScale", "pause", "analysis", "approval"] {
        ensure!(step.contains(words), "{words} is missing in:\n{step}");
    }
    let check = explain("rollbackpolicy.spec.checks").await?;
    for words in [
        "interval",
        "default 30s, at least 1s",
        "failureLimit",
        "Default 0, at most 1000",
        "noData",
        "Wait, Fail, Pass",
    ] {
        ensure!(check.contains(words), "{words} is missing in:\n{check}");
    }
    let schedule = explain("deploymentwindow.spec.schedule").await?;
    for words in ["recurrence", "FREQ=WEEKLY;BYDAY=TU,WE,TH", "timeZone", "Europe/Berlin", "at least 1m, at most 8784h"]
    {
        ensure!(schedule.contains(words), "{words} is missing in:\n{schedule}");
    }
    let decision = explain("decision.spec").await?;
    for words in ["verdict", "Approve, Reject, Promote", "expiresAfter", "default 1h", "revision"] {
        ensure!(decision.contains(words), "{words} is missing in:\n{decision}");
    }
    Ok(())
}

async fn plain_apply(cluster: &Cluster) -> Result<()> {
    for path in yaml("charts/lockkeeper/files/crds")? {
        // Client-side: keeps the whole definition in an annotation, which has a limit.
        let path = path.to_string_lossy().into_owned();
        cluster.kubectl(User::Admin, ["apply", "--warnings-as-errors", "--server-side=false", "-f", &path]).await?;
    }
    Ok(())
}

async fn samples(cluster: &Cluster) -> Result<()> {
    for path in yaml("config/samples")? {
        let objects: Vec<DynamicObject> = serde_saphyr::from_multiple(&fs::read_to_string(&path)?)?;
        for namespace in objects.iter().filter_map(ResourceExt::namespace) {
            if cluster.kubectl(User::Admin, ["get", "namespace", &namespace]).await.is_err() {
                cluster.create_namespace(&namespace).await?;
            }
        }
        let path = path.to_string_lossy().into_owned();
        let arguments = ["apply", "--warnings-as-errors", "--validate=strict", "-f", &path];
        cluster.kubectl(User::Admin, arguments).await.with_context(|| path.clone())?;
    }
    Ok(())
}
