//! The way to the Deployment's control: pods, then traffic, then the one version goes and the other comes.

use super::*;

/// Both are whole, and `b` has all of the traffic.
fn carried() -> Moment {
    Moment::beside(true).with(|moment| moment.weigh(100))
}

#[test]
fn pods_come_first_then_traffic_then_control() {
    let half = Moment::beside(true);
    check(&half.with(|m| m.set("b").replicas = 3).settle("b"), &["web-b: scale to 4"]);
    let waits = ["waiting for pods: 3 of 4 of web-b are available"];
    check(&half.but(|m| m.set("b").available = 3).settle("b"), &waits);
    check(&half.settle("b"), &["web: set weight 100"]);
    check(&half.with(|m| m.pods("b", 5)).settle("b"), &["web: set weight 100"]);
    check(&carried().settle("b"), &["web-a: detach as previous", "web-b: give to the Deployment"]);
    let endpoints = carried().but(|m| m.service("web-canary").ready.truncate(3));
    check(&endpoints.settle("b"), &["waiting for endpoints of web-b"]);
}

#[test]
fn control_waits_for_the_gateway_and_its_data_plane() {
    let at = |accepted| carried().with(|m| m.accepted(accepted)).settle("b");
    check(&at(None), &["waiting for the gateway to accept web"]);
    check(&at(Some(96)), &["waiting for the data plane to settle", "until 101"]);
    check(&at(Some(95)), &["web-a: detach as previous", "web-b: give to the Deployment"]);
}

#[test]
fn a_first_share_waits_until_gateways_know_the_pods_and_a_further_one_does_not() {
    let at = |share, since: i64| {
        let change = |m: &mut Moment| {
            m.weigh(share);
            m.service("web-canary").ready_since = Some(second(since));
        };
        Moment::beside(true).with(change).settle("b")
    };
    check(&at(0, 96), &["waiting for endpoints of web-b", "until 101"]);
    check(&at(0, 95), &["web: set weight 100"]);
    check(&at(1, 96), &["web: set weight 100"]);
}

#[test]
fn meanwhile_the_stable_services_are_pinned_to_a_version_that_has_pods() {
    let half = Moment::beside(true);
    let (to_a, on) = (["web: pin to a", "web-admin: pin to a"], ["web: set weight 100"]);
    check(&half.with(Moment::unpin).settle("b"), &to_a);
    let mixed = half.with(|m| {
        m.unpin();
        m.view.services.insert("web".into(), service("web", Some("a")));
    });
    check(&mixed.settle("b"), &to_a[1..]);
    assert_eq!(rests_on(&mixed.settle("b"), "pin to a"), ["web-a 5a"]);
    // Without a pod of its own it gets no Service.
    let drained = half.with(|m| {
        m.unpin();
        m.set("a").available = 0;
    });
    check(&drained.settle("b"), &on);
    // What is pinned to the new one already stays so while that has pods.
    let ahead = half.with(|m| m.pin("b"));
    check(&ahead.settle("b"), &["web: set weight 0"]);
    check(&ahead.with(|m| m.set("b").available = 0).settle("b"), &to_a);
    check(&ahead.with(|m| m.weigh(0)).settle("b"), &["web-a: detach as previous", "web-b: give to the Deployment"]);
    let fresh = ahead.with(|m| {
        m.weigh(0);
        m.accepted(Some(96));
    });
    check(&fresh.settle("b"), &["waiting for the data plane to settle", "until 101"]);
}

#[test]
fn the_deployment_is_held_and_the_template_saved_before() {
    let half = Moment::beside(true);
    let bare = half.with(|m| {
        m.deployment().marks.remove(HOLD);
        m.view.saved.clear();
        m.pods("b", 0);
    });
    check(&bare.settle("b"), &["web: hold", "web-a-stable: save stable template", "web-b: scale to 4"]);
}

#[test]
fn the_candidates_service_turns_round_only_without_traffic() {
    let other = Moment::beside(true).with(|m| m.aim("a"));
    check(&other.settle("b"), &["web: set weight 0"]);
    check(&other.with(|m| m.weigh(0)).settle("b"), &["web-canary: aim at b"]);
    let fresh = other.with(|m| {
        m.weigh(0);
        m.accepted(Some(96));
    });
    check(&fresh.settle("b"), &["waiting for the data plane to settle", "until 101"]);
    // A route that nobody has changed yet sends it nothing.
    let own = other.with(|m| m.view.routes = Moment::untouched());
    check(&own.settle("b"), &["web-canary: aim at b"]);
    assert_eq!(rests_on(&own.settle("b"), "aim at b"), ["web 5web"]);
    check(
        &other.with(|m| m.service("web-canary").deleting = true).settle("b"),
        &["waiting for Service web-canary to be deleted"],
    );
    let none = other.with(|m| {
        m.view.services.remove("web-canary");
    });
    check(&none.settle("b"), &["web-canary: create canary Service"]);
}

#[test]
fn what_nobody_has_made_is_waited_for_by_name() {
    let without = |service: &str, route: bool| {
        let change = |m: &mut Moment| {
            m.view.services.remove(service);
            if !route {
                m.view.routes.clear();
            }
        };
        Moment::beside(true).with(change).settle("b")
    };
    check(&without("web", true), &["waiting for Service web, which does not exist"]);
    check(&without("", false), &["waiting for HTTPRoute web, which does not exist"]);
    check(&without("web", false), &["waiting for Service web, HTTPRoute web, which does not exist"]);
}

#[test]
fn without_pods_there_is_no_traffic_to_wait_for() {
    let nobody = Moment::beside(true).with(|m| {
        m.deployment().replicas = 0;
        m.pods("a", 0);
        m.pods("b", 0);
        m.weigh(0);
    });
    check(&nobody.settle("b"), &["web-a: detach as previous", "web-b: give to the Deployment"]);
}

#[test]
fn the_history_leaves_first_or_the_controller_would_scale_it() {
    let add = |m: &mut Moment| m.add("c", None, 0);
    let all = ["web-c: detach as history", "web-a: detach as previous", "web-b: give to the Deployment"];
    check(&carried().with(add).settle("b"), &all);
    let gap = carried().with(|m| {
        add(m);
        m.role("a", Some(Role::Previous));
    });
    check(&gap.settle("b"), &["web-c: detach as history", "web-b: give to the Deployment"]);
}

#[test]
fn the_gap_closes_on_proof_that_the_deployment_has_got_nothing_else() {
    let gap = carried().with(|m| m.role("a", Some(Role::Previous)));
    let proofs = |m: &Moment| rests_on(&m.settle("b"), "give to the Deployment");
    assert_eq!(proofs(&gap), ["web-a 5a"]);
    let empty = |role| {
        gap.with(|m| {
            m.add("c", Some(Role::History), 0);
            m.role("c", role);
        })
    };
    assert_eq!(proofs(&empty(Some(Role::History))), ["web-a 5a", "web-c 5c"]);
    assert_eq!(proofs(&empty(None)), ["web-a 5a"], "what has no pods and is the Deployment's is no rival");
    let loose = empty(None).with(|m| {
        m.set("c").controlled = false;
        m.set("c").replicas = 1;
    });
    assert_eq!(proofs(&loose), ["web-a 5a", "web-c 5c"]);
    // What somebody has deleted may have been made again.
    let gone = gap.with(|m| m.view.replica_sets.retain(|set| set.hash != "a"));
    assert_eq!(proofs(&gone), ["web-a none"]);
    let alone = settle(&gone.scene(), &revision("b"), Some(&revision("b")), Keep::Full, 0);
    assert_eq!(rests_on(&alone, "give to the Deployment"), [] as [String; 0]);
    assert_eq!(rests_on(&carried().settle("b"), "give to the Deployment"), ["web-a 5a"]);
}

#[test]
fn what_is_fetched_from_the_history_is_borrowed_before_it_is_scaled() {
    let early = Moment::beside(true).with(|m| {
        m.role("b", None);
        m.pods("b", 0);
    });
    check(&early.settle("b"), &["web-b: detach as candidate"]);
    let free = early.with(|m| m.deployment().paused = false);
    check(&free.settle("b"), &["web: hold", "web-b: detach as candidate"]);
}

/// A version that left long ago hides no other that somebody has started since.
#[test]
fn the_version_that_the_deployment_runs_is_the_one_to_be_left() {
    let started = carried().with(|m| {
        m.role("a", Some(Role::Candidate));
        m.pods("a", 0);
        m.add("c", None, 4);
        m.pin("c");
    });
    check(
        &started.with(|m| m.view.saved[0].hash = "c".into()).settle("b"),
        &["web-c: detach as previous", "web-b: give to the Deployment"],
    );
    // One whose pods have not ended is still the one to be left.
    let ending = started.with(|m| m.set("a").existing = 1);
    check(&ending.settle("b"), &["web-c: detach as history", "web-b: give to the Deployment"]);
}

#[test]
fn what_a_paused_deployment_runs_beside_the_live_version_leaves_it() {
    let both = Moment::beside(true).with(|m| {
        m.role("b", None);
        m.add("c", None, 2);
    });
    check(&both.settle("b"), &["web-a: detach as previous", "web-c: detach as candidate"]);
    check(&both.with(|m| m.set("c").replicas = 0).settle("b"), &["web-a: detach as previous"]);
    // What it has restarted natively is the live version, too; what nobody or somebody else has paused is theirs.
    let restarted = both.with(|m| {
        m.deployment().digest = "c".into();
        m.set("b").version = "c".into();
    });
    check(&restarted.settle("b"), &["web-a: detach as previous"]);
    for mark in [HOLD, PAUSED_BY] {
        let one = both.with(|m| m.deployment().marks.retain(|key, _| key != mark));
        assert_eq!(told(&one.settle("b"))[0], "web-a: detach as previous", "without {mark}");
    }
    let theirs = both.with(|m| m.deployment().marks.retain(|key, _| key != HOLD && key != PAUSED_BY));
    check(&theirs.settle("b"), &["web: set weight 100"]);
    check(&both.with(|m| m.deployment().paused = false).settle("b"), &["web: set weight 100"]);
}

#[test]
fn without_routes_the_pin_is_the_switch() {
    let beside = Moment::beside(false);
    check(&beside.settle("b"), &["web: pin to b", "web-admin: pin to b"]);
    assert_eq!(rests_on(&beside.settle("b"), "pin to b"), ["web-b 5b"]);
    let switched = beside.with(|m| m.pin("b"));
    let over = ["web-a: detach as previous", "web-b: give to the Deployment"];
    check(&switched.settle("b"), &over);
    let waits = ["waiting for endpoints of web-b"];
    check(&switched.but(|m| m.service("web-admin").ready.clear()).settle("b"), &waits);
    check(&switched.but(|m| m.service("web-admin").ready.extend(pods("a", 1))).settle("b"), &waits);
    let nobody = switched.but(|m| {
        m.deployment().replicas = 0;
        m.service("web-admin").ready.clear();
    });
    check(&nobody.settle("b"), &over);
}
