//! Lockkeeper's controller: observe -> plan -> decide -> publish -> act.

pub mod act;
pub mod backoff;
pub mod build_info;
pub mod cache;
pub mod condition;
pub mod context;
pub mod controllers;
pub mod events;
#[cfg(test)]
mod fixture;
pub mod jump;
pub mod leader;
pub mod measure;
pub mod metrics;
pub mod observe;
pub mod orphan;
pub mod pods;
pub mod policies;
pub mod policy;
pub mod publish;
pub mod queue;
pub mod release;
pub mod run;
pub mod sample;
pub mod server;
pub mod settings;
pub mod telemetry;
pub mod throttle;
pub mod window;
