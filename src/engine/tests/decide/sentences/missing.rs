//! What somebody takes away in the middle: it is made again, or waited for by name.

use lockkeeper_api::{
    decision::Verdict,
    names::FINALIZER,
    release::{GoingBackCause, Phase},
};
use lockkeeper_engine::write::{Kind, Seen};
use serde_json::json;

use super::{asked, at_10_percent, at_rest, baking, expect, running, share, version};
use crate::{
    fixture::{Work, image, lab},
    happening::Happening,
    lab::Lab,
};

fn stable_set(lab: &Lab) -> String {
    format!("web-{}", lab.status().stable.as_ref().unwrap().workloads[0].hash)
}

/// Whether the log has these, in this order, from a line on.
#[track_caller]
fn in_order(lab: &Lab, from: usize, what: &[&str]) {
    let mut at = from;
    for part in what {
        let found = lab.log[at..].iter().position(|line| line.contains(part));
        at += 1 + found.unwrap_or_else(|| panic!("{part} is missing in\n{}", lab.log[at..].join("\n")));
    }
}

/// From here on it is deleted at once, and its pods with it.
fn delete_stable(lab: &mut Lab) -> usize {
    let from = lab.log.len();
    lab.happen(&Happening::DeleteStable("web"));
    lab.pass();
    from
}

#[test]
fn while_the_promoted_version_is_made_again_the_one_before_serves() {
    for routed in [true, false] {
        let work = Work { routed, ..Work::web() };
        let mut lab = lab(&[work], json!([{"setWeight": 100}]), json!({"rollbackPolicy": "slo"}));
        lab.policies.insert("slo".into(), crate::fixture::policy(json!({}), json!({"bake": "10m"})));
        lab.run(1).happen(&Happening::Version("2"));
        lab.run(2);
        expect(&lab, Phase::Baking, "promoted; baking until");
        let before = lab.status().previous.as_ref().unwrap().workloads[0].hash.clone();
        let from = delete_stable(&mut lab);
        lab.run(2);
        in_order(&lab, from, &["candidate", &format!("Service web: pin to {before}")]);
        expect(&lab, Phase::Baking, "promoted; baking until");
        assert_eq!((version(&lab), running(&lab)), (Some("2"), vec!["1", "2"]), "{}", lab.tail());
        lab.run(15);
        expect(&lab, Phase::Stable, "version 2 runs");
        assert_eq!(running(&lab), ["2"], "{}", lab.tail());
    }
}

#[test]
fn on_the_way_back_the_candidate_serves_until_the_stable_version_is_made_again() {
    let mut lab = at_10_percent(json!({}));
    let from = delete_stable(&mut lab);
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(2);
    in_order(&lab, from, &["set weight 100", "recreate stable", "give back the route", "scale to 0"]);
    expect(&lab, Phase::Aborted, "aborted by olga");
    assert_eq!((share(&lab), running(&lab), version(&lab)), (0, vec!["1"], Some("1")), "{}", lab.tail());
}

#[test]
fn on_the_way_back_by_pods_alone_the_candidate_serves_until_the_stable_version_is_made_again() {
    let work = Work { routed: false, ..Work::web() };
    let mut lab = lab(&[work], json!([{"setWeight": 50}, {"pause": {}}]), json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(1);
    let candidate = lab.status().candidate.as_ref().unwrap().workloads[0].hash.clone();
    let from = delete_stable(&mut lab);
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(2);
    let stable = lab.status().stable.as_ref().unwrap().workloads[0].hash.clone();
    in_order(&lab, from, &["recreate stable", &format!("pin to {candidate}"), &format!("pin to {stable}"), "unpin"]);
    expect(&lab, Phase::Aborted, "aborted by olga");
    assert_eq!(running(&lab), ["1"], "{}", lab.tail());
}

#[test]
fn a_stable_version_that_cannot_be_made_again_is_for_a_person_to_mend() {
    let mut lab = at_10_percent(json!({}));
    let saved: Vec<_> = lab.cluster.of(Kind::ControllerRevision).map(|(name, _)| name.clone()).collect();
    assert_eq!(saved.len(), 1);
    lab.cluster.delete(Kind::ControllerRevision, &saved[0]);
    delete_stable(&mut lab);
    lab.run(2);
    expect(&lab, Phase::RollingBack, "its template was not saved: roll out a version by hand");
    let stalled = lab.status().conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert_eq!(stalled.status, "True");
    assert_eq!(running(&lab), ["2"], "what still serves is not taken away\n{}", lab.tail());
}

#[test]
fn a_stable_version_that_is_made_again_while_another_has_pods_is_not_the_deployments() {
    // Without our policies somebody resumes the Deployment: it starts the new version by itself.
    let mut lab = at_10_percent(json!({}));
    lab.cluster.guarded = false;
    lab.happen(&Happening::Unpause("web"));
    lab.pass();
    delete_stable(&mut lab);
    lab.cluster.guarded = true;
    lab.run(5);
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!((share(&lab), running(&lab), version(&lab)), (10, vec!["1", "2"], Some("1")), "{}", lab.tail());
}

#[test]
fn a_route_or_service_that_goes_away_during_a_forced_promotion_is_waited_for_by_name() {
    for (happening, missing) in [
        (Happening::DeleteRoute("web"), "HTTPRoute web, which does not exist"),
        (Happening::DeleteService("web"), "Service web, which does not exist"),
    ] {
        let mut lab = at_rest(json!([{"setWeight": 10}]), json!({"progressDeadline": "5m"}));
        lab.happen(&Happening::Version("2-slow"));
        lab.run(1);
        lab.decide(Verdict::Promote, None, "olga");
        while lab.round() {}
        expect(&lab, Phase::Promoting, "takes the stable version's place");
        lab.happen(&happening);
        lab.run(10);
        let going = lab.status().going_back.as_ref().unwrap_or_else(|| panic!("{missing}\n{}", lab.tail()));
        assert_eq!(going.cause, GoingBackCause::ProgressDeadlineExceeded);
        assert!(going.message.contains(missing), "{}", going.message);
    }
}

#[test]
fn a_canary_service_that_somebody_deletes_is_made_again() {
    let mut lab = at_10_percent(json!({}));
    let from = lab.log.len();
    lab.happen(&Happening::DeleteService("web-canary"));
    lab.run(2);
    in_order(&lab, from, &["create canary Service"]);
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!(share(&lab), 10);
}

#[test]
fn a_candidate_that_is_being_deleted_is_waited_for_and_then_made_again() {
    let mut lab = at_10_percent(json!({}));
    let name = format!("web-{}", lab.status().candidate.as_ref().unwrap().workloads[0].hash);
    // Deleted in the foreground: it stays until its pods are gone.
    lab.cluster.update(Kind::ReplicaSet, &name, |set| set["metadata"]["finalizers"] = json!(["foregroundDeletion"]));
    lab.cluster.delete(Kind::ReplicaSet, &name);
    let from = lab.log.len();
    while lab.round() {}
    assert_eq!(share(&lab), 0, "traffic leaves before its pods do\n{}", lab.tail());
    lab.run(1);
    lab.cluster.update(Kind::ReplicaSet, &name, |set| set["spec"]["replicas"] = 0.into());
    lab.run(1);
    expect(&lab, Phase::Progressing, "");
    assert_eq!((share(&lab), running(&lab)), (0, vec!["1"]), "{}", lab.tail());
    assert!(!lab.log[from..].iter().any(|line| line.contains(&name)), "{}", lab.tail());
    lab.cluster.update(Kind::ReplicaSet, &name, |set| set["metadata"]["finalizers"] = json!([]));
    lab.run(2);
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!((share(&lab), running(&lab)), (10, vec!["1", "2"]), "{}", lab.tail());
}

#[test]
fn somebody_elses_finalizer_stays_and_ours_is_not_put_on_what_is_being_deleted() {
    let mut lab = lab(&[Work { images: true, ..Work::web() }], json!([{"setWeight": 10}]), json!({"suspend": true}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.cluster
        .update(Kind::Release, "shop", |release| release["metadata"]["finalizers"] = json!(["example.com/audit"]));
    lab.run(1);
    expect(&lab, Phase::Waiting, "gate suspend is closed");
    lab.happen(&Happening::DeleteRelease);
    lab.run(2);
    assert_eq!(lab.release().unwrap().metadata.finalizers, Some(vec!["example.com/audit".to_owned()]));
    let mut lab = at_10_percent(json!({}));
    lab.cluster.update(Kind::Release, "shop", |release| {
        release["metadata"]["finalizers"] = json!(["example.com/audit", FINALIZER]);
    });
    lab.happen(&Happening::DeleteRelease);
    lab.run(2);
    assert_eq!(lab.release().unwrap().metadata.finalizers, Some(vec!["example.com/audit".to_owned()]));
}

#[test]
fn a_version_that_is_promoted_before_it_has_pods_gets_none_behind_an_open_service() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    lab.happen(&Happening::Version("2"));
    while lab.phase() != Phase::Progressing {
        lab.round();
    }
    let from = lab.log.len();
    lab.decide(Verdict::Promote, None, "olga");
    lab.run(3);
    in_order(&lab, from, &["pin to", "scale to 2"]);
    in_order(&lab, from, &["create canary Service", "scale to 2"]);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn the_history_stays_history_when_somebody_resumes_the_deployment() {
    let mut lab = at_rest(json!([{"setWeight": 10}]), json!({}));
    for tag in ["2", "3"] {
        lab.happen(&Happening::Version(tag));
        lab.run(3);
    }
    lab.happen(&Happening::Steps(vec![json!({"setWeight": 10}), json!({"pause": {}})]));
    lab.happen(&Happening::Version("4"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/2");
    lab.interleaved = true;
    lab.cluster.guarded = false;
    lab.happen(&Happening::Unpause("web"));
    lab.pass();
    lab.cluster.guarded = true;
    lab.run(5);
    expect(&lab, Phase::Paused, "step 2/2");
    assert_eq!((share(&lab), running(&lab)), (10, vec!["3", "4"]), "{}", lab.tail());
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(5);
    assert_eq!(running(&lab), ["3"], "{}", lab.tail());
    let known: Vec<_> = lab
        .cluster
        .of(Kind::ReplicaSet)
        .map(|(_, set)| set["spec"]["template"]["spec"]["containers"][0]["image"].clone())
        .collect();
    assert!(known.contains(&image("web", "1").into()) && known.contains(&image("web", "2").into()), "{known:?}");
}

#[test]
fn the_saved_template_is_the_stable_versions_and_goes_with_the_release() {
    let mut lab = asked(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    let saved: Vec<_> =
        lab.cluster.of(Kind::ControllerRevision).map(|(_, saved)| saved["data"]["template"].clone()).collect();
    let name = stable_set(&lab);
    assert_eq!(saved, [lab.cluster.get(Kind::ReplicaSet, &name).unwrap()["spec"]["template"].clone()]);
    lab.decide(Verdict::Promote, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Stable, "version 2 runs");
    assert_eq!(lab.cluster.of(Kind::ControllerRevision).count(), 0);
}

#[test]
fn a_bake_goes_on_when_the_version_before_is_deleted_and_then_there_is_no_way_back_to_it() {
    let mut lab = baking();
    let before = lab.status().previous.as_ref().unwrap().workloads[0].hash.clone();
    let saved: Vec<_> = lab.cluster.of(Kind::ControllerRevision).map(|(name, _)| name.clone()).collect();
    for name in saved {
        lab.cluster.delete(Kind::ControllerRevision, &name);
    }
    lab.cluster.delete(Kind::ReplicaSet, &format!("web-{before}"));
    lab.answer = crate::lab::Answer::Bad;
    lab.decide(Verdict::Rollback, None, "olga");
    lab.run(5);
    expect(&lab, Phase::Baking, "promoted; baking until");
    assert!(
        lab.events.iter().any(|event| event.reason == "RollbackRefused" && event.note.contains("not in the history"))
    );
    assert!(
        super::refused(&lab).is_some_and(|why| why.contains("ask for it in the spec")),
        "{:?}",
        super::refused(&lab)
    );
    lab.run(10);
    expect(&lab, Phase::Stable, "version 2 runs");
}

#[test]
fn what_takes_its_time_to_go_is_deleted_once() {
    let mut lab = at_10_percent(json!({}));
    let set = format!("web-{}", lab.status().candidate.as_ref().unwrap().workloads[0].hash);
    for (kind, name) in [(Kind::Service, "web-canary"), (Kind::ReplicaSet, set.as_str())] {
        lab.cluster.update(kind, name, |object| object["metadata"]["finalizers"] = json!(["example.com/slow"]));
    }
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(3);
    expect(&lab, Phase::Aborted, "aborted by olga");
    let times = |what: &str| lab.log.iter().filter(|line| line.contains(what)).count();
    assert_eq!((times("delete canary Service"), times("delete candidate")), (1, 1), "{}", lab.tail());
}

#[test]
fn a_service_of_somebody_else_is_left_alone_whatever_it_is_called() {
    let mut lab = lab(&[Work::web()], json!([{"setWeight": 10}]), json!({}));
    lab.cluster.create(Kind::Service, crate::fixture::service("web-canary"));
    lab.run(1);
    expect(&lab, Phase::Invalid, "Service web-canary exists and is not Lockkeeper's: delete it or set canaryService");
    lab.happen(&Happening::DeleteDeployment("web"));
    lab.run(1);
    let service = lab.cluster.get(Kind::Service, "web-canary").map(|service| service["spec"].clone());
    assert_eq!(service, Some(crate::fixture::service("web-canary")["spec"].clone()), "{}", lab.tail());
}

#[test]
fn while_the_stable_version_is_made_again_a_candidate_that_is_ready_serves() {
    let mut lab = at_10_percent(json!({}));
    let from = delete_stable(&mut lab);
    lab.run(2);
    in_order(&lab, from, &["set weight 100", "recreate stable", "set weight 10"]);
    expect(&lab, Phase::Paused, "step 2/4");
    let mut lab = at_rest(json!([{"setWeight": 10}, {"pause": {}}]), json!({}));
    lab.happen(&Happening::Version("2-slow"));
    lab.run(1);
    let from = delete_stable(&mut lab);
    while lab.round() {}
    in_order(&lab, from, &["recreate stable"]);
    assert!(!lab.log[from..].iter().any(|line| line.contains("set weight")), "{}", lab.tail());
}

#[test]
fn a_candidate_that_is_being_deleted_keeps_its_traffic_while_nobody_else_could_take_it() {
    let mut lab = at_10_percent(json!({}));
    let name = format!("web-{}", lab.status().candidate.as_ref().unwrap().workloads[0].hash);
    for pod in lab.cluster.pods.values_mut().filter(|pod| pod.image.ends_with(":1")) {
        (pod.image, pod.ready) = (format!("{}-never", pod.image), None);
    }
    lab.run(1);
    assert_eq!(share(&lab), 100, "traffic goes where pods are\n{}", lab.tail());
    lab.cluster.update(Kind::ReplicaSet, &name, |set| set["metadata"]["finalizers"] = json!(["foregroundDeletion"]));
    lab.cluster.delete(Kind::ReplicaSet, &name);
    lab.run(1);
    assert_eq!(share(&lab), 100, "{}", lab.tail());
}

#[test]
fn without_routes_and_without_weight_the_candidates_pods_get_no_traffic() {
    let steps = json!([{"setCanaryScale": {"replicas": 2}}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]);
    let mut lab = lab(&[Work { routed: false, ..Work::web() }], steps, json!({}));
    lab.run(1).happen(&Happening::Version("2"));
    lab.run(1);
    expect(&lab, Phase::Paused, "step 2/4");
    assert_eq!(running(&lab), ["1", "2"]);
    let behind = |lab: &Lab| {
        let mut tags: Vec<_> =
            lab.cluster.endpoints["web"].iter().map(|pod| lab.cluster.pods[pod].image.clone()).collect();
        tags.dedup();
        tags
    };
    assert_eq!(behind(&lab), [image("web", "1")], "{}", lab.tail());
    lab.decide(Verdict::Resume, None, "olga");
    lab.run(1);
    expect(&lab, Phase::Paused, "step 4/4");
    assert_eq!(behind(&lab).len(), 2, "{}", lab.tail());
}

#[test]
fn a_stable_service_that_goes_away_on_the_way_back_ends_it_no_sooner_than_gateways_know() {
    let mut lab = at_10_percent(json!({}));
    lab.decide(Verdict::Abort, None, "olga");
    while share(&lab) > 0 {
        lab.round();
    }
    lab.happen(&Happening::DeleteService("web"));
    while lab.round() {}
    expect(&lab, Phase::RollingBack, "aborted by olga");
    assert_eq!(running(&lab), ["1", "2"], "data planes may still send requests there\n{}", lab.tail());
    lab.happen(&Happening::Apply("web"));
    lab.run(1);
    expect(&lab, Phase::Aborted, "aborted by olga");
    assert_eq!(running(&lab), ["1"], "{}", lab.tail());
}

#[test]
fn no_route_names_a_canary_service_that_is_not_there() {
    let mut lab = baking();
    let before = lab.status().previous.as_ref().unwrap().workloads[0].hash.clone();
    let from = delete_stable(&mut lab);
    while !lab.log[from..].iter().any(|line| line.contains(&format!("pin to {before}"))) {
        lab.round();
    }
    assert_eq!(lab.cluster.get(Kind::Service, "web-canary"), None);
    let at = lab.log.len();
    lab.decide(Verdict::Rollback, None, "olga");
    lab.run(2);
    expect(&lab, Phase::RolledBack, "rolled back to version 1 by olga");
    assert_eq!((version(&lab), running(&lab)), (Some("1"), vec!["1"]), "{}", lab.tail());
    assert!(!lab.log[at..].iter().any(|line| line.contains("set weight")), "{}", lab.tail());
}

/// What the writes for this purpose rest on, all together.
#[track_caller]
fn rests_on(lab: &Lab, purpose: &str) -> Vec<Seen> {
    let writes: Vec<_> = lab.done.iter().filter(|write| write.purpose == purpose).collect();
    assert!(!writes.is_empty(), "{purpose}\n{}", lab.tail());
    writes.into_iter().flat_map(|write| write.rests_on.clone()).collect()
}

#[test]
fn traffic_moves_for_what_is_missing_only_if_it_is_missing_indeed() {
    // A process that has just started may list from a replica that is behind.
    for aborts in [false, true] {
        let mut lab = at_10_percent(json!({}));
        let gone = Seen::absent(Kind::ReplicaSet, stable_set(&lab));
        lab.done.clear();
        delete_stable(&mut lab);
        if aborts {
            lab.decide(Verdict::Abort, None, "olga");
        }
        lab.run(1);
        assert_eq!(rests_on(&lab, "set weight 100"), [gone], "{aborts}");
    }
}

#[test]
fn a_deployment_that_is_gone_is_proven_to_be_before_its_routes_and_services_are_given_back() {
    let mut lab = at_10_percent(json!({}));
    lab.done.clear();
    lab.happen(&Happening::DeleteDeployment("web"));
    let gone = Seen::absent(Kind::Deployment, "web");
    while lab.phase() != Phase::Invalid {
        lab.round();
        assert_eq!(lab.outcome.rests_on, std::slice::from_ref(&gone), "nor is the stable version forgotten before");
    }
    for purpose in ["give back the route", "unpin"] {
        assert!(rests_on(&lab, purpose).contains(&gone), "{purpose}");
    }
}

#[test]
fn a_service_is_unpinned_only_when_the_version_that_was_left_is_gone_indeed() {
    let mut lab = at_10_percent(json!({}));
    let candidate = format!("web-{}", lab.status().candidate.as_ref().unwrap().workloads[0].hash);
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(1);
    assert_eq!(rests_on(&lab, "unpin"), [Seen::absent(Kind::ReplicaSet, candidate)]);
}

#[test]
fn a_route_that_is_gone_is_proven_to_be_before_the_canary_service_goes() {
    let mut lab = at_10_percent(json!({}));
    lab.happen(&Happening::DeleteRoute("web"));
    lab.decide(Verdict::Abort, None, "olga");
    lab.run(1);
    assert_eq!(rests_on(&lab, "delete canary Service"), [Seen::absent(Kind::HTTPRoute, "web")]);
}

#[test]
fn traffic_moves_for_a_stable_version_without_pods_only_if_it_still_has_none() {
    let mut lab = at_10_percent(json!({}));
    let stable = stable_set(&lab);
    lab.done.clear();
    for pod in lab.cluster.pods.values_mut().filter(|pod| pod.image.ends_with(":1")) {
        (pod.image, pod.ready) = (format!("{}-never", pod.image), None);
    }
    lab.run(1);
    let rests_on = rests_on(&lab, "set weight 100");
    assert!(rests_on.iter().any(|seen| (seen.kind, &seen.name) == (Kind::ReplicaSet, &stable)), "{rests_on:?}");
}
