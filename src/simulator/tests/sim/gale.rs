//! More of everything: users who change their mind at every moment, an operator that is away for long, and objects that nobody can read.

use std::time::Duration;

use lockkeeper_simulator::{
    api::{Caller, Key, Kind, Snapshot, User},
    run::{Plot, shop},
    world::{Act, Script, Turn, When, people},
};
use serde_json::{Value, json};

use crate::common::release;

/// What a seed means beside its storm.
#[derive(Debug, Default)]
pub struct Gale {
    seed: u64,
    /// The operator dies after so long, and another one comes after so much longer.
    pub away: Option<(Duration, Duration)>,
    /// How often users change their mind.
    fickle: u8,
    /// Whether there are objects that nobody can read.
    unreadable: bool,
}

/// Phases in which somebody changes his mind.
const PHASES: [&str; 9] =
    ["Waiting", "Progressing", "Paused", "Promoting", "Baking", "RollingBack", "RolledBack", "Aborted", "Stable"];

impl Gale {
    /// Of seeds that have none.
    pub fn none() -> Self {
        Self::default()
    }

    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x6761_6c65);
        let (after, away) = (random.u64(0..60_000), [2, 20, 80, 700, 4000][random.usize(0..5)]);
        let leaves = random.u8(0..3) == 0;
        Self {
            seed,
            away: leaves.then_some((Duration::from_millis(after), Duration::from_secs(away))),
            fickle: random.u8(0..8),
            unreadable: random.u8(0..4) == 0,
        }
    }

    /// Brings it about.
    pub fn over(&self, plot: &mut Plot) {
        let mut random = fastrand::Rng::with_seed(self.seed ^ 0x6d69_6e64);
        if let Some((_, away)) = self.away {
            plot.patience += away;
        }
        // All of them wait for their phase at the same time, so that one does not hold up the others.
        for _ in 0..self.fickle {
            let phase = PHASES[random.usize(0..PHASES.len())];
            let enters = When::Once(Box::new(move |objects: &Snapshot| release(objects)["status"]["phase"] == phase));
            let after = Duration::from_millis([0, random.u64(0..50), random.u64(0..5000)][random.usize(0..3)]);
            let script = Script::default().then(enters, |_: &mut Turn<'_>| {});
            plot.actors.push(Box::new(script.then(When::After(after), change(&mut random))));
        }
        if self.unreadable {
            let at = Duration::from_millis(random.u64(0..30_000));
            plot.actors.push(Box::new(Script::default().then(When::At(at), unreadable)));
        }
    }
}

/// Something that a user wants otherwise than before.
fn change(random: &mut fastrand::Rng) -> Act {
    let (deployment, own) = (shop::key(Kind::Deployment), shop::key(Kind::Release));
    let policy = Key::new(Kind::RollbackPolicy, shop::NAMESPACE, "slo");
    let spec = |field: &'static str, value: Value| {
        people::change("dora", &shop::key(Kind::Release), move |release| release["spec"][field] = value)
    };
    let tags = ["1.0.0", "2.0.0", "2.1.0", "2.2.0-errors20"];
    match random.u8(0..18) {
        0..=3 => people::set_image("dora", &deployment, &shop::image(tags[random.usize(0..tags.len())])),
        4 => spec("strategy", json!({"canary": {"steps": [{"setWeight": 1}, {"setWeight": 99}]}})),
        5 => spec("strategy", json!({"canary": {"steps": [{"setWeight": 100}]}})),
        6 => spec("strategy", json!({"canary": {"steps": [{"setCanaryScale": {"replicas": 1}}, {"setWeight": 5}]}})),
        7 => spec("gates", json!({"approvals": [{"name": "late", "before": "Promotion", "required": 1}]})),
        8 => spec("gates", Value::Null),
        9 => spec("suspend", json!(random.bool())),
        10 => people::change("dora", &policy, |policy| policy["spec"]["bake"] = json!("40s")),
        11 => people::change("dora", &policy, |policy| policy["spec"]["checks"][0]["max"] = json!(1)),
        12 => freeze(Duration::from_secs(random.u64(1..60))),
        13 => people::delete("dora", &Key::new(Kind::DeploymentWindow, shop::NAMESPACE, "freeze")),
        14 => people::scale(&deployment, random.u32(0..7)),
        15 => people::sync(shop::service()),
        16 => people::decide("olga", &own, ["Abort", "Promote", "Rollback", "Retry"][random.usize(0..4)], None),
        _ => people::decide("olga", &own, ["Skip", "Pause", "Resume"][random.usize(0..3)], None),
    }
}

/// Nothing goes on from now on, for a while.
fn freeze(length: Duration) -> Act {
    Box::new(move |turn: &mut Turn<'_>| {
        let time = |at: jiff::Timestamp| at.to_string().trim_end_matches('Z').to_owned();
        let window = json!({
            "metadata": {"generateName": "freeze-"},
            "spec": {"action": "Freeze", "schedule": {"from": time(turn.now), "until": time(turn.now + length), "timeZone": "UTC"}},
        });
        let caller = Caller::new(User::new("dora", &[]));
        let _ = turn.server.create(&caller, Kind::DeploymentWindow, shop::NAMESPACE, window);
    })
}

/// Objects as no schema of today would admit them, beside ours and in a namespace of their own.
fn unreadable(turn: &mut Turn<'_>) {
    let caller = Caller::new(User::new("eve", &[]));
    const ELSEWHERE: &str = "elsewhere";
    let home = json!({"metadata": {"name": ELSEWHERE}});
    let _ = turn.server.create(&caller, Kind::Namespace, "", home);
    let own = [
        (Kind::Release, json!({"workloads": "none"})),
        (Kind::RollbackPolicy, json!({"checks": [{"name": 5}]})),
        (Kind::Decision, json!({"release": 7})),
        (Kind::HTTPRoute, json!({"rules": "none"})),
    ];
    let others = [
        (Kind::DeploymentWindow, json!({"action": "Perhaps"})),
        (Kind::Release, json!([1, 2])),
        (Kind::RollbackPolicy, json!("none")),
    ];
    let all = own.into_iter().map(|one| (shop::NAMESPACE, one)).chain(others.into_iter().map(|one| (ELSEWHERE, one)));
    for (namespace, (kind, spec)) in all {
        let object = json!({"metadata": {"name": "broken"}, "spec": spec});
        turn.server.plant(&caller, kind, namespace, object);
    }
}
