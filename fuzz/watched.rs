//! Objects as watches bring them: anybody can write strange annotations, labels and specs.

use jiff::Timestamp;
use kube::api::DynamicObject;
use lockkeeper_operator::cache::{Cache, Object, Resource};

/// A list of objects: none keeps another one from being read, and only our annotations are kept.
pub fn watched(data: &[u8]) {
    let Ok(objects) = serde_json::from_slice::<Vec<serde_json::Value>>(data) else { return };
    let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
    let cache = Cache::new("platform");
    let mut taken: Vec<(Resource, DynamicObject)> = Vec::new();
    for object in objects {
        let Ok(Object(object)) = serde_json::from_value::<Object>(object) else { continue };
        let called = object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default();
        let Some(resource) = Resource::ALL.into_iter().find(|resource| resource.api().kind == called) else { continue };
        let key = cache.key(resource, &object.metadata);
        match cache.put(resource, object.clone(), now) {
            Ok(_) => {}
            Err(unreadable) => {
                assert!(!unreadable.fault.is_empty());
                assert!(cache.read().unreadable.contains_key(&(resource, key)));
            }
        }
        taken.push((resource, object));
    }
    for (_, entry) in cache.read().deployments.all() {
        assert!(entry.marks.keys().all(|mark| mark.starts_with("lockkeeper.dev/")));
        entry.template.glance();
    }
    for (_, entry) in cache.read().windows.all() {
        assert_eq!(entry.view.at("platform", now).is_some(), entry.view.faults("platform").is_empty());
    }
    for (resource, object) in taken {
        cache.remove(resource, &object.metadata);
    }
    assert!(cache.read().unreadable.is_empty(), "what is gone is not unreadable");
}
