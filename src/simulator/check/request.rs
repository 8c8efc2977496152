//! S9: what is asked of the API server, told from the request alone.

use serde_json::Value;

use crate::api::{Call, Kind, Patch, Verb, object::list};

/// What is wrong with a request of the operator's: every write but a creation must carry the resource version that it was decided on, or
/// two operators would act twice. A Lease is fenced by its own fields as well; it is always replaced whole.
pub fn unguarded(call: &Call) -> Option<String> {
    let version = |object: &Value| object["metadata"]["resourceVersion"].is_string();
    let guarded = match &call.verb {
        Verb::Get | Verb::List(_) | Verb::Watch { .. } | Verb::Create(_) => true,
        Verb::Replace(object) => version(object),
        Verb::Patch(Patch::Json(operations)) => list(operations).iter().any(|operation| {
            operation["op"] == "test"
                && operation["path"] == "/metadata/resourceVersion"
                && operation["value"].is_string()
        }),
        Verb::Patch(Patch::Merge(object) | Patch::Strategic(object) | Patch::Apply(object)) => version(object),
        Verb::Delete(conditions, _) => conditions.version.is_some() && conditions.uid.is_some(),
    };
    (!guarded && call.key.kind != Kind::Lease)
        .then(|| format!("{} {} carries no resource version", call.verb.word(), call.key))
}
