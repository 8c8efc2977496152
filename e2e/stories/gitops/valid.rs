//! The examples, by the schemas of Argo CD's and Flux's own kinds.

use std::fs;
use std::path::{Path, PathBuf};

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
    let mut seen = 0;
    for file in files(Path::new(EXAMPLES))? {
        let yaml = fs::read_to_string(&file)?;
        if !["argocd/kustomization.yaml"].iter().any(|other| file.ends_with(other)) {
            dry_run(story, &yaml).await.with_context(|| file.display().to_string())?;
            seen += 1;
        }
    }
    ensure!(seen >= 3, "there are only {seen} examples");
    let wrong = fs::read_to_string(Path::new(EXAMPLES).join("flux/checkout.yaml"))?
        .replace("healthCheckExprs", "healthCheckExpr");
    let refusal = dry_run(story, &wrong).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refusal.contains("unknown field"), "a wrong field is accepted: {refusal:?}");
    let config_map = story.kubectl(User::Admin, &["kustomize", &format!("{EXAMPLES}/argocd")]).await?;
    dry_run(story, &config_map).await
}

async fn dry_run(story: &Story<'_>, yaml: &str) -> Result<()> {
    let cluster = story.cluster();
    let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    cluster.kubectl_with_input(&cluster.kubeconfig(User::Admin), apply, yaml).await.map(drop)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
    Ok(found)
}
