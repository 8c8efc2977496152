//! `lockkeeper operator`: the controller.

use clap::Args;
use lockkeeper_operator::{run, settings::Settings, telemetry};

use crate::error::Error;

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
        tokio::runtime::Runtime::new()?.block_on(run::run(self.settings)).map_err(|error| failed(&error))
    }
}
