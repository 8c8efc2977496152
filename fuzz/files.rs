//! Files that users give to `lockkeeper simulate` and `lockkeeper plan`.

use jiff::Timestamp;
use lockkeeper_api::{Decision, DeploymentWindow, Release, RollbackPolicy};
use lockkeeper_simulator::{
    api::Kind,
    rehearse::{Case, Manifest, Scenario, advice, outline},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// YAML with objects: what is accepted can be read, planned and warned about.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let manifest = match Manifest::read(&[("a.yaml".into(), text.into())], "default") {
        Ok(manifest) => manifest,
        Err(faults) => {
            assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.message.is_empty()));
            return;
        }
    };
    manifest.of(Kind::Release).for_each(readable::<Release>);
    manifest.of(Kind::DeploymentWindow).for_each(readable::<DeploymentWindow>);
    manifest.of(Kind::RollbackPolicy).for_each(readable::<RollbackPolicy>);
    manifest.of(Kind::Decision).for_each(readable::<Decision>);
    let at: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
    let cases = Case::all(&manifest);
    assert_eq!(outline::all(&manifest, at).len(), cases.len());
    outline::idle_windows(&manifest, &cases);
    for case in &cases {
        let warnings = advice::of_case(case, Some(1.0), at);
        assert!(warnings.iter().all(|warning| !warning.text.is_empty()));
    }
}

/// The API server itself looks after metadata; what is not ours to check may be wrong.
fn readable<K: DeserializeOwned>(object: &Value) {
    let mut object = object.clone();
    object["metadata"] = serde_json::json!({"name": "n"});
    object.as_object_mut().unwrap().remove("status");
    let read = serde_json::from_value::<K>(object.clone());
    assert!(read.is_ok(), "accepted, but it cannot be read ({}): {object}", read.err().unwrap());
}

/// A scenario: what is accepted has versions with names of their own, and traffic.
pub fn scenario(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Scenario::parse(text) {
        Ok(scenario) => {
            let mut names: Vec<&str> = scenario.versions_played().map(|version| version.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert!(count > 0 && names.len() == count, "{names:?}");
            let load = scenario.load();
            assert!(!load.is_empty() && load.iter().all(|load| load.requests_per_second >= 0.0));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
