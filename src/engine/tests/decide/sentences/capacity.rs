//! As many pods as are asked for serve at any moment, however long EndpointSlices take to follow.

use jiff::SignedDuration;
use lockkeeper_api::{decision::Verdict, release::Phase};
use lockkeeper_engine::write::Kind;
use serde_json::json;

use super::{POLICY, expect, running, share, version};
use crate::{
    fixture::{Work, lab, policy},
    happening::Happening,
    lab::Lab,
};

/// Three pods of version 1, with a bake of ten minutes.
fn slow_endpoints(work: Work, seconds: i64) -> Lab {
    let mut lab = lab(
        &[Work { replicas: 3, ..work }],
        json!([{"setWeight": 40}, {"pause": {"duration": "1m"}}]),
        json!({"rollbackPolicy": POLICY}),
    );
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({"bake": "10m"})));
    lab.cluster.lag = SignedDuration::from_secs(seconds);
    lab.run(1);
    lab.watchman.floor = 3;
    lab
}

fn kinds() -> [Work; 2] {
    [Work::web(), Work { routed: false, ..Work::web() }]
}

#[test]
fn through_a_whole_release_and_back_again() {
    for work in kinds() {
        for seconds in [0, 1, 10] {
            for interleaved in [false, true] {
                let mut lab = slow_endpoints(work, seconds);
                lab.interleaved = interleaved;
                lab.happen(&Happening::Version("2"));
                lab.run(4);
                expect(&lab, Phase::Baking, "promoted; baking until");
                lab.decide(Verdict::Rollback, None, "olga");
                lab.run(3);
                expect(&lab, Phase::RolledBack, "rolled back to version 1");
                assert_eq!((version(&lab), running(&lab)), (Some("1"), vec!["1"]), "{}", lab.tail());
            }
        }
    }
}

#[test]
fn when_a_release_is_left_at_any_moment() {
    for work in kinds() {
        for seconds in (1..40).step_by(3) {
            let mut lab = slow_endpoints(work, 3);
            lab.happen(&Happening::Version("2"));
            let until = lab.now() + SignedDuration::from_secs(seconds * 2);
            lab.run_until(until);
            lab.decide(Verdict::Abort, None, "olga");
            lab.run(2);
            let promoted = version(&lab) == Some("2");
            assert!(promoted || running(&lab) == ["1"], "{}", lab.tail());
        }
    }
}

#[test]
fn while_an_autoscaler_adds_pods_during_the_handover() {
    for work in kinds() {
        for seconds in (1..30).step_by(3) {
            let mut lab = slow_endpoints(work, 3);
            lab.happen(&Happening::Version("2"));
            let until = lab.now() + SignedDuration::from_secs(60 + seconds);
            lab.run_until(until);
            lab.happen(&Happening::Scale("web", 5));
            lab.run(4);
            expect(&lab, Phase::Baking, "promoted; baking until");
            let of = |tag: &str| lab.cluster.pods.values().filter(|pod| pod.image.ends_with(tag)).count();
            assert_eq!((of(":1"), of(":2")), (5, 5), "the one before is ready to take over\n{}", lab.tail());
        }
    }
}

#[test]
fn the_version_before_helps_out_in_a_bake_until_the_promoted_one_is_whole_again() {
    for work in kinds() {
        let mut lab = slow_endpoints(work, 1);
        lab.happen(&Happening::Version("2"));
        lab.run(4);
        expect(&lab, Phase::Baking, "promoted; baking until");
        let hashes = |lab: &Lab| {
            let status = lab.status();
            [&status.previous, &status.stable].map(|one| one.as_ref().unwrap().workloads[0].hash.clone())
        };
        let [before, after] = hashes(&lab);
        let pinned = |lab: &Lab| {
            let selector = &lab.cluster.get(Kind::Service, "web").unwrap()["spec"]["selector"];
            selector["pod-template-hash"].as_str().map(str::to_owned)
        };
        assert_eq!(pinned(&lab), Some(after.clone()));
        lab.watchman.floor = 0;
        // One of three fails: the others go on.
        let pods: Vec<_> = lab
            .cluster
            .pods
            .iter()
            .filter(|(_, pod)| pod.image.ends_with(":2"))
            .map(|(name, _)| name.clone())
            .collect();
        let hurt = |lab: &mut Lab, name: &String, image: &str| {
            let pod = lab.cluster.pods.get_mut(name).unwrap();
            (pod.image, pod.ready, pod.created) = (image.into(), None, lab.cluster.now);
        };
        hurt(&mut lab, &pods[0], "registry.example.com/web:2-never");
        lab.run(1);
        assert_eq!(pinned(&lab), Some(after.clone()), "{}", lab.tail());
        for pod in &pods[1..] {
            hurt(&mut lab, pod, "registry.example.com/web:2-never");
        }
        lab.run(1);
        assert_eq!(pinned(&lab), Some(before.clone()), "{}", lab.tail());
        // One comes back, which is not enough to take over again.
        hurt(&mut lab, &pods[0], "registry.example.com/web:2");
        lab.run(1);
        assert_eq!((pinned(&lab), lab.phase()), (Some(before), Phase::Baking), "{}", lab.tail());
        for pod in &pods[1..] {
            hurt(&mut lab, pod, "registry.example.com/web:2");
        }
        lab.run(1);
        assert_eq!((pinned(&lab), lab.phase()), (Some(after), Phase::Baking), "{}", lab.tail());
        assert_eq!(share_or_none(&lab, work), 0);
    }
}

fn share_or_none(lab: &Lab, work: Work) -> u8 {
    if work.routed { share(lab) } else { 0 }
}

#[test]
fn without_routes_the_switch_goes_back_when_the_new_pods_fail_before_the_handover() {
    let mut lab = slow_endpoints(Work { routed: false, ..Work::web() }, 10);
    lab.watchman.floor = 0;
    lab.happen(&Happening::Version("2"));
    let pinned = |lab: &Lab| {
        let selector = &lab.cluster.get(Kind::Service, "web").unwrap()["spec"]["selector"];
        selector["pod-template-hash"].as_str().map(str::to_owned)
    };
    let hash = |lab: &Lab| lab.status().candidate.as_ref().map(|candidate| candidate.workloads[0].hash.clone());
    while pinned(&lab).is_none() || pinned(&lab) != hash(&lab) {
        assert!(lab.phase() != Phase::Baking, "{}", lab.tail());
        let until = lab.now() + SignedDuration::from_secs(1);
        lab.run_until(until);
        lab.cluster.now = until;
    }
    for pod in lab.cluster.pods.values_mut().filter(|pod| pod.image.ends_with(":2")) {
        (pod.image, pod.ready) = (format!("{}-never", pod.image), None);
    }
    let until = lab.now() + SignedDuration::from_secs(2);
    lab.run_until(until);
    let stable = lab.status().stable.as_ref().unwrap().workloads[0].hash.clone();
    assert_eq!((pinned(&lab), lab.phase()), (Some(stable), Phase::Promoting), "{}", lab.tail());
}
