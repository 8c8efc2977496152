//! What counts as rolled out by the Deployment's own controller.

use lockkeeper_api::{
    names::{HOLD, PAUSED_BY, REQUESTED_BY, RESTARTED_AT},
    release::Phase,
};
use serde_json::{Value, json};

use super::{held_back, kept_by_pause, native, rolled_out};
use crate::{
    Outcome,
    converge::tests::moment::{Moment, revision, second, service, version, written},
    world::{DeploymentView, Role},
};

/// The Deployment has rolled out `b`, whole; `a`, the stable version, is in its history.
fn rolled() -> Moment {
    Moment::beside(true).with(|m| {
        m.role("b", None);
        m.pods("a", 0);
        m.deployment().paused = false;
        m.deployment().updated = 4;
    })
}

#[test]
fn a_template_is_rolled_out_when_all_pods_are_its_own_and_available_and_none_is_left() {
    let out = |change: fn(&mut DeploymentView)| {
        let mut deployment = rolled().view.deployment.unwrap();
        change(&mut deployment);
        rolled_out(&deployment)
    };
    assert!(out(|_| {}));
    assert!(!out(|d| d.current = false), "its status is of an earlier spec");
    for updated in [3, 5] {
        let mut deployment = rolled().view.deployment.unwrap();
        deployment.updated = updated;
        assert!(!rolled_out(&deployment), "{updated} of 4 are updated");
        (deployment.updated, deployment.status_replicas) = (4, updated);
        assert!(!rolled_out(&deployment), "{updated} of 4 are there");
    }
    assert!(!out(|d| d.available = 3));
    assert!(out(|d| d.available = 5));
}

/// The hash of the version that counts as rolled out in the stable version's place.
fn instead(moment: &Moment) -> Option<String> {
    native(&moment.view, &revision("a")).map(|set| set.hash.clone())
}

#[test]
fn another_version_has_taken_the_stable_ones_place_when_that_is_gone_or_it_can_carry_everything() {
    assert_eq!(instead(&rolled()), Some("b".into()));
    let half = rolled().with(|m| {
        m.pods("a", 1);
        m.pods("b", 3);
    });
    assert_eq!(instead(&half), None);
    assert_eq!(instead(&half.with(|m| m.pods("a", 0))), Some("b".into()));
    assert_eq!(instead(&half.with(|m| m.view.replica_sets.retain(|set| set.hash == "b"))), Some("b".into()));
    assert_eq!(instead(&half.with(|m| m.pods("b", 4))), Some("b".into()));
    assert_eq!(instead(&rolled().with(|m| m.pods("b", 0))), None, "nothing runs");
    assert_eq!(instead(&rolled().with(|m| m.role("b", Some(Role::Candidate)))), None, "it is not the Deployment's");
    assert_eq!(instead(&rolled().with(|m| m.deployment().digest = "c".into())), None, "it is not its template");
    assert_eq!(instead(&rolled().with(|m| m.set("b").version = "a".into())), None, "it is the same version");
    assert_eq!(instead(&rolled().with(|m| m.view.deployment = None)), None);
}

/// The hash of the one version that a pause has kept.
fn kept(moment: &Moment) -> Option<String> {
    kept_by_pause(&moment.view, moment.view.deployment.as_ref().unwrap()).map(|set| set.hash.clone())
}

#[test]
fn a_pause_keeps_the_one_version_that_runs_whole() {
    // The Deployment wants `b`, and runs `a`.
    let paused = rolled().with(|m| {
        m.pods("a", 4);
        m.pods("b", 0);
        m.deployment().paused = true;
    });
    assert_eq!(kept(&paused), Some("a".into()));
    for (change, why) in [
        ((|m| m.deployment().paused = false) as fn(&mut Moment), "nothing keeps it"),
        (|m| m.deployment().current = false, "its status is of an earlier spec"),
        (|m| m.deployment().digest = "a".into(), "it is what is asked for"),
        (|m| m.set("a").deleting = true, "it goes"),
        (|m| m.set("a").available = 3, "it is not whole"),
        (|m| m.pods("a", 3), "it is too small"),
        (|m| m.pods("a", 5), "it is too large"),
        (|m| m.pods("b", 1), "another runs, too"),
        (|m| m.role("a", Some(Role::Candidate)), "it is not the Deployment's"),
        (|m| m.pods("a", 0), "nothing runs"),
        (
            |m| {
                m.pods("a", 0);
                m.deployment().replicas = 0;
            },
            "nothing is asked for",
        ),
    ] {
        assert_eq!(kept(&paused.with(change)), None, "{why}");
    }
    assert_eq!(kept(&paused.with(|m| m.set("a").available = 5)), Some("a".into()));
}

#[test]
fn our_pause_holds_back_what_does_not_run_alone() {
    let waits = |moment: &Moment| held_back(&moment.view);
    // It runs, and the pause says only that the next one waits.
    assert!(!waits(&rolled()));
    let runs = rolled().with(|m| m.deployment().paused = true);
    assert!(!waits(&runs));
    assert!(waits(&runs.with(|m| m.deployment().digest = "c".into())));
    assert!(waits(&runs.with(|m| m.pods("a", 1))));
    assert!(waits(&runs.with(|m| m.view.replica_sets.clear())));
    // What is not the Deployment's is none of its affair.
    let beside = |m: &mut Moment| m.add("c", Some(Role::Candidate), 1);
    assert!(!waits(&runs.with(beside)));
    assert!(waits(&runs.with(|m| m.role("b", Some(Role::Candidate)))));
    let theirs = |m: &mut Moment| {
        m.view.replica_sets.clear();
        m.deployment().marks.remove(PAUSED_BY);
    };
    assert!(!waits(&runs.with(theirs)));
    assert!(!waits(&runs.with(|m| m.view.deployment = None)));
}

/// Phase and message.
fn told(outcome: &Outcome) -> (Phase, &str) {
    (outcome.status.phase, outcome.status.message.as_str())
}

/// The version that is called stable, and the hash by which its pods are known.
fn found(outcome: &Outcome) -> Option<(&str, &str)> {
    outcome.status.stable.as_ref().map(|stable| (stable.version.as_str(), stable.workloads[0].hash.as_str()))
}

/// Nothing is known of any version yet.
fn nothing() -> Value {
    json!({"phase": "Stable", "since": second(0).to_string()})
}

/// The Deployment is paused by us with `b`, which has no pods yet.
fn waiting() -> Moment {
    Moment::at_rest().with(|m| {
        m.view.replica_sets.clear();
        m.wants("b");
        m.deployment().paused = true;
        m.deployment().marks.insert(PAUSED_BY.into(), "lockkeeper".into());
        m.deployment().updated = 0;
    })
}

const ROLLS_OUT: &str = "the first version rolls out natively: waiting for its Deployment to be complete";

#[test]
fn what_runs_is_taken_over_when_its_deployment_is_marked() {
    assert_eq!(found(&Moment::at_rest().decided(&nothing(), &[])), Some(("a", "a")));
    let unmarked = Moment::at_rest().with(|m| m.deployment().marks.clear());
    let takes = unmarked.decided(&nothing(), &[]);
    assert_eq!((written(&takes), found(&takes)), (vec!["web: hold".to_owned()], None));
    assert_eq!(told(&takes), (Phase::Progressing, "taking over what runs"));
    // A Release that cannot work touches nothing, and knows what runs all the same.
    let faulty = unmarked.with(|m| m.plan.faults = vec!["no such policy".into()]).decided(&nothing(), &[]);
    assert_eq!((written(&faulty), found(&faulty)), (vec![], Some(("a", "a"))));
    assert_eq!(told(&faulty), (Phase::Invalid, "no such policy"));
}

#[test]
fn what_a_pause_keeps_is_called_by_its_own_image_and_nobody_has_asked_for_it() {
    let kept = Moment::at_rest().with(|m| {
        m.wants("b");
        m.deployment().paused = true;
        m.deployment().marks.insert(REQUESTED_BY.into(), "dora".into());
    });
    let outcome = kept.decided(&nothing(), &[]);
    assert_eq!(found(&outcome), Some(("a", "a")));
    assert_eq!(outcome.status.stable.unwrap().requested_by, None);
    let own = kept.with(|m| m.wants("a")).decided(&nothing(), &[]);
    assert_eq!(own.status.stable.unwrap().requested_by.as_deref(), Some("dora"));
}

#[test]
fn a_first_version_that_has_started_goes_on_whatever_is_wrong_with_the_release() {
    let faulty = waiting().with(|m| {
        m.plan.faults = vec!["no such policy".into()];
        m.deployment().paused = false;
    });
    let before = faulty.decided(&nothing(), &[]);
    assert_eq!((told(&before), written(&before)), ((Phase::Invalid, "no such policy"), vec![]));
    let mut status = nothing();
    status["phase"] = "Progressing".into();
    assert_eq!(told(&faulty.decided(&status, &[])), (Phase::Progressing, ROLLS_OUT));
}

#[test]
fn only_a_first_version_that_our_pause_holds_back_waits_for_anything() {
    let shut = |m: &mut Moment| m.plan.suspend = true;
    let held = waiting().with(shut).decided(&nothing(), &[]);
    assert_eq!((held.status.phase, written(&held)), (Phase::Waiting, vec![]));
    let candidate = held.status.candidate.unwrap();
    assert_eq!((candidate.version.as_str(), candidate.since.0), ("b", second(100)));
    // The one that waits already waits since then; another one is another.
    for (known, since) in [("b", 0), ("c", 100)] {
        let mut status = nothing();
        status["candidate"] = version(known);
        let candidate = waiting().with(shut).decided(&status, &[]).status.candidate.unwrap();
        assert_eq!((candidate.version.as_str(), candidate.since.0), ("b", second(since)), "after {known}");
    }
    // Resumed by somebody, or held by somebody else, it is not ours to hold.
    let resumed = waiting().with(shut).with(|m| m.deployment().paused = false);
    assert_eq!(told(&resumed.decided(&nothing(), &[])), (Phase::Progressing, ROLLS_OUT));
    let theirs = waiting().with(shut).with(|m| m.deployment().marks.retain(|key, _| key != PAUSED_BY));
    let paused = "the first version does not roll out: Deployment web is paused: resume it";
    assert_eq!(told(&theirs.decided(&nothing(), &[])), (Phase::Progressing, paused));
    let open = waiting().decided(&nothing(), &[]);
    assert_eq!((told(&open), written(&open)), ((Phase::Progressing, ROLLS_OUT), vec!["web: give back".to_owned()]));
    let mut stopped = nothing();
    stopped["candidate"] = version("b");
    stopped["hold"] = json!({"reason": "PausedByPerson", "message": "paused by olga", "since": second(50).to_string()});
    let stopped = waiting().decided(&stopped, &[]);
    assert_eq!((stopped.status.phase, written(&stopped)), (Phase::Waiting, vec![]));
}

#[test]
fn a_first_version_that_was_rejected_stays_held_and_one_that_runs_on_does_not() {
    let mut status = nothing();
    status["blocked"] = json!([{
        "revision": version("b")["revision"], "version": "b", "phase": "Rejected", "message": "version b: no",
        "since": second(0).to_string(), "retried": false,
    }]);
    let held = waiting().decided(&status, &[]);
    assert_eq!(told(&held), (Phase::Rejected, "version b: no; change the version, or decide Retry"));
    let resumed = waiting().with(|m| m.deployment().paused = false).decided(&status, &[]);
    assert_eq!(told(&resumed), (Phase::Progressing, ROLLS_OUT));
}

#[test]
fn that_a_first_version_makes_no_progress_counts_for_the_spec_that_it_is_about() {
    let overdue = |current: bool| {
        let moment = waiting().with(|m| {
            m.deployment().overdue = true;
            m.deployment().current = current;
        });
        moment.decided(&nothing(), &[]).status.message
    };
    let mend = "Deployment web has made no progress within its progressDeadlineSeconds; mend its version";
    assert_eq!(overdue(true), format!("the first version does not get ready: {mend}"));
    assert_eq!(overdue(false), ROLLS_OUT);
}

/// `a` is stable; the Deployment has been restarted by annotation, for which `r` has so many of its four pods.
fn restarted(pods: u32) -> (Moment, Value) {
    let moment = Moment::at_rest().with(|m| {
        let mut template = m.view.deployment.as_ref().unwrap().template.value();
        template["metadata"]["annotations"][RESTARTED_AT] = "now".into();
        m.deployment().template = template.into();
        m.deployment().digest = "r".into();
        m.deployment().updated = pods;
        let same = m.view.deployment.as_ref().unwrap().version_digest();
        m.add("r", None, pods);
        m.pods("a", 4 - pods);
        m.set("a").version.clone_from(&same);
        m.set("r").version = same;
    });
    let mut status = json!({"phase": "Stable", "since": second(0).to_string(), "stable": version("a")});
    status["stable"]["workloads"][0]["digest"] = moment.view.replica_sets[0].version.clone().into();
    (moment, status)
}

#[test]
fn a_restart_passes_and_the_stable_version_is_known_by_its_pods_when_they_are_all_there() {
    let (half, status) = restarted(2);
    let outcome = half.decided(&status, &[]);
    assert_eq!((told(&outcome).1, written(&outcome)), ("Deployment web restarts natively", vec![]));
    assert_eq!(found(&outcome), Some(("a", "a")));
    let (whole, status) = restarted(4);
    let outcome = whole.decided(&status, &[]);
    assert_eq!((found(&outcome), told(&outcome).1), (Some(("a", "r")), "version a runs"));
    // What an admission policy has made of it is another version, which has passed the Release by.
    let changed = whole.with(|m| m.set("r").version = "other".into()).decided(&status, &[]);
    assert_eq!(found(&changed), Some(("r", "r")));
    // Our own pause is taken off for it, and nobody else's.
    let (half, status) = restarted(2);
    for (mark, gives) in [(HOLD, true), (PAUSED_BY, true), (REQUESTED_BY, false)] {
        let paused = half.with(|m| {
            m.deployment().paused = true;
            m.deployment().marks.insert(mark.into(), "x".into());
        });
        let outcome = paused.decided(&status, &[]);
        let how = if gives { "restarts natively" } else { "is paused, and so does not restart: resume it" };
        assert_eq!(told(&outcome).1, format!("Deployment web {how}"));
        assert_eq!(written(&outcome).is_empty(), !gives, "{mark}");
    }
}

#[test]
fn a_restart_waits_until_no_service_is_pinned_any_more() {
    // The way back has just ended; meanwhile somebody has restarted what it has come back to.
    let back = restarted(0).0.with(|m| {
        m.view.replica_sets.retain(|set| set.hash == "a");
        m.deployment().paused = true;
        m.deployment().marks.insert(PAUSED_BY.into(), "lockkeeper".into());
        m.pin("a");
    });
    let status = restarted(0).1;
    let outcome = back.decided(&status, &[]);
    assert_eq!(written(&outcome), ["web: unpin", "web-admin: unpin"], "{}", told(&outcome).1);
    let free = back.with(|m| m.unpin()).decided(&status, &[]);
    assert_eq!(
        (told(&free).1, written(&free)),
        ("Deployment web restarts natively", vec!["web: give back".to_owned()])
    );
    // Once it has rolled out, its own pods are what is looked for.
    let whole = restarted(4).0.with(|m| m.pin("a"));
    assert_eq!(found(&whole.decided(&status, &[])), Some(("a", "r")));
}

#[test]
fn a_native_rollout_that_was_ended_halfway_goes_back_natively() {
    let torn = Moment::at_rest().with(|m| {
        m.pods("a", 3);
        m.add("b", None, 1);
        m.deployment().paused = true;
        m.deployment().updated = 3;
        m.deployment().marks.insert(PAUSED_BY.into(), "lockkeeper".into());
    });
    let status = json!({"phase": "Stable", "since": second(0).to_string(), "stable": version("a")});
    let outcome = torn.decided(&status, &[]);
    assert_eq!(told(&outcome).1, "Deployment web goes back natively");
    assert_eq!(written(&outcome), ["web: give back"]);
    let theirs = torn.with(|m| m.deployment().marks.retain(|key, _| key != PAUSED_BY)).decided(&status, &[]);
    assert_eq!(told(&theirs).1, "Deployment web is paused halfway: resume it");
    assert_eq!(written(&theirs), [] as [String; 0]);
    for whole in [
        torn.with(|m| m.deployment().paused = false),
        torn.with(|m| m.pods("b", 0)),
        torn.with(|m| m.role("b", Some(Role::Candidate))),
    ] {
        let message = whole.decided(&status, &[]).status.message;
        assert!(!message.contains("natively") && !message.contains("halfway"), "{message}");
    }
}

#[test]
fn what_was_rolled_out_while_nobody_held_it_is_waited_for_and_then_stable() {
    let status = json!({"phase": "Stable", "since": second(0).to_string(), "stable": version("a")});
    let whole = rolled().with(|m| m.unpin());
    let outcome = whole.decided(&status, &[]);
    assert_eq!(found(&outcome), Some(("b", "b")));
    assert_eq!(outcome.status.previous.unwrap().version, "a");
    let nearly = whole.with(|m| m.pods("a", 1)).with(|m| m.deployment().status_replicas = 5);
    let outcome = nearly.decided(&status, &[]);
    assert_eq!(told(&outcome).1, "Deployment web rolls out web-b natively: waiting for it");
    assert_eq!((found(&outcome), written(&outcome)), (Some(("a", "a")), vec![]));
    let paused = nearly.with(|m| m.deployment().paused = true).decided(&status, &[]);
    assert!(!told(&paused).1.contains("waiting for it"), "{}", told(&paused).1);
}

#[test]
fn what_an_earlier_release_has_left_has_no_date_and_its_own_time() {
    let left = Moment::at_rest().with(|m| {
        m.view.services.insert("web-canary".into(), service("web-canary", Some("b")));
        m.accepted(Some(96));
    });
    let outcome = left.decided(&nothing(), &[]);
    assert_eq!(
        (told(&outcome).1, written(&outcome)),
        ("giving back routes and Services of an earlier release", vec![])
    );
    assert_eq!((outcome.wake, outcome.status.next_transition_time), (Some(second(101)), None));
}
