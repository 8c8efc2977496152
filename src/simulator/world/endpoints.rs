//! The EndpointSlice controller: which pods a Service has, and which of them are ready.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Actor, Edit, Turn, replica_set::is_ready};
use crate::api::{
    Caller, Kind, Object, User,
    object::{deleting, list, name, namespace, uid},
    selects_plain,
};

const SERVICE: &str = "kubernetes.io/service-name";

/// What the controller does about a Service, of all pods and slices of its namespace.
pub fn sync(service: &Value, pods: &[Arc<Object>], slices: &[Arc<Object>]) -> Option<Edit> {
    if !service["spec"]["selector"].is_object() || deleting(service) {
        return None;
    }
    let own = pods.iter().filter(|pod| selects_plain(&service["spec"]["selector"], &pod["metadata"]["labels"]));
    let endpoints: Vec<Value> =
        own.filter(|pod| pod["status"]["phase"] == "Running").map(|pod| endpoint(pod)).collect();
    let known = slices.iter().find(|slice| {
        list(&slice["metadata"]["ownerReferences"]).iter().any(|owner| owner["uid"] == service["metadata"]["uid"])
    });
    let ports = if endpoints.is_empty() { Vec::new() } else { ports(service) };
    match known {
        Some(slice) if list(&slice["endpoints"]) == endpoints && list(&slice["ports"]) == ports => None,
        Some(slice) => {
            let mut slice = slice.value().clone();
            slice["endpoints"] = endpoints.into();
            slice["ports"] = ports.into();
            Some(Edit::Update(Kind::EndpointSlice, slice))
        }
        None => Some(Edit::Create(
            Kind::EndpointSlice,
            json!({
                "metadata": {
                    "generateName": format!("{}-", name(service)), "namespace": namespace(service),
                    "labels": {SERVICE: name(service), "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": name(service), "uid": uid(service),
                        "controller": true, "blockOwnerDeletion": true}],
                },
                "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
            }),
        )),
    }
}

/// Where pods listen. Named ports are not looked up.
fn ports(service: &Value) -> Vec<Value> {
    let ports = list(&service["spec"]["ports"]).iter().map(|port| {
        let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        json!({"name": port["name"].as_str().unwrap_or_default(), "port": target, "protocol": protocol})
    });
    ports.collect()
}

fn endpoint(pod: &Value) -> Value {
    let serves = is_ready(pod);
    let ends = deleting(pod);
    json!({
        "targetRef": {"kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod)},
        "conditions": {"ready": serves && !ends, "serving": serves, "terminating": ends},
    })
}

/// The controller at work.
#[derive(Debug)]
pub struct EndpointController(Caller);

impl Default for EndpointController {
    fn default() -> Self {
        Self(Caller::new(User::controller("endpointslice-controller")))
    }
}

impl Actor for EndpointController {
    fn watches(&self) -> &'static [Kind] {
        &[Kind::Service, Kind::Pod, Kind::EndpointSlice]
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let services: Vec<_> = turn.server.store().objects().of(Kind::Service).cloned().collect();
        for service in services {
            let objects = turn.server.store().objects();
            let pods: Vec<_> = objects.within(Kind::Pod, namespace(&service)).cloned().collect();
            let slices: Vec<_> = objects.within(Kind::EndpointSlice, namespace(&service)).cloned().collect();
            let edit = sync(&service, &pods, &slices);
            Edit::apply_all(edit.into_iter().collect(), turn.server, &self.0);
        }
        None
    }
}
