//! What the API server was asked, by whom, and what it answered.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// The API server's audit log. An entry is written as its request is answered, that of a watch also as it begins.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// Which entries to read; the default is all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only those of this user, as the API server names them.
    pub user: Option<String>,
    /// Only those of client programs whose name begins so.
    pub user_agent: Option<String>,
    /// Only those in this namespace.
    pub namespace: Option<String>,
    /// Only requests that arrived at this time or later.
    pub since: Option<Timestamp>,
    /// Only requests that arrived before this time.
    pub until: Option<Timestamp>,
    /// Only those that change something: create, update, patch, delete, deletecollection.
    pub writes: bool,
}

/// One request at one stage.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// `ResponseComplete`; `ResponseStarted` of a watch; `Panic`.
    pub stage: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: String,
    user: UserInfo,
    /// The user that the request was made as.
    impersonated_user: Option<UserInfo>,
    /// What it was about; none for paths such as `/version`.
    pub object_ref: Option<ObjectReference>,
    response_status: Option<ResponseStatus>,
    /// The client program, as it names itself.
    pub user_agent: Option<String>,
    /// When the request arrived.
    pub request_received_timestamp: Timestamp,
    /// When this stage was reached.
    pub stage_timestamp: Timestamp,
}

/// The object, or with no name the collection, of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Plural, lower case.
    pub resource: String,
    /// None in what is of the cluster.
    pub namespace: Option<String>,
    /// None where it is of a collection, or the server is to choose one.
    pub name: Option<String>,
    /// None in the core group.
    pub api_group: Option<String>,
    /// `status`, `scale` and the like.
    pub subresource: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct UserInfo {
    username: String,
}

#[derive(Clone, Debug, Deserialize)]
struct ResponseStatus {
    code: Option<u16>,
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> AuditLog {
        AuditLog { path }
    }

    /// The entries that pass the filter, in the order of their writing.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let file = File::open(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        let mut entries = Vec::new();
        for line in BufReader::new(file).lines() {
            let line = line?;
            // The last line may be half written: what is not whole has not yet happened.
            if filter.may_admit(&line)
                && let Ok(entry) = serde_json::from_str::<AuditEntry>(&line)
                && filter.admits(&entry)
            {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

impl AuditEntry {
    /// Whom the API server took the client for.
    pub fn user(&self) -> &str {
        &self.impersonated_user.as_ref().unwrap_or(&self.user).username
    }

    /// HTTP status code of the answer.
    pub fn code(&self) -> Option<u16> {
        self.response_status.as_ref()?.code
    }

    /// Whether it was to change something, done or refused.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

impl AuditFilter {
    /// Whether it is worth reading, which takes far longer than this: most lines are of others.
    fn may_admit(&self, line: &str) -> bool {
        [&self.user, &self.user_agent, &self.namespace].into_iter().flatten().all(|text| line.contains(text.as_str()))
    }

    fn admits(&self, entry: &AuditEntry) -> bool {
        let namespace = entry.object_ref.as_ref().and_then(|object| object.namespace.as_deref());
        self.user.as_deref().is_none_or(|user| user == entry.user())
            && self
                .user_agent
                .as_deref()
                .is_none_or(|agent| entry.user_agent.as_deref().is_some_and(|found| found.starts_with(agent)))
            && self.namespace.as_deref().is_none_or(|wanted| Some(wanted) == namespace)
            && self.since.is_none_or(|since| entry.request_received_timestamp >= since)
            && self.until.is_none_or(|until| entry.request_received_timestamp < until)
            && (!self.writes || entry.is_write())
    }
}
