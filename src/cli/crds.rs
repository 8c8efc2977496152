//! `lockkeeper crds`: the custom resource definitions, generated from the types.

use std::{fs, io::Write, path::PathBuf};

use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::error::Error;

/// Where the definitions go.
#[derive(Args, Debug)]
pub struct Crds {
    /// Write one file for each into this directory, with a kustomization.yaml; default: all to standard output
    ///
    /// The directory is created if need be. Install it by kubectl apply -k.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

impl Crds {
    /// Prints or writes them.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn run(self) -> Result<(), Error> {
        let mut files = files()?;
        let Some(dir) = self.dir else {
            let text: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
            return Ok(std::io::stdout().write_all(text.join("---\n").as_bytes())?);
        };
        files.push(kustomization(&files));
        fs::create_dir_all(&dir).map_err(|source| Error::File { path: dir.clone(), source })?;
        for file in files {
            let path = dir.join(file.name);
            fs::write(&path, file.text).map_err(|source| Error::File { path, source })?;
        }
        Ok(())
    }
}

struct File {
    name: String,
    text: String,
}

fn files() -> Result<Vec<File>, Error> {
    lockkeeper_api::crds().iter().map(file).collect()
}

fn file(crd: &CustomResourceDefinition) -> Result<File, Error> {
    // By way of a JSON value, so that keys are sorted and a change of the types shows as a small difference.
    let value = serde_json::to_value(crd)?;
    let text = serde_saphyr::to_string(&value).map_err(|error| Error::Yaml(error.to_string()))?;
    Ok(File { name: format!("{}.yaml", crd.spec.names.plural), text })
}

/// What `kubectl apply -k` and other kustomizations find the files by.
fn kustomization(files: &[File]) -> File {
    let mut names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{}]\n",
        names.join(", ")
    );
    File { name: "kustomization.yaml".into(), text }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;

    /// What plain `kubectl apply` can keep in its annotation, with room to spare.
    const SIZE_MAX: usize = 100_000;

    #[test]
    fn the_chart_holds_exactly_what_the_types_say() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/lockkeeper/files/crds");
        let kept: BTreeMap<String, String> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
            .collect();
        let mut files = files().unwrap();
        files.push(kustomization(&files));
        let generated: BTreeMap<String, String> = files.into_iter().map(|file| (file.name, file.text)).collect();
        assert!(kept == generated, "run `make crds`: the chart differs from the types in src/api");
    }

    #[test]
    fn each_definition_is_small_enough_for_plain_kubectl_apply() {
        for file in files().unwrap() {
            assert!(file.text.len() < SIZE_MAX, "{} has {} bytes", file.name, file.text.len());
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_definition() {
        for crd in lockkeeper_api::crds() {
            let read: CustomResourceDefinition = serde_saphyr::from_str(&file(&crd).unwrap().text).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(crd).unwrap());
        }
    }
}
