//! What was measured, as JSON, table and plots.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::Result;
use lockkeeper_e2e::target_directory;
use serde::Serialize;

use crate::scenario::Measured;
use crate::{plot, table};

/// All of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub machine: Machine,
    pub rows: Vec<Row>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub memory_gib: u64,
    /// Processes that waited for a core as the run began, averaged over a minute: more than a few, and all times are too long.
    pub load: f64,
}

/// One scenario.
#[derive(Debug, Serialize)]
pub struct Row {
    pub name: String,
    /// How long it took to measure.
    pub seconds: f64,
    pub measured: Measured,
}

impl Report {
    /// Writes JSON, table and plots into `bench` in Cargo's target directory, and gives that directory.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self) -> Result<PathBuf> {
        let directory = target_directory().join("bench");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("report.json"), serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(directory.join("report.md"), table::markdown(self))?;
        plot::all(self, &directory)?;
        Ok(directory)
    }
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let kib: u64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
        Machine {
            cores: available_parallelism().map_or(0, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_gib: (kib + (1 << 19)) >> 20,
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        }
    }
}
