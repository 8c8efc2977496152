//! What came to the weather later. It is drawn for itself, so that seeds that have found something keep their weather.

use std::time::Duration;

use lockkeeper_simulator::{
    api::{Caller, Key, Kind, Preconditions, Rumour, Snapshot, Stall, User, object::text},
    run::{Plot, Sim, shop},
    world::{Script, Turn, When, people},
};
use serde_json::json;
use tokio::time::Instant;

use crate::common::{Result, ask_for, release};

/// How far behind replicas are when an operator starts in the place of another.
const OLD: Duration = Duration::from_secs(5);

/// What a seed means beside its weather and its sky.
#[derive(Debug, Default)]
pub struct Swell {
    /// Whether the weather is the same for operators that take the place of one that has died.
    pub lasts: bool,
    /// After which time watches hear nothing for a while.
    pub stall: Option<(Duration, Stall)>,
    /// Of a hundred events for people, the answers to so many are lost.
    pub unanswered: u8,
    /// Whether the Deployment has had a version before.
    aged: bool,
    /// After which time somebody takes away a freeze without end.
    thaws: Option<Duration>,
    /// So long after it was promoted people want something else; and then, after a while, something else again.
    regrets: Option<[(Duration, u8); 2]>,
    /// How long Kubernetes' controllers take to notice a change, at most, in milliseconds; 0: as usual.
    tardy: u64,
    /// So long after the next phase has begun the operator dies, if it does, and another one lists from replicas that are behind; and so on.
    deaths: Vec<Option<Duration>>,
}

impl Swell {
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x7377_656c);
        let [stalls, deaf, aged, frost, regrets, dies] = [3, 3, 3, 8, 3, 2].map(|of| random.u8(0..of) == 0);
        let thaw = random.u64(5_000..40_000);
        // With the freeze, and whatever else is deleted while nobody listens.
        let stall = if frost {
            let (early, late) = (random.u64(0..1000), random.u64(100..4000));
            let stall = Stall { kind: None, lasts: Duration::from_millis(early + late), forgotten: true };
            (Duration::from_millis(thaw - early), stall)
        } else {
            Self::silence(&mut random)
        };
        let unanswered = random.u8(10..60);
        let wishes =
            [(5, 20_000), (5, 25_000)].map(|(of, most)| (Duration::from_millis(random.u64(0..most)), random.u8(0..of)));
        let deaths = (0..8).map(|_| random.bool().then(|| Duration::from_millis(random.u64(0..2500))));
        let deaths: Vec<_> = deaths.collect();
        Self {
            lasts: true,
            deaths: if dies { deaths } else { Vec::new() },
            tardy: [0, 0, 800][random.usize(0..3)],
            stall: (stalls || frost).then_some(stall),
            unanswered: if deaf { unanswered } else { 0 },
            aged,
            thaws: frost.then_some(Duration::from_millis(thaw)),
            regrets: regrets.then_some(wishes),
        }
    }

    /// Watches that hear nothing for a while: all of them, and what happens meanwhile is forgotten; or those of a kind of which each write says what
    /// it was decided on.
    fn silence(random: &mut fastrand::Rng) -> (Duration, Stall) {
        let kind = match random.u8(0..5) {
            0 => None,
            1 => Some(Kind::Release),
            _ => Some(Kind::ReplicaSet),
        };
        // Also while the first version starts, and for as long as the next one needs for that.
        let (after, lasts) = match (kind, random.u8(0..3) > 0) {
            (Some(_), true) => (random.u64(20..700), random.u64(5000..20_000)),
            (Some(_), false) => (random.u64(0..60_000), random.u64(500..15_000)),
            (None, _) => (random.u64(0..60_000), random.u64(500..5000)),
        };
        let lasts = Duration::from_millis(lasts);
        (Duration::from_millis(after), Stall { kind, lasts, forgotten: kind.is_none() || random.bool() })
    }

    /// Whether operators die again and again.
    pub fn dies(&self) -> bool {
        !self.deaths.is_empty()
    }

    /// How news of watches travels, where it would so otherwise.
    pub fn rumour(&self, otherwise: Rumour) -> Rumour {
        if self.dies() { Rumour { old: OLD, ..otherwise } } else { otherwise }
    }

    /// Brings it about.
    pub fn over(&self, plot: &mut Plot) {
        if self.tardy > 0 {
            plot.notices_after = (1, self.tardy);
        }
        if self.dies() {
            plot.known_after = plot.known_after.max(Duration::from_millis(1500));
            // Whoever starts in the place of another sees them as old as that, until it has caught up.
            plot.endpoints_known_after = OLD + Duration::from_secs(1);
        }
        // Of pods endpoints tell, too.
        if let Some((_, stall)) = self.stall.filter(|(_, stall)| stall.kind != Some(Kind::ReplicaSet)) {
            plot.known_after = plot.known_after.max(stall.lasts + Duration::from_secs(5));
        }
        if self.aged {
            plot.objects.push(shop::history("0.9.0"));
        }
        if let Some(wishes) = self.regrets {
            plot.actors.push(Box::new(regrets(wishes)));
        }
        if let Some(after) = self.thaws {
            plot.objects.push(freeze("frost", plot.begins, (0, 400_000_000)));
            plot.actors.push(Box::new(Script::default().then(When::After(after), thaw)));
        }
    }

    /// Lets operators die; gives up when it has not come to that within a time.
    pub async fn kill(&self, sim: &mut Sim, within: Duration) -> Result {
        let end = Instant::now() + within;
        let left = || end.saturating_duration_since(Instant::now());
        let phase = |objects: &Snapshot| release(objects)["status"]["phase"].clone();
        for death in &self.deaths {
            let before = phase(sim.shared.lock().store().objects());
            if sim.until("another phase", left(), |objects| phase(objects) != before).await.is_err() {
                break;
            }
            let Some(after) = death else { continue };
            sim.pass(left().min(*after)).await?;
            for number in sim.running() {
                sim.replace(number)?;
            }
        }
        Ok(())
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
