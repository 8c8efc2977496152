//! Waits, by watch, until the operator has counted a Decision.

use kube::runtime::wait::await_condition;
use lockkeeper_api::{Decision, Release, release::CountedDecision, scalar::Duration};

use crate::{cluster::Cluster, error::Error};

/// The Release as it was when it had counted the Decision.
///
/// # Errors
/// If the Decision counted for nothing, the Release is gone, or `limit` has passed.
pub async fn counted(cluster: &Cluster, release: &str, decision: &Decision, limit: Duration) -> Result<Release, Error> {
    let uid = decision.metadata.uid.as_deref().unwrap_or_default();
    let name = decision.metadata.name.clone().unwrap_or_default();
    // A Release that is gone ends the wait too.
    let seen = |release: Option<&Release>| release.is_none_or(|release| entry(release, uid).is_some());
    let waiting = await_condition(cluster.api::<Release>(), release, seen);
    let Ok(result) = tokio::time::timeout(limit.into(), waiting).await else {
        return Err(Error::TimedOut { decision: name, seconds: limit.as_secs() });
    };
    let gone = || Error::NoRelease { name: release.into(), namespace: cluster.namespace.clone() };
    let release = result.map_err(|error| Error::Cluster(error.to_string()))?.ok_or_else(gone)?;
    match entry(&release, uid).and_then(|entry| entry.refused.clone()) {
        Some(reason) => Err(Error::CountedForNothing { decision: name, reason }),
        None => Ok(release),
    }
}

fn entry<'a>(release: &'a Release, uid: &str) -> Option<&'a CountedDecision> {
    release.status.as_ref()?.decisions.iter().find(|counted| counted.uid == uid)
}
