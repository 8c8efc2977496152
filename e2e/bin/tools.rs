//! Installs all that the local cluster and the suites on it need into the cache, and ends. They would do so themselves; beside each
//! other they are better not busy with building.

use std::thread;

use anyhow::Result;
use lockkeeper_e2e::{GitOpsTools, Tools};

fn main() -> Result<()> {
    thread::scope(|scope| {
        let gitops = scope.spawn(GitOpsTools::install);
        Tools::install()?;
        gitops.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(drop)
    })
}
