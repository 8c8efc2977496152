//! What the Deployment rolled out natively while the operator was not there.

use lockkeeper_api::{names::FINALIZER, release::Phase};
use lockkeeper_engine::write::Kind;
use serde_json::{Value, json};

use super::{expect, version};
use crate::{
    fixture::{self, Work},
    happening::Happening,
    lab::Lab,
};

/// More moments than any rollout takes.
const LONG: usize = 200;

/// Three pods of version 1 at rest; the operator and its policies are away.
fn left_alone(work: Work) -> Lab {
    let mut lab = fixture::lab(&[Work { replicas: 3, ..work }], json!([{"setWeight": 50}]), json!({}));
    lab.run(1);
    expect(&lab, Phase::Stable, "version 1 runs");
    lab.watchman.floor = 3;
    lab.cluster.guarded = false;
    lab
}

fn back(lab: &mut Lab) {
    lab.cluster.guarded = true;
    lab.run(5);
}

fn pods(lab: &Lab) -> Vec<&String> {
    lab.cluster.pods.keys().collect()
}

#[test]
fn what_was_rolled_out_meanwhile_is_the_stable_version() {
    for work in [Work::web(), Work { routed: false, ..Work::web() }] {
        let mut lab = left_alone(work);
        lab.happen(&Happening::Version("2"));
        lab.away(LONG);
        let before = pods(&lab).into_iter().cloned().collect::<Vec<_>>();
        let written = lab.writes;
        back(&mut lab);
        expect(&lab, Phase::Stable, "version 2 runs");
        assert_eq!(version(&lab), Some("2"));
        assert_eq!(pods(&lab), before.iter().collect::<Vec<_>>(), "{}", lab.tail());
        assert!(lab.events.iter().any(|event| event.reason == "StableFound" && event.warning), "{:?}", lab.events);
        assert!(lab.writes <= written + 2, "{}", lab.tail());
    }
}

#[test]
fn a_release_that_is_deleted_afterwards_goes_without_a_touch() {
    let mut lab = left_alone(Work::web());
    lab.cluster.update(Kind::Release, "shop", |release| {
        release["metadata"]["finalizers"] = json!([FINALIZER]);
    });
    lab.happen(&Happening::Version("2"));
    lab.away(LONG);
    let before = pods(&lab).into_iter().cloned().collect::<Vec<_>>();
    lab.happen(&Happening::DeleteRelease);
    back(&mut lab);
    assert!(lab.release().is_none(), "{}", lab.tail());
    assert_eq!(pods(&lab), before.iter().collect::<Vec<_>>(), "{}", lab.tail());
    assert!(lab.cluster.get(Kind::Deployment, "web").unwrap()["spec"]["paused"] != true, "{}", lab.tail());
}

/// A gate keeps it from starting; a person without the operator's policies resumes the Deployment.
#[test]
fn what_was_resumed_while_it_waited_is_the_stable_version() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab =
        fixture::lab(&[Work { replicas: 3, ..Work::web() }], json!([{"setWeight": 50}]), json!({"gates": gates}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Waiting, "gate gate is closed");
    lab.watchman.floor = 3;
    lab.cluster.guarded = false;
    lab.happen(&Happening::Unpause("web"));
    lab.away(LONG);
    back(&mut lab);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert!(lab.release().unwrap().metadata.finalizers.is_none_or(|all| all.is_empty()), "{}", lab.tail());
}

/// Where the Release carries the version, it takes the Deployment back to it, as safely as any version.
#[test]
fn what_was_rolled_out_against_the_release_is_left_again() {
    let mut lab = left_alone(Work { images: true, ..Work::web() });
    lab.cluster.update(Kind::Deployment, "web", |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = fixture::image("web", "2").into();
    });
    lab.away(LONG);
    back(&mut lab);
    assert_eq!(version(&lab), Some("1"), "{}", lab.tail());
}

/// Wherever it was in the middle, no pod is lost that is needed, and the version ends as the stable one.
#[test]
fn what_is_being_rolled_out_loses_no_capacity() {
    for paused in [false, true] {
        for moments in 0..40 {
            for work in [Work::web(), Work { routed: false, ..Work::web() }] {
                let mut lab = left_alone(work);
                // A history whose newest ReplicaSet is not the stable one.
                lab.happen(&Happening::Version("2"));
                lab.away(LONG).happen(&Happening::Version("1"));
                lab.away(LONG).happen(&Happening::Version("3"));
                lab.away(moments);
                if paused {
                    lab.cluster.update(Kind::Deployment, "web", |web| web["spec"]["paused"] = Value::Bool(true));
                }
                back(&mut lab);
                lab.run(5);
                expect(&lab, Phase::Stable, "version 3 runs");
                assert_eq!(version(&lab), Some("3"), "{}", lab.tail());
            }
        }
    }
}

/// Asking for the stable version again in the middle of it.
#[test]
fn the_stable_version_may_be_asked_for_again_in_the_middle() {
    for paused in [false, true] {
        for moments in (0..40).chain([LONG]) {
            let mut lab = left_alone(Work::web());
            lab.happen(&Happening::Version("2"));
            lab.away(moments);
            if paused {
                lab.cluster.update(Kind::Deployment, "web", |web| web["spec"]["paused"] = Value::Bool(true));
            }
            lab.cluster.guarded = true;
            lab.happen(&Happening::Version("1"));
            lab.run(10);
            if lab.status().message.contains("is paused halfway: resume it") {
                assert!(paused, "{}", lab.tail());
                lab.happen(&Happening::Unpause("web"));
                lab.run(5);
            }
            expect(&lab, Phase::Stable, "version 1 runs");
            assert_eq!(version(&lab), Some("1"), "{}", lab.tail());
        }
    }
}
