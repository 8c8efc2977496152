//! What was measured.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lockkeeper_e2e::target_directory;
use serde::Serialize;

/// How far the measured share may be from the weight, in percentage points: requests are whole, and a weight changes between them.
const WEIGHT_ERROR_LIMIT: f64 = 5.0;

/// All releases of the demo, in their order.
#[derive(Debug, Serialize)]
pub struct Report {
    pub releases: Vec<Measured>,
}

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    Succeeded,
    RolledBack,
}

/// One release, as its users and the API server saw it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    pub version: String,
    pub outcome: Outcome,
    /// From the change of the Release until it was at rest.
    pub duration_seconds: f64,
    /// Requests sent in that time.
    pub requests: u64,
    /// Those without an answer of status 2xx.
    pub failed_requests: u64,
    /// Those of them sent after the Release said that all traffic was back.
    pub failed_requests_after_rollback: u64,
    /// From the first failed request that the new version answered until its weight in the route was 0.
    pub seconds_to_rollback: Option<f64>,
    /// Pods of the version that runs at the end which were replaced or restarted: since promotion began, or, after a rollback,
    /// since the release began.
    pub pods_restarted: u64,
    /// The greatest distance of the measured share from a confirmed weight, in percentage points.
    pub max_weight_error_percent: f64,
}

impl Report {
    /// Writes `demo/report.json` into Cargo's target directory.
    pub fn write(&self) -> Result<PathBuf> {
        let directory = target_directory().join("demo");
        fs::create_dir_all(&directory)?;
        let path = directory.join("report.json");
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }

    pub fn print(&self, path: &Path) {
        println!(
            "\n{:<8} {:<11} {:>9} {:>9} {:>7} {:>15} {:>13} {:>10} {:>13}",
            "version",
            "outcome",
            "seconds",
            "requests",
            "failed",
            "after rollback",
            "to rollback",
            "restarted",
            "weight error"
        );
        for release in &self.releases {
            let to_rollback = release.seconds_to_rollback.map_or_else(|| "-".to_owned(), |s| format!("{s:.1} s"));
            println!(
                "{:<8} {:<11} {:>9.1} {:>9} {:>7} {:>15} {:>13} {:>10} {:>11.1} %",
                release.version,
                format!("{:?}", release.outcome),
                release.duration_seconds,
                release.requests,
                release.failed_requests,
                release.failed_requests_after_rollback,
                to_rollback,
                release.pods_restarted,
                release.max_weight_error_percent
            );
        }
        println!("\n{}", path.display());
    }

    /// What is not as promised.
    pub fn faults(&self, expected: &[Outcome]) -> Vec<String> {
        let mut faults = Vec::new();
        for (release, expected) in self.releases.iter().zip(expected) {
            let version = &release.version;
            if release.outcome != *expected {
                faults.push(format!("{version}: {:?}, not {expected:?}", release.outcome));
            }
            if *expected == Outcome::Succeeded && release.failed_requests > 0 {
                faults.push(format!("{version}: {} requests failed", release.failed_requests));
            }
            if release.failed_requests_after_rollback > 0 {
                faults.push(format!(
                    "{version}: {} requests failed after it went back",
                    release.failed_requests_after_rollback
                ));
            }
            if release.pods_restarted > 0 {
                faults.push(format!("{version}: {} pods were restarted", release.pods_restarted));
            }
            if release.max_weight_error_percent > WEIGHT_ERROR_LIMIT {
                faults.push(format!("{version}: a share was {:.1} % off its weight", release.max_weight_error_percent));
            }
        }
        faults
    }
}
