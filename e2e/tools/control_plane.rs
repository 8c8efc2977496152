//! The control plane: one program, built from `controlplane/`, in each version of Kubernetes that we know.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::cache::cached;
use super::command::run;
use super::go;

/// Chooses the version, such as `1.35`.
const VARIABLE: &str = "LOCKKEEPER_KUBERNETES";
/// Names that the one program answers to.
const COMPONENTS: [&str; 5] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];
const MAIN: &str = include_str!("../controlplane/main.go");

/// A minor version of Kubernetes that the local control plane can be built in. Another one is another `go.mod` and `go.sum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kubernetes {
    /// 1.33
    V1_33,
    /// 1.34
    V1_34,
    /// 1.35
    V1_35,
    /// 1.36
    V1_36,
}

/// Not one of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownKubernetes(String);

impl fmt::Display for UnknownKubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Kubernetes::ALL.map(|version| version.minor_version()).join(", ");
        let latest = Kubernetes::LATEST.minor_version();
        write!(
            f,
            "there is no local cluster of Kubernetes '{}': set K8S to one of {known}, or leave it out for {latest}",
            self.0
        )
    }
}

impl std::error::Error for UnknownKubernetes {}

impl FromStr for Kubernetes {
    type Err = UnknownKubernetes;

    fn from_str(text: &str) -> Result<Kubernetes, UnknownKubernetes> {
        let found = Kubernetes::ALL.into_iter().find(|version| version.minor_version() == text);
        found.ok_or_else(|| UnknownKubernetes(text.to_owned()))
    }
}

impl Kubernetes {
    /// From old to new.
    pub const ALL: [Kubernetes; 4] = [Kubernetes::V1_33, Kubernetes::V1_34, Kubernetes::V1_35, Kubernetes::V1_36];
    /// What runs unless another version is asked for.
    pub const LATEST: Kubernetes = Kubernetes::V1_36;

    /// The version that `LOCKKEEPER_KUBERNETES` asks for (`make` sets it from `K8S`), else the latest.
    ///
    /// # Errors
    /// If there is none of that name, with those that there are.
    pub fn asked() -> Result<Kubernetes, UnknownKubernetes> {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        if text.is_empty() { Ok(Kubernetes::LATEST) } else { text.parse() }
    }

    /// Such as `1.36`.
    pub fn minor_version(self) -> &'static str {
        let patch = self.version();
        patch.rsplit_once('.').map_or(patch, |(minor, _)| minor)
    }

    /// Whether its API server has `MutatingAdmissionPolicy` in v1.
    pub fn has_mutating_policies(self) -> bool {
        self >= Kubernetes::V1_36
    }

    /// With the patch, such as `1.36.3`.
    pub(super) fn version(self) -> &'static str {
        match self {
            Kubernetes::V1_33 => "1.33.13",
            Kubernetes::V1_34 => "1.34.4",
            Kubernetes::V1_35 => "1.35.4",
            Kubernetes::V1_36 => "1.36.3",
        }
    }

    /// `go.mod` and `go.sum`.
    fn modules(self) -> (&'static str, &'static str) {
        macro_rules! of {
            ($version:literal) => {
                (
                    include_str!(concat!("../controlplane/", $version, "/go.mod")),
                    include_str!(concat!("../controlplane/", $version, "/go.sum")),
                )
            };
        }
        match self {
            Kubernetes::V1_33 => of!("1.33"),
            Kubernetes::V1_34 => of!("1.34"),
            Kubernetes::V1_35 => of!("1.35"),
            Kubernetes::V1_36 => of!("1.36"),
        }
    }
}

/// Builds it, once.
pub(super) fn control_plane(kubernetes: Kubernetes) -> Result<PathBuf> {
    let (go_mod, go_sum) = kubernetes.modules();
    let sources = [("main.go", MAIN), ("go.mod", go_mod), ("go.sum", go_sum)];
    let hash = sources.iter().fold(Sha256::new(), |hash, (_, text)| hash.chain_update(text)).finalize();
    let revision: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let version = kubernetes.version();
    cached(&format!("kcp-{version}-{revision}"), "4 to 8 minutes", |directory, progress| {
        let source = directory.join("source");
        fs::create_dir(&source)?;
        for (name, text) in sources {
            fs::write(source.join(name), text)?;
        }
        let (major, minor) = kubernetes.minor_version().split_once('.').context("a version has two parts")?;
        // Clients refuse to work with a server whose version they cannot parse.
        let numbers = [("Version", format!("v{version}")), ("Major", major.to_owned()), ("Minor", minor.to_owned())];
        let linked = numbers.map(|(what, value)| format!("-X k8s.io/component-base/version.git{what}={value}"));
        let mut build = go()?;
        build.current_dir(&source).args(["build", "-v", "-ldflags", &format!("-s -w {}", linked.join(" ")), "-o"]);
        run(build.arg(directory.join("kcp")).arg("."), "packages", progress)?;
        fs::remove_dir_all(source)?;
        for name in COMPONENTS {
            std::os::unix::fs::symlink("kcp", directory.join(name))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_its_minor_version_and_built_from_modules_of_exactly_it() {
        for kubernetes in Kubernetes::ALL {
            assert_eq!(kubernetes.minor_version().parse(), Ok(kubernetes));
            let (go_mod, go_sum) = kubernetes.modules();
            let (version, staging) = (kubernetes.version(), kubernetes.version().replacen('1', "0", 1));
            assert!(go_mod.contains(&format!("k8s.io/kubernetes v{version}\n")), "{go_mod}");
            assert!(go_sum.contains(&format!("k8s.io/kubernetes v{version} h1:")));
            let replaced = go_mod.lines().filter(|line| line.contains(" => "));
            for line in replaced {
                assert!(line.ends_with(&format!(" v{staging}")), "{line}");
            }
        }
    }

    #[test]
    fn another_version_is_refused_with_those_that_there_are() {
        for text in ["1.20", "1.36.3", "v1.36", "latest"] {
            let error = text.parse::<Kubernetes>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")) && error.contains("1.33, 1.34, 1.35, 1.36"), "{error}");
        }
    }
}
