//! The model of the Deployment controller does what was seen on real ones (design, section 3).

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use jiff::Timestamp;
use lockkeeper_simulator::{
    api::{Caller, Key, Kind, Part, Patch, Server, User, object::name},
    run::shop,
    world::{Actor, DeploymentController, Kubelet, ReplicaSetController, Turn},
};
use serde_json::{Value, json};

/// A cluster without an operator; everybody acts in turn, second by second.
struct Cluster {
    server: Server,
    actors: Vec<Box<dyn Actor>>,
    random: fastrand::Rng,
    admin: Caller,
}

impl Cluster {
    fn new(deployment: Value) -> Self {
        let admin = Caller::new(User::new("admin", &[]));
        let mut server = Server::default();
        server.now = Timestamp::from_second(1_780_480_800).unwrap();
        let namespace = json!({"metadata": {"name": shop::NAMESPACE}});
        server.create(&admin, Kind::Namespace, "", namespace).unwrap();
        server.create(&admin, Kind::Deployment, shop::NAMESPACE, deployment).unwrap();
        let actors: Vec<Box<dyn Actor>> = vec![
            Box::new(DeploymentController::default()),
            Box::new(ReplicaSetController::default()),
            Box::new(Kubelet::default()),
        ];
        let mut cluster = Self { server, actors, random: fastrand::Rng::with_seed(1), admin };
        cluster.run(30);
        cluster
    }

    fn step(&mut self) {
        let now = self.server.now;
        for actor in &mut self.actors {
            actor.step(&mut Turn { server: &mut self.server, now, random: &mut self.random });
        }
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            (0..4).for_each(|_| self.step());
            self.server.now += Duration::from_secs(1);
        }
    }

    fn patch(&mut self, kind: Kind, name: &str, patch: Value) {
        let key = Key::new(kind, shop::NAMESPACE, name);
        self.server.patch(&self.admin.clone(), &key, Part::Main, &Patch::Merge(patch)).unwrap();
    }

    fn deployment(&mut self, patch: Value) -> &mut Self {
        self.patch(Kind::Deployment, shop::NAME, patch);
        self
    }

    fn version(&mut self, tag: &str) -> &mut Self {
        let container = json!({"name": "app", "image": shop::image(tag), "ports": [{"containerPort": 8080}]});
        self.deployment(json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
    }

    /// Sizes of the ReplicaSets by the tag of their image.
    fn sizes(&self) -> Vec<(String, i64)> {
        let sets = self.server.store().objects().of(Kind::ReplicaSet);
        let mut sizes: Vec<_> = sets
            .map(|set| {
                let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
                (image.rsplit_once(':').unwrap().1.to_owned(), set["spec"]["replicas"].as_i64().unwrap())
            })
            .collect();
        sizes.sort();
        sizes
    }

    fn check(&self, expected: &[(&str, i64)]) {
        let expected: Vec<_> = expected.iter().map(|(tag, size)| ((*tag).to_owned(), *size)).collect();
        assert_eq!(self.sizes(), expected);
    }

    fn set(&self, tag: &str) -> Value {
        let image = shop::image(tag);
        let mut sets = self.server.store().objects().of(Kind::ReplicaSet);
        sets.find(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == image.as_str())
            .unwrap()
            .value()
            .clone()
    }

    fn status(&self) -> Value {
        self.server.get(&shop::key(Kind::Deployment)).unwrap()["status"].clone()
    }

    /// A ReplicaSet of another version that the Deployment ignores, as the operator makes it.
    fn candidate(&mut self, tag: &str, replicas: u32) -> String {
        let own = "web-candidate".to_owned();
        let labels = json!({"app": "web", "pod-template-hash": "candidate"});
        let spec =
            json!({"containers": [{"name": "app", "image": shop::image(tag), "ports": [{"containerPort": 8080}]}]});
        let set = json!({"metadata": {"name": own}, "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec}}});
        self.server.create(&self.admin.clone(), Kind::ReplicaSet, shop::NAMESPACE, set).unwrap();
        self.run(10);
        own
    }

    /// Labels that match, so that the Deployment adopts it.
    fn offer(&mut self, name: &str) {
        self.patch(
            Kind::ReplicaSet,
            name,
            json!({"metadata": {"labels": {"app": "web", "pod-template-hash": "candidate"}}}),
        );
    }

    /// Labels that match no more, so that the Deployment releases it.
    fn take(&mut self, tag: &str) {
        let set = self.set(tag);
        self.patch(Kind::ReplicaSet, name(&set), json!({"metadata": {"labels": {"app": null}}}));
    }
}

fn pause() -> Value {
    json!({"spec": {"paused": true}})
}

#[test]
fn a_new_version_rolls_out_and_the_old_one_becomes_history() {
    let mut cluster = Cluster::new(shop::deployment("1", 4));
    cluster.check(&[("1", 4)]);
    cluster.version("2").run(30);
    cluster.check(&[("1", 0), ("2", 4)]);
    let status = cluster.status();
    assert_eq!(
        (&status["updatedReplicas"], &status["availableReplicas"], &status["replicas"]),
        (&json!(4), &json!(4), &json!(4))
    );
    let annotation = |set: Value| set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
    assert_eq!((annotation(cluster.set("1")), annotation(cluster.set("2"))), (json!("1"), json!("2")));
}

#[test]
fn a_version_that_is_never_ready_stops_within_the_room_of_the_strategy() {
    let mut cluster = Cluster::new(shop::deployment("1", 4));
    cluster.version("2-neverready").run(60);
    // A quarter more, a quarter less.
    cluster.check(&[("1", 3), ("2-neverready", 2)]);
}

#[test]
fn a_return_to_an_old_version_takes_its_replica_set_again() {
    let mut cluster = Cluster::new(shop::deployment("1", 2));
    cluster.version("2").run(30);
    cluster.version("1").run(30);
    cluster.check(&[("1", 2), ("2", 0)]);
}

#[test]
fn a_paused_deployment_makes_nothing_of_a_new_template_and_follows_its_scale() {
    let mut cluster = Cluster::new(shop::deployment("1", 4));
    cluster.deployment(pause()).version("2").run(10);
    cluster.check(&[("1", 4)]);
    cluster.deployment(json!({"spec": {"replicas": 6}})).run(10);
    cluster.check(&[("1", 6)]);
    assert_eq!(cluster.status()["updatedReplicas"], Value::Null);
}

#[test]
fn a_replica_set_without_matching_labels_is_ignored_and_one_with_them_is_adopted() {
    let mut cluster = Cluster::new(shop::deployment("1", 2));
    cluster.deployment(pause()).version("2").run(5);
    let candidate = cluster.candidate("2", 1);
    cluster.check(&[("1", 2), ("2", 1)]);
    assert_eq!(cluster.set("2")["metadata"]["ownerReferences"], Value::Null);
    cluster.take("1");
    cluster.run(5);
    assert_eq!(cluster.set("1")["metadata"]["ownerReferences"], Value::Null, "it was released");
    cluster.offer(&candidate);
    cluster.run(5);
    assert_eq!(cluster.set("2")["metadata"]["ownerReferences"][0]["controller"], true);
    cluster.check(&[("1", 2), ("2", 2)]);
    assert_eq!(cluster.status()["updatedReplicas"], 2);
}

#[test]
fn two_active_ones_are_scaled_in_proportion() {
    let mut cluster = Cluster::new(shop::deployment("1", 6));
    cluster.deployment(pause()).version("2").run(5);
    let candidate = cluster.candidate("2", 6);
    cluster.offer(&candidate);
    cluster.run(5);
    cluster.deployment(json!({"spec": {"replicas": 4}})).run(10);
    let sizes = cluster.sizes();
    let total: i64 = sizes.iter().map(|(_, size)| size).sum();
    assert!(total <= 5 && sizes.iter().all(|(_, size)| *size < 6), "both have shrunk: {sizes:?}");
}

#[test]
fn released_with_history_attached_the_newest_history_is_scaled_up() {
    let mut cluster = Cluster::new(shop::deployment("1", 2));
    cluster.version("2").run(30);
    cluster.deployment(pause()).version("3").run(5);
    cluster.take("2");
    cluster.run(10);
    cluster.check(&[("1", 2), ("2", 2)]);
}

#[test]
fn unpaused_with_the_old_version_still_running_it_is_drained() {
    let mut cluster = Cluster::new(shop::deployment("1", 4));
    cluster.deployment(pause()).version("2").run(5);
    cluster.deployment(json!({"spec": {"paused": null}})).run(30);
    cluster.check(&[("1", 0), ("2", 4)]);
}

#[test]
fn history_beyond_the_limit_goes() {
    let mut deployment = shop::deployment("1", 1);
    deployment["spec"]["revisionHistoryLimit"] = json!(1);
    let mut cluster = Cluster::new(deployment);
    for tag in ["2", "3", "4"] {
        cluster.version(tag).run(30);
    }
    cluster.check(&[("3", 0), ("4", 1)]);
}

#[test]
fn recreate_ends_the_old_version_before_it_starts_the_new_one() {
    let mut deployment = shop::deployment("1", 2);
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    let mut cluster = Cluster::new(deployment);
    cluster.version("2");
    let mut both = false;
    for _ in 0..120 {
        cluster.step();
        cluster.server.now += Duration::from_millis(250);
        let pods: Vec<_> = cluster.server.store().objects().of(Kind::Pod).collect();
        let of = |tag: &str| {
            pods.iter().any(|pod| {
                pod["metadata"]["deletionTimestamp"].is_null()
                    && pod["spec"]["containers"][0]["image"] == shop::image(tag).as_str()
            })
        };
        both |= of("1") && of("2");
    }
    assert!(!both);
    cluster.check(&[("1", 0), ("2", 2)]);
}
