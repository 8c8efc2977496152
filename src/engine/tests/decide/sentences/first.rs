//! Before the first release, and what is none.

use lockkeeper_api::{
    decision::Verdict,
    names::{FINALIZER, PAUSED_BY},
    release::Phase,
};
use lockkeeper_engine::write::Kind;
use serde_json::json;

use super::{at_10_percent, at_rest, expect, running, share, version};
use crate::{
    fixture::{Work, deployment, lab},
    happening::Happening,
    lab::Lab,
};

#[test]
fn the_first_version_rolls_out_natively() {
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.round();
    expect(&lab, Phase::Progressing, "the first version rolls out natively");
    lab.run(1);
    expect(&lab, Phase::Stable, "version 1 runs");
    assert!(!lab.log.iter().any(|line| line.contains("create candidate")), "{}", lab.tail());
}

#[test]
fn a_first_version_that_does_not_get_ready_is_stalled_until_it_is_mended() {
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({}));
    lab.round();
    lab.happen(&Happening::Version("1-never"));
    lab.run(15);
    expect(&lab, Phase::Progressing, "the first version rolls out natively");
    lab.cluster.update(Kind::Deployment, "web", |deployment| {
        deployment["status"]["conditions"] =
            json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    });
    lab.round();
    expect(&lab, Phase::Progressing, "Deployment web has made no progress within its progressDeadlineSeconds");
    let stalled = |lab: &Lab| {
        lab.status().conditions.iter().any(|c| c.type_ == "Stalled" && c.status == "True" && c.reason == "Progressing")
    };
    assert!(stalled(&lab), "{:?}", lab.status().conditions);
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert!(!stalled(&lab), "{:?}", lab.status().conditions);
}

#[test]
fn a_first_version_that_is_held_waits_for_the_gates_before_start() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({"gates": gates}));
    lab.cluster.update(Kind::Deployment, "web", |deployment| {
        deployment["spec"]["paused"] = true.into();
        deployment["metadata"]["annotations"] = json!({PAUSED_BY: "lockkeeper", "lockkeeper.dev/release": "shop"});
    });
    lab.run(5);
    expect(&lab, Phase::Waiting, "the first version waits: gate gate is closed");
    assert!(running(&lab).is_empty());
    lab.happen(&Happening::Approve("gate", "ann"));
    lab.run(2);
    expect(&lab, Phase::Stable, "version 1 runs");
}

#[test]
fn a_release_that_comes_before_its_deployment_waits_for_it() {
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({}));
    lab.cluster.delete(Kind::Deployment, "web");
    lab.run(1);
    expect(&lab, Phase::Invalid, "Deployment web does not exist: create it");
    lab.cluster.create(Kind::Deployment, deployment("web", "1", 2));
    lab.run(1);
    expect(&lab, Phase::Stable, "version 1 runs");
}

#[test]
fn a_release_that_asks_for_more_than_what_runs_takes_what_runs_as_stable() {
    let work = Work { images: true, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    // The Deployment runs already when the Release comes.
    lab.pass();
    lab.cluster.now += jiff::SignedDuration::from_secs(5);
    while lab.pass() {}
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!((version(&lab), share(&lab)), (Some("1"), 10));
}

/// Our own pause is news to the Deployment's controller: until that has seen it, the status speaks of an older spec.
#[test]
fn what_is_taken_over_by_pausing_it_is_no_first_version_that_waits() {
    let work = Work { images: true, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.setting.paused_at_rest = true;
    lab.pass();
    lab.cluster.now += jiff::SignedDuration::from_secs(5);
    while lab.pass() {}
    lab.happen(&Happening::Version("2"));
    let pods: Vec<_> = lab.cluster.pods.keys().cloned().collect();
    while lab.round() {}
    let deployment = lab.cluster.get(Kind::Deployment, "web").unwrap();
    assert!(deployment["spec"]["paused"] == true, "{}", lab.tail());
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!((version(&lab), share(&lab)), (Some("1"), 10));
    assert!(pods.iter().all(|pod| lab.cluster.pods.contains_key(pod)), "{}", lab.tail());
}

#[test]
fn a_restart_is_no_new_version_and_passes_natively() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    let before: Vec<_> = lab.cluster.pods.keys().cloned().collect();
    lab.happen(&Happening::Restart("web"));
    lab.run(2);
    expect(&lab, Phase::Stable, "version 1 runs");
    assert!(before.iter().all(|pod| !lab.cluster.pods.contains_key(pod)), "every pod was replaced");
    lab.happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
}

#[test]
fn a_restart_mid_way_is_no_reason_to_go_back() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::Restart("web"));
    lab.run(2);
    assert!(matches!(lab.phase(), Phase::Paused | Phase::Progressing), "{}", lab.tail());
    assert!(lab.status().blocked.is_empty());
    lab.decide(Verdict::Promote, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn at_rest_nothing_is_written_whatever_the_scale() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    let written = lab.log.len();
    for replicas in [5, 0, 3] {
        lab.happen(&Happening::Scale("web", replicas));
        lab.run(10);
    }
    assert_eq!(lab.log.len(), written + 3, "{}", lab.tail());
    expect(&lab, Phase::Stable, "version 1 runs");
}

#[test]
fn a_release_that_is_deleted_before_its_first_version_ran_has_nowhere_to_go_back_to() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({"gates": gates}));
    lab.cluster.update(Kind::Release, "shop", |release| release["metadata"]["finalizers"] = json!([FINALIZER]));
    lab.cluster.update(Kind::Deployment, "web", |deployment| {
        deployment["spec"]["paused"] = true.into();
        deployment["metadata"]["annotations"] = json!({PAUSED_BY: "lockkeeper", "lockkeeper.dev/release": "shop"});
    });
    lab.run(1);
    expect(&lab, Phase::Waiting, "the first version waits: gate gate is closed");
    lab.happen(&Happening::DeleteRelease);
    lab.run(2);
    assert!(lab.release().is_none(), "{}", lab.tail());
    assert!(!lab.events.iter().any(|event| event.reason == "RollingBack"), "{:?}", lab.events);
}
