//! The acts of people: each creates one Decision, in the author's own name.

mod author;
mod check;
mod wait;

use clap::{Args, Subcommand};
use kube::api::{ObjectMeta, PostParams};
use lockkeeper_api::{Decision, DecisionSpec, Release, decision::Verdict, scalar::Duration};

use self::check::{Ask, Bound};
use crate::{
    cluster::{Cluster, Target},
    error::Error,
};

/// The verbs that decide.
#[derive(Subcommand, Debug)]
pub enum Act {
    /// Approve a gate for the revision on its way
    Approve(AtGate),
    /// Reject a gate: ends the release before Start, holds it later
    Reject(AtGate),
    /// Go on to promotion at once, through all gates
    Promote(Plain),
    /// End the current step; never opens a gate
    Skip(Plain),
    /// Hold the release where it is
    Pause(Plain),
    /// End a hold, or a pause without duration
    Resume(Plain),
    /// Go back to the stable version now
    Abort(Plain),
    /// Go back from the promoted version to the one before it, without gates; it stays blocked until retry
    Rollback(Plain),
    /// Let a revision that went back start again
    Retry(Plain),
    /// Pass one closed gate of any kind for a while
    Override(Override),
}

/// An act that needs no more than a Release.
#[derive(Args, Debug)]
pub struct Plain {
    #[command(flatten)]
    common: Common,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// An act about a gate.
#[derive(Args, Debug)]
pub struct AtGate {
    #[command(flatten)]
    common: Common,
    /// Name of the gate, as in lockkeeper get
    #[arg(long, value_name = "NAME")]
    gate: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// An override.
#[derive(Args, Debug)]
pub struct Override {
    #[command(flatten)]
    common: Common,
    /// Name of the gate, as in lockkeeper get
    #[arg(long, value_name = "NAME")]
    gate: String,
    /// Why the gate is passed, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long the gate stays passed, like 90s, 10m or 1h30m; default: 1h
    #[arg(long, value_name = "DURATION")]
    expires_after: Option<Duration>,
}

/// What every act has.
#[derive(Args, Debug)]
struct Common {
    /// Name of the Release
    release: String,
    /// The revision that you have looked at: nothing is decided if another one is there by now
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// Wait until the operator has counted the Decision
    #[arg(long)]
    wait: bool,
    /// How long to wait, like 90s or 10m
    #[arg(long, value_name = "DURATION", default_value = "1m", requires = "wait")]
    timeout: Duration,
    #[command(flatten)]
    target: Target,
}

impl Act {
    /// Looks at the Release, creates the Decision and says what came of it.
    ///
    /// # Errors
    /// If the act makes no sense now, the API server refuses, or, with `--wait`, the operator does.
    pub async fn run(self) -> Result<(), Error> {
        let verdict = self.verdict();
        let (common, gate, reason, expires_after) = match self {
            Self::Approve(a) | Self::Reject(a) => (a.common, Some(a.gate), a.reason, None),
            Self::Override(o) => (o.common, Some(o.gate), Some(o.reason), o.expires_after),
            Self::Promote(p)
            | Self::Skip(p)
            | Self::Pause(p)
            | Self::Resume(p)
            | Self::Abort(p)
            | Self::Rollback(p)
            | Self::Retry(p) => (p.common, None, p.reason, None),
        };
        let cluster = common.target.connect().await?;
        let release = find(&cluster, &common.release).await?;
        let ask = Ask { verdict, gate: gate.as_deref(), revision: common.revision.as_deref() };
        let bound = check::check(&release, &ask).map_err(Error::NotNow)?;
        let asked_groups = gate.as_deref().map(|gate| check::groups_asked(&release, gate)).unwrap_or_default();
        let by = author::whoami(&cluster, &asked_groups).await?;
        let revision = bound.revision.clone();
        let spec = DecisionSpec { release: common.release.clone(), revision, verdict, gate, reason, expires_after, by };
        let decision = create(&cluster, spec).await?;
        println!("{}", created(&decision, &bound));
        if !common.wait {
            return Ok(());
        }
        let release = wait::counted(&cluster, &common.release, &decision, common.timeout).await?;
        println!("counted; the release is {}", crate::get::sentence(&release));
        Ok(())
    }

    const fn verdict(&self) -> Verdict {
        match self {
            Self::Approve(_) => Verdict::Approve,
            Self::Reject(_) => Verdict::Reject,
            Self::Promote(_) => Verdict::Promote,
            Self::Skip(_) => Verdict::Skip,
            Self::Pause(_) => Verdict::Pause,
            Self::Resume(_) => Verdict::Resume,
            Self::Abort(_) => Verdict::Abort,
            Self::Rollback(_) => Verdict::Rollback,
            Self::Retry(_) => Verdict::Retry,
            Self::Override(_) => Verdict::Override,
        }
    }
}

async fn find(cluster: &Cluster, name: &str) -> Result<Release, Error> {
    match cluster.api::<Release>().get_opt(name).await {
        Ok(Some(release)) => Ok(release),
        Ok(None) => Err(Error::NoRelease { name: name.into(), namespace: cluster.namespace.clone() }),
        Err(error) => Err(Error::reading(error)),
    }
}

async fn create(cluster: &Cluster, spec: DecisionSpec) -> Result<Decision, Error> {
    let verdict = spec.verdict;
    let prefix = format!("{}-{}-", spec.release, format!("{verdict:?}").to_lowercase());
    let metadata = ObjectMeta { generate_name: Some(prefix), ..ObjectMeta::default() };
    let decision = Decision { metadata, spec };
    cluster
        .api::<Decision>()
        .create(&PostParams::default(), &decision)
        .await
        .map_err(|error| Error::deciding(error, verdict))
}

/// `Approve of gate go-wide for checkout 2.4.0 (revision 5d8f) by alice: Decision checkout-approve-x7k2p created`.
fn created(decision: &Decision, bound: &Bound) -> String {
    let spec = &decision.spec;
    let gate = spec.gate.as_ref().map(|gate| format!(" of gate {gate}")).unwrap_or_default();
    let name = decision.metadata.name.as_deref().unwrap_or_default();
    format!(
        "{:?}{gate} for {} {} (revision {}) by {}: Decision {name} created",
        spec.verdict, spec.release, bound.version, spec.revision, spec.by.username
    )
}
