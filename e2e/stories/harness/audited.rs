//! What an operator has asked of the API server.

use anyhow::Result;
use jiff::Timestamp;
use lockkeeper_e2e::{AuditEntry, AuditFilter};

use super::Story;

/// The user that operators are to the API server.
const OPERATOR: &str = "system:serviceaccount:lockkeeper-system:lockkeeper";

impl Story<'_> {
    /// The operator's requests in this story's namespace that arrived since then, in the order of their answers; watches, which
    /// are of the whole cluster, are not among them.
    pub fn asked_by_operator(&self, since: Timestamp) -> Result<Vec<AuditEntry>> {
        let filter = AuditFilter {
            user: Some(OPERATOR.to_owned()),
            namespace: Some(self.namespace.clone()),
            since: Some(since),
            ..AuditFilter::default()
        };
        let mut entries = self.cluster().audit_log()?.read(&filter)?;
        entries.retain(|entry| entry.stage == "ResponseComplete");
        entries.sort_by_key(|entry| entry.stage_timestamp);
        Ok(entries)
    }
}

/// Whether it was about an Event.
pub fn is_event(entry: &AuditEntry) -> bool {
    entry.object_ref.as_ref().is_some_and(|object| object.resource == "events")
}
