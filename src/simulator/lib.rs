//! Lockkeeper's operator, its own code, on a virtual clock before a model of a cluster.

pub mod api;
pub mod check;
pub mod run;
pub mod world;
