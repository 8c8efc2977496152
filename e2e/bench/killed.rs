//! SIGKILL right after a weight was set: how long until the next weight.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Api;
use kube::api::DynamicObject;
use lockkeeper_e2e::{Operator, User, wait};
use serde::Serialize;

use crate::fleet::{App, FIRST, Fleet, Strategy, http_routes};
use crate::stage::{Gateway, Stage};

/// For any one part of it.
const LIMIT: Duration = Duration::from_secs(120);
/// The weights after which a process is killed, each with the next.
const KILLED_AT: [(u64, u64); 3] = [(20, 40), (40, 60), (60, 80)];

/// Who goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Successor {
    /// Nobody is killed: the time between two weights as it always is.
    Nobody,
    /// A second process that stands by.
    Standby,
    /// A new process of another name, started at once: it waits for the Lease to run out.
    Replacement,
    /// A new process of the same name, started at once, as a kubelet restarts a container in its pod.
    Restart,
    /// A new process, started at once, without election.
    RestartAlone,
}

impl Successor {
    pub const ALL: [Successor; 5] =
        [Successor::Nobody, Successor::Standby, Successor::Replacement, Successor::Restart, Successor::RestartAlone];
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Killed {
    pub successor: Successor,
    /// From the kill, or for `Nobody` from one weight, until the next weight was seen in the route; ascending.
    pub seconds: Vec<f64>,
}

/// Measures each of them.
///
/// # Errors
/// If a release does not go on in time.
pub async fn run(stage: &Stage) -> Result<Vec<Killed>> {
    let fleet = Fleet::create(&stage.cluster, Gateway::Acceptor.name(), Successor::ALL.len(), LIMIT).await?;
    let first = stage.operator("first", LIMIT).await?;
    fleet.manage(Strategy::FiveWeights).await?;
    fleet.stable(FIRST, LIMIT).await?;
    first.process.terminate(LIMIT).await?;
    let mut killed = Vec::new();
    for (successor, app) in Successor::ALL.into_iter().zip(fleet.apps()) {
        let seconds = one(stage, &fleet, successor, app).await.with_context(|| format!("{successor:?}"))?;
        killed.push(Killed { successor, seconds });
    }
    Ok(killed)
}

async fn one(stage: &Stage, fleet: &Fleet, successor: Successor, app: &App) -> Result<Vec<f64>> {
    let mut leader = start(stage, successor, 0)?;
    ready(&mut leader).await?;
    let mut standby = None;
    if successor == Successor::Standby {
        standby = Some(start(stage, successor, 1)?);
    }
    if let Some(standby) = &mut standby {
        ready(standby).await?;
    }
    fleet.release_one(app, "2.0.0").await?;
    let mut seconds = Vec::new();
    for (round, (weight, next)) in KILLED_AT.into_iter().enumerate() {
        weighs(stage, app, weight).await?;
        let at = Instant::now();
        match successor {
            Successor::Nobody => {}
            Successor::Standby => {
                leader.process.kill().await?;
                leader = standby.take().context("nobody stands by")?;
                standby = Some(start(stage, successor, round + 2)?);
            }
            Successor::Replacement | Successor::Restart | Successor::RestartAlone => {
                leader.process.kill().await?;
                leader = start(stage, successor, round + 1)?;
            }
        }
        weighs(stage, app, next).await?;
        seconds.push(at.elapsed().as_secs_f64());
    }
    fleet.stable_one(app, "2.0.0", LIMIT).await?;
    for operator in [Some(leader), standby].into_iter().flatten() {
        operator.process.terminate(LIMIT).await?;
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

fn start(stage: &Stage, successor: Successor, number: usize) -> Result<Operator> {
    let name = format!("{successor:?}-{number}");
    match successor {
        Successor::Nobody | Successor::Standby | Successor::Replacement => stage.start(&name, &[]),
        Successor::Restart => stage.start(&name, &["--identity=the-same"]),
        Successor::RestartAlone => stage.start(&name, &["--leader-elect=false"]),
    }
}

async fn ready(operator: &mut Operator) -> Result<()> {
    operator.process.ready(&format!("{}/readyz", operator.url), LIMIT).await
}

/// Waits until the route gives the candidate this weight, or more.
async fn weighs(stage: &Stage, app: &App, weight: u64) -> Result<()> {
    let routes: Api<DynamicObject> =
        Api::namespaced_with(stage.cluster.client(User::Admin), &app.namespace, &http_routes());
    let what = format!("give the candidate {weight} %");
    wait::object(&routes, &app.name, &what, LIMIT, |route| {
        let share = route.map(|route| &route.data["spec"]["rules"][0]["backendRefs"][1]["weight"]);
        share.and_then(serde_json::Value::as_u64).is_some_and(|share| share >= weight)
    })
    .await?;
    Ok(())
}
