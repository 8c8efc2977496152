//! Promises that hold for every release, whatever happens meanwhile: a plan and a list of happenings are generated, the
//! happenings strike before any write, and [`crate::check`] looks at every step.

use jiff::SignedDuration;
use lockkeeper_api::{decision::Verdict, names::HOLD, release::Phase};
use lockkeeper_engine::write::Kind;
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

use crate::{
    fixture::{self, POLICY, Work, policy},
    happening::{Happening, spec},
    lab::{Answer, Lab},
};

/// A release to try.
#[derive(Clone, Debug)]
pub struct Case {
    works: Vec<Work>,
    steps: Vec<Value>,
    rest: Value,
    check: Value,
    policy: Value,
    armed: bool,
    guarded: bool,
    paused_at_rest: bool,
    interleaved: bool,
    /// Whether EndpointSlices take their time.
    lags: bool,
    script: Vec<(usize, Happening)>,
}

impl Case {
    /// The lab with the first version, and with history, running.
    fn lab(&self) -> Lab {
        let mut rest = self.rest.clone();
        if self.armed {
            rest["rollbackPolicy"] = POLICY.into();
        }
        let mut lab = fixture::lab(&self.works, self.steps.clone().into(), rest);
        lab.policies.insert(POLICY.into(), policy(self.check.clone(), self.policy.clone()));
        lab.cluster.guarded = self.guarded;
        lab.setting.paused_at_rest = self.paused_at_rest;
        lab.run(10);
        assert_eq!(lab.phase(), Phase::Stable, "{}", lab.tail());
        lab.interleaved = self.interleaved;
        lab.cluster.lag = SignedDuration::from_secs(i64::from(self.lags));
        lab
    }

    /// The lab after the release and everything that happens meanwhile.
    fn play(&self, lab: &mut Lab) {
        lab.happen(&Happening::Version("2"));
        let writes = lab.writes;
        lab.script = self.script.iter().map(|(at, happening)| (writes + at, happening.clone())).collect();
        lab.run(15);
    }
}

fn work(name: &'static str) -> impl Strategy<Value = Work> {
    (0u8..6, any::<bool>(), 0u32..6, prop::sample::select(vec![0u32, 0, 5])).prop_map(
        move |(kind, images, replicas, min_ready)| Work {
            name,
            service: kind > 0,
            routed: kind > 1,
            images,
            replicas,
            min_ready,
        },
    )
}

fn step() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0u8..=100).prop_map(|weight| json!({"setWeight": weight})),
        1 => (0u32..5).prop_map(|replicas| json!({"setCanaryScale": {"replicas": replicas}})),
        1 => (0u8..=100).prop_map(|weight| json!({"setCanaryScale": {"weight": weight}})),
        1 => Just(json!({"setCanaryScale": {"matchTrafficWeight": true}})),
        2 => Just(json!({"pause": {"duration": "1m"}})),
        1 => Just(json!({"pause": {}})),
        1 => Just(json!({"analysis": {"policy": POLICY, "duration": "2m"}})),
        1 => Just(json!({"approval": {"name": "gate"}})),
    ]
}

fn workload_happening(name: &'static str) -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0u32..6).prop_map(move |replicas| Happening::Scale(name, replicas)),
        3 => Just(Happening::RestoreRoute(name)),
        3 => Just(Happening::RestoreService(name)),
        2 => Just(Happening::RestoreImage(name)),
        1 => Just(Happening::Unpause(name)),
        1 => Just(Happening::Fail(name)),
        1 => Just(Happening::Restart(name)),
        1 => Just(Happening::DeleteStable(name)),
        1 => Just(Happening::DeleteService(name)),
        1 => Just(Happening::DeleteRoute(name)),
        3 => Just(Happening::Apply(name)),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let verdicts = [
        Verdict::Promote,
        Verdict::Skip,
        Verdict::Pause,
        Verdict::Resume,
        Verdict::Retry,
        Verdict::Abort,
        Verdict::Rollback,
        Verdict::Reject,
    ];
    let answers = [Answer::Good, Answer::Bad, Answer::NoData, Answer::Error, Answer::Silence];
    prop_oneof![
        4 => Just(Happening::Crash),
        6 => workload_happening("web"),
        2 => workload_happening("api"),
        4 => prop::sample::select(vec!["1", "2", "3", "3-slow", "4-crash", "5-never"]).prop_map(Happening::Version),
        4 => prop::sample::select(verdicts.to_vec()).prop_map(Happening::Decide),
        3 => prop::sample::select(vec!["ann", "bob"]).prop_map(|by| Happening::Approve("gate", by)),
        2 => prop::sample::select(answers.to_vec()).prop_map(Happening::Answer),
        2 => any::<bool>().prop_map(Happening::Freeze),
        2 => any::<bool>().prop_map(Happening::Suspend),
        1 => prop::collection::vec(step(), 1..4).prop_map(Happening::Steps),
        1 => Just(Happening::DeleteRelease),
    ]
}

prop_compose! {
    pub fn case()(
        web in work("web"),
        api in prop::option::of(work("api")),
        steps in prop::collection::vec(step(), 1..=6),
        on_close in prop::sample::select(vec!["Pause", "Continue", "Rollback"]),
        required in 1u8..=2,
        before in prop::sample::select(vec![None, Some("Start"), Some("Promotion")]),
        no_data in prop::sample::select(vec!["Wait", "Fail"]),
        on_failure in prop::sample::select(vec!["Rollback", "Pause", "Notify"]),
        bake in prop::sample::select(vec!["0s", "2m"]),
        keep in prop::sample::select(vec!["0s", "5m"]),
        gradual in any::<bool>(),
        armed in any::<bool>(),
        paused_at_rest in prop::bool::weighted(0.2),
        interleaved in any::<bool>(),
        lags in prop::bool::weighted(0.3),
        script in prop::collection::vec((0usize..40, happening()), 0..6),
    ) -> Case {
        let mut works = vec![web];
        works.extend(api);
        let mut gate = json!({"name": "gate", "required": required});
        if let Some(before) = before {
            gate["before"] = before.into();
        }
        let asked = before.is_some() || steps.iter().any(|step| step["approval"].is_object());
        let gates = if asked { json!([gate]) } else { json!([]) };
        let mut rollback = json!({"keepCandidate": keep});
        if gradual {
            rollback["gradual"] = json!({"by": 25, "every": "30s"});
        }
        let mut script = script;
        script.sort_by_key(|(at, _)| *at);
        Case {
            works,
            steps,
            rest: json!({"gates": {"windows": {"onClose": on_close}, "approvals": gates}, "progressDeadline": "5m"}),
            check: json!({"noData": no_data, "onFailure": on_failure, "interval": "60s"}),
            policy: json!({"bake": bake, "rollback": rollback}),
            armed,
            guarded: true,
            paused_at_rest,
            interleaved,
            lags,
            script,
        }
    }
}

/// At rest nothing of ours remains, and everything is as its owner wrote it.
fn is_clean(lab: &Lab) -> Result<(), TestCaseError> {
    let tail = || lab.tail();
    // What runs stays saved as long as its Deployment is held for another version, and no longer.
    let mut held: Vec<_> = lab
        .cluster
        .of(Kind::Deployment)
        .filter(|(_, object)| object["metadata"]["annotations"][HOLD].is_string())
        .map(|(name, _)| name)
        .collect();
    for (saved, object) in lab.cluster.of(Kind::ControllerRevision) {
        let owner = object["metadata"]["ownerReferences"][0]["name"].as_str().unwrap();
        let index = held.iter().position(|name| *name == owner);
        prop_assert!(index.map(|index| held.remove(index)).is_some(), "{} is left\n{}", saved, tail());
    }
    for (name, rs) in lab.cluster.of(Kind::ReplicaSet) {
        prop_assert!(rs["metadata"]["labels"]["lockkeeper.dev/role"].is_null(), "{} keeps its role\n{}", name, tail());
    }
    for (name, service) in lab.cluster.of(Kind::Service) {
        prop_assert_eq!(&service["spec"], &fixture::service(name)["spec"], "{}\n{}", name, tail());
    }
    for (name, route) in lab.cluster.of(Kind::HTTPRoute) {
        prop_assert_eq!(&route["spec"], &fixture::route(name)["spec"], "{}\n{}", name, tail());
    }
    Ok(())
}

/// Lets everybody agree until nothing more comes.
fn let_go(lab: &mut Lab) {
    lab.happen(&Happening::Answer(Answer::Good));
    lab.happen(&Happening::Freeze(false));
    for name in ["web", "api"] {
        if lab.release().is_some_and(|release| release.spec.workloads.iter().any(|work| work.target.name == name)) {
            lab.happen(&Happening::Apply(name));
        }
    }
    spec(lab, |spec| spec["suspend"] = false.into());
    for turn in 0..6 {
        lab.run(10);
        if lab.release().is_none() || !matches!(lab.phase(), Phase::Waiting | Phase::Progressing | Phase::Paused) {
            break;
        }
        for by in ["carl", "dave"] {
            lab.happen(&Happening::Approve("gate", by));
        }
        // Where nothing can be measured, Resume does not go on.
        lab.happen(&Happening::Decide(if turn < 3 { Verdict::Resume } else { Verdict::Promote }));
    }
    lab.run(15);
}

/// Plays a case to its end, which must be a defined one.
pub fn ends_well(case: &Case) -> Result<(), TestCaseError> {
    let mut lab = case.lab();
    case.play(&mut lab);
    let_go(&mut lab);
    if lab.release().is_none() {
        return is_clean(&lab);
    }
    let phase = lab.phase();
    // A stable ReplicaSet that is deleted before its template could be saved, while another version serves, is for a person to mend, and it says so.
    let serves = lab.cluster.pods.values().any(|pod| pod.ready.is_some());
    if phase == Phase::RollingBack && lab.status().message.contains("roll out a version by hand") && serves {
        return Ok(());
    }
    prop_assert!(
        matches!(phase, Phase::Stable | Phase::RolledBack | Phase::Aborted | Phase::Rejected | Phase::Invalid),
        "it ends as {phase}\n{}",
        lab.tail()
    );
    let writes = lab.log.len();
    lab.run(30);
    prop_assert_eq!(lab.log.len(), writes, "it writes at rest\n{}", lab.tail());
    if phase != Phase::Invalid {
        is_clean(&lab)?;
    }
    Ok(())
}

/// How a release may be ended.
#[derive(Clone, Copy, Debug)]
enum Way {
    Decision,
    OldVersion,
    OtherVersion,
    BadNumbers,
    Deletion,
}

/// With everything closed that can be closed, the way back is open before any write.
fn goes_back(case: &Case, at: usize, way: Way) -> Result<(), TestCaseError> {
    let mut closing = vec![Happening::Freeze(true), Happening::Suspend(true), Happening::Decide(Verdict::Pause)];
    closing.extend(match way {
        // Whichever is in time.
        Way::Decision => vec![Happening::Decide(Verdict::Abort), Happening::Decide(Verdict::Rollback)],
        Way::OldVersion => vec![Happening::Version("1")],
        Way::OtherVersion => vec![Happening::Version("3")],
        Way::BadNumbers => vec![Happening::Answer(Answer::Bad)],
        Way::Deletion => vec![Happening::DeleteRelease],
    });
    let case = Case { script: closing.into_iter().map(|happening| (at, happening)).collect(), ..case.clone() };
    let mut lab = case.lab();
    case.play(&mut lab);
    lab.run(15);
    let release = lab.release();
    let promoted = lab.status().stable.as_ref().is_some_and(|stable| stable.version == "2");
    let exposed = lab.status().exposed.is_some();
    match way {
        Way::Deletion => prop_assert!(release.is_none(), "the Release never goes\n{}", lab.tail()),
        // Out of time, or nothing was measured.
        Way::OtherVersion | Way::BadNumbers if promoted || !exposed => return Ok(()),
        Way::Decision | Way::OldVersion | Way::OtherVersion | Way::BadNumbers => {
            let status = lab.status();
            let stable = status.stable.as_ref().map(|stable| stable.version.as_str());
            prop_assert_eq!(stable, Some("1"), "{}", lab.tail());
        }
    }
    let others = lab.cluster.pods.values().filter(|pod| pod.ready.is_some() && !pod.image.ends_with(":1")).count();
    prop_assert!(promoted || others == 0, "pods of the version that was left still run\n{}", lab.tail());
    Ok(())
}

/// The same cases each time, so that a failure is the last change's; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for others.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let is_set = |name: &str| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if is_set("PROPTEST_CASES") { asked.cases } else { 64 },
        rng_seed: if is_set("PROPTEST_RNG_SEED") { asked.rng_seed } else { RngSeed::Fixed(1) },
        failure_persistence: None,
        max_shrink_iters: if is_set("PROPTEST_MAX_SHRINK_ITERS") { asked.max_shrink_iters } else { 200 },
        // A property that is about some releases only passes over the others.
        max_global_rejects: 100_000,
        ..asked
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_no_promise_is_broken_and_the_end_is_a_defined_one(case in case()) {
        ends_well(&case)?;
    }

    #[test]
    fn going_back_is_never_blocked(
        case in case(),
        at in 0usize..40,
        way in prop::sample::select(vec![Way::Decision, Way::OldVersion, Way::OtherVersion, Way::BadNumbers, Way::Deletion]),
    ) {
        let check = json!({"noData": "Wait", "onFailure": "Rollback", "interval": "60s"});
        let armed = case.armed || matches!(way, Way::BadNumbers);
        goes_back(&Case { check, armed, ..case }, at, way)?;
    }

    #[test]
    fn without_data_no_version_is_promoted(
        case in case(),
        answer in prop::sample::select(vec![Answer::NoData, Answer::Error, Answer::Silence]),
    ) {
        let weighs = case.steps.iter().any(|step| step["setWeight"].as_u64() > Some(0));
        // A candidate without pods or without weight has nothing to measure.
        let scaled = case.steps.iter().any(|step| step["setCanaryScale"].is_object());
        prop_assume!(weighs && !scaled && case.works.iter().all(|work| work.replicas > 0 && work.routed));
        let check = json!({"noData": "Wait", "onFailure": "Pause", "interval": "60s"});
        let case = Case { script: vec![(0, Happening::Answer(answer))], check, armed: true, ..case };
        let mut lab = case.lab();
        case.play(&mut lab);
        for _ in 0..3 {
            lab.happen(&Happening::Approve("gate", "ann"));
            lab.happen(&Happening::Approve("gate", "bob"));
            lab.happen(&Happening::Decide(Verdict::Resume));
            lab.run(5);
        }
        let stable = lab.status().stable.as_ref().map(|stable| stable.version.as_str());
        prop_assert_eq!(stable, Some("1"), "{}", lab.tail());
    }
}
