//! What else may befall a seed. It is drawn for itself, so that what storm.rs draws stays as it was.

use std::time::Duration;

use jiff::SignedDuration;
use lockkeeper_adapters::metric::Sample;
use lockkeeper_simulator::{
    api::{
        Caller, Key, Kind, Preconditions, Rumour, Snapshot, Stall, User,
        object::{name, text},
    },
    run::{Plot, Sim, Skew, shop},
    world::{Script, Spoken, Turn, When, by_image, people},
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    common::{Result, ask_for, release},
    gone,
};

/// The second workload of our Release.
const SECOND: &str = "api";
/// How far behind replicas are when an operator starts in the place of another.
const OLD: Duration = Duration::from_secs(5);
/// Others' Releases.
const NEIGHBOURS: [&str; 2] = ["mail", "search"];

/// What a seed means beside its weather.
#[derive(Debug)]
pub struct Sky {
    /// How badly news of watches travels.
    pub rumour: Rumour,
    /// Jumps of the operator's clock: so long after what was before, by so many seconds.
    jumps: Vec<(Duration, i64)>,
    /// Begins shortly before an hour that Berlin's clocks repeat, or leave out.
    begins: Option<&'static str>,
    /// Of a hundred answers of the metrics source, so many are of no use.
    pub babble: u8,
    /// Of a hundred other answers, so many are far too high.
    pub flaps: u8,
    /// What is deleted and made anew: after which time, how long it is away, and what it is.
    recreated: Vec<(Duration, Duration, u8)>,
    /// How many Releases of others run beside ours.
    pub neighbours: u8,
    /// Whether our Release has a second workload.
    pub wide: bool,
    /// After which time watches hear nothing for a while.
    pub stall: Option<(Duration, Stall)>,
    /// Of a hundred events for people, the answers to so many are lost.
    pub unanswered: u8,
    /// Whether the Deployment has had a version before.
    pub aged: bool,
    /// After which time somebody takes away a freeze without end.
    thaws: Option<Duration>,
    /// So long after it was promoted people want something else; and then, after a while, something else again.
    regrets: Option<[(Duration, u8); 2]>,
    /// How long Kubernetes' controllers take to notice a change, at most, in milliseconds; 0: as usual.
    tardy: u64,
    /// So long after it got into a phase the operator dies, and the next one lists from replicas that are behind.
    deaths: Vec<(&'static str, Duration)>,
}

impl Sky {
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x0051_4e79_u64);
        let mut rarely = |of: u8| random.u8(0..of) == 0;
        let (rumours, clocks, nights, babbles, recreates, neighbours, wide) =
            (rarely(3), rarely(4), rarely(8), rarely(4), rarely(3), rarely(5), rarely(4));
        let rumour = Rumour {
            lost: random.u8(0..15),
            expired: random.u8(0..10),
            twice: random.u8(0..30),
            merged: random.u8(0..40),
            old: Duration::from_millis([0, 500, 5000][random.usize(0..3)]),
        };
        let jumps = (0..random.u8(1..4)).map(|_| {
            let by = [3600, -3600, 90, -90, 86_400][random.usize(0..5)];
            (Duration::from_millis(random.u64(0..50_000)), by)
        });
        let jumps: Vec<_> = jumps.collect();
        let recreated = (0..random.u8(1..3)).map(|_| {
            let (after, away) = (random.u64(0..60_000), [0, 20, 500, 5000][random.usize(0..4)]);
            (Duration::from_millis(after), Duration::from_millis(away), random.u8(0..gone::RECREATED))
        });
        let recreated: Vec<_> = recreated.collect();
        let night = ["2026-10-25T00:59:30Z", "2027-03-28T00:59:30Z"][random.usize(0..2)];
        // What has been drawn before stays as it was.
        let mut drawn = random;
        let mut random = fastrand::Rng::with_seed(seed ^ 0x7374_616c);
        let seldom = |of: u8| random.u8(0..of) == 0;
        let [stalls, deaf, aged, frost] = [3, 3, 3, 8].map(seldom);
        let thaw = Duration::from_millis(random.u64(5_000..40_000));
        // With the freeze, and whatever else is deleted while nobody listens.
        let stall = if frost {
            let (early, late) = (random.u64(0..1000), random.u64(100..4000));
            let lasts = Duration::from_millis(early + late);
            (thaw - Duration::from_millis(early), Stall { kind: None, lasts, forgotten: true })
        } else {
            Self::silence(&mut random)
        };
        let unanswered = random.u8(10..60);
        let [first, second] =
            [(5, 20_000), (5, 25_000)].map(|(of, most)| (Duration::from_millis(random.u64(0..most)), random.u8(0..of)));
        let regrets = random.u8(0..3) == 0;
        let deaths = (0..random.u8(1..4)).map(|_| {
            let phase = ["RollingBack", "Promoting", "Progressing", "Paused"][random.usize(0..4)];
            (phase, Duration::from_millis(random.u64(0..3000)))
        });
        let deaths: Vec<_> = deaths.collect();
        let dies = random.u8(0..3) == 0;
        let tardy = [0, 0, 800][random.usize(0..3)];
        let known = if rumours { rumour } else { Rumour::default() };
        Self {
            rumour: Rumour { old: if dies { OLD } else { known.old }, ..known },
            jumps: if clocks { jumps } else { Vec::new() },
            begins: nights.then_some(night),
            babble: if babbles { drawn.u8(5..60) } else { 0 },
            flaps: if babbles && drawn.bool() { drawn.u8(5..50) } else { 0 },
            recreated: if recreates { recreated } else { Vec::new() },
            neighbours: if neighbours { drawn.u8(1..3) } else { 0 },
            wide,
            stall: (stalls || frost).then_some(stall),
            unanswered: if deaf { unanswered } else { 0 },
            aged,
            thaws: frost.then_some(thaw),
            regrets: regrets.then_some([first, second]),
            tardy,
            deaths: if dies { deaths } else { Vec::new() },
        }
    }

    /// Watches that hear nothing for a while: all of them, and what happens meanwhile is forgotten; or those of a kind of which each write says what
    /// it was decided on.
    fn silence(random: &mut fastrand::Rng) -> (Duration, Stall) {
        let after = [random.u64(0..2500), random.u64(0..60_000)][random.usize(0..2)];
        let kind = match random.u8(0..4) {
            0 => None,
            1 => Some(Kind::Release),
            _ => Some(Kind::ReplicaSet),
        };
        let lasts = Duration::from_millis(random.u64(500..if kind.is_some() { 15_000 } else { 5000 }));
        (Duration::from_millis(after), Stall { kind, lasts, forgotten: kind.is_none() || random.bool() })
    }

    /// When it begins.
    pub fn begin(&self, plot: &mut Plot) {
        if let Some(begins) = self.begins {
            plot.begins = begins.parse().unwrap();
        }
    }

    /// Brings the rest about.
    pub fn over(&self, plot: &mut Plot, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x6f76_6572);
        self.delay(plot);
        if self.aged {
            plot.objects.push(shop::history("0.9.0"));
        }
        if let Some(regret) = self.regrets {
            plot.actors.push(Box::new(regrets(regret)));
        }
        if let Some(after) = self.thaws {
            plot.objects.push(freeze("frost", plot.begins, (0, 400_000_000)));
            plot.actors.push(Box::new(Script::default().then(When::After(after), thaw)));
        }
        plot.actors.push(Box::new(self.clock(&plot.skew)));
        let ours = plot.objects.clone();
        let of = |kinds: &'static [&str]| ours.iter().filter(|object| kinds.contains(&text(&object["kind"])));
        const WORKLOAD: &[&str] = &["Deployment", "Service", "HTTPRoute"];
        for name in NEIGHBOURS.into_iter().take(self.neighbours.into()) {
            plot.objects.extend(of(WORKLOAD).chain(of(&["Release"])).map(|object| shop::renamed(object, name)));
            let (at, tag) =
                (Duration::from_millis(random.u64(3000..60_000)), ["2.0.0", "2.0.0-errors10"][random.usize(0..2)]);
            let deployment = Key::new(Kind::Deployment, shop::NAMESPACE, name);
            let ask = people::set_image("dora", &deployment, &format!("registry.example.com/{name}:{tag}"));
            plot.actors.push(Box::new(Script::default().then(When::At(at), ask)));
        }
        if self.wide {
            plot.objects.extend(of(WORKLOAD).map(|object| shop::renamed(object, SECOND)));
            let own =
                plot.objects.iter_mut().filter(|object| object["kind"] == "Release" && name(object) == shop::NAME);
            for release in own {
                let second = shop::renamed(&release["spec"]["workloads"][0], SECOND);
                release["spec"]["workloads"].as_array_mut().unwrap().push(second);
            }
            let at = Duration::from_millis(random.u64(0..40_000));
            let deployment = Key::new(Kind::Deployment, shop::NAMESPACE, SECOND);
            let ask = people::set_image("dora", &deployment, &format!("registry.example.com/{SECOND}:2.0.0"));
            plot.actors.push(Box::new(Script::default().then(When::At(at), ask)));
        }
        for (after, away, which) in &self.recreated {
            plot.actors.push(Box::new(gone::recreate(*after, *away, *which, &plot.objects)));
        }
    }

    /// How late controllers and operators hear of what happens.
    fn delay(&self, plot: &mut Plot) {
        if self.tardy > 0 {
            plot.notices_after = (1, self.tardy);
        }
        if self.rumour.lost > 0 || self.rumour.expired > 0 {
            // A watch that fails again and again is tried again after half a minute or more.
            plot.known_after = Duration::from_secs(90);
        } else if !self.deaths.is_empty() {
            plot.known_after = Duration::from_secs(3);
        }
        // Of pods endpoints tell, too.
        if let Some((_, stall)) = self.stall.filter(|(_, stall)| stall.kind != Some(Kind::ReplicaSet)) {
            plot.known_after = plot.known_after.max(stall.lasts + Duration::from_secs(5));
        }
    }

    /// Whether the Release is deleted and comes again.
    pub fn adopts(&self) -> bool {
        self.recreated.iter().any(|(_, _, which)| *which == gone::RELEASE)
    }

    /// Lets operators die; gives up when it has not come to that within a time.
    pub async fn kill(&self, sim: &mut Sim, within: Duration) -> Result {
        let end = tokio::time::Instant::now() + within;
        let left = || end.saturating_duration_since(tokio::time::Instant::now());
        for (phase, after) in &self.deaths {
            if sim.until(phase, left(), |objects| release(objects)["status"]["phase"] == *phase).await.is_err() {
                break;
            }
            sim.pass(left().min(*after)).await?;
            for number in sim.running() {
                sim.replace(number)?;
            }
        }
        Ok(())
    }

    fn clock(&self, skew: &Skew) -> Script {
        self.jumps.iter().fold(Script::default(), |script, (after, by)| {
            let (skew, by) = (skew.clone(), SignedDuration::from_secs(*by));
            script.then(When::After(*after), move |turn: &mut Turn<'_>| skew.jump(by, turn.now))
        })
    }
}

/// A freeze, from so many seconds after this time until so many.
pub fn freeze(name: &str, begins: jiff::Timestamp, (from, until): (u64, u64)) -> serde_json::Value {
    let time = |after: u64| (begins + Duration::from_secs(after)).to_string().trim_end_matches('Z').to_owned();
    json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "DeploymentWindow", "metadata": {"name": name, "namespace": shop::NAMESPACE},
        "spec": {"action": "Freeze", "reason": "a storm", "schedule": {"from": time(from), "until": time(until), "timeZone": "UTC"}},
    })
}

/// Who wants the version before back, or yet another, and may change their mind again.
fn regrets([first, second]: [(Duration, u8); 2]) -> Script {
    let own = shop::key(Kind::Release);
    let promoted = |objects: &Snapshot| {
        let status = &release(objects)["status"];
        matches!(text(&status["phase"]), "Baking" | "Stable") && status["stable"]["version"] == "2.0.0"
    };
    let wish = |what| match what {
        0 | 1 => people::decide("olga", &own, "Rollback", None),
        2 => ask_for("1.0.0"),
        3 => ask_for("3.0.0"),
        4 => ask_for("3.1.0-errors10"),
        5 => people::decide("olga", &own, "Abort", None),
        _ => people::decide("olga", &own, "Retry", None),
    };
    Script::default()
        .then(When::Once(Box::new(promoted)), |_: &mut Turn<'_>| {})
        .then(When::After(first.0), wish(first.1))
        .then(When::After(second.0), wish(2 + second.1))
}

fn thaw(turn: &mut Turn<'_>) {
    let key = Key::new(Kind::DeploymentWindow, shop::NAMESPACE, "frost");
    let _ = turn.server.delete(&Caller::new(User::new("dora", &[])), &key, &Preconditions::default(), None);
}

/// What a source says that says nothing of use.
fn babble(random: &mut fastrand::Rng) -> Spoken {
    let vector = |values: &[&str]| {
        let series = values
            .iter()
            .enumerate()
            .map(|(index, value)| json!({"metric": {"pod": index.to_string()}, "value": [1_780_480_800, value]}));
        Spoken::json(
            json!({"status": "success", "data": {"resultType": "vector", "result": series.collect::<Vec<_>>()}})
                .to_string(),
        )
    };
    let http = |status, content_type, body: &str| Spoken::Http { status, content_type, body: body.into() };
    match random.u8(0..16) {
        0 => vector(&["NaN"]),
        1 => vector(&["+Inf"]),
        2 => vector(&["-Inf"]),
        3 => vector(&["0", "0"]),
        4 => vector(&[]),
        5 => vector(&["none"]),
        6 => vector(&["1e400"]),
        7 => http(200, "text/html; charset=utf-8", "<html><body>Sign in</body></html>"),
        8 => http(200, "application/json", "<html><body>Sign in</body></html>"),
        9 => http(200, "application/json", r#"{"status":"success","data":{"resultType":"vector","res"#),
        10 => http(200, "application/json", "{}"),
        11 => http(200, "application/json", ""),
        12 => http(503, "application/json", r#"{"status":"error","errorType":"timeout","error":"0"}"#),
        13 => http(500, "text/plain", "0"),
        14 => http(
            200,
            "application/json",
            r#"{"status":"success","data":{"resultType":"string","result":[1780480800,"0"]}}"#,
        ),
        _ => Spoken::Silence(Duration::from_secs(10)),
    }
}

/// The truth, in the adapter's own format, as far as it is told.
pub fn told(objects: &Snapshot, query: &str, part: u8, chance: &Mutex<fastrand::Rng>) -> Spoken {
    let mut chance = chance.lock();
    if chance.u8(0..100) < part { babble(&mut chance) } else { by_image(objects, query).into() }
}

/// A good version's number, now and then as high as a bad one's.
pub fn flapping(spoken: Spoken, part: u8, chance: &Mutex<fastrand::Rng>) -> Spoken {
    let flaps = part > 0 && chance.lock().u8(0..100) < part;
    if flaps && spoken == Spoken::Sample(Sample::Value(0.0)) { Sample::Value(0.5).into() } else { spoken }
}
