//! How each program of a cluster is called.

use std::path::Path;

use tokio::process::Command;

use super::{MutatingPolicies, Options, logs};
use crate::namespace::POD_CIDR;
use crate::tools::Tools;

pub(super) const API_SERVER: &str = "https://127.0.0.1:6443";
pub(super) const GATEWAY: &str = "http://127.0.0.1:8000";
pub(super) const GATEWAY_PING: &str = "http://127.0.0.1:8099/ping";
pub(super) const PROMETHEUS: &str = "http://127.0.0.1:9090";
pub(super) const ETCD_HEALTH: &str = "http://127.0.0.1:2379/readyz";

/// Where a cluster's files are.
pub(super) struct Layout<'a> {
    pub tools: &'a Tools,
    pub data: &'a Path,
    pub kubeconfigs: &'a Path,
    pub logs: &'a Path,
}

impl Layout<'_> {
    fn control_plane(&self, name: &str) -> Command {
        Command::new(self.tools.control_plane.join(name))
    }

    fn data(&self, name: &str) -> String {
        self.data.join(name).display().to_string()
    }

    fn kubeconfig(&self, user: &str) -> String {
        format!("--kubeconfig={}", self.kubeconfigs.join(user).display())
    }

    pub fn etcd(&self) -> Command {
        let mut command = self.control_plane("etcd");
        // The data is in memory and ends with us: nothing to sync.
        command.args(["--data-dir", &self.data("etcd"), "--unsafe-no-fsync", "--log-level", "warn"]);
        command
    }

    pub fn api_server(&self, options: &Options) -> Command {
        let mut command = self.control_plane("kube-apiserver");
        command.args([
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            // There is no default route to learn an address from, and nobody asks for it.
            "--advertise-address=10.244.255.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            format!("--cert-dir={}", self.data("certificates")),
            format!("--tls-cert-file={}", self.data("apiserver.crt")),
            format!("--tls-private-key-file={}", self.data("apiserver.key")),
            "--authorization-mode=RBAC".to_owned(),
            // As OpenShift has it: who makes an owner undeletable before its dependents must have the right to.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".to_owned(),
            format!("--token-auth-file={}", self.data("tokens.csv")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.data("service-account.pub")),
            format!("--service-account-signing-key-file={}", self.data("service-account.key")),
            format!("--audit-policy-file={}", self.data("audit-policy.yaml")),
            format!("--audit-log-path={}", self.logs.join(logs::AUDIT).display()),
            // In MB. A log that starts anew would lose what tests count.
            "--audit-log-maxsize=100000".to_owned(),
        ]);
        match options.mutating_policies {
            MutatingPolicies::Absent if self.tools.kubernetes.has_mutating_policies() => {
                command.arg("--emulated-version=1.35")
            }
            MutatingPolicies::Served | MutatingPolicies::Absent => &mut command,
        };
        command
    }

    pub fn controller_manager(&self, options: &Options) -> Command {
        let mut command = self.control_plane("kube-controller-manager");
        let rate = options.controller_requests_per_second;
        command.args([
            self.kubeconfig("system:kube-controller-manager"),
            // A service account a controller, as in real clusters: the audit log tells them apart.
            "--use-service-account-credentials".to_owned(),
            format!("--service-account-private-key-file={}", self.data("service-account.key")),
            format!("--root-ca-file={}", self.data("ca.crt")),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--kube-api-qps={rate}"),
            format!("--kube-api-burst={}", rate.saturating_mul(2)),
        ]);
        command
    }

    pub fn scheduler(&self) -> Command {
        let mut command = self.control_plane("kube-scheduler");
        command.args([&self.kubeconfig("system:kube-scheduler"), "--leader-elect=false", "--bind-address=127.0.0.1"]);
        command
    }

    pub fn kwok(&self) -> Command {
        let mut command = Command::new(&self.tools.kwok);
        command.args([
            self.kubeconfig("kwok"),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
            "--node-lease-duration-seconds=40".to_owned(),
            format!("--cidr={POD_CIDR}"),
            format!("--config={}", self.data("stages.yaml")),
        ]);
        // Its default configuration is in the home directory.
        command.env("HOME", self.data);
        command
    }

    pub fn traefik(&self) -> Command {
        let mut command = Command::new(&self.tools.traefik);
        command.args([
            "--providers.kubernetesgateway=true".to_owned(),
            format!("--providers.kubernetesgateway.endpoint={API_SERVER}"),
            "--providers.kubernetesgateway.token=traefik".to_owned(),
            format!("--providers.kubernetesgateway.certauthfilepath={}", self.data("ca.crt")),
            "--providers.kubernetesgateway.statusaddress.ip=127.0.0.1".to_owned(),
            "--providers.providersthrottleduration=100ms".to_owned(),
            "--entrypoints.web.address=127.0.0.1:8000".to_owned(),
            // Its default, 8080, is the port of the pods.
            "--entrypoints.traefik.address=127.0.0.1:8099".to_owned(),
            "--ping=true".to_owned(),
            "--accesslog=true".to_owned(),
            "--accesslog.format=json".to_owned(),
            format!("--accesslog.filepath={}", self.logs.join(logs::ACCESS).display()),
            "--global.checknewversion=false".to_owned(),
            "--global.sendanonymoususage=false".to_owned(),
        ]);
        command
    }

    pub fn prometheus(&self) -> Command {
        let mut command = Command::new(&self.tools.prometheus);
        command.args([
            format!("--config.file={}", self.data("prometheus.yaml")),
            format!("--storage.tsdb.path={}", self.data("prometheus")),
            "--web.listen-address=127.0.0.1:9090".to_owned(),
        ]);
        command
    }
}
