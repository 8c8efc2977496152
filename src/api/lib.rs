//! Lockkeeper's custom resources: words and validation, no behaviour.
//!
//! The doc comments of the types are the product's reference (`kubectl explain`): each field says its unit, its default
//! and its limits.

#![expect(clippy::duplicated_attributes, reason = "every printcolumn of a kind has a type, and many have the same")]

pub mod decision;
pub mod deployment_window;
pub mod names;
pub mod release;
pub mod rollback_policy;
mod rule;
pub mod scalar;
mod schema;
mod selector;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use decision::{Decision, DecisionSpec};
pub use deployment_window::{DeploymentWindow, DeploymentWindowSpec};
pub use release::{Release, ReleaseSpec, ReleaseStatus};
pub use rollback_policy::{RollbackPolicy, RollbackPolicySpec};

/// All custom resource definitions as they are installed, in that order.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [Release::crd(), DeploymentWindow::crd(), RollbackPolicy::crd(), Decision::crd()].map(schema::finish).into()
}
