//! `lockkeeper get`: Releases as a table, one in detail, or as the API server gives them.

mod detail;
mod table;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};
use lockkeeper_api::Release;
use serde_json::json;

use crate::{
    cluster::{Cluster, Target},
    error::Error,
};

/// What to show.
#[derive(Args, Debug)]
pub struct Get {
    /// Name of the Release to show in detail; default: a table of all
    release: Option<String>,
    /// Releases of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["release", "namespace"])]
    all_namespaces: bool,
    /// How to show it; default: for people
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Output>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A table with the message of each Release
    Wide,
    /// JSON, as the API server gives it
    Json,
    /// YAML, as the API server gives it
    Yaml,
}

impl Get {
    /// Prints it.
    ///
    /// # Errors
    /// If the cluster is not reached, does not allow it, or has no such Release.
    pub async fn run(self) -> Result<(), Error> {
        let cluster = self.target.connect().await?;
        let text = match &self.release {
            Some(name) => one(&find(&cluster, name).await?, self.output)?,
            None => many(&list(&cluster, self.all_namespaces).await?, self.all_namespaces, self.output)?,
        };
        Ok(std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?)
    }
}

/// `Paused: waits for approval go-wide`, for the end of a sentence.
pub fn sentence(release: &Release) -> String {
    release.status.as_ref().map(|s| format!("{}: {}", s.phase, s.message)).unwrap_or_default()
}

// Untyped: what is shown as JSON is what the API server said, and one Release that cannot be read hides no other.
async fn find(cluster: &Cluster, name: &str) -> Result<DynamicObject, Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<Release>(&()));
    let found = api.get_opt(name).await.map_err(Error::reading)?;
    found.ok_or_else(|| Error::NoRelease { name: name.into(), namespace: cluster.namespace.clone() })
}

async fn list(cluster: &Cluster, all: bool) -> Result<Vec<DynamicObject>, Error> {
    let kind = ApiResource::erase::<Release>(&());
    let api: Api<DynamicObject> = if all {
        Api::all_with(cluster.client.clone(), &kind)
    } else {
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind)
    };
    let mut releases = api.list(&ListParams::default()).await.map_err(Error::reading)?.items;
    for release in &mut releases {
        // A list names them once for all.
        release.types.get_or_insert_with(kube::core::TypeMeta::resource::<Release>);
    }
    Ok(releases)
}

fn one(object: &DynamicObject, output: Option<Output>) -> Result<String, Error> {
    match output {
        Some(Output::Json) => json(object),
        Some(Output::Yaml) => yaml(object),
        Some(Output::Wide) => Ok(table::releases(std::slice::from_ref(object), false, true, Timestamp::now())),
        None => match read(object) {
            Ok(release) => Ok(detail::detail(&release, Timestamp::now())),
            Err(fault) => Err(Error::Refused(format!("{fault}; see it with -o yaml"))),
        },
    }
}

fn many(objects: &[DynamicObject], namespaces: bool, output: Option<Output>) -> Result<String, Error> {
    let list = || json!({"apiVersion": "v1", "kind": "List", "items": objects});
    match output {
        Some(Output::Json) => json(&list()),
        Some(Output::Yaml) => yaml(&list()),
        Some(Output::Wide) => Ok(table::releases(objects, namespaces, true, Timestamp::now())),
        None => Ok(table::releases(objects, namespaces, false, Timestamp::now())),
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn yaml(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|error| Error::Yaml(error.to_string()))
}

/// The typed Release, or why this version of the program cannot read it.
fn read(object: &DynamicObject) -> Result<Release, String> {
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| format!("this lockkeeper cannot read it: {error}"))
}
