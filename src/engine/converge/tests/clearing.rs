//! What a release leaves around the live version goes, each thing when nothing needs it any more.

use super::*;

/// All traffic is behind the stable Services, which are pinned to `b`; the version before stands beside.
fn served() -> Moment {
    Moment::beside(true).with(|m| {
        m.role("a", Some(Role::Previous));
        m.role("b", None);
        m.pin("b");
        m.view.routes = Moment::untouched();
        m.view.services.remove("web-canary");
        m.deployment().updated = 4;
    })
}

/// The same, where the version before is to go.
fn leaving() -> Moment {
    served().with(|m| m.keep = Keep::Gone)
}

/// It is back in the Deployment's history.
fn left() -> Moment {
    leaving().with(|m| {
        m.role("a", None);
        m.pods("a", 0);
    })
}

/// Nothing is left but the Deployment's hold.
fn cleared() -> Moment {
    left().with(|m| {
        m.unpin();
        m.view.saved.clear();
    })
}

const TRAFFIC: [&str; 3] = ["web 5web", "web 5web", "web-admin 5web-admin"];

#[test]
fn the_version_before_is_kept_at_the_workloads_scale() {
    check(&served().settle("b"), &["served"]);
    check(&served().with(|m| m.pods("a", 3)).settle("b"), &["web-a: scale to 4", "served"]);
    let more = served().with(|m| m.pods("a", 5)).settle("b");
    check(&more, &["web-a: scale to 4", "served"]);
    assert_eq!(rests_on(&more, "scale to 4"), TRAFFIC);
    // Without a Service it cannot help out.
    let alone = served().with(|m| {
        m.plan = plan(false);
        m.plan.workloads[0].services = None;
        m.plan.workloads[0].pins.clear();
        m.view.services.clear();
        m.view.routes.clear();
    });
    check(&alone.settle("b"), &["web-a: scale to 0", "served"]);
    check(&alone.with(|m| m.pods("a", 0)).settle("b"), &["served"]);
    for count in [3, 5] {
        let as_it_is = served().with(|m| {
            m.keep = Keep::AsItIs;
            m.pods("a", count);
        });
        check(&as_it_is.settle("b"), &["served"]);
    }
}

#[test]
fn what_was_stable_goes_into_the_history() {
    let gone = leaving().settle("b");
    check(&gone, &["web-a: give to the Deployment", "served"]);
    assert_eq!(rests_on(&gone, "give to the Deployment"), TRAFFIC);
    let scaled = |round: &Round| match &round.writes[0].request {
        crate::write::Request::Merge(patch) => patch["spec"]["replicas"].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(scaled(&gone), 0);
    assert_eq!(scaled(&leaving().with(|m| m.pods("a", 0)).settle("b")), Value::Null);
    // A Deployment with another template gives its next pods to this one, unless the live version is seen to have some.
    let other = leaving().with(|m| {
        m.wants("c");
    });
    let proofs = rests_on(&other.settle("b"), "give to the Deployment");
    assert_eq!(proofs, [TRAFFIC[0], TRAFFIC[1], TRAFFIC[2], "web-b 5b"]);
    check(
        &leaving().with(|m| m.set("a").deleting = true).settle("b"),
        &["waiting for the pods of web-a to end", "served"],
    );
}

#[test]
fn what_was_never_stable_goes_away() {
    let candidate = leaving().with(|m| m.role("a", Some(Role::Candidate)));
    let scaled = candidate.settle("b");
    check(&scaled, &["web-a: scale to 0", "served"]);
    assert_eq!(rests_on(&scaled, "scale to 0"), TRAFFIC);
    let ending = candidate.with(|m| {
        m.pods("a", 0);
        m.set("a").existing = 1;
    });
    check(&ending.settle("b"), &["waiting for the pods of web-a to end", "served"]);
    check(&ending.with(|m| m.set("a").existing = 0).settle("b"), &["web-a: delete candidate", "served"]);
    // What was borrowed from the history has been stable.
    check(&candidate.with(|m| m.set("a").borrowed = true).settle("b"), &["web-a: give to the Deployment", "served"]);
}

#[test]
fn the_history_holds_each_template_once() {
    let twin = |controlled: bool, digest: &str| {
        leaving().with(|m| {
            m.view.replica_sets.push(ReplicaSetView { digest: digest.into(), ..replica_set("c", None, 0) });
            m.set("c").controlled = controlled;
        })
    };
    check(&twin(true, "a").settle("b"), &["web-a: scale to 0", "served"]);
    check(&twin(false, "a").settle("b"), &["web-a: give to the Deployment", "served"]);
    check(&twin(true, "c").settle("b"), &["web-a: give to the Deployment", "served"]);
}

#[test]
fn history_that_was_taken_off_comes_back_when_pods_are_asked_for() {
    let asleep = leaving().with(|m| {
        m.add("c", Some(Role::History), 0);
        m.wants("d");
    });
    check(&asleep.settle("b"), &["web-a: give to the Deployment", "web-c: give to the Deployment", "served"]);
    // Its template is not what runs: the next pods would go to the newest in the history.
    let nobody = asleep.with(|m| m.deployment().replicas = 0);
    check(&nobody.settle("b"), &["web-a: give to the Deployment", "served"]);
    let own = nobody.with(|m| {
        m.wants("b");
    });
    check(&own.settle("b"), &["web-a: give to the Deployment", "web-c: give to the Deployment", "served"]);
}

#[test]
fn the_candidates_service_goes_when_no_route_names_it() {
    let stands = served().with(|m| m.aim("b"));
    let gone = stands.settle("b");
    check(&gone, &["web-canary: delete canary Service", "served"]);
    assert_eq!(rests_on(&gone, "delete canary Service"), ["web 5web"]);
    check(&stands.with(|m| m.service("web-canary").ours = false).settle("b"), &["served"]);
    check(&stands.with(|m| m.service("web-canary").deleting = true).settle("b"), &["served"]);
}

#[test]
fn pins_stay_until_the_last_pod_of_another_version_has_ended() {
    check(&left().settle("b"), &["web: unpin", "web-admin: unpin", "web-a-stable: delete saved template", "served"]);
    let waits = ["waiting for the pods of web-a to end", "served"];
    check(&left().with(|m| m.set("a").existing = 1).settle("b"), &waits);
    // What the Deployment has restarted by itself is the same version, and stays.
    let restarted = left().with(|m| {
        m.pods("a", 1);
        m.deployment().paused = false;
        m.set("a").digest = "b".into();
    });
    assert_eq!(told(&restarted.settle("b"))[0], "web: unpin");
    for other in [
        restarted.with(|m| m.set("a").replicas = 0),
        restarted.with(|m| m.set("a").controlled = false),
        restarted.with(|m| m.set("a").digest = "a".into()),
    ] {
        check(&other.settle("b"), &waits);
    }
    check(&served().with(|m| m.role("a", None)).settle("b"), &["web-a: detach as previous"]);
}

#[test]
fn a_deployment_is_given_back_when_it_has_counted_what_runs() {
    check(&cleared().settle("b"), &["web: give back", "served"]);
    let waits = ["waiting for Deployment web to count its pods", "served"];
    check(&cleared().with(|m| m.deployment().updated = 3).settle("b"), &waits);
    check(&cleared().with(|m| m.deployment().current = false).settle("b"), &waits);
    for mark in [HOLD, PAUSED_BY] {
        let half = cleared().with(|m| {
            m.deployment().current = false;
            m.deployment().marks.remove(mark);
        });
        check(&half.settle("b"), &waits);
    }
    let free = cleared().with(|m| {
        m.deployment().current = false;
        m.deployment().marks.retain(|key, _| key != HOLD && key != PAUSED_BY);
    });
    check(&free.settle("b"), &["served"]);
    // A restart by annotation is no other version: there is nothing to count before it rolls out.
    let restarted = cleared().with(|m| {
        let mut template = template("b");
        template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now".into();
        m.deployment().template = template.into();
        m.deployment().digest = "restarted".into();
        m.deployment().updated = 0;
        m.set("b").version = m.view.deployment.as_ref().unwrap().version_digest();
    });
    check(&restarted.settle("b"), &["web: give back", "served"]);
}

/// What a write does to the pause and to our marks.
fn pause(round: &Round) -> (Value, Vec<String>) {
    let write = round.writes.iter().find(|write| write.kind == crate::write::Kind::Deployment).unwrap();
    let crate::write::Request::Strategic(patch) = &write.request else { panic!("{write:?}") };
    let marks = patch["metadata"]["annotations"].as_object().unwrap();
    let gone = marks.iter().filter(|(_, value)| value.is_null()).map(|(key, _)| key.clone());
    (patch["spec"].get("paused").cloned().unwrap_or("as it is".into()), gone.collect())
}

#[test]
fn what_becomes_of_the_pause_depends_on_the_template_and_on_the_installation() {
    let ours = [HOLD, PAUSED_BY].map(str::to_owned);
    assert_eq!(pause(&cleared().settle("b")), (Value::Null, ours.to_vec()));
    let stays = cleared().with(|m| m.plan.setting.paused_at_rest = true);
    assert_eq!(pause(&stays.settle("b")), ("as it is".into(), vec![HOLD.to_owned()]));
    let mut all = ours.to_vec();
    all.push("lockkeeper.dev/release".into());
    let goes = stays.with(|m| m.plan.deleting = true);
    assert_eq!(pause(&goes.settle("b")), (Value::Null, all.clone()));
    // A template that has never been proven is not rolled out; its owner resumes it.
    let other = |m: &mut Moment| {
        m.wants("c");
    };
    check(&cleared().with(other).settle("b"), &["served"]);
    assert_eq!(pause(&goes.with(other).settle("b")), ("as it is".into(), all));
}

#[test]
fn a_deployment_that_somebody_has_resumed_with_another_template_is_held_again() {
    let resumed = cleared().with(|m| {
        m.wants("c");
        m.deployment().paused = false;
    });
    check(&resumed.settle("b"), &["web: hold", "served"]);
    let started = resumed.with(|m| {
        m.view.replica_sets.push(ReplicaSetView { existing: 0, ..replica_set("c", None, 1) });
    });
    let taken_off = ["web: hold", "web-a: detach as history", "web-c: detach as candidate"];
    check(&started.settle("b"), &taken_off);
    check(&started.with(|m| m.set("c").existing = 1).settle("b"), &taken_off);
}

#[test]
fn what_a_held_deployment_runs_of_the_version_that_it_asks_for_is_no_restart() {
    // The live version's ReplicaSet was deleted and made again; meanwhile the paused Deployment has scaled up the one of its own template.
    for (pinned, keep) in [(true, Keep::Gone), (false, Keep::Gone), (true, Keep::AsItIs)] {
        let both = left().with(|m| {
            m.wants("a");
            m.pods("a", 1);
            m.keep = keep;
            if !pinned {
                m.unpin();
            }
        });
        check(&both.settle("b"), &["web-a: detach as candidate"]);
        let third = both.with(|m| {
            m.set("a").controlled = false;
            m.view.replica_sets.retain(|rs| rs.hash != "a");
            m.wants("c");
            m.add("c", None, 1);
        });
        check(&third.settle("b"), &["web-c: detach as candidate"]);
    }
}

#[test]
fn where_the_release_carries_the_version_the_deployment_gets_its_images_back() {
    let other = cleared().with(|m| {
        m.wants("c");
        m.plan.workloads[0].images = BTreeMap::from([("app".to_owned(), "web:c".to_owned())]);
    });
    for deleting in [false, true] {
        let back = other.with(|m| m.plan.deleting = deleting).settle("b");
        check(&back, &["web: set images", "served"]);
        let crate::write::Request::Strategic(patch) = &back.writes[0].request else { panic!("{back:?}") };
        let images = json!({"spec": {"containers": [{"name": "app", "image": "web:b"}]}});
        assert_eq!(patch["spec"]["template"], images, "those that run");
        assert_eq!(patch["metadata"]["annotations"], json!({}), "it stays held");
    }
}
