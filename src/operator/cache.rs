//! What is known of the cluster: everything that a decision looks at, and nothing else. Reconciles read from here only.

pub mod object;
pub mod resource;
pub mod route;
pub mod store;
pub mod touched;
pub mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject, TypeMeta},
};
use lockkeeper_api::{
    Decision, DeploymentWindow, Release, RollbackPolicy,
    deployment_window::{DeploymentWindowSpec, DeploymentWindowStatus, Schedule, WindowAction},
};
use lockkeeper_engine::{
    analysis::{ParsedPolicy, PolicyPlan},
    sharing::{Caller, Located},
    window::WindowView,
    world::{DecisionView, DeploymentView, ServiceView},
};
use parking_lot::{RwLock, RwLockReadGuard};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::{
    object::Object,
    resource::Resource,
    store::{Key, Store},
    touched::Touched,
};
use self::{
    route::RouteEntry,
    touched::Users,
    view::{ReplicaSetEntry, SavedEntry, SliceEntry},
};

/// An object that could not be read. It is left out, and the others are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Kind.
    pub resource: Resource,
    /// Namespace and name.
    pub key: Key,
    /// UID.
    pub uid: String,
    /// What is wrong with it.
    pub fault: String,
    /// Who should look at that.
    pub touched: Touched,
}

/// A window, parsed, and what its own controller looks at.
#[derive(Clone, Debug)]
pub struct WindowEntry {
    /// The window.
    pub view: WindowView,
    /// Resource version.
    pub resource_version: Option<String>,
    /// Generation.
    pub generation: Option<i64>,
    /// Status.
    pub status: Option<DeploymentWindowStatus>,
}

/// A RollbackPolicy, parsed once for all Releases that use it.
#[derive(Debug)]
pub struct PolicyEntry {
    /// The policy.
    pub policy: RollbackPolicy,
    /// What its spec says.
    pub plan: ParsedPolicy,
}

impl PolicyEntry {
    /// Parses a policy. Most changes are of the status, and what was read `before` of the same spec holds still.
    fn new(policy: RollbackPolicy, before: Option<&Self>) -> Self {
        let plan = match before.filter(|before| before.policy.spec == policy.spec) {
            Some(before) => before.plan.clone(),
            None => PolicyPlan::parse(&policy.name_any(), &policy.spec).map(Arc::new),
        };
        Self { policy, plan }
    }
}

/// All objects. Read guards must not be held across an await.
#[derive(Debug)]
pub struct Cache {
    state: RwLock<State>,
    operator_namespace: String,
}

/// The objects by kind.
#[derive(Debug)]
pub struct State {
    /// Releases, without managed fields.
    pub releases: Store<Arc<Release>>,
    /// Windows.
    pub windows: Store<WindowEntry>,
    /// RollbackPolicies.
    pub policies: Store<Arc<PolicyEntry>>,
    /// Decisions by Release.
    pub decisions: Store<DecisionView>,
    /// Deployments.
    pub deployments: Store<DeploymentView>,
    /// ReplicaSets by Deployment.
    pub replica_sets: Store<ReplicaSetEntry>,
    /// Saved templates by Deployment.
    pub saved: Store<SavedEntry>,
    /// Services, without endpoints.
    pub services: Store<ServiceView>,
    /// EndpointSlices by Service.
    pub slices: Store<SliceEntry>,
    /// HTTPRoutes.
    pub routes: Store<RouteEntry>,
    /// Labels of namespaces.
    pub namespaces: Store<BTreeMap<String, String>>,
    /// Admission policies and bindings; the key's namespace is the kind.
    pub admission: Store<DynamicObject>,
    /// Objects that are there and cannot be read.
    pub unreadable: BTreeMap<(Resource, Key), Unreadable>,
    users: Users,
}

/// Does the same with the store of each kind.
macro_rules! on_store {
    ($state:expr, $resource:expr, |$store:ident| $do:expr) => {
        match $resource {
            Resource::Release => {
                let $store = &mut $state.releases;
                $do
            }
            Resource::DeploymentWindow => {
                let $store = &mut $state.windows;
                $do
            }
            Resource::RollbackPolicy => {
                let $store = &mut $state.policies;
                $do
            }
            Resource::Decision => {
                let $store = &mut $state.decisions;
                $do
            }
            Resource::Deployment => {
                let $store = &mut $state.deployments;
                $do
            }
            Resource::ReplicaSet => {
                let $store = &mut $state.replica_sets;
                $do
            }
            Resource::ControllerRevision => {
                let $store = &mut $state.saved;
                $do
            }
            Resource::Service => {
                let $store = &mut $state.services;
                $do
            }
            Resource::EndpointSlice => {
                let $store = &mut $state.slices;
                $do
            }
            Resource::HTTPRoute => {
                let $store = &mut $state.routes;
                $do
            }
            Resource::Namespace => {
                let $store = &mut $state.namespaces;
                $do
            }
            Resource::ValidatingAdmissionPolicy
            | Resource::ValidatingAdmissionPolicyBinding
            | Resource::MutatingAdmissionPolicy
            | Resource::MutatingAdmissionPolicyBinding => {
                let $store = &mut $state.admission;
                $do
            }
        }
    };
}
impl Cache {
    /// An empty cache. Windows of `operator_namespace` are about Releases everywhere.
    pub fn new(operator_namespace: &str) -> Self {
        let state = State {
            releases: Store::new(|_| None),
            windows: Store::new(|_| None),
            policies: Store::new(|_| None),
            decisions: Store::new(|decision| Some(&decision.spec.release)),
            deployments: Store::new(|_| None),
            replica_sets: Store::new(|entry| entry.deployment.as_deref()),
            saved: Store::new(|entry| entry.deployment.as_deref()),
            services: Store::new(|_| None),
            slices: Store::new(|slice| slice.service.as_deref()),
            routes: Store::new(|_| None),
            namespaces: Store::new(|_| None),
            admission: Store::new(|_| None),
            unreadable: BTreeMap::new(),
            users: Users::default(),
        };
        Self { state: RwLock::new(state), operator_namespace: operator_namespace.into() }
    }

    /// The objects, to be looked at for a moment.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Under which key an object is held.
    pub fn key(&self, resource: Resource, metadata: &ObjectMeta) -> Key {
        key(resource, metadata)
    }

    /// Takes an object as the answer to a write of ours shows it at `now`, unless the watch knows better. Says who should look at it.
    ///
    /// # Errors
    /// As [`Cache::put`].
    pub fn learn(&self, resource: Resource, object: DynamicObject, now: Timestamp) -> Result<Touched, Box<Unreadable>> {
        let (key, version) = (key(resource, &object.metadata), view::version(&object.metadata));
        if on_store!(self.state.write(), resource, |store| store.is_over(&key, &version)) {
            return Ok(Touched::default());
        }
        self.put(resource, object, now)
    }

    /// Takes an object as a watch shows it at `now`, unless a newer one is held. Says who should look at it.
    ///
    /// # Errors
    /// When the object does not have the shape of its kind; a window then closes, and others are left out.
    pub fn put(&self, resource: Resource, object: DynamicObject, now: Timestamp) -> Result<Touched, Box<Unreadable>> {
        let key = key(resource, &object.metadata);
        let mut state = self.state.write();
        let version = view::version(&object.metadata);
        // Our own write comes back by the watch. (A window that cannot be read is told of each time.)
        if resource != Resource::DeploymentWindow && !on_store!(state, resource, |store| store.is_news(&key, &version))
        {
            return Ok(Touched::default());
        }
        let before = Touched::by(&state, resource, &key, &self.operator_namespace);
        let kept = state.keep(resource, &key, object, now, &self.operator_namespace);
        let place = (resource, key.clone());
        match &kept {
            Ok(true) => drop(state.unreadable.remove(&place)),
            Ok(false) => return Ok(Touched::default()),
            Err(unreadable) => drop(state.unreadable.insert(place, unreadable.as_ref().clone())),
        }
        let touched = before.merge(Touched::by(&state, resource, &key, &self.operator_namespace));
        match kept {
            Ok(_) => Ok(touched),
            Err(mut unreadable) => {
                unreadable.touched = touched;
                Err(unreadable)
            }
        }
    }

    /// The watch says that an object is gone. Says who should look at that.
    pub fn remove(&self, resource: Resource, metadata: &ObjectMeta) -> Touched {
        let key = key(resource, metadata);
        let version = view::version(metadata);
        let mut state = self.state.write();
        let unreadable = state.unreadable.remove(&(resource, key.clone())).is_some();
        let touched = Touched::by(&state, resource, &key, &self.operator_namespace);
        let release = state.release(resource, &key);
        let removed = on_store!(state, resource, |store| store.remove(&key, &version));
        if resource == Resource::Release && unreadable && !removed {
            return Touched::left(&state, &key);
        }
        if !removed {
            return Touched::default();
        }
        state.users.replace(&key, release.as_deref(), None, &self.operator_namespace);
        touched.merge(Touched::default())
    }

    /// The API server says that an object is gone, which the watch may not have said yet.
    pub fn bury(&self, resource: Resource, key: &Key, uid: &str) {
        let mut state = self.state.write();
        on_store!(state, resource, |store| store.bury(key, uid));
    }

    /// A list has been read as a whole: what is not in it, of the namespaces that it covers, is gone.
    pub fn keep_only(&self, resource: Resource, listed: &BTreeSet<Key>, covers: impl Fn(&Key) -> bool) -> Touched {
        let mut state = self.state.write();
        let covers = |key: &Key| covers(key) && (resource.namespaced() || key.namespace == scope(resource));
        state.unreadable.retain(|(of, key), _| *of != resource || !covers(key) || listed.contains(key));
        let gone = on_store!(state, resource, |store| {
            store
                .all()
                .map(|(key, _)| key.clone())
                .filter(|key| covers(key) && !listed.contains(key))
                .collect::<Vec<_>>()
        });
        let mut all = Touched::default();
        for key in gone {
            // Merged with nothing first: the object is gone, and so whoever saw it looks again.
            let touched = Touched::by(&state, resource, &key, &self.operator_namespace).merge(Touched::default());
            all = all.merge(touched);
            let release = state.release(resource, &key);
            state.users.replace(&key, release.as_deref(), None, &self.operator_namespace);
        }
        on_store!(state, resource, |store| store.keep_only(listed, covers));
        all
    }
}

impl State {
    /// The RollbackPolicy that a Release of this namespace means by a name, or why it may not use it; none if there is no such
    /// policy. One in the Release's own namespace comes before one of the platform's.
    pub fn policy(
        &self,
        namespace: &str,
        name: &str,
        operator_namespace: &str,
    ) -> Option<(Key, Result<&PolicyEntry, String>)> {
        let keys = touched::meant(name, namespace, operator_namespace);
        let (key, policy) = keys.into_iter().find_map(|key| self.policies.get(&key).map(|policy| (key, policy)))?;
        let none = BTreeMap::new();
        let labels = self.namespaces.get(&Key::new("", namespace)).unwrap_or(&none);
        let located = Located { namespace: &key.namespace, name, spec: &policy.policy.spec };
        let misplaced = located.misplaced(operator_namespace).map(|fault| format!("RollbackPolicy {name}: {fault}"));
        let refusal = misplaced.or_else(|| located.refusal(&Caller { namespace, labels }));
        Some((key, refusal.map_or(Ok(&**policy), Err)))
    }

    /// The Releases that use a RollbackPolicy, wherever they are.
    pub fn users(&self, policy: &Key, operator_namespace: &str) -> Vec<(Key, Arc<Release>)> {
        let named = self.users.of(Resource::RollbackPolicy, policy).into_iter();
        let uses = |release: &Key| {
            let found = self.policy(&release.namespace, &policy.name, operator_namespace);
            found.is_some_and(|(key, usable)| key == *policy && usable.is_ok())
        };
        named.filter(uses).filter_map(|key| self.releases.get(&key).cloned().map(|release| (key, release))).collect()
    }

    fn keep(
        &mut self,
        resource: Resource,
        key: &Key,
        object: DynamicObject,
        now: Timestamp,
        operator_namespace: &str,
    ) -> Result<bool, Box<Unreadable>> {
        let version = view::version(&object.metadata);
        let at = key.clone();
        let kept = match resource {
            Resource::Release => {
                let release = Arc::new(typed::<Release>(resource, key, object)?);
                let before = self.release(resource, key);
                let kept = self.releases.put(at, version, |_| release.clone());
                if kept {
                    self.users.replace(key, before.as_deref(), Some(&release), operator_namespace);
                }
                kept
            }
            Resource::DeploymentWindow => {
                let (metadata, told) = (object.metadata.clone(), object.data["status"].clone());
                let (window, fault) = match typed::<DeploymentWindow>(resource, key, object) {
                    Ok(window) => (window, None),
                    Err(fault) => (closing(metadata, told, &fault), Some(fault)),
                };
                let DeploymentWindow { metadata, spec, status } = window;
                let kept = self.windows.put(at, version, |_| WindowEntry {
                    view: WindowView::new(&key.namespace, &key.name, spec),
                    resource_version: metadata.resource_version,
                    generation: metadata.generation,
                    status,
                });
                return fault.map_or(Ok(kept), Err);
            }
            Resource::RollbackPolicy => {
                let policy = typed::<RollbackPolicy>(resource, key, object)?;
                self.policies
                    .put(at, version, |before| Arc::new(PolicyEntry::new(policy, before.map(|before| &**before))))
            }
            Resource::Decision => {
                let created = object.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
                let Decision { metadata, spec } = typed(resource, key, object)?;
                let view = DecisionView { name: key.name.clone(), uid: view::text(&metadata.uid), created, spec };
                self.decisions.put(at, version, |_| view)
            }
            Resource::Deployment => self.deployments.put(at, version, |before| view::deployment(&object, before, now)),
            Resource::ReplicaSet => self.replica_sets.put(at, version, |before| view::replica_set(&object, before)),
            Resource::ControllerRevision => self.saved.put(at, version, |_| view::saved(&object)),
            Resource::Service => self.services.put(at, version, |before| view::service(&object, before, now)),
            Resource::EndpointSlice => self.slices.put(at, version, |before| view::slice(&object, before, now)),
            Resource::HTTPRoute => self.routes.put(at, version, |before| route::route(&object, before, now)),
            Resource::Namespace => {
                self.namespaces.put(at, version, |_| object.metadata.labels.clone().unwrap_or_default())
            }
            Resource::ValidatingAdmissionPolicy
            | Resource::ValidatingAdmissionPolicyBinding
            | Resource::MutatingAdmissionPolicy
            | Resource::MutatingAdmissionPolicyBinding => {
                self.admission.put(at, version, |_| admission(resource, object))
            }
        };
        Ok(kept)
    }

    /// The Release that is held under this key, if it is one.
    fn release(&self, resource: Resource, key: &Key) -> Option<Arc<Release>> {
        self.releases.get(key).filter(|_| resource == Resource::Release).cloned()
    }
}

/// Where objects without a namespace are held: policies of different kinds may have the same name.
fn scope(resource: Resource) -> String {
    if resource == Resource::Namespace { String::new() } else { resource.api().kind }
}

fn key(resource: Resource, metadata: &ObjectMeta) -> Key {
    let namespace = metadata.namespace.clone().unwrap_or_else(|| scope(resource));
    Key::new(namespace, view::text(&metadata.name))
}

fn typed<K: DeserializeOwned>(resource: Resource, key: &Key, mut object: DynamicObject) -> Result<K, Box<Unreadable>> {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        // A second copy of the object, for kubectl only.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let uid = view::text(&object.metadata.uid);
    // Spec and status are moved: writing them out as a whole only to read them again costs more than all the rest.
    let DynamicObject { types: _, metadata, data: mut whole } = object;
    let read = serde_json::to_value(metadata).and_then(|metadata| {
        whole["metadata"] = metadata;
        serde_json::from_value(whole)
    });
    read.map_err(|error| {
        let (key, fault) = (key.clone(), error.to_string());
        Box::new(Unreadable { resource, key, uid, fault, touched: Touched::default() })
    })
}

/// A policy or binding of ours with its kind, which objects out of a list lack.
fn admission(resource: Resource, mut object: DynamicObject) -> DynamicObject {
    let ApiResource { api_version, kind, .. } = resource.api();
    object.types = Some(TypeMeta { api_version, kind });
    object.metadata.managed_fields = None;
    object
}

/// In place of a window that cannot be read: it closes whatever it may be about. What it is `told` already stays, or it would be told again
/// without end.
fn closing(metadata: ObjectMeta, told: Value, fault: &Unreadable) -> DeploymentWindow {
    let spec = DeploymentWindowSpec {
        action: WindowAction::Freeze,
        schedule: Schedule::Once { from: String::new(), until: String::new(), time_zone: "UTC".into() },
        release_selector: None,
        namespace_selector: None,
        covers: Vec::new(),
        reason: Some(format!("the window cannot be read: {}", fault.fault)),
    };
    DeploymentWindow { metadata, spec, status: serde_json::from_value(told).ok() }
}

#[cfg(test)]
mod tests;
