//! What else may befall a seed. It is drawn for itself, so that what storm.rs draws stays as it was.

use std::time::Duration;

use jiff::SignedDuration;
use lockkeeper_adapters::metric::Sample;
use lockkeeper_simulator::{
    api::{
        Key, Kind, Rumour, Snapshot,
        object::{name, text},
    },
    run::{Plot, Skew, shop},
    world::{Script, Spoken, Turn, When, by_image, people},
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{act, end, gone};

/// The second workload of our Release.
const SECOND: &str = "api";
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
    /// What is deleted for good, after which time.
    taken: Option<(Duration, u8)>,
    /// What else somebody does with our Deployment, and when.
    meddled: Option<(Duration, u8)>,
    /// When its pods are told that their configuration has changed.
    reloaded: Option<Duration>,
    /// Until when no version may start.
    pub frozen: Option<Duration>,
    /// How many Releases of others run beside ours.
    pub neighbours: u8,
    /// Whether our Release has a second workload.
    pub wide: bool,
    /// How large our shop is.
    pub size: Size,
}

/// How large a shop is, and how much goes on there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Four pods of a workload, and people who come back again and again.
    Usual,
    /// So many pods, steps that nobody waits at, and people who leave it alone but for once.
    Small {
        /// One or two.
        replicas: u32,
    },
    /// The same with fewer steps, where 1.0.0 runs already when the seed begins, and all that befalls it does so sooner.
    Running {
        /// One or two.
        replicas: u32,
    },
}

/// How long it storms in a usual shop, in seconds.
const STORM: u32 = 150;

impl Size {
    /// Pods of each workload, in the beginning.
    pub fn replicas(self) -> u32 {
        match self {
            Self::Usual => 4,
            Self::Small { replicas } | Self::Running { replicas } => replicas,
        }
    }

    /// How often people do something meanwhile, at most.
    pub fn acts(self) -> u8 {
        match self {
            Self::Usual => u8::MAX,
            Self::Small { .. } | Self::Running { .. } => 1,
        }
    }

    /// How long it storms.
    pub fn storm(self) -> Duration {
        let seconds = match self {
            Self::Usual | Self::Small { .. } => STORM,
            Self::Running { .. } => STORM * 2 / 5,
        };
        Duration::from_secs(seconds.into())
    }

    /// When that befalls it which would befall a usual shop after so long.
    pub fn after(self, usual: Duration) -> Duration {
        let storm = self.storm().as_secs();
        usual * u32::try_from(storm).unwrap() / STORM
    }

    /// How long it is looked at between the ends of what happens, and in a seed of this number when all is over.
    pub fn rests(self, number: u64) -> (Duration, Duration) {
        let rest = end::rest(number);
        match self {
            Self::Usual | Self::Small { .. } => (Duration::from_secs(60), rest),
            // Beyond the time after which watches are renewed in one of forty only.
            Self::Running { .. } if number.is_multiple_of(40) || number % 1000 == 999 => {
                (Duration::from_secs(60), rest)
            }
            Self::Running { .. } => (Duration::from_secs(20), Duration::from_secs(40)),
        }
    }
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
        Self {
            rumour: if rumours { rumour } else { Rumour::default() },
            jumps: if clocks { jumps } else { Vec::new() },
            begins: nights.then_some(night),
            babble: if babbles { random.u8(5..60) } else { 0 },
            flaps: if babbles && random.bool() { random.u8(5..50) } else { 0 },
            recreated: if recreates { recreated } else { Vec::new() },
            taken: None,
            meddled: None,
            reloaded: None,
            frozen: None,
            neighbours: if neighbours { random.u8(1..3) } else { 0 },
            wide,
            size: Size::Usual,
        }
    }

    /// Over a small shop: one workload, and nobody beside it.
    pub fn small(seed: u64) -> Self {
        Self { size: Size::Small { replicas: Self::few(seed) }, ..Self::alone(seed) }
    }

    /// Over a small shop that runs already.
    pub fn running(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x7461_6b65_6e00);
        let which = gone::MADE_AGAIN[random.usize(0..gone::MADE_AGAIN.len())];
        let taken = (random.u8(0..5) == 0).then(|| (Duration::from_millis(random.u64(0..60_000)), which));
        let mut random = fastrand::Rng::with_seed(seed ^ 0x6672_6f7a_656e);
        // What runs is taken away while another version waits, or once all is over, and its absence lasts longer than anybody's patience.
        let waits = random.u8(0..10) == 0;
        let late = waits.then(|| (Duration::from_millis(random.u64(0..145_000)), gone::MADE_AGAIN[0]));
        let frozen = (waits && random.bool()).then_some(Duration::from_secs(240));
        let meddled = random.u8(0..6) == 0;
        let meddled = meddled.then(|| (Duration::from_millis(random.u64(0..100_000)), random.u8(0..act::MEDDLINGS)));
        let reloaded = (random.u8(0..12) == 0).then(|| Duration::from_millis(random.u64(0..100_000)));
        let size = Size::Running { replicas: Self::few(seed) };
        Self { size, taken: late.or(taken), meddled, reloaded, frozen, ..Self::alone(seed) }
    }

    fn alone(seed: u64) -> Self {
        Self { neighbours: 0, wide: false, ..Self::new(seed) }
    }

    fn few(seed: u64) -> u32 {
        fastrand::Rng::with_seed(seed ^ 0x736d_616c_6c00).u32(1..=2)
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
        if self.rumour != Rumour::default() {
            // A watch that fails again and again is tried again after half a minute or more.
            plot.known_after = Duration::from_secs(90);
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
            plot.actors.push(Box::new(gone::recreate(self.size.after(*after), *away, *which, &plot.objects)));
        }
        if let Some((after, which)) = self.taken {
            plot.actors.push(Box::new(gone::take(self.size.after(after), which)));
        }
        if let Some((after, which)) = self.meddled {
            plot.actors.push(Box::new(act::meddle(self.size.after(after), which)));
        }
        if let Some(after) = self.reloaded {
            let reload = act::annotate("checksum/config");
            plot.actors.push(Box::new(Script::default().then(When::After(self.size.after(after)), reload)));
        }
    }

    /// Whether the Release is deleted and comes again.
    pub fn adopts(&self) -> bool {
        self.recreated.iter().any(|(_, _, which)| *which == gone::RELEASE)
    }

    fn clock(&self, skew: &Skew) -> Script {
        self.jumps.iter().fold(Script::default(), |script, (after, by)| {
            let (skew, by) = (skew.clone(), SignedDuration::from_secs(*by));
            script.then(When::After(self.size.after(*after)), move |turn: &mut Turn<'_>| skew.jump(by, turn.now))
        })
    }
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
