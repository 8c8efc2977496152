//! Running an installer: a progress line now and then, its last words if it fails.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const PROGRESS_EVERY: Duration = Duration::from_secs(10);
const LAST_WORDS: usize = 15;

/// Who is being installed, since when.
pub(super) struct Progress<'a> {
    pub name: &'a str,
    pub since: Instant,
}

impl Progress<'_> {
    pub fn say(&self, what: &str) {
        eprintln!("{}: {what}", self.name);
    }
}

/// Runs to the end; `unit` says what a line on its standard error stands for.
pub(super) fn run(command: &mut Command, unit: &str, progress: &Progress<'_>) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    let (sender, lines) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
    }
    let last_words = follow(&lines, unit, progress);
    let status = child.wait()?;
    if !status.success() {
        bail!("`{program}` failed ({status}):\n{}", Vec::from(last_words).join("\n"));
    }
    Ok(())
}

fn follow(lines: &mpsc::Receiver<String>, unit: &str, progress: &Progress<'_>) -> VecDeque<String> {
    let mut last = VecDeque::new();
    let mut count = 0;
    let mut next = Instant::now() + PROGRESS_EVERY;
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                count += 1;
                last.push_back(line);
                if last.len() > LAST_WORDS {
                    last.pop_front();
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                progress.say(&format!("{} s, {count} {unit}", progress.since.elapsed().as_secs()));
                next = Instant::now() + PROGRESS_EVERY;
            }
            Err(RecvTimeoutError::Disconnected) => return last,
        }
    }
}
