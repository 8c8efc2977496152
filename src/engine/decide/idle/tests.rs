//! What is decided while nothing is on its way, with what may still stand around.

use lockkeeper_api::{
    names::{FINALIZER, HOLD, PAUSED_BY},
    release::Phase,
};
use serde_json::{Value, json};

use crate::{
    Outcome,
    converge::tests::moment::{Moment, second, service, version, written},
    world::Role,
};

/// `a` is the stable version.
fn stable(phase: &str) -> Value {
    json!({"phase": phase, "since": second(0).to_string(), "stable": version("a")})
}

/// The same, after another version went back, which is remembered.
fn went_back(left: &str) -> Value {
    let mut status = stable("Aborted");
    status["candidate"] = version(left);
    status["blocked"] = json!([blocked(left, false)]);
    status
}

fn blocked(left: &str, retried: bool) -> Value {
    json!({
        "revision": version(left)["revision"], "version": left, "phase": "Aborted", "message": format!("version {left}: bad"),
        "since": second(0).to_string(), "retried": retried,
    })
}

fn candidate(outcome: &Outcome) -> Option<&str> {
    outcome.status.candidate.as_ref().map(|candidate| candidate.version.as_str())
}

/// `b` was left, and its last pod ends; until then the Services stay pinned.
fn ending(wants: &str) -> Moment {
    Moment::at_rest().with(|m| {
        m.wants(wants);
        m.pin("a");
        m.add("b", Some(Role::Candidate), 0);
        m.set("b").existing = 1;
    })
}

#[test]
fn at_rest_nothing_is_written() {
    let rest = Moment::at_rest().decided(&stable("Stable"), &[]);
    assert_eq!((written(&rest), rest.status.message.as_str()), (vec![], "version a runs"));
}

#[test]
fn what_is_cleared_is_looked_at_again_when_the_data_plane_has_had_its_time() {
    let clearing = Moment::at_rest().with(|m| {
        m.view.services.insert("web-canary".into(), service("web-canary", Some("b")));
        m.accepted(Some(96));
    });
    let outcome = clearing.decided(&stable("Stable"), &[]);
    assert_eq!((written(&outcome), outcome.wake), (vec![], Some(second(101))), "{}", outcome.status.message);
}

#[test]
fn the_finalizer_goes_with_the_last_thing_that_is_left() {
    let with = |moment: Moment| moment.with(|m| m.plan.finalizers = vec![FINALIZER.into()]);
    let rest = with(Moment::at_rest());
    assert_eq!(written(&rest.decided(&stable("Stable"), &[])), ["shop: remove finalizer"]);
    // Pods that end, which no write hurries.
    let ending = with(ending("a"));
    assert_eq!(written(&ending.decided(&stable("Stable"), &[])), [] as [String; 0]);
    // A Deployment that is held needs the Release.
    let held = with(Moment::at_rest()).with(|m| {
        m.wants("b");
        m.deployment().paused = true;
        m.deployment().marks.insert(HOLD.into(), version("b")["revision"].as_str().unwrap().into());
    });
    assert_eq!(written(&held.decided(&went_back("b"), &[])), ["web-a-stable: save stable template"]);
    let saved = held.with(|m| m.view.saved = Moment::beside(true).view.saved);
    assert_eq!(written(&saved.decided(&went_back("b"), &[])), [] as [String; 0]);
    let bare = held.with(|m| m.plan.finalizers.clear());
    assert_eq!(written(&bare.decided(&went_back("b"), &[])), ["shop: add finalizer"]);
    // So does a version that is kept for a look, whoever has taken the hold off.
    let mut kept = went_back("b");
    kept["goingBack"] = json!({
        "cause": "Aborted", "message": "bad", "from": version("b")["revision"], "started": second(90).to_string(),
        "finished": second(91).to_string(), "keepCandidate": "10s", "weight": 10,
    });
    let looked_at = held.with(|m| {
        m.deployment().marks.remove(HOLD);
        m.pin("a");
        m.add("b", Some(Role::Candidate), 2);
    });
    let outcome = looked_at.decided(&kept, &[]);
    assert_eq!((written(&outcome), outcome.wake), (vec![], Some(second(101))));
    // What somebody has started besides is not.
    let besides = looked_at.with(|m| m.add("c", Some(Role::Candidate), 2));
    assert_eq!(written(&besides.decided(&kept, &[])), ["web-c: scale to 0"]);
    kept["goingBack"]["finished"] = second(90).to_string().into();
    assert_eq!(written(&looked_at.decided(&kept, &[])), ["web-b: scale to 0"], "ten seconds have passed");
}

#[test]
fn what_an_attempt_has_left_goes_before_another_begins() {
    let mut status = went_back("b");
    let ends = ending("c").decided(&status, &[]);
    assert_eq!((ends.status.phase, candidate(&ends)), (Phase::Aborted, Some("b")), "{}", ends.status.message);
    assert_eq!(ends.status.message, "waiting for the pods of web-b to end");
    let gone = ending("c").with(|m| m.view.replica_sets.retain(|set| set.hash != "b"));
    let unpins = gone.decided(&status, &[]);
    assert_eq!((unpins.writes.len(), unpins.status.phase), (2, Phase::Aborted), "{:?}", written(&unpins));
    // The Deployment is held meanwhile: that is a write like any other.
    let holds = gone.with(Moment::unpin).decided(&status, &[]);
    assert_eq!((written(&holds), holds.status.phase), (vec!["web: hold".to_owned()], Phase::Aborted));
    // The same when the stable version is asked for again.
    status["phase"] = "Stable".into();
    let back = ending("a").decided(&status, &[]);
    assert_eq!((written(&back), candidate(&back)), (vec![], Some("b")), "it is known until it is gone");
    let scaled = ending("a").with(|m| m.pods("b", 1)).decided(&status, &[]);
    assert_eq!((written(&scaled), candidate(&scaled)), (vec!["web-b: scale to 0".to_owned()], Some("b")));
    let rest = Moment::at_rest().decided(&status, &[]);
    assert_eq!((candidate(&rest), rest.status.message.as_str()), (None, "version a runs"));
}

#[test]
fn a_spec_that_cannot_work_is_told_when_nothing_is_to_be_cleared() {
    let fault = |moment: Moment| moment.with(|m| m.plan.faults = vec!["no such policy".into()]);
    let rest = fault(Moment::at_rest()).decided(&stable("Stable"), &[]);
    assert_eq!((rest.status.phase, rest.status.message.as_str()), (Phase::Invalid, "no such policy"));
    let left = fault(ending("a").with(|m| m.pods("b", 1))).decided(&went_back("b"), &[]);
    assert_eq!((left.status.phase, written(&left)), (Phase::Stable, vec!["web-b: scale to 0".to_owned()]));
}

#[test]
fn a_version_that_went_back_says_what_hinders_clearing_up() {
    let gone = Moment::at_rest().with(|m| {
        m.wants("b");
        m.deployment().marks.insert(HOLD.into(), "b".into());
        m.view.replica_sets.clear();
    });
    let told = |moment: &Moment| moment.decided(&went_back("b"), &[]).status.message;
    let mend = "change the spec, go back to the stable version, or decide Retry";
    let broken = "ReplicaSet web-a is gone and its template was not saved: roll out a version by hand";
    assert_eq!(told(&gone), format!("version b: bad; {broken}; {mend}"));
    // That pods are still ending hinders nothing.
    assert_eq!(told(&ending("b")), format!("version b: bad; {mend}"));
}

/// `b` is asked for; the Deployment is held, and has it, or another, in its history.
fn returns(change: impl FnOnce(&mut Moment)) -> Moment {
    Moment::at_rest().with(|m| {
        m.wants("b");
        m.add("b", None, 0);
        m.deployment().paused = true;
        m.deployment().marks.insert(HOLD.into(), version("b")["revision"].as_str().unwrap().into());
        change(m);
    })
}

#[test]
fn only_an_earlier_version_that_never_went_back_returns_without_gates() {
    let phase = |moment: &Moment, blocked: Value| {
        let mut status = stable("Stable");
        status["blocked"] = blocked;
        moment.decided(&status, &[]).status.phase
    };
    assert_eq!(phase(&returns(|_| {}), json!([])), Phase::RollingBack);
    assert_eq!(phase(&returns(|_| {}), json!([blocked("c", true)])), Phase::RollingBack);
    assert_eq!(phase(&returns(|_| {}), json!([blocked("b", true)])), Phase::Progressing, "by its steps");
    assert_eq!(phase(&returns(|_| {}), json!([blocked("b", false)])), Phase::Aborted);
    assert_eq!(phase(&returns(|m| m.set("b").version = "c".into()), json!([])), Phase::Progressing);
    let not_theirs = returns(|m| m.set("b").controlled = false);
    assert_eq!(phase(&not_theirs, json!([])), Phase::Progressing);
}

/// Olga decides about a version.
fn decision(verdict: &str, about: &str) -> Value {
    json!({
        "name": "one", "uid": "uid-one", "created": second(50).to_string(),
        "spec": {
            "release": "shop", "revision": version(about)["revision"], "verdict": verdict, "reason": "because",
            "by": {"username": "olga", "groups": []},
        },
    })
}

/// Of this version there is only a saved template.
fn only_saved(m: &mut Moment, version: &str) {
    m.view.saved = Moment::beside(true).view.saved;
    m.view.saved[0].hash = version.into();
    m.view.replica_sets.retain(|set| set.hash == "a");
}

#[test]
fn a_rollback_needs_a_version_whose_pods_can_be_made() {
    let phase = |change: fn(&mut Moment)| {
        let mut status = stable("Stable");
        status["previous"] = version("b");
        let moment = Moment::at_rest().with(|m| {
            m.add("b", None, 0);
            change(m);
        });
        moment.decided(&status, &[decision("Rollback", "a")]).status.phase
    };
    assert_eq!(phase(|_| {}), Phase::RollingBack);
    assert_eq!(phase(|m| m.set("b").deleting = true), Phase::Stable);
    assert_eq!(phase(|m| m.view.replica_sets.retain(|set| set.hash == "a")), Phase::Stable);
    assert_eq!(phase(|m| only_saved(m, "b")), Phase::RollingBack);
    assert_eq!(phase(|m| only_saved(m, "c")), Phase::Stable);
}

#[test]
fn retry_is_for_the_version_that_it_names() {
    let mut status = went_back("b");
    status["blocked"] = json!([blocked("c", false), blocked("b", false)]);
    let held = returns(|m| m.view.replica_sets.retain(|set| set.hash == "a"));
    let retried = |about: &str| {
        let outcome = held.decided(&status, &[decision("Retry", about)]);
        let tried: Vec<_> = outcome.status.blocked.iter().map(|blocked| blocked.retried).collect();
        (outcome.status.phase, tried)
    };
    assert_eq!(retried("b"), (Phase::Progressing, vec![false, true]));
    assert_eq!(retried("c"), (Phase::Aborted, vec![true, false]));
}

/// `b` is asked for, and held; nothing runs.
fn bare() -> Moment {
    returns(|m| {
        m.deployment().marks.insert(PAUSED_BY.into(), "lockkeeper".into());
        m.view.replica_sets.clear();
    })
}

fn rests_on(outcome: &Outcome) -> Vec<(&str, bool)> {
    outcome.rests_on.iter().map(|seen| (seen.name.as_str(), seen.resource_version.is_some())).collect()
}

#[test]
fn a_stable_version_of_which_nothing_is_left_is_forgotten() {
    let outcome = bare().decided(&stable("Stable"), &[]);
    assert_eq!((outcome.status.stable.is_none(), outcome.status.phase), (true, Phase::Progressing));
    assert_eq!(rests_on(&outcome), [("web-a", false), ("web-a-stable", false)]);
    let told: Vec<_> = outcome.events.iter().map(|event| (event.reason.as_str(), event.warning)).collect();
    assert_eq!(told, [("StableGone", true)]);
    // One that went back does not start by itself.
    let blocked = bare().decided(&went_back("b"), &[]);
    let message = "version b: bad; change the version, or decide Retry";
    assert_eq!((blocked.status.phase, blocked.status.message.as_str()), (Phase::Aborted, message));
    for kept in [
        |m: &mut Moment| m.add("a", None, 0),
        |m: &mut Moment| m.add("c", Some(Role::Candidate), 1),
        |m: &mut Moment| m.view.saved = Moment::beside(true).view.saved,
        |m: &mut Moment| m.deployment().paused = false,
        |m: &mut Moment| m.deployment().marks.clear(),
        |m: &mut Moment| m.wants("a"),
    ] {
        let outcome = bare().with(kept).decided(&stable("Stable"), &[]);
        assert!(outcome.status.stable.is_some(), "{}", outcome.status.message);
    }
    // Others' ReplicaSets without pods, and a template that was saved of another version, are no help.
    let others = bare().with(|m| {
        m.add("c", Some(Role::Candidate), 0);
        m.view.saved = Moment::beside(true).view.saved;
        m.view.saved[0].hash = "c".into();
    });
    assert!(others.decided(&stable("Stable"), &[]).status.stable.is_none());
}

#[test]
fn another_replica_set_of_the_stable_version_is_followed_when_its_own_is_gone() {
    let twin = |change: fn(&mut Moment)| {
        let moment = Moment::at_rest().with(|m| {
            m.view.replica_sets[0].name = "web-twin".into();
            m.view.replica_sets[0].hash = "twin".into();
            change(m);
        });
        let outcome = moment.decided(&stable("Stable"), &[]);
        let hash = outcome.status.stable.as_ref().unwrap().workloads[0].hash.clone();
        (hash, rests_on(&outcome).contains(&("web-a", false)))
    };
    assert_eq!(twin(|_| {}), ("twin".into(), true));
    let stays = ("a".to_owned(), false);
    assert_eq!(twin(|m| m.add("a", None, 0)), stays, "its own is there");
    assert_eq!(twin(|m| m.view.replica_sets[0].controlled = false), stays);
    assert_eq!(twin(|m| m.view.replica_sets[0].replicas = 0), ("twin".into(), false), "as after a restart");
    let held = |m: &mut Moment| {
        m.wants("b");
        m.deployment().paused = true;
        m.deployment().marks.insert(PAUSED_BY.into(), "lockkeeper".into());
    };
    assert_eq!(twin(held), ("twin".into(), true));
    let other = Moment::at_rest().with(held).with(|m| {
        m.set("a").version = "c".into();
        m.set("a").hash = "twin".into();
    });
    let outcome = other.decided(&stable("Stable"), &[]);
    assert_eq!(outcome.status.stable.unwrap().workloads[0].hash, "a", "it runs another version");
}

#[test]
fn a_spec_that_cannot_work_waits_until_what_was_left_is_cleared() {
    let faulty = |moment: &Moment| moment.with(|m| m.plan.faults = vec!["no such policy".into()]);
    let told = |moment: &Moment, status: &Value| {
        let outcome = moment.decided(status, &[]);
        (outcome.status.phase, outcome.status.message.clone(), outcome.writes.len())
    };
    let cannot = (Phase::Invalid, "no such policy".to_owned(), 0);
    // `b` has left a pod, and `c` is asked for.
    assert_eq!(
        told(&faulty(&ending("c")), &went_back("b")),
        (Phase::Aborted, "waiting for the pods of web-b to end".into(), 0)
    );
    let gone = returns(|m| {
        m.wants("c");
        m.deployment().marks.insert(HOLD.into(), version("c")["revision"].as_str().unwrap().into());
    });
    assert_eq!(told(&faulty(&gone), &went_back("b")), cannot);
    // Nothing was tried: nothing is touched.
    let open = Moment::at_rest().with(|m| m.wants("c"));
    assert_eq!(told(&faulty(&open), &stable("Stable")), cannot);
    // Mended, it is what it was.
    let mended = ending("c").decided(&stable("Invalid"), &[]);
    assert_eq!(mended.status.phase, Phase::Stable);
}
