//! A container as a process: which program, with which arguments, variables and credentials.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, PodSpec, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::process::Command;

use super::{PREVIOUS, Setting, restricted, tag};
use crate::installation::binary;

/// Tokens are not renewed: longer than any test, and what the API server grants at most by default is more.
const TOKEN_SECONDS: i64 = 86_400;

/// How the one container of a pod is run.
#[derive(Debug)]
pub(super) struct Plan {
    pub container: Container,
    /// Where it listens, as `host:port`.
    pub address: String,
    program: PathBuf,
    variables: Vec<(String, String)>,
}

impl Plan {
    /// Reads the manifest; `pod_ip` is the address that it says it has.
    ///
    /// # Errors
    /// If this node cannot run it as it is written, or must not.
    pub async fn make(setting: &Setting, pod: &Pod, pod_ip: &str) -> Result<Plan> {
        let spec = pod.spec.as_ref().context("the pod has no spec")?;
        let [container] = &spec.containers[..] else { bail!("pods of one container run here") };
        ensure!(spec.init_containers.iter().flatten().next().is_none(), "init containers do not run here");
        ensure!(container.env_from.iter().flatten().next().is_none(), "envFrom is not known here");
        if let Some(fault) = restricted::fault(spec, container) {
            bail!("{fault}");
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut variables = vec![("LOCKKEEPER_LISTEN".to_owned(), address.clone())];
        if spec.automount_service_account_token != Some(false) {
            let kubeconfig = kubeconfig(setting, pod, spec).await?;
            variables.push(("KUBECONFIG".to_owned(), kubeconfig.display().to_string()));
        }
        for variable in container.env.iter().flatten() {
            variables.push((variable.name.clone(), value(variable, pod, spec, pod_ip)?));
        }
        Ok(Plan { container: container.clone(), address, program: program(container)?, variables })
    }

    /// The process; it inherits nothing of our environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // The image's entrypoint is the program itself.
        let entrypoint = self.container.command.iter().flatten().skip(1);
        command.args(entrypoint.chain(self.container.args.iter().flatten()));
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn program(container: &Container) -> Result<PathBuf> {
    let image = container.image.as_deref().unwrap_or_default();
    let tag = tag(image).with_context(|| format!("{image} is not an image that runs here"))?;
    let (ending, variable) = PREVIOUS;
    match std::env::var_os(variable) {
        Some(previous) if tag.ends_with(ending) => Ok(previous.into()),
        _ => binary(),
    }
}

fn value(variable: &EnvVar, pod: &Pod, spec: &PodSpec, pod_ip: &str) -> Result<String> {
    let Some(source) = &variable.value_from else { return Ok(variable.value.clone().unwrap_or_default()) };
    let path = source.field_ref.as_ref().map(|field| field.field_path.as_str());
    Ok(match path {
        Some("metadata.name") => pod.name_any(),
        Some("metadata.namespace") => pod.namespace().unwrap_or_default(),
        Some("metadata.uid") => pod.uid().unwrap_or_default(),
        Some("spec.nodeName") => spec.node_name.clone().unwrap_or_default(),
        Some("spec.serviceAccountName") => spec.service_account_name.clone().unwrap_or_default(),
        Some("status.podIP") => pod_ip.to_owned(),
        Some(path) => bail!("variable {}: the field {path} is not known here", variable.name),
        None => bail!("variable {}: only fieldRef is known here", variable.name),
    })
}

/// As the pod's service account, with a token that ends with the pod. There is no kube-proxy, so the address that pods find in
/// a cluster does not answer.
async fn kubeconfig(setting: &Setting, pod: &Pod, spec: &PodSpec) -> Result<PathBuf> {
    let account = spec.service_account_name.as_deref().unwrap_or("default");
    let namespace = pod.namespace().unwrap_or_default();
    let accounts = Api::<ServiceAccount>::namespaced(setting.client.clone(), &namespace);
    let bound = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
    };
    let spec = TokenRequestSpec {
        expiration_seconds: Some(TOKEN_SECONDS),
        bound_object_ref: Some(bound),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let answer = answer.with_context(|| format!("no token of service account {account}"))?;
    let token = answer.status.context("the API server gave no token")?.token;
    let mut kubeconfig: serde_json::Value = serde_json::from_slice(&fs::read(&setting.kubeconfig)?)?;
    for user in kubeconfig["users"].as_array_mut().into_iter().flatten() {
        user["user"] = serde_json::json!({"token": token});
    }
    let path = setting.data.join(format!("pod-{}", pod.uid().unwrap_or_default()));
    fs::write(&path, kubeconfig.to_string())?;
    Ok(path)
}
