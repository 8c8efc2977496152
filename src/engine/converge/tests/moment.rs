//! A workload between two versions at one moment, made up: for tables of what single functions say of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{
    Release,
    names::{HOLD, PAUSED_BY, POD_TEMPLATE_HASH, RELEASE},
    release::WorkloadRevision,
};
use serde_json::{Value, json};

use crate::{
    converge::{Keep, Scene},
    decide::{Outcome, decide},
    plan::{Plan, Setting},
    revision::digest_of,
    traffic::{self, Backends},
    world::{
        Authorship, DeploymentView, Guard, ReplicaSetView, Role, RouteView, SavedTemplate, ServiceView, Template,
        WorkloadView, World,
    },
};

/// Deployment `web` of four pods between two versions, `a` and `b`, whose ReplicaSets, digests and pods are called by them.
#[derive(Clone)]
pub struct Moment {
    pub plan: Plan,
    pub view: WorkloadView,
    pub keep: Keep,
    pub share: u8,
    pub target: u8,
    pub shut: bool,
}

/// One workload of a Release: `web`, with its Service and with these routes and further Services to pin.
pub fn plan(routed: bool) -> Plan {
    let mut workload = json!({"ref": {"kind": "Deployment", "name": "web"}, "service": "web", "pin": ["web-admin"]});
    if routed {
        workload["routes"] = json!([{"kind": "HTTPRoute", "name": "web"}]);
    }
    let spec = json!({"workloads": [workload], "strategy": {"canary": {"steps": [{"setWeight": 50}]}}});
    let release = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
        "metadata": {"name": "shop", "namespace": "team", "resourceVersion": "7"}, "spec": spec,
    });
    let release: Release = serde_json::from_value(release).unwrap();
    let setting = Setting {
        operator_namespace: "platform".into(),
        settle: SignedDuration::from_secs(5),
        paused_at_rest: false,
        approving_service_accounts: Vec::new(),
    };
    Plan::parse(&release, &BTreeMap::new(), setting)
}

/// So many seconds after a certain time; it is the 100th.
pub fn second(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub fn template(version: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": format!("web:{version}")}]}})
}

/// Of this version: the Deployment's own if it has no role.
pub fn replica_set(version: &str, role: Option<Role>, pods: u32) -> ReplicaSetView {
    let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    ReplicaSetView {
        name: format!("web-{version}"),
        uid: format!("uid-{version}"),
        resource_version: format!("5{version}"),
        deleting: false,
        controlled: role.is_none(),
        role,
        borrowed: false,
        hash: version.into(),
        labels: labels.clone(),
        template_labels: labels,
        digest: version.into(),
        version: version.into(),
        images: BTreeMap::from([("app".to_owned(), format!("web:{version}"))]),
        template: Some(Template::from(template(version))),
        replicas: pods,
        existing: pods,
        available: pods,
        created: second(0),
    }
}

/// Selects this version if one is named; nothing is behind it yet.
pub fn service(name: &str, version: Option<&str>) -> ServiceView {
    let mut selector = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    selector.extend(version.map(|version| (POD_TEMPLATE_HASH.to_owned(), version.to_owned())));
    ServiceView {
        name: name.into(),
        uid: format!("uid-{name}"),
        resource_version: format!("5{name}"),
        deleting: false,
        ours: name == "web-canary",
        selector,
        pin: version.filter(|_| name != "web-canary").map(str::to_owned),
        ports: json!([{"port": 80}]).into(),
        headless: false,
        heard: true,
        ready: Vec::new(),
        ready_since: Some(second(0)),
        authorship: Authorship::default(),
    }
}

pub fn pods(version: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("web-{version}-{number:05}")).collect()
}

impl Moment {
    /// Version `b` stands beside `a`, whole; it has half of the traffic, and the stable Services are pinned to `a`.
    pub fn beside(routed: bool) -> Self {
        let hold = digest_of(&[revision("b")]);
        let marks = [(HOLD, hold.as_str()), (PAUSED_BY, "lockkeeper"), (RELEASE, "shop")];
        let deployment = DeploymentView {
            name: "web".into(),
            uid: "uid".into(),
            resource_version: "5".into(),
            current: true,
            deleting: false,
            replicas: 4,
            paused: true,
            recreate: false,
            min_ready_seconds: 0,
            marks: marks.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            selector: json!({"matchLabels": {"app": "web"}}).into(),
            template: template("b").into(),
            digest: "b".into(),
            status_replicas: 4,
            updated: 0,
            available: 4,
            overdue: false,
            authorship: Authorship::default(),
        };
        let saved = SavedTemplate {
            name: "web-a-stable".into(),
            uid: "uid-saved".into(),
            resource_version: "5".into(),
            hash: "a".into(),
            template: template("a").into(),
        };
        let services = [service("web", Some("a")), service("web-admin", Some("a")), service("web-canary", Some("b"))];
        let view = WorkloadView {
            deployment: Some(deployment),
            replica_sets: vec![replica_set("a", None, 4), replica_set("b", Some(Role::Candidate), 4)],
            saved: vec![saved],
            services: services.into_iter().map(|service| (service.name.clone(), service)).collect(),
            other_services: Vec::new(),
            routes: if routed { Self::untouched() } else { BTreeMap::new() },
            crash: None,
        };
        let mut moment = Self { plan: plan(routed), view, keep: Keep::Full, share: 0, target: 50, shut: false };
        if routed {
            moment.weigh(50);
        } else {
            moment.view.services.remove("web-canary");
        }
        moment.follow();
        moment
    }

    /// The route as its owner wrote it.
    pub fn untouched() -> BTreeMap<String, RouteView> {
        let route = RouteView {
            name: "web".into(),
            resource_version: "5web".into(),
            deleting: false,
            rules: json!([{"backendRefs": [{"name": "web", "port": 80, "weight": 1}]}]),
            accepted: Some(second(0)),
            complaint: None,
            authorship: Authorship::default(),
        };
        BTreeMap::from([("web".to_owned(), route)])
    }

    /// The endpoints of all Services are the pods that they select.
    pub fn follow(&mut self) {
        let versions: Vec<_> = self.view.replica_sets.iter().map(|set| (set.hash.clone(), set.available)).collect();
        for service in self.view.services.values_mut() {
            let selected = service.selector.get(POD_TEMPLATE_HASH);
            let selected = versions.iter().filter(|(hash, _)| selected.is_none_or(|version| version == hash));
            service.ready = selected.flat_map(|(hash, count)| pods(hash, *count as usize)).collect();
        }
    }

    /// The same in which something else has happened, and EndpointSlices have followed.
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other.follow();
        other
    }

    /// The same in which something else has happened after EndpointSlices have followed.
    pub fn but(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// The candidate's Service has this share.
    pub fn weigh(&mut self, share: u8) {
        let backends = Backends { stable: "web", canary: "web-canary" };
        let route = self.view.routes.get_mut("web").unwrap();
        for (index, refs) in traffic::edit(&route.rules, backends, Some(share)) {
            route.rules[index]["backendRefs"] = refs;
        }
    }

    pub fn set(&mut self, version: &str) -> &mut ReplicaSetView {
        self.view.replica_sets.iter_mut().find(|set| set.hash == version).unwrap()
    }

    /// A version has, and wants, so many pods.
    pub fn pods(&mut self, version: &str, count: u32) {
        let set = self.set(version);
        (set.replicas, set.existing, set.available) = (count, count, count);
    }

    /// The Deployment controls a version, or has let it go as this.
    pub fn role(&mut self, version: &str, role: Option<Role>) {
        let set = self.set(version);
        (set.controlled, set.role) = (role.is_none(), role);
    }

    pub fn deployment(&mut self) -> &mut DeploymentView {
        self.view.deployment.as_mut().unwrap()
    }

    pub fn service(&mut self, name: &str) -> &mut ServiceView {
        self.view.services.get_mut(name).unwrap()
    }

    /// The stable Services are pinned to this version.
    pub fn pin(&mut self, version: &str) {
        for name in ["web", "web-admin"] {
            let own = service(name, Some(version));
            self.view.services.insert(name.into(), own);
        }
    }

    /// The stable Services are as their owner wrote them.
    pub fn unpin(&mut self) {
        for name in ["web", "web-admin"] {
            self.view.services.insert(name.into(), service(name, None));
        }
    }

    /// The candidate's Service selects this version.
    pub fn aim(&mut self, version: &str) {
        self.view.services.insert("web-canary".into(), service("web-canary", Some(version)));
    }

    /// A gateway accepted the routes at this second.
    pub fn accepted(&mut self, at: Option<i64>) {
        self.view.routes.get_mut("web").unwrap().accepted = at.map(second);
    }

    /// `a` runs, and nothing is left of any release.
    pub fn at_rest() -> Self {
        let mut moment = Self::beside(true);
        moment.view.replica_sets.retain(|set| set.hash == "a");
        moment.view.saved.clear();
        moment.view.services.remove("web-canary");
        moment.view.routes = Self::untouched();
        moment.unpin();
        moment.wants("a");
        let deployment = moment.deployment();
        deployment.marks.retain(|key, _| key != HOLD && key != PAUSED_BY);
        (deployment.paused, deployment.updated) = (false, 4);
        moment.follow();
        moment
    }

    /// The Deployment's template is this version's.
    pub fn wants(&mut self, version: &str) {
        let deployment = self.deployment();
        (deployment.template, deployment.digest) = (template(version).into(), version.into());
    }

    /// Another version has a ReplicaSet.
    pub fn add(&mut self, version: &str, role: Option<Role>, pods: u32) {
        self.view.replica_sets.push(replica_set(version, role, pods));
    }

    /// What is decided at the 100th second, with this status and further Decisions.
    pub fn decided(&self, status: &Value, decisions: &[Value]) -> Outcome {
        let status = serde_json::from_value(status.clone()).unwrap();
        let world = World {
            workloads: vec![self.view.clone()],
            guard: Guard::Intact,
            decisions: decisions.iter().map(|decision| serde_json::from_value(decision.clone()).unwrap()).collect(),
            ..World::default()
        };
        decide(&self.plan, &world, &status, second(100))
    }

    /// As converging looks at it, at the 100th second.
    pub fn scene(&self) -> Scene<'_> {
        let deployment = self.view.deployment.as_ref().unwrap();
        Scene {
            plan: &self.plan,
            work: &self.plan.workloads[0],
            view: &self.view,
            deployment,
            hold: deployment.marks.get(HOLD).map_or("b", String::as_str),
            now: second(100),
        }
    }
}

pub fn revision(version: &str) -> WorkloadRevision {
    WorkloadRevision { name: "web".into(), hash: version.into(), digest: version.into(), uid: "uid".into() }
}

/// A version in a status.
pub fn version(version: &str) -> Value {
    let workloads = [revision(version)];
    json!({"revision": digest_of(&workloads), "version": version, "workloads": workloads, "since": second(0).to_string()})
}

/// The status of a release from `a` to `b` at this step.
pub fn stepping(moment: &Moment, index: usize) -> Value {
    let total = moment.plan.steps.len();
    json!({
        "phase": "Progressing", "since": second(0).to_string(), "stable": version("a"), "candidate": version("b"),
        "step": {
            "index": index, "total": total, "position": format!("{}/{total}", index + 1), "started": second(0).to_string(),
            "digest": moment.plan.steps_digest(index),
        },
        "weight": {"desired": 50, "confirmed": 0},
    })
}

/// The purposes of all writes, by object.
pub fn written(outcome: &Outcome) -> Vec<String> {
    outcome.writes.iter().map(|write| format!("{}: {}", write.name, write.purpose)).collect()
}
