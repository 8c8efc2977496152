//! What one does with a cluster: clients, kubectl, manifests, namespaces, service accounts.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{GroupVersionKind, ObjectMeta};
use kube::discovery::{self, Scope};
use kube::{Api, Client, Config, ResourceExt};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Cluster, local};
use crate::user::User;

/// Field manager of `apply`.
const FIELD_MANAGER: &str = "e2e";

impl Cluster {
    /// Runs `kubectl` as this user and returns its standard output.
    ///
    /// # Errors
    /// If it fails, with its standard error: the words that the API server refuses with are in there.
    pub async fn kubectl<A: AsRef<OsStr>>(&self, user: User, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        self.kubectl_with_input(&self.kubeconfig(user), arguments, "").await
    }

    /// Runs `kubectl` with any kubeconfig and with this on its standard input (`-f -`).
    ///
    /// # Errors
    /// If it fails, with its standard error.
    pub async fn kubectl_with_input<A: AsRef<OsStr>>(
        &self,
        kubeconfig: &Path,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<String> {
        let mut kubectl = Command::new(&self.kubectl);
        self.run(kubectl.args(arguments).env("KUBECONFIG", kubeconfig), input).await
    }

    /// Runs `helm` as admin and returns its standard output.
    ///
    /// # Errors
    /// If it fails, with its standard error.
    pub async fn helm<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        self.run(Command::new(&self.helm).args(arguments), "").await
    }

    /// Runs a script of Bash as admin, with `kubectl` and `helm` at hand, as people paste it from a document. It ends with the
    /// first command that fails.
    ///
    /// # Errors
    /// If it fails, with its standard error.
    pub async fn bash(&self, script: &str) -> Result<String> {
        let own = [&self.kubectl, &self.helm].map(|program| program.parent().map(Path::to_owned).unwrap_or_default());
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&others)))?;
        self.run(Command::new("bash").args(["-euo", "pipefail", "-c", script]).env("PATH", path), "").await
    }

    /// Runs it, as admin unless it has a kubeconfig.
    async fn run(&self, command: &mut Command, input: &str) -> Result<String> {
        let name = command.as_std().get_program().to_owned();
        if command.as_std().get_envs().all(|(variable, _)| variable != "KUBECONFIG") {
            command.env("KUBECONFIG", self.kubeconfig(User::Admin));
        }
        let own = self.kubeconfigs().join("helm");
        let mut child = command
            .env("KUBECACHEDIR", self.kubeconfigs().join("kubectl-cache"))
            .env("HELM_CACHE_HOME", &own)
            .env("HELM_CONFIG_HOME", &own)
            .env("HELM_DATA_HOME", &own)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", name.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may end without having read it all, and then says why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            let name = Path::new(&name).file_name().unwrap_or_default().display().to_string();
            bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Applies every document of the YAML, in order, by server-side apply as admin.
    ///
    /// # Errors
    /// If the YAML cannot be read, its kind is not known yet, or the API server refuses a document.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.apply_as(User::Admin, yaml).await
    }

    /// Applies as this user. Forced: it takes fields from other managers, as a Git sync does.
    ///
    /// # Errors
    /// As `apply`.
    pub async fn apply_as(&self, user: User, yaml: &str) -> Result<()> {
        apply(&self.client(user), yaml).await
    }

    /// Creates a namespace that is ready for pods.
    ///
    /// # Errors
    /// If it exists already.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let client = self.client(User::Admin);
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        local::service_account_exists(&client, name).await
    }

    /// Creates a service account, if there is none, and a kubeconfig with a token of it (valid for a day).
    ///
    /// # Errors
    /// If the namespace does not exist.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client(User::Admin), namespace);
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        match accounts.create(&PostParams::default(), &account).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            created => drop(created?),
        }
        let spec = TokenRequestSpec { expiration_seconds: Some(86_400), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.context("the API server gave no token")?.token;
        let mut kubeconfig: serde_json::Value = serde_json::from_slice(&fs::read(self.kubeconfig(User::Admin))?)?;
        for user in kubeconfig["users"].as_array_mut().into_iter().flatten() {
            user["user"] = serde_json::json!({"token": token});
        }
        // No colon: kubectl takes the variable for a list of paths.
        let path = self.kubeconfigs().join(format!("{namespace}.{name}"));
        fs::write(&path, kubeconfig.to_string())?;
        Ok(path)
    }

    /// A client with any kubeconfig, such as that of a service account.
    ///
    /// # Errors
    /// If the kubeconfig cannot be read.
    pub async fn client_of(&self, kubeconfig: &Path) -> Result<Client> {
        client_of(kubeconfig).await
    }
}

pub(super) async fn config_of(kubeconfig: &Path) -> Result<Config> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)
}

pub(super) async fn client_of(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config_of(kubeconfig).await?)?)
}

pub(super) async fn apply(client: &Client, yaml: &str) -> Result<()> {
    for object in serde_saphyr::from_multiple::<DynamicObject>(yaml).context("this is no YAML of Kubernetes objects")? {
        let types = object.types.clone().context("an object has no apiVersion or kind")?;
        let kind = GroupVersionKind::try_from(&types)?;
        let (resource, capabilities) = discovery::pinned_kind(client, &kind)
            .await
            .with_context(|| format!("the API server does not know {} {}", types.api_version, types.kind))?;
        let api: Api<DynamicObject> = match (capabilities.scope, object.namespace()) {
            (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
            (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), &namespace, &resource),
            (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
        };
        let name = object.name_any();
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = api.patch(&name, &parameters, &Patch::Apply(&object)).await;
        applied.with_context(|| format!("cannot apply {} {name}", types.kind))?;
    }
    Ok(())
}
