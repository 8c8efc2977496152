//! The kubelet's part for pods of the operator's image: their container is the built program as a process of this machine, with the
//! arguments, variables, service account and probes of the manifest. All other pods are kwok's, which runs nothing.
//!
//! What it does not do: resources are not enforced and volumes not mounted; `kubectl logs` and `exec`
//! have nobody to ask (the log is `<pod>.log` beside those of the cluster). Pods share one network: instead of port 8080 each gets a free port of the loopback interface by
//! `LOCKKEEPER_LISTEN`, which annotation [`ADDRESS`] of the pod tells.

mod container;
mod pod;
mod probe;
mod restricted;
mod status;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The image whose pods are run, whatever its tag.
pub const OPERATOR_IMAGE: &str = "ghcr.io/lockkeeper/lockkeeper";
/// Annotation of a pod that runs: where its container listens, as `host:port`.
pub const ADDRESS: &str = "node.lockkeeper.dev/address";
/// Pods of a tag with this ending run the program that this variable names, if it is set: for upgrades that change programs.
const PREVIOUS: (&str, &str) = ("-previous", "LOCKKEEPER_PREVIOUS_BINARY");

/// What all pods need.
struct Setting {
    client: Client,
    /// A kubeconfig of the cluster, whose token is replaced by that of the pod's service account.
    kubeconfig: PathBuf,
    /// Where the kubeconfigs of pods go.
    data: PathBuf,
    logs: PathBuf,
}

/// Runs until it is dropped, and its processes with it.
#[derive(Debug)]
pub(crate) struct ProcessNode(AbortHandle);

impl ProcessNode {
    /// Begins to run pods. `kubeconfig` is one of the cluster, `data` an existing directory.
    pub fn start(client: Client, kubeconfig: &Path, data: &Path, logs: &Path) -> ProcessNode {
        let setting =
            Setting { client, kubeconfig: kubeconfig.to_owned(), data: data.to_owned(), logs: logs.to_owned() };
        ProcessNode(tokio::spawn(follow(Arc::new(setting))).abort_handle())
    }
}

impl Drop for ProcessNode {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The newest version of each pod goes to the task that is its life; a pod that is gone ends its channel.
async fn follow(setting: Arc<Setting>) {
    let events = watcher(Api::<Pod>::all(setting.client.clone()), watcher::Config::default()).default_backoff();
    pin_mut!(events);
    let mut lives = JoinSet::new();
    let mut pods: HashMap<String, watch::Sender<Pod>> = HashMap::new();
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        while lives.try_join_next().is_some() {}
        let pod = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitDone) => {
                pods.retain(|uid, _| listed.contains(uid));
                continue;
            }
            Ok(Event::Delete(pod)) => {
                pods.remove(&pod.uid().unwrap_or_default());
                continue;
            }
            Ok(Event::InitApply(pod)) => {
                listed.extend(pod.uid());
                pod
            }
            Ok(Event::Apply(pod)) => pod,
            // The watch starts again by itself.
            Err(_) => continue,
        };
        if !is_ours(&pod) {
            continue;
        }
        let uid = pod.uid().unwrap_or_default();
        if let Some(known) = pods.get(&uid) {
            known.send_replace(pod);
        } else if !pod::has_ended(&pod) {
            let (sender, receiver) = watch::channel(pod);
            pods.insert(uid, sender);
            lives.spawn(pod::live(setting.clone(), receiver));
        }
    }
}

/// It is bound to a node and has a container of our image.
fn is_ours(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| {
        let images = spec.containers.iter().filter_map(|container| container.image.as_deref());
        spec.node_name.is_some() && images.into_iter().any(|image| tag(image).is_some())
    })
}

/// The tag of our image, empty if it has none; nothing if it is another image.
fn tag(image: &str) -> Option<&str> {
    let rest = image.strip_prefix(OPERATOR_IMAGE)?;
    let rest = rest.split('@').next()?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix(':') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_image_is_told_from_others_by_its_whole_repository() {
        assert_eq!(tag("ghcr.io/lockkeeper/lockkeeper:0.1.0-previous"), Some("0.1.0-previous"));
        assert_eq!(tag("ghcr.io/lockkeeper/lockkeeper:1@sha256:ab"), Some("1"));
        assert_eq!(tag("ghcr.io/lockkeeper/lockkeeper"), Some(""));
        assert_eq!(tag("ghcr.io/lockkeeper/lockkeeper@sha256:ab"), Some(""));
        assert_eq!(tag("ghcr.io/lockkeeper/lockkeeper-demo:1"), None);
        assert_eq!(tag("demo:1.0.0"), None);
    }
}
