//! The decision by itself: what `cargo bench -p lockkeeper-engine` has written.

use std::fs;

use anyhow::{Context, Result};
use lockkeeper_e2e::target_directory;
use serde::{Deserialize, Serialize};

/// Times of decisions that end in one phase, and of reading a spec, which goes before each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// The phase, or `(plan)`.
    pub situation: String,
    /// How many there were.
    pub decisions: usize,
    pub median_microseconds: f64,
    pub worst_microseconds: f64,
}

/// Reads them.
///
/// # Errors
/// If that has not run.
pub fn read() -> Result<Vec<Times>> {
    let path = target_directory().join("bench").join("decide.json");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}: run cargo bench -p lockkeeper-engine first", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
}
