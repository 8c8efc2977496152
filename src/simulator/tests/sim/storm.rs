//! A whole release in random weather: others act, requests meet trouble, caches are behind, numbers are missing.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use lockkeeper_adapters::metric::{NoData, Sample};
use lockkeeper_simulator::{
    api::{
        Call, Disposition, Fault, Key, Kind, Object, Rumour, Snapshot, Verb,
        object::{list, name, text},
    },
    run::{Plot, Sim, Skew, shop},
    world::{Actor, Script, Turn, When, by_image, people},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    Told, act, before,
    common::{STEPS, ask_for, at, plot, release},
    end,
    gale::Gale,
    sky::{self, Size, Sky},
    swell::{self, Swell},
};

/// How many lists of steps there are.
const LISTS: usize = 3;

/// A list of steps. In a small shop nobody waits longer than it takes to measure once or twice.
fn steps(list: usize, size: Size) -> Value {
    match size {
        Size::Usual => long(list, ["30s", "60s", "20s"]),
        Size::Small { .. } => long(list, ["5s", "10s", "5s"]),
        Size::Running { .. } => short(list),
    }
}

fn long(list: usize, [early, analysis, late]: [&str; 3]) -> Value {
    match list {
        0 => json!([{"setWeight": 10}, {"pause": {"duration": early}}, {"setWeight": 50}, {"setWeight": 100}]),
        1 => {
            json!([{"setWeight": 5}, {"analysis": {"policy": "slo", "duration": analysis}}, {"setWeight": 40}, {"setWeight": 80}])
        }
        _ => json!([
            {"setWeight": 20}, {"approval": {"name": "go"}}, {"setWeight": 60}, {"pause": {"duration": late}}, {"setWeight": 100},
        ]),
    }
}

fn short(list: usize) -> Value {
    match list {
        0 => json!([{"setWeight": 10}, {"pause": {"duration": "5s"}}, {"setWeight": 100}]),
        1 => json!([{"setWeight": 5}, {"analysis": {"policy": "slo", "duration": "10s"}}, {"setWeight": 80}]),
        _ => json!([{"setWeight": 20}, {"approval": {"name": "go"}}, {"setWeight": 100}]),
    }
}

/// What a seed means.
#[derive(Debug)]
struct Weather {
    steps: usize,
    /// There is never a number about the candidate.
    blind: bool,
    /// One of so many requests meets trouble; 0: none.
    rarely: u32,
    lag: Duration,
    two: bool,
    frozen: bool,
    bake: bool,
    acts: u8,
}

impl Weather {
    fn new(random: &mut fastrand::Rng) -> Self {
        Self {
            steps: random.usize(0..LISTS),
            blind: random.u8(0..8) == 0,
            rarely: [0, 200, 60, 25][random.usize(0..4)],
            lag: Duration::from_millis([0, 0, 300, 900][random.usize(0..4)]),
            two: random.u8(0..6) == 0,
            frozen: random.u8(0..4) == 0,
            bake: random.u8(0..3) == 0,
            acts: random.u8(0..4),
        }
    }
}

/// When the storm is over, people approve whatever waits for them, resume what is held, and end what can never be known.
struct Helpers {
    /// How long it storms.
    storm: Duration,
    start: Option<Timestamp>,
    done: BTreeSet<String>,
    blind: bool,
}

impl Actor for Helpers {
    fn watches(&self) -> &'static [Kind] {
        &[Kind::Release]
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let over = *self.start.get_or_insert(turn.now) + self.storm;
        if turn.now < over {
            return Some(over);
        }
        let ours = turn.server.store().objects().within(Kind::Release, shop::NAMESPACE);
        let ours: Vec<_> = ours.filter(|release| !end::is_hostile(name(release))).cloned().collect();
        let again: Vec<Timestamp> = ours.iter().filter_map(|release| self.help(release, turn)).collect();
        again.into_iter().min()
    }
}

impl Helpers {
    fn help(&mut self, object: &Object, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let own = Key::new(Kind::Release, shop::NAMESPACE, name(object));
        let status = &object["status"];
        let revision = text(&status["candidate"]["revision"]);
        // An attempt that is made again asks again, and so does a Release that comes again.
        let uid = text(&object["metadata"]["uid"]);
        let spent = list(&status["decisions"]).iter().filter(|decision| decision["spent"] == true).count();
        let closed =
            list(&status["gates"]).iter().filter(|gate| gate["kind"] == "Approval" && gate["state"] == "Closed");
        for gate in closed.map(|gate| text(&gate["name"])) {
            for who in ["ada", "otto"] {
                if self.done.insert(format!("{uid} {who} {gate} {revision} {spent}")) {
                    people::decide(who, &own, "Approve", Some(gate))(turn);
                }
            }
        }
        if object["spec"]["suspend"] == true {
            act::release_all(turn);
        }
        let scale = turn.server.get(&shop::key(Kind::Deployment)).map(|d| d["spec"]["replicas"].clone());
        if scale.is_ok_and(|scale| scale == 0) {
            people::scale(&shop::key(Kind::Deployment), 3)(turn);
        }
        let minute = turn.now.as_second() / 60;
        let said = text(&status["message"]);
        if said.contains("resume it") && self.done.insert(format!("{uid} {minute} resume")) {
            people::change("dora", &shop::key(Kind::Deployment), |object| object["spec"]["paused"] = json!(false))(
                turn,
            );
        }
        // Where nothing is left of what ran, what went back is all that there is.
        let bereft = status["stable"].is_null() && said.contains("decide Retry");
        if bereft && self.done.insert(format!("{uid} {minute} retry")) {
            people::decide("ada", &own, "Retry", None)(turn);
        }
        // A hold, each minute anew; what is blind has to be ended.
        let held = !status["hold"].is_null() || said.contains("no data");
        if held && self.done.insert(format!("{own} {minute} {revision}")) {
            let verdict = if self.blind || minute % 3 == 0 { "Abort" } else { "Resume" };
            people::decide("ada", &own, verdict, None)(turn);
        }
        matches!(text(&status["phase"]), "Paused" | "Progressing" | "Waiting")
            .then(|| turn.now + Duration::from_secs(61))
    }
}

fn objects(weather: &Weather, Sky { size, frozen, .. }: &Sky, begins: Timestamp) -> Vec<Value> {
    let mut release = shop::release(steps(weather.steps, *size));
    if weather.steps == 2 {
        release["spec"]["gates"] = json!({"approvals": [{"name": "go", "required": 2}]});
    }
    let mut policy = shop::policy();
    if weather.bake {
        policy["spec"]["bake"] = json!("25s");
    }
    let mut objects = vec![shop::deployment("1.0.0", size.replicas()), shop::service(), shop::route(), policy, release];
    if weather.frozen {
        let after = |seconds| size.after(Duration::from_secs(seconds)).as_secs();
        objects.push(swell::freeze("freeze", begins, (after(20), after(120))));
    }
    objects.extend(frozen.map(|until| swell::freeze("closed", begins, (0, until.as_secs()))));
    objects
}

/// When users ask for a version: where 1.0.0 runs already, perhaps before the operator has read what there is.
fn first(size: Size, seed: u64) -> When {
    match size {
        Size::Usual | Size::Small { .. } => When::Once(Box::new(|objects: &Snapshot| at(objects, "Stable", "1.0.0"))),
        Size::Running { .. } => {
            When::At(Duration::from_millis(fastrand::Rng::with_seed(seed ^ 0x6173_6b00).u64(0..2000)))
        }
    }
}

fn plan(
    seed: u64,
    lines: bool,
    (weather, sky, swell): (&Weather, &Sky, &Swell),
    random: &mut fastrand::Rng,
    storms: &Arc<AtomicBool>,
) -> Plot {
    let mut plot = Plot { lines, ..plot(seed, STEPS) };
    // One piece of news waits for the one before it, and a decision that met a conflict is taken again a moment later.
    plot.known_after += weather.lag;
    sky.begin(&mut plot);
    plot.objects = objects(weather, sky, plot.begins);
    let version = ["2.0.0", "2.0.0", "2.0.0", "2.0.0-errors10"][random.usize(0..4)];
    let helpers = Helpers { storm: sky.size.storm(), start: None, done: BTreeSet::new(), blind: weather.blind };
    let first = first(sky.size, seed);
    plot.actors = vec![Box::new(Script::default().then(first, ask_for(version))), Box::new(helpers)];
    let mut script = Script::default();
    for _ in 0..weather.acts.min(sky.size.acts()) {
        let after = sky.size.after(Duration::from_millis(random.u64(0..60_000)));
        script = script.then(When::After(after), act::act(random));
    }
    plot.actors.push(Box::new(script));
    if weather.steps == 2 {
        // Eager, and twice.
        let approve = || people::decide("olga", &shop::key(Kind::Release), "Approve", Some("go"));
        let asked = When::Once(Box::new(|objects: &Snapshot| release(objects)["status"]["weight"]["confirmed"] == 20));
        plot.actors.push(Box::new(
            Script::default().then(asked, approve()).then(When::After(Duration::from_secs(1)), approve()),
        ));
    }
    let (blind, storms, chance) = (weather.blind, storms.clone(), Mutex::new(random.fork()));
    let (babble, flaps, noise) = (sky.babble, sky.flaps, Mutex::new(fastrand::Rng::with_seed(seed)));
    plot.truth = Arc::new(move |objects: &Snapshot, query: &str| {
        let reason = [NoData::Empty, NoData::NotANumber, NoData::Infinite][chance.lock().usize(0..3)];
        if blind || (storms.load(Relaxed) && chance.lock().u8(0..4) == 0) {
            return Sample::NoData { reason }.into();
        }
        if !storms.load(Relaxed) {
            return by_image(objects, query).into();
        }
        sky::flapping(sky::told(objects, query, babble, &noise), flaps, &noise)
    });
    sky.over(&mut plot, seed);
    swell.over(&mut plot);
    if let Size::Running { .. } = sky.size {
        before::runs(&mut plot);
    }
    plot
}

/// One of so many requests meets trouble. What a list that is behind (`old`) lacks, its watch tells: that one is not held up, or nobody could
/// know of a window that was there from the beginning.
fn trouble(mut chance: fastrand::Rng, rarely: u32, old: bool) -> impl Fault {
    move |call: &Call, _: u64, _: u64| {
        if chance.u32(0..rarely) > 0 {
            return Disposition::Pass;
        }
        let fault = act::fault(chance.u64(0..act::FAULTS), call, Duration::from_millis(chance.u64(1..30_000)));
        if old && matches!(call.verb, Verb::Watch { .. }) { Disposition::Pass } else { fault }
    }
}

/// Plays a seed.
pub fn play(seed: u64, lines: bool) -> Result<Told, String> {
    play_with(seed, (Sky::new(seed), &Gale::none(), &Swell::default()), lines)
}

/// Plays a seed in a small shop. Its storm is one that no seed of [`play`] has.
pub fn breeze(seed: u64, lines: bool) -> Result<Told, String> {
    let storm = seed | 1 << 42;
    play_with(storm, (Sky::small(storm), &Gale::none(), &Swell::default()), lines)
}

/// Plays a seed in a small shop in which 1.0.0 runs already. Its storm is one that no seed of [`play`] has.
pub fn air(seed: u64, lines: bool) -> Result<Told, String> {
    let storm = seed | 1 << 43;
    play_with(storm, (Sky::running(storm), &Gale::none(), &Swell::default()), lines)
}

/// Plays a seed with more of everything. Its storm is one that no seed of [`play`] has.
pub fn gale(seed: u64, lines: bool) -> Result<Told, String> {
    let storm = seed | 1 << 40;
    play_with(storm, (Sky::new(storm), &Gale::new(seed), &Swell::default()), lines)
}

/// Plays a seed with more about operators and watches. Its storm is one that no seed of [`play`] has.
pub fn swell(seed: u64, lines: bool) -> Result<Told, String> {
    let storm = seed | 1 << 41;
    play_with(storm, (Sky::new(storm), &Gale::none(), &Swell::new(seed)), lines)
}

/// All that a seed means.
struct Seed<'a> {
    number: u64,
    weather: Weather,
    sky: Sky,
    gale: &'a Gale,
    swell: &'a Swell,
}

fn play_with(number: u64, (sky, gale, swell): (Sky, &Gale, &Swell), lines: bool) -> Result<Told, String> {
    let mut random = fastrand::Rng::with_seed(number ^ 0x0005_7042);
    let seed = Seed { number, weather: Weather::new(&mut random), sky, gale, swell };
    let storms = Arc::new(AtomicBool::new(true));
    let mut plot = plan(number, lines, (&seed.weather, &seed.sky, swell), &mut random, &storms);
    gale.over(&mut plot);
    let skew = plot.skew.clone();
    let played = Sim::play(plot, async |sim: &mut Sim| {
        // Who writes without end, or cannot be started, has its trace told, too.
        let wrong = seed.play(sim, random, &storms, &skew).await.unwrap_or_else(|error| vec![error.to_string()]);
        if wrong.is_empty() {
            return Ok(end::told(sim));
        }
        let status = release(sim.shared.lock().store().objects())["status"].clone();
        let trace = if lines { end::whole(sim) } else { String::new() };
        let Seed { weather, sky, .. } = &seed;
        let told = format!("{} ({})\n  {weather:?} {sky:?} {gale:?} {swell:?}", wrong.join("\n  "), status["message"]);
        Err(format!("{told}\n{trace}").into())
    });
    played.map_err(|error| error.to_string())
}

impl Seed<'_> {
    /// The whole run, and what was wrong.
    async fn play(
        &self,
        sim: &mut Sim,
        random: fastrand::Rng,
        storms: &AtomicBool,
        skew: &Skew,
    ) -> Result<Vec<String>, Box<dyn Error>> {
        self.strike(sim, random).await?;
        storms.store(false, Relaxed);
        // From here on nothing strikes any more, and the clock is right again.
        sim.calm();
        skew.jump(-skew.ahead(), sim.now());
        for number in sim.running().into_iter().skip(1) {
            sim.kill(number);
        }
        self.end(sim).await
    }

    /// The storm.
    async fn strike(&self, sim: &mut Sim, mut random: fastrand::Rng) -> Result<(), Box<dyn Error>> {
        let Self { number, weather, sky, gale, swell } = self;
        let rarely = weather.rarely;
        if rarely > 0 {
            sim.next_fault(trouble(random.fork(), rarely, swell.dies()));
        }
        if swell.lasts {
            let mut later = fastrand::Rng::with_seed(number ^ 0x006c_6174_6572);
            let old = swell.dies();
            sim.lasts((rarely > 0).then_some(move || Box::new(trouble(later.fork(), rarely, old)) as Box<dyn Fault>));
        }
        sim.start()?;
        if weather.two {
            sim.start()?;
        }
        sim.lag(weather.lag);
        // As above, and so of two the caches are told as usual.
        sim.rumour(if weather.two { Rumour::default() } else { swell.rumour(sky.rumour) });
        sim.unanswered(swell.unanswered);
        let storm = sky.size.storm();
        let over = tokio::time::Instant::now() + storm;
        if !weather.two {
            if let Some((after, stall)) = swell.stall {
                sim.stall(after, stall);
            }
            swell.kill(sim, storm).await?;
        }
        if let Some((after, away)) = gale.away {
            sim.pass(after).await?;
            for number in sim.running() {
                sim.kill(number);
            }
            sim.pass(away).await?;
            sim.start()?;
        }
        sim.pass(over.saturating_duration_since(tokio::time::Instant::now())).await?;
        Ok(())
    }

    /// Waits until all has ended, and says what was wrong.
    async fn end(&self, sim: &mut Sim) -> Result<Vec<String>, Box<dyn Error>> {
        let (calm, begun) = (sim.now(), sim.writes());
        let (between, rest) = self.sky.size.rests(self.number);
        let mut ended = Ok(());
        // What is at rest between two releases goes on in a moment; and people may regret what they have got, and that again.
        for what in ["settled", "settled again", "settled at last"] {
            ended = ended.and(sim.until(what, Duration::from_secs(3 * 3600), end::settled).await);
            sim.pass(between).await?;
        }
        // When the window has ended its status says so.
        sim.pass(self.sky.frozen.unwrap_or_default()).await?;
        let writes = sim.writes();
        sim.pass(rest).await?;
        let mut wrong: Vec<String> = sim.report.violations().iter().map(|violation| format!("{violation:?}")).collect();
        wrong.extend(ended.err().map(|late| late.to_string()));
        if sim.writes() != writes {
            wrong.push(format!("S12: {} writes at rest", sim.writes() - writes));
        }
        wrong.extend(end::stuck(sim, calm));
        wrong.extend(end::untrue(sim, self.weather.two));
        wrong.extend(end::unserved(sim));
        let objects = sim.shared.lock().store().objects().clone();
        if writes - begun > end::converges_within(&objects) {
            wrong.push(format!("it took {} writes until everything had ended", writes - begun));
        }
        if !self.weather.two {
            wrong.extend(end::looped(sim));
        }
        wrong.extend(end::unheard(&objects));
        wrong.extend(end::unsaved(&objects));
        if !objects.get(&shop::key(Kind::Release)).is_some_and(|release| end::lost(release, &objects)) {
            wrong.extend(end::left_over(&objects, self.sky.adopts()));
        }
        wrong.extend(self.passed(sim, &objects));
        Ok(wrong)
    }

    /// What was promoted, or got its weight, against what gates and checks said.
    fn passed(&self, sim: &Sim, objects: &Snapshot) -> Vec<String> {
        let Self { weather, sky, .. } = self;
        let mut wrong = Vec::new();
        if weather.blind && end::promoted_with_pods(sim, |_| true) && !end::forced(objects) {
            wrong.push("S6: promoted without a single number".into());
        }
        let wide = end::statuses(sim)
            .iter()
            .any(|(_, status)| status["weight"]["desired"].as_u64().is_some_and(|weight| weight >= 60));
        let unchanged = !end::ever(sim, Kind::Release, |release| {
            let (spec, key) = (&release["spec"], name(release));
            key == shop::NAME
                && (list(&spec["strategy"]["canary"]["steps"]).len() != list(&steps(weather.steps, sky.size)).len()
                    || spec["gates"]["approvals"][0]["name"] != "go")
        });
        if weather.steps == 2 && unchanged && wide && !end::approved(objects) && end::promoted(sim) {
            wrong.push("S10: the gate opened without two people".into());
        }
        let version = text(&release(objects)["status"]["stable"]["version"]);
        let lax = end::ever(sim, Kind::RollbackPolicy, |policy| policy["spec"]["checks"][0]["max"] == 1);
        let bad = |version: &str| (version.contains("errors") && !lax) || version.contains("crash");
        if bad(version) && end::promoted_with_pods(sim, bad) && !end::forced(objects) {
            wrong.push(format!("S6: {version} was promoted"));
        }
        wrong
    }
}
