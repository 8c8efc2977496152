//! What is measured, by name.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::stage::{Gateway, Stage, usage};
use crate::{at_once, at_rest, decide, killed, verdict};

/// How long a fresh operator has to grow before its memory is read.
const FRESH: Duration = Duration::from_secs(5);

/// One of them; each has a cluster of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// The program and a process of it without Releases.
    Binary,
    /// The decision alone.
    Decide,
    /// All at the same moment.
    AtOnce { releases: usize, gateway: Gateway },
    /// Start among many, and rest.
    AtRest { releases: usize, seconds: u64 },
    /// A metric turns bad.
    Verdict { releases: usize },
    /// SIGKILL.
    Killed,
}

/// What one of them has measured.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Measured {
    Binary(Binary),
    Decide { samples: Vec<decide::Times> },
    AtOnce(at_once::AtOnce),
    AtRest(at_rest::AtRest),
    Verdict(verdict::Verdict),
    Killed { runs: Vec<killed::Killed> },
}

/// The program.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Binary {
    pub megabytes: f64,
    /// Of a process that leads and has no Releases.
    pub fresh_rss_mib: f64,
}

/// What `make bench` measures.
const FULL: [Scenario; 11] = [
    Scenario::Binary,
    Scenario::Decide,
    Scenario::AtOnce { releases: 100, gateway: Gateway::Acceptor },
    Scenario::AtOnce { releases: 100, gateway: Gateway::Traefik },
    Scenario::AtOnce { releases: 500, gateway: Gateway::Acceptor },
    Scenario::Verdict { releases: 1 },
    Scenario::Verdict { releases: 8 },
    Scenario::Verdict { releases: 100 },
    Scenario::Killed,
    Scenario::AtRest { releases: 500, seconds: REST_SECONDS },
    Scenario::AtRest { releases: 5_000, seconds: REST_SECONDS },
];

/// Small numbers: whether everything can be measured.
const QUICK: [Scenario; 7] = [
    Scenario::Binary,
    Scenario::Decide,
    Scenario::AtOnce { releases: 10, gateway: Gateway::Acceptor },
    Scenario::AtOnce { releases: 10, gateway: Gateway::Traefik },
    Scenario::Verdict { releases: 8 },
    Scenario::Killed,
    Scenario::AtRest { releases: 50, seconds: 10 },
];

/// How long rest lasts where nothing else is said.
const REST_SECONDS: u64 = 120;
/// What the nodes have room for.
const SIZE_MAX: usize = 10_000;

impl Scenario {
    /// All, or those named.
    ///
    /// # Errors
    /// If there is none of a name.
    pub fn select(quick: bool, names: &[String]) -> Result<Vec<Scenario>> {
        let all: &[Scenario] = if quick { &QUICK } else { &FULL };
        if names.is_empty() {
            return Ok(all.to_vec());
        }
        let known = |name: &str| all.iter().find(|scenario| scenario.name() == name).copied();
        let chosen = names.iter().map(|name| {
            known(name).or_else(|| Scenario::of_size(name)).with_context(|| {
                let names: Vec<String> = all.iter().map(|scenario| scenario.name()).collect();
                format!("there is no row {name:?}: there are {}, and those with other numbers", names.join(", "))
            })
        });
        chosen.collect()
    }

    /// One whose size its name says.
    fn of_size(name: &str) -> Option<Scenario> {
        let size = |prefix: &str, suffix: &str| {
            let number = name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok();
            number.filter(|number| (1..=SIZE_MAX).contains(number))
        };
        let at_once = |releases, gateway| Scenario::AtOnce { releases, gateway };
        size("at-once-", "")
            .map(|releases| at_once(releases, Gateway::Acceptor))
            .or_else(|| size("at-once-", "-traefik").map(|releases| at_once(releases, Gateway::Traefik)))
            .or_else(|| size("at-rest-", "").map(|releases| Scenario::AtRest { releases, seconds: REST_SECONDS }))
            .or_else(|| size("verdict-", "").map(|releases| Scenario::Verdict { releases }))
    }

    /// The name to select it by.
    pub fn name(self) -> String {
        match self {
            Scenario::Binary => "binary".to_owned(),
            Scenario::Decide => "decide".to_owned(),
            Scenario::AtOnce { releases, gateway: Gateway::Acceptor } => format!("at-once-{releases}"),
            Scenario::AtOnce { releases, gateway: Gateway::Traefik } => format!("at-once-{releases}-traefik"),
            Scenario::AtRest { releases, .. } => format!("at-rest-{releases}"),
            Scenario::Verdict { releases } => format!("verdict-{releases}"),
            Scenario::Killed => "killed".to_owned(),
        }
    }

    /// Longer than this, and something hangs.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Scenario::Binary | Scenario::Decide => 120,
            Scenario::AtOnce { .. } | Scenario::Verdict { .. } | Scenario::Killed => 900,
            Scenario::AtRest { .. } => 2400,
        })
    }

    /// Measures it.
    ///
    /// # Errors
    /// If a part does not do what it should, or not in time; the logs are kept then.
    pub async fn measure(self) -> Result<Measured> {
        if self == Scenario::Decide {
            return Ok(Measured::Decide { samples: decide::read()? });
        }
        let stage = Stage::open(self.gateway()).await?;
        let outcome = match timeout(self.limit(), self.on(&stage)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("it was not over after {} s", self.limit().as_secs())),
        };
        let logs = stage.cluster.logs().display().to_string();
        if outcome.is_err() {
            stage.cluster.keep_logs();
        }
        stage.cluster.stop().await?;
        outcome.with_context(|| format!("row {} (logs: {logs})", self.name()))
    }

    fn gateway(self) -> Gateway {
        match self {
            Scenario::AtOnce { gateway, .. } => gateway,
            Scenario::Binary
            | Scenario::Decide
            | Scenario::AtRest { .. }
            | Scenario::Verdict { .. }
            | Scenario::Killed => Gateway::Acceptor,
        }
    }

    async fn on(self, stage: &Stage) -> Result<Measured> {
        Ok(match self {
            Scenario::Binary => Measured::Binary(binary(stage).await?),
            Scenario::Decide => Measured::Decide { samples: decide::read()? },
            Scenario::AtOnce { releases, gateway } => Measured::AtOnce(at_once::run(stage, gateway, releases).await?),
            Scenario::AtRest { releases, seconds } => {
                Measured::AtRest(at_rest::run(stage, releases, Duration::from_secs(seconds)).await?)
            }
            Scenario::Verdict { releases } => Measured::Verdict(verdict::run(stage, releases).await?),
            Scenario::Killed => Measured::Killed { runs: killed::run(stage).await? },
        })
    }
}

async fn binary(stage: &Stage) -> Result<Binary> {
    let operator = stage.operator("operator", FRESH * 12).await?;
    sleep(FRESH).await;
    let bytes = fs::metadata(stage.binary())?.len();
    Ok(Binary { megabytes: bytes as f64 / 1e6, fresh_rss_mib: usage(&operator)?.rss_mib()? })
}
