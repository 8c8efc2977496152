//! `lockkeeper operator`: the controller.

use std::{num::NonZeroUsize, thread};

use clap::Args;
use lockkeeper_operator::{run, settings::Settings, telemetry};
use tokio::runtime::{Builder, Runtime};

use crate::error::Error;

/// More threads do not make it faster, since it mostly waits for the API server; each costs memory, and without a CPU limit
/// a pod sees all cores of its node.
const WORKERS: usize = 4;

/// The operator's flags.
#[derive(Args, Debug)]
pub struct Operator {
    #[command(flatten)]
    settings: Settings,
}

impl Operator {
    /// Runs until it is told to end.
    ///
    /// # Errors
    /// If it cannot start, or cannot go on.
    pub fn run(self) -> Result<(), Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Operator(error.to_string());
        telemetry::install(self.settings.log_format, &self.settings.log_level).map_err(|error| failed(&error))?;
        runtime()?.block_on(run::run(self.settings)).map_err(|error| failed(&error))
    }
}

fn runtime() -> std::io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread().worker_threads(cores.min(WORKERS)).enable_all().build()
}
