//! Our kinds as JSON, and their scalars.

use lockkeeper_api::{Decision, DeploymentWindow, Release, RollbackPolicy, scalar};
use lockkeeper_simulator::api::{Kind, faults};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// An object of ours: what admission lets in can be read, and what we write is read as the same.
pub fn kind(data: &[u8]) {
    let Ok(object) = serde_json::from_slice::<Value>(data) else { return };
    match object["kind"].as_str() {
        Some("Release") => check::<Release>(Kind::Release, object),
        Some("DeploymentWindow") => check::<DeploymentWindow>(Kind::DeploymentWindow, object),
        Some("RollbackPolicy") => check::<RollbackPolicy>(Kind::RollbackPolicy, object),
        Some("Decision") => check::<Decision>(Kind::Decision, object),
        Some(_) | None => {}
    }
}

fn check<K: Serialize + DeserializeOwned>(kind: Kind, mut object: Value) {
    round_trip::<K>(object.clone());
    // The API server itself looks after metadata, and the operator writes the status.
    object["metadata"] = json!({"name": "n", "namespace": "s"});
    object["apiVersion"] = kind.api_version().into();
    object.as_object_mut().expect("it has a kind").remove("status");
    let found = faults(kind, &object);
    assert!(found.iter().all(|(_, fault)| !fault.is_empty()), "a fault without a sentence: {found:?}");
    if found.is_empty() {
        let read = serde_json::from_value::<K>(object.clone());
        assert!(read.is_ok(), "admitted, but it cannot be read ({}): {object}", read.err().unwrap());
    }
}

pub(crate) fn round_trip<K: Serialize + DeserializeOwned>(object: Value) {
    let Ok(read) = serde_json::from_value::<K>(object) else { return };
    let written = serde_json::to_value(&read).expect("what was read can be written");
    let again: K = serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(serde_json::to_value(&again).unwrap(), written);
}

/// A duration: admission and our own reader agree, and what we write is read as the same.
pub fn duration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = text.parse::<scalar::Duration>();
    let policy = json!({"spec": {"checks": [{"name": "c", "query": "q", "max": 1}], "bake": text}});
    let admitted = faults(Kind::RollbackPolicy, &policy);
    // Admission bounds the length of the text, so that its rules are cheap.
    let refused = read.is_err() || text.chars().count() > 20;
    assert_eq!(!admitted.is_empty(), refused, "{text:?} is read as {read:?}, and admission says {admitted:?}");
    if let Ok(read) = read {
        assert!(read.as_secs() <= scalar::DURATION_MAX_SECONDS);
        assert_eq!(read.to_string().parse(), Ok(read));
    }
}
