//! Syncs of an application's manifests, with the rules of the examples.

use anyhow::{Context, Result, ensure};
use lockkeeper_e2e::{GitOpsTools, User};
use serde_json::{Value, json};

use crate::harness::{App, Story};

const FLUX: &str = include_str!("../../../config/gitops/flux/checkout.yaml");
/// Kinds of which `health.lua` speaks.
const LUA_FOR: [&str; 3] = ["Release", "RollbackPolicy", "DeploymentWindow"];
const ARGOCD: &str = include_str!("../../../config/gitops/argocd/checkout.yaml");

/// The Kustomization of the example, for an application that is named `web`.
pub fn kustomization() -> Result<Value> {
    let documents = documents(FLUX)?;
    documents
        .into_iter()
        .find(|document| document["kind"] == "Kustomization")
        .context("the example has no Kustomization")
}

/// The Application of the example, for an application that is named `web`.
pub fn application() -> Result<Value> {
    documents(ARGOCD)?.into_iter().next().context("the example is empty")
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(&yaml.replace("checkout", "web"))?)
}

/// The manifests of Git at this version.
pub fn in_git(app: &App<'_>, version: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(&app.manifests(version))?)
}

/// Flux applies the manifests at this version, and says by object whether it changed it: `Service`, `HTTPRoute`, `Deployment`.
pub fn flux(app: &App<'_>, version: &str, kustomization: &Value) -> Result<Value> {
    let kubeconfig = app.story.cluster().kubeconfig(User::Admin);
    let kubeconfig = kubeconfig.to_str().context("a path that is no text")?;
    let question = json!({"kustomization": kustomization, "objects": in_git(app, version)?});
    let done = GitOpsTools::install()?.ask(&["--kubeconfig", kubeconfig, "flux"], &question)?;
    let by_kind = done.as_object().context("no answer")?.iter().map(|(subject, action)| {
        let kind = subject.split('/').next().unwrap_or_default();
        (kind.to_owned(), action.clone())
    });
    Ok(Value::Object(by_kind.collect()))
}

/// Argo CD compares and applies, on the server's side where the Application says so. Says which kinds it found OutOfSync.
pub async fn argocd(app: &App<'_>, version: &str, application: &Value) -> Result<Vec<String>> {
    argocd_applies(app, in_git(app, version)?, application).await
}

/// The same with these manifests.
pub async fn argocd_applies(app: &App<'_>, manifests: Vec<Value>, application: &Value) -> Result<Vec<String>> {
    let (tools, kubeconfig) = (GitOpsTools::install()?, app.story.cluster().kubeconfig(User::Admin));
    let arguments = ["--kubeconfig", kubeconfig.to_str().context("a path that is no text")?, "argocd"];
    let mut found = Vec::new();
    for git in manifests {
        let kind = git["kind"].as_str().context("a manifest without kind")?.to_owned();
        let question =
            json!({"application": application, "live": live(app.story, &kind, &app.name).await?, "git": git});
        let answer = tools.ask(&arguments, &question)?;
        if answer["outOfSync"] == true {
            found.push(kind);
        }
        // A sync applies all objects of the application, not only those that differ.
        let cluster = app.story.cluster();
        let apply: &[&str] = match server_side(application) {
            true => &["apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-"],
            false => &["apply", "-f", "-"],
        };
        cluster.kubectl_with_input(&cluster.kubeconfig(User::Admin), apply, &answer["target"].to_string()).await?;
    }
    Ok(found)
}

fn server_side(application: &Value) -> bool {
    let options = application["spec"]["syncPolicy"]["syncOptions"].as_array();
    options.is_some_and(|options| options.iter().any(|option| option == "ServerSideApply=true"))
}

/// The same Application, which applies on the server's side.
pub fn applying_server_side(mut application: Value) -> Value {
    let options = application["spec"]["syncPolicy"]["syncOptions"].as_array_mut();
    options.into_iter().for_each(|options| options.push(json!("ServerSideApply=true")));
    application
}

/// An object as it is now.
pub async fn live(story: &Story<'_>, kind: &str, name: &str) -> Result<Value> {
    let get = ["get", kind, name, "-o", "json", "--show-managed-fields"];
    Ok(serde_json::from_str(&story.kubectl(User::Admin, &get).await?)?)
}

/// What Argo CD and Flux, with the example's health checks, say of an object now; Flux by kstatus where it has none.
pub async fn health(story: &Story<'_>, kind: &str, name: &str) -> Result<(String, String)> {
    let script = include_str!("../../../config/gitops/argocd/health.lua");
    let key = format!("resource.customizations.health.lockkeeper.dev_{kind}");
    let config_map = if LUA_FOR.contains(&kind) { json!({"data": {key: script}}) } else { json!({}) };
    let objects = json!({"one": live(story, kind, name).await?});
    let question = json!({"configMap": config_map, "kustomization": kustomization()?, "objects": objects});
    let said = GitOpsTools::install()?.ask(&["health"], &question)?;
    let status = |tool: &str| said["one"][tool]["status"].as_str().map(str::to_owned).context("no verdict");
    Ok((status("argocd")?, status("flux")?))
}

/// Fails unless both say so.
pub async fn is(story: &Story<'_>, kind: &str, argocd: &str, flux: &str) -> Result<()> {
    let said = health(story, kind, "web").await?;
    ensure!(said == (argocd.to_owned(), flux.to_owned()), "Argo CD and Flux call the {kind} {said:?}");
    Ok(())
}
