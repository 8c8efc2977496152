//! Lets every checker look at every change, and remembers what they need to know of the past.

use std::{cell::OnceCell, collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use lockkeeper_api::names::{RELEASE, RESTARTED_AT};
use serde_json::Value;

use super::{Author, Checker, Report, Scene, Traffic, Violation, Witness, Work, traffic::serves};
use crate::api::{Change, Key, Kind, Observer, Snapshot, object::list};

/// What a write rests on is proven right before: an answer and a request are under way in between.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// What is remembered of a Release.
#[derive(Debug, Default)]
pub struct Memory {
    /// After this time the operator has heard of a change.
    pub known_after: Duration,
    /// After this time, of a change of endpoints.
    pub endpoints_known_after: Duration,
    /// The hashes of each revision that it has ever named, by workload.
    pub revisions: BTreeMap<String, Vec<String>>,
    /// Others have taken pods, Services or routes away, or changed them, and it is not mended yet.
    pub hurt: bool,
    /// Since when it is, to be forgotten soon.
    mended: Option<Timestamp>,
    /// When the stable version last had no ready pod, or its ReplicaSet was gone: whoever has not heard of one yet may still send its traffic
    /// elsewhere, since serving comes first. Caches of two operators that lag by 900 ms do so (plot `pair` of tests/random.rs, seeds 2 and 9): no write can be guarded by pods that it is not about.
    pub bare: Option<Timestamp>,
    /// When others have last changed how many pods there are, so that pods may rightly go; none once all have come to rest since.
    pub disturbed: Option<Timestamp>,
    /// The ReplicaSet that was last made smaller before a rollback, or its own promotion, began, and when: its pods go a moment later.
    pub shrunk: Option<(String, Timestamp)>,
    /// When a first version was named stable: whoever has not heard of it yet may still let another take its place natively.
    pub named: Option<Timestamp>,
    /// When others have last made a Service: without a pin.
    pub served_anew: Option<Timestamp>,
    /// When others have last changed which pods there are.
    pub moved: Option<Timestamp>,
    /// When others have last changed the Release, a window or a policy.
    pub changed: Option<Timestamp>,
}

impl Memory {
    /// Whether whoever has asked for a write at that time may not have heard yet of what others want: it may be long on its way.
    pub fn is_fresh(&self, asked: Timestamp) -> bool {
        self.changed.is_some_and(|changed| asked < changed + self.known_after)
    }

    /// Whether a write that was asked for at that time may have been on its way already when a Service came again, or other pods.
    pub fn crossed(&self, asked: Timestamp) -> bool {
        self.served_anew.max(self.moved).is_some_and(|last| asked < last + ON_ITS_WAY)
    }

    /// Whether whoever has asked for a write at that time may not have heard yet that the stable version has ready pods again.
    pub fn was_bare(&self, asked: Timestamp) -> bool {
        self.bare.is_some_and(|bare| asked < bare + self.endpoints_known_after)
    }
}

/// The checkers at work.
pub struct Watchman {
    report: Report,
    witness: Witness,
    checkers: Vec<Box<dyn Checker>>,
    memories: BTreeMap<Key, Memory>,
}

impl Watchman {
    pub(super) fn new(report: Report, witness: Witness, checkers: Vec<Box<dyn Checker>>) -> Self {
        Self { report, witness, checkers, memories: BTreeMap::new() }
    }

    fn remember(&mut self, change: &Change, author: Author, release: &Key, works: &[Work]) {
        let Witness { known_after, endpoints_known_after, .. } = self.witness;
        let fresh = || Memory { known_after, endpoints_known_after, ..Memory::default() };
        let memory = self.memories.entry(release.clone()).or_insert_with(fresh);
        if change.key == *release {
            if memory.named.is_none() && !change.object["status"]["stable"].is_null() {
                memory.named = Some(change.at);
            }
            for part in ["stable", "candidate", "previous"] {
                let revision = &change.object["status"][part];
                if let Some(name) = revision["revision"].as_str().filter(|name| !memory.revisions.contains_key(*name)) {
                    let hashes =
                        list(&revision["workloads"]).iter().map(|w| w["hash"].as_str().unwrap_or_default().to_owned());
                    memory.revisions.insert(name.into(), hashes.collect());
                }
            }
        }
        if change.key.kind == Kind::Pod && change.key.namespace == release.namespace {
            // Only a pod that others make fail: those that our writes end are what is checked.
            let failed = change.before.as_ref().is_some_and(|before| serves(before)) && !serves(&change.object);
            memory.hurt |= failed && (author == Author::Other || &*change.by == "kubelet");
        }
        let moving = works.iter().any(|work| match work.phase() {
            "RollingBack" => true,
            "Promoting" => work.hash("candidate").is_some_and(|hash| change.key.name.ends_with(hash)),
            _ => false,
        });
        let smaller =
            change.before.as_ref().is_some_and(|before| Traffic::size(before) > Traffic::size(&change.object));
        if change.key.kind == Kind::ReplicaSet && smaller && !moving {
            memory.shrunk = Some((change.key.name.clone(), change.at));
        }
        if author != Author::Other {
            return;
        }
        match change.key.kind {
            Kind::Release | Kind::DeploymentWindow | Kind::Decision | Kind::RollbackPolicy | Kind::Namespace => {
                memory.changed = Some(change.at);
            }
            Kind::Deployment if works.iter().any(|work| work.deployment() == change.key.name) => {
                let moved = Some(change.at).filter(|_| disturbs(change));
                (memory.disturbed, memory.moved) = (moved.or(memory.disturbed), moved.or(memory.moved));
                memory.hurt |= change.gone;
            }
            Kind::ReplicaSet => (memory.disturbed, memory.hurt) = (Some(change.at), true),
            Kind::Service if change.before.is_none() => (memory.served_anew, memory.hurt) = (Some(change.at), true),
            Kind::Service | Kind::HTTPRoute | Kind::EndpointSlice => memory.hurt = true,
            Kind::Pod => memory.disturbed = Some(change.at),
            Kind::Deployment
            | Kind::ControllerRevision
            | Kind::Lease
            | Kind::ValidatingAdmissionPolicy
            | Kind::ValidatingAdmissionPolicyBinding
            | Kind::MutatingAdmissionPolicy
            | Kind::MutatingAdmissionPolicyBinding => {}
        }
    }

    /// A disturbance is over when every workload is as its Deployment wants it, and nobody has anything to do about it any more.
    fn calm(&mut self, change: &Change, objects: &Snapshot, release: &Key, works: &[Work]) {
        let Some(memory) = self.memories.get_mut(release) else { return };
        let heard = memory.disturbed.is_some_and(|at| change.at >= at + memory.known_after);
        if heard && works.iter().all(|work| work.rests(objects)) {
            memory.disturbed = None;
        }
    }

    fn look(
        &mut self,
        change: &Change,
        author: Author,
        before: &Snapshot,
        after: &Snapshot,
        release: &Key,
        work: &Work,
    ) {
        let Some(memory) = self.memories.get_mut(release) else { return };
        let in_force = self.witness.in_force.lock();
        let (was, is) = (Traffic::new(before, &in_force, work), Traffic::new(after, &in_force, work));
        if memory.hurt && author != Author::Other && is.starved().is_none() && was.starved().is_none() {
            // Whoever has not heard yet that it is mended may still act as if it were not.
            let mended = *memory.mended.get_or_insert(change.at);
            memory.hurt = change.at < mended + memory.known_after;
        } else {
            memory.mended = None;
        }
        if work.hash("stable").is_some_and(|stable| was.ready(stable) == 0 || !was.stands(stable)) || was.unserved() {
            memory.bare = Some(change.at);
        }
        let told = change.at + self.witness.skew.ahead();
        let jumped = self.witness.skew.jumped().is_some_and(|at| change.at < at + self.witness.known_after);
        let scene =
            Scene { change, author, objects: after, work, was, is, memory, told, jumped, growth: OnceCell::new() };
        for checker in &mut self.checkers {
            if let Some(what) = checker.check(&scene) {
                let what = format!("{}: {what}", work.title());
                self.report.broken(Violation {
                    promise: checker.promise(),
                    at: change.at,
                    version: change.version,
                    what,
                });
            }
        }
    }
}

/// Whether a user's change of a Deployment moves pods.
fn disturbs(change: &Change) -> bool {
    let Some(before) = &change.before else { return false };
    let restarted = |object: &Value| object["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT].clone();
    change.gone
        || before["spec"]["replicas"] != change.object["spec"]["replicas"]
        // That it is paused with a new version is the hold policy's doing.
        || (before["spec"]["paused"] == true && change.object["spec"]["paused"] != true)
        || restarted(before) != restarted(&change.object)
        // What nobody manages yet, nobody holds.
        || (before["metadata"]["annotations"][RELEASE].is_null()
            && before["spec"]["template"] != change.object["spec"]["template"])
}

impl Observer for Watchman {
    fn changed(&mut self, change: &Change, before: &Snapshot, after: &Snapshot) {
        let author = Author::of(change);
        for release in after.of(Kind::Release) {
            let works: Vec<Work> = Work::of(release).collect();
            let told = [Kind::Deployment, Kind::Release].contains(&change.key.kind);
            let key =
                Key::new(Kind::Release, crate::api::object::namespace(release), crate::api::object::name(release));
            self.remember(change, author, &key, &works);
            if told {
                self.calm(change, after, &key, &works);
            }
            let moves = matches!(
                change.key.kind,
                Kind::HTTPRoute | Kind::Service | Kind::Pod | Kind::ReplicaSet | Kind::Deployment
            );
            if !moves || change.key.namespace != key.namespace || work_less(release) {
                continue;
            }
            for work in &works {
                self.look(change, author, before, after, &key, work);
            }
        }
    }
}

/// Whether nothing is known of a Release yet.
fn work_less(release: &Value) -> bool {
    release["status"]["stable"].is_null()
}
