//! What Argo CD and Flux call a Release in every phase, by their own code, with the files of `config/gitops`.
//!
//! The Releases are what the engine has made of a cluster: `src/engine/tests/decide/sentences/gitops.rs` keeps the file true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use lockkeeper_e2e::GitOpsTools;
use serde_json::{Map, Value, json};

/// Argo CD's word; Flux's by kstatus alone; by the expressions of `checkout.yaml`; by those of `until-it-is-out.yaml`.
const TABLE: [(&str, [&str; 4]); 16] = [
    ("not seen yet", ["Progressing", "Current", "Unknown", "Unknown"]),
    ("at rest", ["Healthy", "Current", "Current", "Current"]),
    ("changed and not seen yet", ["Progressing", "InProgress", "InProgress", "InProgress"]),
    ("waiting for approval", ["Suspended", "Current", "Current", "InProgress"]),
    ("waiting for a window", ["Suspended", "Current", "Current", "InProgress"]),
    ("progressing", ["Progressing", "InProgress", "InProgress", "InProgress"]),
    ("paused", ["Suspended", "Current", "Current", "InProgress"]),
    ("paused without data", ["Suspended", "Current", "Current", "InProgress"]),
    ("paused until a fault is mended", ["Degraded", "Failed", "Failed", "Failed"]),
    ("promoting", ["Progressing", "InProgress", "InProgress", "InProgress"]),
    ("baking", ["Healthy", "Current", "Current", "Current"]),
    ("rolling back", ["Progressing", "InProgress", "InProgress", "InProgress"]),
    ("rolled back", ["Degraded", "Failed", "Failed", "Failed"]),
    ("aborted", ["Degraded", "Failed", "Failed", "Failed"]),
    ("rejected", ["Degraded", "Failed", "Failed", "Failed"]),
    ("invalid", ["Degraded", "Failed", "Failed", "Failed"]),
];

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

fn kustomization(path: &str) -> Value {
    let documents = serde_saphyr::from_multiple::<Value>(&file(path)).unwrap();
    documents.into_iter().find(|document| document["kind"] == "Kustomization").unwrap()
}

/// As `config/gitops/argocd/kustomization.yaml` makes it.
fn config_map() -> Value {
    let generated: Value = serde_saphyr::from_str(&file("config/gitops/argocd/kustomization.yaml")).unwrap();
    let files = generated["configMapGenerator"][0]["files"].as_array().unwrap();
    let data: Map<String, Value> = files
        .iter()
        .map(|entry| entry.as_str().unwrap().split_once('=').unwrap())
        .map(|(key, path)| (key.to_owned(), file(&format!("config/gitops/argocd/{path}")).into()))
        .collect();
    json!({"data": data})
}

fn asked(objects: &Value, kustomization: &Value) -> Value {
    let question = json!({"configMap": config_map(), "kustomization": kustomization, "objects": objects});
    GitOpsTools::install().unwrap().ask(&["health"], &question).unwrap()
}

#[test]
fn of_every_phase() {
    let releases: Value = serde_json::from_str(&file("e2e/gitops/releases.json")).unwrap();
    let by_kstatus = asked(&releases, &json!({"kind": "Kustomization"}));
    let waiting = asked(&releases, &kustomization("config/gitops/flux/checkout.yaml"));
    let until_out = asked(&releases, &kustomization("config/gitops/flux/until-it-is-out.yaml"));
    assert_eq!(releases.as_object().unwrap().len(), TABLE.len(), "the table lacks a situation");
    for (situation, expected) in TABLE {
        let argocd = &by_kstatus[situation]["argocd"];
        let found =
            [argocd, &by_kstatus[situation]["flux"], &waiting[situation]["flux"], &until_out[situation]["flux"]]
                .map(|verdict| verdict["status"].as_str().unwrap_or("nothing"));
        assert_eq!(found, expected, "{situation}");
        let status = &releases[situation]["status"];
        if status["observedGeneration"] == releases[situation]["metadata"]["generation"] {
            assert_eq!(argocd["message"], status["message"], "{situation}: the message is the Release's own");
        }
    }
}
