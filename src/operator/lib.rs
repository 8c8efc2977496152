//! Lockkeeper's controller: observe -> plan -> decide -> act -> publish.

pub mod backoff;
pub mod leader;
pub mod metrics;
pub mod server;
pub mod settings;
pub mod telemetry;
