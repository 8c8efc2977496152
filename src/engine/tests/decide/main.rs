//! The engine before a model of a cluster: sentences about single decisions, and promises over generated releases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod check;
mod cluster;
mod controllers;
mod fixture;
mod happening;
mod lab;
mod orphans;
mod properties;
mod sentences;
mod view;
