//! A gateway: it accepts routes after a while, or never, and its data planes follow one by one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Actor, Edit, Turn};
use crate::api::{
    Caller, Key, Kind, Object, User,
    object::{list, name, namespace, number, text},
    time,
};

/// By which rules requests may go at this moment, by route; the latest last. Checkers look at it.
pub type InForce = Arc<Mutex<BTreeMap<Key, Vec<Value>>>>;

/// What is known of a route.
#[derive(Debug)]
struct Known {
    generation: i64,
    accepts: Timestamp,
    /// Until when data planes may still have older rules.
    settles: Timestamp,
}

/// The gateway at work.
#[derive(Debug)]
pub struct Gateway {
    caller: Caller,
    routes: BTreeMap<Key, Known>,
    in_force: InForce,
    /// How long it takes to accept a route, in milliseconds.
    accepts_after: (u64, u64),
    /// How long its data planes may take from then on, in milliseconds.
    settles_after: (u64, u64),
    /// The Gateways that are there; none: whichever a route names.
    names: Option<Vec<String>>,
}

impl Gateway {
    /// A gateway that accepts within these milliseconds, and whose data planes follow within those.
    pub fn new(accepts_after: (u64, u64), settles_after: (u64, u64)) -> Self {
        let caller = Caller::new(User::controller("gateway"));
        Self {
            caller,
            routes: BTreeMap::new(),
            in_force: InForce::default(),
            accepts_after,
            settles_after,
            names: None,
        }
    }

    /// The same, where only the Gateways of these names are there.
    pub fn only(self, names: Option<Vec<String>>) -> Self {
        Self { names, ..self }
    }

    /// Those of a route's parents that are there.
    fn parents_of<'a>(&self, route: &'a Value) -> Vec<&'a Value> {
        let is_there = |parent: &&Value| match &self.names {
            Some(names) => names.iter().any(|name| parent["name"] == name.as_str()),
            None => true,
        };
        list(&route["spec"]["parentRefs"]).iter().filter(is_there).collect()
    }

    /// By which rules requests may go.
    pub fn in_force(&self) -> InForce {
        self.in_force.clone()
    }

    /// Takes notice of a route as it is now.
    fn know(&mut self, key: &Key, route: &Object, turn: &mut Turn<'_>) -> &mut Known {
        let generation = number(&route["metadata"]["generation"]);
        let fate = |turn: &mut Turn<'_>| {
            let accepts =
                turn.now + Duration::from_millis(turn.random.u64(self.accepts_after.0..=self.accepts_after.1));
            let settles = accepts + Duration::from_millis(turn.random.u64(self.settles_after.0..=self.settles_after.1));
            Known { generation, accepts, settles }
        };
        let known = self.routes.entry(key.clone()).or_insert_with(|| {
            let fate = fate(turn);
            // Of a route that has been accepted as it is, its data planes have heard long ago.
            if is_accepted(route) { Known { accepts: turn.now, settles: turn.now, ..fate } } else { fate }
        });
        let mut in_force = self.in_force.lock();
        let rules = in_force.entry(key.clone()).or_default();
        if known.generation != generation {
            *known = fate(turn);
        }
        if rules.last() != Some(&route["spec"]["rules"]) {
            rules.push(route["spec"]["rules"].clone());
        }
        if known.settles <= turn.now {
            rules.drain(..rules.len() - 1);
        }
        known
    }
}

impl Actor for Gateway {
    fn watches(&self) -> &'static [Kind] {
        &[Kind::HTTPRoute, Kind::Service]
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let routes: Vec<_> = turn.server.store().objects().of(Kind::HTTPRoute).cloned().collect();
        let keys: Vec<Key> =
            routes.iter().map(|route| Key::new(Kind::HTTPRoute, namespace(route), name(route))).collect();
        self.routes.retain(|key, _| keys.contains(key));
        self.in_force.lock().retain(|key, _| keys.contains(key));
        let mut wake = None;
        for (key, route) in keys.iter().zip(&routes) {
            let now = turn.now;
            let named = self.parents_of(route);
            if named.is_empty() {
                // Nobody looks at it, and what was said of it before stays.
                continue;
            }
            let known = self.know(key, route, turn);
            let moments = [known.accepts, known.settles].into_iter().filter(|at| *at > now).min();
            wake = wake.into_iter().chain(moments).min();
            if known.accepts > now {
                continue;
            }
            let parents = parents(route, &named, turn);
            if route["status"]["parents"] != parents {
                let mut reported = route.value().clone();
                reported["status"] = json!({"parents": parents});
                Edit::apply_all(vec![Edit::Status(Kind::HTTPRoute, reported)], turn.server, &self.caller);
            }
        }
        wake
    }
}

/// Whether all that is said of a route is said of what it is now.
fn is_accepted(route: &Object) -> bool {
    let conditions = list(&route["status"]["parents"]).iter().flat_map(|parent| list(&parent["conditions"]));
    let observed: Vec<&Value> = conditions.map(|condition| &condition["observedGeneration"]).collect();
    !observed.is_empty() && observed.into_iter().all(|observed| *observed == route["metadata"]["generation"])
}

fn parents(route: &Object, named: &[&Value], turn: &Turn<'_>) -> Value {
    let objects = turn.server.store().objects();
    let backends = list(&route["spec"]["rules"]).iter().flat_map(|rule| list(&rule["backendRefs"]));
    let missing = backends
        .into_iter()
        .any(|backend| objects.get(&Key::new(Kind::Service, namespace(route), text(&backend["name"]))).is_none());
    let resolved = if missing { ("False", "BackendNotFound") } else { ("True", "ResolvedRefs") };
    let said = list(&route["status"]["parents"]);
    named
        .iter()
        .map(|parent| {
            let before = said.iter().find(|said| said["parentRef"] == **parent);
            let condition = |kind: &str, status: &str, reason: &str| {
                let conditions = before.map_or(&[][..], |before| list(&before["conditions"]));
                let last = conditions.iter().find(|last| last["type"] == kind && last["status"] == status);
                let since = last.map_or_else(|| time(turn.now), |last| last["lastTransitionTime"].clone());
                json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": since,
                    "observedGeneration": route["metadata"]["generation"]})
            };
            json!({
                "parentRef": parent, "controllerName": "example.com/gateway",
                "conditions": [condition("Accepted", "True", "Accepted"), condition("ResolvedRefs", resolved.0, resolved.1)],
            })
        })
        .collect()
}
