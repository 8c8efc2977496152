//! A child process with its log in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

const POLL_EVERY: Duration = Duration::from_millis(25);
const LOG_TAIL_LINES: usize = 12;

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts it with standard output and error appended to `<logs>/<name>.log`.
    pub fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Process> {
        let log = logs.join(format!("{name}.log"));
        let file =
            File::options().create(true).append(true).open(&log).with_context(|| format!("{}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Process { name: name.to_owned(), log, child })
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// If the process ends first or `within` passes, with the last lines of its log.
    pub async fn until(&mut self, within: Duration, ready: impl AsyncFn() -> bool) -> Result<()> {
        let deadline = Instant::now() + within;
        // A socket that is not yet open can only be tried again.
        while !ready().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before it was ready:\n{}", self.name, self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("{} was not ready within {} s:\n{}", self.name, within.as_secs(), self.log_tail());
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.len().saturating_sub(LOG_TAIL_LINES);
        format!("{}\n(all of it: {})", lines[tail..].join("\n"), self.log.display())
    }
}
