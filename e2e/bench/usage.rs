//! What a process uses of the machine, as the kernel counts it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// The unit of `/proc/<pid>/stat` on every Linux that programs see.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process, as the kernel accounts for it.
#[derive(Clone, Debug)]
pub struct Usage(PathBuf);

impl Usage {
    /// Of a child of ours, by its id.
    ///
    /// This program and its children have process ids of their own, and /proc has those of outside.
    ///
    /// # Errors
    /// If it does not run.
    pub fn of(process: u32) -> Result<Usage> {
        let namespace = fs::read_link("/proc/self/ns/pid").context("cannot read /proc")?;
        let inside = process.to_string();
        for entry in fs::read_dir("/proc").context("cannot read /proc")? {
            let directory = entry?.path();
            // Processes come and go, and not all directories are processes.
            let Ok(status) = fs::read_to_string(directory.join("status")) else { continue };
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            let same = || fs::read_link(directory.join("ns/pid")).is_ok_and(|other| other == namespace);
            if ids.split_whitespace().last() == Some(&inside) && same() {
                return Ok(Usage(directory));
            }
        }
        bail!("process {process} has ended by itself")
    }

    /// Processor time so far, user and system, in seconds.
    ///
    /// # Errors
    /// If it does not run.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The second field is the program's name, in parentheses, and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ").context("/proc/<pid>/stat")?.1.split_whitespace().collect();
        let ticks =
            |index: usize| -> Result<f64> { Ok(fields.get(index).context("/proc/<pid>/stat")?.parse::<f64>()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Memory that it holds now, in MiB.
    ///
    /// # Errors
    /// If it does not run.
    pub fn rss_mib(&self) -> Result<f64> {
        self.memory_mib("VmRSS:")
    }

    /// The most memory that it has held so far, in MiB.
    ///
    /// # Errors
    /// If it does not run.
    pub fn peak_mib(&self) -> Result<f64> {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, field: &str) -> Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("the operator has ended")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.0.join(file)).context("the operator has ended by itself")
    }
}

/// Memory at a time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Since the recording began.
    pub seconds: f64,
    pub rss_mib: f64,
}

/// Takes samples of a process's memory until it is asked for them.
pub struct Recorder(JoinHandle<()>, Arc<Mutex<Vec<Sample>>>);

impl Recorder {
    /// Begins now. Ends with the process.
    pub fn start(usage: &Usage) -> Recorder {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (taken, usage) = (samples.clone(), usage.clone());
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let mut tick = interval(SAMPLE_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let Ok(rss_mib) = usage.rss_mib() else { return };
                taken.lock().push(Sample { seconds: started.elapsed().as_secs_f64(), rss_mib });
            }
        });
        Recorder(task, samples)
    }

    /// What was recorded.
    pub fn stop(self) -> Vec<Sample> {
        self.0.abort();
        std::mem::take(&mut self.1.lock())
    }
}
