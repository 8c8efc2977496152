//! An API server: what is stored, how requests change it, and how watches tell of it.
//!
//! [`Server`] does the work of one request on plain JSON, without any runtime; [`Service`] puts it under a `kube::Client`. Models in
//! [`crate::world`] use the server directly.

mod admission;
mod call;
mod discovery;
mod kind;
mod link;
mod managed;
mod news;
pub mod object;
mod patch;
mod rumour;
mod schema;
mod selector;
mod server;
mod service;
mod status;
mod store;
mod user;
mod watch;

use jiff::Timestamp;
use serde_json::Value;

pub use self::{
    call::{Call, Verb},
    kind::{Kind, Served},
    link::{Disposition, Fault, Link},
    news::Listener,
    object::{Key, Object},
    patch::Patch,
    rumour::{Rumour, Stall},
    schema::faults,
    selector::{Selector, selects, selects_plain, written},
    server::{Backup, Caller, Observer, Part, Preconditions, Propagation, Server, scale},
    service::{Answer, Service, Shared},
    status::Status,
    store::{Change, Snapshot, Store},
    user::User,
};

/// A time as Kubernetes writes it: whole seconds.
pub fn time(at: Timestamp) -> Value {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string().into()
}

/// A time as Kubernetes writes it; none if it is not there.
pub fn read_time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
