//! The engine before a model of a cluster: sentences about single decisions, and promises over generated releases.

mod check;
mod cluster;
mod controllers;
mod fixture;
mod happening;
mod lab;
mod properties;
mod sentences;
mod view;
