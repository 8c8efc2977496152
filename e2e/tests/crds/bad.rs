//! Whether bad objects are refused in the words that help.

use anyhow::{Context, Result, bail, ensure};
use lockkeeper_e2e::{Cluster, User};
use serde_json::Value;

use super::changes::{decision, tables, with};

/// Each is refused, and a good one is taken.
pub async fn refused(cluster: &Cluster) -> Result<()> {
    let mut faults = Vec::new();
    for (good, changes) in tables() {
        create(cluster, &good).await.with_context(|| format!("a good one is refused: {good}"))?;
        for (pointer, value, words) in changes {
            if let Err(error) = check(cluster, with(good.clone(), pointer, value.clone())?, words).await {
                faults.push(format!("{} {pointer} = {value}: {error:#}", good["kind"]));
            }
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n\n"));
    changed_decision(cluster).await
}

async fn check(cluster: &Cluster, bad: Value, words: &[&str]) -> Result<()> {
    let Err(error) = create(cluster, &bad).await else { bail!("taken") };
    let text = error.to_string();
    ensure!(words.iter().all(|word| text.contains(word)), "{words:?} expected in: {text}");
    Ok(())
}

async fn changed_decision(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.kubeconfig(User::Admin);
    cluster.kubectl_with_input(&kubeconfig, ["create", "-f", "-"], &decision().to_string()).await?;
    let patch = ["patch", "decision", "web", "-n", "shop", "--type=merge", "-p", r#"{"spec":{"revision":"other"}}"#];
    let Err(error) = cluster.kubectl(User::Admin, patch).await else { bail!("a Decision was changed") };
    ensure!(error.to_string().contains("create another one"), "{error}");
    Ok(())
}

async fn create(cluster: &Cluster, object: &Value) -> Result<String> {
    let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    cluster.kubectl_with_input(&cluster.kubeconfig(User::Admin), arguments, &object.to_string()).await
}
