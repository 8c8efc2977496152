//! A running cluster, or one that somebody else runs.

mod api;
mod components;
mod credentials;
mod foreign;
mod local;
mod logs;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use kube::Client;

use crate::access_log::AccessLog;
use crate::audit_log::AuditLog;
use crate::demo::DemoApp;
use crate::tools::Kubernetes;
use crate::user::User;
use foreign::Foreign;
pub(crate) use foreign::foreign_kubeconfig;
use local::Local;
pub use logs::target_directory;

/// What kind of cluster to start. Of no effect on a cluster of somebody else's.
#[derive(Clone, Debug)]
pub struct Options {
    /// Simulated nodes.
    pub nodes: u32,
    /// Requests a second that each controller of the controller manager may send; bursts are twice that. Kubernetes' default is 20.
    pub controller_requests_per_second: u32,
    /// Whether the API server has mutating admission policies.
    pub mutating_policies: MutatingPolicies,
    /// Whether Prometheus runs. Without, there is no address of it.
    pub prometheus: bool,
    /// Whether a gateway runs. Without, nobody accepts the routes of the cluster's Gateway.
    pub gateway: bool,
}

/// Whether the API server has `MutatingAdmissionPolicy` in v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MutatingPolicies {
    /// It has, as from Kubernetes 1.36.
    Served,
    /// It has not: it is older, or emulates Kubernetes 1.35.
    Absent,
}

impl MutatingPolicies {
    /// In which ways the API server of the version that is asked for can run: as it is by itself comes first.
    pub fn possible() -> &'static [MutatingPolicies] {
        // A version that does not exist is reported where the tools are installed.
        match Kubernetes::asked().unwrap_or(Kubernetes::LATEST).has_mutating_policies() {
            true => &[MutatingPolicies::Served, MutatingPolicies::Absent],
            false => &[MutatingPolicies::Absent],
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            nodes: 2,
            controller_requests_per_second: 100,
            mutating_policies: MutatingPolicies::possible()[0],
            prometheus: true,
            gateway: true,
        }
    }
}

/// A cluster with a gateway and users. Ends when dropped; `stop` also deletes its logs.
pub struct Cluster {
    environment: Environment,
    kubectl: PathBuf,
    helm: PathBuf,
    clients: HashMap<User, Client>,
    gateway_url: String,
    prometheus_url: Option<String>,
}

enum Environment {
    Local(Local),
    Foreign(Foreign),
}

impl Cluster {
    /// Starts a cluster of our own and returns when it can run pods and route requests to them; or takes the one that
    /// `LOCKKEEPER_KUBECONFIG` names (with `LOCKKEEPER_E2E_GATEWAY_URL` and `LOCKKEEPER_E2E_PROMETHEUS_URL`).
    ///
    /// On SIGINT or SIGTERM the whole process ends from then on, with everything in it.
    ///
    /// # Errors
    /// If a part of it does not come up, with the last lines of that part's log.
    pub async fn start(options: Options) -> Result<Cluster> {
        match foreign_kubeconfig() {
            Some(kubeconfig) => {
                let (gateway, prometheus) = Foreign::addresses()?;
                Foreign::open(&kubeconfig, gateway, prometheus).await
            }
            None => Local::start(&options).await,
        }
    }

    /// Takes a cluster that somebody else runs; the addresses are of the form `http://host:port`.
    ///
    /// # Errors
    /// If the kubeconfig cannot be read.
    pub async fn open(kubeconfig: &Path, gateway: &str, prometheus: Option<&str>) -> Result<Cluster> {
        Foreign::open(kubeconfig, gateway.to_owned(), prometheus.map(str::to_owned)).await
    }

    /// Path of a kubeconfig as this user.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.kubeconfigs().join(user.name())
    }

    /// A client as this user.
    pub fn client(&self, user: User) -> Client {
        self.clients[&user].clone()
    }

    /// Where the gateway listens, as `http://host:port`.
    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// Where Prometheus listens, as `http://host:port`.
    ///
    /// # Errors
    /// If it was left out.
    pub fn prometheus_url(&self) -> Result<&str> {
        match &self.prometheus_url {
            Some(url) => Ok(url),
            None => bail!("there is no Prometheus: set Options.prometheus, or LOCKKEEPER_E2E_PROMETHEUS_URL"),
        }
    }

    /// What the API server was asked.
    ///
    /// # Errors
    /// On a cluster of somebody else's.
    pub fn audit_log(&self) -> Result<AuditLog> {
        Ok(AuditLog::new(self.local("audit log")?.logs.path().join(logs::AUDIT)))
    }

    /// What the gateway has seen.
    ///
    /// # Errors
    /// On a cluster of somebody else's.
    pub fn access_log(&self) -> Result<AccessLog> {
        Ok(AccessLog::new(self.local("access log")?.logs.path().join(logs::ACCESS)))
    }

    /// The process that is every pod.
    ///
    /// # Errors
    /// On a cluster of somebody else's.
    pub fn demo(&self) -> Result<&DemoApp> {
        Ok(&self.local("demo app")?.demo)
    }

    /// Directory for logs of what belongs to this cluster, such as the operator's. Deleted by `stop` unless `keep_logs` was called.
    pub fn logs(&self) -> &Path {
        match &self.environment {
            Environment::Local(local) => local.logs.path(),
            Environment::Foreign(foreign) => foreign.logs.path(),
        }
    }

    /// Keeps the logs beyond `stop`: something has failed.
    pub fn keep_logs(&self) {
        match &self.environment {
            Environment::Local(local) => local.logs.keep(),
            Environment::Foreign(foreign) => foreign.logs.keep(),
        }
    }

    /// Ends every process of a cluster of our own and deletes its data, and its logs unless they are to be kept.
    ///
    /// # Errors
    /// If the logs cannot be deleted.
    pub async fn stop(self) -> Result<()> {
        match self.environment {
            Environment::Local(local) => local.stop().await,
            Environment::Foreign(foreign) => foreign.logs.finish(),
        }
    }

    fn kubeconfigs(&self) -> &Path {
        match &self.environment {
            Environment::Local(local) => &local.kubeconfigs,
            Environment::Foreign(foreign) => foreign.kubeconfigs.path(),
        }
    }

    fn local(&self, what: &str) -> Result<&Local> {
        match &self.environment {
            Environment::Local(local) => Ok(local),
            Environment::Foreign(_) => bail!("there is no {what} of a cluster that is given by LOCKKEEPER_KUBECONFIG"),
        }
    }
}
