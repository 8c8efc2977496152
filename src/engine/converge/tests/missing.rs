//! What somebody has deleted or started, and how what serves goes on meanwhile.

use super::{super::clear_away, *};
use crate::converge::dismantle;

/// On the way back to `a`, whose ReplicaSet somebody has deleted.
fn without_a() -> Moment {
    Moment::beside(true).with(|m| m.view.replica_sets.retain(|set| set.hash != "a"))
}

const TO_B: [&str; 2] = ["web: pin to b", "web-admin: pin to b"];

#[test]
fn a_live_version_that_is_gone_is_made_again_and_what_has_pods_serves() {
    let gone = without_a();
    check(&gone.settle("a"), &["web: set weight 100", "web-a: recreate stable"]);
    assert_eq!(rests_on(&gone.settle("a"), "recreate stable"), ["web-b 5b"]);
    let unknown = gone.but(|m| m.service("web-canary").ready.clear());
    check(&unknown.settle("a"), &["web-a: recreate stable", TO_B[0], TO_B[1]]);
    let without = gone.with(|m| {
        m.view.services.remove("web-canary");
    });
    check(&without.settle("a"), &["web-a: recreate stable", TO_B[0], TO_B[1]]);
    check(&gone.with(|m| m.set("b").available = 0).settle("a"), &["web-a: recreate stable"]);
    // What the Deployment runs is not scaled in proportion to it.
    let taken = gone.with(|m| m.role("b", None));
    check(&taken.settle("a"), &["web: set weight 100", "web-a: create candidate"]);
    check(&taken.with(|m| m.set("b").replicas = 0).settle("a"), &["web: set weight 100", "web-a: recreate stable"]);
}

#[test]
fn a_live_version_that_was_not_saved_is_made_from_the_deployments_template_or_by_nobody() {
    let unsaved = without_a().with(|m| m.view.saved.clear());
    let broken = "broken: ReplicaSet web-a is gone and its template was not saved: roll out a version by hand";
    check(&unsaved.settle("a"), &["web: set weight 100", broken]);
    let own = |m: &mut Moment| {
        m.wants("a");
    };
    check(&unsaved.with(own).settle("a"), &["web-a: create candidate"]);
    check(&without_a().with(own).settle("a"), &["web: set weight 100", "web-a: recreate stable"]);
    // Our pause alone keeps its controller from making it, too.
    let free = |m: &mut Moment| {
        m.deployment().marks.remove(HOLD);
    };
    check(&unsaved.with(free).settle("a"), &["web: set weight 100", broken]);
    check(&without_a().with(free).settle("a"), &["web: set weight 100", "web-a: recreate stable"]);
    let resumed = unsaved.with(free).with(|m| m.deployment().paused = false);
    check(&resumed.settle("a"), &["waiting for the ReplicaSet of web"]);
    // Whoever has paused it resumes it.
    let theirs = |m: &mut Moment| {
        m.deployment().marks.clear();
        m.deployment().paused = true;
    };
    let paused = "broken: the ReplicaSet of web is gone, and Deployment web is paused: resume it";
    check(&unsaved.with(theirs).settle("a"), &[paused]);
    check(
        &unsaved.with(theirs).with(|m| m.deployment().paused = false).settle("a"),
        &["waiting for the ReplicaSet of web"],
    );
}

#[test]
fn beside_a_candidate_a_stable_version_that_is_gone_is_made_again() {
    let gone = without_a().with(|m| m.pods("b", 2));
    check(&gone.split(), &["web: set weight 100", "web-a: recreate stable"]);
    check(&gone.but(|m| m.service("web-canary").ready.clear()).split(), &["web-a: recreate stable"]);
    check(&gone.with(|m| m.view.replica_sets.clear()).split(), &["web-a: recreate stable"]);
}

/// The hash of what is taken for another version with pods that no step has put there.
fn stray(moment: &Moment, live: &str) -> Option<String> {
    let scene = moment.scene();
    scene.stray(scene.replica_set(live).unwrap()).map(|set| set.hash.clone())
}

#[test]
fn a_stray_version_has_been_taken_off_or_has_taken_the_live_ones_place() {
    let loose = Moment::beside(true).with(|m| m.add("c", None, 0));
    assert_eq!(stray(&loose, "a"), Some("b".into()));
    assert_eq!(stray(&loose.with(|m| m.pods("b", 0)), "a"), None, "it has no pods");
    let ending = loose.with(|m| {
        m.pods("b", 0);
        m.set("b").existing = 1;
    });
    assert_eq!(stray(&ending, "a"), Some("b".into()));
    // What the Deployment runs beside the live version is its own affair, unless that is not the Deployment's any more.
    let rolled = loose.with(|m| {
        m.role("b", None);
        m.pods("c", 1);
    });
    assert_eq!(stray(&rolled, "a"), None);
    assert!(stray(&rolled.with(|m| m.role("a", Some(Role::Previous))), "a").is_some());
    assert!(stray(&rolled.with(|m| m.set("a").replicas = 0), "a").is_some());
    let resumed = rolled.with(|m| {
        m.set("a").replicas = 0;
        m.deployment().paused = false;
    });
    assert_eq!(stray(&resumed, "a"), None);
    // Of two, the one that the Deployment controls.
    let two = rolled.with(|m| {
        m.role("a", Some(Role::Previous));
        m.role("c", Some(Role::Candidate));
        m.set("c").created = second(50);
    });
    assert_eq!(stray(&two, "a"), Some("b".into()));
}

#[test]
fn a_candidate_is_exposed_by_a_route_or_by_its_pods_alone() {
    let exposed = |moment: &Moment| moment.scene().exposed();
    let (routed, alone) = (Moment::beside(true), Moment::beside(false));
    assert!(exposed(&routed) && exposed(&routed.with(|m| m.weigh(1))) && exposed(&alone));
    assert!(!exposed(&routed.with(|m| m.weigh(0))), "pods do not matter where routes carry the weight");
    assert!(!exposed(&alone.with(|m| m.set("b").available = 0)));
    assert!(!exposed(&alone.with(|m| m.role("b", Some(Role::Previous)))));
}

#[test]
fn a_version_is_unborn_while_the_deployment_still_has_the_one_before() {
    let unborn = |moment: &Moment| moment.scene().is_unborn(&revision("b"), &revision("a"));
    let without_b = Moment::beside(true).with(|m| m.view.replica_sets.retain(|set| set.hash != "b"));
    assert!(unborn(&without_b) && !unborn(&Moment::beside(true)));
    assert!(!unborn(&without_b.with(|m| m.role("a", Some(Role::Previous)))));
    assert!(!unborn(&without_b.with(|m| m.view.replica_sets.clear())));
}

#[test]
fn of_several_routes_the_one_that_was_accepted_last_counts() {
    let two = |first: Option<i64>, other: Option<i64>| {
        Moment::beside(true).with(|m| {
            m.weigh(100);
            let mut second_route = m.view.routes["web"].clone();
            (second_route.name, second_route.accepted) = ("web-api".into(), other.map(second));
            m.plan.workloads[0].routes.push("web-api".into());
            m.view.routes.insert("web-api".into(), second_route);
            m.accepted(first);
        })
    };
    let settles = ["waiting for the data plane to settle", "until 101"];
    check(&two(Some(0), Some(96)).settle("b"), &settles);
    check(&two(Some(96), Some(0)).settle("b"), &settles);
    let refused = two(Some(0), None).with(|m| {
        m.view.routes.get_mut("web-api").unwrap().complaint = Some("no such port".into());
    });
    check(&refused.settle("b"), &["waiting for the gateway to accept web, web-api (web-api: no such port)"]);
    let goes = two(Some(0), Some(0)).with(|m| {
        m.weigh(50);
        m.view.routes.get_mut("web").unwrap().deleting = true;
    });
    check(&goes.settle("b"), &["web-a: detach as previous", "web-b: give to the Deployment"]);
}

#[test]
fn around_a_deployment_that_is_gone_traffic_goes_back_before_our_service_goes() {
    let told = |moment: &Moment| told(&Round::write(dismantle(&moment.plan.workloads[0], &moment.view)));
    let beside = Moment::beside(true);
    assert_eq!(told(&beside), ["web: give back the route", "web: unpin", "web-admin: unpin"]);
    let own = beside.with(|m| {
        m.unpin();
        m.view.routes = Moment::untouched();
    });
    assert_eq!(told(&own), ["web-canary: delete canary Service"]);
    let writes = Round::write(dismantle(&own.plan.workloads[0], &own.view));
    assert_eq!(rests_on(&writes, "delete canary Service"), ["web 5web"]);
    assert!(told(&own.with(|m| m.service("web-canary").ours = false)).is_empty());
    assert!(told(&own.with(|m| m.service("web-canary").deleting = true)).is_empty());
    // Where the Deployment still stands, gateways have their time to hear of it.
    let clears = |moment: &Moment| super::told(&clear_away(&moment.scene()));
    assert_eq!(clears(&own), ["web-canary: delete canary Service"]);
    let fresh = own.with(|m| m.accepted(Some(96)));
    assert_eq!(clears(&fresh), ["waiting for the data plane to settle", "until 101"]);
    let pinned = fresh.with(|m| m.pin("a"));
    assert_eq!(clears(&pinned), ["web: unpin", "web-admin: unpin"]);
}
