//! What an operator has asked of the API server, counted from the audit log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use lockkeeper_e2e::{AuditEntry, AuditFilter, Cluster};
use serde::Serialize;
use tokio::time::sleep;

/// The user that operators are to the API server.
const OPERATOR: &str = "system:serviceaccount:lockkeeper-system:lockkeeper";

/// So long without a request, and it is at rest.
const QUIET: Duration = Duration::from_secs(3);

/// Requests of a time span, by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// get and list.
    pub reads: u64,
    /// Watches that began. Long ones are counted once.
    pub watches: u64,
    /// Writes to the cluster's objects and statuses.
    pub writes: u64,
    /// Writes of Events.
    pub events: u64,
    /// Requests about the Lease of the election.
    pub lease: u64,
    /// Requests that the API server refused, of any of these kinds; a conflict with somebody else's write is one.
    pub refused: u64,
    /// All but watches, as verb and resource with its subresource.
    pub by_verb_and_resource: BTreeMap<String, u64>,
}

/// The operator's requests that arrived since then, until then.
///
/// # Errors
/// If the audit log cannot be read.
pub fn entries(cluster: &Cluster, since: Timestamp, until: Option<Timestamp>) -> Result<Vec<AuditEntry>> {
    let user = Some(OPERATOR.to_owned());
    cluster.audit_log()?.read(&AuditFilter { user, since: Some(since), until, ..AuditFilter::default() })
}

/// Waits until the operator has asked for nothing for a while: events come after everything else.
///
/// # Errors
/// If it goes on for longer than `within`.
pub async fn over(cluster: &Cluster, within: Duration) -> Result<()> {
    let asked = || -> Result<u64> {
        let Requests { reads, writes, events, .. } = count(&entries(cluster, Timestamp::now() - QUIET, None)?);
        Ok(reads + writes + events)
    };
    let deadline = Instant::now() + within;
    loop {
        sleep(QUIET).await;
        if asked()? == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the operator is not at rest after {} s", within.as_secs());
    }
}

/// Counts them.
pub fn count(entries: &[AuditEntry]) -> Requests {
    let mut requests = Requests::default();
    for entry in entries {
        let resource = entry.object_ref.as_ref().map_or("", |object| object.resource.as_str());
        match (entry.verb.as_str(), entry.stage.as_str()) {
            // One line as it begins, one as it ends.
            ("watch", "ResponseStarted") => requests.watches += 1,
            (_, "ResponseStarted") | ("watch", _) => continue,
            _ if resource == "leases" => requests.lease += 1,
            _ if resource == "events" => requests.events += 1,
            _ if entry.is_write() => requests.writes += 1,
            _ => requests.reads += 1,
        }
        requests.refused += u64::from(entry.code().is_some_and(|code| code >= 400));
        if entry.verb != "watch" {
            *requests.by_verb_and_resource.entry(named(entry)).or_default() += 1;
        }
    }
    requests
}

fn named(entry: &AuditEntry) -> String {
    match &entry.object_ref {
        None => format!("{} {}", entry.verb, entry.request_uri),
        Some(object) => match &object.subresource {
            None => format!("{} {}", entry.verb, object.resource),
            Some(subresource) => format!("{} {}/{subresource}", entry.verb, object.resource),
        },
    }
}
