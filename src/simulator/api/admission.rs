//! Our admission policies. Each is modelled by hand after its text, and in force only while its object and binding are there.
//!
//! Why by hand: their expressions use optional values, `authorizer` and `JSONPatch`, which no CEL library for Rust knows. The text is
//! tested on a real API server, and the conformance suite compares the two.

mod decision;
mod hold;
mod pin;

use std::sync::Arc;

use lockkeeper_operator::policies::OPERATOR_USER;
use serde_json::Value;

use super::{Caller, Key, Kind, Object, Snapshot, Status, User};

/// What a policy looks at.
struct Admission<'a> {
    objects: &'a Snapshot,
    user: &'a User,
    key: &'a Key,
    /// The object as it is; none for a creation.
    before: Option<&'a Value>,
}

/// Lets the policies change an object, or refuse it.
///
/// # Errors
/// 403 where one denies.
pub fn admit(
    objects: &Snapshot,
    caller: &Caller,
    key: &Key,
    before: Option<&Arc<Object>>,
    after: &mut Value,
) -> Result<(), Status> {
    let before = before.map(|before| before.value());
    let admission = Admission { objects, user: &caller.user, key, before };
    let foreign = caller.user.name != OPERATOR_USER;
    match key.kind {
        Kind::Deployment if foreign && admission.mutating("lockkeeper-hold") => hold::hold(&admission, after),
        Kind::Service if foreign && admission.mutating("lockkeeper-pin") => pin::pin(&admission, after),
        Kind::Release if foreign && admission.mutating("lockkeeper-author") => hold::author(&admission, after),
        _ => {}
    }
    match key.kind {
        Kind::Release if admission.validating("lockkeeper-govern") => decision::govern(&admission, after),
        Kind::Decision if before.is_none() && admission.validating("lockkeeper-decision") => {
            decision::decision(&admission, after)
        }
        _ => Ok(()),
    }
}

impl Admission<'_> {
    fn mutating(&self, name: &str) -> bool {
        self.there(Kind::MutatingAdmissionPolicy, Kind::MutatingAdmissionPolicyBinding, name)
    }

    fn validating(&self, name: &str) -> bool {
        self.there(Kind::ValidatingAdmissionPolicy, Kind::ValidatingAdmissionPolicyBinding, name)
    }

    fn there(&self, policy: Kind, binding: Kind, name: &str) -> bool {
        [policy, binding].into_iter().all(|kind| self.objects.get(&Key::new(kind, "", name)).is_some())
    }

    /// Whether the user holds a custom verb on Releases; the operator's and controllers' accounts hold none.
    fn may(&self, verb: &str) -> bool {
        self.user.verbs.iter().any(|held| held == verb)
    }

    fn denied(&self, policy: &str, message: &str) -> Status {
        Status::denied(self.key, policy, message)
    }
}

/// An annotation.
fn annotation<'a>(object: Option<&'a Value>, name: &str) -> Option<&'a str> {
    object?["metadata"]["annotations"][name].as_str()
}

/// Sets or removes an annotation.
fn annotate(object: &mut Value, name: &str, value: Option<&str>) {
    let annotations = super::object::entry(&mut object["metadata"], "annotations");
    match value {
        Some(value) => annotations.insert(name.into(), value.into()),
        None => annotations.remove(name),
    };
}
