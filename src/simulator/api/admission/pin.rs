//! Pin: during a release the stable Service keeps selecting only the stable version, whoever else writes it.

use lockkeeper_api::names::{PIN, POD_TEMPLATE_HASH};
use serde_json::Value;

use super::{Admission, annotate, annotation};
use crate::api::object::entry;

/// The policy `lockkeeper-pin`.
pub(super) fn pin(admission: &Admission<'_>, after: &mut Value) {
    let was = annotation(admission.before, PIN).map(str::to_owned);
    let asked = annotation(Some(after), PIN).map(str::to_owned);
    match (was, asked) {
        (Some(pin), _) => {
            entry(entry_of_spec(after), "selector").insert(POD_TEMPLATE_HASH.into(), pin.as_str().into());
            annotate(after, PIN, Some(&pin));
        }
        // A copy of a pinned Service, or a pin that somebody has invented.
        (None, Some(pin)) => {
            annotate(after, PIN, None);
            if after["spec"]["selector"][POD_TEMPLATE_HASH] == pin.as_str() {
                entry(entry_of_spec(after), "selector").remove(POD_TEMPLATE_HASH);
            }
        }
        (None, None) => {}
    }
}

fn entry_of_spec(object: &mut Value) -> &mut Value {
    entry(object, "spec");
    &mut object["spec"]
}
