//! What others do meanwhile, and what befalls requests.

use std::time::Duration;

use lockkeeper_api::names::RESTARTED_AT;
use lockkeeper_simulator::{
    api::{Call, Caller, Disposition, Key, Kind, Part, Preconditions, Status, User, object::name},
    run::shop,
    world::{Act, Script, Turn, When, people},
};
use serde_json::json;

/// How many kinds of acts there are.
const ACTS: u8 = 22;

/// Something that somebody does.
pub fn act(random: &mut fastrand::Rng) -> Act {
    let (deployment, own) = (shop::key(Kind::Deployment), shop::key(Kind::Release));
    let tags = ["1.0.0", "2.1.0", "2.2.0-errors20", "2.3.0-crash", "2.4.0-neverready"];
    match random.u8(0..ACTS) {
        0 => people::scale(&deployment, random.u32(0..8)),
        1 => people::sync(shop::route()),
        2 => people::sync(shop::service()),
        3 => people::change("dora", &deployment, |deployment| deployment["spec"]["paused"] = json!(false)),
        4..=6 => people::set_image("dora", &deployment, &shop::image(tags[random.usize(0..tags.len())])),
        7 => people::decide("olga", &own, "Abort", None),
        8 => people::decide("olga", &own, "Promote", None),
        9 => people::decide("olga", &own, "Skip", None),
        10 => people::change("dora", &own, |release| {
            release["spec"]["strategy"]["canary"]["steps"] = json!([{"setWeight": 30}, {"setWeight": 60}])
        }),
        11 => people::decide("olga", &own, "Rollback", None),
        12 => people::decide("olga", &own, "Pause", None),
        13 => people::decide("olga", &own, "Retry", None),
        14 => people::change("dora", &own, |release| release["spec"]["suspend"] = json!(true)),
        15 => people::decide("olga", &own, "Approve", Some("go")),
        16 => people::decide("olga", &own, "Override", Some("windows")),
        17 => Box::new(|turn: &mut Turn<'_>| turn.server.compact()),
        18 => hostile(),
        19 => people::scale(&deployment, 0),
        _ => pod(random.bool()),
    }
}

/// A Release that cannot work, beside ours.
fn hostile() -> Act {
    Box::new(|turn: &mut Turn<'_>| {
        let mut release = shop::release(json!([{"setWeight": 1}]));
        release["metadata"]["name"] = json!("hostile");
        release["spec"]["rollbackPolicy"] = json!("missing");
        release["spec"]["workloads"][0]["ref"]["name"] = json!("missing");
        let caller = Caller::new(User::new("eve", &[]));
        let _ = turn.server.create(&caller, Kind::Release, shop::NAMESPACE, release);
    })
}

/// Somebody deletes a pod: the first or the last by name.
fn pod(first: bool) -> Act {
    Box::new(move |turn: &mut Turn<'_>| {
        let pods: Vec<String> =
            turn.server.store().objects().within(Kind::Pod, shop::NAMESPACE).map(|pod| name(pod).to_owned()).collect();
        let Some(pod) = (if first { pods.first() } else { pods.last() }) else { return };
        let key = Key::new(Kind::Pod, shop::NAMESPACE, pod.as_str());
        let _ = turn.server.delete(&Caller::new(User::new("dora", &[])), &key, &Preconditions::default(), None);
    })
}

/// How many ways there are to meddle.
pub const MEDDLINGS: u8 = 3;

/// What somebody does to a Deployment that asks for no other version.
pub fn meddle(after: Duration, which: u8) -> Script {
    let pause = |paused: bool| {
        people::change("dora", &shop::key(Kind::Deployment), move |object| object["spec"]["paused"] = json!(paused))
    };
    let script = Script::default();
    match which {
        0 => script.then(When::After(after), annotate(RESTARTED_AT)),
        1 => script.then(When::After(after), pause(true)).then(When::After(Duration::from_secs(8)), pause(false)),
        _ => script.then(When::After(after), |turn: &mut Turn<'_>| {
            let saved = turn.server.store().objects().within(Kind::ControllerRevision, shop::NAMESPACE);
            let saved: Vec<String> = saved.map(|saved| name(saved).to_owned()).collect();
            for name in saved {
                people::delete("dora", &Key::new(Kind::ControllerRevision, shop::NAMESPACE, name))(turn);
            }
        }),
    }
}

/// Annotates the pods with the time: `kubectl rollout restart` of what may be paused, too, as others do that; or what makes another version of it.
pub fn annotate(annotation: &'static str) -> Act {
    Box::new(move |turn: &mut Turn<'_>| {
        let at = turn.now.to_string();
        people::change("dora", &shop::key(Kind::Deployment), move |deployment| {
            deployment["spec"]["template"]["metadata"]["annotations"][annotation] = at.into();
        })(turn);
    })
}

/// Nobody holds it up any more: no suspension, a scale above nothing, and no hold.
pub fn release_all(turn: &mut Turn<'_>) {
    let caller = Caller::new(User::new("dora", &[]));
    let _ = turn.server.update(&caller, &shop::key(Kind::Release), Part::Main, |release| {
        let mut release = release.clone();
        release["spec"]["suspend"] = json!(false);
        Ok(release)
    });
}

/// Every fault that there is.
pub const FAULTS: u64 = 17;

/// The fault of this number.
pub fn fault(number: u64, call: &Call, delay: Duration) -> Disposition {
    let refuse = |code, reason, again| Disposition::Refuse(Status::new(code, reason, "simulated"), again);
    match number {
        0 => Disposition::Kill { done: false },
        1 => Disposition::Kill { done: true },
        2 => Disposition::Refuse(Status::not_found(&call.key), None),
        3 => Disposition::Refuse(Status::conflict(&call.key), None),
        4 => refuse(410, "Expired", None),
        5 => Disposition::Refuse(Status::invalid(&call.key, &[("spec".into(), "simulated".into())]), None),
        6 => refuse(429, "TooManyRequests", Some(1)),
        7 => refuse(500, "InternalError", None),
        8 => refuse(503, "ServiceUnavailable", None),
        9 => refuse(503, "ServiceUnavailable", Some(5)),
        10 => Disposition::TimeOut { after: delay, done: true },
        11 => Disposition::TimeOut { after: delay, done: false },
        12 => Disposition::Cut,
        13 => Disposition::Truncate,
        14 => Disposition::Delay(delay),
        15 => Disposition::Refuse(Status::denied(&call.key, "somebodys-policy", "simulated"), None),
        16 => refuse(504, "Timeout", None),
        _ => Disposition::Pass,
    }
}
