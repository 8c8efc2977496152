//! The EndpointSlice controller: which pods a Service has, and which of them are ready.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Actor, Edit, Turn, idle::Idle};
use crate::api::{
    Caller, Kind, Object, User,
    object::{deleting, list, name, namespace, uid},
};

const SERVICE: &str = "kubernetes.io/service-name";

/// What the controller does about a Service, of all pods and slices of its namespace.
pub fn sync(service: &Value, pods: &[Arc<Object>], slices: &[Arc<Object>]) -> Option<Edit> {
    let selector = &service["spec"]["selector"];
    if !selector.is_object() || deleting(service) {
        return None;
    }
    let own = pods.iter().filter(|pod| pod.is_selected_by(selector));
    let own: Vec<&Arc<Object>> = own.filter(|pod| pod["status"]["phase"] == "Running").collect();
    let known = slices.iter().find(|slice| slice.owners().any(|owner| owner == uid(service)));
    let ports = own.first().map_or_else(Vec::new, |pod| ports(service, pod));
    if known.is_some_and(|slice| tells(&slice["endpoints"], service, &own) && list(&slice["ports"]) == ports) {
        return None;
    }
    let endpoints: Vec<Value> = own.iter().map(|pod| endpoint(service, pod)).collect();
    match known {
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

/// Where pods as this one listen: ports whose name no container has are left out.
fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let containers = list(&pod["spec"]["containers"]).iter();
    let open: Vec<&Value> = containers.flat_map(|container| list(&container["ports"])).collect();
    let ports = list(&service["spec"]["ports"]).iter().filter_map(|port| {
        let target = match &port["targetPort"] {
            Value::Null => &port["port"],
            Value::String(name) => &open.iter().find(|open| open["name"] == name.as_str())?["containerPort"],
            number => number,
        };
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        Some(json!({"name": port["name"].as_str().unwrap_or_default(), "port": target, "protocol": protocol}))
    });
    ports.collect()
}

/// Whether these are the endpoints of these pods: mostly they are, and to compare is cheaper than to write them anew.
fn tells(endpoints: &Value, service: &Value, pods: &[&Arc<Object>]) -> bool {
    let endpoints = list(endpoints);
    let same = |(told, pod): (&Value, &&Arc<Object>)| {
        let (about, conditions) = (&told["targetRef"], conditions(service, pod));
        let sizes = [(told, 2), (about, 4), (&told["conditions"], conditions.len())];
        sizes.into_iter().all(|(part, size)| part.as_object().is_some_and(|fields| fields.len() == size))
            && (about["uid"] == pod.uid() && about["name"] == name(pod))
            && (about["kind"] == "Pod" && about["namespace"] == namespace(pod))
            && conditions.into_iter().all(|(name, is)| told["conditions"][name] == is)
    };
    endpoints.len() == pods.len() && endpoints.iter().zip(pods).all(same)
}

fn conditions(service: &Value, pod: &Object) -> [(&'static str, bool); 3] {
    let (serves, ends) = (pod.is_ready(), pod.is_deleting());
    let always = service["spec"]["publishNotReadyAddresses"] == true;
    [("ready", always || (serves && !ends)), ("serving", serves), ("terminating", ends)]
}

fn endpoint(service: &Value, pod: &Object) -> Value {
    let conditions: Map<String, Value> =
        conditions(service, pod).into_iter().map(|(name, is)| (name.to_owned(), is.into())).collect();
    json!({
        "targetRef": {"kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": pod.uid()},
        "conditions": conditions,
    })
}

/// The controller at work.
#[derive(Debug)]
pub struct EndpointController {
    caller: Caller,
    idle: Idle,
}

impl Default for EndpointController {
    fn default() -> Self {
        Self { caller: Caller::new(User::controller("endpointslice-controller")), idle: Idle::default() }
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
            let seen: Vec<_> = [&service].into_iter().chain(&pods).chain(&slices).cloned().collect();
            if self.idle.until(&seen, turn.now).is_some() {
                continue;
            }
            let edit = sync(&service, &pods, &slices);
            if edit.is_none() {
                self.idle.note(seen, None);
            }
            Edit::apply_all(edit.into_iter().collect(), turn.server, &self.caller);
        }
        None
    }
}
