//! A cluster that somebody else runs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Client;
use kube::config::Kubeconfig;
use tempfile::TempDir;

use super::logs::Logs;
use super::{Cluster, Environment, api};
use crate::user::User;

/// What is ours of it.
#[derive(Debug)]
pub(super) struct Foreign {
    pub kubeconfigs: TempDir,
    pub logs: Logs,
}

/// The kubeconfig of a cluster to use instead of starting one.
pub(crate) fn foreign_kubeconfig() -> Option<PathBuf> {
    std::env::var_os("LOCKKEEPER_KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl Foreign {
    /// Everybody but the admin is impersonated, which the given kubeconfig's user must be allowed to do.
    pub async fn open(kubeconfig: &Path, gateway_url: String, prometheus_url: Option<String>) -> Result<Cluster> {
        let given =
            Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
        let kubeconfigs = tempfile::tempdir()?;
        let mut clients = HashMap::<User, Client>::new();
        for user in User::ALL {
            let path = kubeconfigs.path().join(user.name());
            fs::write(&path, serde_json::to_vec(&impersonating(given.clone(), user)?)?)?;
            clients.insert(user, api::client_of(&path).await?);
        }
        let (kubectl, helm) = (PathBuf::from("kubectl"), PathBuf::from("helm"));
        let environment = Environment::Foreign(Foreign { kubeconfigs, logs: Logs::create()? });
        Ok(Cluster { environment, kubectl, helm, clients, gateway_url, prometheus_url })
    }

    /// Where the gateway and Prometheus of that cluster listen, as the environment says.
    pub fn addresses() -> Result<(String, Option<String>)> {
        let url = |name: &str| std::env::var(name).ok().filter(|url| !url.is_empty());
        let gateway = url("LOCKKEEPER_E2E_GATEWAY_URL").context(
            "set LOCKKEEPER_E2E_GATEWAY_URL to where the gateway of that cluster listens, as http://host:port",
        )?;
        Ok((gateway, url("LOCKKEEPER_E2E_PROMETHEUS_URL")))
    }
}

fn impersonating(mut kubeconfig: Kubeconfig, user: User) -> Result<Kubeconfig> {
    if user == User::Admin {
        return Ok(kubeconfig);
    }
    for named in &mut kubeconfig.auth_infos {
        let credentials = named.auth_info.as_mut().context("the kubeconfig has a user without credentials")?;
        credentials.impersonate = Some(user.name().to_owned());
        credentials.impersonate_groups = user.group().map(|group| vec![group.to_owned()]);
    }
    Ok(kubeconfig)
}
