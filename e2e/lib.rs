//! A local real cluster: control plane, gateway, Prometheus, simulated nodes and pods, and what drives and watches it.
//!
//! `README.md` beside this file shows how to use it. Nothing here is part of the product.

mod access_log;
mod audit_log;
mod cluster;
mod demo;
mod http_get;
mod installation;
mod namespace;
mod node;
mod operator_process;
mod process;
pub mod rights;
mod suite;
mod tools;
mod traffic;
mod user;
pub mod wait;

pub use access_log::{AccessEntry, AccessLog};
pub use audit_log::{AuditEntry, AuditFilter, AuditLog, ObjectReference};
pub use cluster::{Cluster, MutatingPolicies, Options, target_directory};
pub use demo::{Behaviour, DemoApp, PodCount};
pub use http_get::{Answer, http_get};
pub use installation::{Installation, Operator, SYSTEM_NAMESPACE, policies_are_in_force};
pub use namespace::reexec_in_network_namespace;
pub use node::{ADDRESS, OPERATOR_IMAGE};
pub use operator_process::{OperatorCommand, OperatorProcess};
pub use suite::{Fixture, Suite, Test};
pub use tools::{GitOpsTools, Kubernetes, Tools, UnknownKubernetes};
pub use traffic::{Connections, Failure, Load, Totals, Traffic};
pub use user::User;
