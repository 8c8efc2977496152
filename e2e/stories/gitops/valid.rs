//! The examples, by the schemas of Argo CD's and Flux's own kinds.

use std::fs;

use anyhow::{Context, Result, ensure};
use lockkeeper_e2e::{GitOpsTools, User};

use crate::harness::Story;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/gitops");

/// The API server accepts every example, and refuses one with a field that there is not.
pub async fn examples(story: &Story<'_>) -> Result<()> {
    for file in GitOpsTools::install()?.kinds() {
        let file = file.to_str().context("a path that is no text")?;
        story.kubectl(User::Admin, &["apply", "--server-side", "-f", file]).await?;
    }
    for kind in [
        "applications.argoproj.io",
        "kustomizations.kustomize.toolkit.fluxcd.io",
        "gitrepositories.source.toolkit.fluxcd.io",
    ] {
        let established = ["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{kind}")];
        story.kubectl(User::Admin, &established).await?;
    }
    for namespace in ["argocd", "flux-system"] {
        story.cluster().create_namespace(namespace).await?;
    }
    for example in ["flux/checkout.yaml", "flux/until-it-is-out.yaml", "argocd/checkout.yaml"] {
        let yaml = fs::read_to_string(format!("{EXAMPLES}/{example}"))?;
        dry_run(story, &yaml).await.context(example)?;
    }
    for example in ["argocd", "apps/in-release", "apps/in-deployment"] {
        let yaml = story.kubectl(User::Admin, &["kustomize", &format!("{EXAMPLES}/{example}")]).await?;
        dry_run(story, &yaml).await.context(example)?;
        let versions = yaml.matches("checkout:2.4.0").count();
        ensure!(versions == usize::from(example != "argocd") + usize::from(example == "apps/in-release"), "{yaml}");
    }
    keys_are_added(story).await?;
    let wrong =
        fs::read_to_string(format!("{EXAMPLES}/flux/checkout.yaml"))?.replace("healthCheckExprs", "healthChecksExpr");
    let refusal = dry_run(story, &wrong).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refusal.contains("healthChecksExpr: field not declared"), "a wrong field is accepted: {refusal:?}");
    Ok(())
}

/// The ConfigMap of an installation of Argo CD keeps what it has.
async fn keys_are_added(story: &Story<'_>) -> Result<()> {
    story
        .kubectl(
            User::Admin,
            &["create", "configmap", "argocd-cm", "-n", "argocd", "--from-literal=url=https://argocd"],
        )
        .await?;
    story
        .kubectl(User::Admin, &["apply", "-n", "argocd", "--server-side", "-k", &format!("{EXAMPLES}/argocd")])
        .await?;
    let keys = story
        .kubectl(User::Admin, &["get", "configmap", "argocd-cm", "-n", "argocd", "-o", "jsonpath={.data}"])
        .await?;
    ensure!(keys.contains("https://argocd") && keys.contains("lockkeeper.dev_Release"), "{keys}");
    Ok(())
}

async fn dry_run(story: &Story<'_>, yaml: &str) -> Result<()> {
    let cluster = story.cluster();
    let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    cluster.kubectl_with_input(&cluster.kubeconfig(User::Admin), apply, yaml).await.map(drop)
}
