//! A cluster of our own: started part by part, ended at once.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::{try_join, try_join_all};
use http::StatusCode;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::components::{self, Layout};
use super::logs::Logs;
use super::{Cluster, Environment, MutatingPolicies, Options, api, credentials};
use crate::demo::DemoApp;
use crate::http_get::http_get;
use crate::node::ProcessNode;
use crate::process::Process;
use crate::tools::Tools;
use crate::user::User;
use crate::{namespace, wait};

/// For any one part to come up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What runs.
pub(super) struct Local {
    pub demo: DemoApp,
    node: ProcessNode,
    pub kubeconfigs: PathBuf,
    pub logs: Logs,
    /// In the order of their start.
    processes: Vec<Process>,
    data: PathBuf,
}

impl Local {
    pub async fn start(options: &Options) -> Result<Cluster> {
        if !namespace::is_inside() {
            bail!("call reexec_in_network_namespace() at the start of main: the cluster needs a network of its own");
        }
        end_on_signal()?;
        let tools = Tools::install()?;
        if options.mutating_policies == MutatingPolicies::Served && !tools.kubernetes.has_mutating_policies() {
            bail!("Kubernetes {} has no MutatingAdmissionPolicy in v1", tools.kubernetes.minor_version());
        }
        let logs = Logs::create()?;
        let data = namespace::scratch_directory();
        let kubeconfigs = data.join("kubeconfigs");
        write_files(&data, &kubeconfigs)?;
        let layout = Layout { tools: &tools, data: &data, kubeconfigs: &kubeconfigs, logs: logs.path() };
        let started = start_parts(&layout, options).await;
        let (processes, clients, demo, node) =
            started.with_context(|| format!("the cluster did not start; its logs: {}", logs.path().display()))?;
        let prometheus_url = options.prometheus.then(|| components::PROMETHEUS.to_owned());
        let local = Local { demo, node, kubeconfigs, logs, processes, data };
        Ok(Cluster {
            environment: Environment::Local(local),
            kubectl: tools.kubectl(),
            helm: tools.helm.clone(),
            clients,
            gateway_url: components::GATEWAY.to_owned(),
            prometheus_url,
        })
    }

    /// Last started, first ended. Nobody needs to be asked: what they know ends with them.
    pub async fn stop(self) -> Result<()> {
        let Local { demo, node, logs, mut processes, data, kubeconfigs: _ } = self;
        drop(node);
        demo.end()?;
        for process in processes.iter_mut().rev() {
            process.child().kill().await?;
        }
        for entry in fs::read_dir(data)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        logs.finish()
    }
}

/// Process 1 of a process namespace ignores signals that it does not handle.
fn end_on_signal() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let code = tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        };
        // The kernel ends the rest of the namespace, and with it what is in memory.
        std::process::exit(code);
    });
    Ok(())
}

fn write_files(data: &Path, kubeconfigs: &Path) -> Result<()> {
    fs::create_dir_all(kubeconfigs)?;
    let ca_certificate = credentials::write_certificates(data)?;
    fs::write(data.join("tokens.csv"), credentials::tokens())?;
    fs::write(data.join("audit-policy.yaml"), include_str!("../manifests/audit-policy.yaml"))?;
    fs::write(data.join("stages.yaml"), include_str!("../manifests/stages.yaml"))?;
    fs::write(data.join("prometheus.yaml"), include_str!("../manifests/prometheus.yaml"))?;
    for name in credentials::names() {
        let kubeconfig = credentials::kubeconfig(components::API_SERVER, &ca_certificate, name);
        fs::write(kubeconfigs.join(name), kubeconfig.to_string())?;
    }
    Ok(())
}

type Started = (Vec<Process>, HashMap<User, Client>, DemoApp, ProcessNode);

async fn start_parts(layout: &Layout<'_>, options: &Options) -> Result<Started> {
    let start = |name: &str, mut command: Command| Process::start(name, &mut command, layout.logs);
    let mut etcd = start("etcd", layout.etcd())?;
    etcd.until(PATIENCE, async || answers(components::ETCD_HEALTH).await).await?;
    let mut api_server = start("kube-apiserver", layout.api_server(options))?;
    let clients = clients(layout).await?;
    let admin = clients[&User::Admin].clone();
    api_server.until(PATIENCE, async || is_ready(&admin).await).await?;

    let mut processes = vec![etcd, api_server];
    processes.push(start("kube-controller-manager", layout.controller_manager(options))?);
    processes.push(start("kube-scheduler", layout.scheduler())?);
    processes.push(start("kwok", layout.kwok())?);
    let demo = DemoApp::start(api::config_of(&layout.kubeconfigs.join("demo-app")).await?);
    let node = layout.kubeconfigs.join("node");
    let node = ProcessNode::start(api::client_of(&node).await?, &node, layout.data, layout.logs);
    let metrics = async {
        if !options.prometheus {
            return Ok(None);
        }
        let mut prometheus = start("prometheus", layout.prometheus())?;
        prometheus.until(PATIENCE, async || answers(&format!("{}/-/ready", components::PROMETHEUS)).await).await?;
        Ok(Some(prometheus))
    };
    let gateway = async {
        // Traefik gives up on kinds that it does not find.
        create_gateway_kinds(layout, &admin).await?;
        api::apply(&admin, include_str!("../manifests/base.yaml")).await?;
        if !options.gateway {
            return Ok(None);
        }
        let mut traefik = start("traefik", layout.traefik())?;
        traefik.until(PATIENCE, async || answers(components::GATEWAY_PING).await).await?;
        Ok(Some(traefik))
    };
    let pods = try_join(create_nodes(&admin, options.nodes), service_account_exists(&admin, "default"));
    let (demo, prometheus, traefik, _) = futures::try_join!(demo, metrics, gateway, pods)?;
    processes.extend(prometheus);
    processes.extend(traefik);
    Ok((processes, clients, demo, node))
}

async fn clients(layout: &Layout<'_>) -> Result<HashMap<User, Client>> {
    let mut clients = HashMap::new();
    for user in User::ALL {
        clients.insert(user, api::client_of(&layout.kubeconfigs.join(user.name())).await?);
    }
    Ok(clients)
}

async fn answers(url: &str) -> bool {
    http_get(url).await.is_ok_and(|answer| answer.status == StatusCode::OK)
}

async fn is_ready(admin: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    admin.request_text(request).await.is_ok()
}

async fn create_gateway_kinds(layout: &Layout<'_>, admin: &Client) -> Result<()> {
    let definitions = Api::<CustomResourceDefinition>::all(admin.clone());
    let mut files = Vec::new();
    for entry in fs::read_dir(&layout.tools.gateway_crds)? {
        files.push(fs::read_to_string(entry?.path())?);
    }
    try_join_all(files.iter().map(async |file| {
        let definition: CustomResourceDefinition = serde_saphyr::from_str(file)?;
        let name = definition.metadata.name.clone().unwrap_or_default();
        definitions.create(&PostParams::default(), &definition).await?;
        wait::object(&definitions, &name, "be established", PATIENCE, |definition| {
            let status = definition.and_then(|definition| definition.status.as_ref());
            let conditions = status.and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Established" && c.status == "True"))
        })
        .await
    }))
    .await?;
    Ok(())
}

async fn create_nodes(admin: &Client, count: u32) -> Result<()> {
    let nodes = Api::<Node>::all(admin.clone());
    let size = json!({"cpu": "1000", "memory": "1000Gi", "pods": "10000"});
    try_join_all((1..=count).map(async |number| -> Result<()> {
        let name = format!("node-{number}");
        let node = serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"},
            },
            // Pods have other addresses: kwok gives those of a node's range anew as soon as a pod has gone, when a gateway may still have the
            // one before in mind, and these never.
            "spec": {"podCIDR": "192.0.2.0/24", "podCIDRs": ["192.0.2.0/24"]},
            "status": {"allocatable": size, "capacity": size},
        }))?;
        nodes.create(&PostParams::default(), &node).await?;
        wait::object(&nodes, &name, "be ready", PATIENCE, |node| {
            let status = node.and_then(|node| node.status.as_ref());
            let conditions = status.and_then(|status| status.conditions.as_ref());
            let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
            let taints = node.and_then(|node| node.spec.as_ref()).and_then(|spec| spec.taints.as_ref());
            ready && taints.is_none_or(Vec::is_empty)
        })
        .await?;
        Ok(())
    }))
    .await?;
    Ok(())
}

/// Without it, pods of the namespace are refused.
pub(super) async fn service_account_exists(client: &Client, namespace: &str) -> Result<()> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    wait::object(&accounts, "default", "exist", PATIENCE, |account| account.is_some()).await?;
    Ok(())
}
