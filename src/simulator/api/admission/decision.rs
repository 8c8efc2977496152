//! Decision and govern: who may decide, and who may change who must agree.

use serde_json::Value;

use super::Admission;
use crate::api::{
    Status,
    object::{list, text},
};

/// The policy `lockkeeper-decision`.
pub(super) fn decision(admission: &Admission<'_>, after: &Value) -> Result<(), Status> {
    let denied = |message: String| Err(admission.denied("lockkeeper-decision", &message));
    let (user, spec) = (admission.user, &after["spec"]);
    let named = text(&spec["by"]["username"]);
    if named != user.name {
        return denied(format!("you decide as yourself only: set spec.by.username to {} (is {named})", user.name));
    }
    let groups = list(&spec["by"]["groups"]).iter().map(text);
    let foreign: Vec<&str> = groups.filter(|group| !user.groups.iter().any(|own| own == group)).collect();
    if !foreign.is_empty() {
        let foreign = foreign.join(", ");
        return denied(format!(
            "you are not in {foreign}: leave it out of spec.by.groups (kubectl auth whoami lists your groups)"
        ));
    }
    if user.name.starts_with("system:serviceaccount:") {
        return denied(format!(
            "service accounts do not decide, so that a commit approves nothing: let a person create this Decision, or name {} in \
             the setting --approving-service-accounts of the operator and in policy lockkeeper-decision",
            user.name
        ));
    }
    let verdict = text(&spec["verdict"]);
    let verb = match verdict {
        "Approve" | "Reject" => "approve",
        "Promote" | "Skip" | "Pause" | "Resume" | "Retry" => "promote",
        "Abort" | "Rollback" => "abort",
        "Override" => "override",
        _ => return denied("expression resulted in error: no such key".into()),
    };
    if !admission.may(verb) {
        let release = format!("{}/{}", admission.key.namespace, text(&spec["release"]));
        return denied(format!(
            "{verdict} needs the verb {verb} on Release {release}, which {} does not hold: ask for a role that has it (see ClusterRoles lockkeeper-*)",
            user.name
        ));
    }
    Ok(())
}

/// The policy `lockkeeper-govern`.
pub(super) fn govern(admission: &Admission<'_>, after: &Value) -> Result<(), Status> {
    let Some(before) = admission.before else { return Ok(()) };
    let same =
        ["gates", "strategy", "rollbackPolicy"].into_iter().all(|field| before["spec"][field] == after["spec"][field]);
    if same || admission.may("govern") {
        return Ok(());
    }
    let message = format!(
        "changing gates, strategy or rollbackPolicy needs the verb govern on Release {}/{}, which {} does not hold: ask for \
         ClusterRole lockkeeper-governor, or leave them as they are",
        admission.key.namespace, admission.key.name, admission.user.name
    );
    Err(admission.denied("lockkeeper-govern", &message))
}
