//! What the Prometheus operator gets.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lockkeeper_e2e::{Cluster, Tools};
use serde_json::{Value, json};

use super::rendered::{Rendered, directory};

pub async fn alerts(cluster: &Cluster) -> Result<()> {
    let settings = ["serviceMonitor.enabled=true", "prometheusRule.enabled=true", "prometheusRule.labels.release=main"];
    let rendered = Rendered::of(cluster, &settings).await?;
    let file = directory("charts/lockkeeper/files/alerts/rules.yaml");
    let plain: Value = serde_saphyr::from_str(&fs::read_to_string(&file)?)?;
    let rule = rendered.one("PrometheusRule", "lockkeeper")?;
    ensure!(rule.data["spec"] == plain, "the rules differ from {}", file.display());
    ensure!(rule.metadata.labels.as_ref().is_some_and(|labels| labels["release"] == "main"), "{:?}", rule.metadata);
    for rule in plain["groups"][0]["rules"].as_array().into_iter().flatten() {
        let annotations = &rule["annotations"];
        ensure!(annotations["summary"].is_string() && annotations["description"].is_string(), "{rule}");
    }
    let service = rendered.one("Service", "lockkeeper-metrics")?;
    let deployment = rendered.one("Deployment", "lockkeeper")?;
    ensure!(
        service.data["spec"]["selector"] == deployment.data["spec"]["selector"]["matchLabels"],
        "it selects others"
    );
    let monitor = rendered.one("ServiceMonitor", "lockkeeper")?;
    let selected = monitor.data["spec"]["selector"]["matchLabels"].as_object().context("it selects nothing")?;
    let labels = json!(service.metadata.labels);
    ensure!(selected.iter().all(|(name, value)| labels[name] == *value), "{selected:?} is not of {labels}");
    promtool(&["check", "rules", &file.display().to_string()])?;
    promtool(&["test", "rules", &directory("e2e/tests/chart/alerts.yaml").display().to_string()])
}

/// It comes with Prometheus.
fn promtool(arguments: &[&str]) -> Result<()> {
    let promtool = Tools::install()?.prometheus.parent().map(|directory| directory.join("promtool"));
    let promtool = promtool.filter(|path| path.is_file()).unwrap_or_else(|| Path::new("promtool").to_owned());
    let output = Command::new(&promtool).args(arguments).output().with_context(|| promtool.display().to_string())?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "promtool {}:\n{}", arguments.join(" "), String::from_utf8_lossy(&said));
    Ok(())
}
