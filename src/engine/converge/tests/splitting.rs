//! Both versions side by side.

use super::*;

/// `b` has two pods and half of the traffic, as the step asks.
fn half() -> Moment {
    Moment::beside(true).with(|m| m.pods("b", 2))
}

/// The step asks for half of the traffic; `b` has a tenth, and pods for the half.
fn growing() -> Moment {
    half().with(|m| m.weigh(10))
}

const TO_A: [&str; 2] = ["web: pin to a", "web-admin: pin to a"];
const UNPIN: [&str; 2] = ["web: unpin", "web-admin: unpin"];
const ENDPOINTS: [&str; 1] = ["waiting for endpoints of web-b"];

#[test]
fn what_the_step_asks_for_is_served() {
    check(&half().split(), &["served"]);
    let same = split(&half().scene(), &revision("a"), &revision("a"), &Target::at(&[], 0), false);
    check(&same, &["served"]);
}

#[test]
fn a_share_grows_when_pods_are_there_and_known() {
    let grows = growing().split();
    check(&grows, &["web: set weight 50"]);
    assert_eq!(rests_on(&grows, "set weight 50"), ["web-canary 5web-canary"]);
    check(&growing().with(|m| m.pods("b", 1)).split(), &["web-b: scale to 2"]);
    let starting = growing().with(|m| m.set("b").available = 1);
    check(&starting.split(), &["waiting for pods: 1 of 2 of web-b are available"]);
    check(&growing().but(|m| m.service("web-canary").ready.truncate(1)).split(), &ENDPOINTS);
    // More pods than it needs are not waited for.
    let more = growing().with(|m| m.pods("b", 3));
    check(&more.but(|m| m.service("web-canary").ready.truncate(2)).split(), &["web: set weight 50"]);
    check(&half().with(|m| m.accepted(Some(96))).split(), &["waiting for the data plane to settle", "until 101"]);
}

#[test]
fn a_share_that_falls_waits_for_nothing_and_capacity_follows_it() {
    let falls = half().with(|m| m.target = 10).split();
    check(&falls, &["web: set weight 10"]);
    assert_eq!(rests_on(&falls, "set weight 10"), [] as [String; 0]);
    let low = half().with(|m| {
        m.target = 10;
        m.weigh(10);
    });
    let shrinks = low.split();
    check(&shrinks, &["web-b: scale to 1", "served"]);
    assert_eq!(rests_on(&shrinks, "scale to 1"), ["web 5web", "web 5web", "web-admin 5web-admin"]);
    check(&low.with(|m| m.accepted(Some(96))).split(), &["waiting for the data plane to settle", "until 101"]);
    // Without a ready pod it has no traffic at all.
    check(&half().but(|m| m.service("web-canary").ready.clear()).split(), &["web: set weight 0"]);
}

/// What its controller has begun before the pause would complete in spite of it: by then it has to be taken off, and so to be heard of.
#[test]
fn nothing_begins_before_it_is_heard_what_the_deployment_has_done() {
    const HELD: [&str; 1] = ["waiting for Deployment web to be held"];
    let begins = Moment::beside(true).with(|m| {
        m.view.replica_sets.retain(|set| set.hash == "a");
        m.view.services.remove("web-canary");
        m.view.routes = Moment::untouched();
        m.unpin();
    });
    let all = [&TO_A[..], &["web-canary: create canary Service", "web-b: create candidate"]].concat();
    check(&begins.split(), &all);
    check(&begins.with(|m| m.deployment().current = false).split(), &HELD);
    let begun = begins.with(|m| m.deployment().updated = 1);
    check(&begun.split(), &HELD);
    // Once it is heard of it goes first.
    let native = |m: &mut Moment| {
        let set = ReplicaSetView { digest: "b".into(), version: "b".into(), ..replica_set("native", None, 1) };
        m.view.replica_sets.push(set);
    };
    check(&begun.with(native).split(), &["web-native: detach as candidate"]);
    // What is under way waits for no such news.
    for under_way in [begins.with(|m| m.pin("a")), half()] {
        let stale = under_way.with(|m| m.deployment().current = false);
        assert_eq!(told(&stale.split()), told(&under_way.split()));
    }
}

/// Somebody has added a rule since: the largest share stays, and the rule gets its part.
#[test]
fn a_share_that_does_not_grow_rests_on_nothing() {
    let added = half().with(|m| {
        let rules = &mut m.view.routes.get_mut("web").unwrap().rules;
        rules.as_array_mut().unwrap().push(json!({"backendRefs": [{"name": "web", "port": 81, "weight": 1}]}));
    });
    let same = added.split();
    check(&same, &["web: set weight 50"]);
    assert_eq!(rests_on(&same, "set weight 50"), [] as [String; 0]);
}

#[test]
fn the_first_share_waits_until_gateways_know_the_pods() {
    let at = |since: i64, share: u8, stable: u32| {
        let first = half().with(|m| {
            m.weigh(share);
            m.service("web-canary").ready_since = Some(second(since));
            m.set("a").available = stable;
        });
        first.split()
    };
    check(&at(96, 0, 4), &["waiting for endpoints of web-b", "until 101"]);
    check(&at(95, 0, 4), &["web: set weight 50"]);
    check(&at(96, 1, 4), &["web: set weight 50"]);
    check(&at(96, 0, 0), &["web: set weight 100"]);
    // Whatever else is waited for meanwhile: then these may have to serve alone.
    let early = half().with(|m| {
        m.weigh(0);
        m.service("web-canary").ready_since = Some(second(96));
    });
    let starting = early.but(|m| m.set("b").available = 1);
    check(&starting.split(), &["waiting for pods: 1 of 2 of web-b are available", "until 101"]);
    let absent = early.but(|m| m.plan.workloads[0].routes.push("web-api".into()));
    check(&absent.split(), &["waiting for HTTPRoute web-api, which does not exist", "until 101"]);
}

#[test]
fn without_weight_the_owners_route_is_left_alone() {
    let none = half().with(|m| {
        m.target = 0;
        m.view.routes = Moment::untouched();
    });
    check(&none.split(), &["web-b: scale to 0", "served"]);
    let nobody = half().with(|m| {
        m.deployment().replicas = 0;
        m.pods("a", 0);
        m.pods("b", 0);
        m.weigh(0);
    });
    check(&nobody.split(), &["served"]);
    check(&nobody.with(|m| m.weigh(50)).split(), &["web: set weight 0"]);
}

#[test]
fn while_a_gate_is_closed_neither_pods_nor_traffic_grow() {
    let shut = |change: fn(&mut Moment)| {
        let growing = growing().with(|m| m.shut = true);
        growing.with(change).split()
    };
    check(&shut(|m| m.pods("b", 1)), &ENDPOINTS);
    check(&shut(|_| {}), &ENDPOINTS);
    check(&shut(|m| m.target = 5), &["web: set weight 5"]);
    // It may lose pods, too, once its traffic has left.
    check(&shut(|m| m.target = 10), &["web-b: scale to 1", "served"]);
    let unborn = half().with(|m| {
        m.shut = true;
        m.view.replica_sets.retain(|set| set.hash != "b");
    });
    let crate::write::Request::Create(made) = unborn.split().writes.pop().unwrap().request else { panic!() };
    assert_eq!(made["spec"]["replicas"], 0);
    let open = unborn.with(|m| m.shut = false);
    let crate::write::Request::Create(made) = open.split().writes.pop().unwrap().request else { panic!() };
    assert_eq!(made["spec"]["replicas"], 2);
}

#[test]
fn a_stable_version_that_nobody_can_reach_leaves_everything_to_the_candidate() {
    let hundred = ["web: set weight 100"];
    check(&half().but(|m| m.service("web").ready.clear()).split(), &hundred);
    // Pods of another version behind a Service that is pinned to the stable one are about to go.
    check(&half().but(|m| m.service("web").ready = pods("c", 1)).split(), &hundred);
    // Nothing has been heard of its endpoints yet: they are about to come, if there are pods.
    let unheard = half().but(|m| {
        m.service("web").ready.clear();
        m.service("web").heard = false;
    });
    check(&unheard.split(), &["served"]);
    check(&unheard.but(|m| m.set("a").available = 0).split(), &hundred);
    let nobody = half().but(|m| {
        m.deployment().replicas = 0;
        m.set("a").available = 0;
        m.service("web").ready.clear();
    });
    check(&nobody.split(), &["web: set weight 0"]);
}

#[test]
fn the_stable_services_are_pinned_as_long_as_the_stable_version_has_pods() {
    let open = half().with(Moment::unpin);
    check(&open.split(), &TO_A);
    // Whichever is known first, the pods or the endpoints.
    let known = half().but(Moment::unpin).but(|m| m.service("web").ready = pods("a", 4));
    check(&known.but(|m| m.set("a").available = 0).split(), &TO_A);
    check(&known.but(|m| m.service("web").ready.clear()).split(), &TO_A);
    let neither = known.but(|m| {
        m.service("web").ready = pods("b", 2);
        m.set("a").available = 0;
    });
    check(&neither.split(), &["served"]);
}

/// It may stand again before the next look, and the candidate's pods, too.
#[test]
fn a_service_that_serves_nobody_is_pinned_before_the_candidates_pods_come() {
    let bare = half().with(Moment::unpin).but(|m| {
        m.set("a").available = 0;
        m.service("web").ready.clear();
    });
    check(&bare.split(), &TO_A);
    let unheard = bare.but(|m| m.service("web").heard = false);
    check(&unheard.split(), &["web: set weight 100"]);
    // By pod count there is no other way to the candidate's pods.
    let counted = Moment::beside(false).with(|m| {
        m.unpin();
        m.target = 0;
        m.pods("b", 0);
        m.set("a").available = 0;
    });
    check(&counted.but(|m| m.service("web").ready.clear()).split(), &["served"]);
}

#[test]
fn a_stable_version_that_was_drained_for_another_gives_its_services_to_all() {
    let drained = half().with(|m| m.set("a").available = 0);
    let started = drained.with(|m| m.add("c", Some(Role::Candidate), 2));
    check(&started.split(), &UNPIN);
    check(&drained.split(), &["web: set weight 100"]);
    // Also while none of the other's is ready.
    check(&started.but(|m| m.service("web").ready.clear()).split(), &UNPIN);
    check(&started.with(|m| m.role("c", Some(Role::History))).split(), &["web: set weight 100"]);
}

/// A Service that comes again has no pin.
#[test]
fn what_loses_its_pods_rests_on_a_service_that_is_not_there() {
    let without = half().with(|m| {
        m.add("c", Some(Role::Candidate), 2);
        m.view.services.remove("web-admin");
    });
    assert_eq!(rests_on(&without.split(), "scale to 0"), ["web 5web", "web 5web", "web-admin none"]);
}

#[test]
fn other_candidates_go_when_the_stable_version_is_whole() {
    let more = half().with(|m| m.add("c", Some(Role::Candidate), 2));
    let goes = more.split();
    check(&goes, &["web-c: scale to 0"]);
    assert_eq!(rests_on(&goes, "scale to 0"), ["web 5web", "web 5web", "web-admin 5web-admin"]);
    for kept in [
        more.with(|m| m.set("a").available = 3),
        more.with(|m| m.pods("c", 0)),
        more.with(|m| m.role("c", Some(Role::Previous))),
    ] {
        check(&kept.split(), &["served"]);
    }
}

#[test]
fn the_candidates_service_stands_and_is_aimed_before_traffic() {
    let without = growing().with(|m| {
        m.view.services.remove("web-canary");
    });
    check(&without.split(), &["web: give back the route", "web-canary: create canary Service"]);
    check(&without.with(|m| m.weigh(0)).split(), &["web-canary: create canary Service"]);
    check(&without.with(|m| m.set("a").available = 0).split(), &["web-canary: create canary Service"]);
    let other = growing().with(|m| m.aim("c"));
    check(&other.split(), &["web: set weight 0"]);
    let turned = other.with(|m| m.weigh(0)).split();
    check(&turned, &["web-canary: aim at b"]);
    assert_eq!(rests_on(&turned, "aim at b"), ["web 5web"]);
}

#[test]
fn a_candidate_that_is_being_deleted_loses_its_traffic_before_its_pods() {
    let goes = half().with(|m| m.set("b").deleting = true);
    let waits = "waiting for ReplicaSet web-b to be deleted";
    check(&goes.split(), &["web: set weight 0", waits]);
    check(&goes.with(|m| m.weigh(0)).split(), &[waits]);
    check(&goes.with(|m| m.view.routes = Moment::untouched()).split(), &[waits]);
    check(&goes.with(|m| m.set("a").available = 0).split(), &[waits]);
}

#[test]
fn the_deployment_is_held_and_what_it_has_started_is_taken_off_first() {
    let bare = growing().with(|m| {
        m.deployment().marks.remove(HOLD);
    });
    check(&bare.split(), &["web: hold"]);
    let started = growing().with(|m| m.add("c", None, 1));
    check(&started.split(), &["web-c: detach as candidate"]);
    let history = started.with(|m| m.add("d", None, 0));
    check(&history.split(), &["web-d: detach as history", "web-c: detach as candidate"]);
    // History alone stays, while the stable version has pods and is to have some.
    let idle = growing().with(|m| m.add("c", None, 0));
    check(&idle.split(), &["web: set weight 50"]);
    let leaves = ["web-c: detach as history"];
    check(&idle.with(|m| m.deployment().replicas = 0).split(), &leaves);
    check(&idle.with(|m| m.set("a").replicas = 0).split(), &leaves);
    for kept in [
        |m: &mut Moment| m.plan.deleting = true,
        |m: &mut Moment| m.set("c").deleting = true,
        |m: &mut Moment| m.role("c", Some(Role::History)),
        |m: &mut Moment| m.role("a", Some(Role::Previous)),
    ] {
        let nobody = idle.with(|m| m.set("a").replicas = 0);
        check(&nobody.with(kept).split(), &["web: set weight 50"]);
    }
}

#[test]
fn by_pod_count_both_stand_behind_open_services() {
    let beside = Moment::beside(false).with(|m| m.pods("b", 4));
    check(&beside.split(), &UNPIN);
    let open = beside.with(Moment::unpin);
    check(&open.split(), &["served"]);
    let none = open.with(|m| m.target = 0);
    check(&none.split(), &TO_A);
    check(&none.with(|m| m.pin("a")).split(), &["web-b: scale to 0", "served"]);
    check(&open.with(|m| m.set("b").available = 3).split(), &["waiting for pods: 3 of 4 of web-b are available"]);
}
