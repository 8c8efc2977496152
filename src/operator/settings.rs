//! The flags of `lockkeeper operator`, read and checked once. Nothing behind this page handles raw text.

mod names;
mod selector;

use std::{collections::BTreeSet, env, fmt, fs, net::SocketAddr, num::NonZeroU16, str::FromStr, sync::LazyLock};

use clap::{ArgAction, Args, ValueEnum, builder::NonEmptyStringValueParser};
use ipnet::IpNet;
use lockkeeper_adapters::endpoint::Endpoint;
use lockkeeper_api::scalar::Duration;

pub use self::{
    names::{NameError, Namespace, ObjectName, ServiceAccount},
    selector::{ReleaseSelector, SelectorError},
};
use crate::{
    leader::Candidate,
    telemetry::{LogFilter, LogFormat},
};

const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const LEASE: &str = "lockkeeper-operator";

/// clap wants defaults as static text, and reads them through the same checks as what people write.
static OWN_NAMESPACE: LazyLock<String> =
    LazyLock::new(|| own_namespace(env::var("POD_NAMESPACE").ok(), fs::read_to_string(SERVICE_ACCOUNT_NAMESPACE).ok()));
static LOG_LEVEL: LazyLock<String> = LazyLock::new(|| first([env::var("RUST_LOG").ok()], "info"));
static IDENTITY: LazyLock<String> =
    LazyLock::new(|| identity(env::var("POD_NAME").ok(), fs::read_to_string("/proc/sys/kernel/hostname").ok()));

/// What the operator is to do, and where.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace: here are its Lease and the platform's windows and policies
    ///
    /// Default: $POD_NAMESPACE, else the namespace of the pod's service account, else lockkeeper-system.
    #[arg(long, env = "LOCKKEEPER_NAMESPACE", value_name = "NAME", default_value = OWN_NAMESPACE.as_str(), hide_default_value = true)]
    pub namespace: Namespace,

    /// Namespaces whose Releases are handled, comma separated, or * for all
    ///
    /// The operator needs its rights only there and in its own namespace. Windows and policies of its own namespace hold
    /// for these Releases in any case, but their status (when they are active, how many Releases they are about, the results
    /// of queries) is written only by an operator that handles that namespace too, and counts the Releases that it sees: where
    /// several operators share one namespace of their own, name it for one of them.
    #[arg(long, env = "LOCKKEEPER_WATCH_NAMESPACES", value_name = "NAMES", default_value = "*")]
    pub watch_namespaces: WatchNamespaces,

    /// Only Releases whose labels match are handled, like shard=a or tier in (critical,high)
    ///
    /// For several operators that share the work. Each needs a Lease of its own, see --lease-name; a Release that
    /// matches two of them is handled by both, which is an error. Default: all Releases.
    #[arg(
        long,
        env = "LOCKKEEPER_RELEASE_SELECTOR",
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    pub release_selector: ReleaseSelector,

    /// How many Releases are worked on at the same time; 1 to 1000
    #[arg(long, env = "LOCKKEEPER_CONCURRENCY", value_name = "N", default_value = "50", value_parser = concurrency)]
    pub concurrency: NonZeroU16,

    /// How the operator keeps a new template of a managed Deployment from rolling out by itself
    #[arg(long, env = "LOCKKEEPER_DEPLOYMENT_HOLD", value_name = "HOW", default_value = "Auto", ignore_case = true)]
    pub deployment_hold: DeploymentHold,

    /// Service accounts whose Decisions count, comma separated, each as namespace:name
    ///
    /// Default: none. Whoever can make such an account act, decides: with a GitOps controller named here, whoever can
    /// commit approves.
    #[arg(long, env = "LOCKKEEPER_APPROVING_SERVICE_ACCOUNTS", value_name = "NAMES", value_delimiter = ',')]
    pub approving_service_accounts: Vec<ServiceAccount>,

    #[allow(rustdoc::bare_urls, reason = "it is what --help shows")]
    /// Prometheus that the checks of RollbackPolicies ask, like http://prometheus.monitoring:9090
    ///
    /// Default: none; each check is then an error, and its policy is not Ready.
    #[arg(long, env = "LOCKKEEPER_PROMETHEUS_URL", value_name = "URL")]
    pub prometheus_url: Option<Endpoint>,

    /// Address ranges that may be reached although they are loopback, link-local or metadata addresses, comma separated
    ///
    /// Each as a prefix like 127.0.0.1/32. Default: none.
    #[arg(long, env = "LOCKKEEPER_ALLOW_ADDRESSES", value_name = "CIDRS", value_delimiter = ',')]
    pub allow_addresses: Vec<IpNet>,

    /// How long the data plane takes to apply a route after its gateway has accepted it, like 2s; at most 10m
    ///
    /// A weight is not taken for confirmed earlier. Too short a time counts failures of the wrong version.
    #[arg(long, env = "LOCKKEEPER_DATA_PLANE_SETTLE", value_name = "DURATION", default_value = "2s", value_parser = data_plane_settle)]
    pub data_plane_settle: Duration,

    /// Address for /healthz, /readyz and /metrics
    ///
    /// /readyz names each cache, kind and admission policy that is missing. Without a cache or a kind of Lockkeeper's own the process is
    /// not ready. A policy that is missing or altered leaves it ready, marked [!], because releases under way must be
    /// able to go back: alert on lockkeeper_admission_policy_intact.
    #[arg(long, env = "LOCKKEEPER_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Whether to hold a Lease while acting, so that of several processes one acts and the others are ready to
    ///
    /// Only where there is certainly one process, false saves the Lease.
    #[arg(
        long, env = "LOCKKEEPER_LEADER_ELECT", value_name = "BOOL", default_value = "true",
        action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    pub leader_elect: bool,

    /// Name of the Lease, in the operator's own namespace
    ///
    /// Default: lockkeeper-operator, with a suffix made from --watch-namespaces and --release-selector where they leave
    /// only a share of the Releases, so that operators with different shares do not wait for each other.
    #[arg(long, env = "LOCKKEEPER_LEASE_NAME", value_name = "NAME")]
    pub lease_name: Option<ObjectName>,

    /// How long a leader that died keeps others out, like 4s; 3s to 1m
    ///
    /// The leader renews the Lease three times as often, and stops acting when it could not for three quarters of this.
    #[arg(long, env = "LOCKKEEPER_LEASE_DURATION", value_name = "DURATION", default_value = "4s", value_parser = lease_duration)]
    pub lease_duration: Duration,

    /// Name of this process in the Lease; no two running processes may have the same
    ///
    /// A process that is started again under the name it had leads at once. Default: $POD_NAME, else the name of the
    /// host and a random suffix.
    #[arg(
        long, env = "LOCKKEEPER_IDENTITY", value_name = "NAME", default_value = IDENTITY.as_str(), hide_default_value = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub identity: String,

    /// How the log is written, to standard error
    #[arg(long, env = "LOCKKEEPER_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace or off; also for single parts, like info,lockkeeper_engine=debug
    ///
    /// Default: $RUST_LOG, else info.
    #[arg(long, env = "LOCKKEEPER_LOG_LEVEL", value_name = "LEVEL", default_value = LOG_LEVEL.as_str(), hide_default_value = true)]
    pub log_level: LogFilter,
}

/// Where Releases are handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchNamespaces {
    /// In every namespace.
    All,
    /// In these, at least one.
    Only(BTreeSet<Namespace>),
}

/// How a new template of a managed Deployment is held until its release begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum DeploymentHold {
    /// Policy where the API server has mutating admission policies, else PausedAtRest
    Auto,
    /// A mutating admission policy pauses the Deployment within the write that changes its template
    Policy,
    /// Managed Deployments stay paused between releases too, for API servers without such policies
    PausedAtRest,
}

impl FromStr for WatchNamespaces {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "*" => Ok(Self::All),
            names => names.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>().map(Self::Only),
        }
    }
}

impl fmt::Display for WatchNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Only(names) => f.write_str(&names.iter().map(Namespace::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

impl WatchNamespaces {
    /// Whether Releases of this namespace are handled.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name.as_str() == namespace),
        }
    }
}

impl Settings {
    /// How this process stands for election; `None` when there is none.
    pub fn candidate(&self) -> Option<Candidate> {
        self.leader_elect.then(|| Candidate {
            namespace: self.namespace.to_string(),
            lease: self.lease(),
            identity: self.identity.clone(),
            duration: self.lease_duration.into(),
        })
    }

    fn lease(&self) -> String {
        match &self.lease_name {
            Some(name) => name.to_string(),
            None if self.watch_namespaces == WatchNamespaces::All && self.release_selector.selects_all() => {
                LEASE.into()
            }
            None => format!("{LEASE}-{:08x}", fnv1a(&format!("{} {}", self.watch_namespaces, self.release_selector))),
        }
    }
}

/// A hash that stays the same from version to version, unlike the standard library's.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn first<const N: usize>(candidates: [Option<String>; N], default: &str) -> String {
    let found = candidates.into_iter().flatten().map(|text| text.trim().to_owned()).find(|text| !text.is_empty());
    found.unwrap_or_else(|| default.into())
}

fn own_namespace(pod_namespace: Option<String>, service_account: Option<String>) -> String {
    first([pod_namespace, service_account], "lockkeeper-system")
}

fn identity(pod_name: Option<String>, host: Option<String>) -> String {
    match first([pod_name], "") {
        pod if !pod.is_empty() => pod,
        _ => format!("{}_{:016x}", first([host], "lockkeeper"), fastrand::u64(..)),
    }
}

fn concurrency(text: &str) -> Result<NonZeroU16, String> {
    let number = text.parse::<NonZeroU16>().ok().filter(|number| number.get() <= 1000);
    number.ok_or_else(|| "write a number from 1 to 1000".into())
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_secs(3), Duration::from_secs(60))
}

fn data_plane_settle(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_secs(0), Duration::from_secs(600))
}

fn duration_within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration: Duration = text.parse().map_err(|error| format!("{error}"))?;
    if (least..=most).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("write a duration from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests;
