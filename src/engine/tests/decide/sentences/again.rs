//! What a Release finds when it comes: Deployments that wait, run, or were left in the middle of another one.

use lockkeeper_api::{
    decision::Verdict,
    names::{PAUSED_BY, RELEASE},
    release::Phase,
};
use lockkeeper_engine::write::Kind;
use serde_json::{Value, json};

use super::{at_10_percent, at_rest, expect, running, share, version};
use crate::{
    fixture::{POLICY, Work, image, lab, policy, route, service},
    happening::{Happening, spec},
    lab::{Lab, NAME, NAMESPACE},
};

fn deployment(lab: &Lab) -> &Value {
    lab.cluster.get(Kind::Deployment, "web").unwrap()
}

fn change(lab: &mut Lab, how: impl FnOnce(&mut Value)) {
    lab.cluster.update(Kind::Deployment, "web", how);
}

/// The same Release again, without a status.
fn come_again(lab: &mut Lab, spec: Value) {
    assert!(lab.release().is_none(), "{}", lab.tail());
    let metadata = json!({"name": NAME, "namespace": NAMESPACE});
    let release =
        json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release", "metadata": metadata, "spec": spec});
    lab.cluster.create(Kind::Release, release);
}

fn release_spec(lab: &Lab) -> Value {
    lab.cluster.get(Kind::Release, NAME).unwrap()["spec"].clone()
}

/// A Release was deleted at 10 %: version 1 runs, and the Deployment stays paused with version 2.
fn deleted_midway() -> (Lab, Value) {
    let mut lab = at_10_percent(json!({}));
    let spec = release_spec(&lab);
    lab.happen(&Happening::DeleteRelease);
    lab.run(2);
    assert_eq!((running(&lab), &deployment(&lab)["spec"]["paused"]), (vec!["1"], &json!(true)));
    (lab, spec)
}

#[test]
fn a_release_that_comes_again_goes_on_from_what_runs() {
    let (mut lab, spec) = deleted_midway();
    come_again(&mut lab, spec);
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!((version(&lab), share(&lab), running(&lab)), (Some("1"), 10, vec!["1", "2"]), "{}", lab.tail());
}

#[test]
fn what_is_not_whole_or_not_kept_by_a_pause_is_not_called_stable() {
    type Change = fn(&mut Lab);
    let changes: [(&str, Change); 4] = [
        ("pods are missing", |lab| {
            for pod in lab.cluster.pods.values_mut() {
                (pod.image, pod.ready) = (format!("{}-never", pod.image), None);
            }
        }),
        ("more are asked for than there are", |lab| {
            change(lab, |web| web["spec"]["replicas"] = 9.into());
        }),
        ("nothing runs", |lab| {
            lab.happen(&Happening::Scale("web", 0));
            while lab.pass() {}
        }),
        ("it is not paused", |lab| {
            change(lab, |web| {
                web["spec"].as_object_mut().unwrap().remove("paused");
            });
        }),
    ];
    for (what, change) in changes {
        let (mut lab, spec) = deleted_midway();
        change(&mut lab);
        lab.pass();
        come_again(&mut lab, spec);
        while lab.round() {}
        assert_eq!(lab.status().stable, None, "{what}\n{}", lab.tail());
    }
}

#[test]
fn while_two_versions_run_behind_a_pause_neither_is_called_stable() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    let spec = release_spec(&lab);
    lab.happen(&Happening::DeleteRelease);
    lab.run(1);
    // It rolls out natively, and somebody pauses it in the middle.
    lab.cluster.guarded = false;
    let set =
        |web: &mut Value, tag| web["spec"]["template"]["spec"]["containers"][0]["image"] = image("web", tag).into();
    change(&mut lab, |web| set(web, "2"));
    while lab.pass() {}
    change(&mut lab, |web| {
        set(web, "3");
        web["spec"]["paused"] = true.into();
    });
    while lab.pass() {}
    come_again(&mut lab, spec);
    while lab.round() {}
    assert_eq!(lab.status().stable, None, "{}", lab.tail());
    expect(&lab, Phase::Progressing, "waiting for its Deployment to be complete");
}

#[test]
fn what_an_earlier_release_has_left_in_routes_and_services_is_given_back_first() {
    let mut lab = at_10_percent(json!({}));
    let spec = release_spec(&lab);
    // Somebody takes our finalizer off.
    lab.cluster.update(Kind::Release, NAME, |release| release["metadata"]["finalizers"] = json!([]));
    lab.happen(&Happening::DeleteRelease);
    come_again(&mut lab, spec);
    lab.round();
    expect(&lab, Phase::Stable, "giving back routes and Services of an earlier release");
    assert_eq!(lab.status().next_transition_time, None);
    assert_eq!(lab.cluster.get(Kind::HTTPRoute, "web").unwrap()["spec"], route("web")["spec"]);
    assert_eq!(lab.cluster.get(Kind::Service, "web").unwrap()["spec"], service("web")["spec"]);
    // Gateways may still send traffic to it.
    while lab.round() {}
    assert!(lab.cluster.get(Kind::Service, "web-canary").is_some());
    lab.run(1);
    assert!(lab.log.iter().any(|line| line.contains("delete canary Service")), "{}", lab.tail());
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!((version(&lab), share(&lab), running(&lab)), (Some("1"), 10, vec!["1", "2"]), "{}", lab.tail());
}

/// A first version that our policies hold, and a gate before its start.
fn held_first(images: bool) -> Lab {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = lab(&[Work { images, ..Work::web() }], json!([{"setWeight": 10}]), json!({"gates": gates}));
    change(&mut lab, |web| {
        web["spec"]["paused"] = true.into();
        web["metadata"]["annotations"] = json!({PAUSED_BY: "lockkeeper", RELEASE: NAME});
    });
    lab
}

#[test]
fn a_first_version_that_is_rejected_waits_until_somebody_retries_it() {
    let mut lab = held_first(false);
    lab.run(1);
    expect(&lab, Phase::Waiting, "the first version waits: gate gate is closed");
    lab.decide(Verdict::Reject, Some("gate"), "olga");
    lab.run(1);
    expect(&lab, Phase::Rejected, "rejected by olga (because); change the version, or decide Retry");
    let stalled = lab.status().conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert_eq!((stalled.status.as_str(), running(&lab).len()), ("True", 0));
    lab.decide(Verdict::Retry, None, "pete");
    lab.run(1);
    expect(&lab, Phase::Waiting, "gate gate is closed");
    lab.happen(&Happening::Approve("gate", "ann"));
    lab.run(1);
    expect(&lab, Phase::Stable, "version 1 runs");
}

#[test]
fn a_first_version_that_the_release_carries_starts_as_the_release_says() {
    let mut lab = held_first(true);
    spec(&mut lab, |spec| spec["workloads"][0]["images"]["app"] = image("web", "2").into());
    lab.run(1);
    lab.happen(&Happening::Approve("gate", "ann"));
    lab.run(1);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert_eq!(running(&lab), ["2"], "version 1 has never run\n{}", lab.tail());
    assert!(!lab.log.iter().any(|line| line.contains("create candidate")));
}

#[test]
fn a_first_version_that_nobody_holds_asks_nobody() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({"gates": gates}));
    lab.run(1);
    expect(&lab, Phase::Stable, "version 1 runs");
}

#[test]
fn what_a_person_has_paused_a_person_resumes() {
    let gates = json!({"approvals": [{"name": "gate", "before": "Start", "required": 1}]});
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({"gates": gates}));
    change(&mut lab, |web| web["spec"]["paused"] = true.into());
    lab.run(1);
    expect(&lab, Phase::Progressing, "Deployment web is paused: resume it");
    assert_eq!(deployment(&lab)["spec"]["paused"], true, "{}", lab.tail());
    assert!(lab.status().gates.is_empty(), "{}", lab.tail());
}

#[test]
fn before_a_version_is_called_stable_no_new_template_passes_it() {
    for paused_at_rest in [false, true] {
        let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({}));
        lab.setting.paused_at_rest = paused_at_rest;
        // It runs already.
        lab.pass();
        lab.cluster.now += jiff::SignedDuration::from_secs(5);
        while lab.pass() {}
        lab.round();
        expect(&lab, Phase::Progressing, "taking over what runs");
        while lab.status().stable.is_none() {
            assert!(lab.round() | lab.pass(), "{}", lab.tail());
        }
        let web = deployment(&lab);
        assert_eq!(web["metadata"]["annotations"][RELEASE], NAME);
        assert_eq!(web["spec"]["paused"] == true, paused_at_rest);
        let written = lab.log.len();
        lab.run(5);
        expect(&lab, Phase::Stable, "version 1 runs");
        assert_eq!(lab.log.len(), written, "{}", lab.tail());
    }
}

#[test]
fn a_release_that_carries_the_version_touches_nothing_before_its_gates_are_open() {
    let mut lab = lab(&[Work { images: true, ..Work::web() }], json!([{"setWeight": 10}]), json!({"suspend": true}));
    lab.run(1);
    let before = deployment(&lab).clone();
    lab.happen(&Happening::Version("2"));
    lab.run(5);
    expect(&lab, Phase::Waiting, "gate suspend is closed");
    assert_eq!((deployment(&lab), lab.release().unwrap().metadata.finalizers), (&before, None), "{}", lab.tail());
    // Where the Deployment carries it, it is held, so that nobody's resume passes the gates.
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({"suspend": true}));
    lab.happen(&Happening::Version("2"));
    lab.run(5);
    expect(&lab, Phase::Waiting, "gate suspend is closed");
    assert!(deployment(&lab)["metadata"]["annotations"][lockkeeper_api::names::HOLD].is_string(), "{}", lab.tail());
    assert!(lab.release().unwrap().metadata.finalizers.is_some());
}

#[test]
fn what_runs_instead_of_the_stable_version_is_waited_for_only_if_it_goes_on_by_itself() {
    let mut waited = [0, 0];
    for paused in [false, true] {
        for moments in 0..40 {
            let mut lab = lab(&[Work { replicas: 3, ..Work::web() }], json!([{"setWeight": 50}]), json!({}));
            lab.run(1);
            lab.cluster.guarded = false;
            lab.happen(&Happening::Version("2"));
            lab.away(moments);
            if paused {
                change(&mut lab, |web| web["spec"]["paused"] = true.into());
            }
            lab.cluster.guarded = true;
            lab.round();
            if lab.status().message.contains("rolls out") {
                expect(&lab, Phase::Stable, "natively: waiting for it");
                assert!(lab.status().message.starts_with("Deployment web rolls out web-"));
                assert!(lab.outcome.writes.is_empty(), "{:?}", lab.outcome.writes);
                waited[usize::from(paused)] += 1;
            }
        }
    }
    assert!(waited[0] > 0 && waited[1] == 0, "{waited:?}");
}

#[test]
fn a_native_rollout_is_told_while_it_runs() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.cluster.guarded = false;
    lab.happen(&Happening::Version("2-slow"));
    change(&mut lab, |web| web["spec"]["replicas"] = 1.into());
    lab.away(4);
    let told = |lab: &mut Lab, what: &str| {
        for _ in 0..60 {
            lab.round();
            if lab.status().message.contains(what) {
                return true;
            }
            if !lab.pass() {
                lab.cluster.now += jiff::SignedDuration::from_secs(5);
                lab.pass();
            }
        }
        false
    };
    assert!(told(&mut lab, "restarts natively") || told(&mut lab, "version 2-slow runs"), "{}", lab.tail());
    lab.cluster.guarded = true;
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2-slow runs");
}

#[test]
fn a_restart_is_told_while_it_runs() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Restart("web"));
    lab.round();
    expect(&lab, Phase::Stable, "Deployment web restarts natively");
    assert!(lab.outcome.writes.is_empty());
    lab.run(2);
    expect(&lab, Phase::Stable, "version 1 runs");
    let hash = &lab.status().stable.as_ref().unwrap().workloads[0].hash;
    assert!(lab.cluster.pods.keys().all(|pod| pod.starts_with(&format!("web-{hash}-"))), "the stable version follows");
}

#[test]
fn a_version_is_the_stable_one_since_it_took_over() {
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {"duration": "5m"}}]), json!({"rollbackPolicy": POLICY}));
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({"bake": "10m"})));
    lab.happen(&Happening::Version("2"));
    lab.run(7);
    expect(&lab, Phase::Baking, "promoted; baking until");
    let status = lab.status();
    let (since, entered) = (&status.stable.as_ref().unwrap().since, status.since.as_ref().unwrap());
    assert_eq!(since.0.as_second(), entered.0.as_second());
}
