//! A directory a tool and version, complete or absent.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use super::command::Progress;

/// Directory in which tools are kept, outside any checkout.
pub(crate) fn cache_directory() -> PathBuf {
    let directory = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    directory("LOCKKEEPER_CACHE").unwrap_or_else(|| {
        let base = directory("XDG_CACHE_HOME").or_else(|| directory("HOME").map(|home| home.join(".cache")));
        base.unwrap_or_else(std::env::temp_dir).join("lockkeeper")
    })
}

/// The directory `name` of the cache, filled by `install` the first time. A second run waits for the first.
pub(super) fn cached(
    name: &str,
    how_long: &str,
    install: impl FnOnce(&Path, &Progress) -> Result<()>,
) -> Result<PathBuf> {
    let cache = cache_directory();
    let complete = cache.join(name);
    if complete.is_dir() {
        return Ok(complete);
    }
    let progress = Progress { name, since: Instant::now() };
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}: set LOCKKEEPER_CACHE", cache.display()))?;
    // Held until this function ends, and let go by the kernel if we die.
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.say("another run is installing it, waiting");
            lock.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cache"),
    }
    if complete.is_dir() {
        return Ok(complete);
    }
    progress.say(&format!("installing, once ({how_long})"));
    let partial = cache.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir(&partial)?;
    install(&partial, &progress).with_context(|| format!("cannot install {name}"))?;
    fs::rename(&partial, &complete)?;
    progress.say(&format!("installed in {} s", progress.since.elapsed().as_secs()));
    Ok(complete)
}
