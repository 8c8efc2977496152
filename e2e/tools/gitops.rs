//! Argo CD's and Flux's own code as one small program, and the kinds that they define.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::cache::cached;
use super::command::run;
use super::{go, module_source};

const SOURCES: [(&str, &str); 6] = [
    ("main.go", include_str!("../gitops/main.go")),
    ("health.go", include_str!("../gitops/health.go")),
    ("argocd.go", include_str!("../gitops/argocd.go")),
    ("flux.go", include_str!("../gitops/flux.go")),
    ("go.mod", include_str!("../gitops/go.mod")),
    ("go.sum", include_str!("../gitops/go.sum")),
];
/// Modules with custom resource definitions, and where in them. Versions are those of `go.mod`.
const KINDS: [(&str, &str); 3] = [
    ("github.com/argoproj/argo-cd/v3@v3.5.7", "manifests/crds/application-crd.yaml"),
    (
        "github.com/fluxcd/kustomize-controller@v1.9.6",
        "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",
    ),
    ("github.com/fluxcd/source-controller@v1.9.6", "config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml"),
];

/// What Argo CD and Flux make of objects, told by their own code.
#[derive(Clone, Debug)]
pub struct GitOpsTools(PathBuf);

impl GitOpsTools {
    /// Finds the program in the cache or builds it, which takes minutes. Needs the registries, so call it before
    /// [`crate::reexec_in_network_namespace`].
    ///
    /// # Errors
    /// Names what is missing on this machine and how to get it.
    pub fn install() -> Result<GitOpsTools> {
        let hash = SOURCES.iter().fold(Sha256::new(), |hash, (_, text)| hash.chain_update(text)).finalize();
        let revision: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let directory = cached(&format!("gitops-{revision}"), "1 to 4 minutes", |directory, progress| {
            for (module, path) in KINDS {
                let file = module_source(module)?.join(path);
                fs::write(directory.join(file.file_name().context("a kind has no name")?), fs::read(&file)?)?;
            }
            let source = directory.join("source");
            fs::create_dir(&source)?;
            for (name, text) in SOURCES {
                fs::write(source.join(name), text)?;
            }
            let mut build = go()?;
            build.current_dir(&source).args(["build", "-v", "-ldflags", "-s -w", "-o"]);
            run(build.arg(directory.join("gitops")).arg("."), "packages", progress)?;
            Ok(fs::remove_dir_all(source)?)
        })?;
        Ok(GitOpsTools(directory))
    }

    /// Files of the custom resource definitions of Application, Kustomization and GitRepository.
    pub fn kinds(&self) -> impl Iterator<Item = PathBuf> {
        KINDS.iter().filter_map(|(_, path)| Path::new(path).file_name()).map(|name| self.0.join(name))
    }

    /// Asks one of the commands that `gitops/main.go` lists.
    ///
    /// # Errors
    /// What the tool says against the question.
    pub fn ask(&self, arguments: &[&str], question: &Value) -> Result<Value> {
        let mut child = Command::new(self.0.join("gitops"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no standard input")?.write_all(&serde_json::to_vec(question)?)?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
