//! Traffic on its way through the owner's own route and Service to the version that the Deployment controls.

use super::*;

/// `b` has just been given to the Deployment, and the candidate's Service carries all traffic.
fn promoted() -> Moment {
    Moment::beside(true).with(|m| {
        m.role("a", Some(Role::Previous));
        m.role("b", None);
        m.weigh(100);
    })
}

/// The stable Services have changed over to `b`.
fn changed_over() -> Moment {
    promoted().with(|m| m.pin("b"))
}

const TO_A: [&str; 2] = ["web: pin to a", "web-admin: pin to a"];
const TO_B: [&str; 2] = ["web: pin to b", "web-admin: pin to b"];
const PODS: [&str; 1] = ["waiting for pods of web-b"];
const ENDPOINTS: [&str; 1] = ["waiting for endpoints of web-b"];
const SETTLES: [&str; 2] = ["waiting for the data plane to settle", "until 101"];
const GIVES_BACK: [&str; 1] = ["web: give back the route"];

#[test]
fn the_stable_services_change_over_while_the_candidates_carries_everything() {
    let promoted = promoted();
    check(&promoted.settle("b"), &TO_B);
    assert_eq!(rests_on(&promoted.settle("b"), "pin to b"), ["web 5web", "web-b 5b"]);
    check(&promoted.with(|m| m.weigh(50)).settle("b"), &["web: set weight 100"]);
    check(&promoted.with(|m| m.accepted(Some(96))).settle("b"), &SETTLES);
    // As its owner wrote it, it serves both; that is enough only if one of them can carry all.
    let shared = promoted.with(Moment::unpin);
    check(&shared.settle("b"), &TO_B);
    check(&shared.with(|m| m.set("b").available = 3).settle("b"), &PODS);
    // A mark without the selector, or a selector without the mark, is no pin.
    let halved = changed_over().with(|m| m.service("web").pin = None);
    check(&halved.settle("b"), &TO_B[..1]);
}

#[test]
fn the_first_share_waits_for_gateways_unless_nobody_else_serves() {
    let at = |since: i64, share: u8, served: bool| {
        let change = |m: &mut Moment| {
            m.keep = Keep::Gone;
            m.weigh(share);
            m.service("web-canary").ready_since = Some(second(since));
            if !served {
                m.service("web").ready.clear();
            }
        };
        promoted().but(change).settle("b")
    };
    check(&at(96, 0, true), &["waiting for endpoints of web-b", "until 101"]);
    check(&at(95, 0, true), &["web: set weight 100"]);
    check(&at(96, 1, true), &["web: set weight 100"]);
    check(&at(96, 0, false), &["web: set weight 100"]);
}

#[test]
fn no_service_changes_over_under_traffic() {
    let promoted = promoted().with(|m| m.weigh(0));
    // The candidate's Service still selects the version that is left.
    check(&promoted.with(|m| m.aim("a")).settle("b"), &["web-canary: aim at b"]);
    let heard_late = promoted.but(|m| m.service("web-canary").ready.clear());
    check(&heard_late.settle("b"), &ENDPOINTS);
    // That nothing is known of the stable endpoints yet is not that there are none.
    let unheard = heard_late.but(|m| {
        m.service("web").ready.clear();
        m.service("web").heard = false;
    });
    check(&unheard.settle("b"), &ENDPOINTS);
    let nobody = unheard.but(|m| m.service("web").heard = true);
    check(&nobody.settle("b"), &TO_B);
    // Without a pod there is nobody to change over to.
    let drained = nobody.but(|m| {
        m.keep = Keep::Gone;
        m.set("b").available = 0;
    });
    check(&drained.settle("b"), &PODS);
    check(&drained.but(|m| m.deployment().replicas = 0).settle("b"), &TO_B);
}

#[test]
fn the_version_before_helps_out_while_the_promoted_one_has_lost_its_pods() {
    let lost = promoted().with(|m| m.set("b").available = 0);
    check(&lost.settle("b"), &["web: set weight 0"]);
    let bridged = lost.with(|m| m.weigh(0));
    check(&bridged.settle("b"), &PODS);
    // It has the traffic until the promoted one has all of its pods; one that never lost them all goes on.
    check(&bridged.with(|m| m.set("b").available = 3).settle("b"), &PODS);
    check(&bridged.with(|m| m.set("b").available = 4).settle("b"), &["web: set weight 100"]);
    check(&promoted().with(|m| m.set("b").available = 3).settle("b"), &TO_B);
    // Behind the stable Services, too.
    let behind = changed_over().with(|m| m.set("b").available = 0);
    check(&behind.settle("b"), &[TO_A[0], TO_A[1], "web: set weight 0"]);
    check(&behind.with(|m| m.weigh(0)).settle("b"), &TO_A);
    check(&behind.with(|m| m.view.routes = Moment::untouched()).settle("b"), &TO_A);
    // Only what is kept for that, has pods, and for somebody.
    for keep in [Keep::AsItIs, Keep::Gone] {
        check(&lost.with(|m| m.keep = keep).settle("b"), &PODS);
    }
    check(&lost.with(|m| m.set("a").available = 0).settle("b"), &PODS);
    check(&lost.with(|m| m.deployment().replicas = 0).settle("b"), &TO_B);
    // Where nothing is pinned, both serve already.
    check(&lost.with(Moment::unpin).settle("b"), &PODS);
}

#[test]
fn the_route_goes_back_when_the_stable_service_can_carry_everything() {
    let over = changed_over();
    check(&over.settle("b"), &GIVES_BACK);
    check(&over.but(|m| m.service("web").ready.truncate(3)).settle("b"), &ENDPOINTS);
    // As many as there are, where fewer are available than asked for.
    check(&over.with(|m| m.set("b").available = 3).settle("b"), &GIVES_BACK);
    // A ReplicaSet that was made again has the last one's pods for a moment.
    let remade = over.but(|m| {
        m.keep = Keep::Gone;
        m.set("b").available = 0;
    });
    check(&remade.settle("b"), &ENDPOINTS);
    let slow = remade.but(|m| m.deployment().min_ready_seconds = 10);
    check(&slow.settle("b"), &GIVES_BACK);
    check(&slow.but(|m| m.service("web").ready.clear()).settle("b"), &ENDPOINTS);
    // Pods of the version that is left are about to go from it, if it has any still.
    let foreign = over.but(|m| m.service("web").ready.extend(pods("a", 1)));
    check(&foreign.settle("b"), &ENDPOINTS);
    let gone = foreign.but(|m| {
        m.role("a", None);
        m.pods("a", 0);
    });
    check(&gone.settle("b"), &GIVES_BACK);
    // What has no weight loses none; and nobody is to be served.
    check(&foreign.but(|m| m.weigh(0)).settle("b"), &GIVES_BACK);
    check(&foreign.but(|m| m.deployment().replicas = 0).settle("b"), &GIVES_BACK);
}

#[test]
fn traffic_may_go_back_by_and_by() {
    let at = |share, most| {
        let change = |m: &mut Moment| {
            m.share = share;
            m.weigh(most);
        };
        changed_over().with(change).settle("b")
    };
    check(&at(30, 100), &["web: set weight 30"]);
    check(&at(30, 30), &["traffic goes back gradually"]);
    check(&at(30, 20), &["traffic goes back gradually"]);
    check(&at(0, 30), &GIVES_BACK);
    // A route names the candidate's Service that somebody has deleted only for a share.
    let without = changed_over().with(|m| {
        m.share = 30;
        m.view.services.remove("web-canary");
    });
    check(&without.settle("b"), &["web: set weight 30"]);
}

#[test]
fn at_rest_nobody_asks_the_gateway() {
    let own = changed_over().with(|m| {
        m.view.routes = Moment::untouched();
        m.accepted(Some(96));
    });
    check(&own.settle("b"), &SETTLES);
    let without = |pods: u32, canary: bool| {
        own.with(|m| {
            m.role("a", None);
            m.pods("a", pods);
            // Restarted natively.
            m.deployment().digest = "a".into();
            m.set("b").version = "a".into();
            if !canary {
                m.view.services.remove("web-canary");
            }
        })
    };
    check(&without(0, true).settle("b"), &SETTLES);
    check(&without(2, false).settle("b"), &SETTLES);
    assert!(!told(&without(0, false).settle("b")).contains(&SETTLES[0].to_owned()));
}

#[test]
fn without_the_stable_service_the_candidates_keeps_what_it_has() {
    let gone = promoted().with(|m| {
        m.view.services.remove("web");
    });
    check(&gone.settle("b"), &["waiting for Service web, which does not exist"]);
    check(&gone.with(|m| m.plan.deleting = true).settle("b"), &GIVES_BACK);
    let idle = gone.with(|m| m.view.routes = Moment::untouched());
    check(&idle.settle("b"), &["web-canary: delete canary Service", "served"]);
    // Data planes may not have been told yet that it is the owner's.
    let fresh = idle.with(|m| m.accepted(Some(96)));
    check(&fresh.settle("b"), &SETTLES);
    let alone = fresh.with(|m| m.view.replica_sets.retain(|set| set.hash == "b"));
    check(&alone.settle("b"), &["web-canary: delete canary Service", "served"]);
    // A Release that goes does not wait for a gateway that refuses a route without its Service.
    let refused = |deleting: bool, complaint: bool| {
        let unaccepted = idle.with(|m| {
            m.plan.deleting = deleting;
            m.accepted(None);
            m.view.routes.get_mut("web").unwrap().complaint = complaint.then(|| "no such Service".into());
        });
        told(&unaccepted.settle("b"))[0].clone()
    };
    assert_eq!(refused(true, true), "web-canary: delete canary Service");
    assert_eq!(refused(true, false), "waiting for the gateway to accept web");
    assert_eq!(refused(false, true), "waiting for the gateway to accept web (web: no such Service)");
}

#[test]
fn without_routes_the_pin_moves_and_endpoints_are_waited_for() {
    let promoted = Moment::beside(false).with(|m| {
        m.role("a", Some(Role::Previous));
        m.role("b", None);
    });
    check(&promoted.settle("b"), &TO_B);
    let over = promoted.with(|m| m.pin("b"));
    check(&over.settle("b"), &["served"]);
    check(&over.but(|m| m.service("web").ready = pods("a", 4)).settle("b"), &ENDPOINTS);
    let nobody = over.but(|m| {
        m.deployment().replicas = 0;
        m.service("web").ready.clear();
    });
    check(&nobody.settle("b"), &["web-a: scale to 0", "served"]);
    // The version before is gone, and a Service still selects it.
    let gone = promoted.but(|m| m.view.replica_sets.retain(|set| set.hash == "b"));
    check(&gone.settle("b"), &TO_B);
    // What was never pinned, and has no other version behind it, is left alone.
    let own = gone.with(Moment::unpin);
    assert!(told(&own.settle("b")).last().is_some_and(|line| line == "served"), "{:?}", told(&own.settle("b")));
}
