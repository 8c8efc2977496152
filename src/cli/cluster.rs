//! Which cluster, which namespace, which Release.

use std::path::PathBuf;

use clap::Args;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::error::Error;

/// Where to look; the words of kubectl.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Namespace; default: that of the context
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig; default: the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Path of the kubeconfig; default: $KUBECONFIG, else ~/.kube/config, else the pod's service account
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
}

/// A cluster, and the namespace in it.
pub struct Cluster {
    /// Speaks with its API server.
    pub client: Client,
    /// The namespace that is meant.
    pub namespace: String,
}

impl Target {
    /// Makes the client; nothing is asked yet.
    ///
    /// # Errors
    /// If there is no kubeconfig, or it cannot be used.
    pub async fn connect(&self) -> Result<Cluster, Error> {
        let config = self.config().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| Error::Kubeconfig(error.to_string()))?;
        Ok(Cluster { client, namespace })
    }

    async fn config(&self) -> Result<Config, Error> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(unusable),
            (None, None) => Config::infer().await.map_err(|error| Error::Kubeconfig(error.to_string())),
        }
    }
}

fn unusable(error: kube::config::KubeconfigError) -> Error {
    Error::Kubeconfig(error.to_string())
}

impl Cluster {
    /// The objects of one kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
