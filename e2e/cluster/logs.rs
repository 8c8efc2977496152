//! Logs on disk: gone after success, kept after anything else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

pub(super) const AUDIT: &str = "audit.log";
pub(super) const ACCESS: &str = "access.log";

/// A directory a cluster.
#[derive(Debug)]
pub(super) struct Logs {
    directory: PathBuf,
    keep: AtomicBool,
}

impl Logs {
    /// A new one in `<target>/cluster-logs`.
    pub fn create() -> Result<Logs> {
        let name = format!("{}-{}", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"), unique());
        let directory = target_directory().join("cluster-logs").join(name);
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Logs { directory, keep: AtomicBool::new(false) })
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// The end of a run that came to its end.
    pub fn finish(mut self) -> Result<()> {
        if !*self.keep.get_mut() {
            fs::remove_dir_all(&self.directory)?;
            self.keep();
            return Ok(());
        }
        Ok(())
    }
}

/// Process ids repeat: each namespace counts its own.
fn unique() -> String {
    let nanoseconds = jiff::Timestamp::now().subsec_nanosecond();
    format!("{nanoseconds:09}")
}

/// Cargo's target directory, found from this program's own place.
pub fn target_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let found = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    found.map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}
