//! What the gateway has seen.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// The gateway's own record of each request.
#[derive(Clone, Debug)]
pub struct AccessLog {
    path: PathBuf,
}

/// One request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccessEntry {
    /// Host header, without port.
    pub request_host: String,
    /// Path and query.
    pub request_path: String,
    /// Status code that the client got.
    pub downstream_status: u16,
    /// Status code that the pod gave; 0 if none answered.
    #[serde(default)]
    pub origin_status: u16,
    /// Address of the pod that was asked.
    #[serde(default)]
    pub service_addr: Option<String>,
    /// When the request arrived.
    #[serde(rename = "StartUTC")]
    pub start: Timestamp,
}

impl AccessLog {
    pub(crate) fn new(path: PathBuf) -> AccessLog {
        AccessLog { path }
    }

    /// The requests to this host, in the order of their answers; a request is logged when it has been answered.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, host: &str) -> Result<Vec<AccessEntry>> {
        let file = File::open(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        let mut entries = Vec::new();
        for line in BufReader::new(file).lines() {
            // The last line may be half written.
            if let Ok(entry) = serde_json::from_str::<AccessEntry>(&line?)
                && entry.request_host == host
            {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}
